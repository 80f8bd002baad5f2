"""The ring folder: names, descriptions, what an interrupted child left, and the bound.

A segment is `{stem}.mp4` and `{stem}.times`, with `{stem}.json` once it is complete. `.times` begins with one
line of JSON (a SegmentFile without frames); each further line is `capture time, missing before, repeated` of
one frame. Nothing here calls fsync: a ring lives in memory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import av

from edge_agent.drivers.cameras.base import NS_PER_S, BadValueError, SegmentFile

STEM = re.compile(r"([0-9a-f]{8})-([0-9]{8,})")


def stem_of(boot8: str, seq: int) -> str:
    """File name of a segment, without its suffix."""
    return f"{boot8}-{seq:08d}"


def stems(ring: Path) -> list[str]:
    """Every segment of which any file is there, sorted by name. Reads the folder."""
    found = {path.name.split(".")[0] for path in ring.iterdir() if path.suffix in {".mp4", ".times", ".json"}}
    return sorted(
        (name for name in found if STEM.fullmatch(name)), key=lambda name: (name[:8], int(name[9:]))
    )


def next_seq(ring: Path, boot8: str, floor: int) -> int:
    """Next free number of this boot, at least `floor`. Reads the folder."""
    return max([floor, *(int(stem[9:]) + 1 for stem in stems(ring) if stem.startswith(boot8))])


def read_segment(ring: Path, stem: str) -> SegmentFile | None:
    """Read the description of a complete segment; None when it or the film of it is missing or unreadable."""
    try:
        segment = SegmentFile.from_json((ring / f"{stem}.json").read_text())
        size = (ring / f"{stem}.mp4").stat().st_size
    except (OSError, ValueError, BadValueError):
        return None
    return segment if size >= segment.bytes else None


def write_segment(ring: Path, segment: SegmentFile) -> None:
    """Write the description beside the film by temporary name and rename. Raises OSError; idempotent."""
    temporary = ring / f".{segment.name}.json.tmp"
    temporary.write_text(segment.to_json())
    temporary.rename(ring / f"{segment.name}.json")


def remove_segment(ring: Path, stem: str) -> None:
    """Delete every file of a segment, description first. Idempotent."""
    for name in (f"{stem}.json", f"{stem}.mp4", f"{stem}.times", f".{stem}.json.tmp"):
        (ring / name).unlink(missing_ok=True)


def count_frames(path: Path) -> int:
    """Frames that a reader finds in a film, by demuxing all of it. 0 for a file that cannot be opened."""
    options = {"analyzeduration": "0", "probesize": "32"}
    try:
        with av.open(str(path), container_options=options) as film:
            return sum(1 for packet in film.demux(video=0) if packet.size)
    except (OSError, ValueError, IndexError):
        return 0


def recover_ring(ring: Path) -> tuple[SegmentFile, ...]:
    """Make whole what an interrupted child left: torn frames cut off, description written.

    Call only while no child writes here. Segments without one whole frame are deleted; where the ring is too
    full for a description, its oldest segment goes. Returns what was recovered; a second call returns
    nothing.
    """
    recovered: list[SegmentFile] = []
    for stem in stems(ring):
        if read_segment(ring, stem) is not None:
            continue
        try:
            segment = recover_segment(ring, stem)
        except OSError:
            oldest = list_ring(ring, stem[:8])[:1]
            for victim in oldest:
                remove_segment(ring, victim.name)
            segment = recover_segment(ring, stem)
        if segment is not None:
            recovered.append(segment)
    return tuple(recovered)


def recover_segment(ring: Path, stem: str) -> SegmentFile | None:
    """Cut an interrupted segment back to its whole frames and describe it; one without any is deleted.

    Raises OSError when the description cannot be written (a full ring).
    """
    film = ring / f"{stem}.mp4"
    try:
        head, times = _read_times(ring / f"{stem}.times")
        ends = _fragment_ends(film)
    except (OSError, ValueError, BadValueError):
        remove_segment(ring, stem)
        return None
    frames = min(len(times), len(ends))
    if frames:
        os.truncate(film, ends[frames - 1])
        frames = min(frames, count_frames(film))
    if not frames:
        remove_segment(ring, stem)
        return None
    segment = describe(head, times[:frames], size=ends[frames - 1])
    write_segment(ring, segment)
    return segment


@dataclass(frozen=True, slots=True)
class FrameTime:
    """One line of a `.times` file."""

    mono_ns: int
    missing: int
    repeated: bool

    def line(self) -> bytes:
        """The line, newline included."""
        return b"%d %d %d\n" % (self.mono_ns, self.missing, self.repeated)


def describe(
    head: SegmentFile, times: list[FrameTime], size: int, end_ns: int | None = None, missing_after: int = 0
) -> SegmentFile:
    """Complete a segment's description from its frames.

    Without `end_ns` it ends one frame period after the last.
    """
    t0_ns = times[0].mono_ns
    if end_ns is None:
        end_ns = times[-1].mono_ns + round(NS_PER_S / head.fps)
    return replace(
        head,
        t0_ns=t0_ns,
        offsets_us=tuple((time.mono_ns - t0_ns) // 1000 for time in times),
        end_ns=end_ns,
        dropped=sum(time.missing for time in times[1:]) + missing_after,
        duplicated=sum(time.repeated for time in times),
        bytes=size,
        frames=len(times),
        open=False,
    )


def _read_times(path: Path) -> tuple[SegmentFile, list[FrameTime]]:
    lines = path.read_text().split("\n")
    times: list[FrameTime] = []
    for line in lines[1:-1]:  # what follows the last newline is torn
        mono_ns, missing, repeated = line.split(" ")
        times.append(FrameTime(int(mono_ns), int(missing), repeated == "1"))
    return SegmentFile.from_json(lines[0]), times


def _fragment_ends(path: Path) -> list[int]:
    """End of every whole fragment; one fragment is one frame.

    A demuxer would hand out a torn last frame as whole.
    """
    size = path.stat().st_size
    with path.open("rb") as film:
        return list(_walk(film.fileno(), size))


def _walk(descriptor: int, size: int) -> Iterator[int]:
    at = 0
    while at + 8 <= size:
        header = os.pread(descriptor, 8, at)
        length = int.from_bytes(header[:4], "big")
        at += length
        if length < 8 or at > size:
            return
        if header[4:] == b"mdat":
            yield at


def list_ring(ring: Path, boot8: str) -> tuple[SegmentFile, ...]:
    """Complete segments, oldest first: other boots by wall time, then this boot by number.

    Reads every description.
    """
    found = [segment for stem in stems(ring) if (segment := read_segment(ring, stem)) is not None]

    def age(segment: SegmentFile) -> tuple[bool, int]:
        ours = segment.name.startswith(boot8)
        return ours, int(segment.name[9:]) if ours else segment.t0_ns + segment.wall_offset_ns

    return tuple(sorted(found, key=age))


class RingBound:
    """Keeps the ring within its seconds and bytes by deleting the oldest complete segments."""

    def __init__(self, ring: Path, boot8: str, ring_ns: int, ring_bytes: int) -> None:
        """Take over what is in the folder; what another boot left ages from now on."""
        now_ns = time.monotonic_ns()
        self._ring = ring
        self._ring_ns = ring_ns
        self._ring_bytes = ring_bytes
        self._kept = [
            (item.name, item.end_ns if item.name.startswith(boot8) else now_ns, _disk_bytes(ring, item.name))
            for item in list_ring(ring, boot8)
        ]

    def add(self, segment: SegmentFile) -> None:
        """Count a complete segment, then delete what is beyond the bound; room for another stays free."""
        size = _disk_bytes(self._ring, segment.name)
        self._kept.append((segment.name, segment.end_ns, size))
        room = self._ring_bytes - size
        while len(self._kept) > 1 and (self._too_old(segment.end_ns) or self._total() > room):
            self.drop_oldest()

    def drop_oldest(self) -> bool:
        """Delete the oldest segment; False when there is none."""
        if not self._kept:
            return False
        with suppress(OSError):  # a file that will not go is found again at the next start
            remove_segment(self._ring, self._kept[0][0])
        del self._kept[0]
        return True

    def _total(self) -> int:
        return sum(size for _, _, size in self._kept)

    def _too_old(self, now_ns: int) -> bool:
        _, end_ns, _ = self._kept[0]
        return end_ns < now_ns - self._ring_ns


def _disk_bytes(ring: Path, stem: str) -> int:
    total = 0
    for suffix in (".mp4", ".times", ".json"):
        with suppress(OSError):
            total += (ring / f"{stem}{suffix}").stat().st_size
    return total
