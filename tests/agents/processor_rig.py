"""A processor on the real host core, with a disk, a film and a renderer that are values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.agents import processor
from edge_agent.core.agent import SECOND_NS, Changed, Done, Effect, Event, Failed, Stamp, Started, Tick
from edge_agent.core.effects import (
    AppendCamera,
    AppendSlot,
    CloseCamera,
    CloseFilm,
    DeleteMedia,
    Dress,
    FilmFile,
    MakePoster,
    Prepare,
    Prepared,
    PreparedLogo,
    ProcessorInventory,
    Render,
    Rendered,
    SettleFile,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from edge_agent.runtime.core import HostCore, Identity, Turn
from schemas.base import Message
from schemas.booking import Booking
from schemas.recording import MergeStage, ProcessStage, UploadedObject, UploadStage
from schemas.registry import BOOKING, FILM_OBJECT, MERGE, PROCESS, SLOTS, UPLOAD
from schemas.topics import Address
from schemas.work import Pick, Run, SlotPlan, SlotsMinute, Source, WorkObject

T0 = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
FRAMES = 120
SLOT_BYTES = 1000
INTRO = -1


def booking(begin_s: float = 0, end_s: float = 20, **more: Any) -> Booking:
    begin, end = T0 + timedelta(seconds=begin_s), T0 + timedelta(seconds=end_s)
    plain = {"rev": 1, "start": begin, "end": end, "from": begin, "to": end}
    return Booking.model_validate({**plain, **more})


def logo(slot: str, sign: str) -> dict[str, Any]:
    return {"slot": slot, "place": "top_left", "key": slot, "sha256": sign * 64, "bytes": 3}


def plan(index: int, picture: Any = "side_by_side", booking_id: str = "b1") -> SlotPlan:
    both = picture in ("side_by_side", "stacked")
    pick = Pick(source=0, first=0, count=FRAMES)
    run = Run(
        picture=picture,
        frames=FRAMES,
        left=(pick,) if both or picture in ("left", "single") else (),
        right=(pick,) if both or picture == "right" else (),
    )
    sources = {
        cam: (Source(path=f"recordings/{booking_id}/{cam}/s-{index:04d}.mp4", frames=FRAMES),)
        for cam in ("left", "right")
    }
    return SlotPlan(
        index=index,
        first_frame=index * FRAMES,
        frames=FRAMES,
        runs=(run,),
        left_sources=sources["left"],
        right_sources=sources["right"],
    )


@dataclass(frozen=True)
class OnDisk:
    """A film or camera file. ``content``: what was appended, in order; ``durable``: how much of it lasts."""

    content: tuple[Any, ...] = ()
    durable: int = 0
    complete: bool = False
    settled: bool = False
    generation: int = 0


@dataclass
class Disk:
    """What the processor's drivers do, as values. ``spoil`` may raise for an effect."""

    films: dict[tuple[str, str], OnDisk] = field(default_factory=dict)
    slots: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    posters: set[str] = field(default_factory=set)
    dresses: dict[str, Dress] = field(default_factory=dict)
    intro_frames: int = 90
    spoil: Callable[[Effect], None] = lambda _effect: None
    ran: list[Effect] = field(default_factory=list)

    def run(self, effect: Effect) -> object:
        self.ran.append(effect)
        self.spoil(effect)
        match effect:
            case Render():
                self.slots[effect.booking_id, effect.plan.index] = (effect.plan.index, effect.rung)
                path = f"recordings/{effect.booking_id}/film/slot-{effect.plan.index:06d}.mp4"
                return Rendered(path, effect.plan.frames, SLOT_BYTES, 1.0, rung=effect.rung)
            case Prepare():
                return self._prepare(effect)
            case AppendSlot():
                return self._append(effect)
            case AppendCamera():
                return self._append_camera(effect)
            case CloseFilm() | CloseCamera():
                name = effect.cam if isinstance(effect, CloseCamera) else "film"
                film = self.films[effect.booking_id, name]
                self.films[effect.booking_id, name] = replace(film, complete=True)
                return self.file(effect.booking_id, name)
            case SettleFile():
                film = self.films[effect.booking_id, effect.name]
                whole = replace(film, complete=True, settled=True, durable=len(film.content))
                self.films[effect.booking_id, effect.name] = whole
                if effect.name == "film":
                    self._drop(effect.booking_id)
                return self.file(effect.booking_id, effect.name)
            case MakePoster():
                self.posters.add(effect.booking_id)
                return FilmFile("recordings/b1/film/poster.jpg", 7, 7, 1, 0, 0, True, "p-1", 0.0, 0)
            case DeleteMedia():
                self._delete(effect.booking_id)
                return None
            case _:
                raise AssertionError(effect)

    def _prepare(self, effect: Prepare) -> Prepared:
        logos = tuple(PreparedLogo(one.slot, one.place, f"assets/{one.slot}", 8, 8) for one in effect.logos)
        intro = "assets/intro.mp4" if effect.intro else None
        result = Prepared(logos, intro, self.intro_frames if intro else 0, {})
        if not effect.fix:
            return result
        return self.dresses.setdefault(effect.booking_id, Dress(effect.format, result)).prepared

    def _append(self, effect: AppendSlot) -> FilmFile:
        at = (effect.booking_id, "film")
        film = self.films.get(at, OnDisk())
        numbered = [item for item in film.content if item[0] != INTRO]
        if effect.index == INTRO:
            if not film.content:
                film = replace(film, content=((INTRO, "intro"),))
        elif effect.index == len(numbered):
            assert not film.complete
            if (effect.booking_id, effect.index) not in self.slots:
                raise EffectFailed("input", "no such slot file")
            film = replace(film, content=(*film.content, self.slots[effect.booking_id, effect.index]))
        self.films[at] = film
        return self.file(*at)

    def _append_camera(self, effect: AppendCamera) -> FilmFile:
        at = (effect.booking_id, effect.cam)
        film = self.films.get(at, OnDisk())
        if effect.index == len(film.content):
            film = replace(film, content=(*film.content, (effect.path, effect.times_us)))
        self.films[at] = film
        return self.file(*at)

    def _delete(self, booking_id: str) -> None:
        self.films = {at: film for at, film in self.films.items() if at[0] != booking_id}
        self.slots = {at: slot for at, slot in self.slots.items() if at[0] != booking_id}
        self.posters.discard(booking_id)
        self.dresses.pop(booking_id, None)

    def _drop(self, booking_id: str) -> None:
        film = self.films[booking_id, "film"]
        covered = sum(1 for item in film.content[: film.durable] if item[0] != INTRO)
        self.slots = {at: one for at, one in self.slots.items() if at[0] != booking_id or at[1] >= covered}

    def sync(self, booking_id: str) -> None:
        """The helper thread made the film durable, and covered slot files went."""
        film = self.films.get((booking_id, "film"))
        if film is not None:
            self.films[booking_id, "film"] = replace(film, durable=len(film.content), settled=film.complete)
            self._drop(booking_id)

    def cut(self, booking_id: str, keep: int) -> None:
        """A crash: of what was not durable only ``keep`` pieces are found again."""
        film = self.films.get((booking_id, "film"))
        if film is None or film.settled:
            return
        keep = max(film.durable, min(keep, len(film.content)))
        generation = film.generation + (keep < len(film.content))
        self.films[booking_id, "film"] = OnDisk(film.content[:keep], film.durable, generation=generation)

    def file(self, booking_id: str, name: str) -> FilmFile:
        film = self.films[booking_id, name]
        intro = name == "film" and bool(film.content) and film.content[0][0] == INTRO
        slots = len(film.content) - intro
        last = film.content[-1][0].rpartition("/")[2][:-4] if name != "film" and film.content else None
        intro_frames = self.intro_frames if intro else 0
        return FilmFile(
            path=f"recordings/{booking_id}/film/{name}.mp4",
            bytes=SLOT_BYTES * len(film.content) + film.complete,
            bytes_durable=SLOT_BYTES * film.durable + film.settled,
            frames=slots * FRAMES + intro_frames,
            slots=slots,
            intro_frames=intro_frames,
            complete=film.complete,
            sha256="h-1" if film.complete else None,
            duration_s=4.0 * slots,
            generation=film.generation,
            last=last,
        )

    def inventory(self) -> ProcessorInventory:
        films: dict[str, dict[str, FilmFile]] = {}
        for booking_id, name in self.films:
            films.setdefault(booking_id, {})[name] = self.file(booking_id, name)
        for booking_id in self.posters:
            poster = FilmFile("recordings/b1/film/poster.jpg", 7, 7, 1, 0, 0, True, "p-1", 0.0, 0)
            films.setdefault(booking_id, {})["poster"] = poster
        slots: dict[str, dict[int, str]] = {}
        for booking_id, index in self.slots:
            path = f"recordings/{booking_id}/film/slot-{index:06d}.mp4"
            slots.setdefault(booking_id, {})[index] = path
        return ProcessorInventory(films, slots, dict(self.dresses))


