"""The merger: decides for every frame of the film which frames of the two cameras it shows.

Plans a slot when every camera has covered it or was given up, writes the plan to the disk, and only then
publishes it. It never opens media.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from edge_agent.core.agent import (
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
    wall_ns,
)
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import DeleteMedia, MergerInventory, WritePlans
from edge_agent.core.merge_job import Job, Now
from edge_agent.core.merge_keep import deletable, expiry_ns, over, overtaken
from edge_agent.core.merge_news import adopt, heard_segments, heard_stage, published, restored, without_behind
from edge_agent.core.merge_view import refusal, stage_of, unwritten
from edge_agent.core.merging import Desk
from edge_agent.core.schedule import Schedule, forget, heard, heard_all, heard_sync, last_seen, wanted
from edge_agent.core.settings import Settings
from edge_agent.core.values import replace
from schemas.agent import AgentStatus, Alarm
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.commands import Answer
from schemas.health import Retention
from schemas.recording import FINAL_STATES, CaptureStage, MergeStage, Recording, RecordingState, StageError
from schemas.registry import (
    AGENT_AVAILABILITY,
    AGENT_STATUS,
    ALARM,
    BOOKING,
    CAPTURE,
    HEALTH,
    MERGE,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
    SEGMENTS,
)
from schemas.topics import Address
from schemas.work import CameraName, SegmentsMinute, SlotPlan

NAME = "merger"
ENDED: frozenset[RecordingState] = FINAL_STATES - {"cancelled"}
"""What is cancelled may be taken back."""


@dataclass(frozen=True)
class State:
    """What the merger knows.

    Attributes:
        world: the retained snapshot has arrived: effects are allowed.
        heard_ns: monotonic time at which anything was last heard.
        troubles: recordings whose plans cannot be written: why, and since when.
    """

    world: bool = False
    heard_ns: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    jobs: Mapping[str, Job] = field(default_factory=dict[str, Job])
    troubles: Mapping[str, tuple[str, datetime]] = field(default_factory=dict[str, tuple[str, datetime]])
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    status: AgentStatus = field(default_factory=lambda: AgentStatus(state="idle"))


def agent(_settings: Settings) -> Agent[State, Settings]:
    """The merger as a value."""
    return Agent(
        name=NAME,
        subscribes=(
            *(BOOKING, SCHEDULE_SYNC, CAPTURE, SEGMENTS, RECORDING, RETENTION),
            *(HEALTH, AGENT_AVAILABILITY),  # signs of life: a silent bus is not a dead camera
        ),
        initial=lambda _settings: State(),
        decide=decide,
        retained=retained,
        wakes=wakes,
        lanes={"disk": 1},
        hurried=lambda state: state.status.state == "busy",
    )


def retained(state: State) -> Mapping[Address[Any], Message]:
    """Stages, slot plans by minute, alarms and status."""
    topics: dict[Address[Any], Message] = {AGENT_STATUS.at(agent=NAME): state.status}
    for job in state.jobs.values():
        if job.stage is not None:
            topics[MERGE.at(id=job.id)] = job.stage
        topics.update(job.slots)
    topics.update({ALARM.at(agent=NAME, alarm=alarm): message for alarm, message in state.alarms.items()})
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """When each recording is to be looked at again."""
    return {f"job:{job.id}": job.wake_ns for job in state.jobs.values() if job.wake_ns is not None}


def decide(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """One step; see the module."""
    now = Now(stamp.mono_ns, wall_ns(stamp.wall), stamp.boot_id)
    if isinstance(event, World | Changed):
        state = replace(state, heard_ns=now.mono_ns)
    desk = Desk(settings, now, state.heard_ns)
    touched: Iterable[str] = ()
    replies: Acts = ()
    match event:
        case Started(inventory, remembered):
            state = _started(state, inventory, remembered, desk)
        case World(topics):
            state = _world(state, topics, desk)
            touched = tuple(state.jobs)
        case Changed(address, message):
            state, touched = _changed(state, address, message, desk)
        case Done(key, result):
            state, touched = _done(state, key, result, desk), (_id_of(key),)
        case Failed(key, _, text):
            state, touched = _failed(state, key, text, stamp), (_id_of(key),)
        case Tick(key):
            touched = (_id_of(key),)
        case Asked(name=name, id=command_id):
            replies = (Reply(command_id, _answer(name, command_id)),)
    state, acts = _pursue(state, touched, stamp, desk)
    return state, (*replies, *acts)


def _answer(name: str, command_id: str) -> Answer:
    if name == "log_level":  # the host has set it
        return Answer(id=command_id, status="ok", message="log level set")
    return Answer(id=command_id, status="rejected", message=f"the merger has no command {name!r}")


def _id_of(key: str) -> str:
    return key.partition(":")[2]


# --- what is learned ----------------------------------------------------------------------------------


def _started(
    state: State, inventory: object, remembered: Mapping[Address[Any], Message], desk: Desk
) -> State:
    plans = (inventory if isinstance(inventory, MergerInventory) else MergerInventory()).plans
    stages = {at["id"]: message for at, message in remembered.items() if isinstance(message, MergeStage)}
    jobs = {
        booking_id: restored(booking_id, plans.get(booking_id, ()), stages.get(booking_id), desk)
        for booking_id in {**plans, **stages}
    }
    return replace(state, jobs=jobs, schedule=last_seen(remembered))


def _world(state: State, topics: Mapping[Address[Any], Message], desk: Desk) -> State:
    bookings = {at["id"]: message for at, message in topics.items() if isinstance(message, Booking)}
    sync = next((message for message in topics.values() if isinstance(message, ScheduleSync)), None)
    jobs = {key: replace(job, since_ns=desk.now.mono_ns) for key, job in state.jobs.items()}
    state = replace(state, world=True, jobs=jobs)
    state = _with_topics(state, topics, Recording, desk)
    state = _with_bookings(replace(state, schedule=heard_all(state.schedule, bookings, sync)), desk)
    # Stages before segments: with the mapping known, frames that are long planned are not decoded.
    for kind in (CaptureStage, SegmentsMinute, Retention):
        state = _with_topics(state, topics, kind, desk)
    return state


def _with_topics(
    state: State, topics: Mapping[Address[Any], Message], kind: type[Message], desk: Desk
) -> State:
    for address, message in topics.items():
        if isinstance(message, kind):
            state, _ = _changed(state, address, message, desk)
    return state


def _changed(
    state: State, address: Address[Any], message: Message | None, desk: Desk
) -> tuple[State, Iterable[str]]:
    match address.topic.key:
        case BOOKING.key if message is None or isinstance(message, Booking):
            state = replace(state, schedule=heard(state.schedule, address["id"], message))
            return _with_bookings(state, desk), tuple(state.jobs) if message is None else (address["id"],)
        case SCHEDULE_SYNC.key if isinstance(message, ScheduleSync):
            state = replace(state, schedule=heard_sync(state.schedule, message))
            return _with_bookings(state, desk), tuple(state.jobs)
        case RETENTION.key if isinstance(message, Retention):
            return _with_retention(state, message), tuple(state.jobs)
        case CAPTURE.key | SEGMENTS.key | RECORDING.key:
            job = _heard(_job(state, address["id"], desk), address, message, desk)
            return _put(state, job), (address["id"],)
        case _:
            return state, ()


def _heard(job: Job, address: Address[Any], message: Message | None, desk: Desk) -> Job:
    if isinstance(message, Recording):
        return replace(job, final=message.state in ENDED)
    camera: CameraName | None = next((name for name in desk.cameras if name == address["cam"]), None)
    if camera is None:
        return job
    if address.topic.key == CAPTURE.key:
        return heard_stage(job, camera, message if isinstance(message, CaptureStage) else None, desk.now)
    minute = message if isinstance(message, SegmentsMinute) else None
    return heard_segments(job, camera, address["minute"], minute, desk)


def _job(state: State, booking_id: str, desk: Desk) -> Job:
    now_ns = desk.now.mono_ns
    return state.jobs.get(booking_id) or Job(booking_id, since_ns=now_ns, asked_ns=now_ns)


def _put(state: State, job: Job) -> State:
    return state if state.jobs.get(job.id) is job else replace(state, jobs={**state.jobs, job.id: job})


def _with_bookings(state: State, desk: Desk) -> State:
    """Every recording obeys the booking as the schedule has it now."""
    jobs = dict(state.jobs)
    for booking_id, booking in state.schedule.bookings.items():
        job = _job(state, booking_id, desk)
        is_wanted = wanted(state.schedule, booking_id) and not job.dead
        withdrawn = booking_id in state.schedule.withdrawn and booking.wanted
        if withdrawn and overtaken(job, desk):
            is_wanted = True  # cleared because it is over, not withdrawn
        if job.booking is booking and job.wanted == is_wanted:
            continue
        if job.booking is None or job.booking.to != booking.to or job.wanted != is_wanted:
            job = replace(job, asked_ns=desk.now.mono_ns)
        if is_wanted and not job.wanted:  # taken back: the cameras need a moment for what their rings hold
            job = replace(job, since_ns=desk.now.mono_ns)
        frozen = any(feed.stage and feed.stage.mappings for feed in job.feeds.values())
        begin_ns = wall_ns(booking.from_) if job.begin_ns is None and frozen else job.begin_ns
        jobs[booking_id] = replace(job, booking=booking, wanted=is_wanted, begin_ns=begin_ns)
    return replace(state, jobs=jobs)


def _with_retention(state: State, message: Retention) -> State:
    entries = {entry.id: entry for entry in message.entries if entry.what == "all" or entry.dead}
    jobs: dict[str, Job] = {}
    for key, job in state.jobs.items():
        entry = entries.get(key)
        dead = job.dead or (entry is not None and entry.dead)
        listed = entry is not None and entry.what == "all"
        changed = (job.dead, job.listed) != (dead, listed)
        jobs[key] = replace(job, dead=dead, listed=listed, wanted=job.wanted and not dead) if changed else job
    return replace(state, jobs=jobs)


def _done(state: State, key: str, result: object, desk: Desk) -> State:
    job = state.jobs.get(_id_of(key))
    if job is None:
        return state
    job = replace(job, attempt=0, retry_ns=None)
    if key.startswith("delete:"):
        return _put(_untroubled(state, job.id), replace(job, gone=True, slots={}, feeds={}))
    # Whatever else came back is left out: the next look asks again.
    told = cast("tuple[object, ...]", result) if isinstance(result, tuple) else ()
    plans = tuple(plan for plan in told if isinstance(plan, SlotPlan))
    before = job.account.slots
    job = adopt(replace(job, writing=False, layout=desk.layout(job)), plans)
    if job.begin_ns is None and job.account.slots:
        job = replace(job, begin_ns=desk.timeline(job).begin_ns)
    fresh = [plan for plan in plans if before <= plan.index < job.account.slots]
    return _put(_untroubled(state, job.id), without_behind(published(job, fresh, desk), desk))


def _untroubled(state: State, booking_id: str) -> State:
    troubles = {key: trouble for key, trouble in state.troubles.items() if key != booking_id}
    return replace(state, troubles=troubles)


def _failed(state: State, key: str, text: str, stamp: Stamp) -> State:
    job = state.jobs.get(_id_of(key))
    if job is None:
        return state
    attempt = job.attempt + 1
    retry_ns = stamp.mono_ns + delay_ns(attempt, key)
    _, since = state.troubles.get(job.id, ("", stamp.wall))
    state = replace(state, troubles={**state.troubles, job.id: (text, since)})
    return _put(state, replace(job, writing=False, attempt=attempt, retry_ns=retry_ns))


# --- what is done about it ----------------------------------------------------------------------------


def _pursue(state: State, touched: Iterable[str], stamp: Stamp, desk: Desk) -> tuple[State, Acts]:
    if not state.world:
        return state, ()
    acts: list[Act] = []
    jobs = dict(state.jobs)
    schedule = state.schedule
    for booking_id in touched:
        job = jobs.get(booking_id)
        if job is None:
            continue
        if over(job, desk, present=booking_id in schedule.present):
            del jobs[booking_id]
            state = _untroubled(state, booking_id)
            schedule = forget(schedule, booking_id)
            continue
        jobs[booking_id], more = _pursue_job(job, stamp, desk)
        acts.extend(more)
    state = replace(state, jobs=jobs, schedule=schedule)
    return _shown(state), tuple(acts)


def _pursue_job(job: Job, stamp: Stamp, desk: Desk) -> tuple[Job, Acts]:
    """One recording: asks for the next plans or the deletion, and settles its stage and its next wake."""
    resting = job.retry_ns is not None and job.retry_ns > stamp.mono_ns
    job = _refusing(replace(job, wake_ns=job.retry_ns if resting else None), stamp, desk)
    if resting:
        return replace(job, stage=stage_of(job, desk, None), backlog=desk.backlog(job)), ()
    error: StageError | None = None
    acts: Acts = ()
    if deletable(job):
        acts = (DeleteMedia(f"delete:{job.id}", job.id, ("plan",)),)
    elif job.wanted and not (job.writing or job.fixed or job.gone or job.final):
        job, error, acts = _planning(job, desk)
    job = replace(job, stage=stage_of(job, desk, error), backlog=0 if job.fixed else desk.backlog(job))
    return replace(job, wake_ns=job.wake_ns or expiry_ns(job, desk)), acts


def _planning(job: Job, desk: Desk) -> tuple[Job, StageError | None, Acts]:
    if not desk.has_frames(job) or desk.total(job) == 0:
        return _fruitless(job, desk)
    unsynced_ns = desk.unsynced_ns(job)
    plans, wake_ns = ((), unsynced_ns) if unsynced_ns is not None else desk.plan(job)
    if not plans:
        return replace(job, wake_ns=wake_ns), None, ()
    return replace(job, writing=True), None, (WritePlans(f"plans:{job.id}", job.id, plans),)


def _fruitless(job: Job, desk: Desk) -> tuple[Job, StageError | None, Acts]:
    """No camera has given a frame yet: a film of cards alone is none, so it fails once all are given up."""
    end_ns = desk.end_ns(job)
    waits = [desk.waits_ns(job, camera, end_ns) for camera in desk.cameras]
    waiting = [wait_ns for wait_ns in waits if wait_ns is not None]
    if waiting:
        return replace(job, wake_ns=min(waiting)), None, ()
    if desk.total(job) == 0:
        return job, StageError(code="no_time", message="the booking ended before its first frame"), ()
    return job, StageError(code="no_frames", message="no camera gave a frame of this booking"), ()


def _refusing(job: Job, stamp: Stamp, desk: Desk) -> Job:
    """Whether the booking asks for more than a film whose number of slots is fixed."""
    more = job.fixed and job.wanted and job.stage is not None and job.booking is not None
    if more and job.stage and job.stage.frames_total is not None:
        more = desk.timeline(job).frames_until(desk.end_ns(job)) > job.stage.frames_total
    since = (job.refused or stamp.wall) if more else None
    return job if job.refused == since else replace(job, refused=since)


# --- what is shown ------------------------------------------------------------------------------------


def _shown(state: State) -> State:
    """Alarms and status from the state; objects that did not change stay the same."""
    alarms: dict[str, Alarm] = {}
    for key, (text, since) in state.troubles.items():
        alarms.setdefault("plans_unwritten", unwritten(key, text, since))
    for job in state.jobs.values():
        if job.refused is not None:
            alarms.setdefault("extension_refused", refusal(job, job.refused))
    kept = {key: state.alarms[key] if state.alarms.get(key) == new else new for key, new in alarms.items()}
    writing = next((job.id for job in state.jobs.values() if job.writing), None)
    backlog = sum(job.backlog for job in state.jobs.values() if job.wanted)
    running = any(job.stage is not None and job.stage.status == "running" for job in state.jobs.values())
    status = AgentStatus(
        state="degraded" if state.troubles else "busy" if running or writing else "idle",
        backlog=backlog,
        current=writing
        or next((j.id for j in state.jobs.values() if j.stage and j.stage.status == "running"), None),
        last_error=next((text for text, _ in state.troubles.values()), None),
    )
    return replace(state, alarms=kept, status=state.status if status == state.status else status)
