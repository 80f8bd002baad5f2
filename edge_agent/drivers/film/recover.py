"""Taking a film up again after a crash, and making it again under other libraries."""

from __future__ import annotations

import dataclasses
import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.drivers.film import ledger as ledgers
from edge_agent.drivers.film.errors import ReplayMismatch, SlotUnreadable
from edge_agent.drivers.film.ledger import Book, Head, SlotLine
from edge_agent.drivers.film.parts import PART_BYTES
from edge_agent.drivers.film.probe import packets_sha256, read_slot
from edge_agent.drivers.film.sink import FileTarget, FilmSink, Target
from edge_agent.drivers.film.writer import LIBRARIES, FilmWriter, frames_of


@dataclass(frozen=True)
class Paths:
    """The files of one film."""

    folder: Path
    name: str

    @property
    def film(self) -> Path:
        """The growing MP4."""
        return self.folder / f"{self.name}.mp4"

    @property
    def ledger(self) -> Path:
        """The slot ledger."""
        return self.folder / f"{self.name}.ledger"

    def remade(self, generation: int) -> Path:
        """A film that is being made again, until the ledger that describes it is in place."""
        return self.folder / f"{self.name}.mp4.{generation}"


@dataclass
class Running:
    """A film that can be appended to."""

    book: Book
    target: Target
    writer: FilmWriter
    kept_bytes: int
    """The film is whole up to here, which may be past what the muxer has repeated."""
    restarted: bool


def settle(paths: Paths, book: Book) -> None:
    """Finish or forget a remake that a crash interrupted. Renames and deletes files."""
    if book.head is not None and paths.remade(book.head.generation).exists():
        paths.remade(book.head.generation).replace(paths.film)
        ledgers.sync_folder(paths.folder)
    for stale in paths.folder.glob(f"{paths.name}.mp4.[0-9]*"):
        stale.unlink()


def take_up(paths: Paths, book: Book) -> Running:
    """Bring film and muxer to where the ledger ends.

    Slots whose media is neither in the film nor in a readable slot file leave the ledger, so that they are
    asked for again. Reads of the film at most one part, unless the libraries are others: then it is made
    again from its own packets. Raises OSError.
    """
    size = paths.film.stat().st_size if paths.film.exists() else 0
    if _head(book).libraries != LIBRARIES:
        return _remake(paths, book, size)
    try:
        return _resume(paths, book, size)
    except ReplayMismatch:
        return _remake(paths, book, size)


def load_packets(folder: Path, slot: SlotLine) -> tuple[bytes, ...]:
    """A slot's frames from its file, checked against the ledger. Raises SlotUnreadable."""
    packets = read_slot(folder / slot.path).packets
    if slot.picks is not None:
        packets = tuple(packets[k] for k in slot.picks if k < len(packets))
    if packets_sha256(packets) != slot.sha256 or tuple(map(len, packets)) != slot.sizes:
        raise SlotUnreadable(f"{slot.path}: not the file that the ledger knows")
    return packets


def frames_at(boundaries: list[tuple[int, int]], offset: int) -> tuple[int, int]:
    """The last fragment boundary at or below a film offset: frames before it, and its own offset."""
    position = bisect_right(boundaries, offset, key=lambda boundary: boundary[1])
    return boundaries[position - 1] if position else (0, 0)


