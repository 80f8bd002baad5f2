"""The processor: renders every slot plan once, merge and logos in one go, and lets the film grow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core import camera_files, dressing, film_keep, film_news, filming, processor_view
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
from edge_agent.core.camera_files import CameraFile
from edge_agent.core.effects import FilmFile, Prepared, ProcessorInventory, Rendered
from edge_agent.core.filming import Film
from edge_agent.core.schedule import Schedule, forget, heard, heard_all, heard_sync, last_seen
from edge_agent.core.settings import Settings
from edge_agent.core.values import replace
from schemas.agent import AgentStatus, Alarm
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.commands import Answer
from schemas.health import Asset, Retention
from schemas.recording import FINAL_STATES, CaptureStage, MergeStage, ProcessStage, Recording, UploadStage
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    ASSET,
    BOOKING,
    CAPTURE,
    MERGE,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
    SEGMENTS,
    SLOTS,
    UPLOAD,
)
from schemas.topics import Address
from schemas.work import CameraName, SegmentsMinute, SlotsMinute

NAME = "processor"
READS = (BOOKING, SCHEDULE_SYNC, MERGE, CAPTURE, SLOTS, SEGMENTS, ASSET, UPLOAD, RECORDING, RETENTION)


@dataclass(frozen=True)
class State:
    """Everything the processor knows.

    ``assets``: sha256 -> asset; ``final``: recordings that are over; ``working``: keys of effects that
    were asked for and have not ended; ``full``: what the disk said when it was full last.
    """

    ready: bool = False
    paused: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    films: Mapping[str, Film] = field(default_factory=dict[str, Film])
    cameras: Mapping[tuple[str, str], CameraFile] = field(default_factory=dict[tuple[str, str], CameraFile])
    assets: Mapping[str, Asset] = field(default_factory=dict[str, Asset])
    final: frozenset[str] = frozenset()
    working: frozenset[str] = frozenset()
    full: str | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    last_error: str | None = None
    status: AgentStatus = field(default_factory=lambda: AgentStatus(state="idle"))


def agent(settings: Settings) -> Agent[State, Settings]:  # noqa: ARG001 - all agents are made alike
    """The processor as a value."""
    return Agent(
        name=NAME,
        subscribes=READS,
        initial=lambda _settings: State(),
        decide=decide,
        retained=retained,
        wakes=wakes,
        lanes={"render": 1, "film": 1, "prepare": 4, "camera_file": 1, "settle": 1, "disk": 1},
        hurried=lambda state: state.status.backlog > 0,
    )


def decide(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """See `edge_agent.core.agent`."""
    replies: Acts = ()
    if isinstance(event, Done | Failed):
        state = replace(state, working=state.working - {event.key})
    match event:
        case Started(inventory=ProcessorInventory() as found, remembered=remembered):
            state = _started(state, found, remembered, stamp)
        case World(topics=topics):
            state = _world(state, topics)
        case Changed(address=address, message=message):
            state = _changed(state, address, message)
        case Asked():
            state, replies = _asked(state, event)
        case Done(key=key, result=result):
            state = _done(state, key, result, stamp)
        case Failed():
            state = _failed(state, event, stamp)
        case Tick() | Started():
            pass
    state, effects = _pursue(state, stamp, settings)
    return state, (*replies, *effects)


def retained(state: State) -> Mapping[Address[Any], Message]:
    """Stages, objects, alarms and status."""
    topics: dict[Address[Any], Message] = {AGENT_STATUS.at(agent=NAME): state.status}
    for film in state.films.values():
        topics |= processor_view.topics_of(film, state.cameras, final=film.id in state.final)
    topics |= {ALARM.at(agent=NAME, alarm=name): alarm for name, alarm in state.alarms.items()}
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """Assets that are waited for, and tries that are put off."""
    times = {key: at_ns for film in state.films.values() for key, at_ns in processor_view.wakes_of(film)}
    for (booking_id, cam), item in state.cameras.items():
        if item.not_before_ns:
            times[f"camera:{booking_id}:{cam}"] = item.not_before_ns
    return times


# --- what is learned ----------------------------------------------------------------------------------


def _film(state: State, booking_id: str) -> Film:
    return state.films.get(booking_id) or Film(booking_id)


def _with(state: State, film: Film) -> State:
    return replace(state, films={**state.films, film.id: film})


def _with_camera(state: State, item: CameraFile) -> State:
    return replace(state, cameras={**state.cameras, (item.booking_id, item.cam): item})


def _started(
    state: State, found: ProcessorInventory, remembered: Mapping[Address[Any], Message], stamp: Stamp
) -> State:
    stages = {at["id"]: message for at, message in remembered.items() if isinstance(message, ProcessStage)}
    state = replace(state, schedule=last_seen(remembered))
    bookings = state.schedule.bookings
    for booking_id in {**stages, **bookings, **found.films, **found.slots, **found.dresses}:
        film = Film(booking_id, booking=bookings.get(booking_id))
        if booking_id in stages:
            film = replace(film, stage=stages[booking_id])
        state = _with(state, film_news.recovered(film, found, stamp.wall))
        for cam in camera_files.NAMES:
            if (file := found.films.get(booking_id, {}).get(cam)) is not None:
                kept = CameraFile(booking_id, cam, skipped=film.stage.skipped.get(cam, ()))
                state = _with_camera(state, camera_files.grown(kept, file))
    return state


def _world(state: State, topics: Mapping[Address[Any], Message]) -> State:
    bookings = {at["id"]: message for at, message in topics.items() if isinstance(message, Booking)}
    sync = next((message for message in topics.values() if isinstance(message, ScheduleSync)), None)
    state = _booked(replace(state, ready=True, schedule=heard_all(state.schedule, bookings, sync)))
    for address, message in topics.items():
        if not isinstance(message, Booking | ScheduleSync):
            state = _changed(state, address, message)
    return state


def _booked(state: State) -> State:
    """Every film obeys the schedule as it is known now."""
    films = dict(state.films)
    for booking_id, booking in state.schedule.bookings.items():
        film, withdrawn = _film(state, booking_id), booking_id in state.schedule.withdrawn
        if film.booking is not booking or film.withdrawn != withdrawn:
            films[booking_id] = replace(film, booking=booking, withdrawn=withdrawn)
    return replace(state, films=films)


def _changed(state: State, address: Address[Any], message: Message | None) -> State:
    match message:
        case None:
            return _cleared(state, address)
        case Booking():
            return _booked(replace(state, schedule=heard(state.schedule, address["id"], message)))
        case ScheduleSync():
            return _booked(replace(state, schedule=heard_sync(state.schedule, message)))
        case Asset():
            return replace(state, assets={**state.assets, address["sha256"]: message})
        case Recording():
            over = message.state in FINAL_STATES
            ids = state.final | {address["id"]} if over else state.final - {address["id"]}
            delivered = message.state in ("ready", "partial")
            state = _with(state, replace(_film(state, address["id"]), delivered=delivered))
            return replace(state, final=ids)
        case Retention():
            return _listed(state, message)
        case SegmentsMinute() | CaptureStage():
            return _camera_changed(state, address, message)
        case MergeStage() | SlotsMinute() | UploadStage():
            return _with(state, film_news.heard(_film(state, address["id"]), message))
        case _:
            return state


def _camera_changed(state: State, address: Address[Any], message: SegmentsMinute | CaptureStage) -> State:
    cam: CameraName = "left" if address["cam"] == "left" else "right"
    item = state.cameras.get((address["id"], cam)) or CameraFile(address["id"], cam)
    if isinstance(message, SegmentsMinute):
        return _with_camera(state, camera_files.listed(item, address["minute"], message))
    return _with_camera(state, replace(item, stage=message))


def _cleared(state: State, address: Address[Any]) -> State:
    """What an owner takes away by rule is forgotten; a booking only when the schedule proves it gone."""
    if address.topic is BOOKING:
        return _booked(replace(state, schedule=heard(state.schedule, address["id"], None)))
    if address.topic is SEGMENTS and (item := state.cameras.get((address["id"], address["cam"]))):
        return _with_camera(state, camera_files.listed(item, address["minute"], None))
    film = state.films.get(address["id"]) if address.topic is RECORDING else None
    if film is not None and not film.on_disk:
        return _forgotten(state, film.id)
    return state


def _forgotten(state: State, booking_id: str) -> State:
    films = {key: film for key, film in state.films.items() if key != booking_id}
    cameras = {key: item for key, item in state.cameras.items() if key[0] != booking_id}
    schedule, final = forget(state.schedule, booking_id), state.final - {booking_id}
    return replace(state, films=films, cameras=cameras, schedule=schedule, final=final)


def _listed(state: State, retention: Retention) -> State:
    films = dict(state.films)
    for entry in retention.entries:
        film = films.get(entry.id)
        if film is not None and entry.what == "all" and (film.listed, film.dead) != (True, entry.dead):
            films[entry.id] = replace(film, listed=True, dead=film.dead or entry.dead)
    return replace(state, films=films)


# --- what came of the effects -------------------------------------------------------------------------


def _parts(key: str) -> tuple[str, str, str]:
    """Kind, booking and the rest of an effect's key."""
    kind, _, rest = key.partition(":")
    booking_id, _, tail = rest.partition(":")
    return kind, booking_id, tail


