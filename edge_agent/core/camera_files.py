"""A delivered camera file (``deliver: cameras``): the claimed segments of one camera, by stream copy.

It holds only frames between the recording's begin and end. Those before a segment's first key frame in
that time are left out: without it they could not be decoded, and with it another's time would show. A
segment is copied once a change of the end can hardly reach back to it any more, the last ones when the end
is fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge_agent.core.agent import SECOND_NS, Effect, wall_ns
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import AppendCamera, CloseCamera, FilmFile, SettleFile
from edge_agent.core.filming import CEILING_NS, Film
from schemas.recording import CaptureStage
from schemas.work import CameraName, Segment, SegmentsMinute, WorkObject

SKIP = -1
HOLD_NS = 6 * SECOND_NS
MAX_NAMED = 100
NAMES: tuple[CameraName, CameraName] = ("left", "right")


@dataclass(frozen=True)
class CameraFile:
    """One camera's delivered file in the making.

    Attributes:
        minutes: the segments as the camera lists them.
        last: name of the segment dealt with last.
        skipped: names of segments that could not be copied.
    """

    booking_id: str
    cam: CameraName
    minutes: Mapping[str, SegmentsMinute] = field(default_factory=dict[str, SegmentsMinute])
    stage: CaptureStage | None = None
    file: FilmFile | None = None
    last: str | None = None
    skipped: tuple[str, ...] = ()
    failures: int = 0
    not_before_ns: int = 0
    object: WorkObject | None = None

    @property
    def complete(self) -> bool:
        """Its index is written."""
        return bool(self.file and self.file.complete)


def listed(item: CameraFile, minute: str, message: SegmentsMinute | None) -> CameraFile:
    """A camera-minute changed, or was cleared with its files."""
    minutes = {key: held for key, held in item.minutes.items() if key != minute}
    if message is not None and not item.complete:
        # Within a minute of one boot the order of names is that of time.
        ordered = tuple(sorted(message.segments, key=lambda segment: segment.name))
        same = ordered == message.segments
        minutes[minute] = message if same else message.model_copy(update={"segments": ordered})
    return replace(item, minutes=minutes)


def grown(item: CameraFile, file: FilmFile) -> CameraFile:
    """The file is as ``file`` says; what it ends with is dealt with, or, after a crash, less than was."""
    went_back = item.file is not None and file.slots < item.file.slots
    last = file.last if file.last is not None and (went_back or _later(file.last, item.last)) else item.last
    minutes = dict[str, SegmentsMinute]() if file.complete else item.minutes
    shown = as_object(file) if file.frames else None
    return replace(item, file=file, last=last, minutes=minutes, failures=0, not_before_ns=0, object=shown)


def _later(name: str, than: str | None) -> bool:
    """Of two names of one boot the later; another boot's is always newer news."""
    return than is None or name[:8] != than[:8] or name > than


def failed(item: CameraFile, name: str, kind: str, now_ns: int) -> CameraFile:
    """A segment that will not go in is skipped; trouble of another kind is waited out."""
    if kind == "input" and name:
        skipped = item.skipped if name in item.skipped else (*item.skipped, name)[:MAX_NAMED]
        return replace(item, skipped=skipped, last=name, failures=0)
    failures = item.failures + 1
    wait_ns = delay_ns(failures, f"camera:{item.booking_id}:{item.cam}", ceiling_ns=CEILING_NS)
    return replace(item, failures=failures, not_before_ns=now_ns + wait_ns)


def as_object(file: FilmFile) -> WorkObject:
    """The file as the uploader sees it."""
    return WorkObject(
        path=file.path,
        bytes=file.bytes,
        bytes_durable=file.bytes_durable,
        complete=file.complete,
        hash=file.sha256,
        generation=file.generation,
        slots_done=file.slots,
    )


def next_effects(item: CameraFile, film: Film, now_ns: int) -> tuple[Effect, ...]:
    """The next segment to copy, or the end. Nothing when cameras are not asked for."""
    booking = film.booking
    if booking is None or not film.wanted or film.listed or film.deleted or "cameras" not in booking.deliver:
        return ()
    if now_ns < item.not_before_ns:
        return ()
    file, name = item.file, f"{item.booking_id}:{item.cam}"
    if file is not None and file.complete:
        durable = file.bytes_durable >= file.bytes
        return () if durable else (SettleFile(f"camera_settle:{name}", item.booking_id, item.cam),)
    clock = Clock.of(item, film)
    segment = _next(item, clock)
    if segment is not None:
        return (_append(item, segment, clock),) if clock.ripe(item, segment) else ()
    if clock.over and file is not None and file.frames:
        fps = item.stage.fps if item.stage and item.stage.fps else 30
        return (CloseCamera(f"camera_close:{name}", item.booking_id, item.cam, fps),)
    return ()


