"""The way out: into the outbox, and from there to the store. Pure.

What is new is written into the outbox in one piece, one piece at a time; what is in it is sent in batches,
one at a time, oldest first. Either may fail, and is tried again later.
"""

from collections.abc import Sequence
from dataclasses import replace

from cloud_bridge import court, results, telling
from cloud_bridge.resolve import moment
from cloud_bridge.schedule import with_rows
from cloud_bridge.state import (
    FORGOTTEN_NS,
    STORE_MEND,
    Outflow,
    Retry,
    State,
    Waiting,
    must_wait,
    slug,
    with_alarm,
    without_alarm,
)
from edge_agent.core.agent import Effect, Failed, Stamp
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import (
    AnswerEntry,
    Enqueue,
    Entry,
    NoticeEntry,
    OutboxInventory,
    Queued,
    QueuedOrder,
    Refused,
    ResultEntry,
    SendBatch,
    Sent,
    ShareEntry,
    ShareMade,
)
from edge_agent.core.settings import Settings
from schemas.recording import Share

KEEP, SEND = "keep", "send"
PATIENCE = 3
"""Tries before somebody is told."""
TORN_MEND = "Send the file to the makers of this software, delete it, and restart the bridge."
UNSTORED_MEND = "Look at the log of the bridge; what could not be stored is kept in its outbox."


def started(state: State, found: OutboxInventory, stamp: Stamp) -> State:
    """The state of a new run with what the last one left in the outbox."""
    out = Outflow(
        through=found.through,
        told=found.told,
        standing={notice.subject: notice for notice in found.standing},
        queued={
            results.slot_of(b, kind): Waiting(seq, None, digest) for b, kind, seq, digest in found.queued
        },
        stored={results.slot_of(b, kind): digest for b, kind, digest in found.stored},
        wished=found.wished,
    )
    state = replace(state, out=out, answered=found.answered)
    if found.trouble is not None:
        state = with_alarm(state, "outbox_torn", f"{found.trouble}: begun anew", TORN_MEND, stamp)
    for told in found.refused:
        state = _set_aside(state, told, stamp)
    return state


# --- what is due ---


def due(state: State, stamp: Stamp, settings: Settings) -> tuple[State, list[Effect]]:
    """What is to be written into the outbox and what is to be sent now."""
    effects: list[Effect] = []
    if not state.out.keeping and not must_wait(state, KEEP, stamp):
        state, entries = _entries(state, stamp, settings)
        if entries:
            state = replace(state, out=replace(state.out, keeping=tuple(entries)))
            effects.append(Enqueue(KEEP, tuple(entries)))
    out = state.out
    lost = out.sending and stamp.mono_ns - out.sending_ns >= FORGOTTEN_NS
    if out.through > out.sent and (lost or not out.sending) and not must_wait(state, SEND, stamp):
        state = replace(state, out=replace(out, sending=True, sending_ns=stamp.mono_ns))
        effects.append(SendBatch(SEND, out.through))
    return state, effects


def _entries(state: State, stamp: Stamp, settings: Settings) -> tuple[State, list[Entry]]:
    state = telling.due(results.expired(state, stamp), stamp, settings)
    state, found = results.due(state, stamp, settings)
    state, wishes = results.shares_due(state, settings)
    out = state.out
    entries: list[Entry] = [
        *out.orders,
        *found,
        *wishes,
        *(NoticeEntry(notice) for notice in out.notices),
        *out.answers,
    ]
    if out.orders or out.notices or out.answers:
        state = replace(state, out=replace(out, orders=(), notices=(), answers=()))
    return state, entries


def waiting(state: State) -> int:
    """About how much is on its way."""
    out = state.out
    return len(out.keeping) + len(out.queued) + len(state.pending) + len(out.wished) + len(state.waiting)


# --- into the outbox ---


def kept(state: State, result: Queued) -> State:
    """What was to be written is in the outbox."""
    state = _settled(state, KEEP)
    entries = state.out.keeping
    state = replace(state, out=replace(state.out, keeping=(), through=max(state.out.through, *result.seqs)))
    for entry, seq in zip(entries, result.seqs, strict=True):
        state = _kept_one(state, entry, seq)
    return state


def _kept_one(state: State, entry: Entry, seq: int) -> State:
    out = state.out
    match entry:
        case ResultEntry():
            return results.queued(state, entry, seq)
        case NoticeEntry(notice=notice):
            standing = {key: one for key, one in out.standing.items() if key != notice.subject}
            if notice.kind == "alarm":
                standing[notice.subject] = notice
            if notice.kind not in ("alarm", "recovered"):
                standing = dict(out.standing)
            return replace(state, out=replace(out, told=out.told | {notice.id}, standing=standing))
        case ShareEntry():
            return replace(state, out=replace(out, wished=out.wished | {entry.booking_id}))
        case AnswerEntry():
            return state
        case _:
            pending = (*state.pending, QueuedOrder(seq, entry))
            return replace(state, pending=pending, unresolved=True)


