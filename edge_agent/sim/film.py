"""The fake film: slots with what each output frame shows, and bytes that have an identity but no content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from edge_agent.core.upload import PART_BYTES
from schemas.work import Picture

INTRO = -1
END = -2
INDEX_BYTES = 40_000


@dataclass(frozen=True)
class Shown:
    """One output frame: its picture, and the frame of each camera it shows (-1: none)."""

    picture: Picture
    left: int = -1
    right: int = -1


@dataclass(frozen=True)
class SlotFile:
    """A rendered slot. ``print``: identity of its bytes, another for every rendering."""

    frames: tuple[Shown, ...]
    bytes: int
    print: str
    rung: str
    degraded: bool


@dataclass(frozen=True)
class Entry:
    """One piece appended to a growing file: a slot by index, the intro, or the end."""

    index: int
    bytes: int
    print: str
    slot: SlotFile | None = None


@dataclass(frozen=True)
class Blob:
    """A small file written at once."""

    bytes: int
    print: str


Log = tuple[Entry, ...]


def log_of(value: object) -> Log:
    """A growing file's entries; nothing is an empty one."""
    return cast("Log", value) if isinstance(value, tuple) else ()


def size_of(value: object) -> int:
    """Bytes of a file."""
    if isinstance(value, Blob):
        return value.bytes
    return sum(entry.bytes for entry in log_of(value))


def is_complete(value: object) -> bool:
    """Whether nothing more comes."""
    if isinstance(value, Blob):
        return True
    log = log_of(value)
    return bool(log) and log[-1].index == END


def slice_print(value: object, offset: int, length: int) -> str | None:
    """Identity of a range of bytes; None when the file is shorter. The head changes at completion."""
    if size_of(value) < offset + length or length <= 0:
        return None
    if isinstance(value, Blob):
        return f"{value.print}:{offset}+{length}"
    marks: list[str] = [f"head:{is_complete(value)}"] if offset == 0 else []
    at = 0
    for entry in log_of(value):
        begin, end = max(at, offset), min(at + entry.bytes, offset + length)
        if begin < end:
            marks.append(f"{entry.print}[{begin - at}:{end - at}]")
        at += entry.bytes
    return "|".join(marks)


def prints_of(value: object) -> tuple[str, ...]:
    """The identities of a whole file's parts."""
    total = size_of(value)
    starts = range(0, total, PART_BYTES)
    return tuple(slice_print(value, at, min(PART_BYTES, total - at)) or "" for at in starts)


def composite(prints: tuple[str, ...]) -> str:
    """The hash of an object made of these parts."""
    return f"{hashlib.sha256('/'.join(prints).encode()).hexdigest()[:20]}-{len(prints)}"


def hash_of(value: object) -> str | None:
    """The composite hash of a complete file."""
    return composite(prints_of(value)) if is_complete(value) else None


@dataclass(frozen=True)
class Counted:
    """What a finished film shows, counted frame by frame."""

    frames: int
    slots: int
    pictures: Mapping[str, int]


def slots_of(value: object) -> tuple[SlotFile, ...]:
    """The slots of a film in the order of their appending."""
    return tuple(entry.slot for entry in log_of(value) if entry.slot is not None and entry.index >= 0)
