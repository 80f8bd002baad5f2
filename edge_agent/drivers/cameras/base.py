"""What every camera backend, the capture child and its parent share: values and two protocols, no I/O.

Times are nanoseconds of the monotonic clock (`_ns`) unless a name says `wall`. A `wall_offset_ns` is wall
clock minus monotonic clock at one moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.video.stream import VideoStream

Stamp = Literal["sensor", "kernel", "arrival"]
FailKind = Literal["absent", "busy", "format", "io"]
EndKind = Literal["stopped", "stall", "exit", "absent", "busy", "format", "io"]

NS_PER_S = 1_000_000_000


class CaptureError(Exception):
    """A capture that cannot go on.

    `kind` says what the parent may do about it, `text` is one line without secrets.
    """

    def __init__(self, kind: FailKind, text: str) -> None:
        """Keep both parts; `str()` of the error is the text."""
        super().__init__(text)
        self.kind: FailKind = kind
        self.text = text


class ClaimTorn(Exception):
    """The copy of a segment holds fewer frames than its description states."""

    def __init__(self, name: str, stated: int, found: int) -> None:
        """Name the segment and both counts."""
        super().__init__(f"segment {name}: {found} frames in the copy, {stated} stated")
        self.name = name
        self.stated = stated
        self.found = found


class BadValueError(Exception):
    """A JSON object that is not the value it should be."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment of one camera: `{name}.mp4` and when each of its frames was captured.

    `offsets_us[i]` is the capture time of frame i after `t0_ns`; `end_ns` is the time from which the next
    segment goes on: its first frame, or one frame period after the last frame here when capture was
    interrupted. `dropped` and `duplicated` count frames known to be missing or repeated between `t0_ns` and
    `end_ns`. While `open`, the file still grows and its first `bytes` bytes hold exactly `frames` frames.
    """

    name: str
    boot_id: str
    clock: str
    stamp: Stamp
    t0_ns: int
    offsets_us: tuple[int, ...]
    end_ns: int
    dropped: int
    duplicated: int
    bytes: int
    frames: int
    wall_offset_ns: int
    width: int
    height: int
    fps: float
    open: bool = False
    key_forced: bool = True

    def times_ns(self) -> tuple[int, ...]:
        """Capture time of every frame, monotonic, to the microsecond."""
        return tuple(self.t0_ns + offset * 1000 for offset in self.offsets_us)

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives back an equal value."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SegmentFile:
        """Parse `to_json`'s line, ignoring unknown fields. Raises BadValueError."""
        return load(cls, parse_object(text))


@dataclass(frozen=True, slots=True)
class CaptureSpec:
    """What to capture and where the limits are.

    `boot_id` is the kernel's; `scenario` belongs to `simulated` only.

    `stall_s` without a frame after the first one, or `first_frame_s` without a first one, is a stall.
    """

    camera: str
    backend: str
    boot_id: str
    url: str = ""
    serial: str = ""
    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate_bps: int = 4_000_000
    rotation: int = 0
    segment_s: float = 2.0
    ring_s: float = 90.0
    ring_bytes: int = 256 * 1024 * 1024
    seq_floor: int = 0
    stall_s: float = 1.0
    first_frame_s: float = 5.0
    scenario: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def boot8(self) -> str:
        """The part of the boot id that file names carry."""
        return self.boot_id.replace("-", "")[:8]

    @property
    def first_frame_limit_s(self) -> float:
        """How long to wait for the first frame; a stream may owe us its key frame for its whole interval."""
        return max(self.first_frame_s, 12.0) if self.backend == "stream" else self.first_frame_s

    def to_json(self) -> str:
        """One line of JSON for the child's standard input."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CaptureSpec:
        """Parse `to_json`'s line. Raises BadValueError."""
        return load(cls, parse_object(text))


@dataclass(frozen=True, slots=True)
class Started:
    """The source is open; frames follow. `device` never holds credentials."""

    width: int
    height: int
    fps: float
    encoder: str
    device: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Beat:
    """About four times a second while frames come: counts since the child started, newest capture time."""

    frames: int
    mono_ns: int
    dropped: int
    fps: float


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    """A segment is complete, its `.json` written."""

    segment: SegmentFile


@dataclass(frozen=True, slots=True)
class SegmentOpen:
    """A segment of a source whose key frames cannot be forced, as far as it has grown."""

    segment: SegmentFile


@dataclass(frozen=True, slots=True)
class Lost:
    """No frame of this camera exists from `from_ns` up to `to_ns`, and why."""

    from_ns: int
    to_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know; capture goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The child's last word: why it ends by itself."""

    kind: FailKind
    text: str


Report = Started | Beat | SegmentClosed | SegmentOpen | Lost | Warned | Failed

