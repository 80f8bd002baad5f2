"""SHA-256 of each part of a growing file, and S3's composite of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence

PART_BYTES = 5 * 1024 * 1024
_READ_BYTES = 1 << 20


class PartHasher:
    """Digests of equal parts, fed in order; no I/O."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.offset_bytes = 0
        self._open = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Take the bytes that follow `offset_bytes`."""
        view = memoryview(data)
        while view:
            room = PART_BYTES - self.offset_bytes % PART_BYTES
            piece, view = view[:room], view[room:]
            self._open.update(piece)
            self.offset_bytes += len(piece)
            if len(piece) == room:
                self.digests.append(self._open.digest())
                self._open = hashlib.sha256()

    def seed(self, digests: Sequence[bytes], upto_bytes: int, pread: Callable[[int, int], bytes]) -> None:
        """Go on at `upto_bytes`: takes over known digests, reads the rest by `pread(size, offset)`."""
        self.digests = list(digests[: upto_bytes // PART_BYTES])
        self.offset_bytes = len(self.digests) * PART_BYTES
        self._open = hashlib.sha256()
        while self.offset_bytes < upto_bytes:
            data = pread(min(_READ_BYTES, upto_bytes - self.offset_bytes), self.offset_bytes)
            if not data:
                raise OSError("the film is shorter than its own size")
            self.update(data)

    def all_digests(self) -> tuple[bytes, ...]:
        """Digests of all parts, the last one included when it is shorter."""
        if self.offset_bytes % PART_BYTES or not self.digests:
            return (*self.digests, self._open.digest())
        return tuple(self.digests)


def composite(digests: Sequence[bytes]) -> tuple[str, str]:
    """S3's composite checksum as S3 writes it (base64, `-`, number of parts), and the same digest in hex."""
    whole = hashlib.sha256(b"".join(digests))
    return f"{base64.b64encode(whole.digest()).decode()}-{len(digests)}", whole.hexdigest()
