"""Whose part goes next: people who wait at the court come first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_agent.core.upload import NAME_ORDER, Item
from schemas.booking import Booking

WHISTLE_PAUSE = timedelta(seconds=60)
"""So long after a whistle nothing else is sent, even while the film has nothing to send."""
TRIES = 5
"""A film that keeps failing no longer holds the others back."""


@dataclass(frozen=True)
class Court:
    """What is known of the recordings: bookings, which are planned to their end, which will have no film."""

    bookings: Mapping[str, Booking]
    planned: frozenset[str]
    hopeless: frozenset[str]
    wall: datetime

    def whistled(self, booking_id: str) -> bool:
        """Whether the recording's end is past."""
        booking = self.bookings.get(booking_id)
        return booking_id in self.planned or (booking is not None and booking.to <= self.wall)

    def urgent(self, item: Item) -> bool:
        """Whether people wait for this: a film after its whistle, not in the bucket yet."""
        return (
            item.name == "film"
            and item.work is not None
            and not item.verified
            and not item.gave_up
            and item.booking_id not in self.hopeless
            and self.whistled(item.booking_id)
        )

    def alone(self, item: Item) -> bool:
        """Whether other uploads pause for this one."""
        if not self.urgent(item) or item.work is None or item.attempts >= TRIES:
            return False
        booking = self.bookings.get(item.booking_id)
        fresh = booking is not None and self.wall < booking.to + WHISTLE_PAUSE
        return item.work.complete or fresh

    def held(self, item: Item) -> bool:
        """Whether its booking is not wanted now: it may be taken back, or end dead.

        A poster waits for its recording's end: nobody sees it before the film, and were the booking
        cancelled meanwhile, the device's keys could not delete the picture.
        """
        booking = self.bookings.get(item.booking_id)
        if booking is None or item.void:
            return False
        return not booking.wanted or (item.name == "poster" and not self.whistled(item.booking_id))

    def rank(self, item: Item) -> tuple[bool, bool, float, int, str]:
        """Order of turns: films after the whistle, what is past, what runs; who waits longest first."""
        booking = self.bookings.get(item.booking_id)
        ended = booking.to.timestamp() if booking is not None else 0.0
        order = NAME_ORDER.index(item.name) if item.name in NAME_ORDER else len(NAME_ORDER)
        return (not self.urgent(item), not self.whistled(item.booking_id), ended, order, item.object_id)


def queue(items: Iterable[Item], court: Court) -> tuple[tuple[Item, ...], bool]:
    """Objects that may do something now, in order of their turn; and whether others are held back.

    A cancellation that comes when all is over (the film in the bucket, or a receipt, which no cancelled
    recording has) is too late: what belongs to the recording follows.
    """
    known = tuple(items)
    over = {
        item.booking_id for item in known if item.name == "receipt" or (item.name == "film" and item.verified)
    }
    open_items = [
        item for item in known if not item.verified and (item.booking_id in over or not court.held(item))
    ]
    alone = [item for item in open_items if court.alone(item)]
    turn = sorted(alone or open_items, key=court.rank)
    return tuple(turn), bool(alone) and len(alone) < len(open_items)