def _done(state: State, key: str, result: object, stamp: Stamp) -> State:
    kind, booking_id, tail = _parts(key)
    film = state.films.get(booking_id)
    if film is None:
        return state
    if isinstance(result, FilmFile | Rendered):
        state = replace(state, full=None)
    match result:
        case Prepared():
            return _with(state, dressing.prepared(film, key, result))
        case Rendered():
            return _with(state, filming.rendered(film, int(tail), result))
        case FilmFile() if kind == "poster":
            return _with(state, film_news.with_poster(film, result))
        case FilmFile() if kind.startswith("camera"):
            item = _camera_of(state, booking_id, tail)
            return _with_camera(state, camera_files.grown(item, result)) if item else state
        case FilmFile():
            return _with(state, filming.appended(film, result, stamp.wall))
        case _ if kind == "delete":
            cameras = {at: item for at, item in state.cameras.items() if at[0] != booking_id}
            return _with(replace(state, cameras=cameras), film_keep.deleted(film))
        case _:
            return state


def _camera_of(state: State, booking_id: str, tail: str) -> CameraFile | None:
    return state.cameras.get((booking_id, tail.partition(":")[0]))


def _failed(state: State, event: Failed, stamp: Stamp) -> State:
    kind, booking_id, tail = _parts(event.key)
    film = state.films.get(booking_id)
    if film is None:
        return state
    full = event.text if event.kind == "full" else state.full
    state = replace(state, last_error=f"{event.key}: {event.text}"[:300], full=full)
    if kind.startswith("camera"):
        item = _camera_of(state, booking_id, tail)
        return _camera_failed(state, film, item, event, stamp) if item else state
    return _with(state, film_news.failed(film, kind, tail, event, stamp.mono_ns))


