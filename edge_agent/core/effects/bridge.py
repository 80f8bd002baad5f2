"""Effects of the bridge. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import Effect
from schemas.base import Message
from schemas.commands import BookArgs


@dataclass(frozen=True)
class StoredBooking:
    """A booking row as the store has it, times aware UTC. ``changed``: the store's change counter."""

    id: str
    kind: str
    start: str
    end: str
    status: str
    record: str
    audience: str
    layout: str | None
    deliver: tuple[str, ...]
    owner: str | None
    of: str | None
    changed: int
    created_at: str


@dataclass(frozen=True)
class PollStore(Effect):
    """Read bookings changed since a cursor (0: all). Result: `Polled`."""

    cursor: int
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class Polled:
    """Rows changed after the cursor asked for; ``complete`` when the answer was whole."""

    cursor: int
    rows: tuple[StoredBooking, ...]
    count: int
    automatic: bool
    complete: bool = True


@dataclass(frozen=True)
class SaveBooking(Effect):
    """Create a booking row (idempotent by id). ``request`` carries title and contacts to the store."""

    booking_id: str
    kind: str
    start: str
    end: str
    request: BookArgs | None
    of: str | None = None
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class ChangeBooking(Effect):
    """Change fields of a booking row: ``end`` (aware UTC text), ``status``, ``record``. Result None.

    Fails with ``gone`` when there is no such booking.
    """

    booking_id: str
    changes: Mapping[str, str]
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class SaveAutomatic(Effect):
    """Persist whether booked bookings are recorded."""

    on: bool
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class SaveResult(Effect):
    """Store a topic's message as a row, idempotent by kind, booking and digest. Result None.

    For recordings, receipts and uploads.
    """

    booking_id: str
    kind: str
    message: Message
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class MakeShare(Effect):
    """Make the booking's one share when there is none. Result: `ShareMade` (never the link)."""

    booking_id: str
    expires_at: str
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class ShareMade:
    """A share exists."""

    share_id: str
    expires_at: str


@dataclass(frozen=True)
class BridgeInventory:
    """The store as last seen: rows, cursor, whether booked bookings are recorded."""

    rows: tuple[StoredBooking, ...] = ()
    cursor: int = 0
    automatic: bool = True
