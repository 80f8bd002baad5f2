"""What a store can do, for the bridge and for the API. All times in rows are aware UTC text (`utc_text`).

Every call is one transaction, blocks, and may be made from any thread. What is answered is durable.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pydantic import JsonValue

from cloud_bridge.stores.device import DeviceStore
from edge_agent.core.agent import FailureKind
from edge_agent.core.effects import Polled, StoredBooking

Role = Literal["admin", "operator", "user"]
Counter = Literal["views", "downloads"]


class StoreError(Exception):
    """A call did not work; nothing was changed. ``kind`` as in `edge_agent.core.agent`, text for people."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
        self.text = text


class InTheWay(Protocol):
    """A booking as far as an overlap names it."""

    @property
    def id(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def end(self) -> str: ...


class Overlap(StoreError):
    """The court is somebody else's at that time. ``other`` is the id of the booking in the way."""

    def __init__(self, booking_id: str, other: InTheWay) -> None:
        text = f"{booking_id} would overlap {other.id} ({other.start} to {other.end})"
        super().__init__("input", text)
        self.other = other.id


class Conflict(StoreError):
    """What is asked contradicts what is there."""

    def __init__(self, text: str) -> None:
        super().__init__("input", text)


class Stale(Conflict):
    """What was read before is no longer what is there."""


class Missing(StoreError):
    """There is no such row."""

    def __init__(self, text: str) -> None:
        super().__init__("gone", text)


@dataclass(frozen=True)
class NewBooking:
    """A booking to make. Title and contacts are personal: they stay in the store."""

    id: str
    kind: str
    start: datetime
    end: datetime
    record: str = "yes"
    audience: str = "link"
    layout: str | None = None
    deliver: tuple[str, ...] = ("film",)
    owner: str | None = None
    of: str | None = None
    title: str | None = None
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True)
class BookingRow:
    """A booking as stored; ``cancelled_at`` is when it was last cancelled, None while confirmed."""

    stored: StoredBooking
    title: str | None
    contacts: tuple[str, ...]
    cancelled_at: str | None

    @property
    def id(self) -> str:
        """The booking's id."""
        return self.stored.id


class Position(NamedTuple):
    """Where a page ended: the last row's start (or creation) and id."""

    at: str
    id: str


@dataclass(frozen=True)
class BookingQuery:
    """A page of bookings, oldest start first: those that touch [begin, end), of an owner, of a status."""

    begin: datetime | None = None
    end: datetime | None = None
    status: str | None = None
    owner: str | None = None
    limit: int = 50
    after: Position | None = None


@dataclass(frozen=True)
class StoredResult:
    """The last body of one kind that the bridge stored of a recording."""

    body: Mapping[str, JsonValue]
    stored_at: str


@dataclass(frozen=True)
class RecordingRow:
    """A booking with what the device made of it: results by kind (recording, receipt, upload)."""

    booking: BookingRow
    results: Mapping[str, StoredResult] = field(default_factory=dict[str, StoredResult])


@dataclass(frozen=True)
class ShareRow:
    """A share; its tokens are known only as hashes."""

    share_id: str
    booking_id: str
    created_at: str
    expires_at: str
    revoked_at: str | None
    views: int
    downloads: int


@dataclass(frozen=True)
class Principal:
    """Who a token speaks for. ``org``: their organisation; None is the one whose store this is."""

    user: str
    role: Role
    org: str | None = None


class Store(DeviceStore, Protocol):
    """One club's rows. Implementations pass `tests/conformance/stores.py` and `device.py`.

    Any call may raise `StoreError` of kind transient (try again), full, permanent,
    or denied (our key is refused, whatever is asked).
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def poll(self, cursor: int) -> Polled:
        """Bookings changed after ``cursor``, and the new cursor.

        Rows never vanish. A cursor from the future (another store's) gets everything.
        """
        ...

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        """Make a booking; the row, and whether it is new. Idempotent by id.

        Raises:
            Conflict: another booking has this id.
            Overlap: it is booked or manual, and the court is taken.
        """
        ...

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        """Change fields (those of `NewBooking` but id, kind, owner and of, and ``status``).

        Args:
            booking_id: which.
            changes: the fields and their new values.
            seen: the ``changed`` that must still be the row's; None: whatever it is.

        Raises:
            Missing: there is none.
            Stale: it was changed since it was ``seen``.
            Conflict: the end would not be after the start (equal is allowed).
            Overlap: it would be confirmed where the court is taken.
        """
        ...

    def booking(self, booking_id: str) -> BookingRow | None:
        """One booking."""
        ...

    def bookings(self, query: BookingQuery) -> tuple[BookingRow, ...]:
        """A page of bookings."""
        ...

    def automatic(self) -> bool:
        """Whether booked bookings are recorded; true in a new store."""
        ...

    def set_automatic(self, *, on: bool) -> None:
        """Keep whether booked bookings are recorded."""
        ...

    def save_result(self, booking_id: str, kind: str, body: Mapping[str, JsonValue]) -> bool:
        """Keep the last body of a kind; whether anything changed. The booking need not be known."""
        ...

    def results(self, booking_id: str) -> Mapping[str, StoredResult]:
        """Everything stored of a recording, by kind."""
        ...

    def recordings(self, owner: str | None, limit: int, after: Position | None) -> tuple[RecordingRow, ...]:
        """A page of bookings of which the device has spoken, newest start first."""
        ...

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        """The booking's share; made, without a link, when it has none.

        Raises:
            Missing: there is no such booking.
        """
        ...

    def issue_link(self, booking_id: str, expires_at: datetime) -> tuple[ShareRow, str]:
        """A share with a new token, which is told this once.

        A live share that nobody has a link to yet gets it; else another share is made.

        Raises:
            Missing: there is no such booking.
        """
        ...

    def share_of(self, token: str) -> ShareRow | None:
        """The share a token opens, whatever its state."""
        ...

    def share(self, share_id: str) -> ShareRow | None:
        """One share."""
        ...

    def shares(self, owner: str | None, limit: int, after: Position | None) -> tuple[ShareRow, ...]:
        """A page of shares, newest first; of the bookings of an owner."""
        ...

    def revoke_share(self, share_id: str) -> ShareRow:
        """End a share now. Repeating it keeps the first moment.

        Raises:
            Missing: there is none.
        """
        ...

    def count(self, share_id: str, what: Counter) -> None:
        """One more view or download. Of an unknown share: nothing."""
        ...

    def make_token(self, role: Role, user: str) -> str:
        """A new key for programs, told this once.

        Raises:
            Conflict: the user's name is no id.
        """
        ...

    def principal(self, token: str) -> Principal | None:
        """Who a key speaks for; None when it is unknown or revoked."""
        ...

    def revoke_tokens(self, user: str) -> int:
        """Revoke a user's keys; how many there were."""
        ...


def new_token() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token: it has 256 bits, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
