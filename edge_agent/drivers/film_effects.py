"""The processor's I/O: slots rendered, films and camera files grown, posters, deletion."""

import errno
import logging
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path

from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    AppendCamera,
    AppendSlot,
    CloseCamera,
    CloseFilm,
    DeleteMedia,
    Dress,
    FilmFile,
    MakePoster,
    Prepare,
    Prepared,
    ProcessorInventory,
    Render,
    Rendered,
    SettleFile,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.filming import INTRO
from edge_agent.drivers.disk import PathRefused, folder_beneath
from edge_agent.drivers.dresses import fix_dress, read_dress
from edge_agent.drivers.film import Film, FilmBroken, FilmMismatch, FilmState, SlotUnreadable, read_format
from edge_agent.drivers.film.ledger import load as load_ledger
from edge_agent.drivers.media import delete_media
from edge_agent.drivers.objects.base import composite_sha256, sha256_b64
from edge_agent.drivers.render import make_poster, prepare, render_slot
from edge_agent.drivers.render.ffmpeg_run import as_failures

log = logging.getLogger(__name__)

FILM = "film"
NAMES = (FILM, "left", "right")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass
class _Held:
    """A film or camera file that may be open; ``last`` is the stem of what it ends with."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    film: Film | None = None
    last: str | None = None


class ProcessorDrivers:
    """Runs the processor's effects. A film is opened once and kept open until it is settled or deleted."""

    def __init__(self, root: Path) -> None:
        """``root`` is storage.root."""
        self._root = root
        self._held: dict[tuple[str, str], _Held] = {}
        self._lock = threading.Lock()
        self._dressing = threading.Lock()

    def inventory(self) -> ProcessorInventory:
        """Opens every film that was begun, recovering it; lists slot files and what films were begun with.

        A film that cannot be opened is left out and named in the log: one whose account is beyond repair is
        set aside (``set-aside.*``) and made again from its segments.
        """
        films: dict[str, Mapping[str, FilmFile]] = {}
        slots: dict[str, Mapping[int, str]] = {}
        dresses: dict[str, Dress] = {}
        for folder in sorted(self._root.glob("recordings/*/film")):
            if folder.is_symlink() or folder.parent.is_symlink():
                continue
            booking_id = folder.parent.name
            films[booking_id] = dict(self._begun(booking_id, folder))
            slots[booking_id] = {_number(path): self._relative(path) for path in _slot_files(folder)}
            dress = read_dress(folder)
            if dress is not None:
                dresses[booking_id] = dress
        return ProcessorInventory(films, slots, dresses)

    def _begun(self, booking_id: str, folder: Path) -> Iterator[tuple[str, FilmFile]]:
        for name in NAMES:
            if not (folder / f"{name}.ledger").exists():
                continue
            held = self._holder(booking_id, name)
            try:
                film = self._open(held, booking_id, name, 0)
                if film.state.slots:
                    yield name, self._file(name, held, film)
            except OSError as error:
                log.warning("%s of %s cannot be opened: %s", name, booking_id, error)
            except (FilmBroken, SlotUnreadable, ValueError) as error:
                log.warning("%s of %s is set aside: %s", name, booking_id, error)
                _set_aside(folder, name)
        poster = folder / "poster.jpg"
        if poster.is_file() and not poster.is_symlink():
            yield "poster", _whole_file(self._relative(poster), poster.read_bytes())

    def run(self, effect: Effect) -> object:
        """One effect.

        Raises:
            EffectFailed: ``input`` when a slot does not fit or cannot be read, ``full``, ``transient``.
        """
        match effect:
            case Render():
                return self._render(effect)
            case AppendSlot():
                return self._append(effect)
            case AppendCamera():
                return self._append_camera(effect)
            case CloseFilm():
                return self._close(effect.booking_id, FILM, effect.fps)
            case CloseCamera():
                return self._close(effect.booking_id, effect.cam, effect.fps)
            case SettleFile():
                return self._settle(effect)
            case Prepare():
                return self._prepare(effect)
            case MakePoster():
                return make_poster(self._root, effect)
            case DeleteMedia():
                self._delete(effect)
            case _:
                raise EffectFailed("bug", f"the processor has no driver for {type(effect).__name__}")
        return None

    def close(self) -> None:
        """Let go of every film; each can be opened again."""
        for held in tuple(self._held.values()):
            with held.lock:
                _release(held)

    # --- rendering ---

    def _render(self, effect: Render) -> Rendered:
        return changed(render_slot(self._root, effect, effect.deadline_s), rung=effect.rung)

    def _prepare(self, effect: Prepare) -> Prepared:
        result = prepare(self._root, effect)
        if not effect.fix:
            return result
        with self._dressing, as_failures("prepare"):
            folder = folder_beneath(self._root, f"recordings/{effect.booking_id}/film")
            return fix_dress(folder, Dress(effect.format, result)).prepared

    # --- films ---

    def _append(self, effect: AppendSlot) -> FilmFile:
        with self._using(effect.booking_id, FILM, effect.fps) as (held, film):
            intro = effect.index == INTRO
            index = 0 if intro else effect.index + _intro_slots(film.state)
            if intro:
                self._compare_intro(effect)
            if index <= film.state.slots:
                film.append(self._root / effect.path, index=index, frames=effect.frames, intro=intro)
                self._drop_covered(effect.booking_id, film)
            return self._file(FILM, held, film)

    def _compare_intro(self, effect: AppendSlot) -> None:
        """An intro cached by other libraries would shut every slot out: it is forgotten and left out."""
        first = self._root / f"recordings/{effect.booking_id}/film/slot-000000.mp4"
        intro = self._root / effect.path
        wanted, found = read_format(first), read_format(intro)
        for what in ("sps", "pps", "width", "height", "length_bytes"):
            if getattr(wanted, what) != getattr(found, what):
                intro.unlink(missing_ok=True)
                raise FilmMismatch(f"{intro.name}: {what} differs from the first slot's")

    def _append_camera(self, effect: AppendCamera) -> FilmFile:
        with self._using(effect.booking_id, effect.cam, effect.fps) as (held, film):
            if effect.index == film.state.slots:
                film.append_timed(self._root / effect.path, index=effect.index, times_us=effect.times_us)
                held.last = Path(effect.path).stem
            return self._file(effect.cam, held, film)

    def _close(self, booking_id: str, name: str, fps: int) -> FilmFile:
        with self._using(booking_id, name, fps) as (held, film):
            film.close(wait=False)  # fsync is not on the way to the link
            return self._file(name, held, film)

    def _settle(self, effect: SettleFile) -> FilmFile:
        with self._using(effect.booking_id, effect.name, 0) as (held, film):
            film.close(wait=True)
            if effect.name == FILM:
                self._drop_covered(effect.booking_id, film)
            return self._file(effect.name, held, film)

    def _drop_covered(self, booking_id: str, film: Film) -> None:
        covered = film.covered() - _intro_slots(film.state)
        folder = folder_beneath(self._root, f"recordings/{booking_id}/film")
        for path in _slot_files(folder):
            if _number(path) < covered:
                path.unlink(missing_ok=True)

    def _delete(self, effect: DeleteMedia) -> None:
        for name in NAMES:
            held = self._holder(effect.booking_id, name)
            with held.lock:
                _release(held)
        delete_media(self._root, effect.booking_id, effect.parts)

    # --- open files ---

    def _holder(self, booking_id: str, name: str) -> _Held:
        with self._lock:
            return self._held.setdefault((booking_id, name), _Held())

    @contextmanager
    def _using(self, booking_id: str, name: str, fps: int) -> Generator[tuple[_Held, Film]]:
        """The open film, for one thread at a time; its errors become failures of the effect."""
        held = self._holder(booking_id, name)
        with held.lock, as_failures(f"{name} of {booking_id}"):
            try:
                yield held, self._open(held, booking_id, name, fps)
            except (FilmMismatch, SlotUnreadable, PathRefused) as error:
                raise EffectFailed("input", str(error)) from error
            except FilmBroken as error:
                _release(held)
                raise EffectFailed("full" if _is_full(error) else "transient", str(error)) from error
            except ValueError as error:
                raise EffectFailed("input", str(error)) from error

    def _open(self, held: _Held, booking_id: str, name: str, fps: int) -> Film:
        """A film that was begun keeps its rate. Raises as `Film.open`."""
        if held.film is None:
            folder = folder_beneath(self._root, f"recordings/{booking_id}/film")
            book = load_ledger(folder / f"{name}.ledger")
            film = Film.open(folder, name=name, fps=book.head.fps if book.head else fps)
            slots = film.state.slots
            held.film, held.last = film, Path(book.slots[slots - 1].path).stem if slots else None
        return held.film

    def _file(self, name: str, held: _Held, film: Film) -> FilmFile:
        state = film.state
        return FilmFile(
            path=self._relative(film.path),
            bytes=state.bytes,
            bytes_durable=state.bytes_durable,
            frames=state.frames,
            slots=state.slots - (_intro_slots(state) if name == FILM else 0),
            intro_frames=state.intro_frames,
            complete=state.complete,
            sha256=state.sha256,
            duration_s=round(state.duration_s, 6),
            generation=state.generation,
            last=held.last if name != FILM else None,
        )

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _release(held: _Held) -> None:
    if held.film is not None:
        held.film.release()
    held.film = None


def _is_full(error: BaseException | None) -> bool:
    """Whether there is a full disk somewhere behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def _intro_slots(state: FilmState) -> int:
    return 1 if state.intro_frames else 0


def _slot_files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.glob("slot-??????.mp4") if path.stem[5:].isdigit()))


def _number(path: Path) -> int:
    return int(path.stem[5:])


def _set_aside(folder: Path, name: str) -> None:
    for path in (folder / f"{name}.ledger", folder / f"{name}.mp4"):
        if path.exists():
            path.replace(path.with_name(f"set-aside.{path.name}"))


def _whole_file(path: str, content: bytes) -> FilmFile:
    """A small file that is written at once."""
    return FilmFile(
        path=path,
        bytes=len(content),
        bytes_durable=len(content),
        frames=1,
        slots=0,
        intro_frames=0,
        complete=True,
        sha256=composite_sha256([sha256_b64(content)]),
        duration_s=0.0,
        generation=0,
    )
