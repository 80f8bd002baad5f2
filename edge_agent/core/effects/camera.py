"""Effects of the camera agents, and of everything that owns media. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.core.agent import Effect
from schemas.work import CameraName, Segment


@dataclass(frozen=True)
class RingFile:
    """A closed (or still open) segment in the ring. ``offsets_us`` starts with 0."""

    name: str
    seq: int
    boot_id: str
    stamp: str
    t0_ns: int
    end_ns: int
    offsets_us: tuple[int, ...]
    dropped: int
    duplicated: int
    bytes: int
    frames: int
    wall_offset_ns: int
    width: int
    height: int
    fps: int
    open: bool = False
    key_forced: bool = True


@dataclass(frozen=True)
class CaptureStart(Effect):
    """Run the capture child until it ends. Fails with kind transient (stall, exit, absent, busy) or
    permanent (format); Done(result=None) after `CaptureStop`. The text says which.
    """

    spec: Mapping[str, Any]
    lane: str = field(default="capture", init=False)


@dataclass(frozen=True)
class CaptureStop(Effect):
    """End the capture child; its `CaptureStart` then ends too."""

    lane: str = field(default="control", init=False)


@dataclass(frozen=True)
class SetCuts(Effect):
    """Force key frames and segment splits at these monotonic times (replaces the ones before)."""

    cuts_ns: tuple[int, ...]
    lane: str = field(default="control", init=False)


@dataclass(frozen=True)
class WatchCapture(Effect):
    """Wait for news of the capture child, at most 1 s. Result: `CaptureNews`, possibly empty."""

    lane: str = field(default="watch", init=False)


@dataclass(frozen=True)
class Lost:
    """Frames that were lost between two monotonic times, and why."""

    begin_ns: int
    end_ns: int
    reason: str


@dataclass(frozen=True)
class CaptureNews:
    """What happened since the last news, in order.

    ``started``: the child said it captures (width, height, fps, encoder, device), else None.
    ``last_frame_ns``: monotonic time of the latest frame, None when none yet.
    """

    segments: tuple[RingFile, ...] = ()
    open_segment: RingFile | None = None
    started: Mapping[str, Any] | None = None
    last_frame_ns: int | None = None
    fps: float | None = None
    dropped: int = 0
    lost: tuple[Lost, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim(Effect):
    """Copy one ring file into ``recordings/{id}/{cam}/``, fsync, write its ``.json``. Result: `Segment`.

    Fails with ``gone`` (fell off the ring), ``input`` (torn: fewer frames than stated), ``full``.
    """

    booking_id: str
    cam: CameraName
    file: RingFile
    lane: str = field(default="claim", init=False)


@dataclass(frozen=True)
class CameraInventory:
    """What a camera agent finds at start: the ring (recovered), and the claimed segments per booking.

    ``seq_floor``: the highest sequence number of this boot found anywhere, -1 when none.
    """

    ring: tuple[RingFile, ...] = ()
    claimed: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict[str, tuple[Segment, ...]])
    seq_floor: int = -1


@dataclass(frozen=True)
class DeleteMedia(Effect):
    """Remove an owner's folders of a recording (``recordings/{id}/{part}`` for each part). Idempotent."""

    booking_id: str
    parts: tuple[str, ...]
    lane: str = field(default="disk", init=False)
