"""What the device made, on its way into the store: rows and shares. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloud_bridge.shares import expiry
from cloud_bridge.state import DEVICE, STORE_MEND, Retry, Slot, State, is_final, with_alarm
from edge_agent.core.agent import Effect, Failed, Stamp
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import MakeShare, SaveResult
from edge_agent.core.settings import Settings
from schemas.base import Message, utc_text
from schemas.health import Health
from schemas.receipt import Receipt
from schemas.recording import MergeStage, Recording, Share, UploadStage
from schemas.registry import HEALTH, MERGE, RECORDING
from schemas.topics import Address

PATIENCE = 3
"""Tries of a write before somebody is told."""


def heard(state: State, address: Address[Any], message: Message | None) -> State:
    """The state after a topic changed."""
    kind = address.topic.key
    if message is None:
        return cleared(state, address)
    if isinstance(message, Health):
        return replace(state, results={**state.results, (DEVICE, kind): message})
    booking_id = address["id"]
    if isinstance(message, MergeStage):
        return replace(state, merges={**state.merges, booking_id: message})
    if isinstance(message, Recording | Receipt | UploadStage):
        late = isinstance(message, Recording) and not is_final(message) and booking_id not in state.bookings
        results = {**state.results, (booking_id, kind): message}
        return replace(state, results=results, unresolved=state.unresolved or late)
    return state


def cleared(state: State, address: Address[Any]) -> State:
    """Its owner has no more to say of it; what is stored stays stored."""
    if address.topic is HEALTH:
        return state
    booking_id = address["id"]
    if address.topic is MERGE:
        return replace(state, merges={k: m for k, m in state.merges.items() if k != booking_id})
    slot = (booking_id, address.topic.key)
    return replace(
        state,
        results={k: m for k, m in state.results.items() if k != slot},
        saved={k: m for k, m in state.saved.items() if k != slot},
        retries={k: r for k, r in state.retries.items() if k != _key(slot)},
    )


def saved(state: State, key: str) -> State:
    """The state when the store has a result."""
    done = state.saving.get(key)
    if done is None:
        return state
    slot, message = done
    saving = {k: m for k, m in state.saving.items() if k != key}
    return replace(state, saving=saving, saved={**state.saved, slot: message})


def failed(state: State, event: Failed, stamp: Stamp) -> State:
    """The state after a write did not work: it is due again later, and after a few tries somebody is told."""
    saving = {k: m for k, m in state.saving.items() if k != event.key}
    attempt = state.retries[event.key].attempt + 1 if event.key in state.retries else 1
    again = Retry(attempt, stamp.mono_ns + delay_ns(attempt, event.key))
    state = replace(state, saving=saving, retries={**state.retries, event.key: again})
    if attempt >= PATIENCE:
        text = f"Results cannot be stored: {event.text}"
        state = with_alarm(state, "results_unstored", text, STORE_MEND, stamp)
    return state


def settled(state: State, key: str) -> State:
    """The state when an effect that had failed has worked."""
    if key not in state.retries:
        return state
    retries = {k: r for k, r in state.retries.items() if k != key}
    tired = any(retry.attempt >= PATIENCE for retry in retries.values())
    alarms = {name: a for name, a in state.alarms.items() if tired or name != "results_unstored"}
    return replace(state, retries=retries, alarms=alarms)


def due(state: State, stamp: Stamp, settings: Settings) -> tuple[State, list[Effect]]:
    """What is to be stored and shared now."""
    effects: list[Effect] = []
    saving = dict(state.saving)
    for slot, message in state.results.items():
        key = _key(slot)
        if key in saving or _must_wait(state, key, stamp) or not _worth(state.saved.get(slot), message):
            continue
        saving[key] = (slot, message)
        effects.append(SaveResult(key, slot[0] or settings.device.id, slot[1], message))
    effects += _shares_due(state, stamp, settings)
    return replace(_expired(state, stamp), saving=saving), effects


def _key(slot: Slot) -> str:
    return f"result:{slot[0]}:{slot[1]}"


def _worth(saved: Message | None, message: Message) -> bool:
    """Whether a result is worth a row: a little more progress alone is not, the last word always is."""
    if saved is None:
        return True
    if isinstance(message, Recording) and isinstance(saved, Recording) and not is_final(message):
        return _milestone(saved) != _milestone(message)
    if isinstance(message, UploadStage) and isinstance(saved, UploadStage):
        return _verified(saved) != _verified(message)
    return saved != message


def _milestone(recording: Recording) -> tuple[object, ...]:
    return recording.state, recording.progress_pct // 10, recording.whistle_to_watchable_s


def _verified(stage: UploadStage) -> frozenset[tuple[str, str, int, str | None]]:
    return frozenset((o.name, o.key, o.bytes, o.hash) for o in stage.objects if o.verified_at)


def _must_wait(state: State, key: str, stamp: Stamp) -> bool:
    retry = state.retries.get(key)
    return retry is not None and stamp.mono_ns < retry.due_ns


def _shares_due(state: State, stamp: Stamp, settings: Settings) -> list[Effect]:
    effects: list[Effect] = []
    for (booking_id, _), message in state.results.items():
        key = f"share:{booking_id}"
        if (
            not isinstance(message, UploadStage)
            or booking_id in state.shares
            or _must_wait(state, key, stamp)
        ):
            continue
        booking, film = state.bookings.get(booking_id), message.verified("film")
        if film is None or film.verified_at is None or (booking is not None and not booking.wanted):
            continue
        expires_at = expiry(film.verified_at, film.verified_at, film.verified_at, settings)
        effects.append(MakeShare(key, booking_id, utc_text(expires_at)))
    return effects


def _expired(state: State, stamp: Stamp) -> State:
    ended = {
        key: share.replace(state="expired")
        for key, share in state.shares.items()
        if share.state == "active" and share.expires_at is not None and share.expires_at <= stamp.wall
    }
    return replace(state, shares={**state.shares, **ended}) if ended else state


def kept_shares(state: State) -> Mapping[str, Share]:
    """Shares whose topics stand: as long as the booking's or the recording's does."""
    kept: dict[str, Share] = {}
    for booking_id, share in state.shares.items():
        if booking_id not in state.bookings and (booking_id, RECORDING.key) not in state.results:
            continue
        stored = sum(1 for key in state.saved if key[0] == booking_id)
        kept[booking_id] = share if share.stored_rev == stored else share.replace(stored_rev=stored)
    return kept
