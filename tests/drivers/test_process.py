import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_agent.drivers.process import STDERR_TAIL_BYTES, run


def wait_gone(pid: int) -> None:
    """Until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 30)[0], f"process {pid} still runs"
    finally:
        os.close(handle)


def test_exit_code_and_last_line() -> None:
    done = run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"], deadline_s=30)
    assert (done.code, done.last_line, done.overdue) == (3, "two", False)
    assert run(["true"], deadline_s=30).last_line == ""


def test_a_flood_on_both_pipes_blocks_nobody() -> None:
    script = "import sys\nfor n in range(40000): print('x' * 50, n, file=sys.stderr); print('y' * 50)"
    done = run([sys.executable, "-c", script], deadline_s=60)
    assert done.code == 0
    assert done.stderr.endswith(" 39999\n")
    assert STDERR_TAIL_BYTES // 2 < len(done.stderr) <= STDERR_TAIL_BYTES


def test_cpu_seconds_are_those_of_the_process_and_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    assert run([sys.executable, "-c", burn], deadline_s=60).cpu_s >= 0.3
    assert run(["sh", "-c", f"'{sys.executable}' -c '{burn}'; true"], deadline_s=60).cpu_s >= 0.3
    idle = run(["sleep", "0.3"], deadline_s=60)
    assert idle.cpu_s < 0.2 < idle.wall_s


@pytest.mark.parametrize(
    ("ignored", "code"),
    [("", -2), ("trap '' INT;", -15), ("trap '' INT TERM;", -9)],
    ids=["int", "term", "kill"],
)
def test_the_deadline_asks_twice_then_kills(ignored: str, code: int) -> None:
    # `exec` keeps what is ignored, so that the signal meets the one process.
    done = run(["sh", "-c", f"{ignored} exec sleep 60"], deadline_s=0.2)
    assert (done.code, done.overdue) == (code, True)


def test_a_program_may_end_well_after_the_first_signal() -> None:
    script = "trap 'echo closed >&2; exit 0' INT; while :; do sleep 0.05; done"
    done = run(["sh", "-c", script], deadline_s=0.3)
    assert (done.code, done.overdue, done.last_line) == (0, True, "closed")


def test_what_a_program_leaves_behind_in_its_group_is_ended() -> None:
    done = run(["sh", "-c", "sleep 60 & echo $! >&2"], deadline_s=30)
    assert done.code == 0
    wait_gone(int(done.last_line))


def test_a_missing_program_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run(["no-such-program"], deadline_s=1)


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    os.mkfifo(told)
    argv = ["sh", "-c", f"echo $$ > {told}; exec sleep 60"]
    script = f"from edge_agent.drivers.process import run; run({argv}, deadline_s=99)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2]) as parent:
        child = int(told.read_text())
        parent.kill()
    wait_gone(child)


def test_time_passes_on_the_monotonic_clock() -> None:
    begun_s = time.monotonic()
    done = run(["sleep", "0.1"], deadline_s=30)
    assert 0.1 <= done.wall_s <= time.monotonic() - begun_s
