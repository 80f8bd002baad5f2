"""The file object the muxer writes through: it hashes, and can repeat the past without writing it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from edge_agent.drivers.film.parts import PART_BYTES, PartHasher

HEAD_BYTES = 64
PATCH_BYTES = 16
"""Closing may change this many bytes, all of them within the first `HEAD_BYTES`."""


class Target(Protocol):
    """Where a film's bytes go."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to `size` bytes; shorter only at the end."""
        ...

    def pwrite(self, data: bytes, offset: int) -> None:
        """Write all of `data` or raise OSError."""
        ...

    def truncate(self, size: int) -> None:
        """Set the size in bytes."""
        ...

    def sync(self) -> None:
        """Return when everything written is durable."""
        ...

    def close(self) -> None:
        """Give the resources back; idempotent."""
        ...


class FileTarget:
    """A film on disk, created if it is not there."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def pread(self, size: int, offset: int) -> bytes:
        """See `Target.pread`."""
        return os.pread(self._fd, size, offset)

    def pwrite(self, data: bytes, offset: int) -> None:
        """See `Target.pwrite`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def truncate(self, size: int) -> None:
        """See `Target.truncate`."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """See `Target.sync`."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """See `Target.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FilmSink:
    """File object for PyAV.

    Writes below `keep_below` are dropped, because the film has those bytes already. While it is not
    `armed` all are dropped: a muxer that is thrown away writes its index, and that must never reach the film.
    """

    def __init__(self, target: Target, *, keep_below: int, part_digests: tuple[bytes, ...] = ()) -> None:
        self._target = target
        self._keep_below = keep_below
        self._offset = 0
        self._end = 0
        self.armed = False
        """Only while this is true do writes reach the film."""
        self._patched = False
        self.hasher = PartHasher()
        self.hasher.seed(part_digests, keep_below, target.pread)

    @property
    def end_bytes(self) -> int:
        """End of what the muxer has handed over."""
        return self._end

    def writable(self) -> bool:
        """Asked by PyAV."""
        return True

    def seekable(self) -> bool:
        """Asked by PyAV; without it the muxer could not close the film."""
        return True

    def tell(self) -> int:
        """Offset of the next write."""
        return self._offset

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only absolute positions; only closing uses it."""
        if whence != os.SEEK_SET:
            raise OSError("the film's muxer may only seek to absolute offsets")
        self._offset = offset
        return offset

    def write(self, data: bytes) -> int:
        """Take the muxer's bytes. Raises OSError when the disk does, or if old bytes would be touched."""
        if not self.armed:
            return len(data)
        if self._offset < self._end:
            self._patch(data)
        else:
            self._grow(data)
        self._offset += len(data)
        return len(data)

    def part_digests(self) -> tuple[bytes, ...]:
        """Digests of all parts as the film is now; part 1 is read again if closing changed it."""
        digests = self.hasher.all_digests()
        if not self._patched:
            return digests
        first = PartHasher()
        first.seed((), min(PART_BYTES, self._end), self._target.pread)
        return (first.all_digests()[0], *digests[1:])

    def _grow(self, data: bytes) -> None:
        new = data[max(0, self._keep_below - self._offset) :]
        if self._offset < HEAD_BYTES:
            self._heal(data[: len(data) - len(new)])
        if new:
            at = self._offset + len(data) - len(new)
            self._target.pwrite(new, at)
            self.hasher.update(new)
        self._end = self._offset + len(data)

    def _heal(self, head: bytes) -> None:
        """A crash while closing may have left the head as closing makes it: back to what it was."""
        if head and self._target.pread(len(head), self._offset) != head:
            self._target.pwrite(head, self._offset)

    def _patch(self, data: bytes) -> None:
        if self._patched or self._offset + len(data) > HEAD_BYTES or len(data) > PATCH_BYTES:
            raise OSError(f"the muxer would change {len(data)} bytes at {self._offset}: a film only grows")
        self._patched = True
        self._target.pwrite(data, self._offset)
