"""The form of a booking: what was typed, and what it asks of the store. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from cloud_bridge.api.models import BookingIn, BookingPatch
from cloud_bridge.api.operator_time import Unclear, at, changes_at, typed_clock, typed_day, which_of
from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import BookingRow
from edge_agent.core.settings import Settings

B = TypeVar("B", bound=BaseModel)
MOST_CONTACTS = 20
LONGEST = 200


@dataclass(frozen=True)
class Typed:
    """What stands in the form's fields, as text. ``which_*``: of a time that comes twice."""

    day: str = ""
    start: str = ""
    end: str = ""
    which_start: str = ""
    which_end: str = ""
    title: str = ""
    contacts: str = ""
    record: str = "yes"
    audience: str = "link"

    @classmethod
    def of_form(cls, form: Mapping[str, str]) -> Self:
        """What a browser sent."""
        return cls(**{one.name: form.get(one.name, "").strip() for one in fields(cls)})

    @classmethod
    def of_row(cls, row: BookingRow, zone: tzinfo) -> Self:
        """A stored booking, to be changed."""
        start, end = moment(row.stored.start), moment(row.stored.end)
        begin, finish = start.astimezone(zone), end.astimezone(zone)
        return cls(
            f"{begin:%Y-%m-%d}",
            f"{begin:%H:%M}",
            f"{finish:%H:%M}",
            which_of(start, zone),
            which_of(end, zone),
            row.title or "",
            ", ".join(row.contacts),
            row.stored.record,
            row.stored.audience,
        )

    @classmethod
    def fresh(cls, now: datetime, settings: Settings, zone: tzinfo) -> Self:
        """An empty form: the next full hour."""
        begin = (now + timedelta(hours=1)).astimezone(zone).replace(minute=0)
        finish = begin + timedelta(hours=1)
        texts = (f"{begin:%Y-%m-%d}", f"{begin:%H:%M}", f"{finish:%H:%M}")
        return cls(*texts, record=settings.booking.record)

    def on(self, day: str | None) -> Self:
        """The same on another day, if that is one."""
        try:
            return replace(self, day=typed_day(day or "").isoformat())
        except Unclear:
            return self

    def asks(self, zone: tzinfo) -> tuple[bool, bool]:
        """Whether the start and the end come twice, so that the form has to ask which one."""
        try:
            day, start, end = typed_day(self.day), typed_clock(self.start), typed_clock(self.end)
        except Unclear:
            return False, False
        twice = changes_at(day, start, zone) == "back"
        last = day if end > start or (twice and changes_at(day, end, zone)) else day + timedelta(days=1)
        return twice, changes_at(last, end, zone) == "back"


def times(typed: Typed, zone: tzinfo) -> tuple[datetime, datetime]:
    """Start and end, aware UTC. An end that is not after the start is on the next day.

    Raises:
        Unclear: they are no times, or not these alone.
    """
    day, start, end = typed_day(typed.day), typed_clock(typed.start), typed_clock(typed.end)
    begin = at(day, start, zone, typed.which_start)
    if end > start or _in_one_repeated_hour(typed, start, end, zone):
        finish = at(day, end, zone, typed.which_end)
        if finish > begin:
            return begin, finish
    return begin, at(day + timedelta(days=1), end, zone, typed.which_end)


def _in_one_repeated_hour(typed: Typed, start: time, end: time, zone: tzinfo) -> bool:
    day = typed_day(typed.day)
    return changes_at(day, start, zone) == "back" and changes_at(day, end, zone) == "back"


def new_booking(typed: Typed, booking_id: str, settings: Settings, zone: tzinfo) -> BookingIn:
    """What a form asks to make.

    Raises:
        Unclear: it cannot be made of what was typed.
    """
    start, end = times(typed, zone)
    _refuse_long(start, end, settings)
    more = {"record": typed.record, "audience": typed.audience, **_people(typed)}
    return _valid(BookingIn, {"id": booking_id, "start": start, "end": end, **more})


def change_of(typed: Typed, row: BookingRow, settings: Settings, zone: tzinfo) -> BookingPatch | None:
    """What a form asks to change: only what is another than in the row; None: nothing.

    Raises:
        Unclear: it cannot be made of what was typed.
    """
    before, changes = Typed.of_row(row, zone), dict[str, object]()
    typed = _still_meant(typed, before)
    moved = (typed.day, typed.start, typed.which_start) != (before.day, before.start, before.which_start)
    ended = (typed.day, typed.end, typed.which_end) != (before.day, before.end, before.which_end)
    if moved or ended:
        start, end = times(typed, zone)
        changes |= {"start": start} if moved else {}
        changes |= {"end": end} if ended else {}
        _refuse_long(start, end, settings)
    if typed.title != before.title:
        changes["title"] = _people(typed)["title"]
    if typed.contacts != before.contacts:
        changes["contacts"] = _people(typed)["contacts"]
    for name in ("record", "audience"):
        if getattr(typed, name) != getattr(before, name):
            changes[name] = getattr(typed, name)
    return _valid(BookingPatch, changes) if changes else None


def _still_meant(typed: Typed, before: Typed) -> Typed:
    """Which of two a time is need not be said again while its time is the same."""
    if not typed.which_start and (typed.day, typed.start) == (before.day, before.start):
        typed = replace(typed, which_start=before.which_start)
    if not typed.which_end and (typed.day, typed.end) == (before.day, before.end):
        typed = replace(typed, which_end=before.which_end)
    return typed


def _refuse_long(start: datetime, end: datetime, settings: Settings) -> None:
    minutes, most = round((end - start).total_seconds() / 60), settings.booking.max_minutes
    if minutes > most:
        raise Unclear(
            f"That is {_spoken_minutes(minutes)}; at most {_spoken_minutes(most)} can be booked. "
            "An end that is not later than the start is on the next day."
        )


def _spoken_minutes(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{rest} min"] if rest or not hours else [])])


def _people(typed: Typed) -> dict[str, Any]:
    contacts = tuple(one for part in re.split(r"[,;\n]", typed.contacts) if (one := _line(part)))
    title = _line(typed.title)
    if len(title) > LONGEST:
        raise Unclear(f"The title has {len(title)} characters; at most {LONGEST} are kept.")
    if len(contacts) > MOST_CONTACTS:
        raise Unclear(f"{len(contacts)} addresses; at most {MOST_CONTACTS} can be told.")
    if any(len(one) > LONGEST for one in contacts):
        raise Unclear(f"An address has more than {LONGEST} characters.")
    return {"title": title or None, "contacts": contacts}


def _line(text: str) -> str:
    """One line of what was typed; control characters become spaces."""
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text).split())


def _valid(model: type[B], values: Mapping[str, object]) -> B:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "booking"
        raise Unclear(f"{where}: {first['msg']}.") from None
