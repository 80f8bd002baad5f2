from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edge_agent.drivers.film import (
    PART_BYTES,
    Film,
    FilmBroken,
    FilmMismatch,
    SlotUnreadable,
    read_format,
)
from edge_agent.drivers.film.ledger import Ledger
from edge_agent.drivers.film.sink import FileTarget
from tests.drivers.film_made import FPS, FRAMES, SEED, Made, append_all, boxes, finish, make, pictures, render


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("film"))


def test_close_without_waiting(made: Made, tmp_path: Path) -> None:
    film = Film.open(tmp_path, fps=FPS)
    append_all(film, made.slots)
    state = film.close(wait=False)
    assert (state.complete, state.bytes, state.sha256) == (True, len(made.whole), made.state.sha256)
    film.release()
    assert finish(tmp_path, made.slots) == made.state
    with pytest.raises(ValueError, match="without frames"):
        Film.open(tmp_path / "other", fps=FPS).close()


def test_film_shows_every_picture_of_its_slots(made: Made, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(made.whole)
    expected = (picture for slot in made.slots for picture in pictures(slot))
    count = 0
    for got, want in zip(pictures(film), expected, strict=True):
        assert np.array_equal(got, want), f"picture {count}"
        count += 1
    assert count == made.state.frames == 5 * FRAMES + 17
    assert made.state.intro_frames == FRAMES
    assert made.state.duration_s == pytest.approx(count / FPS)


def test_frames_are_at_exactly_their_numbers(made: Made, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    for data in (made.whole, (made.open_folder / "film.mp4").read_bytes()):
        film.write_bytes(data)
        with av.open(film) as container:
            stream = container.streams.video[0]
            unit = stream.time_base or Fraction(0)
            times = [(p.pts, p.dts) for p in container.demux(stream) if p.dts is not None]
        assert all(pts == dts for pts, dts in times)
        assert [(pts or 0) * unit for pts, _ in times] == [Fraction(k, FPS) for k in range(len(times))]
    assert len(times) > 4 * FRAMES  # without the last fragment


def test_hash_is_the_composite_of_its_parts(made: Made) -> None:
    assert len(made.whole) > 2 * PART_BYTES
    parts = [made.whole[at : at + PART_BYTES] for at in range(0, len(made.whole), PART_BYTES)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    assert made.state.sha256 == f"{base64.b64encode(digest.digest()).decode()}-{len(parts)}"
    assert made.state.sha256_hex == digest.hexdigest()
    assert made.state.bytes == made.state.bytes_durable == len(made.whole)


def test_closing_changes_the_head_only_and_appends_the_index(made: Made) -> None:
    grown = (made.open_folder / "film.mp4").read_bytes()
    changed = [k for k, byte in enumerate(grown) if byte != made.whole[k]]
    assert changed
    assert max(changed) < 64
    assert max(changed) - min(changed) < 16
    assert [box[0] for box in boxes(made.whole)] == ["ftyp", "free", "mdat", "moov"]
    kinds = [box[0] for box in boxes(grown)]
    assert kinds[:4] == ["ftyp", "free", "free", "moov"]
    assert kinds[4:] == ["moof", "mdat"] * (len(kinds[4:]) // 2)
    assert grown[64:] == made.whole[64 : len(grown)]


def test_mismatch_changes_nothing(made: Made, tmp_path: Path) -> None:
    folder = made.copy(tmp_path / "film")
    for name, other in (("deblock", {"extra": ":cabac=1"}), ("size", {"size": "192x160"})):
        render(tmp_path / f"{name}.mp4", crf=23, **other)  # type: ignore[arg-type]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    film = Film.open(folder, fps=FPS)
    state = film.state
    for name in ("deblock", "size"):
        with pytest.raises(FilmMismatch):
            film.append(tmp_path / f"{name}.mp4", index=6, frames=FRAMES)
    assert film.state == state
    film.release()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert finish(folder, made.slots).sha256 == made.state.sha256


def test_unreadable_slots_change_nothing(made: Made, tmp_path: Path) -> None:
    folder = made.copy(tmp_path / "film")
    (tmp_path / "short.mp4").write_bytes(made.slots[0].read_bytes()[:-20_000])
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").touch()
    damaged = bytearray(made.slots[1].read_bytes())
    damaged[100_000:300_000] = b"\xff" * 200_000
    (tmp_path / "damaged.mp4").write_bytes(damaged)
    film = Film.open(folder, fps=FPS)
    for name in ("short", "text", "empty", "damaged", "missing"):
        with pytest.raises(SlotUnreadable):
            film.append(tmp_path / f"{name}.mp4", index=6, frames=FRAMES)
    with pytest.raises(SlotUnreadable, match="60 frames instead of 59"):
        film.append(made.slots[1], index=6, frames=59)
    film.release()
    assert finish(folder, made.slots).sha256 == made.state.sha256


def test_index_again_does_nothing_and_a_gap_is_refused(made: Made, tmp_path: Path) -> None:
    film = Film.open(tmp_path, fps=FPS)
    first = film.append(made.slots[0], index=0, frames=FRAMES)
    assert first.slots == 1
    assert film.append(made.slots[1], index=0, frames=FRAMES).frames == FRAMES
    with pytest.raises(ValueError, match="slot 2 cannot follow"):
        film.append(made.slots[2], index=2, frames=FRAMES)
    film.release()


def test_complete_film_stays_complete(made: Made, tmp_path: Path) -> None:
    state = finish(tmp_path, made.slots)
    for _ in range(2):
        film = Film.open(tmp_path, fps=FPS)
        assert film.state == state == film.close()
        assert film.covered() == len(made.slots)
        assert film.append(made.slots[0], index=0, frames=FRAMES) == state
        with pytest.raises(ValueError, match="cannot follow"):
            film.append(made.slots[0], index=6, frames=FRAMES)
        film.release()
    assert (tmp_path / "film.mp4").read_bytes() == made.whole


def test_helper_thread_makes_durable(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    add = Ledger.add_durable

    def told(self: Ledger, durable_bytes: int, new_digests: list[bytes]) -> None:
        add(self, durable_bytes, new_digests)
        done.set()

    monkeypatch.setattr(Ledger, "add_durable", told)
    film = Film.open(tmp_path, fps=FPS, fsync_every_s=0.01)
    film.append(made.slots[0], index=0, frames=FRAMES)
    assert done.wait(30)
    film.release()
    lines = [json.loads(line) for line in (tmp_path / "film.ledger").read_text().splitlines()]
    assert any(line.get("durable", 0) > 0 for line in lines)


def test_disk_that_refuses_breaks_the_film_until_opened_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = Film.open(tmp_path, fps=FPS)
    append_all(film, made.slots[:2])

    def full(_self: FileTarget, _data: bytes, _offset: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileTarget, "pwrite", full)
        with pytest.raises(FilmBroken, match="No space left"):
            film.append(made.slots[2], index=2, frames=FRAMES)
    with pytest.raises(FilmBroken):
        film.append(made.slots[2], index=2, frames=FRAMES)
    film.release()
    assert finish(tmp_path, made.slots).sha256 == made.state.sha256


def test_timed_film_keeps_camera_times(made: Made, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    film = Film.open(tmp_path, name="left", fps=FPS)
    expected: list[int] = []
    at = 5_000
    for index, slot in enumerate(made.slots[:3]):
        times: list[int | None] = []
        for _ in range(FRAMES):
            at += 33_333 + chance.randrange(-3000, 3000)
            times.append(at)
        if index == 0:
            times[:5] = [-1, None, -1, None, -20]
        kept = times[24:] if index == 0 else times  # the next key frame
        expected += [time for time in kept if time is not None]
        film.append_timed(slot, index=index, times_us=times)
        if index == 1:
            film.release()
            film = Film.open(tmp_path, name="left", fps=FPS)
    with pytest.raises(ValueError, match="do not rise"):
        film.append_timed(made.slots[3], index=3, times_us=range(FRAMES))
    state = film.close()
    film.release()
    assert state.frames == len(expected)
    assert state.duration_s == pytest.approx((expected[-1] - expected[0]) / 1e6 + 1 / FPS)
    with av.open(tmp_path / "left.mp4") as container:
        stream = container.streams.video[0]
        assert stream.time_base == Fraction(1, 1_000_000)
        times_read = [p.pts for p in container.demux(stream) if p.dts is not None]
    first = times_read[0] or 0
    assert [(pts or 0) - first for pts in times_read] == [time - expected[0] for time in expected]
    assert sum(1 for _ in pictures(tmp_path / "left.mp4")) == len(expected)


def test_read_format(made: Made) -> None:
    found = read_format(made.slots[1])
    assert (found.width, found.height, found.frames) == (256, 160, FRAMES)
    assert found.fps == FPS
    assert [k for k, key in enumerate(found.keys) if key] == [0, 24, 48]
    assert (found.sps[0] & 31, found.pps[0] & 31) == (7, 8)
    assert sum(found.sizes) < made.slots[1].stat().st_size
    assert found.sps == read_format(made.slots[3]).sps
