"""Runs several agents as processes of their own, forked from one that has imported everything once.

Forking keeps shared pages shared and makes a restart take milliseconds. The supervisor itself stays
single-threaded (forking a process with threads is a trap), does no I/O but waiting, and kills only
what it started. On a Pi systemd does this job instead, one unit per agent.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the settings are wrong, starting again will not help."""

FIRST_DELAY_S = 0.05
LAST_DELAY_S = 10.0
HEALTHY_S = 10.0
STOP_PATIENCE_S = 8.0
PR_SET_PDEATHSIG = 1


@dataclass
class Entry:
    """A process to keep running: its name, and what it runs (returns its exit code)."""

    name: str
    run: Callable[[], int]
    pid: int = 0
    started_s: float = 0.0
    delay_s: float = FIRST_DELAY_S
    next_s: float = 0.0
    finished: int | None = None
    restarts: int = field(default=0)


class Supervisor:
    """Keeps entries running until SIGTERM or SIGINT.

    Args:
        entries: what to run, in order of start.
        pids: folder that gets ``{name}.pid`` files, or None.
    """

    def __init__(self, entries: Sequence[Entry], pids: Path | None = None) -> None:
        self._entries = list(entries)
        self._pids = pids
        self._stopping = False

    def run(self) -> int:
        """Start everything, restart what ends, until told to stop. Returns 0, or 78 when all gave up."""
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        gc.collect()
        gc.freeze()  # shared pages stay shared: the collector does not touch what was imported
        if self._pids is not None:
            self._pids.mkdir(parents=True, exist_ok=True)
        while not self._stopping:
            self._start_due()
            if all(entry.finished is not None for entry in self._entries):
                return EXIT_CONFIG
            got = signal.sigtimedwait(watched, self._patience_s())
            if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True
            self._reap()
        self._stop_all()
        return 0

    def _patience_s(self) -> float:
        waiting = [e.next_s for e in self._entries if not e.pid and e.finished is None]
        return max(0.0, min(waiting, default=time.monotonic() + 5.0) - time.monotonic())

    def _start_due(self) -> None:
        for entry in self._entries:
            if not entry.pid and entry.finished is None and entry.next_s <= time.monotonic():
                self._start(entry)

    def _start(self, entry: Entry) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()  # noqa: TID251 - single-threaded here; agents share what was imported
        if pid == 0:
            os._exit(self._child(entry, parent))
        entry.pid = pid
        entry.started_s = time.monotonic()
        if self._pids is not None:
            self._tell_pid(self._pids / f"{entry.name}.pid", pid)

    @staticmethod
    def _tell_pid(path: Path, pid: int) -> None:
        """Replace the pid file as a whole: whoever reads it never finds it empty.

        A full disk leaves none, and one line; the agents run.
        """
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(f"{pid}\n", encoding="ascii")
            fresh.replace(path)
        except OSError as error:
            sys.stderr.write(f"{path.name} cannot be written: {error.strerror}\n")
            with contextlib.suppress(OSError):
                path.unlink()

    @staticmethod
    def _child(entry: Entry, parent: int) -> int:
        # The agent goes when its supervisor goes, however that ended.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            return 1
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        try:
            return entry.run()
        except SystemExit as ending:
            return ending.code if isinstance(ending.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - the last line of a child: say it, and be restarted
            sys.stderr.write(f"{entry.name}: {type(error).__name__}: {error}\n")
            return 70

    def _reap(self) -> None:
        for entry in self._entries:
            if not entry.pid:
                continue
            pid, status = os.waitpid(entry.pid, os.WNOHANG)
            if pid:
                self._ended(entry, os.waitstatus_to_exitcode(status))

    def _ended(self, entry: Entry, code: int) -> None:
        lived_s = time.monotonic() - entry.started_s
        entry.pid = 0
        if code == EXIT_CONFIG:
            entry.finished = code
            return
        entry.restarts += 1
        entry.delay_s = FIRST_DELAY_S if lived_s > HEALTHY_S else min(LAST_DELAY_S, entry.delay_s * 2)
        entry.next_s = time.monotonic() + entry.delay_s

    def _stop_all(self) -> None:
        for entry in self._entries:
            if entry.pid:
                os.kill(entry.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE_S
        while any(entry.pid for entry in self._entries) and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            self._reap_stopped()
        for entry in self._entries:
            if entry.pid:
                os.kill(entry.pid, signal.SIGKILL)
                os.waitpid(entry.pid, 0)

    def _reap_stopped(self) -> None:
        for entry in self._entries:
            if entry.pid and os.waitpid(entry.pid, os.WNOHANG)[0]:
                entry.pid = 0