@dataclass
class Rig:
    """Keeps what the host and the broker would keep. Effects run when the test says so."""

    settings: Settings = field(default_factory=Settings)
    disk: Disk = field(default_factory=Disk)
    world: dict[Address[Any], Message] = field(default_factory=dict)
    memory: dict[Address[Any], Message] = field(default_factory=dict)
    shown: dict[Address[Any], Message] = field(default_factory=dict)
    running: dict[str, Effect] = field(default_factory=dict)
    now_ns: int = 1_000 * SECOND_NS
    wall: datetime = T0
    seq: int = 0
    published: list[tuple[Address[Any], Message | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self, *, connect: bool = True) -> None:
        """A new process: effects under way are lost, what was remembered is not."""
        self.running.clear()
        self.core: HostCore[Any, Any] = HostCore(
            processor.agent(self.settings), self.settings, Identity("s", 1, "0")
        )
        self.core.adopt_remembered(dict(self.memory))
        bookings = {at: message for at, message in self.world.items() if at.topic is BOOKING}
        self.feed(Started(self.disk.inventory(), {**bookings, **self.memory}))
        if connect:
            self.connect()

    def connect(self) -> None:
        self._take(self.core.connected(dict(self.shown), dict(self.world), self.stamp()))

    def stamp(self) -> Stamp:
        self.seq += 1
        return Stamp(self.seq, self.now_ns, self.wall, True, "boot")

    def feed(self, event: Event) -> Turn:
        turn = self.core.feed(event, self.stamp())
        if self.core.last_fault is not None:
            raise self.core.last_fault
        self._take(turn)
        return turn

    def _take(self, turn: Turn) -> None:
        for address, message in turn.remember:
            _keep(self.memory, address, message)
        for address, message in turn.publish:
            self.published.append((address, message))
            _keep(self.shown, address, message)
        for effect in turn.start:
            assert effect.key not in self.running
            self.running[effect.key] = effect

    def put(self, address: Address[Any], message: Message | None) -> None:
        """Another owner's topic changes."""
        _keep(self.world, address, message)
        self.feed(Changed(address, message))

    def end(self, key: str) -> None:
        """One running effect ends."""
        effect = self.running.pop(key)
        try:
            result = self.disk.run(effect)
        except EffectFailed as failure:
            self.feed(Failed(key, failure.kind, failure.text, failure.detail))
        else:
            self.feed(Done(key, result))

    def settle(self, patience: int = 300) -> None:
        """Every effect runs until none is under way. More than ``patience`` of them is a busy loop."""
        for _ in range(patience):
            if not self.running:
                return
            self.end(next(iter(self.running)))
        raise AssertionError(f"still asking: {list(self.running)}")

    def wait(self, seconds: float) -> None:
        """Time passes, timers fire, effects run."""
        until_ns = self.now_ns + round(seconds * SECOND_NS)
        self.settle()
        while True:
            wakes = [
                at_ns for at_ns in self.core.agent.wakes(self.core.state).values() if at_ns > self.now_ns
            ]
            step_ns = min([until_ns, *wakes])
            self.wall += timedelta(microseconds=(step_ns - self.now_ns) / 1000)
            self.now_ns = step_ns
            for key in self.core.due(self.now_ns):
                self.feed(Tick(key))
            self.settle()
            if step_ns >= until_ns:
                return

    # --- other agents ---

    def book(self, one: Booking | None = None, booking_id: str = "b1") -> None:
        self.put(BOOKING.at(id=booking_id), one or booking())

    def plan(self, *indices: int, booking_id: str = "b1", picture: Any = "side_by_side") -> None:
        at = SLOTS.at(id=booking_id, minute="0")
        held = self.world.get(at)
        before = held.plans if isinstance(held, SlotsMinute) else ()
        fresh = tuple(plan(index, picture, booking_id) for index in indices)
        self.put(at, SlotsMinute(plans=(*before, *fresh)))

    def merged(self, slots: int, booking_id: str = "b1", **more: Any) -> None:
        body = {"status": "succeeded", "slots_planned": slots, "slots_total": slots, **more}
        self.put(MERGE.at(id=booking_id), MergeStage.model_validate(body))

    def uploaded(self, *names: str, booking_id: str = "b1") -> None:
        objects = []
        for name in names:
            size = self.disk.file(booking_id, name).bytes if (booking_id, name) in self.disk.films else 7
            objects.append(UploadedObject(name=name, key=name, bytes=size, hash="h-1", verified_at=self.wall))
        self.put(UPLOAD.at(id=booking_id), UploadStage(status="succeeded", objects=tuple(objects)))

    # --- what is seen ---

    def stage(self, booking_id: str = "b1") -> ProcessStage:
        found = self.shown[PROCESS.at(id=booking_id)]
        assert isinstance(found, ProcessStage)
        return found

    def object(self, name: str = "film", booking_id: str = "b1") -> WorkObject | None:
        found = self.shown.get(FILM_OBJECT.at(id=booking_id, name=name))
        assert found is None or isinstance(found, WorkObject)
        return found

    def film(self, booking_id: str = "b1") -> list[int]:
        film = self.disk.films.get((booking_id, "film"), OnDisk())
        return [item[0] for item in film.content]

    def ran(self, kind: type[Effect]) -> list[Any]:
        return [effect for effect in self.disk.ran if isinstance(effect, kind)]

    def alarms(self) -> Mapping[str, Any]:
        return {at["alarm"]: one for at, one in self.shown.items() if at.topic.key == "alarm"}


def _keep(held: dict[Address[Any], Message], address: Address[Any], message: Message | None) -> None:
    if message is None:
        held.pop(address, None)
    else:
        held[address] = message