def _append(item: CameraFile, segment: Segment, clock: "Clock") -> AppendCamera:
    return AppendCamera(
        key=f"camera:{item.booking_id}:{item.cam}:{segment.name}",
        booking_id=item.booking_id,
        cam=item.cam,
        index=item.file.slots if item.file else 0,
        path=segment.path,
        times_us=clock.times_us(segment),
        fps=segment.fps,
    )


def _next(item: CameraFile, clock: "Clock") -> Segment | None:
    """The earliest segment not dealt with that has frames in the recording's time."""
    found: Segment | None = None
    for message in item.minutes.values():
        if not message.segments or not clock.after(item, message.segments[-1]):
            continue
        for segment in message.segments:
            if segment.open or not clock.after(item, segment) or not clock.within(segment):
                continue
            if found is None or clock.start_ns(segment) < clock.start_ns(found):
                found = segment
    return found


@dataclass(frozen=True)
class Clock:
    """Planned time against the frames of one camera.

    Attributes:
        begin_ns, end_ns: wall time of the recording; over: its end is fixed, and this camera has all of it.
        offsets: wall minus monotonic time per boot, as the merger plans with; else the camera's own.
        last_ns: where the segment dealt with last starts, when it is still listed.
    """

    begin_ns: int
    end_ns: int
    over: bool
    offsets: Mapping[str, int]
    last_ns: int | None

    @classmethod
    def of(cls, item: CameraFile, film: Film) -> "Clock":
        """Put together from booking, merge and capture."""
        booking, merge, stage = film.booking, film.merge, item.stage
        if booking is None:
            raise ValueError("a recording without a booking has no planned time")
        fixed = merge is not None and merge.status == "succeeded"
        begin = merge.begin if merge is not None and merge.begin else booking.from_
        end = merge.end if merge is not None and fixed and merge.end else booking.to
        own = {one.boot_id: one.wall_offset_ns for one in (stage.mappings if stage else ())}
        planned = {one.boot_id: one.wall_offset_ns for one in (merge.mappings if merge else ())}
        clock = cls(
            wall_ns(begin),
            wall_ns(end),
            fixed and stage is not None and stage.status == "succeeded",
            {**own, **planned},
            None,
        )
        known = [
            segment
            for message in item.minutes.values()
            if item.last and message.segments and message.segments[0].name[:8] == item.last[:8]
            for segment in message.segments
            if segment.name == item.last
        ]
        return replace(clock, last_ns=clock.start_ns(known[0])) if known else clock

    def start_ns(self, segment: Segment) -> int:
        """Wall time of its first frame."""
        return segment.t0_ns + self.offsets.get(segment.boot_id, segment.wall_offset_ns)

    def after(self, item: CameraFile, segment: Segment) -> bool:
        """Whether it comes after the one dealt with last: within a boot by name, else by wall time."""
        if item.last is None:
            return True
        if segment.name[:8] == item.last[:8]:
            return segment.name > item.last
        return self.last_ns is None or self.start_ns(segment) > self.last_ns

    def within(self, segment: Segment) -> bool:
        """Whether any of it lies in the recording's time."""
        begin_ns = self.start_ns(segment)
        return begin_ns < self.end_ns and begin_ns + segment.end_ns - segment.t0_ns > self.begin_ns

    def ripe(self, item: CameraFile, segment: Segment) -> bool:
        """Whether nothing will change about it: all is over, or it lies well behind what is covered."""
        if self.over:
            return True
        covered = item.stage.covered_until if item.stage else None
        if covered is None or covered.boot_id not in self.offsets:
            return False
        segment_end_ns = self.start_ns(segment) + segment.end_ns - segment.t0_ns
        covered_ns = covered.mono_ns + self.offsets[covered.boot_id]
        return segment_end_ns + HOLD_NS <= covered_ns and segment_end_ns <= self.end_ns

    def times_us(self, segment: Segment) -> tuple[int, ...]:
        """Microseconds of every frame after the begin, ``SKIP`` for those that may not be shown."""
        offset_ns = self.start_ns(segment) - segment.t0_ns
        walls = (mono_ns + offset_ns for mono_ns in segment.times_ns())
        return tuple(
            (wall - self.begin_ns) // 1000 if self.begin_ns <= wall < self.end_ns else SKIP for wall in walls
        )
