"""Commands about bookings: what each one asks of the store, or why it is refused. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud_bridge.resolve import forbidden, last_border, moment, next_start, running
from edge_agent.core.agent import Asked
from edge_agent.core.effects import AutomaticEntry, BookingEntry, ChangeEntry, OrderEntry, StoredBooking
from edge_agent.core.settings import Settings
from schemas.base import Message, utc_text
from schemas.booking import Booking
from schemas.commands import Answer, AutomaticArgs, BookArgs, BookingIdArgs, CutArgs, ExtendArgs, StartArgs
from schemas.recording import MergeStage


@dataclass(frozen=True)
class View:
    """What an order is judged by. ``final``: recordings that have come to their end."""

    bookings: Mapping[str, Booking]
    rows: Mapping[str, StoredBooking]
    merges: Mapping[str, MergeStage]
    final: frozenset[str]
    now: datetime
    settings: Settings


@dataclass(frozen=True)
class Order:
    """A command on its way, and its answer if that goes well.

    Attributes:
        at_court: it holds at once, whatever the store says of it.
        queued: it is on its way into the outbox, not to the store.
        remote: it came from afar: its answer goes there.
    """

    asked: Asked
    entry: OrderEntry
    good: Answer
    at_court: bool = False
    queued: bool = False
    remote: bool = False


def take(asked: Asked, view: View) -> Order | Answer:
    """What a command comes to: an order, or an answer at once."""
    args: Message = asked.args
    match args:
        case BookArgs():
            return _book(asked, args, view)
        case BookingIdArgs():
            return _cancel(asked, args, view)
        case ExtendArgs():
            return _extend(asked, args, view)
        case StartArgs():
            return _start(asked, args, view)
        case CutArgs():
            return _cut(asked, args, view)
        case AutomaticArgs():
            word = "on" if args.on else "off"
            return _order(asked, AutomaticEntry(args.on), f"automatic recording {word}")
        case _ if asked.name == "stop":
            return _stop(asked, view)
        case _ if asked.name == "log_level":
            return Answer(id=asked.id, status="ok", message="log level set")
        case _:
            return _no(asked, f"bridge knows no {asked.name}")


JUST_ENDED = timedelta(seconds=60)
"""How long after the end of a recording a `stop` means that one."""


def booking_id_for(command_id: str) -> str:
    """The booking a command makes when it names none: the same command always makes the same one."""
    return "b" + hashlib.blake2b(command_id.encode(), digest_size=8).hexdigest()


def refusal(start: datetime, end: datetime, now: datetime, settings: Settings) -> str | None:
    """Why the court cannot be booked from start to end, whoever asks; None when nothing speaks against it."""
    if end <= start:
        return f"end {utc_text(end)} is not after start {utc_text(start)}"
    if end - start > timedelta(minutes=settings.booking.max_minutes):
        minutes = round((end - start).total_seconds() / 60)
        return f"{minutes} minutes, at most {settings.booking.max_minutes} can be booked"
    if end <= now:
        return f"end {utc_text(end)} is in the past"
    return None


def _no(asked: Asked, why: str) -> Answer:
    return Answer(id=asked.id, status="rejected", message=why)


def _order(asked: Asked, entry: OrderEntry, message: str, *, at_court: bool = False, **data: str) -> Order:
    good = Answer(id=asked.id, status="ok", message=message, data=dict(data))
    return Order(asked, entry, good, at_court)


def _book(asked: Asked, args: BookArgs, view: View) -> Order | Answer:
    why = refusal(args.start, args.end, view.now, view.settings)
    if why is not None:
        return _no(asked, why)
    booking_id = args.id or booking_id_for(asked.id)
    if "record" not in args.model_fields_set:
        args = args.replace(record=view.settings.booking.record)
    entry = BookingEntry(booking_id, "booked", utc_text(args.start), utc_text(args.end), args)
    return _order(asked, entry, f"booked {booking_id}", id=booking_id)


def _cancel(asked: Asked, args: BookingIdArgs, view: View) -> Order | Answer:
    if args.id not in view.rows:
        return _no(asked, f"there is no booking {args.id}")
    if args.id in view.final and view.rows[args.id].status == "confirmed":
        return _no(asked, f"{args.id} is over, it can no longer be cancelled")
    entry = ChangeEntry(args.id, {"status": "cancelled"})
    return _order(asked, entry, f"cancelled {args.id}", id=args.id)


def _extend(asked: Asked, args: ExtendArgs, view: View) -> Order | Answer:
    row = view.rows.get(args.id)
    if row is None:
        return _no(asked, f"there is no booking {args.id}")
    try:
        why = _why_not_extend(row, args, view)
        start = moment(row.start)
    except ValueError:
        return _no(asked, f"{args.id}: its times cannot be read")
    if why is not None:
        return _no(asked, why)
    end = max(args.to, view.now) if start < view.now else args.to
    entry = ChangeEntry(args.id, {"end": utc_text(end)})
    return _order(asked, entry, f"{args.id} now ends at {utc_text(end)}", id=args.id)


def _why_not_extend(row: StoredBooking, args: ExtendArgs, view: View) -> str | None:
    if row.status != "confirmed":
        return f"{args.id} is cancelled"
    merge, booking = view.merges.get(args.id), view.bookings.get(args.id)
    if args.id in view.final or (merge is not None and merge.status == "succeeded"):
        return f"the film of {args.id} is closed, its end can no longer move"
    start = moment(row.start)
    if args.to <= start:
        return f"to {utc_text(args.to)} is not after the start {row.start}"
    if args.to - start > timedelta(minutes=view.settings.booking.max_minutes):
        return f"at most {view.settings.booking.max_minutes} minutes can be recorded"
    to = booking.to if booking is not None else moment(row.end)
    if to <= view.now and (
        args.to <= view.now or view.now - to > timedelta(seconds=view.settings.storage.ring_s)
    ):
        return f"{args.id} ended at {utc_text(to)}"
    return None


def _start(asked: Asked, args: StartArgs, view: View) -> Order | Answer:
    if forbidden(view.bookings, view.now):
        return _no(asked, "this time is not to be recorded")
    live = running(view.bookings, view.now)
    if live:
        answer = f"{live[0]} is being recorded already"
        return Answer(id=asked.id, status="ok", message=answer, data={"id": live[0]})
    minutes = min(args.minutes or view.settings.booking.max_minutes, view.settings.booking.max_minutes)
    end = view.now + timedelta(minutes=minutes)
    border = next_start(view.bookings, view.now)
    if border is not None:
        end = min(end, border)
    booking_id = booking_id_for(asked.id)
    entry = BookingEntry(booking_id, "manual", utc_text(view.now), utc_text(end), None)
    told = f"recording {booking_id} until {utc_text(end)}"
    return _order(asked, entry, told, at_court=True, id=booking_id)


def _stop(asked: Asked, view: View) -> Order | Answer:
    live = running(view.bookings, view.now)
    if not live:
        return _stopped_before(asked, view)
    booking = view.bookings[live[0]]
    # The post-roll comes on top of the end: now is meant to be the end of all.
    post_s = view.settings.booking.post_s if booking.kind == "booked" else 0
    end = max(booking.start, view.now - timedelta(seconds=post_s))
    entry = ChangeEntry(live[0], {"end": utc_text(end)})
    return _order(asked, entry, f"stopped {live[0]}", at_court=True, id=live[0])


def _stopped_before(asked: Asked, view: View) -> Answer:
    """Pressed again at once, or asked again after a kill between deed and answer: that is no refusal."""
    ended = [
        (booking.to, booking_id)
        for booking_id, booking in view.bookings.items()
        if booking.wanted and view.now - JUST_ENDED <= booking.to <= view.now
    ]
    if not ended:
        return _no(asked, "nothing is being recorded")
    _, booking_id = max(ended)
    return Answer(id=asked.id, status="ok", message=f"{booking_id} has just ended", data={"id": booking_id})


def _cut(asked: Asked, args: CutArgs, view: View) -> Order | Answer:
    if forbidden(view.bookings, view.now):
        return _no(asked, "this time is not to be recorded")
    live = running(view.bookings, view.now)
    of = live[0] if live else None
    reach_s = args.last_s if live else min(args.last_s, view.settings.storage.ring_s)
    earliest = view.bookings[live[0]].from_ if live else last_border(view.bookings, view.now)
    begin = view.now - timedelta(seconds=reach_s)
    if earliest is not None:
        begin = max(begin, earliest)
    if begin >= view.now:
        return _no(asked, "there is nothing to cut yet")
    booking_id = booking_id_for(asked.id)
    entry = BookingEntry(booking_id, "cut", utc_text(begin), utc_text(view.now), None, of)
    return _order(asked, entry, f"cutting {booking_id}", at_court=True, id=booking_id)
