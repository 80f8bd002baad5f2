"""Claiming: the lasting copy of a ring segment."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.drivers.cameras.base import BadValueError, ClaimTorn, SegmentFile
from edge_agent.drivers.cameras.ring import count_frames
from edge_agent.runtime.memory import fsync_folder

_CHUNK_BYTES = 1024 * 1024


def claim(ring_file: SegmentFile, ring: Path, folder: Path) -> SegmentFile:
    """Copy a segment's film to `folder` and describe it there; both are on disk (fsync) when this returns.

    Of a segment that is still open only the described part is copied; claiming it again replaces the copy by
    the longer one. A segment already there is not touched. Returns the description of what is there, its
    frames counted by reading the copy back. Raises ClaimTorn when they are fewer than described (nothing is
    left then), FileNotFoundError when the ring no longer has the film, OSError for a full or broken disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = _claimed(folder, ring_file.name)
    if (
        there is not None
        and (not there.open or there.frames >= ring_file.frames)
        and not _grew(there, ring_file)
    ):
        return there
    temporary = folder / f".{ring_file.name}.mp4.tmp"
    try:
        _copy_checked(ring / f"{ring_file.name}.mp4", temporary, ring_file)
        temporary.rename(folder / f"{ring_file.name}.mp4")
    except BaseException:
        # Whatever ended the copy, half a film must not stay; a later claim starts afresh.
        temporary.unlink(missing_ok=True)
        raise
    _write_lasting(folder, f"{ring_file.name}.json", ring_file.to_json().encode())
    fsync_folder(folder)
    return ring_file


def _copy_checked(source: Path, target: Path, described: SegmentFile) -> None:
    copied = _copy(source, target, described.bytes)
    frames = count_frames(target)
    if copied < described.bytes or frames < described.frames:
        raise ClaimTorn(described.name, described.frames, frames)


def _grew(there: SegmentFile, ring_file: SegmentFile) -> bool:
    return there.open and not ring_file.open


def _claimed(folder: Path, name: str) -> SegmentFile | None:
    try:
        segment = SegmentFile.from_json((folder / f"{name}.json").read_text())
        size = (folder / f"{name}.mp4").stat().st_size
    except (OSError, ValueError, BadValueError):
        return None  # not there, or half of it: copied once more
    return segment if size >= segment.bytes else None


def _copy(source: Path, target: Path, size: int) -> int:
    """Copy the first `size` bytes and fsync; returns how many there were."""
    done = 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while done < size and (chunk := reading.read(min(_CHUNK_BYTES, size - done))):
            writing.write(chunk)
            done += len(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return done


def _write_lasting(folder: Path, name: str, content: bytes) -> None:
    temporary = folder / f".{name}.tmp"
    with temporary.open("wb") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    temporary.rename(folder / name)