def _camera_failed(state: State, film: Film, item: CameraFile, event: Failed, stamp: Stamp) -> State:
    """A segment that was skipped is named in the stage."""
    name = event.key.split(":")[3] if event.key.startswith("camera:") else ""
    item = camera_files.failed(item, name, event.kind, stamp.mono_ns)
    if item.skipped != film.stage.skipped.get(item.cam, ()):
        skipped = {**film.stage.skipped, item.cam: item.skipped}
        state = _with(state, replace(film, stage=film.stage.replace(skipped=skipped)))
    return _with_camera(state, item)


def _asked(state: State, asked: Asked) -> tuple[State, Acts]:
    match asked.name:
        case "pause" | "resume":
            state = replace(state, paused=asked.name == "pause")
            answer = Answer(id=asked.id, status="ok", message=f"rendering {asked.name}d")
        case "log_level":
            answer = Answer(id=asked.id, status="ok", message="log level set")
        case _:
            answer = Answer(id=asked.id, status="rejected", message=f"processor knows no {asked.name}")
    return state, (Reply(asked.id, answer),)


# --- what is done about it ----------------------------------------------------------------------------


def _pursue(state: State, stamp: Stamp, settings: Settings) -> tuple[State, tuple[Effect, ...]]:
    if not state.ready:
        return _shown(state, stamp), ()
    effects: list[Effect] = []
    for film in tuple(state.films.values()):
        kept = film.id in state.schedule.present
        if not kept and film_keep.outlived(film, stamp.wall, settings.retention.topics_days):
            state = _forgotten(state, film.id)
            continue
        changed, asked = _advance(state, film, stamp, settings)
        effects.extend(asked)
        if changed is not film:
            state = _with(state, changed)
    for (booking_id, _), item in state.cameras.items():
        effects.extend(camera_files.next_effects(item, _film(state, booking_id), stamp.mono_ns))
    state, renders = _render(state, stamp)
    effects.extend(renders)
    state = replace(state, working=state.working | {effect.key for effect in effects})
    return _shown(state, stamp), tuple(effects)


def _shown(state: State, stamp: Stamp) -> State:
    films = state.films.values()
    alarms = processor_view.alarms_of(films, state.final, state.full, state.alarms, stamp.wall)
    status = processor_view.status_of(films, alarms, state.last_error, paused=state.paused)
    return replace(state, alarms=alarms, status=state.status if status == state.status else status)


def _advance(state: State, film: Film, stamp: Stamp, settings: Settings) -> tuple[Film, list[Effect]]:
    effects: list[Effect] = []
    if film.listed:
        busy = any(_parts(key)[1] == film.id for key in state.working)
        effects.extend(film_keep.deletion(film, stamp.mono_ns, busy=busy))
    booking = film.booking
    if booking is not None and film.making:
        if not film.plans:
            film = replace(film, warm_ns=dressing.warming_ns(film, stamp)) if film.warm_ns is None else film
            if warm := dressing.warm_up(film, state.assets, stamp, settings):
                film = replace(film, warmed=True, preparing=film.preparing | {warm.key})
                effects.append(warm)
        elif film.format is None:
            film = replace(film, format=dressing.choose_format(settings, film, booking))
        if film.format is not None and film.plans and film.prepared is None:
            film, prepare = dressing.dress(film, state.assets, stamp.mono_ns)
            effects.extend((prepare,) if prepare else ())
    film = processor_view.told(dressing.with_account(film, state.assets))
    effects.extend(filming.next_effects(film, stamp.mono_ns))
    return film, effects


def _render(state: State, stamp: Stamp) -> tuple[State, tuple[Effect, ...]]:
    """One slot at a time, of the recording that began first: its people have waited longest."""
    making = [film for film in state.films.values() if film.booking is not None and film.begun]
    making.sort(key=lambda film: (film.booking.from_ if film.booking else stamp.wall, film.id))
    for film in making:
        if state.paused and film.making:
            continue
        changed, effect = filming.next_render(film, stamp.mono_ns)
        if changed is not film:
            state = _with(state, changed)
        if effect is not None:
            return state, (effect,)
    return state, ()
