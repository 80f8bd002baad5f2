"""The film's timeline: when each frame is due, how it is cut into slots, and captured frames placed on it.

Wall times are nanoseconds since the epoch; monotonic ones belong to a boot and come to the wall by that
boot's frozen mapping. Frame k of a film is due in [begin + k*P, begin + (k+1)*P), P = 1/fps.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.core.agent import SECOND_NS
from schemas.work import Segment

LAST_SLOT_S = 2
"""The last slot of a film is at most so long, so that little is left to render after the whistle."""


@dataclass(frozen=True)
class Timeline:
    """When the frames of one film are due.

    Attributes:
        begin_ns: wall time of the first frame's beginning (the booking's ``from``).
        fps: the film's integer rate.
    """

    begin_ns: int
    fps: int

    def start_ns(self, frame: int) -> int:
        """Wall time at which a frame begins."""
        return self.begin_ns + frame * SECOND_NS // self.fps

    def centre_ns(self, frame: int) -> int:
        """Wall time of a frame's middle: what its pictures are chosen by."""
        return self.begin_ns + (2 * frame + 1) * SECOND_NS // (2 * self.fps)

    def frames_until(self, end_ns: int) -> int:
        """Number of frames whose middle lies before a wall time; 0 when that is before the beginning."""
        twice = 2 * (end_ns - self.begin_ns) * self.fps
        return max(0, (twice + SECOND_NS - 1) // (2 * SECOND_NS))

    def minute(self, frame: int) -> int:
        """Number of the film's minute a frame lies in."""
        return frame // (60 * self.fps)


def next_slot(remaining: int, fps: int, slot_s: int) -> int:
    """Frames of the next slot when so many frames remain: a full one, 2 s, or all that is left.

    >>> [next_slot(left, 30, 4) for left in (300, 180, 120, 60, 59)]
    [120, 120, 60, 60, 59]
    """
    if remaining > slot_s * fps:
        return slot_s * fps
    return min(remaining, min(LAST_SLOT_S, slot_s) * fps)


def slots_in(frames: int, fps: int, slot_s: int) -> int:
    """Number of slots so many frames are cut into, the last cut as the end of a film."""
    full = max(0, -(-frames // (slot_s * fps)) - 1)
    rest = frames - full * slot_s * fps
    return full + -(-rest // (min(LAST_SLOT_S, slot_s) * fps))


@dataclass(frozen=True)
class SegmentTimes:
    """One segment as pairing needs it: where it lies, and when its frames were captured (monotonic ns)."""

    path: str
    boot_id: str
    times_ns: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Frames the file has so far."""
        return len(self.times_ns)


def segment_times(segment: Segment, known: Mapping[str, SegmentTimes]) -> SegmentTimes | None:
    """The frames of a segment, those of ``known`` (by path) when as many. None: its offsets do not decode."""
    before = known.get(segment.path)
    if before is not None and before.frames == segment.frames:
        return before
    try:
        times_ns = segment.times_ns()
    except ValueError:
        return None
    if len(times_ns) != segment.frames:
        return None
    return SegmentTimes(segment.path, segment.boot_id, times_ns)


@dataclass(frozen=True)
class Placing:
    """How one camera's frames come to the wall: an offset per boot, less the camera's latency."""

    offsets_ns: Mapping[str, int]
    latency_ns: int = 0

    def wall_ns(self, boot_id: str, mono_ns: int) -> int | None:
        """Wall time of a moment of a boot, None when that boot has no mapping yet."""
        offset_ns = self.offsets_ns.get(boot_id)
        return None if offset_ns is None else mono_ns + offset_ns - self.latency_ns


@dataclass(frozen=True)
class Track:
    """Frames of one camera on the wall, rising; ``places``: of each, its segment's number and its own in it.

    ``end_ns``: all frames before it are known; nothing is known of what comes after.
    """

    times_ns: tuple[int, ...] = ()
    end_ns: int = 0
    places: tuple[tuple[int, int], ...] = ()
    segments: tuple[SegmentTimes, ...] = ()


def track(
    segments: Iterable[SegmentTimes], placing: Placing, begin_ns: int, stop_ns: int, end_ns: int
) -> Track:
    """The frames captured in [begin_ns, stop_ns) of the wall, of all boots, in order of capture.

    A frame that is not later than the one before it (a boot whose wall time overlaps another's, a segment
    told twice) is left out: time never runs backwards in a film.
    """
    placed: list[tuple[int, SegmentTimes]] = []
    for segment in segments:
        offset_ns = placing.wall_ns(segment.boot_id, 0)
        if offset_ns is None or not segment.times_ns:
            continue
        if segment.times_ns[-1] + offset_ns >= begin_ns and segment.times_ns[0] + offset_ns < stop_ns:
            placed.append((offset_ns, segment))
    placed.sort(key=lambda item: (item[1].times_ns[0] + item[0], item[1].path))
    times: list[int] = []
    places: list[tuple[int, int]] = []
    last_ns = begin_ns - 1
    for number, (offset_ns, segment) in enumerate(placed):
        for frame in range(bisect_left(segment.times_ns, begin_ns - offset_ns), segment.frames):
            time_ns = segment.times_ns[frame] + offset_ns
            if time_ns >= stop_ns:
                break
            if time_ns > last_ns:
                times.append(time_ns)
                places.append((number, frame))
                last_ns = time_ns
    return Track(tuple(times), end_ns, tuple(places), tuple(segment for _, segment in placed))
