"""An end for conversations: a peer that drips a byte a second never runs into the timeout of a step."""

import contextlib
import os
import socket
import threading
import time
from types import TracebackType
from typing import Self


class Cutoff:
    """Hangs up on a connection when its time is over. Use as a context manager, one per conversation."""

    def __init__(self, whole_s: float) -> None:
        """The time runs from here.

        Args:
            whole_s: longest time the conversation may take.
        """
        self._until = time.monotonic() + whole_s
        self._held: socket.socket | None = None
        self._timer: threading.Timer | None = None

    @property
    def left_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until

    def watch(self, sock: socket.socket) -> None:
        """From now on this connection ends when the time is over, also after it was wrapped into TLS."""
        # Wrapping takes the descriptor away from the socket it was given: a second one stays ours.
        self._held = socket.socket(fileno=os.dup(sock.fileno()))
        self._timer = threading.Timer(self.left_s, _hang_up, (self._held,))
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._held is not None:
            self._held.close()


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
