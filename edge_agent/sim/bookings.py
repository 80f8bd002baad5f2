"""Bookings of a court, drawn from the seed: what people want of it, and what was said of it on the bus."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.loop import MS_NS
from schemas.booking import Booking

KINDS = (
    *("plain",) * 7,
    *("extended",) * 3,
    *("shortened",) * 3,
    *("cancelled", "stopped", "taken_back", "deleted", "garbled"),
    *("off", "moved", "late", "crossing"),
    *("manual",) * 2,
    *("forgotten", "cut", "booked_here", "extended_here", "cancelled_here"),
)
BUTTONS = frozenset({"manual", "forgotten", "clip"})
"""Kinds that begin when somebody presses something, not when they were booked for."""


@dataclass
class Ticket:
    """One booking and everything that was ever said of it (true time -> message).

    Attributes:
        begin_ns, end_ns: true time as planned; room_ns: until when it may be extended.
        cleared: the bridge took the topic away because the recording is over.
    """

    id: str
    kind: str
    begin_ns: int
    end_ns: int
    room_ns: int
    history: list[tuple[int, Booking]] = field(default_factory=list[tuple[int, Booking]])
    cleared: bool = False

    @property
    def last(self) -> Booking | None:
        """The booking as it was said last."""
        return self.history[-1][1] if self.history else None

    @property
    def wanted(self) -> bool:
        """Whether it is to be recorded as things are."""
        return self.last is not None and self.last.wanted

    @property
    def always_wanted(self) -> bool:
        """Whether it was never cancelled or off."""
        return bool(self.history) and all(said.wanted for _, said in self.history)


def draw(lots: Random, begin_ns: int, until_ns: int, kinds: Sequence[str] = KINDS) -> list[Ticket]:
    """Tickets one after the other, some back to back, about four an hour."""
    tickets: list[Ticket] = []
    at_ns = begin_ns
    while at_ns < until_ns:
        length_ns = lots.randint(12, 75) * SECOND_NS + lots.choice((0, 0, 0, 500)) * MS_NS
        gap_ns = 0 if lots.random() < 0.35 else lots.randint(10, 2700) * SECOND_NS
        room_ns = at_ns + length_ns + gap_ns
        kind = lots.choice(kinds)
        tickets.append(Ticket(f"b{len(tickets)}", kind, at_ns, at_ns + length_ns, room_ns))
        at_ns = room_ns
    return tickets
