"""A take: what one camera has and owes of one recording, and its messages. Pure.

Planned times are wall nanoseconds (``begin_ns``, ``end_ns``); a boot's monotonic times are bound to them by
the mapping that is frozen when the first segment of that boot is claimed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.capture import (
    MAX_GAPS,
    Cause,
    Item,
    Tally,
    View,
    add,
    advance,
    expected_frames,
    moment,
    trailing,
)
from edge_agent.core.effects import RingFile
from edge_agent.core.schedule import Taken, frames_between
from edge_agent.core.values import replace
from schemas.recording import CaptureStage, ClockPoint, Gap, StageError, StageStatus, WallMapping
from schemas.registry import SEGMENTS
from schemas.topics import Address
from schemas.work import CameraName, Segment, SegmentsMinute

MINUTE_NS = 60 * SECOND_NS
MINUTE_SEGMENTS = 40
Minutes = Mapping[Address[SegmentsMinute], SegmentsMinute]


@dataclass(frozen=True)
class Take:
    """One camera's part of one recording.

    Attributes:
        begin_ns, end_ns: planned wall time as obeyed; rev: the booking revision obeyed.
        wanted: whether the booking stands; final: the recording is; dead: listed as gone for ever.
        taken: wall time inside the plan that it may not have; refused: why it must not record at all.
        mappings: frozen per boot; pinned: the one this boot will freeze.
        segments: claimed, by name, in order of listing; minutes: the messages that list them.
        growing: name of a listed segment that was still open when it was claimed last.
        lost: ring files that will never be claimed.
        base: the account of all segments but the growing one.
        covered: see `CaptureStage.covered_until`.
        hurry_ns: a cut asked for when the end was moved into the past, so that the segment closes now.
        kept: counts of a finished take of an earlier run: the files may be gone, the account stands.
        released: its files may go; deleted: they are gone.
    """

    id: str
    cam: CameraName
    begin_ns: int
    end_ns: int
    rev: int
    fps: int
    wanted: bool = True
    final: bool = False
    dead: bool = False
    taken: tuple[Taken, ...] = ()
    refused: str | None = None
    mappings: tuple[WallMapping, ...] = ()
    pinned: WallMapping | None = None
    segments: Mapping[str, Segment] = field(default_factory=dict[str, Segment])
    minutes: Minutes = field(default_factory=dict[Address[SegmentsMinute], SegmentsMinute])
    growing: str | None = None
    asked_open_ns: int = 0
    lost: frozenset[str] = frozenset()
    base: Tally = field(default_factory=Tally)
    covered: ClockPoint | None = None
    restarts: int = 0
    hurry_ns: int | None = None
    kept: CaptureStage | None = None
    released: bool = False
    deleted: bool = False
    encoder: str | None = None
    stage: CaptureStage = field(default_factory=CaptureStage)

    def mapping(self, boot_id: str) -> WallMapping | None:
        """The mapping of a boot: the frozen one, else the one that will be."""
        for one in self.mappings:
            if one.boot_id == boot_id:
                return one
        return self.pinned if self.pinned is not None and self.pinned.boot_id == boot_id else None

    @property
    def begun(self) -> bool:
        """Whether anything was claimed, which freezes the start."""
        return bool(self.segments) or bool(self.mappings) or self.kept is not None

    @property
    def idle(self) -> bool:
        """Whether nothing more is to be claimed whatever the ring holds."""
        return not self.wanted or self.dead or self.final or self.released or self.refused is not None


def resume(take: Take, stage: CaptureStage, segments: Iterable[Segment]) -> Take:
    """Go on from the last message and the claimed files of an earlier run; the files are the truth.

    A stage that had succeeded keeps its account, since retention may have taken its files meanwhile.
    """
    files = list(segments)
    gone = not files and not take.wanted
    kept = stage if stage.status == "succeeded" or gone else None
    begun = replace(
        take,
        mappings=stage.mappings,
        covered=stage.covered_until,
        restarts=stage.restarts,
        encoder=stage.encoder,
        kept=kept,
        stage=stage,
    )
    known = {mapping.boot_id for mapping in stage.mappings}
    files.sort(key=lambda one: (one.t0_ns + _offset(begun, one), one.name))
    for one in files:
        if one.boot_id not in known:
            # Claimed, but the message with the mapping frozen then was lost: the file's own is near.
            known.add(one.boot_id)
            near = WallMapping(boot_id=one.boot_id, wall_offset_ns=one.wall_offset_ns)
            begun = replace(begun, mappings=(*begun.mappings, near))
    minutes = dict(begun.minutes)
    for one in files:
        place(minutes, take.id, take.cam, one)
    growing = files[-1].name if files and files[-1].open else None
    return replace(begun, segments={one.name: one for one in files}, minutes=minutes, growing=growing)


def old_causes(stage: CaptureStage) -> tuple[Cause, ...]:
    """The gaps of an earlier run as causes, so that a gap counted anew keeps its reason."""
    return tuple(
        Cause(
            mapping.boot_id,
            wall_ns(gap.begin) - mapping.wall_offset_ns,
            wall_ns(gap.end) - mapping.wall_offset_ns,
            gap.reason,
        )
        for gap in stage.gaps
        for mapping in stage.mappings
    )


def _offset(take: Take, segment: Segment) -> int:
    mapping = take.mapping(segment.boot_id)
    return mapping.wall_offset_ns if mapping else segment.wall_offset_ns


def view(take: Take, causes: tuple[Cause, ...]) -> View:
    """What this take's frames are counted against."""
    spans = tuple(
        Cause(
            mapping.boot_id,
            one.begin_ns - mapping.wall_offset_ns,
            one.end_ns - mapping.wall_offset_ns,
            one.reason,
        )
        for one in take.taken
        for mapping in take.mappings
    )
    return View(take.begin_ns, take.end_ns, round(SECOND_NS / take.fps), (*causes, *spans))


