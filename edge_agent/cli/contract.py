"""The contract and the settings."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.common import ConfigOption, fail, out, out_json, read_settings

config = typer.Typer(help="The effective settings.", no_args_is_help=True)
secret = typer.Typer(help="Passwords and keys.", no_args_is_help=True)


def topics(
    acl: Annotated[bool, typer.Option("--acl", help="The broker's access list for this device.")] = False,
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help="The contract as AsyncAPI 3.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the reference of every topic, the broker's access list, or the contract as AsyncAPI."""
    from schemas.acl import render_acl
    from schemas.asyncapi import asyncapi as document
    from schemas.render import reference_page

    if asyncapi:
        out_json(document())
    elif acl:
        settings = read_settings(config)
        sys.stdout.write(render_acl(settings.device.id, settings.camera_names()))
    else:
        sys.stdout.write(reference_page())


@config.command("show")
def show(config: ConfigOption = None) -> None:
    """Print the effective settings as JSON, secrets masked."""
    from edge_agent.runtime.settings import masked

    out_json(masked(read_settings(config)))


@config.command("check")
def check(config: ConfigOption = None) -> None:
    """Check the settings; a mistake is one line and exit 78."""
    settings = read_settings(config)
    out(f"settings are fine: device {settings.device.id}, cameras {', '.join(settings.camera_names())}")


@config.command("import")
def import_(
    envfile: Annotated[Path, typer.Argument(metavar="ENVFILE", help="The predecessor's .env.")],
) -> None:
    """Print ezrec.toml made from the predecessor's .env.

    Secrets are named, not printed; what is not taken over is a comment at the end.
    """
    from edge_agent.runtime.predecessor_env import translated
    from edge_agent.runtime.settings import ALIASES, SettingsError, load, parse_env_file, to_toml

    try:
        variables, lines = translated(parse_env_file(envfile), ALIASES)
        out(to_toml(load(None, variables)))
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        fail(f"config import: {error}", 78)
    for line in lines:
        out(f"# not taken over: {line}")


@secret.command("set")
def secret_set(
    name: Annotated[str, typer.Argument(help="A broker account, e.g. merger, or a key, e.g. store.secret.")],
    config: ConfigOption = None,
) -> None:
    """Store a secret, read from standard input, where the settings' passwords are.

    A broker's account (cli, merger...), or store.key, store.secret, bookings.key, smtp.password,
    notify.webhook_secret: these are settings that need not be written into the settings' file.
    """
    from edge_agent.runtime.secret_files import SECRETS
    from schemas.acl import accounts

    settings = read_settings(config)
    if not settings.mqtt.passwords:
        fail("secret set: mqtt.passwords names no folder", 78)
    known = [*accounts(settings.camera_names()), *SECRETS]
    if name not in known:
        fail(f"secret set: {name!r} is no secret of this device, expected one of {', '.join(known)}", 2)
    path = Path(settings.mqtt.passwords) / name
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(sys.stdin.readline().strip())
    out(f"stored {name}")
