"""The bridge: rows to retained bookings, results to rows. The same pure shape as the agents."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloud_bridge import orders, results, schedule
from cloud_bridge.resolve import Dressings, moment
from cloud_bridge.state import STALE_NS, STORE_MEND, State, is_final, with_alarm
from edge_agent.core.agent import (
    Acts,
    Agent,
    Asked,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Reply,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.effects import (
    BridgeInventory,
    Polled,
    PollStore,
    SaveAutomatic,
    SaveBooking,
    ShareMade,
    StoredBooking,
)
from edge_agent.core.settings import Settings
from schemas.agent import AgentStatus
from schemas.base import Message
from schemas.commands import Answer
from schemas.recording import Recording, Share
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    BOOKING,
    HEALTH,
    MERGE,
    RECEIPT,
    RECORDING,
    SCHEDULE_SYNC,
    SHARE,
    UPLOAD,
)
from schemas.topics import Address

NAME = "bridge"
READS = (RECORDING, RECEIPT, UPLOAD, MERGE, HEALTH)


def agent(settings: Settings, dressings: Dressings = ((), None)) -> Agent[State, Settings]:
    """The bridge as a value; ``dressings`` are the device's own logos and intro, named by hash."""
    del settings

    def decide_with(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
        return decide(state, event, stamp, settings, dressings)

    return Agent(
        name=NAME,
        subscribes=READS,
        initial=lambda _settings: State(),
        decide=decide_with,
        retained=retained,
        wakes=wakes,
        lanes={"store": 1},
    )


def decide(
    state: State, event: Event, stamp: Stamp, settings: Settings, dressings: Dressings = ((), None)
) -> tuple[State, Acts]:
    """See `edge_agent.core.agent`."""
    acts: Acts = ()
    match event:
        case Started(inventory=BridgeInventory() as found, remembered=remembered):
            state = schedule.started(state, found, remembered)
        case World(topics=topics):
            state = replace(state, ready=True)
            for address, message in topics.items():
                state = results.heard(state, address, message)
        case Changed(address=address, message=message):
            state = results.heard(state, address, message)
        case Asked():
            state, acts = _asked(state, event, stamp, settings)
        case Done(key=key, result=result):
            state, acts = _done(state, key, result, stamp)
        case Failed():
            state, acts = _failed(state, event, stamp, settings)
        case Tick() | Started():
            pass
    state = schedule.resolve_all(state, stamp, settings, dressings)
    state, effects = _pursue(state, stamp, settings)
    return state, (*acts, *effects)


def _view(state: State, stamp: Stamp, settings: Settings) -> orders.View:
    final = frozenset(k for (k, _), m in state.results.items() if isinstance(m, Recording) and is_final(m))
    return orders.View(state.bookings, state.rows, state.merges, final, stamp.wall, settings)


def _asked(state: State, asked: Asked, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    outcome = orders.take(asked, _view(state, stamp, settings))
    if isinstance(outcome, Answer):
        return state, (Reply(asked.id, outcome),)
    return replace(state, waiting={**state.waiting, outcome.effect.key: outcome}), (outcome.effect,)


def _done(state: State, key: str, result: object, stamp: Stamp) -> tuple[State, Acts]:
    order = state.waiting.get(key)
    if order is not None:
        left = {k: o for k, o in state.waiting.items() if k != key}
        state = replace(_obeyed(state, order, result), waiting=left)
        return state, (Reply(order.asked.id, _told(order, result)),)
    state = results.settled(state, key)
    match result:
        case Polled():
            return schedule.polled(state, result, stamp), ()
        case ShareMade():
            booking_id = key.partition(":")[2]
            share = Share(state="active", share_id=result.share_id, expires_at=moment(result.expires_at))
            return replace(state, shares={**state.shares, booking_id: share}), ()
        case _:
            return results.saved(state, key), ()


def _told(order: orders.Order, result: object) -> Answer:
    """The order's good answer; booking anew what was cancelled since books nothing, and says so."""
    if (
        isinstance(order.effect, SaveBooking)
        and isinstance(result, StoredBooking)
        and result.status == "cancelled"
    ):
        text = f"{result.id} was booked before and is cancelled: book it under another id"
        return Answer(id=order.asked.id, status="rejected", message=text)
    return order.good


def _obeyed(state: State, order: orders.Order, result: object) -> State:
    """The row a command made or changed counts at once, not from the next poll on."""
    if isinstance(order.effect, SaveAutomatic):
        return replace(state, automatic=order.effect.on, unresolved=True)
    if isinstance(result, StoredBooking):
        return schedule.with_rows(state, (result,))
    return replace(state, polled_ns=None)


def _failed(state: State, event: Failed, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    order = state.waiting.get(event.key)
    if order is not None:
        left = {k: o for k, o in state.waiting.items() if k != event.key}
        state = replace(state, waiting=left)
        return state, (Reply(order.asked.id, _refused(state, order, event, stamp, settings)),)
    state = replace(state, last_error=event.text)
    if event.key == "poll":
        state = replace(state, polled_ns=stamp.mono_ns, failures=min(state.failures + 1, 5))
        if state.poll_ok_ns is None or stamp.mono_ns - state.poll_ok_ns > STALE_NS:
            text = f"Bookings cannot be read: {event.text}"
            state = with_alarm(state, "store_unreachable", text, STORE_MEND, stamp)
        return state, ()
    return results.failed(state, event, stamp), ()


def _refused(state: State, order: orders.Order, event: Failed, stamp: Stamp, settings: Settings) -> Answer:
    """What a command gets when the store says no.

    A button pressed twice: the second `start` was on its way when the first began, and now finds it running.
    """
    if isinstance(order.effect, SaveBooking) and order.effect.kind == "manual" and event.kind == "input":
        again = orders.take(order.asked, _view(state, stamp, settings))
        if isinstance(again, Answer):
            return again
    ours = event.kind in ("input", "gone")
    return Answer(id=order.asked.id, status="rejected" if ours else "error", message=event.text)


def _pursue(state: State, stamp: Stamp, settings: Settings) -> tuple[State, tuple[Effect, ...]]:
    if not state.ready:
        return state, ()
    poll: tuple[Effect, ...] = ()
    if state.polled_ns is None or stamp.mono_ns - state.polled_ns >= state.poll_every_ns:
        poll = (PollStore("poll", state.cursor),)
    state, effects = results.due(state, stamp, settings)
    return state, (*poll, *effects)


def retained(state: State) -> Mapping[Address[Any], Message]:
    """See `edge_agent.core.agent`."""
    topics: dict[Address[Any], Message] = {}
    for booking_id, booking in state.bookings.items():
        topics[BOOKING.at(id=booking_id)] = booking
    if state.sync is not None:
        topics[SCHEDULE_SYNC.at()] = state.sync
    for booking_id, share in results.kept_shares(state).items():
        topics[SHARE.at(id=booking_id)] = share
    for name, alarm in state.alarms.items():
        topics[ALARM.at(agent=NAME, alarm=name)] = alarm
    backlog = len(state.saving) + len(state.waiting)
    topics[AGENT_STATUS.at(agent=NAME)] = AgentStatus(
        state="degraded" if state.alarms else "busy" if backlog else "idle",
        backlog=backlog,
        last_error=state.last_error,
    )
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """The next poll, and what is to be tried again."""
    times = {f"retry:{key}": retry.due_ns for key, retry in state.retries.items()}
    if state.ready and state.polled_ns is not None:
        times["poll"] = state.polled_ns + state.poll_every_ns
    return times
