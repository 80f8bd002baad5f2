"""The stages of a recording, its state, its share. A stage counts what it wrote by reading it back."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import OPERATIONAL, PUBLIC, Message, Moment
from schemas.work import CameraName, Picture

StageStatus = Literal["pending", "running", "succeeded", "failed", "cancelled"]
RecordingState = Literal[
    "scheduled", "recording", "finishing", "ready", "partial", "failed", "cancelled", "missed"
]
FINAL_STATES: frozenset[RecordingState] = frozenset({"ready", "partial", "failed", "cancelled", "missed"})


class StageError(Message):
    """Why a stage failed, in words a person can act on."""

    code: Annotated[str, PUBLIC]
    message: Annotated[str, PUBLIC]
    retryable: Annotated[bool, PUBLIC] = False


class Stage(Message):
    """What every stage topic has.

    ``rev`` is the booking revision it obeys.
    """

    status: Annotated[StageStatus, PUBLIC] = "pending"
    rev: Annotated[int, PUBLIC] = 0
    error: Annotated[StageError | None, PUBLIC] = None


class ClockPoint(Message):
    """A moment on one boot's monotonic clock."""

    boot_id: str
    mono_ns: int


class WallMapping(Message):
    """wall = monotonic + offset, frozen per recording and boot."""

    boot_id: str
    wall_offset_ns: int
    synced: bool = True


class Gap(Message):
    """Time of one camera without frames."""

    begin: Annotated[Moment, PUBLIC]
    end: Annotated[Moment, PUBLIC]
    reason: Annotated[str, PUBLIC]


class CaptureStage(Stage):
    """One camera's part of a recording.

    Attributes:
        covered_until: all frames before it are listed in ``work/{id}/segments`` or are a declared gap.
        last_seq: number of the last claimed segment.
        mappings: the wall mapping frozen at the first claim of each boot.
        expected: frames the planned time has at the camera's nominal rate.
        frames: frames claimed within the planned time, read back from the copies.
        begin, end: planned time as obeyed; begin is frozen by the first claim.
    """

    covered_until: ClockPoint | None = None
    last_seq: int | None = None
    mappings: tuple[WallMapping, ...] = ()
    segments: int = 0
    expected: int = 0
    frames: int = 0
    bytes: int = 0
    dropped: int = 0
    duplicated: int = 0
    restarts: int = 0
    gaps: tuple[Gap, ...] = Field(default=(), max_length=200)
    gaps_count: int = 0
    fps: int | None = None
    width: int | None = None
    height: int | None = None
    stamp: Literal["sensor", "kernel", "arrival"] | None = None
    encoder: str | None = None
    first_frame_at: Moment | None = None
    last_frame_at: Moment | None = None
    begin: Moment | None = None
    end: Moment | None = None


class Skew(Message):
    """Distance in capture time between the two halves, over all frames that show both."""

    median_ms: float
    p99_ms: float
    max_ms: float


class MergeStage(Stage):
    """The merger's part: what was planned.

    Attributes:
        mappings: the wall mapping every planned time uses, one per boot.
        begin, end: planned time of the film's first frame and of the end of its last, as obeyed.
        slots_total: fixed once the stage has succeeded.
        pictures: output frames per picture.
        repeated: output frames that repeat the pair before.
        unpaired: source frames never shown.
        start_error_ms, end_error_ms: capture time of first frame minus begin; capture time of the
            last frame plus one period minus end.
    """

    mappings: tuple[WallMapping, ...] = ()
    begin: Moment | None = None
    end: Moment | None = None
    slots_planned: int = 0
    slots_total: int | None = None
    frames_planned: int = 0
    frames_total: int | None = None
    pictures: dict[Picture, int] = {}
    repeated: int = 0
    unpaired: int = 0
    skew: Skew | None = None
    missing: dict[CameraName, int] = {}
    start_error_ms: float | None = None
    end_error_ms: float | None = None


class Dressing(Message):
    """One logo or the intro: applied, or skipped and why."""

    slot: Annotated[str, PUBLIC]
    applied: Annotated[bool, PUBLIC]
    why: Annotated[str | None, PUBLIC] = None


class FilmFacts(Message):
    """The film file as written. ``hash`` is S3's composite SHA-256 over 5 MiB parts, once complete."""

    bytes: int
    frames: int
    intro_frames: int
    duration_s: float
    width: int
    height: int
    fps: int
    codec: str = "h264"
    encoder: str = "libx264"
    preset: str | None = None
    hash: str | None = None


Rung = Literal["full", "no_logos", "one_camera", "card"]


class PoorSlots(Message):
    """Consecutive slots that were not rendered as planned.

    ``left``, ``right``: output frames of each of these slots that should show that camera and do not.
    """

    first: int = Field(ge=0)
    slots: int = Field(default=1, ge=1)
    rung: Rung = "full"
    left: int = Field(default=0, ge=0)
    right: int = Field(default=0, ge=0)


class ProcessStage(Stage):
    """The processor's part: what was rendered and appended.

    Attributes:
        rungs: slots in the film per rung of the ladder (full, without logos, one camera, card).
        poorer: the slots behind those counts and ``missing``; also of slots rendered and not appended yet.
        missing: planned frames of each camera that the film does not show, as rendering found out.
        skipped: segments left out of a delivered camera file because they could not be copied, by name.
    """

    slots_done: int = 0
    slots_total: int | None = None
    rungs: dict[Rung, int] = {}
    retries: int = 0
    branding: tuple[Dressing, ...] = ()
    intro: Dressing | None = None
    film: FilmFacts | None = None
    render_cpu_s: float = 0.0
    completed_at: Moment | None = None
    poorer: tuple[PoorSlots, ...] = ()
    missing: dict[CameraName, int] = {}
    skipped: dict[CameraName, tuple[str, ...]] = {}


class UploadedObject(Message):
    """One object in the bucket, verified or not yet. ``hash`` is the composite SHA-256 of its parts.

    ``generation`` is that of the file that was sent (`schemas.work.WorkObject`).
    """

    name: Annotated[str, PUBLIC]
    key: Annotated[str, OPERATIONAL]
    bytes: int
    hash: str | None = None
    parts: int = 0
    bytes_sent: int = 0
    bytes_resent: int = 0
    resumes: int = 0
    generation: int = 0
    verified_at: Moment | None = None


class UploadStage(Stage):
    """The uploader's part: what is in the bucket."""

    objects: tuple[UploadedObject, ...] = ()
    bytes_done: int = 0
    bytes_known: int = 0
    bucket: str | None = None

    def verified(self, name: str) -> UploadedObject | None:
        """The object of that name when it was verified in the bucket."""
        return next((o for o in self.objects if o.name == name and o.verified_at), None)


class Recording(Message):
    """State of one recording for people and machines: a pure fold over the stage topics."""

    state: Annotated[RecordingState, PUBLIC]
    progress_pct: Annotated[int, PUBLIC] = Field(default=0, ge=0, le=100)
    eta_s: Annotated[float | None, PUBLIC] = None
    why: Annotated[str, PUBLIC] = ""
    whistle_to_watchable_s: Annotated[float | None, PUBLIC] = None


class Share(Message):
    """Whether a link exists; never the link, which is a secret."""

    state: Annotated[Literal["none", "active", "expired"], PUBLIC]
    share_id: Annotated[str | None, OPERATIONAL] = None
    expires_at: Annotated[Moment | None, PUBLIC] = None
    delivered_at: Annotated[Moment | None, PUBLIC] = None
    stored_rev: Annotated[int, OPERATIONAL] = 0