_NAMES: Mapping[str, Callable[..., Report]] = {
    "started": Started,
    "beat": Beat,
    "segment": SegmentClosed,
    "open": SegmentOpen,
    "lost": Lost,
    "warning": Warned,
    "failed": Failed,
}
_TAGS = {made: name for name, made in _NAMES.items()}


def report_to_json(report: Report) -> str:
    """One line of JSON, tagged with the kind of report."""
    return json.dumps({"report": _TAGS[type(report)], **asdict(report)}, separators=(",", ":"))


def report_from_json(text: str) -> Report:
    """Parse a report line. Raises BadValueError for anything else."""
    raw = parse_object(text)
    made = _NAMES.get(str(raw.get("report")))
    if made is None:
        raise BadValueError(f"no such report: {raw.get('report')!r}")
    return load(made, raw)


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """How one run of the child ended and how many frames it had reported."""

    kind: EndKind
    text: str
    frames: int


@dataclass(frozen=True, slots=True)
class CaptureNews:
    """What happened since the last news: `reports` in order, without beats; the newest beat, if any came."""

    reports: tuple[Report, ...] = ()
    beat: Beat | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a backend captures, told to the sink once before the first frame.

    `template` is an H.264 stream whose parameter sets the segments' headers take. With `key_forced` the
    backend makes a key frame wherever `FrameSink.split_due` said so; without, segments split at the source's
    own.
    """

    width: int
    height: int
    fps: float
    encoder: str
    device: str
    stamp: Stamp
    key_forced: bool
    template: VideoStream


class FrameSink(Protocol):
    """Where a backend delivers: one coded frame at a time, capture times rising."""

    def start(self, source: Source) -> None:
        """Announce the source. Called once, before the first `write`."""
        ...

    def split_due(self, mono_ns: int) -> bool:
        """Say whether the frame captured at `mono_ns` must be a key frame, to begin a new segment.

        Every backend asks exactly once for each frame, before its `write`.
        """
        ...

    def write(
        self, payload: bytes, mono_ns: int, *, key: bool, missing: int | None = None, repeated: bool = False
    ) -> None:
        """Store one access unit.

        `missing` frames before it are known lost (None: judge by the gap in sensor time).

        Blocks for the disk only. A full ring never raises: the loss is reported and old segments go.
        """
        ...

    def warn(self, text: str) -> None:
        """Report something a person should know."""
        ...


class StopSign(Protocol):
    """The one thing a backend has to look at between frames (a `threading.Event` is one)."""

    def is_set(self) -> bool:
        """Say whether capture has to end now."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep up to `timeout` seconds, less when capture has to end; returns `is_set()`."""
        ...


class CameraBackend(Protocol):
    """A kind of camera.

    One instance serves one run of the child and may block anywhere: the parent kills it.
    """

    def run(self, sink: FrameSink, stop: StopSign) -> None:
        """Capture until `stop` is set. Raises CaptureError when the source cannot be opened or ends."""
        ...


_T = TypeVar("_T")


def parse_object(text: str) -> Mapping[str, object]:
    """Parse a JSON object. Raises BadValueError."""
    try:
        raw: object = json.loads(text)
    except ValueError as error:
        raise BadValueError(str(error)) from error
    if not isinstance(raw, dict):
        raise BadValueError("not a JSON object")
    return cast("dict[str, object]", raw)


@cache
def _hints(made: Callable[..., object]) -> Mapping[str, object]:
    return get_type_hints(made)


def load(made: Callable[..., _T], raw: Mapping[str, object]) -> _T:
    """Build one of this module's values from a JSON object, ignoring unknown fields. Raises BadValueError."""
    hints = _hints(made)
    values: dict[str, object] = {}
    for item in fields(cast("type[SegmentFile]", made)):
        if item.name in raw:
            values[item.name] = _value(hints[item.name], raw[item.name], item.name)
    try:
        return made(**values)
    except TypeError as error:
        raise BadValueError(str(error)) from error


def whole_numbers(raw: object, name: str) -> tuple[int, ...]:
    """Check a JSON list of integers. Raises BadValueError."""
    items = cast("list[object]", raw) if isinstance(raw, list) else [None]
    whole = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
    if len(whole) < len(items):
        raise BadValueError(f"{name}: not a list of integers")
    return whole


def _value(hint: object, raw: object, name: str) -> object:
    if hint is SegmentFile:
        if not isinstance(raw, dict):
            raise BadValueError(f"{name}: not an object")
        return load(SegmentFile, cast("dict[str, object]", raw))
    if hint == tuple[int, ...]:
        return whole_numbers(raw, name)
    if hint is float and type(raw) is int:
        return float(raw)
    if isinstance(hint, type) and type(raw) is not hint:
        raise BadValueError(f"{name}: expected {hint.__name__}")
    if hint == Mapping[str, object] and isinstance(raw, dict):
        return cast("dict[str, object]", raw)
    if not isinstance(hint, type) and not isinstance(raw, str):
        raise BadValueError(f"{name}: expected text")
    return raw
