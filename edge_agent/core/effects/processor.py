"""Effects of the processor. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import Effect
from schemas.booking import AssetRef, Logo
from schemas.recording import Rung
from schemas.work import CameraName, SlotPlan


@dataclass(frozen=True)
class FilmFormat:
    """Everything that is fixed for a film by its first slot, except the SPS/PPS bytes themselves."""

    width: int
    height: int
    fps: int
    preset: str
    crf: int
    maxrate_bps: int
    layout: str


@dataclass(frozen=True)
class PreparedLogo:
    """A logo scaled and faded for one film format; ``path`` below storage.root (a cache in assets/)."""

    slot: str
    place: str
    path: str
    width: int
    height: int


@dataclass(frozen=True)
class Prepare(Effect):
    """Prepare logos and intro for a film format, once, cached by content and format.

    Result: `Prepared`. What cannot be read is skipped and named, never a failure of the whole.
    ``paths`` maps sha256 -> path of the fetched asset below storage.root. With ``fix`` the result is
    written beside the film and decides for ever: a later `Prepare` of this booking gives it again.
    """

    booking_id: str
    format: FilmFormat
    logos: tuple[Logo, ...]
    intro: AssetRef | None
    paths: Mapping[str, str]
    fix: bool = False
    lane: str = field(default="prepare", init=False)


@dataclass(frozen=True)
class Prepared:
    """Logos and intro in the film's format. ``intro`` is an MP4 path or None; skipped: slot -> why."""

    logos: tuple[PreparedLogo, ...]
    intro: str | None
    intro_frames: int
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class Dress:
    """What a film was begun with, kept beside it: its format, logos and intro."""

    format: FilmFormat
    prepared: Prepared


@dataclass(frozen=True)
class Render(Effect):
    """Render one slot plan on one rung of the ladder into ``recordings/{id}/film/slot-{index:06d}.mp4``.

    Result: `Rendered`. Fails with kind ``input`` and detail ``{"left": [source, ...], "right": [...]}``
    when sources cannot be decoded (so that the next try leaves them out), ``transient`` else, ``full``.
    ``bad`` names sources (path) known undecodable: their frames count as missing. ``deadline_s`` is for
    ffmpeg's run.
    """

    booking_id: str
    plan: SlotPlan
    format: FilmFormat
    rung: Rung
    logos: tuple[PreparedLogo, ...]
    crf_boost: int
    bad: tuple[str, ...] = ()
    deadline_s: float = 20.0
    lane: str = field(default="render", init=False)


@dataclass(frozen=True)
class Rendered:
    """A slot as a file: frames counted by reading it back, CPU seconds of ffmpeg and preparation."""

    path: str
    frames: int
    bytes: int
    cpu_s: float
    left_missing: int = 0
    right_missing: int = 0
    rung: Rung = "full"


@dataclass(frozen=True)
class FilmFile:
    """State of a growing file after an append (mirrors the film driver).

    ``last``: stem of the segment a camera file ends with.
    """

    path: str
    bytes: int
    bytes_durable: int
    frames: int
    slots: int
    intro_frames: int
    complete: bool
    sha256: str | None
    duration_s: float
    generation: int
    width: int = 0
    height: int = 0
    last: str | None = None


@dataclass(frozen=True)
class AppendSlot(Effect):
    """Append a slot (or the intro, index -1) to the film; deletes slot files that are covered by then.

    Result: `FilmFile`. Fails with kind ``input`` when SPS/PPS differ or the file is unreadable (render
    it again), ``full``, ``transient``. A slot already appended is left as it is; when slots before it are
    not in the film (any more) nothing is appended, and the result says how many there are.
    """

    booking_id: str
    index: int
    path: str
    frames: int
    fps: int
    lane: str = field(default="film", init=False)


@dataclass(frozen=True)
class CloseFilm(Effect):
    """Write the film's index. Result: `FilmFile` with ``complete``. Idempotent."""

    booking_id: str
    fps: int
    lane: str = field(default="film", init=False)


@dataclass(frozen=True)
class MakePoster(Effect):
    """A JPEG of the first slot's middle frame beside the film. Result: `FilmFile` (complete)."""

    booking_id: str
    slot_path: str
    lane: str = field(default="prepare", init=False)


@dataclass(frozen=True)
class AppendCamera(Effect):
    """Append a claimed segment to a delivered camera file by stream copy. Result: `FilmFile`.

    ``times_us``: microseconds of every frame after the film's start, negative for a frame to leave out.
    Fails with kind ``input`` when the segment cannot be read or does not fit (skip it), ``full``,
    ``transient``. An index already there or too high changes nothing.
    """

    booking_id: str
    cam: CameraName
    index: int
    path: str
    times_us: tuple[int, ...]
    fps: int
    lane: str = field(default="camera_file", init=False)


@dataclass(frozen=True)
class CloseCamera(Effect):
    """Write a delivered camera file's index. Result: `FilmFile`. Idempotent."""

    booking_id: str
    cam: CameraName
    fps: int
    lane: str = field(default="camera_file", init=False)


@dataclass(frozen=True)
class SettleFile(Effect):
    """Wait until a complete film or camera file is durable; slot files covered by then are deleted.

    Result: `FilmFile`. Idempotent.
    """

    booking_id: str
    name: str
    lane: str = field(default="settle", init=False)


@dataclass(frozen=True)
class ProcessorInventory:
    """Films (recovered and resumed), camera files and slot files on disk, per booking.

    films: object name (film, left, right, poster) -> state; slots: index -> path of a whole slot file;
    dresses: what each film was begun with.
    """

    films: Mapping[str, Mapping[str, FilmFile]] = field(default_factory=dict[str, Mapping[str, FilmFile]])
    slots: Mapping[str, Mapping[int, str]] = field(default_factory=dict[str, Mapping[int, str]])
    dresses: Mapping[str, Dress] = field(default_factory=dict[str, Dress])
