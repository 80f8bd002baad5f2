"""What goes wrong on demand, between the client and the stand-in."""

import threading
from dataclasses import dataclass, field

HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True)
class Canned:
    """An answer that is given instead of the real one.

    Attributes:
        status: of HTTP.
        body: all of it.
        cut: bytes of the body after which the connection is closed, though more were promised.
        done: the real work is done all the same, and its answer replaced: as when a line breaks late.
    """

    status: int = 200
    body: bytes = b"[]"
    content_type: str = "application/json"
    cut: int | None = None
    done: bool = False


@dataclass(frozen=True)
class Huge:
    """An endless answer in pieces, until somebody hangs up or ``size`` bytes are out."""

    size: int = 10_000_000
    promised: bool = False
    """Whether the length is said in the head."""


@dataclass
class Faults:
    """Read by the server for every request, written by a test at any time.

    Attributes:
        answer: given instead of the real answer, ``times`` times (None: until taken away).
        held: requests wait until this event is set.
        hidden: functions and tables that are missing from the schema cache.
        ahead_s: the server's clock minus this machine's, where tokens are checked.
        deaf: heartbeats of Realtime are read and not answered.
        mute: Realtime sends no changes.
        sent: bytes of `Huge` answers that went out.
        asked: paths asked for, in order.
    """

    answer: Canned | Huge | None = None
    times: int | None = None
    held: threading.Event | None = None
    hidden: frozenset[str] = frozenset()
    ahead_s: float = 0.0
    deaf: bool = False
    mute: bool = False
    sent: int = 0
    asked: list[str] = field(default_factory=list[str])

    def take(self) -> Canned | Huge | None:
        """The answer to give instead now."""
        if self.answer is None or self.times == 0:
            return None
        if self.times is not None:
            self.times -= 1
        return self.answer
