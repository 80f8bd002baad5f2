"""Taking over what the predecessor left: its booking rows. Its settings are `ezrec config import`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, fail, out, out_json, read_settings

if TYPE_CHECKING:
    from cloud_bridge.predecessor import Understood
    from cloud_bridge.stores import NewBooking
    from edge_agent.core.settings import Settings

importing = typer.Typer(help="What the predecessor left.", no_args_is_help=True)


@importing.command("rows")
def rows(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.json", help="Its bookings.json, or an export of its table.")
    ] = None,
    supabase: Annotated[
        bool, typer.Option("--supabase", help="Read the table of the project at bookings.url instead.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be taken over.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take over the predecessor's bookings that are still to be played. Repeating it adds nothing.

    A time without a zone is meant in device.timezone. Exit 1 when a row was not understood or not taken.
    """
    from cloud_bridge.predecessor import NotUnderstood

    if (file is None) == (not supabase):
        fail("import rows: either FILE.json or --supabase was expected", 2)
    settings = read_settings(config)
    try:
        found = _read(file, settings)
    except NotUnderstood as error:
        fail(f"import rows: {error}")
    taken, there, refused = _save(found.bookings, settings, dry_run=dry_run)
    lines = [*found.lines, *refused]
    counts = {
        "taken": len(taken),
        "there_already": there,
        "repeated": found.repeated,
        "over": found.over,
        "cancelled": found.cancelled,
        "of_other_cameras": found.elsewhere,
        "not_understood": len(lines),
    }
    if json:
        out_json({"dry_run": dry_run, **counts, "ids": taken, "lines": lines})
    else:
        for line in lines:
            out(line)
        verb = "would be taken over" if dry_run else "taken over"
        rest = ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if name != "taken"
        )
        out(f"{len(taken)} bookings {verb}; {rest}")
    if lines:
        raise typer.Exit(1)


def _read(file: Path | None, settings: "Settings") -> "Understood":
    from cloud_bridge.predecessor import Court, NotUnderstood, understood
    from cloud_bridge.predecessor_source import read_file, read_project
    from edge_agent.runtime.clock import SystemClock

    zone = _zone(settings.device.timezone)
    longest = settings.booking.max_minutes
    if file is not None:
        return understood(read_file(file), SystemClock().wall(), Court(zone, None, longest))
    bookings = settings.bookings
    if not bookings.url or bookings.key is None:
        raise NotUnderstood(
            "bookings.url and bookings.key (SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY) are needed"
        )
    document = read_project(bookings.url, bookings.key.get_secret_value())
    return understood(document, SystemClock().wall(), Court(zone, settings.device.id, longest))


def _zone(name: str) -> ZoneInfo:
    """The court's; a wrong one would move every booking, so there is no other in its place."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"device.timezone = {name!r}: no such zone, one like Europe/Berlin was expected", 78)


def _save(
    bookings: "Iterable[NewBooking]", settings: "Settings", *, dry_run: bool
) -> tuple[list[str], int, list[str]]:
    """Ids taken, how many were there already, and a line for each that was not taken."""
    from contextlib import closing

    from cloud_bridge.stores import Conflict, Overlap, StoreError, open_store

    taken: list[str] = []
    refused: list[str] = []
    there = 0
    try:
        with closing(open_store(settings)) as store:
            for booking in bookings:
                if store.booking(booking.id) is not None:
                    there += 1
                    continue
                try:
                    if not dry_run:
                        store.create_booking(booking)
                    taken.append(booking.id)
                except (Conflict, Overlap) as error:
                    refused.append(f"{booking.id}: {error.text}")
    except StoreError as error:
        fail(f"import rows: {error.text}")
    return taken, there, refused
