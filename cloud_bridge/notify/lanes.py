"""Who is sent to at the same time: destinations beside each other, each one's messages one after another."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition

from cloud_bridge.stores.messages import Channel, ClaimedMessage

WIDTHS: Mapping[Channel, int] = {"email": 3, "webhook": 6}
DEPTH = 20
"""Messages of one destination that may wait here: more would be others' room."""


@dataclass(frozen=True)
class Held:
    """A claimed message; ``since_s``: `time.monotonic` before it was claimed."""

    claimed: ClaimedMessage
    since_s: float


class Lanes:
    """Threads that send. A destination that hangs holds one thread, and its own messages."""

    def __init__(self, send: Callable[[Held], None]) -> None:
        """``send`` is called in a thread of ours and must not raise."""
        self._send = send
        self._waiting: dict[tuple[Channel, str], deque[Held]] = {}
        self._busy: set[tuple[Channel, str]] = set()
        self._closing = False
        self._changed = Condition()
        self._pools = {channel: ThreadPoolExecutor(width, channel) for channel, width in WIDTHS.items()}

    def put(self, held: Held) -> bool:
        """Send when those before it to the same recipient are done; False: too many of them wait already."""
        message = held.claimed.message
        to = (message.channel, message.recipient)
        with self._changed:
            if to in self._waiting:
                room = len(self._waiting[to]) < DEPTH
                if room:
                    self._waiting[to].append(held)
                return room
            self._waiting[to] = deque((held,))
        self._pools[message.channel].submit(self._work, to)
        return True

    @property
    def load(self) -> int:
        """Messages that are being sent or wait here."""
        with self._changed:
            return sum(len(lot) for lot in self._waiting.values())

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until nothing is left here; whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self, patience_s: float) -> tuple[Held, ...]:
        """Begin nothing more and wait a little for what is being sent; those that had not begun."""
        with self._changed:
            self._closing = True
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, patience_s)
            return tuple(
                one for to, lot in self._waiting.items() for one in list(lot)[1 if to in self._busy else 0 :]
            )

    def _work(self, to: tuple[Channel, str]) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                first = self._waiting[to][0]
                self._busy.add(to)
            self._send(first)
            with self._changed:
                self._busy.discard(to)
                lot = self._waiting[to]
                lot.popleft()
                if not lot:
                    del self._waiting[to]
                self._changed.notify_all()
                if not lot:
                    return
