"""One growing MP4 per recording: slots are appended, nothing that was written changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from av.error import FFmpegError

from edge_agent.drivers.film import ledger as ledgers
from edge_agent.drivers.film.errors import FilmBroken, FilmMismatch, ReplayMismatch, SlotUnreadable
from edge_agent.drivers.film.ledger import Book, Closed, Head, Ledger, SlotLine
from edge_agent.drivers.film.parts import PART_BYTES, PartHasher, composite
from edge_agent.drivers.film.probe import FilmFormat, SlotMedia, packets_sha256, read_slot
from edge_agent.drivers.film.recover import Paths, frames_at, settle, take_up
from edge_agent.drivers.film.sink import FileTarget, FilmSink, Target
from edge_agent.drivers.film.syncer import Syncer
from edge_agent.drivers.film.writer import LIBRARIES, FilmWriter, frames_of, pick_frames

_US = 1_000_000


@dataclass(frozen=True)
class FilmState:
    """What a film is at one moment."""

    bytes: int
    """Whole fragments handed to the operating system: may be sent."""
    bytes_durable: int
    frames: int
    slots: int
    """Files appended, an intro included: the index of the next one."""
    intro_frames: int
    complete: bool
    sha256: str | None
    """S3's composite over 5 MiB parts, as S3 writes it (base64, `-`, parts); once complete."""
    sha256_hex: str | None
    """The same digest in hex."""
    duration_s: float
    restarted: bool
    """This opening made other bytes (other libraries, or durable slots lost): the upload starts again."""
    generation: int
    """Rises by one with each restart, and is kept: so a restart that nobody heard of can be noticed."""


_EMPTY = FilmState(
    bytes=0,
    bytes_durable=0,
    frames=0,
    slots=0,
    intro_frames=0,
    complete=False,
    sha256=None,
    sha256_hex=None,
    duration_s=0.0,
    restarted=False,
    generation=0,
)


