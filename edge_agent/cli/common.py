"""What the commands share: settings, a client, one-line errors."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from edge_agent.core.settings import Settings
    from edge_agent.runtime.client import Client
    from schemas.commands import Answer
    from schemas.topics import Topic

EXIT_CONFIG = 78

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file; default $EZREC_CONFIG or /etc/ezrec/ezrec.toml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]


def fail(text: str, code: int = 1) -> NoReturn:
    """Say one line on stderr and end with an exit code."""
    sys.stderr.write(f"ezrec: {text}\n")
    raise typer.Exit(code)


def say(text: str) -> None:
    """A line of progress, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def out(text: str) -> None:
    """A line of result, on stdout."""
    sys.stdout.write(f"{text}\n")


def out_json(value: object) -> None:
    """A JSON object, on stdout."""
    out(json.dumps(value, ensure_ascii=False, default=str))


def read_settings(config: Path | None, leave: frozenset[str] = frozenset()) -> "Settings":
    """The effective settings, without the secrets to ``leave``; or one line and exit 78."""
    from edge_agent.runtime.settings import SettingsError, load

    try:
        return load(config, leave=leave)
    except SettingsError as error:
        fail(str(error), EXIT_CONFIG)


def need_programs(*names: str) -> None:
    """Whether the programs we run are installed; one line and exit 78 when one is not."""
    for name in names:
        if shutil.which(name) is None:
            fail(f"{name} is not installed, or not on PATH: install the Debian package {name}", EXIT_CONFIG)


def connect(settings: "Settings", watch: "Sequence[Topic[Any]]" = ()) -> "Client":
    """A client as account ``cli``, not yet connected."""
    from edge_agent.app import endpoint_of
    from edge_agent.runtime.client import Client

    try:
        return Client(endpoint_of(settings, "cli"), settings.device.id, watch)
    except OSError as error:
        fail(f"the broker's password cannot be read: {error}")


def show_answer(answer: "Answer", *, as_json: bool) -> None:
    """Print an answer; exit 1 unless it is ok or accepted."""
    if as_json:
        out_json(answer.body())
    else:
        out(answer.message or answer.status)
    if answer.status not in ("ok", "accepted"):
        raise typer.Exit(1)
