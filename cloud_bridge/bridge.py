"""The bridge: rows to retained bookings, results to rows. The same pure shape as the agents.

`polling` hears the store and `schedule` makes bookings of its rows; `court` takes commands and `remote` those
from afar; `results` and `telling` say what the store is to hear, and `flow` brings it there by the outbox.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloud_bridge import court, flow, polling, remote, results, schedule, telling
from cloud_bridge.keys import is_service_role
from cloud_bridge.resolve import Dressings
from cloud_bridge.state import FORGOTTEN_NS, State, poll_every_ns, with_alarm
from edge_agent.core.agent import (
    Acts,
    Agent,
    Asked,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.effects import AwaitHint, BridgeInventory, Polled, PollStore, Queued, Sent
from edge_agent.core.settings import Settings
from schemas.agent import AgentStatus
from schemas.base import Message
from schemas.commands import Answer
from schemas.registry import (
    AGENT_AVAILABILITY,
    AGENT_STATUS,
    ALARM,
    ANSWER,
    AVAILABILITY,
    BOOKING,
    CAPTURE,
    HEALTH,
    MERGE,
    PREFLIGHT,
    PROCESS,
    RECEIPT,
    RECORDING,
    SCHEDULE_SYNC,
    SHARE,
    UPLOAD,
)
from schemas.topics import Address

NAME = "bridge"
READS = (
    *(RECORDING, RECEIPT, UPLOAD, MERGE, PROCESS, CAPTURE),
    *(HEALTH, AVAILABILITY, AGENT_AVAILABILITY, ALARM, PREFLIGHT, ANSWER),
)
POLL, HINT, SEEN = "poll", "hint", "seen:"
SERVICE_ROLE_MEND = "Run 'ezrec store device-key' where the project's keys are, and use that key here."


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
        lanes={"store": 1, "outbox": 1, "send": 1, "order": 1, "hint": 1},
    )


def decide(
    state: State, event: Event, stamp: Stamp, settings: Settings, dressings: Dressings = ((), None)
) -> tuple[State, Acts]:
    """See `edge_agent.core.agent`."""
    acts: Acts = ()
    match event:
        case Started(inventory=BridgeInventory() as found, remembered=remembered):
            state = _started(state, found, remembered, stamp, settings)
        case World(topics=topics):
            state = _world(state, topics, stamp, settings)
        case Changed(address=address, message=message):
            state = _changed(state, address, message, stamp, settings)
        case Asked():
            state, acts = court.asked(state, event, stamp, settings)
        case Done(key=key, result=result):
            state, acts = _done(state, key, result, stamp)
        case Failed():
            state, acts = _failed(state, event, stamp)
        case Tick() | Started():
            pass
    answered = isinstance(event, Done) and event.key == POLL
    state = schedule.resolve_all(state, stamp, settings, dressings)
    if answered and state.contested:
        state = court.reconsidered(state, stamp)
    state, more = court.go_on(state, stamp, settings)
    state, effects = _pursue(state, stamp, settings)
    return state, (*acts, *more, *effects)


def _started(
    state: State,
    found: BridgeInventory,
    remembered: Mapping[Address[Any], Message],
    stamp: Stamp,
    settings: Settings,
) -> State:
    state = schedule.started(state, found, remembered)
    state = flow.started(state, found.outbox, stamp)
    state = polling.with_shares(state, found.shares, stamp)
    state = remote.taken(state, found.commands)
    if settings.bookings.kind == "supabase" and settings.bookings.realtime:
        state = replace(state, hints="ask")
    key = settings.bookings.key
    if key is not None and is_service_role(key.get_secret_value()):
        text = "The key for the booking system opens everything in it: a thief of this device has it all"
        state = with_alarm(state, "service_role_key", text, SERVICE_ROLE_MEND, stamp, severity="minor")
    return state


def _world(state: State, topics: Mapping[Address[Any], Message], stamp: Stamp, settings: Settings) -> State:
    state = replace(state, ready=True)
    state = telling.world(state, topics, stamp, settings.device.id)
    for address, message in topics.items():
        if address.topic is not ALARM:
            state = _changed(state, address, message, stamp, settings)
    return state


def _changed(
    state: State, address: Address[Any], message: Message | None, stamp: Stamp, settings: Settings
) -> State:
    if isinstance(message, Answer):
        return remote.heard(state, message)
    return telling.heard(results.heard(state, address, message), address, message, stamp, settings.device.id)


def _done(state: State, key: str, result: object, stamp: Stamp) -> tuple[State, Acts]:
    if key in state.waiting:
        return court.done(state, key, result)
    match result:
        case Polled():
            return polling.polled(state, result, stamp)
        case Queued():
            return flow.kept(state, result), ()
        case Sent():
            return flow.settled(flow.sent(state, result, stamp)), ()
        case _ if key == HINT:
            return replace(state, hints="ask", again=True), ()
        case _:
            return state, ()


def _failed(state: State, event: Failed, stamp: Stamp) -> tuple[State, Acts]:
    if event.key in state.waiting:
        return court.failed(state, event)
    if event.key == POLL:
        return polling.failed(state, event, stamp), ()
    if event.key == flow.KEEP:
        return flow.not_kept(state, event, stamp), ()
    if event.key == flow.SEND:
        return flow.not_sent(state, event, stamp), ()
    if event.key.startswith(SEEN):
        return replace(state, lost=True), ()
    if event.key == HINT:
        return replace(state, hints="none"), ()
    return replace(state, last_error=event.text), ()


def _pursue(state: State, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    if not state.ready:
        return state, ()
    state, acts = remote.pursued(state, stamp, settings)
    effects: list[Effect] = []
    if state.hints == "ask":
        state = replace(state, hints="asked")
        effects.append(AwaitHint(HINT))
    every_ns = poll_every_ns(state, settings)
    due = state.again or state.polled_ns is None or stamp.mono_ns - state.polled_ns >= every_ns
    lost = state.polling and stamp.mono_ns - state.asked_ns >= FORGOTTEN_NS
    if due and (lost or not state.polling):
        state = replace(state, polling=True, asked_ns=stamp.mono_ns, again=False)
        effects.append(PollStore(POLL, state.cursor))
    next_ns = state.asked_ns + FORGOTTEN_NS if state.polling else (state.polled_ns or 0) + every_ns
    if state.poll_ns != next_ns:
        state = replace(state, poll_ns=next_ns)
    state, more = flow.due(state, stamp, settings)
    return state, (*acts, *effects, *more)


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
    backlog = flow.waiting(state)
    troubled = any(alarm.severity != "minor" for alarm in state.alarms.values())
    topics[AGENT_STATUS.at(agent=NAME)] = AgentStatus(
        state="degraded" if troubled else "busy" if backlog else "idle",
        backlog=backlog,
        last_error=state.last_error,
    )
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """The next poll, what is to be tried again, and answers that are waited for."""
    times = {f"retry:{key}": retry.due_ns for key, retry in state.retries.items()}
    if state.ready and state.poll_ns is not None:
        times[POLL] = state.poll_ns
    for one in state.commands.values():
        if one.due_ns is not None:
            times[f"answer:{one.command.id}"] = one.due_ns
    return times
