"""A film of more than 4 GiB without the disk for it: only its offsets and both ends are kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge_agent.drivers.film.parts import PART_BYTES
from edge_agent.drivers.film.probe import read_slot
from edge_agent.drivers.film.sink import FilmSink
from edge_agent.drivers.film.writer import FilmWriter, Frame

FPS = 30
GOP = 60
FRAMES = 11_000
TAIL_FROM = 4 << 30


class NoDisk:
    """A target that keeps only the head and what was written last."""

    def __init__(self) -> None:
        self.head = bytearray(64)
        self.head_writes: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int]] = []
        self.last = b""

    def pread(self, size: int, offset: int) -> bytes:
        return bytes(self.head[offset : offset + size]) + bytes(size - max(0, min(size, 64 - offset)))

    def pwrite(self, data: bytes, offset: int) -> None:
        if offset < 64:
            self.head[offset : offset + len(data)] = data[: 64 - offset]
            self.head_writes.append((offset, len(data)))
        else:
            self.writes.append((offset, len(data)))
            self.last = data

    def truncate(self, size: int) -> None:
        raise AssertionError(size)

    def sync(self) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def frame(k: int) -> Frame:
    return Frame(size=600_000 if k % GOP == 0 else 400_000 + k % 977, key=k % GOP == 0, time=k, duration=1)


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("large") / "slot.mp4"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x96:r=30", "-frames:v", "2"]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "stitchable=1:bframes=0", str(path)]
    subprocess.run(argv, check=True)
    return read_slot(path).init


@pytest.mark.slow
def test_more_than_4_gib_closes_and_replays_at_the_same_offsets(init: bytes) -> None:
    disk = NoDisk()
    writer = FilmWriter(FilmSink(disk, keep_below=0), init, fps=FPS, timed=False)
    offsets = [writer.mux(frame(k)) for k in range(FRAMES)]
    boundaries = [(k, offset) for k, offset in enumerate(offsets) if offset is not None]
    before = bytes(disk.head)
    disk.head_writes.clear()
    size = writer.finish()
    assert size > TAIL_FROM
    ((offset, length),) = disk.head_writes
    assert length <= 16
    assert offset + length <= 64
    mdat = disk.head[28:44]  # the size of 1 says: a size of 64 bits follows
    assert mdat[:8] == b"\x00\x00\x00\x01mdat"
    assert int.from_bytes(mdat[8:], "big") + 28 + len(disk.last) == size
    assert disk.last[4:8] == b"moov"
    assert b"co64" in disk.last

    cut_frames, cut = boundaries[len(boundaries) * 9 // 10]
    again = NoDisk()
    again.head[:] = disk.head  # the crash came while it was closing
    digests = tuple(writer.sink.hasher.digests[: cut // PART_BYTES])
    replay = FilmWriter(FilmSink(again, keep_below=cut, part_digests=digests), init, fps=FPS, timed=False)
    assert bytes(again.head) == before
    assert [replay.mux(frame(k)) for k in range(FRAMES)] == offsets
    assert boundaries.index((cut_frames, cut)) > 0
    assert min(offset for offset, _ in again.writes) == cut
    assert replay.finish() == size
    assert bytes(again.head) == bytes(disk.head)
    assert again.last == disk.last
