"""A helper thread that makes a film durable now and then, off the way of the appends."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Syncer:
    """Runs `work` after a kick, at most every `every_s`; the next `check` raises its OSError."""

    def __init__(self, every_s: float, work: Callable[[], None]) -> None:
        self._every_s = every_s
        self._work = work
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    def kick(self) -> None:
        """There is something to make durable; returns at once."""
        if self._thread is None and not self._ending.is_set():
            self._thread = threading.Thread(target=self._run, name="film-sync", daemon=True)
            self._thread.start()
        self._wanted.set()

    def check(self) -> None:
        """Raise what the thread met, if anything."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread; what was kicked but not begun is not done. Idempotent."""
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._ending.is_set():
                return
            try:
                self._work()
            except OSError as error:
                self._error = error
                return
            self._ending.wait(self._every_s)