class Film:
    """One film, for one thread of one process; only `state` and `covered` may be asked from any thread."""

    def __init__(self, paths: Paths, fps: int, fsync_every_s: float) -> None:
        """Use `open`."""
        self._paths = paths
        self._fps = fps
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._syncer = Syncer(fsync_every_s, self._sync)
        self._ledger: Ledger | None = None
        self._target: Target | None = None
        self._writer: FilmWriter | None = None
        self._head: Head | None = None
        self._broken: Exception | None = None
        self._pending_close: Closed | None = None
        self._boundaries: list[tuple[int, int]] = []
        self._slot_ends: list[int] = []
        self._hasher = PartHasher()
        self._digests_recorded = 0
        self._first_us: int | None = None
        self._last_us = -1
        self._state = _EMPTY

    @classmethod
    def open(cls, folder: Path, *, name: str = "film", fps: int, fsync_every_s: float = 2.0) -> Film:
        """Create `{name}.mp4` and `{name}.ledger` in `folder`, or take them up again after whatever happened.

        Reads the ledger, the slot files that the film does not yet hold durably, and of the film at most one
        part (all of it if the libraries are others: `FilmState.restarted`). Meanwhile readers of the film see
        the same bytes as before. About 2.5 s of CPU for two hours of film.

        Raises:
            ValueError: the film was begun with another `fps`.
            OSError: the disk.
        """
        folder.mkdir(parents=True, exist_ok=True)
        film = cls(Paths(folder, name), fps, fsync_every_s)
        book = ledgers.load(film._paths.ledger)
        settle(film._paths, book)
        if book.head is None:
            return film
        if book.head.fps != fps:
            raise ValueError(f"the film has {book.head.fps} frames per second, not {fps}")
        path = film._paths.film
        if book.closed is not None and path.exists() and path.stat().st_size == book.closed.bytes:
            film._adopt(book, book.closed.bytes)
            film._set_complete(book.closed, durable=True)
        else:
            running = take_up(film._paths, book)
            film._target, film._writer = running.target, running.writer
            film._hasher = running.writer.sink.hasher
            film._adopt(running.book, running.kept_bytes, restarted=running.restarted)
            film._ledger = Ledger(film._paths.ledger)
            film._syncer.kick()
        return film

    @property
    def state(self) -> FilmState:
        """The film as it is; no I/O."""
        with self._lock:
            return self._state

    @property
    def path(self) -> Path:
        """The film's file."""
        return self._paths.film

    def append(self, path: Path, *, index: int, frames: int, intro: bool = False) -> FilmState:
        """Append a slot file by stream copy; frame k of the film is shown at exactly k / fps.

        The slot file must be durable, and must stay until `covered` says otherwise. On return the slot is in
        the ledger (fsync); a helper thread makes the film durable later. An index again changes nothing.

        Raises:
            ValueError: `index` leaves a gap, or the film is complete.
            FilmMismatch: SPS, PPS, size or rate are not the film's; nothing has changed.
            SlotUnreadable: no whole H.264 MP4, or not `frames` frames; nothing has changed.
            FilmBroken: the disk refused; release the film and open it again.
        """
        if not self._expects(index):
            return self.state
        media = read_slot(path)
        if media.format.frames != frames:
            raise SlotUnreadable(f"{path.name}: {media.format.frames} frames instead of {frames}")
        if media.format.fps != self._fps:
            raise FilmMismatch(f"{path.name}: {media.format.fps} frames per second instead of {self._fps}")
        self._check_format(media.format, path.name, timed=False)
        return self._write(media, self._line(media, path, index, intro=intro))

    def append_timed(self, path: Path, *, index: int, times_us: Sequence[int | None]) -> FilmState:
        """Append a camera's file whose frames have their own times, in microseconds from the film's start.

        A frame whose time is None or negative is left out, and with it all up to the next key frame: they
        could not be decoded. Otherwise as `append`; ValueError also if times do not rise.
        In the closed film the first kept frame is at 0, all others keep their distance to it.
        """
        if not self._expects(index):
            return self.state
        media = read_slot(path)
        if media.format.frames != len(times_us):
            raise SlotUnreadable(f"{path.name}: {media.format.frames} frames, {len(times_us)} times")
        self._check_format(media.format, path.name, timed=True)
        picked = pick_frames(times_us, media.format.keys)
        picks, times = tuple(k for k, _ in picked), tuple(time for _, time in picked)
        if any(b <= a for a, b in zip((self._last_us, *times), times, strict=False)):
            raise ValueError(f"{path.name}: frame times do not rise")
        media = media.pick(picks)
        line = self._line(media, path, index, intro=False)
        return self._write(media, replace(line, times_us=times, picks=picks))

    def close(self, *, wait: bool = True) -> FilmState:
        """Write the last fragment and the index, and change at most 16 bytes of the first 64.

        With `wait` the film is durable on return; else the helper thread sees to that, and a crash before it
        has leaves a film that only has to be opened and closed again. Idempotent.

        Raises:
            ValueError: nothing was appended.
            FilmBroken: as `append`.
        """
        if not self.state.complete:
            self._check_usable()
            writer = self._writer
            if writer is None or writer.frames == 0:
                raise ValueError("a film without frames cannot be closed")
            try:
                size = writer.finish()
                closed = Closed(size, *composite(writer.sink.part_digests()))
            except (OSError, FFmpegError) as error:
                raise self._break(error) from error
            self._writer = None
            self._pending_close = closed
            self._set_complete(closed, durable=False)
        if wait:
            try:
                self._sync()
            except OSError as error:
                raise self._break(error) from error
        else:
            self._syncer.kick()
        return self.state

    def covered(self) -> int:
        """How many leading slots lie wholly within `bytes_durable`: their files may be deleted. No I/O."""
        with self._lock:
            if self._state.complete and self._state.bytes_durable == self._state.bytes:
                return self._state.slots
            frames, _ = frames_at(self._boundaries, self._state.bytes_durable)
            return sum(1 for end in self._slot_ends if end <= frames)

    def release(self) -> None:
        """Let go of files and thread without closing the film; it can be opened again. Idempotent."""
        self._syncer.stop()
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
        for handle in (self._target, self._ledger):
            if handle is not None:
                handle.close()
        self._broken = self._broken or ValueError("the film has been released")

    def _expects(self, index: int) -> bool:
        """False if the index is in the film already."""
        state = self.state
        if 0 <= index < state.slots:
            return False
        self._check_usable()
        if state.complete or index != state.slots:
            raise ValueError(f"slot {index} cannot follow {state.slots} slots (complete: {state.complete})")
        return True

    def _check_usable(self) -> None:
        try:
            self._syncer.check()
        except OSError as error:
            raise self._break(error) from error
        if self._broken is not None:
            raise FilmBroken(str(self._broken)) from self._broken

    def _break(self, error: Exception) -> FilmBroken:
        self._broken = error
        return FilmBroken(f"{self._paths.film.name}: {error}")

    def _check_format(self, found: FilmFormat, name: str, *, timed: bool) -> None:
        head = self._head
        if head is None:
            return
        if head.timed != timed:
            raise ValueError("a film has either a constant rate or frame times of its own")
        for what in ("sps", "pps", "width", "height", "length_bytes"):
            if getattr(found, what) != getattr(head, what):
                raise FilmMismatch(f"{name}: {what} differs from the film's")

    def _line(self, media: SlotMedia, path: Path, index: int, *, intro: bool) -> SlotLine:
        return SlotLine(
            index=index,
            path=os.path.relpath(path.absolute(), self._paths.folder.absolute()),
            intro=intro,
            sha256=packets_sha256(media.packets),
            sizes=media.format.sizes,
            keys=tuple(k for k, key in enumerate(media.format.keys) if key),
            times_us=None,
            picks=None,
            offsets=(),
        )

    def _write(self, media: SlotMedia, line: SlotLine) -> FilmState:
        try:
            writer, ledger = self._begin(media, timed=line.times_us is not None)
            first = writer.frames
            offsets: list[tuple[int, int]] = []
            plain = frames_of(line.sizes, line.keys, line.times_us, first=first, fps=self._fps)
            for k, frame in enumerate(plain):
                offset = writer.mux(frame._replace(data=media.packets[k]))
                if offset is not None:
                    offsets.append((first + k, offset))
            line = replace(line, offsets=tuple(offset for _, offset in offsets))
            ledger.add(line.to_json())
        except (OSError, FFmpegError, ReplayMismatch) as error:
            raise self._break(error) from error
        with self._lock:
            known = self._boundaries[-1][1]
            self._boundaries += [boundary for boundary in offsets if boundary[1] > known]
            self._count(line)
            self._state = replace(self._state, bytes=max(self._state.bytes, self._boundaries[-1][1]))
        self._syncer.kick()
        return self.state

    def _begin(self, media: SlotMedia, *, timed: bool) -> tuple[FilmWriter, Ledger]:
        """The running writer, or a new film in the format of this slot."""
        if self._writer is not None and self._ledger is not None:
            return self._writer, self._ledger
        self._target = FileTarget(self._paths.film)
        self._target.truncate(0)
        sink = FilmSink(self._target, keep_below=0)
        self._writer = FilmWriter(sink, media.init, fps=self._fps, timed=timed)
        self._hasher = sink.hasher
        found = media.format
        self._head = Head(
            libraries=LIBRARIES,
            generation=0,
            fps=self._fps,
            timed=timed,
            width=found.width,
            height=found.height,
            sps=found.sps,
            pps=found.pps,
            length_bytes=found.length_bytes,
            init=media.init,
            head_bytes=self._writer.head_bytes,
        )
        self._ledger = Ledger(self._paths.ledger)
        self._ledger.add(self._head.to_json())
        ledgers.sync_folder(self._paths.folder)
        with self._lock:
            self._boundaries = [(0, self._head.head_bytes)]
        return self._writer, self._ledger

    def _count(self, line: SlotLine) -> None:
        """Take a slot into the account."""
        count = len(line.sizes)
        frames = self._state.frames + count
        if line.times_us:
            self._first_us = line.times_us[0] if self._first_us is None else self._first_us
            self._last_us = line.times_us[-1]
        duration_s = frames / self._fps
        if line.times_us is not None:
            duration_s = ((self._last_us - (self._first_us or 0)) / _US + 1 / self._fps) if frames else 0.0
        self._slot_ends.append(frames)
        self._state = replace(
            self._state,
            frames=frames,
            slots=self._state.slots + 1,
            intro_frames=self._state.intro_frames + (count if line.intro else 0),
            duration_s=duration_s,
        )

    def _adopt(self, book: Book, size: int, *, restarted: bool = False) -> None:
        """Take over what the ledger says; `size` is the film's whole fragments."""
        self._head = book.head
        for line in book.slots:
            self._count(line)
        self._boundaries = book.boundaries()
        if self._boundaries[-1][1] < size:
            # The film holds the fragment before a slot that left the ledger.
            self._boundaries.append((self._state.frames, size))
        self._digests_recorded = len(book.part_digests)
        self._state = replace(
            self._state,
            bytes=size,
            bytes_durable=min(size, book.durable_bytes),
            restarted=restarted,
            generation=book.head.generation if book.head else 0,
        )

    def _set_complete(self, closed: Closed, *, durable: bool) -> None:
        with self._lock:
            self._state = replace(
                self._state,
                bytes=closed.bytes,
                bytes_durable=closed.bytes if durable else self._state.bytes_durable,
                complete=True,
                sha256=closed.sha256,
                sha256_hex=closed.sha256_hex,
            )

    def _sync(self) -> None:
        """Make durable what is there, then record it: an opening trusts only what is recorded."""
        with self._sync_lock:
            state = self.state
            if self._target is None or self._ledger is None or state.bytes == state.bytes_durable:
                return
            self._target.sync()
            if state.complete and self._pending_close is not None:
                self._ledger.add(self._pending_close.to_json())
            else:
                digests = self._hasher.digests[self._digests_recorded : state.bytes // PART_BYTES]
                self._ledger.add_durable(state.bytes, digests)
                self._digests_recorded += len(digests)
            with self._lock:
                self._state = replace(self._state, bytes_durable=state.bytes)
