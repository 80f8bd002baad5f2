"""The one place where a process is started and waited for."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

STDERR_TAIL_BYTES = 64 * 1024
GRACE_S = 1.0
_CHUNK_BYTES = 65536
# On a deadline: what is sent, each GRACE_S after the one before.
_ESCALATION = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Finished:
    """How a process ended.

    Attributes:
        code: exit code; negative: the signal that ended it.
        stderr: the last 64 KB of what it wrote to stderr.
        cpu_s: user and system seconds of the process and those of its children it waited for.
        wall_s: seconds from start to end.
        overdue: it was ended because its deadline passed.
    """

    code: int
    stderr: str
    cpu_s: float
    wall_s: float
    overdue: bool

    @property
    def last_line(self) -> str:
        """The last line of stderr that says something, for the operator."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class _Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        while self._bytes - len(self._chunks[0]) >= STDERR_TAIL_BYTES:
            self._bytes -= len(self._chunks.popleft())

    def text(self) -> str:
        return b"".join(self._chunks)[-STDERR_TAIL_BYTES:].decode(errors="replace")


def run(argv: Sequence[str], *, deadline_s: float) -> Finished:
    """Run a program to its end, in a process group of its own that dies with the calling thread.

    stdin is empty, stdout is thrown away, stderr is drained all the time. After ``deadline_s`` the group gets
    SIGINT, SIGTERM and SIGKILL, a second apart. What the program left running in its group is killed.

    Raises:
        FileNotFoundError: there is no such program.
        OSError: it could not be started.
    """
    if shutil.which(argv[0]) is None:
        raise FileNotFoundError(f"no program {argv[0]!r} on PATH")
    # setpriv instead of a preexec_fn: nothing of ours runs between fork and exec in a process with threads.
    dying = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    # Whoever started us in a shell's background has SIGINT ignored, and that is inherited.
    dying += ["env", "--default-signal=INT"]
    begun_s = time.monotonic()
    with subprocess.Popen(
        [*dying, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
        env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
    ) as process:
        tail = _Tail()
        try:
            overdue = _attend(process, tail, begun_s + deadline_s)
        finally:
            # Before it is reaped: the group's number is still ours.
            _signal_group(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    return Finished(
        code=process.returncode,
        stderr=tail.text(),
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - begun_s,
        overdue=overdue,
    )


def _attend(process: subprocess.Popen[bytes], tail: _Tail, deadline_s: float) -> bool:
    """Drain stderr until the process has ended; True when it had to be ended."""
    if process.stderr is None:
        raise RuntimeError("stderr is a pipe")
    pipe = process.stderr.fileno()
    os.set_blocking(pipe, False)
    signals = list(_ESCALATION)
    due_s = deadline_s
    pidfd = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pidfd, selectors.EVENT_READ)
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                # With no signal left there is nothing to do but wait for the kernel to end it.
                timeout_s = max(0.0, due_s - time.monotonic()) if signals else None
                ready = {key.fd for key, _ in selector.select(timeout_s)}
                if pipe in ready and not _drain(pipe, tail):
                    selector.unregister(pipe)
                if pidfd in ready:
                    _drain(pipe, tail)
                    return len(signals) < len(_ESCALATION)
                if signals and time.monotonic() >= due_s:
                    _signal_group(process.pid, signals.pop(0))
                    due_s = time.monotonic() + GRACE_S
    finally:
        os.close(pidfd)


def _drain(pipe: int, tail: _Tail) -> bool:
    """Read what is there; False at its end."""
    while True:
        try:
            chunk = os.read(pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        tail.add(chunk)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it
