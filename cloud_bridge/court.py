"""Commands about bookings on their way: at once, or through the store, or later by the outbox. Pure.

`start`, `stop` and `cut` hold as soon as they are in the outbox. The others ask the store first, because it
may refuse; while it is away they are accepted, and it is told later.
"""

from dataclasses import replace

from cloud_bridge import orders, schedule
from cloud_bridge.state import Contested, State, is_final, slug, with_alarm
from edge_agent.core.agent import Act, Acts, Asked, Effect, Failed, Reply, Stamp
from edge_agent.core.effects import (
    AnswerEntry,
    AutomaticEntry,
    BookingEntry,
    ChangeBooking,
    ChangeEntry,
    Enqueue,
    Entry,
    OrderEntry,
    Queued,
    QueuedOrder,
    Refused,
    SaveAutomatic,
    SaveBooking,
    StoredBooking,
)
from edge_agent.core.settings import Settings
from schemas.base import utc_text
from schemas.commands import Answer
from schemas.recording import Recording

LATER = "; the booking system will be told when it answers again"
MAX_ANSWERED = 2000
REFUSED_MEND = "Look at this booking in the booking system: there it is as it says."


def view(state: State, stamp: Stamp, settings: Settings) -> orders.View:
    """What an order is judged by: the device's own state, orders not told yet included."""
    final = frozenset(k for (k, _), m in state.results.items() if isinstance(m, Recording) and is_final(m))
    return orders.View(state.bookings, schedule.effective(state), state.merges, final, stamp.wall, settings)


def asked(
    state: State, command: Asked, stamp: Stamp, settings: Settings, *, remote: bool = False
) -> tuple[State, Acts]:
    """A command was given. While another is being written down it waits: it is judged by what that makes."""
    if any(order.queued for order in state.waiting.values()):
        return replace(state, held=(*state.held, (command, remote))), ()
    outcome = orders.take(command, view(state, stamp, settings))
    if isinstance(outcome, Answer):
        return answered(state, outcome, remote=remote)
    return _begun(state, replace(outcome, remote=remote))


