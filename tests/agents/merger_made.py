"""A merger on the bench: cameras that tell what they capture, a disk that keeps plans, a clock to turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.agents import merger
from edge_agent.core.agent import (
    SECOND_NS,
    Act,
    Changed,
    Done,
    Event,
    Failed,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.effects import DeleteMedia, MergerInventory, WritePlans
from edge_agent.core.settings import Camera, Settings
from schemas.base import Message
from schemas.booking import Booking
from schemas.recording import CaptureStage, ClockPoint, MergeStage, WallMapping
from schemas.registry import BOOKING, CAPTURE, MERGE, SEGMENTS, SLOTS
from schemas.topics import Address
from schemas.work import Segment, SegmentsMinute, SlotPlan, pack_offsets

T0 = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
T0_NS = int(T0.timestamp()) * SECOND_NS
BOOT = "b00710de-0000-0000-0000-000000000000"
FPS = 30
SETTINGS = Settings()
SEGMENT_S = 2


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def booking(begin_s: float = 0, end_s: float = 10, rev: int = 1, **changes: Any) -> Booking:
    times = {"start": at(begin_s), "end": at(end_s), "from": at(begin_s), "to": at(end_s)}
    return Booking.model_validate({"rev": rev, **times, **changes})


@dataclass
class Camera2s:
    """One camera of one recording: segments of 2 s on the wall grid. Mono = wall - offset."""

    booking_id: str
    cam: str
    offset_ns: int = T0_NS - 1000 * SECOND_NS
    boot: str = BOOT
    synced: bool = True
    phase_ms: int = 5
    drops: frozenset[int] = frozenset()
    minutes: dict[str, tuple[Segment, ...]] = field(default_factory=dict)
    seq: int = 0
    covered: ClockPoint | None = None

    def segment(self, begin_s: float, end_s: float, *, is_open: bool = False) -> Segment:
        t0 = int(begin_s * 1_000_000) + self.phase_ms * 1000
        numbers = range(round((end_s - begin_s) * FPS))
        times_us = [t0 + n * 1_000_000 // FPS for n in numbers if round(begin_s * FPS) + n not in self.drops]
        name = f"{self.boot[:8]}-{self.seq}"
        base_ns = T0_NS - self.offset_ns
        return Segment(
            path=f"recordings/{self.booking_id}/{self.cam}/{name}.mp4",
            name=name,
            boot_id=self.boot,
            stamp="sensor",
            t0_ns=base_ns + times_us[0] * 1000,
            end_ns=base_ns + int(end_s * SECOND_NS),
            offsets=pack_offsets([us - times_us[0] for us in times_us]),
            frames=len(times_us),
            bytes=1000,
            wall_offset_ns=self.offset_ns,
            width=1280,
            height=720,
            fps=FPS,
            open=is_open,
        )

    def mono_ns(self, seconds: float) -> int:
        return T0_NS - self.offset_ns + int(seconds * SECOND_NS)

    def listing(self, segment: Segment) -> dict[Address[Any], Message]:
        minute = f"{self.boot[:8]}-{segment.t0_ns // (60 * SECOND_NS)}"
        held = tuple(one for one in self.minutes.get(minute, ()) if one.path != segment.path)
        self.minutes[minute] = (*held, segment)
        address = SEGMENTS.at(id=self.booking_id, cam=self.cam, minute=minute)
        return {address: SegmentsMinute(segments=self.minutes[minute])}

    def stage(self, covered_s: float, **changes: Any) -> dict[Address[Any], Message]:
        self.covered = ClockPoint(boot_id=self.boot, mono_ns=self.mono_ns(covered_s))
        mapping = WallMapping(boot_id=self.boot, wall_offset_ns=self.offset_ns, synced=self.synced)
        fields: dict[str, Any] = {
            "status": "running",
            "rev": 1,
            "covered_until": self.covered,
            "mappings": (mapping,),
        }
        return {CAPTURE.at(id=self.booking_id, cam=self.cam): CaptureStage(**{**fields, **changes})}

    def told(self, covered_s: float) -> dict[Address[Any], Message]:
        """Everything this camera has told, as the broker holds it."""
        topics: dict[Address[Any], Message] = {
            SEGMENTS.at(id=self.booking_id, cam=self.cam, minute=minute): SegmentsMinute(segments=segments)
            for minute, segments in self.minutes.items()
        }
        return topics | self.stage(covered_s)

    def captures(self, begin_s: float, end_s: float, **changes: Any) -> dict[Address[Any], Message]:
        """Topics after one more closed segment."""
        told = {**self.listing(self.segment(begin_s, end_s)), **self.stage(end_s, **changes)}
        self.seq += 1
        return told


class Bench:
    """Drives the agent; effects wait in ``pending`` until `work` does them as the driver would."""

    def __init__(
        self, settings: Settings = SETTINGS, disk: dict[str, dict[int, SlotPlan]] | None = None
    ) -> None:
        self.settings = settings
        self.agent = merger.agent(settings)
        self.state = self.agent.initial(settings)
        self.disk: dict[str, dict[int, SlotPlan]] = disk if disk is not None else {}
        self.pending: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.said: list[Act] = []
        self.now_s = -60.0
        self.synced = True
        self.boot = BOOT
        self.offset_ns = T0_NS - 1000 * SECOND_NS
        self.seq = 0
        self.fired: set[tuple[str, int]] = set()

    def stamp(self) -> Stamp:
        self.seq += 1
        mono_ns = T0_NS - self.offset_ns + int(self.now_s * SECOND_NS)
        return Stamp(self.seq, mono_ns, at(self.now_s), self.synced, self.boot)

    def tell(self, event: Event) -> None:
        self.state, acts = self.agent.decide(self.state, event, self.stamp(), self.settings)
        for act in acts:
            if isinstance(act, WritePlans | DeleteMedia):
                self.pending.setdefault(act.key, act)
            else:
                self.said.append(act)

    def start(self, remembered: Mapping[Address[Any], Message] | None = None) -> None:
        plans = {key: tuple(held[n] for n in sorted(held)) for key, held in self.disk.items()}
        self.tell(Started(MergerInventory(plans), remembered or {}))

    def begin(self, topics: Mapping[Address[Any], Message] | None = None) -> None:
        self.start()
        self.tell(World(topics or {}))

    def hear(self, topics: Mapping[Address[Any], Message | None]) -> None:
        for address, message in topics.items():
            self.tell(Changed(address, message))

    def book(self, booking_id: str, message: Booking | None) -> None:
        self.hear({BOOKING.at(id=booking_id): message})

    def work(self) -> None:
        """Do every effect that waits, and those asked for meanwhile."""
        while self.pending:
            key, effect = next(iter(self.pending.items()))
            del self.pending[key]
            self.tell(Done(key, self._do(effect)))

    def _do(self, effect: WritePlans | DeleteMedia) -> object:
        if isinstance(effect, DeleteMedia):
            self.deleted.append(effect.booking_id)
            self.disk.pop(effect.booking_id, None)
            return None
        held = self.disk.setdefault(effect.booking_id, {})
        for plan in effect.plans:
            held.setdefault(plan.index, plan)
        return tuple(held[plan.index] for plan in effect.plans)

    def fail(self, text: str = "no space") -> None:
        key, _ = self.pending.popitem()
        self.tell(Failed(key, "full", text))

    def turn(self, until_s: float) -> None:
        """Let time pass; timers fire when they are due, effects are done at once."""
        while True:
            due = [
                (at_ns, key)
                for key, at_ns in self.agent.wakes(self.state).items()
                if (key, at_ns) not in self.fired
                and at_ns <= T0_NS - self.offset_ns + int(until_s * SECOND_NS)
            ]
            if not due:
                break
            at_ns, key = min(due)
            self.fired.add((key, at_ns))
            # A little late, as timers are.
            self.now_s = max(self.now_s, (at_ns + self.offset_ns - T0_NS) / SECOND_NS + 0.001)
            self.tell(Tick(key))
            self.work()
        self.now_s = until_s

    def topics(self) -> Mapping[Address[Any], Message]:
        return self.agent.retained(self.state)

    def stage(self, booking_id: str = "b1") -> MergeStage:
        message = self.topics()[MERGE.at(id=booking_id)]
        assert isinstance(message, MergeStage)
        return message

    def plans(self, booking_id: str = "b1") -> list[SlotPlan]:
        """The published plans, in order."""
        found = [
            plan
            for address, message in self.topics().items()
            if address.topic is SLOTS and address["id"] == booking_id
            for plan in getattr(message, "plans", ())
        ]
        return sorted(found, key=lambda plan: plan.index)


def capture(bench: Bench, cameras: list[Camera2s], begin_s: int, end_s: int, **changes: Any) -> None:
    """Both cameras tell what they captured, segment by segment, as time passes; plans are written at once."""
    for start in range(begin_s, end_s, SEGMENT_S):
        stop = min(start + SEGMENT_S, end_s)
        bench.turn(stop + 0.3)
        for camera in cameras:
            bench.hear(camera.captures(start, stop, **changes))
        bench.work()


def recorded(
    begin_s: int = 0, end_s: int = 10, booking_id: str = "b1", settings: Settings = SETTINGS
) -> tuple[Bench, list[Camera2s]]:
    """A booking recorded from beginning to end without any trouble."""
    bench, cameras = ready(begin_s, end_s, booking_id, settings)
    capture(bench, cameras, begin_s, end_s)
    return bench, cameras


def ready(
    begin_s: int = 0, end_s: int = 10, booking_id: str = "b1", settings: Settings = SETTINGS
) -> tuple[Bench, list[Camera2s]]:
    """A merger that knows one booking, before it begins."""
    bench = Bench(settings)
    bench.begin()
    bench.book(booking_id, booking(begin_s, end_s))
    return bench, [Camera2s(booking_id, name) for name in settings.camera_names()]


def shown(bench: Bench, side: str, booking_id: str = "b1") -> list[tuple[str, int]]:
    """Source path and frame of that side for every output frame that shows it."""
    return [
        (getattr(plan, f"{side}_sources")[pick.source].path, pick.first + n * pick.step)
        for plan in bench.plans(booking_id)
        for run in plan.runs
        for pick in getattr(run, side)
        for n in range(pick.count)
    ]


ONE_CAMERA = Settings(camera=(Camera(name="left"),))
