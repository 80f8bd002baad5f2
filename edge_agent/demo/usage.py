"""CPU seconds and memory of process trees, read from the operating system."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and of its children that have ended; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICKS_PER_S


def children(pid: int) -> list[int]:
    """Direct children of a process, over all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found


def is_capture_child(pid: int) -> bool:
    """Whether a process is a capture child (a frame generator and ring encoder, when simulated)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"edge_agent.drivers.cameras.child" in words


def tree_seconds(pids: Iterable[int], *, capture: bool) -> float:
    """CPU seconds of processes and what they started; capture children alone, or all but them."""
    total = 0.0
    for pid in pids:
        if not capture:
            total += cpu_seconds(pid)
        for child in children(pid):
            if is_capture_child(child) == capture:
                total += cpu_seconds(child)
    return total


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process: its own memory, and its share of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
