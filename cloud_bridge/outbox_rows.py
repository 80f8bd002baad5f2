"""Entries of the outbox as rows of its file, and back. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import TypeVar, cast

from pydantic import JsonValue

from edge_agent.core.effects import (
    AnswerEntry,
    AutomaticEntry,
    BookingEntry,
    ChangeEntry,
    Entry,
    Notice,
    NoticeEntry,
    OrderEntry,
    ResultEntry,
    ShareEntry,
    StoredBooking,
    StoredCommand,
    StoredMedia,
)
from schemas.base import validate
from schemas.commands import BookArgs, command_for

T = TypeVar("T")
Body = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Row:
    """An entry as the file has it.

    ``kind``: result, notice, answer, share, booking, change, automatic; ``subject``: the booking's id, the
    notice's, the command's; ``part``: a result's kind.
    """

    kind: str
    subject: str
    part: str
    body: Body


@dataclass(frozen=True)
class Waiting:
    """An entry that the store does not have."""

    seq: int
    row: Row


@dataclass
class Settled:
    """What became of some entries: gone into the store, or set aside (number -> why).

    ``rows``: bookings as the store has them now.
    """

    done: list[Waiting] = field(default_factory=list[Waiting])
    aside: list[tuple[Waiting, str]] = field(default_factory=list[tuple[Waiting, str]])
    rows: list[StoredBooking] = field(default_factory=list[StoredBooking])


def to_row(entry: Entry) -> Row:
    """The row of an entry."""
    match entry:
        case ResultEntry():
            return Row("result", entry.booking_id, entry.kind, entry.message.body())
        case NoticeEntry(notice=notice):
            return Row("notice", notice.id, "", cast("Body", asdict(notice)))
        case AnswerEntry():
            return Row("answer", entry.command_id, "", entry.answer.body())
        case ShareEntry():
            return Row("share", entry.booking_id, "", {"expires_at": entry.expires_at})
        case BookingEntry():
            request = entry.request.body() if entry.request is not None else None
            body: dict[str, JsonValue] = {
                "kind": entry.kind,
                "start": entry.start,
                "end": entry.end,
                "request": request,
                "of": entry.of,
            }
            return Row("booking", entry.booking_id, "", body)
        case ChangeEntry():
            before = dict[str, JsonValue](entry.before) if entry.before is not None else None
            changes = dict[str, JsonValue](entry.changes)
            return Row("change", entry.booking_id, "", {"changes": changes, "before": before})
        case AutomaticEntry():
            return Row("automatic", "", "", {"on": entry.on})


def order_of(row: Row) -> OrderEntry | None:
    """The booking or change a row is; None for any other.

    Raises:
        ValueError: it is one of another version, and not understood.
    """
    body = row.body
    match row.kind:
        case "booking":
            request = body["request"]
            return BookingEntry(
                row.subject,
                str(body["kind"]),
                str(body["start"]),
                str(body["end"]),
                validate(BookArgs, request) if isinstance(request, Mapping) else None,
                str(body["of"]) if body["of"] is not None else None,
            )
        case "change":
            return ChangeEntry(row.subject, _texts(body["changes"]) or {}, _texts(body["before"]))
        case "automatic":
            return AutomaticEntry(bool(body["on"]))
        case _:
            return None


def notice_of(body: Body) -> Notice:
    """A notice from the body of its row."""
    data = body["data"]
    return Notice(
        id=str(body["id"]),
        kind=str(body["kind"]),
        subject=str(body["subject"]),
        at=str(body["at"]),
        data=data if isinstance(data, Mapping) else {},
    )


def booking_of(body: Body) -> StoredBooking:
    """A booking as it was seen, from its body.

    Raises:
        ValueError: it is none.
    """
    dressing = body.get("dressing")
    medias = [media for media in dressing if isinstance(media, Mapping)] if isinstance(dressing, list) else []
    deliver = body.get("deliver")
    return made(
        StoredBooking,
        {
            **body,
            "deliver": tuple(deliver) if isinstance(deliver, list) else ("film",),
            "dressing": tuple(made(StoredMedia, media) for media in medias),
        },
    )


def command_body(command: StoredCommand) -> Body:
    """A command taken over, for the file."""
    body = asdict(command)
    body["request"] = command.request.body() if command.request is not None else None
    return cast("Body", body)


def command_of(body: Body) -> StoredCommand:
    """A command from its body, its arguments validated again.

    Raises:
        ValueError: it is none.
    """
    spec = command_for(str(body.get("target")), str(body.get("name")))
    request = body.get("request")
    asked = validate(spec.args, request) if spec is not None and isinstance(request, Mapping) else None
    return made(StoredCommand, {**body, "request": asked})


def made(cls: type[T], fields: Mapping[str, object]) -> T:
    """A dataclass from a body; what it has no field for was another version's and is left out.

    Raises:
        ValueError: a field is missing.
    """
    known = {one.name for one in dataclass_fields(cls)}  # type: ignore[arg-type]
    try:
        return cls(**{name: value for name, value in fields.items() if name in known})
    except TypeError as error:
        raise ValueError(str(error)) from None


def text_of(body: Body) -> str:
    """A body as text, always the same for the same body."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def digest_of(body: Body) -> str:
    """What tells one body from another."""
    return hashlib.blake2b(text_of(body).encode(), digest_size=12).hexdigest()


def _texts(value: JsonValue) -> Mapping[str, str] | None:
    return {name: str(text) for name, text in value.items()} if isinstance(value, Mapping) else None
