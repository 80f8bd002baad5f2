from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.drivers.film import (
    PART_BYTES,
    Film,
)
from edge_agent.drivers.film.sink import FileTarget
from tests.drivers.film_made import FPS, FRAMES, SEED, Made, append_all, finish, make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("film"))


def cuts() -> list[tuple[float, bool, bool]]:
    chance = random.Random(SEED)
    return [(chance.random(), chance.random() < 0.4, chance.random() < 0.4) for _ in range(50)]


@pytest.mark.slow
def test_cut_anywhere_and_resumed_is_byte_equal(made: Made, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for number, (where, torn, was_closing) in enumerate(cuts()):
        # Without the slot files that it names the ledger forgets what it cannot fill in.
        folder = made.copy(tmp_path / str(number % 2) / str(number), with_slots=number % 2 == 1)
        film, ledger = folder / "film.mp4", folder / "film.ledger"
        if was_closing:
            film.write_bytes(made.whole)
        with film.open("r+b") as file:
            file.truncate(int(where * film.stat().st_size))
        if torn:
            last = len(ledger.read_bytes().splitlines(keepends=True)[-1])
            with ledger.open("r+b") as file:
                file.truncate(ledger.stat().st_size - chance.randrange(1, last))
        state = finish(folder, made.slots)
        assert film.read_bytes() == made.whole, f"cut {number} at {where}"
        assert state.sha256 == made.state.sha256, f"cut {number} at {where}"
        shutil.rmtree(folder)


def test_crash_after_each_ledger_line_is_byte_equal(made: Made, tmp_path: Path) -> None:
    lines = (made.open_folder / "film.ledger").read_bytes().splitlines(keepends=True)
    for kept in range(len(lines) + 1):
        folder = made.copy(tmp_path / str(kept))
        (folder / "film.ledger").write_bytes(b"".join(lines[:kept]) + b'{"slot":')
        durable = [json.loads(line).get("durable", 0) for line in lines[:kept]]
        with (folder / "film.mp4").open("r+b") as file:  # a power cut may leave zeros of what was not durable
            size = file.seek(0, 2)
            file.seek(max(durable, default=0))
            file.write(bytes(size - file.tell()))
        assert finish(folder, made.slots).sha256 == made.state.sha256
        assert (folder / "film.mp4").read_bytes() == made.whole


def test_resume_reads_and_writes_little_of_the_film(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.copy(tmp_path / "film")
    touched: list[tuple[int, int]] = []
    pread, pwrite = FileTarget.pread, FileTarget.pwrite

    def counted_read(self: FileTarget, size: int, offset: int) -> bytes:
        touched.append((size, offset))
        return pread(self, size, offset)

    def counted_write(self: FileTarget, data: bytes, offset: int) -> None:
        touched.append((len(data), offset))
        pwrite(self, data, offset)

    monkeypatch.setattr(FileTarget, "pread", counted_read)
    monkeypatch.setattr(FileTarget, "pwrite", counted_write)
    film = Film.open(folder, fps=FPS)
    size = film.state.bytes
    film.release()
    assert sum(length for length, _ in touched) <= PART_BYTES + 64 * 1024
    assert min(offset for _, offset in touched if offset > 64 * 1024) >= size // PART_BYTES * PART_BYTES


def test_film_opened_twice_goes_on(made: Made, tmp_path: Path) -> None:
    for index in range(6):
        for _ in range(2):
            film = Film.open(tmp_path, fps=FPS)
            append_all(film, made.slots[: index + 1])
            film.release()
    assert finish(tmp_path, made.slots).sha256 == made.state.sha256


def test_covered_slots_may_be_deleted(made: Made, tmp_path: Path) -> None:
    slots = [Path(shutil.copy(slot, tmp_path / slot.name)) for slot in made.slots]
    for index in range(6):
        film = Film.open(tmp_path / "film", fps=FPS)
        append_all(film, slots[: index + 1])
        film._sync()
        assert film.covered() == index  # the newest one's last fragment is still in the muxer
        for slot in slots[:index]:
            slot.unlink(missing_ok=True)
        film.release()
    assert finish(tmp_path / "film", slots).sha256 == made.state.sha256


def test_lost_slot_file_is_asked_for_again(made: Made, tmp_path: Path) -> None:
    slots = [Path(shutil.copy(slot, tmp_path / slot.name)) for slot in made.slots]
    film = Film.open(tmp_path / "film", fps=FPS)
    append_all(film, slots)
    film._sync()
    film.release()
    slots[5].unlink()
    film = Film.open(tmp_path / "film", fps=FPS)
    assert (film.state.slots, film.state.frames) == (5, 5 * FRAMES)
    assert film.covered() == 5
    film.append(made.slots[5], index=5, frames=17)
    film.release()
    assert finish(tmp_path / "film", made.slots).sha256 == made.state.sha256


def test_other_library_makes_the_film_again(made: Made, tmp_path: Path) -> None:
    slots = [Path(shutil.copy(slot, tmp_path / slot.name)) for slot in made.slots]
    film = Film.open(tmp_path / "film", fps=FPS)
    append_all(film, slots)
    film._sync()
    film.release()
    for slot in slots[:5]:
        slot.unlink()
    ledger = tmp_path / "film" / "film.ledger"
    head, *rest = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([head.replace(b"libavformat", b"libavformat 1, not"), *rest]))
    film = Film.open(tmp_path / "film", fps=FPS)
    assert (film.state.restarted, film.state.generation, film.state.slots) == (True, 1, 6)
    film.release()
    film = Film.open(tmp_path / "film", fps=FPS)
    assert (film.state.restarted, film.state.generation) == (False, 1)
    film.release()
    assert finish(tmp_path / "film", made.slots).sha256 == made.state.sha256
    assert (tmp_path / "film" / "film.mp4").read_bytes() == made.whole
    assert sorted(path.name for path in (tmp_path / "film").iterdir()) == ["film.ledger", "film.mp4"]


def test_remake_interrupted_before_its_last_rename(made: Made, tmp_path: Path) -> None:
    folder = made.copy(tmp_path / "film")
    ledger = folder / "film.ledger"
    ledger.write_bytes(ledger.read_bytes().replace(b'"generation":0', b'"generation":3'))
    (folder / "film.mp4").rename(folder / "film.mp4.3")
    (folder / "film.mp4").write_bytes(b"the film under the other library")
    (folder / "film.mp4.4").write_bytes(b"begun and not finished")
    assert finish(folder, made.slots).sha256 == made.state.sha256
    assert sorted(path.name for path in folder.iterdir()) == ["film.ledger", "film.mp4"]


CHILD = """
import sys
from pathlib import Path
from edge_agent.drivers.film import Film, read_format
film = Film.open(Path(sys.argv[1]), fps=30, fsync_every_s=0.02)
for index, slot in enumerate(sys.argv[2:]):
    frames = read_format(Path(slot)).frames
    print("begin", index, flush=True)
    film.append(Path(slot), index=index, frames=frames)
print("closing", flush=True)
film.close()
"""


@pytest.mark.parametrize("victim", ["begin 0", "begin 1", "begin 3", "begin 5", "closing"])
def test_killed_while_appending(made: Made, tmp_path: Path, victim: str) -> None:
    argv = [sys.executable, "-c", CHILD, str(tmp_path), *map(str, made.slots)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None
        assert any(line.strip() == victim for line in child.stdout)
        child.send_signal(signal.SIGKILL)
    assert child.returncode in {0, -signal.SIGKILL}  # 0: it had closed before the signal came
    assert finish(tmp_path, made.slots).sha256 == made.state.sha256
    assert (tmp_path / "film.mp4").read_bytes() == made.whole
