"""A camera agent with a camera, ring and disk that are values: decide is called as the host would."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.agents.camera import State, decide, retained
from edge_agent.core.agent import (
    SECOND_NS,
    Act,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    FailureKind,
    Stamp,
    Started,
    World,
    wall_ns,
)
from edge_agent.core.effects import (
    CameraInventory,
    CaptureNews,
    CaptureStart,
    CaptureStop,
    Claim,
    DeleteMedia,
    RingFile,
    SetCuts,
    WatchCapture,
)
from edge_agent.core.settings import Camera, Settings
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.recording import CaptureStage
from schemas.registry import BOOKING, CAPTURE, SCHEDULE_SYNC, SEGMENTS
from schemas.topics import Address
from schemas.work import Segment, pack_offsets

BOOT = "11111111-2222-3333-4444-555555555555"
T0 = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PERIOD_NS = SECOND_NS // 30
START_NS = 1_000 * SECOND_NS
"""Monotonic time at the wall time `T0`."""


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def mono(seconds: float) -> int:
    return START_NS + round(seconds * SECOND_NS)


def booking(begin: float, end: float, **changes: Any) -> Booking:
    plain = {"rev": 1, "start": at(begin), "end": at(end), "from": at(begin), "to": at(end)}
    return Booking.model_validate({**plain, **changes})


def ring_file(seq: int, begin: float, end: float, *, boot: str = BOOT, **changes: Any) -> RingFile:
    """Frames of a 30 Hz grid that started at `T0`, from ``begin`` up to before ``end``."""
    first = -(-round(begin * 30_000) // 1000)
    count = max(0, -(-round(end * 30_000) // 1000) - first)
    times = [START_NS + number * SECOND_NS // 30 for number in range(first, first + count + 1)]
    t0 = times[0]
    offsets = tuple((time - t0) // 1000 for time in times[:-1])
    plain: dict[str, Any] = {
        "name": f"{boot[:8]}-{seq:08d}",
        "seq": seq,
        "boot_id": boot,
        "stamp": "sensor",
        "t0_ns": t0,
        "end_ns": times[-1],
        "offsets_us": offsets,
        "dropped": 0,
        "duplicated": 0,
        "bytes": 1000 * count,
        "frames": count,
        "wall_offset_ns": wall_ns(T0) - START_NS,
        "width": 640,
        "height": 360,
        "fps": 30,
    }
    return RingFile(**{**plain, **changes})


def segment_of(file: RingFile, booking_id: str, cam: str = "left") -> Segment:
    return Segment.model_validate(
        {
            "path": f"recordings/{booking_id}/{cam}/{file.name}.mp4",
            "name": file.name,
            "boot_id": file.boot_id,
            "stamp": file.stamp,
            "t0_ns": file.t0_ns,
            "end_ns": file.end_ns,
            "offsets": pack_offsets(file.offsets_us),
            "frames": file.frames,
            "dropped": file.dropped,
            "duplicated": file.duplicated,
            "bytes": file.bytes,
            "wall_offset_ns": file.wall_offset_ns,
            "width": file.width,
            "height": file.height,
            "fps": file.fps,
            "open": file.open,
        }
    )


@dataclass
class Rig:
    """Keeps what the host would keep: state, effects in flight, the clock."""

    settings: Settings = field(
        default_factory=lambda: Settings(camera=(Camera(name="left"), Camera(name="right")))
    )
    state: State = field(default_factory=lambda: State("left"))
    now: float = 0.0
    flying: dict[str, Effect] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    seq: int = 0
    step: float = 0.0
    """What the wall clock was moved by."""
    synced: bool = True
    acts: tuple[Act, ...] = ()
    late: set[str] = field(default_factory=set)
    """Ring files that were told of after their time was declared a gap."""

    def stamp(self) -> Stamp:
        self.seq += 1
        return Stamp(self.seq, mono(self.now), at(self.now + self.step), self.synced, BOOT)

    def feed(self, event: Event) -> tuple[Act, ...]:
        """One event; returns what was asked for and was not in flight."""
        if isinstance(event, Done | Failed):
            self.flying.pop(event.key, None)
        self.state, acts = decide(self.state, event, self.stamp(), self.settings)
        new = tuple(act for act in acts if not isinstance(act, Effect) or act.key not in self.flying)
        self.flying.update({act.key: act for act in new if isinstance(act, Effect)})
        self.acts = new
        return new

    def start(
        self,
        inventory: CameraInventory | None = None,
        remembered: Mapping[Address[Any], Message] | None = None,
    ) -> tuple[Act, ...]:
        return self.feed(Started(inventory or CameraInventory(), remembered or {}))

    def world(self, *more: tuple[Address[Any], Message]) -> tuple[Act, ...]:
        topics: dict[Address[Any], Message] = {BOOKING.at(id=key): one for key, one in self.bookings.items()}
        topics[SCHEDULE_SYNC.at()] = self.sync()
        return self.feed(World({**topics, **dict(more)}))

    def sync(self) -> ScheduleSync:
        digest = schedule_digest((key, one.rev) for key, one in self.bookings.items())
        return ScheduleSync(generation=1, count=len(self.bookings), digest=digest, synced_at=T0)

    def book(self, key: str, one: Booking | None) -> tuple[Act, ...]:
        """A booking's topic changes; its marker follows."""
        if one is None:
            del self.bookings[key]
        else:
            self.bookings[key] = one
        first = self.feed(Changed(BOOKING.at(id=key), one))
        return (*first, *self.feed(Changed(SCHEDULE_SYNC.at(), self.sync())))

    def running(self) -> None:
        """Up, connected, and the camera gives pictures."""
        self.start()
        self.world()
        self.news(started={"width": 640, "height": 360, "encoder": "x264", "device": "test"})

    def news(self, *segments: RingFile, frames: bool = True, **more: Any) -> tuple[Act, ...]:
        last = mono(self.now) if frames else None
        return self.feed(Done("watch", CaptureNews(segments=segments, last_frame_ns=last, fps=30.0, **more)))

    def claims(self) -> list[Claim]:
        return [effect for effect in self.flying.values() if isinstance(effect, Claim)]

    def claim_all(self) -> None:
        while claims := self.claims():
            self.claimed(claims[0])

    def claimed(self, claim: Claim) -> tuple[Act, ...]:
        return self.feed(Done(claim.key, segment_of(claim.file, claim.booking_id, claim.cam)))

    def fail(self, key: str, kind: FailureKind, text: str) -> tuple[Act, ...]:
        return self.feed(Failed(key, kind, text))

    def stage(self, key: str) -> CaptureStage:
        stage = retained(self.state)[CAPTURE.at(id=key, cam="left")]
        assert isinstance(stage, CaptureStage)
        return stage

    def listed(self, key: str) -> list[Segment]:
        found: list[Segment] = []
        for address, message in retained(self.state).items():
            if address.topic is SEGMENTS and address["id"] == key:
                found.extend(message.segments)  # type: ignore[attr-defined]
        return found

    def alarms(self) -> dict[str, Any]:
        return {
            address["alarm"]: one
            for address, one in retained(self.state).items()
            if address.topic.key == "alarm"
        }

    def covered(self, key: str) -> float:
        """Seconds after `T0`."""
        point = self.stage(key).covered_until
        assert point is not None
        return round((point.mono_ns - START_NS) / SECOND_NS, 3)


__all__ = [
    "BOOT",
    "PERIOD_NS",
    "START_NS",
    "T0",
    "CaptureStart",
    "CaptureStop",
    "Claim",
    "DeleteMedia",
    "Rig",
    "SetCuts",
    "WatchCapture",
    "at",
    "booking",
    "mono",
    "retained",
    "ring_file",
    "segment_of",
]
