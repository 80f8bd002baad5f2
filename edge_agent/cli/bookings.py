"""Bookings by command: the same topics as `mosquitto_pub`, Home Assistant and Node-RED use."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.common import ConfigOption, JsonOption, connect, fail, read_settings, show_answer

if TYPE_CHECKING:
    from schemas.base import Message
    from schemas.commands import BookArgs

ID_HELP = "The booking's id."


def _ask(config: ConfigOption, name: str, args: "Message | None", *, as_json: bool) -> None:
    from edge_agent.runtime.client import NoAnswer, NoBroker

    settings = read_settings(config)
    try:
        with connect(settings) as client:
            answer = client.ask("booking", name, args)
    except (NoBroker, NoAnswer) as error:
        fail(str(error))
    show_answer(answer, as_json=as_json)


def _moment(text: str, option: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text}: expected a time like 2026-05-01T18:00:00+02:00", 2)
    if value.tzinfo is None:
        fail(f"{option} {text}: has no zone, expected one like +02:00 or Z", 2)
    return value


def book(
    from_: Annotated[str | None, typer.Option("--from", metavar="T", help="Start, with its zone.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="T", help="End, with its zone.")] = None,
    in_: Annotated[float | None, typer.Option("--in", metavar="S", help="Start in S seconds.")] = None,
    for_: Annotated[float | None, typer.Option("--for", metavar="S", help="For S seconds.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Its id; made up when left out.")] = None,
    title: Annotated[str | None, typer.Option(help="Shown to the players only.")] = None,
    contact: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Who gets the link.")] = None,
    deliver: Annotated[str, typer.Option(metavar="film,cameras", help="What is delivered.")] = "film",
    no_record: Annotated[bool, typer.Option("--no-record", help="Nothing of this time is recorded.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Book the court: --from and --to, or --in and --for."""
    if from_ is not None and to is not None:
        start, end = _moment(from_, "--from"), _moment(to, "--to")
    elif in_ is not None and for_ is not None:
        try:
            start = datetime.now(UTC) + timedelta(seconds=in_)
            end = start + timedelta(seconds=for_)
        except (ValueError, OverflowError):
            fail(f"book: --in {in_} --for {for_}: expected seconds within a calendar", 2)
    else:
        fail("book: expected --from T --to T, or --in S --for S", 2)
    args = _book_args(start, end, id, title, contact or [], deliver, no_record=no_record)
    _ask(config, "book", args, as_json=json)


def _book_args(
    start: datetime,
    end: datetime,
    booking_id: str | None,
    title: str | None,
    contacts: list[str],
    deliver: str,
    *,
    no_record: bool,
) -> "BookArgs":
    from schemas.base import PayloadError, validate
    from schemas.commands import BookArgs

    try:
        return validate(
            BookArgs,
            {
                "id": booking_id,
                "start": start,
                "end": end,
                "title": title,
                "contacts": contacts,
                "deliver": deliver.split(","),
                "record": "no" if no_record else "yes",
            },
        )
    except PayloadError as error:
        fail(f"book: {error}", 2)


def cancel(
    id: Annotated[str, typer.Argument(help=ID_HELP)], config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Withdraw a booking; a running one stops, its media are kept for 10 minutes."""
    _ask(config, "cancel", _args("BookingIdArgs", {"id": id}), as_json=json)


def extend(
    id: Annotated[str, typer.Argument(help=ID_HELP)],
    to: Annotated[str, typer.Option("--to", metavar="T", help="The new end, with its zone; past means now.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Move the end of a booking, later or earlier."""
    _ask(config, "extend", _args("ExtendArgs", {"id": id, "to": _moment(to, "--to")}), as_json=json)


def start(
    minutes: Annotated[float | None, typer.Option(help="For so long; else until stop.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Record now, as the button on the court does."""
    _ask(config, "start", _args("StartArgs", {"minutes": minutes}), as_json=json)


def stop(config: ConfigOption = None, json: JsonOption = False) -> None:
    """End what is being recorded now, and keep it."""
    _ask(config, "stop", None, as_json=json)


def cut(
    last: Annotated[float, typer.Option("--last", metavar="S", help="The last S seconds.")] = 30,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make a clip of the last seconds."""
    _ask(config, "cut", _args("CutArgs", {"last_s": last}), as_json=json)


def _args(model: str, values: dict[str, object]) -> "Message":
    from schemas import commands
    from schemas.base import Message, PayloadError, validate

    kind: type[Message] = getattr(commands, model)
    try:
        return validate(kind, values)
    except PayloadError as error:
        fail(str(error), 2)
