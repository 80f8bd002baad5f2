"""Virtual time: one queue of things to happen, and every lot drawn from the seed."""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

from edge_agent.core.agent import SECOND_NS

TRACE = 30
MS_NS = SECOND_NS // 1000
US_NS = 1000


class Violation(Exception):
    """A promise was broken; the text says which in one sentence."""


class Loop:
    """The event queue. True time ``now_ns`` begins at 0 and is always a whole number of microseconds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = 0
        self.steps = 0
        self.trace: deque[tuple[int, str, str, object]] = deque(maxlen=TRACE)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def lots(self, name: str) -> Random:
        """A source of lots of its own, so that one more lot here changes nothing there."""
        return Random(f"{self.seed}/{name}")

    def at(self, when_ns: int, act: Callable[[], None]) -> None:
        """Have something happen at a time, or now when that is past."""
        self._count += 1
        when_ns = max(self.now_ns, -(-when_ns // US_NS) * US_NS)
        heapq.heappush(self._queue, (when_ns, self._count, act))

    def after(self, wait_ns: int, act: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self.at(self.now_ns + wait_ns, act)

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due before a time.

        Raises:
            Violation: as raised by what happens.
        """
        while self._queue and self._queue[0][0] < until_ns:
            self.now_ns, _, act = heapq.heappop(self._queue)
            self.steps += 1
            act()
        self.now_ns = max(self.now_ns, until_ns)

    def note(self, who: str, what: str, about: object = None) -> None:
        """Remember a step for the trace of a violation."""
        self.trace.append((self.now_ns, who, what, about))

    def told(self) -> tuple[str, ...]:
        """The last steps, oldest first, a line each."""
        return tuple(
            f"{at_ns / SECOND_NS:10.3f} {who}: {what} {_short(about)}".rstrip()
            for at_ns, who, what, about in self.trace
        )


def _short(about: object) -> str:
    text = "" if about is None else str(about)
    return text if len(text) <= 220 else f"{text[:217]}..."
