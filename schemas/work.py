"""Work in progress between the agents: segments, slot plans, growing objects.

Times are integers: ``*_ns`` nanoseconds of a boot's monotonic clock, ``*_us`` microseconds.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.base import Message

MediaPath = Annotated[
    str, StringConstraints(pattern=r"^(recordings/[a-z0-9_-]{1,64}|assets)/[A-Za-z0-9._/-]{1,200}$")
]
"""A path below ``storage.root``; opened beneath it without following links.

Whoever opens it refuses ``..``.
"""

CameraName = Literal["left", "right"]
Picture = Literal["side_by_side", "stacked", "left", "right", "single", "card"]
"""What a run of frames shows. ``left``/``right``: that camera alone, fitted into the film's size;
``single``: the only camera there is, at its own size; ``card``: a text card."""


def pack_offsets(offsets_us: Sequence[int]) -> tuple[int, ...]:
    """Offsets (first 0, rising) as run-length coded differences.

    A positive number is the difference to the frame before; a negative number -n repeats the
    difference before it n more times. 60 frames at a steady rate take two numbers.
    """
    packed: list[int] = []
    last: int | None = None
    for before, after in pairwise(offsets_us):
        step = after - before
        if step == last and packed:
            if packed[-1] < 0:
                packed[-1] -= 1
            else:
                packed.append(-1)
        else:
            packed.append(step)
            last = step
    return tuple(packed)


def unpack_offsets(packed: Iterable[int]) -> tuple[int, ...]:
    """The inverse of `pack_offsets`.

    Raises:
        ValueError: a repetition with nothing before it, or more than 10,000 frames.
    """
    offsets = [0]
    step: int | None = None
    for number in packed:
        if number >= 0:
            step = number
            count = 1
        else:
            count = -number
        if step is None or len(offsets) + count > 10_000:
            raise ValueError("segment offsets do not decode")
        for _ in range(count):
            offsets.append(offsets[-1] + step)
    return tuple(offsets)


class Segment(Message):
    """One file of one camera, about 2 s, key frame first, with the capture time of every frame.

    Attributes:
        path: the claimed copy below ``storage.root``.
        name: stem of the file, ``{boot}-{seq}``.
        stamp: where the frame times come from.
        t0_ns: monotonic capture time of the first frame.
        offsets: capture times of all frames relative to t0_ns, packed (see `pack_offsets`).
        frames: frames in the file, read back from the copy; equals the offsets' count.
        end_ns: the moment from which the next segment goes on; all before it is in this one or lost.
        wall_offset_ns: wall clock minus monotonic clock as known when the segment was opened.
        open: it still grows (sources whose key frames cannot be forced).
    """

    path: MediaPath
    name: str
    boot_id: str
    clock: Literal["monotonic"] = "monotonic"
    stamp: Literal["sensor", "kernel", "arrival"]
    t0_ns: int
    end_ns: int
    offsets: tuple[int, ...] = ()
    frames: int = Field(ge=0)
    dropped: int = Field(default=0, ge=0)
    duplicated: int = Field(default=0, ge=0)
    bytes: int = Field(ge=0)
    wall_offset_ns: int
    width: int
    height: int
    fps: int
    open: bool = False

    def times_ns(self) -> tuple[int, ...]:
        """Monotonic capture time of every frame, in file order."""
        if self.frames == 0:
            return ()
        return tuple(self.t0_ns + offset * 1000 for offset in unpack_offsets(self.offsets))


class SegmentsMinute(Message):
    """The segments of one camera that start in one minute of a boot's monotonic clock, at most 40."""

    segments: tuple[Segment, ...] = Field(max_length=40)


class Source(Message):
    """A segment file a slot plan takes frames from."""

    path: MediaPath
    frames: int = Field(ge=0)


class Pick(Message):
    """Consecutive output frames taken from one source: ``count`` frames from ``first`` on.

    step 1 takes successive source frames, step 0 shows frame ``first`` again and again.
    """

    source: int = Field(ge=0)
    first: int = Field(ge=0)
    count: int = Field(ge=1)
    step: Literal[0, 1] = 1


class Run(Message):
    """Consecutive output frames of a slot with the same picture.

    The picks of a camera, unrolled, give exactly ``frames`` source frames; a camera the picture does
    not show has none.
    """

    picture: Picture
    frames: int = Field(ge=1)
    left: tuple[Pick, ...] = ()
    right: tuple[Pick, ...] = ()


class Missing(Message):
    """A camera's frames that a slot should have had and has not."""

    camera: CameraName
    first_frame: int = Field(ge=0)
    frames: int = Field(ge=1)
    reason: str


class Basis(Message):
    """What a slot plan was made with, and what the next one goes on from.

    The merger's account is on disk with it.

    Attributes:
        mappings: (boot id, wall clock minus monotonic clock in ns, synced) per boot, as planned with.
        first_ns, last_ns: wall capture time of the first and last picture shown in this slot (the mean of
            a pair's two); None when it shows cards only.
        left_ns, right_ns: wall capture time of the last frame used of each camera up to the slot's end.
        skew: output frames that show a pair, per distance between the halves in whole 0.1 ms.
    """

    mappings: tuple[tuple[str, int, bool], ...] = ()
    first_ns: int | None = None
    last_ns: int | None = None
    left_ns: int | None = None
    right_ns: int | None = None
    skew: tuple[tuple[int, int], ...] = ()


class SlotPlan(Message):
    """What the film shows in one slot: for every output frame the source frame of each camera.

    Attributes:
        index: slot number, from 0.
        first_frame: number of its first frame in the film's timeline (intro not counted).
        frames: number of its frames.
        left_sources, right_sources: what the picks' ``source`` numbers mean.
        repeated: output frames that show the pair before once more.
        unpaired: source frames between the first and last used that are shown in no frame.
        basis: what it was made with; of no concern to whoever renders it.
    """

    index: int = Field(ge=0)
    first_frame: int = Field(ge=0)
    frames: int = Field(ge=1)
    runs: tuple[Run, ...]
    left_sources: tuple[Source, ...] = ()
    right_sources: tuple[Source, ...] = ()
    missing: tuple[Missing, ...] = ()
    repeated: int = 0
    unpaired: int = 0
    basis: Basis | None = None


class SlotsMinute(Message):
    """The slot plans whose first frame lies in one minute of the film's timeline."""

    plans: tuple[SlotPlan, ...] = Field(max_length=60)


class WorkObject(Message):
    """A file on its way to the bucket, growing.

    Attributes:
        bytes: whole fragments written: may be sent.
        bytes_durable: the same after fsync: resume and deletion rely on it.
        hash: composite SHA-256 as S3 computes it over 5 MiB parts (``base64-N``), once complete.
        generation: rises when the file was begun anew (another library version): sent parts are void.
        head_open: the first 64 bytes still change on completion, so part 1 goes last.
    """

    path: MediaPath
    bytes: int = Field(ge=0)
    bytes_durable: int = Field(ge=0)
    complete: bool = False
    hash: str | None = None
    generation: int = 0
    head_open: bool = True
    slots_done: int = 0
    slots_total: int | None = None
    content_type: str = "video/mp4"
