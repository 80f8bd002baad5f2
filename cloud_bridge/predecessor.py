"""The predecessor's booking rows as bookings of ours: both file shapes, every form of time it wrote. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import cast

from cloud_bridge.stores.base import NewBooking
from schemas.base import ID_PATTERN, utc_text

CONFIRMED = frozenset({"", "confirmed", "scheduled", "booked", "pending", "active", "recording"})
CANCELLED = frozenset({"cancelled", "canceled", "deleted"})
OVER = frozenset(
    {"recordingfinished", "processing", "uploading", "uploaded", "completed", "failed", "video_processed"}
    | {"video_uploaded", "skippedmissingfile"}
)
TITLE_CHARS = 200
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?")
_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f]{1,100}@[^@\s\x00-\x1f\x7f]{1,90}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


class NotUnderstood(ValueError):
    """Something that is no booking, or no file of bookings; one line says why."""


@dataclass(frozen=True)
class Court:
    """What rows are read for.

    Attributes:
        zone: what a time without a zone is meant in.
        camera: id of the device; rows of another camera are left out. None: every row is of this device, as
            in the file on the device, whatever it calls it.
        max_minutes: the longest booking.
    """

    zone: tzinfo
    camera: str | None = None
    max_minutes: int = 240


@dataclass(frozen=True)
class Understood:
    """What a document comes to.

    Attributes:
        bookings: those that are still to be played, in the document's order, each id once.
        over, cancelled, elsewhere, repeated: how many rows were left out as past, cancelled, of another
            camera, or of an id that was there before.
        lines: rows that could not be understood, and what of an understood one was left out; one line each.
    """

    bookings: tuple[NewBooking, ...]
    over: int
    cancelled: int
    elsewhere: int
    repeated: int
    lines: tuple[str, ...]


def rows_of(document: object) -> list[object]:
    """The rows of a document: a bare list, or an object with ``bookings``.

    Raises:
        NotUnderstood: it is neither.
    """
    if isinstance(document, Mapping):
        document = cast("Mapping[str, object]", document).get("bookings")
    if not isinstance(document, list):
        raise NotUnderstood('no bookings in it: a list was expected, or {"bookings": [...]}')
    return cast("list[object]", document)


def understood(document: object, now: datetime, court: Court) -> Understood:
    """The bookings of a document that are not over at ``now``.

    Raises:
        NotUnderstood: as `rows_of`.
    """
    bookings: dict[str, NewBooking] = {}
    left = {"over": 0, "cancelled": 0, "elsewhere": 0, "repeated": 0}
    lines: list[str] = []
    for number, row in enumerate(rows_of(document), 1):
        try:
            fields = _fields(row)
            why = _left_out(fields, court)
            booking = None if why else _booking(fields, court, lines, number)
        except NotUnderstood as error:
            lines.append(f"{_name(row, number)}: {error}")
            continue
        if booking is not None and booking.end <= now:
            why = "over"
        elif booking is not None and booking.id in bookings:
            why = "repeated"
        if why:
            left[why] += 1
        elif booking is not None:
            bookings[booking.id] = booking
    return Understood(tuple(bookings.values()), lines=tuple(lines), **left)


def moment(text: str, day: date | None, zone: tzinfo) -> datetime:
    """An aware time, from any form the predecessor wrote.

    With a zone: that moment. Without: the court's clock. A time of day alone: on that day.

    Raises:
        NotUnderstood: it is none.
    """
    text = text.strip()
    clock = _CLOCK.fullmatch(text)
    try:
        if clock is not None:
            if day is None:
                raise NotUnderstood(f"{_short(text)} is a time of day, and the row has no date")
            hour, minute, second, micros = (int(part or 0) for part in clock.groups(default=""))
            micros *= 10 ** (6 - len(clock[4] or "000000"))
            found = datetime.combine(day, time(hour, minute, second, micros))
        else:
            found = datetime.fromisoformat(text.upper())
        if len(text) <= len("2026-03-01") and clock is None:
            raise NotUnderstood(f"{_short(text)} is a day, a time was expected")
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if isinstance(error, NotUnderstood):
            raise
        raise NotUnderstood(f"{_short(text)} is no time") from None


def _fields(row: object) -> Mapping[str, object]:
    if not isinstance(row, Mapping):
        raise NotUnderstood(f"{_short(row)} is no row, an object was expected")
    return cast("Mapping[str, object]", row)


def _left_out(row: Mapping[str, object], court: Court) -> str | None:
    status = str(row.get("status") or "").strip().lower()
    if court.camera is not None:
        camera = str(row.get("camera_id") or "").strip().lower()
        if camera not in ("", "0", court.camera):
            return "elsewhere"
    if status in CANCELLED:
        return "cancelled"
    if status in OVER:
        return "over"
    if status not in CONFIRMED:
        raise NotUnderstood(f"status {_short(row.get('status'))} is none the predecessor wrote")
    return None


def _booking(row: Mapping[str, object], court: Court, lines: list[str], number: int) -> NewBooking:
    start, end = _times(row, court.zone)
    if end <= start:
        raise NotUnderstood(f"its end {utc_text(end)} is not after its start {utc_text(start)}")
    if end - start > timedelta(minutes=court.max_minutes):
        raise NotUnderstood(f"it is longer than booking.max_minutes ({court.max_minutes})")
    owner = str(row.get("user_id") or "").strip().lower()
    return NewBooking(
        id=_id(row, start, end),
        kind="booked",
        start=start,
        end=end,
        owner=owner if re.fullmatch(ID_PATTERN, owner) else None,
        title=_title(row),
        contacts=_contacts(row, lines, number),
    )


def _times(row: Mapping[str, object], zone: tzinfo) -> tuple[datetime, datetime]:
    day = _day(row.get("date"))
    texts = [_text(row, name) for name in ("start_time", "end_time")]
    start = moment(texts[0], day, zone)
    local = start.astimezone(zone).date()
    end = moment(texts[1], day or local, zone)
    if end <= start and _CLOCK.fullmatch(texts[1].strip()):  # the clock went past midnight
        end = moment(texts[1], (day or local) + timedelta(days=1), zone)
    return start, end


def _day(value: object) -> date | None:
    if value in (None, ""):
        return None
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        raise NotUnderstood(f"date {_short(value)} is none") from None


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise NotUnderstood(
            f"it has no {name}" if value in (None, "") else f"{name} {_short(value)} is no time"
        )
    return value


def _id(row: Mapping[str, object], start: datetime, end: datetime) -> str:
    """Its id; a row without one gets one made of what it says, the same each time."""
    given = row.get("id")
    if given in (None, ""):
        said = f"{utc_text(start)} {utc_text(end)} {row.get('user_id') or ''}"
        return "import-" + hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:20]
    text = str(given).strip().lower()
    if not re.fullmatch(ID_PATTERN, text):
        raise NotUnderstood(f"id {_short(given)} is none: a-z, 0-9, - and _ were expected")
    return text


def _title(row: Mapping[str, object]) -> str | None:
    for name in ("title", "description"):
        text = row.get(name)
        if isinstance(text, str) and (plain := _UNSEEN.sub(" ", text).strip()):
            return plain[:TITLE_CHARS]
    return None


def _contacts(row: Mapping[str, object], lines: list[str], number: int) -> tuple[str, ...]:
    address = row.get("email")
    if address in (None, ""):
        return ()
    if isinstance(address, str) and _ADDRESS.fullmatch(address.strip()):
        return (address.strip(),)
    lines.append(f"{_name(row, number)}: its email is no address, taken over without")
    return ()


def _name(row: object, number: int) -> str:
    given = cast("Mapping[str, object]", row).get("id") if isinstance(row, Mapping) else None
    return f"row {number}" if given in (None, "") else f"row {number}, {_short(given)}"


def _short(value: object) -> str:
    return repr(value if isinstance(value, str | int | float | bool | None) else type(value).__name__)[:60]
