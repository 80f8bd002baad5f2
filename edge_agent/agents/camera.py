"""A camera agent: keeps one camera capturing into its ring and claims what the bookings ask for.

Capture runs before and without the broker. Everything still missing (a running child, cuts, claims,
deletions) is asked for after every event; what was claimed and what is lost stands in the state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core import child as capture_child
from edge_agent.core.agent import (
    SECOND_NS,
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
    wall_ns,
)
from edge_agent.core.camera_view import Alarms, alarms_of, status_of_agent, timers_of
from edge_agent.core.capture import Cause
from edge_agent.core.child import Child
from edge_agent.core.claiming import (
    Claims,
    Ring,
    account,
    ask,
    claimed,
    end_causes,
    grow,
    lasting_cause,
    prune,
    started_again,
    unclaimed,
    with_causes,
)
from edge_agent.core.effects import (
    CameraInventory,
    CaptureNews,
    CaptureStart,
    CaptureStop,
    DeleteMedia,
    RingFile,
    SetCuts,
    WatchCapture,
)
from edge_agent.core.facts import learn, learn_world
from edge_agent.core.schedule import cut_times, last_seen
from edge_agent.core.settings import Settings
from edge_agent.core.take_plan import Clock, Facts, borders, expire, pin, refuse, replan, takes_at_start
from edge_agent.core.takes import Take, old_causes, recount, settle_growing
from edge_agent.core.values import replace
from schemas.agent import AgentStatus, Alarm
from schemas.base import Message
from schemas.camera import CameraStatus
from schemas.commands import Answer
from schemas.recording import CaptureStage
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    BOOKING,
    CAMERA_STATUS,
    CAPTURE,
    MERGE,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
)
from schemas.topics import Address
from schemas.work import CameraName, Segment

ARM_NS = 120 * SECOND_NS
STOP_AGAIN_NS = 2 * SECOND_NS
DELETE_AGAIN_NS = 10 * SECOND_NS
IN_FLIGHT = 2**62


@dataclass(frozen=True)
class State:
    """Everything one camera agent knows. Mappings are replaced, never changed.

    Attributes:
        cuts: what the child was told; cuts_asked: what is on its way.
        media: recordings that may have files of ours; deleting: key -> not before (monotonic).
        retry_watch_ns: when to listen to the child again after that failed.
    """

    cam: CameraName
    ready: bool = False
    clock: Clock = field(default_factory=Clock)
    facts: Facts = field(default_factory=Facts)
    planned: Facts | None = None
    takes: Mapping[str, Take] = field(default_factory=dict[str, Take])
    ring: tuple[RingFile, ...] = ()
    seq_floor: int = -1
    causes: tuple[Cause, ...] = ()
    child: Child = field(default_factory=Child)
    claims: Claims = field(default_factory=Claims)
    cuts: tuple[int, ...] | None = None
    cuts_asked: tuple[int, ...] | None = None
    media: frozenset[str] = frozenset()
    deleting: Mapping[str, int] = field(default_factory=dict[str, int])
    watching: bool = False
    retry_watch_ns: int = 0
    stop_asked_ns: int | None = None
    alarms: Alarms = field(default_factory=dict[str, Alarm])
    camera: CameraStatus = field(default_factory=lambda: CameraStatus(state="offline"))
    status: AgentStatus = field(default_factory=lambda: AgentStatus(state="idle"))
    timers: Mapping[str, int] = field(default_factory=dict[str, int])


def agent(settings: Settings, cam: str) -> Agent[State, Settings]:
    """One camera's agent as a value. Raises KeyError when the settings have no such camera."""
    name = settings.camera_of(cam).name
    return Agent(
        name=f"camera_{name}",
        subscribes=(BOOKING, SCHEDULE_SYNC, RECORDING, MERGE, RETENTION),
        initial=lambda _settings: State(name),
        decide=decide,
        retained=retained,
        wakes=lambda state: state.timers,
        hurried=recording,
    )


