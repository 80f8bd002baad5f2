"""What the device made and how it is: which of it is worth a row in the store, and when. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from cloud_bridge.outbox_rows import digest_of
from cloud_bridge.shares import expiry
from cloud_bridge.state import DEVICE, Slot, State, Waiting, is_final
from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.effects import ResultEntry, ShareEntry
from edge_agent.core.settings import Settings
from schemas.agent import Alarm
from schemas.base import PUBLIC, Message, utc_text
from schemas.health import Availability, Health
from schemas.receipt import Receipt
from schemas.recording import CaptureStage, MergeStage, ProcessStage, Recording, Share, UploadStage
from schemas.registry import CAPTURE, MERGE, PROCESS, RECORDING, UPLOAD
from schemas.topics import Address

BEAT_NS = 60 * SECOND_NS
"""How often the store hears of the device at least: whoever judges silence counts on it."""
HEALTH, AVAILABILITY, ALARMS = (DEVICE, "health"), (DEVICE, "availability"), (DEVICE, "alarms")


def slot_of(booking_id: str, kind: str) -> Slot:
    """The slot of a row: the device's own kinds are kept apart from whatever a booking is called."""
    return (DEVICE if kind in (HEALTH[1], AVAILABILITY[1], ALARMS[1]) else booking_id), kind


class Standing(Message):
    """All alarms that stand on the device, by ``agent/alarm``; a row of the store, on no topic."""

    alarms: Annotated[dict[str, Alarm], PUBLIC]


def heard(state: State, address: Address[Any], message: Message | None) -> State:
    """The state after a topic of a recording or of the device changed."""
    match message:
        case None:
            return cleared(state, address)
        case Health():
            return noted(state, HEALTH, message)
        case Availability():
            return noted(state, AVAILABILITY, message)
        case MergeStage():
            return replace(state, merges={**state.merges, address["id"]: message})
        case ProcessStage():
            return replace(state, processes={**state.processes, address["id"]: message})
        case CaptureStage():
            return replace(state, captures={**state.captures, (address["id"], address["cam"]): message})
        case Recording() | Receipt() | UploadStage():
            return _of_recording(state, address, message)
        case _:
            return state


def _of_recording(state: State, address: Address[Any], message: Recording | Receipt | UploadStage) -> State:
    booking_id = address["id"]
    state = noted(state, (booking_id, address.topic.key), message)
    out = state.out
    if isinstance(message, UploadStage) and message.verified("film") is not None:
        out = replace(out, unshared=out.unshared | {booking_id}, untold=out.untold | {booking_id})
    elif isinstance(message, Recording) and message.state in ("missed", "failed"):
        out = replace(out, untold=out.untold | {booking_id})
    late = isinstance(message, Recording) and not is_final(message) and booking_id not in state.bookings
    return replace(state, out=out, unresolved=state.unresolved or late)


def noted(state: State, slot: Slot, message: Message) -> State:
    """The state with the last message of a kind, to be looked at."""
    out = replace(state.out, dirty=state.out.dirty | {slot})
    return replace(state, results={**state.results, slot: message}, out=out)


def cleared(state: State, address: Address[Any]) -> State:
    """Its owner has no more to say of it; what is stored stays stored."""
    if "id" not in address.topic.holes:
        return state
    booking_id, topic = address["id"], address.topic
    if topic is MERGE:
        return replace(state, merges=_without(state.merges, booking_id))
    if topic is PROCESS:
        return replace(state, processes=_without(state.processes, booking_id))
    if topic is CAPTURE:
        return replace(state, captures=_without(state.captures, (booking_id, address["cam"])))
    slot, out = (booking_id, topic.key), state.out
    mine = frozenset({booking_id}) if topic is UPLOAD else frozenset[str]()
    out = replace(
        out,
        saved=_without(out.saved, slot),
        stored=_without(out.stored, slot),
        dirty=out.dirty - {slot},
        unshared=out.unshared - mine,
        untold=out.untold - mine,
    )
    return replace(state, results=_without(state.results, slot), out=out)


def _without(some: Mapping[Any, Any], key: object) -> dict[Any, Any]:
    return {other: value for other, value in some.items() if other != key}


# --- what is due ---


def due(state: State, stamp: Stamp, settings: Settings) -> tuple[State, list[ResultEntry]]:
    """Results that are worth a row now; looking costs only what has changed."""
    state = _with_beat(state, stamp)
    if not state.out.dirty:
        return state, []
    entries: list[ResultEntry] = []
    saved = dict(state.out.saved)
    for slot in sorted(state.out.dirty):
        message = state.results.get(slot)
        if message is None:
            continue
        if slot not in saved and _is_same(state, slot, message):
            saved[slot] = message  # an earlier run has brought it
        beat = slot[0] == DEVICE and state.beat_ns == stamp.mono_ns
        if beat or _is_worth(_last(state, slot) or saved.get(slot), message):
            entries.append(ResultEntry(slot[0] or settings.device.id, slot[1], message))
    return replace(state, out=replace(state.out, dirty=frozenset(), saved=saved)), entries


