"""The stores: the bucket that films go to, and the rows that bookings are in."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, fail, out, out_json, read_settings, say

store = typer.Typer(help="The bucket of the films, and the rows of the bookings.", no_args_is_help=True)
MARKS = {"ok": "ok", "done": "done", "would": "would", "look": "look", "wrong": "WRONG"}


@store.command("init")
def init(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be done; touch nothing.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make the bucket ready and check it: key, privacy, lifecycle. Exit 1 when something is wrong."""
    from cloud_bridge.objects.setup import set_up

    wrong = False
    found: list[dict[str, str]] = []
    for finding in set_up(read_settings(config), dry_run=dry_run):
        wrong |= finding.state == "wrong"
        found.append({"what": finding.what, "state": finding.state, "text": finding.text})
        if not json:
            out(f"{MARKS[finding.state]:5} {finding.what}: {finding.text}")
    if json:
        out_json({"dry_run": dry_run, "findings": found})
    if wrong:
        raise typer.Exit(1)


@store.command("migrate")
def migrate(
    dsn: Annotated[
        str | None,
        typer.Option(
            envvar="EZREC_DSN",
            metavar="DSN",
            help="The database, as its owner: postgresql://...; - reads a line. Password: PGPASSWORD.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell what is missing; exit 1 when something is.")
    ] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the SQL, for Supabase's SQL editor; connect to nothing.")
    ] = False,
) -> None:
    """Bring a Supabase project's database up to the schema. May be repeated."""
    from cloud_bridge.migrations import migrations

    if print_:
        from cloud_bridge.migrate import script

        sys.stdout.write(script())
        return
    if not dsn:
        fail("store migrate: no database; give --dsn or EZREC_DSN, or --print the SQL for the editor", 2)
    from cloud_bridge.migrate import MigrateError, Schema

    try:
        schema = Schema(sys.stdin.readline().strip() if dsn == "-" else dsn)
        try:
            standing = schema.standing()
            for migration in standing.missing:
                applied = not check and schema.apply(migration)
                out(f"{'applied' if applied else 'missing' if check else 'there'} {migration.name}")
        finally:
            schema.close()
    except MigrateError as error:
        fail(f"store migrate: {error}")
    count = len(standing.missing)
    say(f"{len(migrations())} files, {count} {'missing' if check else 'applied'}")
    if check and count:
        raise typer.Exit(1)


@store.command("device-key")
def device_key(
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="The device's id, as in the table devices.")
    ],
    org: Annotated[
        str | None, typer.Option(metavar="ORG", help="Its organisation; default: device.org of the settings.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="After how many days it ends; default: ten years.")
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the project's JWT secret is.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a device's key for a Supabase project; printed once, kept nowhere.

    It needs the project's JWT secret: from --secret-file, SUPABASE_JWT_SECRET, or a line on standard input.
    """
    from cloud_bridge.device_keys import LONG_DAYS, KeyMistake
    from cloud_bridge.device_keys import device_key as made
    from edge_agent.runtime.clock import SystemClock

    org = org or read_settings(config).device.org
    try:
        key = made(_jwt_secret(secret_file), device, org, SystemClock().wall(), days or LONG_DAYS)
    except KeyMistake as error:
        fail(f"store device-key: {error}", 2)
    except OSError as error:
        fail(f"store device-key: {secret_file}: {error.strerror}")
    out(key)
    until = f"for {days} days, or until it is revoked" if days else "until it is revoked (ten years at most)"
    say(f"key of {device} of {org}, {until}; on the device: ezrec secret set bookings.key")


def _jwt_secret(file: Path | None) -> str:
    """The project's secret, never from the command line: that is everybody's to read."""
    if file is not None:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    given = os.environ.get("SUPABASE_JWT_SECRET", "").strip()
    if given:
        return given
    if sys.stdin.isatty():
        return str(typer.prompt("JWT secret of the project", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()
