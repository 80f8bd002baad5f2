"""The slot ledger: an append-only file of JSON lines beside the film.

First a head, then one line per slot, and between them lines that say how much of the film is durable (with
the digests of its parts, so that nothing has to be read again); at the end one that says the film is closed.
A line counts once it is whole, so a torn last line never happened.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Head:
    """What the whole film is made with; `init` is an MP4 without frames that describes its stream."""

    libraries: str
    generation: int
    fps: int
    timed: bool
    width: int
    height: int
    sps: bytes
    pps: bytes
    length_bytes: int
    init: bytes = field(repr=False)
    head_bytes: int
    """Offset in the film after the muxer's header: the first fragment starts here."""

    def to_json(self) -> dict[str, object]:
        """The line's object."""
        plain = {key: value for key, value in self.__dict__.items() if not isinstance(value, bytes)}
        return {"film": 1, **plain, **{key: _b64(getattr(self, key)) for key in ("sps", "pps", "init")}}


@dataclass(frozen=True)
class SlotLine:
    """One appended slot: size in bytes per frame, indices of its key frames."""

    index: int
    path: str
    """Of the slot file, relative to the ledger's folder."""
    intro: bool
    sha256: str
    sizes: tuple[int, ...]
    keys: tuple[int, ...]
    times_us: tuple[int, ...] | None
    """Of each frame, in a timed film."""
    picks: tuple[int, ...] | None
    """Which packets of the file these frames are; None means all."""
    offsets: tuple[int, ...]
    """Film offset of each fragment that a key frame of this slot ended, in order."""

    def to_json(self) -> dict[str, object]:
        """The line's object."""
        return {"slot": self.index, **{key: value for key, value in self.__dict__.items() if key != "index"}}


@dataclass(frozen=True)
class Closed:
    """The film is complete: its size and composite hash."""

    bytes: int
    sha256: str
    sha256_hex: str

    def to_json(self) -> dict[str, object]:
        """The line's object."""
        return {"closed": self.bytes, "sha256": self.sha256, "sha256_hex": self.sha256_hex}


@dataclass
class Book:
    """Everything a ledger says."""

    head: Head | None = None
    slots: list[SlotLine] = field(default_factory=list[SlotLine])
    durable_bytes: int = 0
    part_digests: list[bytes] = field(default_factory=list[bytes])
    closed: Closed | None = None

    def boundaries(self, slots: int | None = None) -> list[tuple[int, int]]:
        """Frames before and film offset at each fragment boundary that the first `slots` slots ended."""
        if self.head is None:
            return []
        found, frames = [(0, self.head.head_bytes)], 0
        for slot in self.slots[:slots]:
            # The film's first key frame ends no fragment.
            ending = [key for key in slot.keys if frames + key > 0]
            found += [(frames + key, offset) for key, offset in zip(ending, slot.offsets, strict=True)]
            frames += len(slot.sizes)
        return found


class Ledger:
    """The open ledger file. Safe to use from two threads."""

    def __init__(self, path: Path) -> None:
        """Open or create; folder and file are made durable by the first line."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()

    def add(self, *lines: dict[str, object], sync: bool = True) -> None:
        """Append lines in one write; with `sync` they are durable on return. Raises OSError."""
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]
            if sync:
                os.fdatasync(self._fd)

    def add_durable(self, durable_bytes: int, new_digests: Iterable[bytes]) -> None:
        """Record that the film is durable up to here; `new_digests` follow those of earlier such lines."""
        self.add(durable_line(durable_bytes, new_digests))

    def close(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def durable_line(durable_bytes: int, digests: Iterable[bytes]) -> dict[str, object]:
    """The object of a line that says how much is durable."""
    return {"durable": durable_bytes, "parts": [digest.hex() for digest in digests]}


def load(path: Path) -> Book:
    """Read a ledger and cut off a torn end, also of the file; an absent file is an empty book."""
    book = Book()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return book
    good = 0
    for line in data.splitlines(keepends=True):
        if not (line.endswith(b"\n") and _take(book, line)):
            break
        good += len(line)
    if good < len(data):
        with path.open("r+b") as file:
            file.truncate(good)
            os.fsync(file.fileno())
    return book


def replace(path: Path, book: Book) -> None:
    """Write a whole ledger in place of the one that is there, durably; one without a head is not written."""
    if book.head is None:
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    ledger = Ledger(temporary)
    lines = [book.head.to_json(), *(slot.to_json() for slot in book.slots)]
    lines.append(durable_line(book.durable_bytes, book.part_digests))
    ledger.add(*lines)
    ledger.close()
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _take(book: Book, line: bytes) -> bool:
    """Add one line to the book; False if it is no whole line of a ledger."""
    try:
        raw = json.loads(line)
        if "film" in raw:
            book.head = _head(raw)
        elif "slot" in raw and raw["slot"] == len(book.slots):
            book.slots.append(_slot(raw))
        elif "durable" in raw:
            book.part_digests += [bytes.fromhex(digest) for digest in raw["parts"]]
            book.durable_bytes = int(raw["durable"])
        elif "closed" in raw:
            book.closed = Closed(int(raw["closed"]), str(raw["sha256"]), str(raw["sha256_hex"]))
        else:
            return False
    except (ValueError, KeyError, TypeError):
        return False
    return book.head is not None


def _head(raw: dict[str, str]) -> Head:
    return Head(
        libraries=raw["libraries"],
        generation=int(raw["generation"]),
        fps=int(raw["fps"]),
        timed=bool(raw["timed"]),
        width=int(raw["width"]),
        height=int(raw["height"]),
        sps=base64.b64decode(raw["sps"]),
        pps=base64.b64decode(raw["pps"]),
        length_bytes=int(raw["length_bytes"]),
        init=base64.b64decode(raw["init"]),
        head_bytes=int(raw["head_bytes"]),
    )


def _slot(raw: dict[str, list[int] | None]) -> SlotLine:
    times, picks = raw["times_us"], raw["picks"]
    return SlotLine(
        index=int(str(raw["slot"])),
        path=str(raw["path"]),
        intro=bool(raw["intro"]),
        sha256=str(raw["sha256"]),
        sizes=tuple(raw["sizes"] or ()),
        keys=tuple(raw["keys"] or ()),
        times_us=None if times is None else tuple(times),
        picks=None if picks is None else tuple(picks),
        offsets=tuple(raw["offsets"] or ()),
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
