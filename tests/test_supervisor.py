"""The supervisor: real processes, killed for real."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
from edge_agent.supervisor import Entry, Supervisor
folder = Path(sys.argv[1])

def note(name):
    with (folder / f"{name}.starts").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "at": time.monotonic()}) + "\\n")

def waits(name):
    note(name)
    signal.pause()
    return 0

def stubborn(name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(name)
    while True:
        signal.pause()

def ends(name, code):
    note(name)
    return code

def fails(name):
    note(name)
    raise OSError("no such camera")

KINDS = {
    "waits": lambda: waits("waits"), "other": lambda: waits("other"),
    "stubborn": lambda: stubborn("stubborn"),
    "config": lambda: ends("config", 78), "crash": lambda: ends("crash", 70), "fails": lambda: fails("fails"),
    "exits": lambda: sys.exit(78) if not note("exits") else 0,
}
sys.exit(Supervisor([Entry(name, KINDS[name]) for name in sys.argv[2:]], folder / "run").run())
"""


@contextmanager
def supervised(folder: Path, *names: str) -> Generator[subprocess.Popen[str]]:
    program = [sys.executable, "-c", PROGRAM, str(folder), *names]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def starts(folder: Path, name: str) -> list[dict[str, float]]:
    path = folder / f"{name}.starts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def running(pid: float) -> bool:
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_killed_child_is_restarted_alone(tmp_path: Path) -> None:
    with supervised(tmp_path, "waits", "other"):
        until(lambda: starts(tmp_path, "waits") and starts(tmp_path, "other"))
        os.kill(int(starts(tmp_path, "waits")[0]["pid"]), signal.SIGKILL)
        until(lambda: len(starts(tmp_path, "waits")) == 2)
        assert len(starts(tmp_path, "other")) == 1
        told = int((tmp_path / "run" / "waits.pid").read_text())
        assert told == starts(tmp_path, "waits")[1]["pid"]


def test_child_that_keeps_failing_is_restarted_more_and_more_slowly(tmp_path: Path) -> None:
    with supervised(tmp_path, "crash"):
        until(lambda: len(starts(tmp_path, "crash")) == 5)
        at = [start["at"] for start in starts(tmp_path, "crash")]
    pauses = [after - before for before, after in pairwise(at)]
    assert [pause > least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True)] == [True] * 4


@pytest.mark.parametrize("kind", ["config", "exits"])
def test_wrong_settings_are_not_tried_again(kind: str, tmp_path: Path) -> None:
    with supervised(tmp_path, kind) as process:
        assert process.wait(PATIENCE_S) == 78
    assert len(starts(tmp_path, kind)) == 1


def test_others_go_on_beside_wrong_settings(tmp_path: Path) -> None:
    with supervised(tmp_path, "config", "waits", "crash") as process:
        until(lambda: len(starts(tmp_path, "crash")) == 3)
        assert len(starts(tmp_path, "config")) == 1
        assert process.poll() is None


def test_what_a_child_could_not_catch_is_one_line(tmp_path: Path) -> None:
    with supervised(tmp_path, "fails") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "fails: OSError: no such camera\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_all(number: signal.Signals, tmp_path: Path) -> None:
    with supervised(tmp_path, "waits", "other") as process:
        until(lambda: starts(tmp_path, "waits") and starts(tmp_path, "other"))
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0
    assert not any(running(start["pid"]) for name in ("waits", "other") for start in starts(tmp_path, name))


@pytest.mark.slow
def test_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "stubborn") as process:
        until(lambda: starts(tmp_path, "stubborn"))
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert not running(starts(tmp_path, "stubborn")[0]["pid"])


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "waits", "other") as process:
        until(lambda: starts(tmp_path, "waits") and starts(tmp_path, "other"))
        process.kill()
        process.wait(PATIENCE_S)
    until(lambda: not any(running(starts(tmp_path, name)[0]["pid"]) for name in ("waits", "other")))