def recording(state: State) -> bool:
    """Whether a booking is being recorded now."""
    return any(take.stage.status == "running" and not take.idle for take in state.takes.values())


def decide(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """One step; see the module."""
    clock = state.clock.at(stamp.boot_id, stamp.mono_ns, wall_ns(stamp.wall), synced=stamp.synced)
    known, state = state.takes, replace(state, clock=clock)
    replies: Acts = ()
    match event:
        case Started(inventory, remembered):
            state = _started(state, inventory, remembered, settings)
        case World(topics):
            state = replace(state, ready=True, facts=learn_world(state.facts, topics))
        case Changed(address, message):
            state = replace(state, facts=learn(state.facts, address, message))
        case Asked():
            state, replies = _asked(state, event)
        case Done(key, result):
            state = _done(state, key, result)
        case Failed():
            state = _failed(state, event)
        case Tick():
            pass
    state, acts = _pursue(state, known, stamp, settings)
    return state, (*replies, *acts)


def retained(state: State) -> Mapping[Address[Any], Message]:
    """Status of agent and camera, alarms, and per recording the stage and the listed segments."""
    name = f"camera_{state.cam}"
    topics: dict[Address[Any], Message] = {
        AGENT_STATUS.at(agent=name): state.status,
        CAMERA_STATUS.at(cam=state.cam): state.camera,
    }
    topics.update({ALARM.at(agent=name, alarm=key): alarm for key, alarm in state.alarms.items()})
    for take in state.takes.values():
        # In this order on the bus: the stage's `covered_until` speaks of segments that are listed by then.
        topics.update(take.minutes)
        topics[CAPTURE.at(id=take.id, cam=state.cam)] = take.stage
    return topics


# --- events -------------------------------------------------------------------------------------------


def _started(
    state: State, inventory: object, remembered: Mapping[Address[Any], Message], settings: Settings
) -> State:
    found = inventory if isinstance(inventory, CameraInventory) else CameraInventory()
    stages = {
        at["id"]: message
        for at, message in remembered.items()
        if isinstance(message, CaptureStage) and at["cam"] == state.cam
    }
    facts = replace(state.facts, schedule=last_seen(remembered))
    fresh = _fresh(state, settings)
    takes = takes_at_start(fresh, stages, found.claimed, facts, state.clock)
    causes = with_causes((), (cause for stage in stages.values() for cause in old_causes(stage)))
    boot = state.clock.boot_id
    ends = [file.end_ns for file in found.ring if file.boot_id == boot]
    ends += [one.end_ns for take in takes.values() for one in take.segments.values() if one.boot_id == boot]
    if ends:
        causes = lasting_cause(causes, boot, max(ends), "agent restarted")
    takes = {key: take if take.kept else recount(take, causes) for key, take in takes.items()}
    ring = tuple(sorted(found.ring, key=lambda file: file.boot_id == boot))
    media = frozenset(found.claimed) | frozenset(key for key, take in takes.items() if take.mappings)
    return replace(
        state,
        facts=facts,
        takes=takes,
        ring=ring,
        seq_floor=found.seq_floor,
        causes=causes,
        media=media,
    )


def _fresh(state: State, settings: Settings) -> Take:
    return Take("", state.cam, 0, 0, 0, settings.camera_of(state.cam).fps)


def _asked(state: State, event: Asked) -> tuple[State, Acts]:
    match event.name:
        case "restart" if state.child.running:
            answer = Answer(id=event.id, status="ok", message="capture restarts")
            stop = CaptureStop("stop")
            return replace(state, stop_asked_ns=state.clock.mono_ns), (Reply(event.id, answer), stop)
        case "restart":
            answer = Answer(id=event.id, status="ok", message="capture is not running; it starts by itself")
        case "log_level":
            answer = Answer(id=event.id, status="ok")
        case "snapshot":
            answer = Answer(id=event.id, status="rejected", message="not available yet")
        case _:
            answer = Answer(id=event.id, status="rejected", message=f"unknown command {event.name[:40]}")
    return state, (Reply(event.id, answer),)


def _done(state: State, key: str, result: object) -> State:
    now = state.clock.mono_ns
    if isinstance(result, Segment):
        claims, takes = claimed(state.claims, state.takes, key, result, state.causes)
        return replace(state, claims=claims, takes=takes)
    if isinstance(result, CaptureNews):
        return _news(replace(state, watching=False), result)
    if key == "capture":
        return _ended(state, "stopped", "", now)
    if key == "cuts":
        return replace(state, cuts=state.cuts_asked, cuts_asked=None)
    if key.startswith("delete:"):
        return _deleted(state, key.removeprefix("delete:"))
    return state


def _failed(state: State, event: Failed) -> State:
    now, key = state.clock.mono_ns, event.key
    if key == "capture":
        return _ended(state, capture_child.kind_of(event.text, event.detail), event.text, now)
    if key == "watch":
        return replace(state, watching=False, retry_watch_ns=now + SECOND_NS)
    if key == "cuts":
        return replace(state, cuts=None, cuts_asked=None)
    if key.startswith("delete:"):
        again = {**state.deleting, key.removeprefix("delete:"): now + DELETE_AGAIN_NS}
        return replace(state, deleting=again)
    claims, takes, cause = unclaimed(state.claims, state.takes, key, event.kind, event.text, now)
    causes = with_causes(state.causes, (cause,)) if cause else state.causes
    return replace(state, claims=claims, takes=takes, causes=causes)


def _ended(state: State, kind: str, text: str, now: int) -> State:
    begin = state.child.last_frame_ns or now
    causes = lasting_cause(state.causes, state.clock.boot_id, begin, capture_child.REASONS[kind])
    child = capture_child.ended(state.child, kind, text, now)
    return replace(state, child=child, causes=causes, stop_asked_ns=None)


def _news(state: State, news: CaptureNews) -> State:
    now, before = state.clock.mono_ns, state.child
    child = capture_child.told(before, news, now)
    boot = state.clock.boot_id
    causes = with_causes(
        state.causes, (Cause(boot, one.begin_ns, one.end_ns, one.reason) for one in news.lost)
    )
    if child.first_frame_ns is not None and before.first_frame_ns is None:
        causes = end_causes(causes, boot, child.first_frame_ns)
    ring = grow(state.ring, news.segments, news.open_segment)
    takes = {key: settle_growing(take, news.segments, causes) for key, take in state.takes.items()}
    cuts = None if news.started else state.cuts
    if news.started is not None:
        takes = {key: started_again(take, state.clock, child) for key, take in takes.items()}
    return replace(state, child=child, causes=causes, ring=ring, takes=takes, cuts=cuts)


def _deleted(state: State, key: str) -> State:
    deleting = {other: at for other, at in state.deleting.items() if other != key}
    state = replace(state, deleting=deleting, media=state.media - {key})
    take = state.takes.get(key)
    if take is None:
        return state
    gone = replace(take, segments={}, minutes={}, growing=None, kept=take.stage, deleted=True)
    return replace(state, takes={**state.takes, key: gone})


# --- what is still missing ----------------------------------------------------------------------------


def _pursue(state: State, known: Mapping[str, Take], stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    state = _planned(state, settings)
    ring, lost = prune(
        state.ring, state.claims, state.takes, state.clock.boot_id, settings.storage.ring_s * SECOND_NS
    )
    causes = with_causes(state.causes, lost) if lost else state.causes
    claims, takes, asked = ask(state.claims, state.takes, ring, stamp.mono_ns)
    media = state.media | {claim.booking_id for claim in asked}
    takes = account(takes, known, Ring(ring, state.child, causes), claims, state.clock)
    state = replace(state, ring=ring, causes=causes, claims=claims, takes=takes, media=media)
    armed = _armed(state, settings)
    state, control = _controlled(state, armed=armed)
    state, deletions = _deletions(state)
    busy = recording(state)
    alarms = alarms_of(state.alarms, stamp, state.cam, state.child, state.claims, state.takes, state.facts)
    state = replace(
        state,
        camera=capture_child.camera_status(state.child, stamp, wanted=armed, recording=busy),
        alarms=alarms,
        status=status_of_agent(state.child, state.claims, state.takes, degraded=bool(alarms)),
        timers={
            **timers_of(state.clock, state.child, state.claims, state.takes, settings, armed=armed),
            **{f"delete:{key}": at for key, at in state.deleting.items() if stamp.mono_ns < at < IN_FLIGHT},
            **({} if state.watching else {"watch": state.retry_watch_ns}),
        },
    )
    return state, (*control, *asked, *deletions)


def _planned(state: State, settings: Settings) -> State:
    clock, takes, facts = state.clock, state.takes, state.facts
    if facts is not state.planned:
        takes = replan(takes, facts, _fresh(state, settings), clock, state.causes)
    takes = pin(takes, clock, state.causes)
    takes = {key: refuse(take, clock) for key, take in takes.items()}
    if state.ready:
        takes, facts = expire(takes, facts, clock, settings.retention.topics_days)
    return replace(state, takes=takes, facts=facts, planned=facts)


def _armed(state: State, settings: Settings) -> bool:
    """Whether capture has to run now."""
    if settings.camera_of(state.cam).idle == "ring":
        return True
    now = state.clock.wall_ns
    return any(
        not take.idle and take.begin_ns - ARM_NS <= now and take.stage.status != "succeeded"
        for take in state.takes.values()
    )


def _controlled(state: State, *, armed: bool) -> tuple[State, Acts]:
    now, child = state.clock.mono_ns, state.child
    acts: list[Effect] = []
    if armed and not child.running and now >= child.retry_ns:
        child = capture_child.launched(child, now)
        acts.append(CaptureStart("capture", spec={"camera": state.cam, "seq_floor": state.seq_floor + 1}))
    again = state.stop_asked_ns is None or now - state.stop_asked_ns >= STOP_AGAIN_NS
    stopped = state.stop_asked_ns
    if not armed and child.running and again:
        stopped = now
        acts.append(CaptureStop("stop"))
    if not armed and not child.running:
        child = replace(child, silent_ns=None, kind="", text="")
    watching = state.watching
    if not watching and now >= state.retry_watch_ns and (child.running or child.drain):
        watching = True
        acts.append(WatchCapture("watch"))
    cuts = cut_times(borders(state.takes, state.facts, state.clock), now)
    asked = state.cuts_asked
    if asked is None and cuts != state.cuts and (cuts or state.cuts):
        asked = cuts
        acts.append(SetCuts("cuts", cuts_ns=cuts))
    changed = replace(state, child=child, watching=watching, cuts_asked=asked, stop_asked_ns=stopped)
    return changed, tuple(acts)


def _deletions(state: State) -> tuple[State, Acts]:
    """Ask for what retention lists, by our own check no longer needed, and not claimed for right now."""
    if not state.ready:
        return state, ()
    acts: list[Effect] = []
    takes, deleting, now = dict(state.takes), dict(state.deleting), state.clock.mono_ns
    for key in state.facts.retention:
        take = takes.get(key)
        needed = take is not None and not take.dead and take.stage.status in ("pending", "running")
        if key not in state.media or needed:
            continue
        if take is not None and not take.released:
            takes[key] = replace(take, released=True)
        if not state.claims.busy_with(key) and now >= deleting.get(key, 0):
            deleting[key] = IN_FLIGHT
            acts.append(DeleteMedia(f"delete:{key}", booking_id=key, parts=(state.cam,)))
    return replace(state, takes=takes, deleting=deleting), tuple(acts)