def recount(take: Take, causes: tuple[Cause, ...]) -> Take:
    """The account from all claimed segments anew: after a change of plan or mapping, or out of order."""
    order = sorted(
        (one for one in take.segments.values() if one.name != take.growing),
        key=lambda one: (one.t0_ns + _offset(take, one), one.name),
    )
    fps = order[0].fps if order else take.fps
    counted = replace(take, fps=fps)
    seen = view(counted, causes)
    tally = Tally()
    for segment in order:
        tally = add(tally, segment, _offset(take, segment), seen)
    return replace(counted, base=tally)


def list_segment(take: Take, segment: Segment, causes: tuple[Cause, ...]) -> Take:
    """List a claimed segment; the same name replaces the part listed before."""
    before = take.segments.get(segment.name)
    if before == segment:
        return take
    minutes = dict(take.minutes)
    place(minutes, take.id, take.cam, segment)
    first = not take.segments
    listed = replace(take, segments={**take.segments, segment.name: segment}, minutes=minutes)
    if segment.open:
        return replace(listed, growing=segment.name)
    last = take.base.last
    in_order = last is None or segment.t0_ns + _offset(take, segment) > last.wall_ns
    grown = take.growing in (None, segment.name)
    listed = replace(listed, growing=None) if take.growing == segment.name else listed
    if first or not in_order or not grown or (before is not None and not before.open):
        return recount(listed, causes)
    return replace(listed, base=add(take.base, segment, _offset(take, segment), view(listed, causes)))


def place(
    minutes: dict[Address[SegmentsMinute], SegmentsMinute], id_: str, cam: str, segment: Segment
) -> None:
    """Put a segment into the message of its minute (or of the next with room), or replace it there."""
    minute = segment.t0_ns // MINUTE_NS
    while True:
        address = SEGMENTS.at(id=id_, cam=cam, minute=f"{segment.boot_id.replace('-', '')[:8]}-{minute}")
        there = minutes[address].segments if address in minutes else ()
        others = tuple(one for one in there if one.name != segment.name)
        if len(others) < len(there) or len(others) < MINUTE_SEGMENTS:
            ordered = sorted((*others, segment), key=lambda one: (one.t0_ns, one.name))
            minutes[address] = SegmentsMinute(segments=tuple(ordered))
            return
        minute += 1


def bounds(take: Take, boot_id: str, offset_ns: int) -> tuple[int, int]:
    """Planned begin and end on a boot's monotonic clock.

    A recording that ran before a reboot goes on at once while the clock is not synchronised: what the clock
    says then may be minutes behind.
    """
    mapping = take.mapping(boot_id)
    offset = mapping.wall_offset_ns if mapping else offset_ns
    begin, end = take.begin_ns - offset, take.end_ns - offset
    rebooted = mapping is not None and not mapping.synced and any(m.boot_id != boot_id for m in take.mappings)
    return (min(begin, 0), end) if rebooted else (begin, end)


def needs(take: Take, file: RingFile) -> bool:
    """Whether a ring file has frames that this take should have, may have, and has not.

    A boot without a mapping (frozen or pinned) has no planned time, so nothing of it is asked for. A file
    with a single frame of time that is not ours to keep is left alone whole.
    """
    listed = take.segments.get(file.name)
    if listed is not None and listed.frames >= file.frames:
        return False
    mapping = take.mapping(file.boot_id)
    if mapping is None or file.name in take.lost or take.idle:
        return False
    offset = mapping.wall_offset_ns
    first, after = frames_between(file, *bounds(take, file.boot_id, offset))
    if first >= after or any(
        _touches(file, one.begin_ns - offset, one.end_ns - offset) for one in take.taken
    ):
        return False
    return listed is None or listed.frames < after


