"""Health: watches everybody, folds the stages of every recording into its state, and closes its account.

Nobody waits for it. All it publishes is folded anew from what the others say; what only it knows (final
states, receipts) comes back from its own remembered messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core import watch
from edge_agent.core.agent import (
    SECOND_NS,
    Act,
    Acts,
    Agent,
    Asked,
    Changed,
    Done,
    Event,
    Failed,
    Reply,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.backoff import delay_ns
from edge_agent.core.device import Device, due_ns, looked_at, next_booking
from edge_agent.core.effects import FilmFile, Measure, Measured
from edge_agent.core.preflight import Seen, asked, looked_ahead
from edge_agent.core.recording import Facts, booked, told
from edge_agent.core.retention import retention
from edge_agent.core.schedule import Schedule, forget, heard, heard_all, heard_sync, last_seen
from edge_agent.core.settings import Settings
from edge_agent.core.values import replace
from schemas.agent import AgentAvailability, AgentInfo, AgentStatus, Alarm
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.camera import CameraStatus
from schemas.commands import Answer, PreflightArgs
from schemas.health import Preflight, Retention
from schemas.receipt import Receipt
from schemas.recording import FINAL_STATES, Recording
from schemas.registry import (
    AGENT_AVAILABILITY,
    AGENT_INFO,
    AGENT_STATUS,
    ALARM,
    BOOKING,
    CAMERA_STATUS,
    CAPTURE,
    FILM_OBJECT,
    HEALTH,
    MERGE,
    PREFLIGHT,
    PROCESS,
    RECEIPT,
    RECEIPT_OBJECT,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
    SHARE,
    UPLOAD,
)
from schemas.topics import Address

NAME = "health"
MEASURE_NS = 60 * SECOND_NS
SETTLED_NS = 30 * SECOND_NS
IDLE, BUSY = AgentStatus(state="idle"), AgentStatus(state="busy")
REFUSALS: Mapping[str, str] = {
    "doctor": "not available over MQTT yet: run 'ezrec doctor' on the device",
    "logs": "not available over MQTT yet: read the journal of the device",
    "restart": "not available over MQTT yet: restart the service on the device",
}


@dataclass(frozen=True)
class State:
    """Everything health knows. Mappings are replaced, never changed."""

    ready_ns: int | None = None
    schedule: Schedule = field(default_factory=Schedule)
    facts: Mapping[str, Facts] = field(default_factory=dict[str, Facts])
    cameras: Mapping[str, CameraStatus] = field(default_factory=dict[str, CameraStatus])
    uploader: AgentStatus | None = None
    preflights: Mapping[str, Preflight] = field(default_factory=dict[str, Preflight])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    device: Device = field(default_factory=Device)
    retention: Retention = field(default_factory=Retention)
    loose: Mapping[Address[Any], Message] = field(default_factory=dict[Address[Any], Message])
    measure_ns: int = 0
    measuring: bool = False
    look_ns: int | None = None
    failures: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])


def agent(settings: Settings) -> Agent[State, Settings]:  # noqa: ARG001 - all agents are made alike
    """Health as a value."""
    return Agent(
        name=NAME,
        subscribes=(
            *(BOOKING, SCHEDULE_SYNC, CAPTURE, MERGE, PROCESS, UPLOAD, SHARE, FILM_OBJECT, RETENTION),
            *(ALARM, AGENT_AVAILABILITY, AGENT_INFO, AGENT_STATUS, CAMERA_STATUS, PREFLIGHT),
        ),
        initial=lambda _settings: State(),
        decide=decide,
        retained=retained,
        wakes=wakes,
        lanes={"measure": 1, "disk": 1},
        hurried=_busy,
    )


def decide(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """One step; see the module."""
    replies: Acts = ()
    match event:
        case Started(_, remembered):
            state = _started(state, remembered, stamp)
        case World(topics):
            state = _world(state, topics, stamp)
        case Changed(address, message):
            state = _changed(state, address, message, stamp, news=True)
        case Asked():
            state, reply = _answered(state, event, stamp, settings)
            replies = (reply,)
        case Done(key, result):
            state = _done(state, key, result)
        case Failed():
            state = _failed(state, event, stamp)
        case Tick():
            pass
    state, acts = _pursue(state, stamp, settings)
    return state, (*replies, *acts)


def retained(state: State) -> Mapping[Address[Any], Message]:
    """The device, its alarms, every recording with its account, and what may go."""
    topics: dict[Address[Any], Message] = dict(state.loose)
    for one in state.facts.values():
        if one.said is not None:
            topics[RECORDING.at(id=one.id)] = one.said
        if one.receipt is not None:
            topics[RECEIPT.at(id=one.id)] = one.receipt
        if one.receipt_object is not None and not watch.stored(one):
            topics[RECEIPT_OBJECT.at(id=one.id)] = one.receipt_object
    if state.ready_ns is not None:
        topics[HEALTH.at()] = state.device.message
        topics[RETENTION.at()] = state.retention
        topics[AGENT_STATUS.at(agent=NAME)] = BUSY if _busy(state) else IDLE
        topics |= {ALARM.at(agent=NAME, alarm=name): alarm for name, alarm in state.device.own.items()}
        topics |= {PREFLIGHT.at(id=key): result for key, result in state.preflights.items()}
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """Measuring every minute, looking at what runs every few seconds, alarms and tries that become due."""
    if state.ready_ns is None:
        return {}
    times = {"measure": state.measure_ns, **due_ns(state.device)}
    times |= {f"retry:{key}": at_ns for key, (_, at_ns) in state.failures.items()}
    if state.look_ns is not None:
        times["look"] = state.look_ns
    return times


def _busy(state: State) -> bool:
    return watch.busy(state.facts.values())


def _started(state: State, remembered: Mapping[Address[Any], Message], stamp: Stamp) -> State:
    """Our own last words; those about a booking nobody has told us of yet are kept as they are."""
    schedule = last_seen(remembered)
    state = replace(state, schedule=schedule, measure_ns=stamp.mono_ns)
    facts = {key: Facts(key, booking) for key, booking in schedule.bookings.items()}
    loose = {at: message for at, message in remembered.items() if isinstance(message, Recording | Receipt)}
    return _claimed(replace(state, facts=facts, loose=loose), stamp)


def _claimed(state: State, stamp: Stamp) -> State:
    """Remembered messages join their recording as soon as its booking is known."""
    facts, loose = dict(state.facts), dict(state.loose)
    for address, message in state.loose.items():
        one = facts.get(address["id"])
        if one is None:
            continue
        del loose[address]
        if isinstance(message, Recording):
            final_at = one.booking.to if message.state in FINAL_STATES else None
            cancelled_at = stamp.wall if message.state == "cancelled" else None
            one = replace(one, said=message, final_at=final_at, cancelled_at=cancelled_at)
        elif isinstance(message, Receipt):
            one = replace(one, receipt=message)
        facts[one.id] = one
    return replace(state, facts=facts, loose=loose)


def _world(state: State, topics: Mapping[Address[Any], Message], stamp: Stamp) -> State:
    bookings = {at["id"]: message for at, message in topics.items() if isinstance(message, Booking)}
    sync = next((message for message in topics.values() if isinstance(message, ScheduleSync)), None)
    for booking_id, booking in bookings.items():
        state = _with_booking(state, booking_id, booking, stamp, news=False)
    state = _over(replace(state, schedule=heard_all(state.schedule, bookings, sync)), stamp)
    agents = {at["agent"]: m.state for at, m in topics.items() if isinstance(m, AgentAvailability)}
    alarms = {_alarm_id(at): m for at, m in topics.items() if isinstance(m, Alarm) and at["agent"] != NAME}
    state = replace(state, device=replace(state.device, agents=agents, alarms=alarms))
    for address, message in topics.items():
        if isinstance(message, Retention) and state.ready_ns is None:
            dead = {entry.id for entry in message.entries if entry.dead}
            facts = {key: replace(one, dead=key in dead or one.dead) for key, one in state.facts.items()}
            state = replace(state, facts=facts, retention=message)
        elif isinstance(message, Preflight) and state.ready_ns is None:
            state = replace(state, preflights={**state.preflights, address["id"]: message})
        state = _changed(state, address, message, stamp, news=False)
    return replace(state, ready_ns=stamp.mono_ns if state.ready_ns is None else state.ready_ns)


def _over(state: State, stamp: Stamp) -> State:
    """Recordings of which only our own last words are left go on without their booking."""
    for booking_id in {address["id"] for address in state.loose}:
        receipt = state.loose.get(RECEIPT.at(id=booking_id))
        said = state.loose.get(RECORDING.at(id=booking_id))
        booking = watch.stand_in(
            receipt if isinstance(receipt, Receipt) else None,
            said if isinstance(said, Recording) else None,
            stamp.wall,
        )
        if booking is not None:
            one = Facts(booking_id, booking)
            state = _claimed(replace(state, facts={**state.facts, booking_id: one}), stamp)
    return state


def _alarm_id(address: Address[Any]) -> str:
    return f"{address['agent']}/{address['alarm']}"


def _changed(
    state: State, address: Address[Any], message: Message | None, stamp: Stamp, *, news: bool
) -> State:
    device = state.device
    match message:
        case None:
            return _cleared(state, address)
        case Booking() if news:
            state = _with_booking(state, address["id"], message, stamp, news=True)
            return replace(state, schedule=heard(state.schedule, address["id"], message))
        case ScheduleSync() if news:
            return replace(state, schedule=heard_sync(state.schedule, message))
        case AgentAvailability():
            agents = {**device.agents, address["agent"]: message.state}
            return replace(state, device=replace(device, agents=agents))
        case Alarm() if address["agent"] != NAME:
            alarms = {**device.alarms, _alarm_id(address): message}
            return replace(state, device=replace(device, alarms=alarms))
        case AgentInfo():
            return replace(state, versions={**state.versions, address["agent"]: message.version})
        case AgentStatus() if address["agent"] == "uploader":
            return replace(state, uploader=message)
        case CameraStatus():
            return replace(state, cameras={**state.cameras, address["cam"]: message})
        case _:
            return _staged(state, address, message, stamp, news=news)


def _cleared(state: State, address: Address[Any]) -> State:
    """A cleared alarm is over, a cleared booking may be withdrawn; other absences say nothing."""
    if address.topic is BOOKING:
        return replace(state, schedule=heard(state.schedule, address["id"], None))
    if address.topic is ALARM:
        alarms = {key: alarm for key, alarm in state.device.alarms.items() if key != _alarm_id(address)}
        return replace(state, device=replace(state.device, alarms=alarms))
    return state


def _with_booking(state: State, key: str, booking: Booking, stamp: Stamp, *, news: bool) -> State:
    known = state.facts.get(key)
    if known is None:
        one = Facts(key, booking, booked_at=stamp.wall if news else None)
    else:
        one = booked(known, booking, stamp.wall)
    state = replace(state, facts={**state.facts, key: one})
    return _claimed(state, stamp) if known is None and state.loose else state


def _staged(state: State, address: Address[Any], message: Message, stamp: Stamp, *, news: bool) -> State:
    one = state.facts.get(address["id"]) if "id" in address.topic.holes else None
    if one is None:
        return state
    one = told(one, address, message, stamp.wall if news else None)
    return replace(state, facts={**state.facts, one.id: one})


def _answered(state: State, event: Asked, stamp: Stamp, settings: Settings) -> tuple[State, Reply]:
    if event.name == "log_level":
        return state, Reply(event.id, Answer(id=event.id, status="ok", message="set"))
    if isinstance(event.args, PreflightArgs):
        seen = _seen(state, stamp, settings)
        results, answer = asked(event.id, event.args, state.preflights, state.facts, seen)
        return replace(state, preflights=results), Reply(event.id, answer)
    text = REFUSALS.get(event.name, f"health does not know {event.name!r}")
    return state, Reply(event.id, Answer(id=event.id, status="rejected", message=text))


def _seen(state: State, stamp: Stamp, settings: Settings) -> Seen:
    """What a preflight looks at."""
    return Seen(
        wall=stamp.wall,
        settings=settings,
        device=state.device,
        cameras=state.cameras,
        uploader=state.uploader,
        sync=state.schedule.sync,
        bookings=tuple(one.booking for one in state.facts.values() if one.wanted),
    )


def _done(state: State, key: str, result: object) -> State:
    failures = {other: tries for other, tries in state.failures.items() if other != key}
    state = replace(state, failures=failures)
    if isinstance(result, Measured):
        return replace(state, measuring=False, device=replace(state.device, measured=result))
    one = state.facts.get(key.removeprefix("receipt:"))
    if one is None or not isinstance(result, FilmFile):
        return state
    one = replace(one, receipt_object=watch.receipt_object(result), writing=False)
    return replace(state, facts={**state.facts, one.id: one})


def _failed(state: State, event: Failed, stamp: Stamp) -> State:
    attempts = state.failures.get(event.key, (0, 0))[0] + 1
    failures = {**state.failures, event.key: (attempts, stamp.mono_ns + delay_ns(attempts, event.key))}
    state = replace(state, failures=failures)
    if event.key == "measure":
        return replace(state, measuring=False)
    verb, _, booking_id = event.key.partition(":")
    one = state.facts.get(booking_id)
    if one is None:
        return state
    one = replace(one, erased=False) if verb == "delete" else replace(one, writing=False)
    return replace(state, facts={**state.facts, one.id: one})


def _pursue(state: State, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """Look at everything anew; measure, write what is to be written, and say what has just happened."""
    if state.ready_ns is None:
        return state, ()
    view = watch.View(
        wall=stamp.wall,
        mono_ns=stamp.mono_ns,
        settled=stamp.mono_ns >= state.ready_ns + SETTLED_NS,
        cameras={cam: status.state for cam, status in state.cameras.items()},
        versions=state.versions,
        settings=settings,
    )
    acts: list[Act] = []
    facts: dict[str, Facts] = {}
    schedule = state.schedule
    for key, before in state.facts.items():
        withdrawn = key in schedule.withdrawn
        after = before if before.withdrawn == withdrawn else replace(before, withdrawn=withdrawn)
        over = watch.over(before)
        after = after if over else watch.looked_at(after, view)
        if watch.expired(after, stamp.wall, settings, booked=key in schedule.present):
            schedule = forget(schedule, key)
            continue
        if over:
            facts[key] = after
            continue
        acts.extend(watch.told(before, after))
        waits = (state.failures.get(f"{verb}:{key}", (0, 0))[1] for verb in ("receipt", "delete"))
        rested = stamp.mono_ns >= max(waits)
        after, write = watch.filed(after, state.retention, rested=rested)
        acts.extend(write)
        facts[key] = after
    ahead = next_booking((one.booking for one in facts.values() if one.wanted), stamp.wall)
    state = replace(
        state,
        facts=facts,
        schedule=schedule,
        retention=retention(facts.values(), stamp.wall, settings, state.retention),
        device=looked_at(state.device, ahead, stamp, settings),
    )
    results = looked_ahead(state.preflights, facts, _seen(state, stamp, settings), settled=view.settled)
    state, measure = _measured(replace(state, preflights=results), stamp)
    look_ns = watch.next_look_ns(facts.values(), ahead, state.look_ns, stamp)
    return replace(state, look_ns=look_ns), (*acts, *measure)


def _measured(state: State, stamp: Stamp) -> tuple[State, Acts]:
    if state.measuring or stamp.mono_ns < state.measure_ns:
        return state, ()
    return replace(state, measuring=True, measure_ns=stamp.mono_ns + MEASURE_NS), (Measure("measure"),)
