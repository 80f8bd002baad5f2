"""The account of one camera's part of a recording: counts, gaps, and how far it is covered. Pure.

Planned times are wall nanoseconds; frames are monotonic nanoseconds of a boot; an offset joins the two.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from edge_agent.core.agent import SECOND_NS
from schemas.recording import Gap
from schemas.work import Segment

MAX_GAPS = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cause:
    """Why frames may be missing between two monotonic times of a boot; end None: it still lasts."""

    boot_id: str
    begin_ns: int
    end_ns: int | None
    reason: str


@dataclass(frozen=True)
class Frame:
    """The capture time of one frame, on both clocks."""

    boot_id: str
    mono_ns: int
    wall_ns: int


@dataclass(frozen=True)
class View:
    """What a tally is counted against: the planned wall time, the frame period, and known causes."""

    begin_ns: int
    end_ns: int
    period_ns: int
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True)
class Tally:
    """Counts over claimed segments in order of capture; frames outside the planned time count nowhere."""

    segments: int = 0
    frames: int = 0
    bytes: int = 0
    dropped: int = 0
    duplicated: int = 0
    last_seq: int | None = None
    first: Frame | None = None
    last: Frame | None = None
    gaps: tuple[Gap, ...] = ()
    gaps_count: int = 0


def moment(wall_ns: int) -> datetime:
    """The aware UTC moment, to the nearest microsecond."""
    return EPOCH + timedelta(microseconds=(wall_ns + 500) // 1000)


def seq_of(name: str) -> int:
    """The number in a segment's name, -1 when it has none."""
    _, _, digits = name.rpartition("-")
    return int(digits) if digits.isascii() and digits.isdigit() else -1


def add(tally: Tally, segment: Segment, offset_ns: int, view: View) -> Tally:
    """Count one more segment, captured after all counted so far. ``offset_ns``: wall minus monotonic."""
    times = segment.times_ns()
    inside = [t for t in times if view.begin_ns <= t + offset_ns < view.end_ns]
    counted = replace(
        tally,
        segments=tally.segments + 1,
        bytes=tally.bytes + segment.bytes,
        last_seq=max(seq_of(segment.name), tally.last_seq or 0),
    )
    if not inside:
        return counted
    frames = [Frame(segment.boot_id, t, t + offset_ns) for t in inside]
    found = _gaps(tally.last, frames, view)
    whole = len(inside) == len(times)
    return replace(
        counted,
        frames=tally.frames + len(inside),
        dropped=tally.dropped + (segment.dropped if whole else _missing(inside, segment, view)),
        duplicated=tally.duplicated + (segment.duplicated if whole else 0),
        first=tally.first or frames[0],
        last=frames[-1],
        gaps=(*tally.gaps, *found)[:MAX_GAPS] if found else tally.gaps,
        gaps_count=tally.gaps_count + len(found),
    )


def _missing(inside: Sequence[int], segment: Segment, view: View) -> int:
    steps = (after - before for before, after in pairwise(inside))
    return min(segment.dropped, sum(max(0, round(step / view.period_ns) - 1) for step in steps))


def _gaps(last: Frame | None, frames: Sequence[Frame], view: View) -> list[Gap]:
    found: list[Gap] = []
    before = last
    for frame in frames:
        begin = view.begin_ns if before is None else before.wall_ns + view.period_ns
        if (frame.wall_ns - begin) * 2 > view.period_ns * (2 if before is None else 1):
            found.append(
                Gap(begin=moment(begin), end=moment(frame.wall_ns), reason=_why(before, frame, view))
            )
        before = frame
    return found


def _why(before: Frame | None, frame: Frame, view: View) -> str:
    begin = frame.mono_ns - (frame.wall_ns - (before.wall_ns if before else view.begin_ns))
    known = reason_of(view.causes, frame.boot_id, begin, frame.mono_ns)
    if known is not None:
        return known
    if before is None:
        return "not in the ring"
    return "frames dropped" if before.boot_id == frame.boot_id else "device restarted"


def trailing(tally: Tally, boot_id: str, covered_ns: int, offset_ns: int, view: View) -> Gap | None:
    """The declared gap between the last frame counted and ``covered_ns`` (monotonic), or None."""
    end = min(view.end_ns, covered_ns + offset_ns)
    last = tally.last
    begin = view.begin_ns if last is None else last.wall_ns + view.period_ns
    if (end - begin) * 2 <= view.period_ns * (2 if last is None else 1):
        return None
    reason = reason_of(view.causes, boot_id, begin - offset_ns, end - offset_ns)
    return Gap(begin=moment(begin), end=moment(end), reason=reason or "no frames")


def reason_of(causes: Iterable[Cause], boot_id: str, begin_ns: int, end_ns: int) -> str | None:
    """The reason of the shortest cause that overlaps [begin, end); the latest of equals."""
    best: tuple[int, str] | None = None
    for cause in causes:
        end = cause.end_ns if cause.end_ns is not None else 2**63
        if cause.boot_id == boot_id and cause.begin_ns < end_ns and begin_ns < end:
            length = end - cause.begin_ns
            if best is None or length <= best[0]:
                best = (length, cause.reason)
    return best[1] if best else None


@dataclass(frozen=True)
class Item:
    """A segment known in the ring or claimed; settled: listed, declared lost, or not asked for."""

    t0_ns: int
    end_ns: int
    settled: bool


def advance(covered_ns: int, end_ns: int, items: Iterable[Item], silent_ns: int | None) -> int:
    """How far everything is listed or a declared gap (monotonic of one boot); never less than ``covered_ns``.

    ``items`` in order of capture; a hole between two is a gap, since a segment is only known after all
    before it. ``silent_ns``: no frame comes any more and none before it is still on its way, or None.
    """
    covered = covered_ns
    for item in items:
        if covered >= end_ns:
            return covered
        if item.t0_ns >= end_ns:
            return end_ns  # not over it: the end may still move, and then it is wanted
        if item.end_ns > covered:
            covered = max(covered, item.t0_ns)
            if not item.settled:
                return covered
            covered = max(covered, item.end_ns)
    if silent_ns is not None:
        covered = max(covered, min(silent_ns, end_ns))
    return covered


def expected_frames(begin_ns: int, end_ns: int, fps: int) -> int:
    """Frames the planned time has at a rate."""
    return round((end_ns - begin_ns) * fps / SECOND_NS)
