"""What a camera knows of the bookings: which stand, what they must not take, and where films are cut.

A booking that vanished counts as withdrawn only when a `schedule/sync` proves that the ones present are
all there are; until then the last one known stands. Pure.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.effects import RingFile
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.topics import Address

CUTS_BACK_NS = 2 * SECOND_NS
CUTS_AHEAD_NS = 600 * SECOND_NS


@dataclass(frozen=True)
class Schedule:
    """The bookings last seen, and which of them the broker holds now.

    Attributes:
        bookings: last known message of every booking, cleared ones included.
        present: ids the broker holds.
        withdrawn: ids that a matching snapshot proved gone.
        sync: the last snapshot marker.
        newest: the highest generation of a marker that was ever heard, by an earlier run too.
    """

    bookings: Mapping[str, Booking] = field(default_factory=dict[str, Booking])
    present: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    sync: ScheduleSync | None = None
    newest: int = 0


@dataclass(frozen=True)
class Taken:
    """Wall time, half open, that a booking may not have: whose it is; crossing: asking for it is refused."""

    begin_ns: int
    end_ns: int
    by: str
    reason: str
    crossing: bool


def last_seen(topics: Mapping[Address[Any], Message]) -> Schedule:
    """What an earlier run knew: the bookings last seen, and how new their marker was.

    The broker may come back from a power cut with less: an older marker proves nothing gone then.
    """
    bookings = {at["id"]: message for at, message in topics.items() if isinstance(message, Booking)}
    markers = (message.generation for message in topics.values() if isinstance(message, ScheduleSync))
    return Schedule(bookings=bookings, newest=max(markers, default=0))


def heard(schedule: Schedule, booking_id: str, booking: Booking | None) -> Schedule:
    """One booking changed, or its topic was cleared (None): then the last one known stays for now."""
    if booking is None:
        return _settle(replace(schedule, present=schedule.present - {booking_id}))
    bookings = {**schedule.bookings, booking_id: booking}
    present, withdrawn = schedule.present | {booking_id}, schedule.withdrawn - {booking_id}
    return _settle(replace(schedule, bookings=bookings, present=present, withdrawn=withdrawn))


def heard_all(schedule: Schedule, bookings: Mapping[str, Booking], sync: ScheduleSync | None) -> Schedule:
    """A whole snapshot of the broker; a booking absent from it stays unless the marker proves it gone.

    A broker that was killed comes back with what it last wrote to its disk: a marker older than the one
    known tells, and then nothing is gone and no booking goes back to what it was.
    """
    withdrawn = schedule.withdrawn - bookings.keys()
    present = frozenset(bookings)
    if sync is not None and sync.generation < schedule.newest:
        known = {**bookings, **schedule.bookings}
        return _settle(replace(schedule, bookings=known, present=present, withdrawn=withdrawn))
    known = {**schedule.bookings, **bookings}
    newest = sync.generation if sync is not None else schedule.newest
    return _settle(Schedule(known, present, withdrawn, sync or schedule.sync, newest))


def heard_sync(schedule: Schedule, sync: ScheduleSync | None) -> Schedule:
    """The snapshot marker changed."""
    newest = sync.generation if sync is not None else schedule.newest
    return _settle(replace(schedule, sync=sync, newest=newest))


def forget(schedule: Schedule, booking_id: str) -> Schedule:
    """Drop a booking that is gone and of no more interest; one still present stays."""
    if booking_id in schedule.present or booking_id not in schedule.bookings:
        return schedule
    bookings = {key: booking for key, booking in schedule.bookings.items() if key != booking_id}
    return replace(schedule, bookings=bookings, withdrawn=schedule.withdrawn - {booking_id})


def _settle(schedule: Schedule) -> Schedule:
    sync, present = schedule.sync, schedule.present
    if sync is None or sync.count != len(present):
        return schedule
    absent = schedule.bookings.keys() - present
    if not absent or sync.digest != schedule_digest((key, schedule.bookings[key].rev) for key in present):
        return schedule
    return replace(schedule, withdrawn=schedule.withdrawn | absent)


def standing(schedule: Schedule) -> dict[str, Booking]:
    """Confirmed bookings that are not withdrawn, recorded or not."""
    return {
        key: booking
        for key, booking in schedule.bookings.items()
        if booking.status == "confirmed" and key not in schedule.withdrawn
    }


def wanted(schedule: Schedule, booking_id: str) -> bool:
    """Whether a booking is to be recorded as far as is known."""
    booking = schedule.bookings.get(booking_id)
    return booking is not None and booking.wanted and booking_id not in schedule.withdrawn


def taken_from(booking_id: str, booking: Booking, others: Mapping[str, Booking]) -> tuple[Taken, ...]:
    """What a booking must leave alone between its `from` and `to`.

    Booked time may overlap booked time (the database's business); pre-roll, post-roll, manual bookings and
    cuts may not reach into another booking's time; time under ``record: no`` is available to nobody.
    ``others`` are the standing bookings (its own entry is ignored).
    """
    found: list[Taken] = []
    for other_id, other in others.items():
        if other_id == booking_id or wall_ns(other.end) < wall_ns(booking.from_) - 86_400 * SECOND_NS:
            continue
        if other.record == "no":
            span = _meet(
                (wall_ns(booking.from_), wall_ns(booking.to)), wall_ns(other.from_), wall_ns(other.to)
            )
            found.extend(
                Taken(*one, other_id, "time that must not be recorded", crossing=False) for one in span
            )
        if _owns_time(other_id, other, booking_id, booking):
            for guest in _guest_spans(booking):
                met = _meet(guest, wall_ns(other.start), wall_ns(other.end))
                found.extend(Taken(*one, other_id, "another booking's time", crossing=True) for one in met)
    return tuple(sorted(found, key=lambda one: (one.begin_ns, one.end_ns, one.by)))


def _owns_time(other_id: str, other: Booking, booking_id: str, booking: Booking) -> bool:
    if other.kind == "cut" or (other.of or other_id) == (booking.of or booking_id):
        return False
    if other.kind == "manual" and booking.kind == "manual":
        return (other.start, other_id) < (booking.start, booking_id)
    return True


def _guest_spans(booking: Booking) -> tuple[tuple[int, int], ...]:
    begin, end = wall_ns(booking.from_), wall_ns(booking.to)
    if booking.kind != "booked":
        return ((begin, end),)
    return ((begin, min(end, wall_ns(booking.start))), (max(begin, wall_ns(booking.end)), end))


def _meet(span: tuple[int, int], begin_ns: int, end_ns: int) -> tuple[tuple[int, int], ...]:
    begin, end = max(span[0], begin_ns), min(span[1], end_ns)
    return ((begin, end),) if begin < end else ()


def frames_between(file: RingFile, begin_ns: int, end_ns: int) -> tuple[int, int]:
    """Indexes (first, after last) of a file's frames captured in [begin, end), monotonic of its boot."""
    if end_ns <= file.t0_ns or begin_ns >= file.end_ns:
        return 0, 0
    first = bisect_left(file.offsets_us, -((file.t0_ns - begin_ns) // 1000))
    after = bisect_left(file.offsets_us, -((file.t0_ns - end_ns) // 1000))
    return first, max(first, after)


def overlapping(files: Iterable[RingFile], begin_ns: int, end_ns: int) -> tuple[RingFile, ...]:
    """The ring files that hold at least one frame of [begin, end)."""

    def holds(file: RingFile) -> bool:
        first, after = frames_between(file, begin_ns, end_ns)
        return first < after

    return tuple(file for file in files if holds(file))


def cut_times(borders_ns: Iterable[int], now_ns: int) -> tuple[int, ...]:
    """Planned starts and ends (monotonic) that capture has to know now, sorted, each once."""
    near = {at for at in borders_ns if now_ns - CUTS_BACK_NS <= at <= now_ns + CUTS_AHEAD_NS}
    return tuple(sorted(near))