def _resume(paths: Paths, book: Book, size: int) -> Running:
    head = _head(book)
    keep_frames, keep_bytes = _cut(paths.folder, book, min(size, book.durable_bytes))
    target = FileTarget(paths.film)
    digests = tuple(book.part_digests[: keep_bytes // PART_BYTES])
    sink = FilmSink(target, keep_below=keep_bytes, part_digests=digests)
    writer = FilmWriter(sink, head.init, fps=head.fps, timed=head.timed)
    try:
        kept = _replay(paths.folder, book, writer, keep_frames)
    except ReplayMismatch:
        writer.discard()
        target.close()
        raise
    target.truncate(max(keep_bytes, sink.end_bytes))
    lost = kept < len(book.slots)
    restarted = lost and keep_bytes < book.durable_bytes
    if lost or keep_bytes < book.durable_bytes or book.closed:
        head = dataclasses.replace(head, generation=head.generation + restarted)
        book = Book(head, book.slots[:kept], min(keep_bytes, book.durable_bytes), list(digests))
        ledgers.replace(paths.ledger, book)
    return Running(book, target, writer, max(keep_bytes, sink.end_bytes), restarted)


def _cut(folder: Path, book: Book, limit: int) -> tuple[int, int]:
    """Frames and bytes of the film that stay: whole fragments, no half of a slot that cannot be completed."""
    boundaries = book.boundaries()
    keep = frames_at(boundaries, limit)
    start = 0
    for slot in book.slots:
        if start < keep[0] < start + len(slot.sizes):
            try:
                load_packets(folder, slot)
            except SlotUnreadable:
                return max((boundary for boundary in boundaries if boundary[0] <= start), default=(0, 0))
        start += len(slot.sizes)
    return keep


def _replay(folder: Path, book: Book, writer: FilmWriter, keep_frames: int) -> int:
    """Bring the muxer to the ledger's end, with dummies for what the film has; how many slots that were."""
    head = _head(book)
    if writer.head_bytes != head.head_bytes:
        raise ReplayMismatch("the film's head has another size")
    for slot in book.slots:
        first = writer.frames
        packets: tuple[bytes, ...] | None = None
        if first + len(slot.sizes) > keep_frames:
            try:
                packets = load_packets(folder, slot)
            except SlotUnreadable:
                return slot.index
        offsets: list[int] = []
        frames = frames_of(slot.sizes, slot.keys, slot.times_us, first=first, fps=head.fps)
        for k, dummy in enumerate(frames):
            real = packets is not None and first + k >= keep_frames
            frame = dummy._replace(data=packets[k]) if real and packets else dummy
            offset = writer.mux(frame)
            if offset is not None:
                offsets.append(offset)
        if tuple(offsets) != slot.offsets:
            raise ReplayMismatch(f"slot {slot.index}: the muxer's offsets are not the ledger's")
    return len(book.slots)


def _remake(paths: Paths, book: Book, size: int) -> Running:
    """Mux the film's own packets into a fresh file, the rest from slot files; the ledger's rename commits."""
    old_head = _head(book)
    generation = old_head.generation + 1
    paths.remade(generation).unlink(missing_ok=True)
    old, target = FileTarget(paths.film), FileTarget(paths.remade(generation))
    writer = FilmWriter(FilmSink(target, keep_below=0), old_head.init, fps=old_head.fps, timed=old_head.timed)
    head = dataclasses.replace(
        old_head, generation=generation, libraries=LIBRARIES, head_bytes=writer.head_bytes
    )
    new = Book(head=head)
    source = _film_packets(old, book, min(size, book.durable_bytes))
    for slot in book.slots:
        packets = tuple(data for _, data in zip(slot.sizes, source, strict=False))
        if packets_sha256(packets) != slot.sha256:
            try:
                packets = load_packets(paths.folder, slot)
            except SlotUnreadable:
                break
        new.slots.append(_mux_slot(writer, slot, packets, head.fps))
    old.close()
    target.sync()
    new.durable_bytes = writer.sink.end_bytes
    new.part_digests = list(writer.sink.hasher.digests)
    ledgers.replace(paths.ledger, new)
    paths.remade(generation).replace(paths.film)
    ledgers.sync_folder(paths.folder)
    return Running(new, target, writer, writer.sink.end_bytes, restarted=True)


def _mux_slot(writer: FilmWriter, slot: SlotLine, packets: tuple[bytes, ...], fps: int) -> SlotLine:
    frames = frames_of(slot.sizes, slot.keys, slot.times_us, first=writer.frames, fps=fps)
    ends = [writer.mux(frame._replace(data=data)) for frame, data in zip(frames, packets, strict=True)]
    return dataclasses.replace(slot, offsets=tuple(end for end in ends if end is not None))


def _film_packets(film: Target, book: Book, limit: int) -> Iterator[bytes]:
    """The packets of the film's whole fragments, in order: each fragment's data are its last bytes."""
    sizes = [size for slot in book.slots for size in slot.sizes]
    boundaries = [boundary for boundary in book.boundaries() if boundary[1] <= limit]
    for (first, _), (end, offset) in itertools.pairwise(boundaries):
        total = sum(sizes[first:end])
        data = _read_exactly(film, total, offset - total)
        position = 0
        for size in sizes[first:end]:
            yield data[position : position + size]
            position += size


def _read_exactly(film: Target, size: int, offset: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = film.pread(size - len(data), offset + len(data))
        if not piece:
            raise OSError(os.strerror(5), "the film is shorter than its own size")
        data += piece
    return data


def _head(book: Book) -> Head:
    if book.head is None:
        raise ValueError("a ledger without a head describes no film")
    return book.head