def go_on(state: State, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """Commands that waited, in their order."""
    acts: list[Act] = []
    while state.held and not any(order.queued for order in state.waiting.values()):
        (command, remote), *rest = state.held
        state, more = asked(replace(state, held=tuple(rest)), command, stamp, settings, remote=remote)
        acts.extend(more)
    return state, tuple(acts)


def answered(state: State, answer: Answer, *, remote: bool) -> tuple[State, Acts]:
    """The answer goes to whoever asked."""
    if not remote:
        return state, (Reply(answer.id, answer),)
    out = replace(state.out, answers=(*state.out.answers, AnswerEntry(answer.id, answer)))
    return _over(replace(state, out=out), answer.id), ()


def _over(state: State, command_id: str) -> State:
    """A command from afar has its answer; an answer of the store that is under way may name it once more."""
    left = {key: one for key, one in state.commands.items() if key != command_id}
    known = state.answered if len(state.answered) < MAX_ANSWERED else frozenset[str]()
    return replace(state, commands=left, answered=known | {command_id})


def _begun(state: State, order: orders.Order) -> tuple[State, Acts]:
    touches = _subject(order)
    untold = any(getattr(one.entry, "booking_id", "") == touches for one in state.pending)
    never = state.poll_ok_ns is None and not state.failures
    if order.at_court or state.away or never or untold:
        return _queued(state, order)
    effect = _direct(order)
    return replace(state, waiting={**state.waiting, effect.key: order}), (effect,)


def _subject(order: orders.Order) -> str:
    return "" if isinstance(order.entry, AutomaticEntry) else order.entry.booking_id


def _direct(order: orders.Order) -> Effect:
    entry, command_id = order.entry, order.asked.id
    match entry:
        case BookingEntry():
            key = f"book:{entry.booking_id}:{command_id}"
            return SaveBooking(
                key, entry.booking_id, entry.kind, entry.start, entry.end, entry.request, entry.of
            )
        case ChangeEntry():
            return ChangeBooking(f"change:{entry.booking_id}:{command_id}", entry.booking_id, entry.changes)
        case AutomaticEntry():
            return SaveAutomatic(f"automatic:{command_id}", entry.on)


def _queued(state: State, order: orders.Order) -> tuple[State, Acts]:
    refusal = _not_again(state, order)
    if refusal is not None:
        return answered(state, refusal, remote=order.remote)
    good = order.good
    if not order.at_court:
        good = good.replace(status="accepted", message=good.message + LATER)
    order = replace(order, good=good, queued=True)
    entries: tuple[Entry, ...] = (order.entry,)
    if order.remote:
        # With the answer in the same breath the command is done once, whatever is killed now.
        entries = (*entries, AnswerEntry(good.id, good))
    effect = Enqueue(f"order:{order.asked.id}", entries)
    return replace(state, waiting={**state.waiting, effect.key: order}), (effect,)


def _not_again(state: State, order: orders.Order) -> Answer | None:
    """What the store would say to a booking whose id is taken, as far as it is known here."""
    entry = order.entry
    there = schedule.effective(state).get(entry.booking_id) if isinstance(entry, BookingEntry) else None
    if there is None or not isinstance(entry, BookingEntry):
        return None
    if there.status == "cancelled":
        return _cancelled_before(order, there)
    if (there.kind, there.start, there.end) == (entry.kind, entry.start, entry.end):
        return order.good
    text = f"there is another booking {there.id}"
    return Answer(id=order.asked.id, status="rejected", message=text)


def _cancelled_before(order: orders.Order, there: StoredBooking) -> Answer:
    text = f"{there.id} was booked before and is cancelled: book it under another id"
    return Answer(id=order.asked.id, status="rejected", message=text)


def done(state: State, key: str, result: object) -> tuple[State, Acts]:
    """An order has reached the store, or the outbox: it counts at once, not from the next poll on."""
    order = state.waiting[key]
    state = replace(state, waiting={k: o for k, o in state.waiting.items() if k != key})
    if isinstance(result, Queued):
        seq = result.seqs[0]
        state = replace(
            state,
            pending=(*state.pending, QueuedOrder(seq, order.entry)),
            unresolved=True,
            out=replace(state.out, through=max(state.out.through, *result.seqs)),
        )
        if order.remote:
            return _over(state, order.asked.id), ()
        return answered(state, order.good, remote=False)
    good = order.good
    if isinstance(result, StoredBooking):
        if isinstance(order.entry, BookingEntry) and result.status == "cancelled":
            good = _cancelled_before(order, result)
        state = schedule.with_rows(state, (result,))
    elif isinstance(order.entry, AutomaticEntry):
        state = replace(state, stored_automatic=order.entry.on, held_automatic=state.polling, unresolved=True)
    else:
        state = replace(state, polled_ns=None)
    return answered(state, good, remote=order.remote)


def failed(state: State, event: Failed) -> tuple[State, Acts]:
    """An order did not get through: the store is away and it is told later, or it said no."""
    order = state.waiting[event.key]
    state = replace(state, waiting={k: o for k, o in state.waiting.items() if k != event.key})
    if order.queued:
        answer = Answer(id=order.asked.id, status="error", message=f"cannot be kept: {event.text}")
        return answered(state, answer, remote=order.remote)
    if event.kind == "transient":
        return _queued(state, replace(order, entry=_may_have_arrived(state, order)))
    ours = event.kind in ("input", "gone")
    answer = Answer(id=order.asked.id, status="rejected" if ours else "error", message=event.text)
    return answered(state, answer, remote=order.remote)


def _may_have_arrived(state: State, order: orders.Order) -> OrderEntry:
    entry = order.entry
    there = schedule.effective(state).get(entry.booking_id) if isinstance(entry, ChangeEntry) else None
    if there is None or not isinstance(entry, ChangeEntry):
        return entry
    return replace(entry, before={name: str(getattr(there, name)) for name in entry.changes})


def refused(state: State, told: Refused, stamp: Stamp) -> State:
    """The store will not have an order that was answered already: somebody hears of it.

    The device follows the store, but for what a button began: that is recorded, whatever else is.
    """
    order = next((one.entry for one in state.pending if one.seq == told.seq), None)
    row = schedule.effective(state).get(told.subject)
    state = replace(
        state, pending=tuple(one for one in state.pending if one.seq != told.seq), unresolved=True
    )
    if isinstance(order, ChangeEntry) and row is not None and told.subject in state.local:
        return replace(state, local={**state.local, row.id: row})
    if isinstance(order, BookingEntry) and order.kind != "booked" and row is not None:
        state = replace(state, local={**state.local, row.id: row})
        if order.kind == "manual" and row.id not in state.contested:
            contested = {**state.contested, row.id: Contested(order, told)}
            return replace(state, contested=contested, again=True)
    return with_refusal(state, told, stamp)


def reconsidered(state: State, stamp: Stamp) -> State:
    """After the store's next answer: a button pressed in ignorance of a booking ends where that begins."""
    for booking_id, one in state.contested.items():
        booking = state.bookings.get(booking_id)
        if booking is not None and booking.start < booking.end and utc_text(booking.end) < one.entry.end:
            shorter = replace(one.entry, end=utc_text(booking.end))
            state = replace(state, out=replace(state.out, orders=(*state.out.orders, shorter)))
        else:
            state = with_refusal(state, one.refused, stamp)
    return replace(state, contested={}) if state.contested else state


def with_refusal(state: State, told: Refused, stamp: Stamp) -> State:
    """The state with an alarm about an order that the store refused."""
    text = f"{told.subject or 'automatic'}: the booking system refused what was asked here: {told.text}"
    name = f"refused_{slug(told.subject)}"
    return with_alarm(state, name, text, REFUSED_MEND, stamp, told.subject or None)