def _touches(file: RingFile, begin_ns: int, end_ns: int) -> bool:
    first, after = frames_between(file, begin_ns, end_ns)
    return first < after


def cover(take: Take, ring: Iterable[RingFile], boot_id: str, offset_ns: int, silent_ns: int | None) -> Take:
    """Move ``covered`` on as far as everything before it is listed or declared lost; never back."""
    begin, end = bounds(take, boot_id, offset_ns)
    here = take.covered if take.covered is not None and take.covered.boot_id == boot_id else None
    start = here.mono_ns if here else begin
    news = (file for file in ring if file.end_ns > start and file.boot_id == boot_id)
    items = [item for file in news for item in _items(take, file)]
    reached = advance(start, end, items, silent_ns)
    if reached > start or take.covered is None:
        return replace(take, covered=ClockPoint(boot_id=boot_id, mono_ns=reached))
    return take


def _items(take: Take, file: RingFile) -> Iterator[Item]:
    listed = take.segments.get(file.name)
    if listed is not None:
        yield Item(file.t0_ns, listed.end_ns, settled=True)
    if not file.open:
        yield Item(listed.end_ns if listed else file.t0_ns, file.end_ns, settled=not needs(take, file))


def settle_growing(take: Take, closed: Iterable[RingFile], causes: tuple[Cause, ...]) -> Take:
    """List as closed what was claimed while it grew, when the closed file holds nothing more for it."""
    for file in closed:
        listed = take.segments.get(file.name)
        if listed is not None and listed.open and not needs(take, file):
            take = list_segment(take, listed.replace(open=False), causes)
    return take


def covered_all(take: Take, boot_id: str, offset_ns: int) -> bool:
    """Whether everything up to the planned end is listed or a declared gap."""
    if take.covered is None or take.covered.boot_id != boot_id:
        return False
    return take.covered.mono_ns >= bounds(take, boot_id, offset_ns)[1]


def restage(take: Take, status: StageStatus, boot_id: str, offset_ns: int, causes: tuple[Cause, ...]) -> Take:
    """The stage message as it has to be now; the same object when nothing changed."""
    error = None
    if status == "failed" and take.refused is not None:
        error = StageError(code="booking_crosses", message=take.refused)
    stage = take.kept.replace(status=status, rev=take.rev, error=error) if take.kept else None
    if stage is None:
        stage = _counted(take, status, error, _tail(take, boot_id, offset_ns, causes))
    return take if stage == take.stage else replace(take, stage=stage)


def _tail(take: Take, boot_id: str, offset_ns: int, causes: tuple[Cause, ...]) -> tuple[Tally, Gap | None]:
    seen = view(take, causes)
    tally, growing = take.base, take.segments.get(take.growing or "")
    if growing is not None:
        tally = add(tally, growing, _offset(take, growing), seen)
    if take.covered is None or take.covered.boot_id != boot_id:
        return tally, None
    mapping = take.mapping(boot_id)
    offset = mapping.wall_offset_ns if mapping else offset_ns
    return tally, trailing(tally, boot_id, take.covered.mono_ns, offset, seen)


def _counted(
    take: Take, status: StageStatus, error: StageError | None, account: tuple[Tally, Gap | None]
) -> CaptureStage:
    tally, tail = account
    some = next(iter(take.segments.values()), None)
    return CaptureStage(
        status=status,
        rev=take.rev,
        error=error,
        covered_until=take.covered,
        last_seq=tally.last_seq,
        mappings=take.mappings,
        segments=tally.segments,
        expected=expected_frames(take.begin_ns, take.end_ns, take.fps),
        frames=tally.frames,
        bytes=tally.bytes,
        dropped=tally.dropped,
        duplicated=tally.duplicated,
        restarts=take.restarts,
        gaps=(*tally.gaps, *((tail,) if tail else ()))[:MAX_GAPS],
        gaps_count=tally.gaps_count + (tail is not None),
        fps=take.fps,
        width=some.width if some else None,
        height=some.height if some else None,
        stamp=some.stamp if some else None,
        encoder=take.encoder,
        first_frame_at=moment(tally.first.wall_ns) if tally.first else None,
        last_frame_at=moment(tally.last.wall_ns) if tally.last else None,
        begin=moment(take.begin_ns),
        end=moment(take.end_ns),
    )
