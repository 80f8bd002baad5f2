"""The whole device in one process of virtual time: clocks, disk, broker, cameras, agents, and its power."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cloud_bridge import bridge
from edge_agent.agents import camera, health, merger, processor, uploader
from edge_agent.core.agent import SECOND_NS, Agent, Stamp
from edge_agent.core.effects import DeleteMedia
from edge_agent.core.settings import Camera as CameraSettings
from edge_agent.core.settings import Film, Retention, Settings
from edge_agent.core.take_plan import Clock
from edge_agent.sim.bookings import KINDS
from edge_agent.sim.bridging import BridgeDrivers
from edge_agent.sim.broker import Broker
from edge_agent.sim.bucket import Bucket, UploadDrivers
from edge_agent.sim.capture import CaptureDrivers, Ring
from edge_agent.sim.club import Club
from edge_agent.sim.court import Camera
from edge_agent.sim.disk import Disk
from edge_agent.sim.judge import Judge
from edge_agent.sim.loop import MS_NS, US_NS, Loop
from edge_agent.sim.making import FilmDrivers, HealthDrivers, PlanDrivers
from edge_agent.sim.node import Drivers, Node, Shared
from edge_agent.sim.outbox import orders_in, refused_in
from edge_agent.sim.rows import RowJudge
from edge_agent.sim.store import Store, Trouble
from schemas.base import Message
from schemas.registry import COMMAND
from schemas.topics import Address
from schemas.work import CameraName, SlotPlan

BASE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BASE_NS = int(BASE.timestamp()) * SECOND_NS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEAR_BEFORE_NS = 150 * SECOND_NS
NEAR_AFTER_NS = 90 * SECOND_NS
CAMERAS: tuple[CameraName, CameraName] = ("left", "right")


def true_wall(now_ns: int) -> datetime:
    """What a right clock says at a true time."""
    return BASE + timedelta(microseconds=now_ns // 1000)


@dataclass
class Clocks:
    """The device's two clocks. ``error_ns``: how far the wall clock is ahead of the truth."""

    loop: Loop
    boot_id: str
    boot_ns: int
    error_ns: int = 0
    synced: bool = True

    def mono_ns(self) -> int:
        """This boot's monotonic clock."""
        return self.loop.now_ns - self.boot_ns

    def true_of(self, mono_ns: int) -> int:
        """True time of a moment of this boot."""
        return mono_ns + self.boot_ns

    def wall_ns(self) -> int:
        """The wall clock, in nanoseconds since the epoch."""
        return BASE_NS + self.loop.now_ns + self.error_ns

    def wall(self) -> datetime:
        """The wall clock."""
        return EPOCH + timedelta(microseconds=self.wall_ns() // 1000)

    def stamp(self, seq: int) -> Stamp:
        """Both clocks now."""
        return Stamp(seq, self.mono_ns(), self.wall(), self.synced, self.boot_id)


@dataclass(frozen=True)
class SimClock:
    """The device's clocks as `edge_agent.runtime.clock.Clock`."""

    clocks: Clocks

    def mono_ns(self) -> int:
        """See `Clock`."""
        return self.clocks.mono_ns()

    def wall(self) -> datetime:
        """See `Clock`."""
        return self.clocks.wall()

    def synced(self) -> bool:
        """See `Clock`."""
        return self.clocks.synced

    def boot_id(self) -> str:
        """See `Clock`."""
        return self.clocks.boot_id


@dataclass
class Mood:
    """What kind of world a seed draws. ``store``: the troubles its store may have; ``kinds``: of bookings."""

    idle: str = "ring"
    trouble: float = 0.0
    rotten: float = 0.0
    drop: int = 0
    faults: frozenset[str] = field(default_factory=frozenset[str])
    store: tuple[Trouble, ...] = ("away", "away", "denied", "slow", "half", "empty", "pages")
    kinds: tuple[str, ...] = KINDS


@dataclass
class Plant:
    """Changes put into the world to show that the invariants see them: wraps agents and drivers by name.

    ``mood``: makes a world in which the bug shows soon.
    """

    agent: Callable[[Agent[Any, Any]], Agent[Any, Any]] = lambda agent: agent
    drivers: Callable[[str, Drivers], Drivers] = lambda _name, drivers: drivers
    mood: Callable[[Mood], Mood] = lambda mood: mood


class Device:
    """Everything of one court. ``touched``: what was done to a camera, and when (true time)."""

    def __init__(self, loop: Loop, mood: Mood, plant: Plant) -> None:
        self.loop = loop
        self.mood = mood
        self.plant = plant
        lots = loop.lots("device")
        self.fps = lots.choice((10, 12))
        self.settings = _settings(self.fps, mood)
        self.clocks = Clocks(loop, f"{lots.getrandbits(128):032x}", -lots.randint(10, 10**6) * SECOND_NS)
        self.disk = Disk(loop.lots("disk"))
        self.bucket = Bucket()
        self.cameras: dict[CameraName, Camera] = {name: self._camera(name) for name in CAMERAS}
        self.rings: dict[CameraName, Ring] = {name: Ring() for name in CAMERAS}
        self.capture: dict[CameraName, CaptureDrivers] = {}
        self.judge = Judge(loop, self.disk, self.bucket, self.cameras, self.settings, true_wall)
        self.store = Store(lambda: true_wall(loop.now_ns))
        self.club = Club(loop, self.store, self, true_wall)
        self.judge.tickets = self.club.tickets
        self.broker = Broker(loop, self._published)
        self.broker.hearers.append(self.club.answered)
        self.rows = RowJudge(
            loop, self.store, self.club, true_wall, lambda: self.judge.slack_ns, lambda: orders_in(self.disk)
        )
        self.rows.refused = lambda: refused_in(self.disk)
        self.rows.watch(self.broker)
        self.touched: dict[CameraName, list[tuple[int, int, str]]] = {name: [] for name in CAMERAS}
        self.powered = True
        self.nodes = self._nodes()

    def _camera(self, name: CameraName) -> Camera:
        lots = self.loop.lots(f"camera/{name}")
        drift = 1 + lots.randint(-200, 200) / 1e6
        period_ns = round(SECOND_NS / self.fps * drift)
        return Camera(
            name, self.fps, lots.randint(0, period_ns), period_ns, self.mood.drop, lots.getrandbits(30)
        )

    def _nodes(self) -> dict[str, Node]:
        shared = Shared(self.loop, self.disk, self.broker, self.clocks, self.settings)
        makers: dict[str, Callable[[], Agent[Any, Any]]] = {
            "camera_left": lambda: camera.agent(self.settings, "left"),
            "camera_right": lambda: camera.agent(self.settings, "right"),
            "merger": lambda: merger.agent(self.settings),
            "processor": lambda: processor.agent(self.settings),
            "uploader": lambda: uploader.agent(self.settings),
            "health": lambda: health.agent(self.settings),
            "bridge": lambda: bridge.agent(self.settings),
        }
        return {name: self._node(shared, name, make) for name, make in makers.items()}

    def _node(self, shared: Shared, name: str, make: Callable[[], Agent[Any, Any]]) -> Node:
        return Node(
            shared,
            name,
            lambda: self.plant.agent(make()),
            lambda: self.plant.drivers(name, self._drivers(name)),
        )

    def _drivers(self, name: str) -> Drivers:
        lots = self.loop.lots(f"drivers/{name}/{self.nodes[name].runs}")
        if name in ("camera_left", "camera_right"):
            cam: CameraName = "left" if name == "camera_left" else "right"
            self.capture[cam] = CaptureDrivers(
                self.loop, self.disk, lots, self.mood.trouble, self.cameras[cam], self.rings[cam], self
            )
            return self.capture[cam]
        if name == "uploader":
            return UploadDrivers(self.loop, self.disk, lots, self.mood.trouble, self.bucket)
        if name == "processor":
            return FilmDrivers(self.loop, self.disk, lots, self.mood.trouble, self, self.mood.rotten)
        if name == "bridge":
            return BridgeDrivers(
                self.loop, self.disk, lots, self.mood.trouble, self.store, SimClock(self.clocks)
            )
        kind = PlanDrivers if name == "merger" else HealthDrivers
        return kind(self.loop, self.disk, lots, self.mood.trouble, self)

    # --- what drivers ask of the device ---

    def clock(self) -> Clock:
        """See `capture.Device`."""
        wall_ns, mono_ns = self.clocks.wall_ns(), self.clocks.mono_ns()
        return Clock(self.clocks.boot_id, mono_ns, wall_ns, wall_ns - mono_ns, self.clocks.synced)

    def true_of(self, mono_ns: int) -> int:
        """See `capture.Device`."""
        return self.clocks.true_of(mono_ns)

    def clock_synced(self) -> bool:
        """See `making.Device`."""
        return self.clocks.synced

    def quiet(self) -> bool:
        """See `capture.Device`."""
        now_ns = self.loop.now_ns
        return not any(
            ticket.begin_ns - NEAR_BEFORE_NS <= now_ns <= ticket.end_ns + NEAR_AFTER_NS
            for ticket in self.club.tickets.values()
        )

    def deleting(self, who: str, effect: DeleteMedia) -> None:
        """See `capture.Device`."""
        self.judge.deleting(who, effect)

    def torn(self, cam: CameraName) -> None:
        """See `capture.Device`."""
        self.touch(cam, 10 * SECOND_NS, "torn")

    def claimed(self, cam: str, booking_id: str, frames: tuple[int, ...]) -> None:
        """See `capture.Device`."""
        self.judge.claim(cam, booking_id, frames)

    def planned(self, booking_id: str, plans: tuple[SlotPlan, ...]) -> None:
        """See `making.Device`."""
        self.judge.plan(booking_id, plans)

    def lacking(self, path: str) -> None:
        """See `making.Device`."""
        self.judge.lacking(path)

    # --- what people and the bus ask of the device ---

    def press(self, name: str, command_id: str, args: dict[str, Any]) -> None:
        """See `club.Court`."""
        self.broker.command(COMMAND.at(target="booking", name=name), command_id, args)

    def trustworthy(self) -> bool:
        """See `club.Court`."""
        return self.powered and self.clocks.synced

    def _published(self, name: str, address: Address[Any], message: Message | None) -> None:
        if "id" in address.topic.holes:
            self.store.spoken[address["id"], address.topic.key] += 1
        if name == "bridge":
            self.rows.published(address, message)
        self.judge.published(name, address, message)

    # --- life ---

    def start(self) -> None:
        """Start every agent, in any order."""
        lots = self.loop.lots("start")
        for node in self.nodes.values():
            self.loop.after(lots.randint(0, 900) * MS_NS, self._starting(node))

    def _starting(self, node: Node) -> Callable[[], None]:
        def start() -> None:
            if self.powered:
                node.start()

        return start

    def kill(self, node: Node, back_ns: int, doom: int | None) -> None:
        """Kill an agent now, or after some more of its steps; it is started again after a while."""
        if not self.powered or node.core is None:
            return
        if node.name == "bridge":
            self.rows.disturbed(2 * back_ns)
        for cam in CAMERAS:
            if node.name == f"camera_{cam}":
                self.touch(cam, 2 * back_ns + 30 * SECOND_NS, "killed")
        if doom is None:
            node.kill()
        else:
            node.doom = doom
            self.loop.after(back_ns, node.kill)
        self.loop.after(2 * back_ns, self._starting(node))

    def touch(self, cam: CameraName, for_ns: int, what: str) -> None:
        """Remember that something was done to a camera."""
        self.touched[cam].append((self.loop.now_ns - 10 * SECOND_NS, self.loop.now_ns + for_ns, what))

    def untouched(self, cam: CameraName, begin_ns: int, end_ns: int) -> bool:
        """Whether nothing was done to a camera, and nothing was the matter with it, in a time."""
        near = any(begin < end_ns and end > begin_ns for begin, end, _ in self.touched[cam])
        return not near and self.cameras[cam].healthy(begin_ns - 20 * SECOND_NS, end_ns + 10 * SECOND_NS)

    def power_off(self) -> None:
        """The power goes: every process, the broker, the ring and what was not fsynced."""
        self.loop.note("power", "cut")
        self.powered = False
        self.broker.up = False
        for node in self.nodes.values():
            node.kill()
        self.disk.cut()
        for cam in CAMERAS:
            self.rings[cam] = Ring()
            self.touch(cam, 120 * SECOND_NS, "power")

    def power_on(self, lag_ns: int, memory: str) -> None:
        """A new boot; the wall clock is behind until it is synchronised."""
        lots = self.loop.lots(f"boot/{self.loop.now_ns}")
        self.clocks.boot_id = f"{lots.getrandbits(128):032x}"
        self.clocks.boot_ns = self.loop.now_ns - lots.randint(2_000_000, 9_000_000) * US_NS
        self.clocks.error_ns -= lag_ns
        self.clocks.synced = lag_ns == 0
        self.powered = True
        self.loop.note("power", f"on, clock behind by {lag_ns / 1e9:.3f}")
        self.broker.start(memory)
        self.start()

    def sync_clock(self) -> None:
        """The wall clock is right again."""
        self.loop.note("clock", "synchronised")
        self.clocks.error_ns = 0
        self.clocks.synced = True

    def wanted_topics(self) -> Mapping[Address[Any], Message]:
        """What every agent wants the broker to hold."""
        topics: dict[Address[Any], Message] = {}
        for node in self.nodes.values():
            if node.core is not None:
                topics.update(node.core.wanted(self.clocks.stamp(0)))
        return topics


def _settings(fps: int, mood: Mood) -> Settings:
    idle = "arm" if mood.idle == "arm" else "ring"
    cameras = tuple(
        CameraSettings.model_validate({"name": name, "fps": fps, "idle": idle}) for name in CAMERAS
    )
    return Settings(camera=cameras, film=Film(fps=fps), retention=Retention(film_local_h=0))
