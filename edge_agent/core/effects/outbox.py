"""Effects of the bridge on its outbox: what waits on the device's disk until the store has it.

An entry is written once, with a number that rises for ever, and is gone when the store has it. Entries reach
the store in the order of their numbers as far as they concern the same thing. See `edge_agent.core.effects`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from edge_agent.core.agent import Effect
from edge_agent.core.effects.bridge import Notice, ShareMade, StoredBooking, StoredCommand, StoredShare
from schemas.base import Message
from schemas.commands import Answer, BookArgs

MAX_BATCH = 100


@dataclass(frozen=True)
class ResultEntry:
    """The last message of a kind of a booking (or of the device). It replaces one that is not sent yet."""

    booking_id: str
    kind: str
    message: Message


@dataclass(frozen=True)
class NoticeEntry:
    """Something people may have to be told. One that was ever written (by id) is not written again."""

    notice: Notice


@dataclass(frozen=True)
class AnswerEntry:
    """The answer to a command from afar; the command itself is no longer kept from then on."""

    command_id: str
    answer: Answer


@dataclass(frozen=True)
class ShareEntry:
    """The wish that a booking has a share."""

    booking_id: str
    expires_at: str


@dataclass(frozen=True)
class BookingEntry:
    """A booking made at the court. ``request`` carries title and contacts to the store."""

    booking_id: str
    kind: str
    start: str
    end: str
    request: BookArgs | None
    of: str | None = None


@dataclass(frozen=True)
class ChangeEntry:
    """A change of a booking made at the court: ``end`` (aware UTC text), ``status``.

    ``before``: what those fields were when it was tried and nobody knows whether that arrived. It is not
    repeated over what somebody else has written there since.
    """

    booking_id: str
    changes: Mapping[str, str]
    before: Mapping[str, str] | None = None


@dataclass(frozen=True)
class AutomaticEntry:
    """Whether booked bookings are recorded. It replaces one that is not sent yet."""

    on: bool


OrderEntry: TypeAlias = BookingEntry | ChangeEntry | AutomaticEntry
Entry: TypeAlias = ResultEntry | NoticeEntry | AnswerEntry | ShareEntry | OrderEntry


@dataclass(frozen=True)
class Enqueue(Effect):
    """Write entries into the outbox, all or none. Durable when done. Result: `Queued`."""

    entries: tuple[Entry, ...]
    lane: str = field(default="outbox", init=False)


@dataclass(frozen=True)
class Queued:
    """The number of each entry, in their order; 0 for one that was not news (a notice told before)."""

    seqs: tuple[int, ...]


@dataclass(frozen=True)
class SendBatch(Effect):
    """Bring the oldest entries, at most 100, up to a number, to the store. Result: `Sent`.

    An entry the store will never take is set aside and hinders no other. When the store is away it fails as
    the store did; ``detail`` then is the `Sent` of what went before.
    """

    through: int
    lane: str = field(default="send", init=False)


@dataclass(frozen=True)
class Refused:
    """An entry the store will never take, set aside. ``at``: when, aware UTC text.

    ``kind`` of the entry: result, notice, answer, share, booking, change or automatic; ``subject`` is the
    booking's id, or what else it is about.
    """

    seq: int
    kind: str
    subject: str
    text: str
    at: str


@dataclass(frozen=True)
class Sent:
    """What became of a batch.

    Attributes:
        through: no entry with a number up to this one is waiting any more.
        orders: numbers of the bookings and changes that the store took.
        rows: those bookings as the store has them now.
        results: booking, kind and number of the results stored.
        shares: booking and share of the wishes fulfilled.
        refused: what was set aside.
    """

    through: int
    orders: tuple[int, ...] = ()
    rows: tuple[StoredBooking, ...] = ()
    results: tuple[tuple[str, str, int], ...] = ()
    shares: tuple[tuple[str, ShareMade], ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class KeepSeen(Effect):
    """Keep what the store said, durably and at once: the next run begins with it. Result None.

    Attributes:
        cursor: what the next run asks with.
        gone: bookings that are of no more interest.
    """

    cursor: int
    automatic: bool
    rows: tuple[StoredBooking, ...] = ()
    shares: tuple[StoredShare, ...] = ()
    commands: tuple[StoredCommand, ...] = ()
    gone: tuple[str, ...] = ()
    lane: str = field(default="outbox", init=False)


@dataclass(frozen=True)
class QueuedOrder:
    """A booking or change made at the court that the store does not have yet."""

    seq: int
    entry: OrderEntry


@dataclass(frozen=True)
class OutboxInventory:
    """The outbox as found.

    Attributes:
        through: the highest number that is not sent; 0 when all is.
        orders: bookings and changes not sent, oldest first.
        queued: booking, kind, number and digest of the results not sent.
        stored: booking, kind and digest of the results the store has.
        wished: bookings whose wish for a share is not sent.
        answered: commands whose answer is not sent.
        told: ids of the notices ever written (of the last weeks).
        standing: alarms people were told of and that are not over, as told.
        refused: what was set aside (of the last day).
        trouble: in one line, when the file could not be read and was moved aside.
    """

    through: int = 0
    orders: tuple[QueuedOrder, ...] = ()
    queued: tuple[tuple[str, str, int, str], ...] = ()
    stored: tuple[tuple[str, str, str], ...] = ()
    wished: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    told: frozenset[str] = frozenset()
    standing: tuple[Notice, ...] = ()
    refused: tuple[Refused, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True)
class BridgeInventory:
    """What the last run left: the store as it was last seen, and the outbox. Nothing of it asks the store.

    Attributes:
        cursor: what to ask with; 0: the store was never read.
        commands: taken over from the store and not answered.
        moved: ``rows`` are of another store than the settings name now.
    """

    rows: tuple[StoredBooking, ...] = ()
    cursor: int = 0
    automatic: bool = True
    shares: tuple[StoredShare, ...] = ()
    commands: tuple[StoredCommand, ...] = ()
    outbox: OutboxInventory = OutboxInventory()
    moved: bool = False
