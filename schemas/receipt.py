"""The receipt: the account of one recording (CONTRACT 5)."""

from typing import Literal

from pydantic import Field

from schemas.base import Message, Moment
from schemas.recording import Dressing, Gap, RecordingState, Rung, Skew
from schemas.work import Picture


class CameraAccount(Message):
    """What one camera delivered within the planned time."""

    expected: int
    captured: int
    dropped: int
    duplicated: int
    restarts: int
    mean_fps: float | None
    gaps: tuple[Gap, ...] = Field(default=(), max_length=200)
    gaps_count: int = 0
    stamp: str | None = None
    encoder: str | None = None


class ClockAccount(Message):
    """How far the clock could be trusted."""

    synced: bool
    steps: int = 0
    boots: int = 1


class FilmAccount(Message):
    """The film as delivered; ``sha256`` is the composite SHA-256 over 5 MiB parts (``base64-N``)."""

    bytes: int
    duration_s: float
    frames: int
    intro_frames: int
    sha256: str | None
    codec: str
    width: int
    height: int
    fps: int


class UploadAccount(Message):
    """What was sent for the film."""

    parts: int
    bytes_sent: int
    bytes_resent: int
    resumes: int
    verified_at: Moment | None


class Milestone(Message):
    """A stage's moment on the way from booking to link."""

    at: Moment
    what: str


class Receipt(Message):
    """The account of one recording. Lists stop at 200 entries and a count; ``receipt.json`` has all."""

    booking_id: str
    kind: Literal["booked", "manual", "cut"]
    state: RecordingState
    planned_start: Moment
    planned_end: Moment
    recorded_start: Moment | None = None
    recorded_end: Moment | None = None
    start_error_ms: float | None = None
    end_error_ms: float | None = None
    cameras: dict[str, CameraAccount] = {}
    skew_ms: Skew | None = None
    repeated: int = 0
    unpaired: int = 0
    pictures: dict[Picture, int] = {}
    rungs: dict[Rung, int] = {}
    branding: tuple[Dressing, ...] = ()
    intro: Dressing | None = None
    clock: ClockAccount
    film: FilmAccount | None = None
    upload: UploadAccount | None = None
    whistle_to_watchable_s: float | None = None
    machine_s: float | None = None
    uplink_s: float | None = None
    whistle_to_delivered_s: float | None = None
    timeline: tuple[Milestone, ...] = Field(default=(), max_length=200)
    versions: dict[str, str] = {}
