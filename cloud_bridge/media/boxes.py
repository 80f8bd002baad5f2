"""The boxes of an MP4 or MOV file: whole, with an index, and leading nowhere else. Decodes nothing.

Standard library only: the worker runs it.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from cloud_bridge.media.bounds import Refused

_MOST_BOXES = 20_000
_WAY = (b"moov", b"trak", b"mdia", b"minf", b"dinf")
_PARTS = (b"ftyp", b"moov", b"moof", b"mdat")
_SELF_CONTAINED = 1


def check_boxes(file: BinaryIO, size_bytes: int) -> None:
    """Walk a file's boxes.

    Raises:
        Refused: it is cut off, has no index, or says that its pictures are in another place.
    """
    names: set[bytes] = set()
    for name, start, end in _boxes(file, 0, size_bytes):
        if end > size_bytes:
            if name in _PARTS:
                raise Refused("content", "This film is cut off: its end is missing. Send it again.")
            break  # something a phone hung on behind the film
        names.add(name)
        if name == b"moov":
            _check_references(file, start, end, 1)
    if b"moov" not in names:
        raise Refused("content", "This film is cut off or was never finished: it has no index.")


def _check_references(file: BinaryIO, start: int, end: int, depth: int) -> None:
    """Below ``moov``: every track's data must be in this file."""
    for name, inner, until in _boxes(file, start, end):
        if until > end:
            raise Refused("content", "This film is damaged: its index contradicts itself.")
        if depth < len(_WAY) and name == _WAY[depth]:
            _check_references(file, inner, until, depth + 1)
        elif depth == len(_WAY) and name == b"dref":
            for _, entry, _ in _boxes(file, inner + 8, until):
                file.seek(entry)
                flags = file.read(4)
                if len(flags) < 4 or not flags[3] & _SELF_CONTAINED:
                    raise Refused(
                        "content",
                        "This film keeps its pictures in another file: send one that has them in itself.",
                    )


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, where its content begins, and its end, which may lie behind ``end``."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        content = at + 8
        if length == 1:
            wide = file.read(8)
            length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0
            content += 8
        elif length == 0:
            length = end - at
        if length < content - at:
            raise Refused("content", "This film is damaged: its boxes contradict each other.")
        yield name, content, at + length
        at += length
    raise Refused("content", "This film is damaged: it has too many boxes.")
