"""Starting the worker: a process group of its own with an empty environment, ended when its time is over."""

import contextlib
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from cloud_bridge.media.bounds import Bounds, Refused, Wanted

_ROOT = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from cloud_bridge.media import worker; "
    "worker.main(sys.argv[2])"
)
_RESULT_BYTES = 64 * 1024


class WorkerBroke(Exception):
    """The worker did not come to a verdict, through no fault of the file's; one clear line."""


class Running:
    """The worker that runs, if one does, for whoever must end it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: int | None = None
        self._stopped = False

    def began(self, group: int) -> None:
        """A worker was started: the process group of that number."""
        with self._lock:
            self._group = group
            if self._stopped:
                end_group(group)

    def over(self) -> None:
        """It is about to be reaped: from here on the number may be somebody else's."""
        with self._lock:
            self._group = None

    def stop(self) -> None:
        """End the worker, and every later one as soon as it begins."""
        with self._lock:
            self._stopped = True
            if self._group is not None:
                end_group(self._group)


def look_at(job: Path, wanted: Wanted, bounds: Bounds, running: Running | None = None) -> Mapping[str, Any]:
    """Run the worker over a job's folder, in which ``in`` lies; blocks. What it wrote into ``result.json``.

    The folder must be the worker's alone. Its answer is the word of a process that looked at a stranger's
    file: nothing in it is true until it was checked (`cloud_bridge.media.answer`).

    Raises:
        Refused: it took too long.
        WorkerBroke: it could not be started, was killed, or left no answer.
    """
    process = _start(job, wanted, bounds)
    running = running or Running()
    try:
        running.began(process.pid)
        in_time = _ended_within(process.pid, bounds.wall_s)
    finally:
        # Before it is reaped: the group's number is still ours. Its programs die with it in any case.
        running.over()
        end_group(process.pid)
        process.wait()
    if not in_time:
        why = f"It took more than {bounds.wall_s:g} seconds to look at this file; send a smaller one."
        raise Refused("content", why)
    if process.returncode != 0:
        raise WorkerBroke(f"the media worker ended with code {process.returncode}: {last_line(job)}")
    return _result(job)


def _start(job: Path, wanted: Wanted, bounds: Bounds) -> "subprocess.Popen[bytes]":
    tools = {name: shutil.which(name) for name in ("ffmpeg", "ffprobe")}
    for name, place in tools.items():
        if place is None:
            raise WorkerBroke(f"{name} is not installed here")
    readable = [str(_ROOT / "cloud_bridge"), sys.base_prefix, sys.base_exec_prefix]
    readable += [str(Path(place).resolve().parent) for place in tools.values() if place]
    request = {"wanted": wanted, "bounds": bounds.plain(), "tools": tools, "readable": sorted(set(readable))}
    # Isolated and without site-packages: nothing that is installed here runs in there.
    argv = (sys.executable, "-I", "-S", "-B", "-c", _START, str(_ROOT), json.dumps(request))
    try:
        with (job / "log").open("wb") as log:
            return subprocess.Popen(
                argv,
                cwd=job,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                close_fds=True,
                start_new_session=True,
            )
    except OSError as error:
        raise WorkerBroke(f"the media worker cannot be started ({error.strerror})") from error


def _ended_within(pid: int, seconds: float) -> bool:
    pidfd = os.pidfd_open(pid)
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


def end_group(group: int) -> None:
    """Kill a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def open_plain(path: Path) -> BufferedReader:
    """Open a regular file, no link to one; for what the worker left behind.

    Raises:
        OSError: there is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is no plain file")
    return os.fdopen(descriptor, "rb")


def last_line(job: Path) -> str:
    """The last line of what the worker and its programs said, for the log."""
    try:
        with open_plain(job / "log") as log:
            lines = log.read(_RESULT_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _result(job: Path) -> Mapping[str, Any]:
    try:
        with open_plain(job / "result.json") as file:
            found: object = json.loads(file.read(_RESULT_BYTES))
    except (OSError, ValueError) as error:
        raise WorkerBroke(f"the media worker left no answer: {last_line(job)}") from error
    if not isinstance(found, dict):
        raise WorkerBroke("the media worker's answer is no object")
    return cast("Mapping[str, Any]", found)