def _with_beat(state: State, stamp: Stamp) -> State:
    """Once a minute the device is heard of although nothing of it has changed."""
    if state.beat_ns is not None and stamp.mono_ns < state.beat_ns + BEAT_NS:
        return state
    slot = next((slot for slot in (HEALTH, AVAILABILITY) if slot in state.results), None)
    if slot is None:
        return state
    return replace(state, beat_ns=stamp.mono_ns, out=replace(state.out, dirty=state.out.dirty | {slot}))


def _last(state: State, slot: Slot) -> Message | None:
    """What is on its way to the store, when it is known."""
    waiting = state.out.queued.get(slot)
    return waiting.message if waiting is not None else None


def _is_same(state: State, slot: Slot, message: Message) -> bool:
    waiting = state.out.queued.get(slot)
    digest = waiting.digest if waiting is not None else state.out.stored.get(slot)
    return bool(digest) and digest == digest_of(message.body())


def _is_worth(before: Message | None, message: Message) -> bool:
    """Whether a result is worth a row: a little more progress, or other measured numbers, alone are not.

    The last word on a recording always is.
    """
    if before is None:
        return True
    match before, message:
        case Recording(), Recording() if not is_final(message):
            return _milestone(before) != _milestone(message)
        case UploadStage(), UploadStage():
            return _verified(before) != _verified(message)
        case Health(), Health():
            return before.stable() != message.stable()
        case _:
            return before != message


def _milestone(recording: Recording) -> tuple[object, ...]:
    return recording.state, recording.progress_pct // 10, recording.whistle_to_watchable_s


def _verified(stage: UploadStage) -> frozenset[tuple[str, str, int, str | None]]:
    return frozenset((o.name, o.key, o.bytes, o.hash) for o in stage.objects if o.verified_at)


# --- what the store has ---


def is_stored(state: State, slot: Slot) -> bool:
    """Whether the store has the last message of a kind."""
    message = state.results.get(slot)
    if message is None or slot in state.out.queued or slot in state.out.dirty:
        return False
    if slot in state.out.saved:
        return not _is_worth(state.out.saved[slot], message)
    return _is_same(state, slot, message)


def saved(state: State, booking_id: str, kind: str, seq: int) -> State:
    """The state when the store has a result."""
    slot = slot_of(booking_id, kind)
    out, waiting = state.out, state.out.queued.get(slot)
    if waiting is None or waiting.seq != seq:
        return state  # a newer one is on its way
    out = replace(out, queued=_without(out.queued, slot))
    if slot in state.results:
        if waiting.message is not None:
            out = replace(out, saved={**out.saved, slot: waiting.message})
        else:
            out = replace(out, stored={**out.stored, slot: waiting.digest})
    return recounted(replace(state, out=out), slot[0])


def recounted(state: State, booking_id: str) -> State:
    """The share's topic says how many of its booking's results are stored."""
    share = state.shares.get(booking_id)
    if share is None:
        return state
    stored = {kind for some in (state.out.saved, state.out.stored) for at, kind in some if at == booking_id}
    if share.stored_rev == len(stored):
        return state
    return replace(state, shares={**state.shares, booking_id: share.replace(stored_rev=len(stored))})


def queued(state: State, entry: ResultEntry, seq: int) -> State:
    """The state when a result is in the outbox."""
    slot = slot_of(entry.booking_id, entry.kind)
    return replace(
        state, out=replace(state.out, queued={**state.out.queued, slot: Waiting(seq, entry.message)})
    )


# --- shares ---


def shares_due(state: State, settings: Settings) -> tuple[State, list[ShareEntry]]:
    """Wishes for the shares of films that have just arrived in the bucket."""
    entries: list[ShareEntry] = []
    if not state.out.unshared:
        return state, entries
    for booking_id in sorted(state.out.unshared):
        stage, booking = state.results.get((booking_id, UPLOAD.key)), state.bookings.get(booking_id)
        film = stage.verified("film") if isinstance(stage, UploadStage) else None
        if film is None or film.verified_at is None:
            continue
        if booking_id in state.shares or booking_id in state.out.wished:
            continue
        if booking is not None and not booking.wanted:
            continue
        expires_at = expiry(film.verified_at, film.verified_at, film.verified_at, settings)
        entries.append(ShareEntry(booking_id, utc_text(expires_at)))
    return replace(state, out=replace(state.out, unshared=frozenset())), entries


def shared(state: State, booking_id: str, share: Share) -> State:
    """The state when a booking has its share; what a poll said of it already is not undone."""
    out = replace(state.out, wished=state.out.wished - {booking_id})
    known = state.shares.get(booking_id)
    if known is None or known.share_id != share.share_id:
        state = replace(state, shares={**state.shares, booking_id: share})
    return recounted(replace(state, out=out), booking_id)


def expired(state: State, stamp: Stamp) -> State:
    """Shares whose time is over."""
    ended = {
        key: share.replace(state="expired")
        for key, share in state.shares.items()
        if share.state == "active" and share.expires_at is not None and share.expires_at <= stamp.wall
    }
    return replace(state, shares={**state.shares, **ended}) if ended else state


def kept_shares(state: State) -> Mapping[str, Share]:
    """Shares whose topics stand: as long as the booking's or the recording's does."""
    return {
        booking_id: share
        for booking_id, share in state.shares.items()
        if booking_id in state.bookings or (booking_id, RECORDING.key) in state.results
    }
