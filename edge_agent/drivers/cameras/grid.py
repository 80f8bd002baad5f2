"""Where segments split: at every multiple of the segment length of wall time, and at every cut."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable


def wall_offset_ns() -> int:
    """Wall clock minus monotonic clock, now: of five readings the one made fastest."""
    best = (1 << 62, 0)
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        best = min(best, (after - before, wall - (before + after) // 2))
    return best[1]


class SplitGrid:
    """Decides which frames begin a segment. Cuts may be replaced from another thread at any time.

    The wall offset is measured at the first frame and at each grid point, so a stepped clock moves the grid,
    never a frame's time.
    """

    def __init__(self, segment_ns: int, measure: Callable[[], int] = wall_offset_ns) -> None:
        """`segment_ns` is the grid's period; `measure` gives wall minus monotonic time."""
        self._segment_ns = segment_ns
        self._measure = measure
        self._cuts: tuple[int, ...] = ()
        self._last_ns: int | None = None
        self._next_ns = 0
        self.wall_offset_ns = 0

    def set_cuts(self, cuts_ns: Iterable[int]) -> None:
        """Replace all cuts (monotonic). Those already passed have no effect."""
        self._cuts = tuple(sorted(cuts_ns))

    def passes(self, mono_ns: int) -> bool:
        """Say whether a boundary lies between the frame asked about last and this one; True for the first."""
        last, self._last_ns = self._last_ns, mono_ns
        if last is None:
            self._aim(mono_ns, skip_ns=0)
            return True
        cuts = self._cuts
        passed = bisect_right(cuts, last) < bisect_right(cuts, mono_ns)
        if mono_ns >= self._next_ns:
            # An offset measured a little later must not put the same grid point ahead of us once more.
            self._aim(mono_ns, skip_ns=self._segment_ns // 4)
            return True
        return passed

    def _aim(self, mono_ns: int, skip_ns: int) -> None:
        self.wall_offset_ns = self._measure()
        wall = mono_ns + self.wall_offset_ns + skip_ns
        self._next_ns = (wall // self._segment_ns + 1) * self._segment_ns - self.wall_offset_ns