def not_kept(state: State, event: Failed, stamp: Stamp) -> State:
    """The disk would not take it: nothing of it is forgotten."""
    entries = state.out.keeping
    state = replace(state, out=_put_back(state.out, entries))
    state = _again(state, event, stamp)
    text = f"Results cannot be kept: {event.text}"
    if state.retries[KEEP].attempt >= PATIENCE:
        state = with_alarm(state, "results_unstored", text, STORE_MEND, stamp)
    return state


def _put_back(out: Outflow, entries: Sequence[Entry]) -> Outflow:
    dirty = {results.slot_of(e.booking_id, e.kind) for e in entries if isinstance(e, ResultEntry)}
    wishes = {entry.booking_id for entry in entries if isinstance(entry, ShareEntry)}
    told = tuple(entry.notice for entry in entries if isinstance(entry, NoticeEntry))
    answers = tuple(entry for entry in entries if isinstance(entry, AnswerEntry))
    others = (ResultEntry, ShareEntry, NoticeEntry, AnswerEntry)
    return replace(
        out,
        keeping=(),
        dirty=out.dirty | dirty,
        unshared=out.unshared | wishes,
        notices=(*told, *out.notices),
        answers=(*answers, *out.answers),
        orders=(*(entry for entry in entries if not isinstance(entry, others)), *out.orders),
    )


# --- to the store ---


def sent(state: State, result: Sent, stamp: Stamp) -> State:
    """The state after a batch, or after what went of one before the store was away."""
    state = replace(
        state,
        out=replace(state.out, sending=False, sent=max(state.out.sent, result.through)),
        pending=tuple(one for one in state.pending if one.seq not in result.orders),
        unresolved=state.unresolved or bool(result.orders),
    )
    state = with_rows(state, result.rows)
    for booking_id, kind, seq in result.results:
        state = results.saved(state, booking_id, kind, seq)
    for booking_id, made in result.shares:
        state = results.shared(state, booking_id, _share(made))
    for told in result.refused:
        if told.kind in ("booking", "change", "automatic"):
            state = court.refused(state, told, stamp)
        else:
            state = _set_aside(_forgotten(state, told), told, stamp)
    return state


def _share(made: ShareMade) -> Share:
    """The share as the store has it; somebody may have given it an end that no topic can say."""
    share = Share(state="active", share_id=made.share_id)
    try:
        return share.replace(expires_at=moment(made.expires_at))
    except ValueError:
        return share


def settled(state: State) -> State:
    """The store takes what it is brought again."""
    state = _settled(state, SEND)
    return without_alarm(state, "results_unstored") if KEEP not in state.retries else state


def not_sent(state: State, event: Failed, stamp: Stamp) -> State:
    """The store did not take all of it: the rest is due again later."""
    if isinstance(event.detail, Sent):
        state = sent(state, event.detail, stamp)
    state = replace(state, out=replace(state.out, sending=False), last_error=event.text)
    state = _again(state, event, stamp)
    # Of a store that answers nothing at all, `store_unreachable` tells.
    if state.retries[SEND].attempt >= PATIENCE and not state.failures:
        text = f"Results cannot be stored: {event.text}"
        state = with_alarm(state, "results_unstored", text, STORE_MEND, stamp)
    return state


def _forgotten(state: State, told: Refused) -> State:
    """A result set aside waits no longer; neither does a wish."""
    out = state.out
    queued = {slot: one for slot, one in out.queued.items() if one.seq != told.seq}
    wished = out.wished - {told.subject} if told.kind == "share" else out.wished
    return replace(state, out=replace(out, queued=queued, wished=wished))


def _set_aside(state: State, told: Refused, stamp: Stamp) -> State:
    if told.kind in ("booking", "change", "automatic"):
        return court.with_refusal(state, told, stamp)
    text = f"A {told.kind} of {told.subject} cannot be stored and is set aside: {told.text}"
    return with_alarm(state, f"set_aside_{slug(told.subject)}", text, UNSTORED_MEND, stamp, told.subject)


def _again(state: State, event: Failed, stamp: Stamp) -> State:
    attempt = state.retries[event.key].attempt + 1 if event.key in state.retries else 1
    retry = Retry(attempt, stamp.mono_ns + delay_ns(attempt, event.key))
    return replace(state, retries={**state.retries, event.key: retry})


def _settled(state: State, key: str) -> State:
    if key not in state.retries:
        return state
    return replace(state, retries={other: one for other, one in state.retries.items() if other != key})
