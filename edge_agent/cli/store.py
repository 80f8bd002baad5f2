"""The stores: the bucket that films go to, and the rows that bookings are in."""

from typing import Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, out, out_json, read_settings

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
