"""Fake drivers: an effect takes a while, then happens, then is told; a kill falls into any of these."""

from collections.abc import Callable
from random import Random

from edge_agent.core.agent import Effect
from edge_agent.core.effects import DeleteMedia
from edge_agent.core.errors import EffectFailed
from edge_agent.sim.disk import Disk
from edge_agent.sim.loop import MS_NS, Loop
from edge_agent.sim.node import Finish

Judge = Callable[[str, DeleteMedia], None]


class FakeDrivers:
    """What every agent's drivers share. One object per process; what lasts is on disk or in the bucket.

    Attributes:
        trouble: how often an effect fails for no reason of its own (transient), 0 to 1.
        hand_back: what the agent is told of a result; planted bugs change it.
    """

    def __init__(self, loop: Loop, disk: Disk, lots: Random, trouble: float) -> None:
        self.loop = loop
        self.disk = disk
        self.lots = lots
        self.trouble = trouble
        self.alive = True

    def inventory(self) -> object:
        """See `Drivers`."""
        return None

    def killed(self) -> None:
        """See `Drivers`."""
        self.alive = False

    def stirred(self) -> None:
        """See `Drivers`."""

    def start(self, effect: Effect, finish: Finish) -> None:
        """See `Drivers`: wait, do, wait, tell."""
        before_ns, after_ns = self.latency_ns(effect)
        fails = self.lots.random() < self.trouble
        happens = not fails or self.lots.random() < 0.3

        def do() -> None:
            if not self.alive:
                return
            result: object
            try:
                result = self.perform(effect) if happens else None
                if fails:
                    result = EffectFailed("transient", "the simulated world said no")
            except EffectFailed as failure:
                result = failure
            self.loop.after(after_ns, lambda: finish(result))

        self.loop.after(before_ns, do)

    def latency_ns(self, effect: Effect) -> tuple[int, int]:
        """How long an effect takes until it happens, and from there until it is told."""
        del effect
        return self.lots.randint(1, 30) * MS_NS, self.lots.randint(0, 8) * MS_NS

    def perform(self, effect: Effect) -> object:
        """Do it.

        Raises:
            EffectFailed: it did not work.
        """
        raise EffectFailed("bug", f"no driver for {type(effect).__name__}")
