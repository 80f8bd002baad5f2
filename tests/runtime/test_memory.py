"""What outlives a process: remembered messages and answered commands."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.runtime.memory import ANSWERED_FOR_NS, Answered, Remembered, must_last, write_atomic
from schemas.commands import Answer
from schemas.recording import CaptureStage, MergeStage, Recording
from schemas.registry import BOOKING, MERGE
from tests.runtime.toys import booking

ROOT = Path(__file__).resolve().parents[2]
B1, M1 = BOOKING.at(id="b1"), MERGE.at(id="b1")


def test_messages_come_back_equal(tmp_path: Path) -> None:
    memory = Remembered(tmp_path)
    memory.keep(B1, booking(2))
    memory.keep(M1, MergeStage(rev=1))
    memory.keep(M1, MergeStage(rev=2))
    memory.keep(BOOKING.at(id="b2"), booking())
    memory.keep(BOOKING.at(id="b2"), None)
    memory.keep(BOOKING.at(id="b3"), None)
    assert Remembered(tmp_path).load() == {B1: booking(2), M1: MergeStage(rev=2)}


def test_what_is_never_taken_back_outlives_a_power_cut() -> None:
    assert all(must_last(m) for m in (booking(), Recording(state="ready"), MergeStage(status="succeeded")))
    others = (Recording(state="finishing"), MergeStage(status="running"), CaptureStage(status="succeeded"))
    assert not any(must_last(m) for m in others)


def test_same_message_is_not_written_again(tmp_path: Path) -> None:
    Remembered(tmp_path).keep(B1, booking())
    memory = Remembered(tmp_path)
    memory.load()
    [path] = tmp_path.iterdir()
    before = path.stat().st_ino
    memory.keep(B1, booking())
    assert path.stat().st_ino == before
    memory.keep(B1, booking(2))
    assert path.stat().st_ino != before


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b'{"rev":"x"}', b"\xff"])
def test_unreadable_file_is_named_and_left_out(
    rubbish: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Remembered(tmp_path).keep(M1, MergeStage())
    (tmp_path / "booking+b1.json").write_bytes(rubbish)
    (tmp_path / "nonsense.json").write_bytes(b"{}")
    assert Remembered(tmp_path).load() == {M1: MergeStage()}
    assert "booking+b1.json" in caplog.text


def test_torn_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"old", durable=True)
    program = (
        "import resource, sys; from pathlib import Path; from edge_agent.runtime.memory import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 1000, durable=True)\n"
        "except OSError as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "OSError\n"
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_answers_are_kept_for_a_day(tmp_path: Path) -> None:
    path = tmp_path / "answered.jsonl"
    answer = Answer(id="c1", status="ok", data={"id": "b1"})
    Answered(path, 0).add("start", answer, 0)
    assert Answered(path, ANSWERED_FOR_NS - 1).get("c1") == answer
    assert Answered(path, ANSWERED_FOR_NS).get("c1") is None
    assert path.read_bytes() == b""


def test_torn_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "answered.jsonl"
    Answered(path, 0).add("start", Answer(id="c1", status="ok"), 0)
    with path.open("ab") as file:
        file.write(b'[1]\n"x"\n\xff\xfe\n{"at_ns":1,"na')
    answered = Answered(path, 1)
    assert answered.get("c1") is not None
    answered.add("stop", Answer(id="c2", status="ok"), 1)
    assert Answered(path, 2).get("c2") is not None


def test_full_disk_does_not_keep_an_agent_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "answered.jsonl"
    Answered(path, 0).add("start", Answer(id="c1", status="ok"), 0)
    with path.open("a") as file:
        file.write("torn")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from edge_agent.runtime.memory import Answered; from schemas.commands import Answer\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "answered = Answered(Path(sys.argv[1]), 1)\n"
        "answered.add('stop', Answer(id='c2', status='ok'), 1)\n"
        "print([answered.get(name).status for name in ('c1', 'c2')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['ok', 'ok']\n"
    assert done.stderr.count("File too large") == 2
    assert Answered(path, 2).get("c1") is not None


def test_what_a_full_disk_would_not_take_is_kept_when_there_is_room(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from edge_agent.runtime.memory import Remembered; from schemas.recording import MergeStage\n"
        "from schemas.registry import MERGE\n"
        "at, last, memory = MERGE.at(id='b1'), MergeStage(rev=3), Remembered(Path(sys.argv[1]))\n"
        "memory.keep(at, MergeStage(rev=1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "memory.keep(at, MergeStage(rev=2)); memory.keep(at, last); memory.retry()\n"
        "print(Remembered(Path(sys.argv[1])).load() == {at: MergeStage(rev=1)})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "memory.retry()\n"
        "print(Remembered(Path(sys.argv[1])).load() == {at: last})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\nTrue\n"
    assert done.stderr.count("cannot remember") == 1
