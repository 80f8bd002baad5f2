"""Effects of the bridge. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from edge_agent.core.agent import Effect
from schemas.base import Message
from schemas.commands import BookArgs


@dataclass(frozen=True)
class StoredMedia:
    """A logo or intro as the store has it: a file our own worker wrote, named by its hash.

    Attributes:
        of: whose it is: the booking's owner's, or the organisation's.
        slot: ``logo``, ``sponsor1`` to ``sponsor3``, or ``intro``; for an intro what follows ``bytes`` means
            nothing.
        size: width in hundredths of the film's height.
    """

    of: Literal["user", "organisation"]
    slot: str
    sha256: str
    bytes: int
    place: str
    size: float
    opacity: float


@dataclass(frozen=True)
class StoredBooking:
    """A booking row as the store has it, times aware UTC.

    Attributes:
        changed: the store's change counter; it also rises, while the booking has not begun, when what is
            in ``dressing`` changes.
        dressing: logos and intro of its owner and of the organisation, in any order.
    """

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
    dressing: tuple[StoredMedia, ...] = ()


@dataclass(frozen=True)
class PollStore(Effect):
    """Read bookings changed since a cursor (0: all). Result: `Polled`."""

    cursor: int
    lane: str = field(default="store", init=False)


@dataclass(frozen=True)
class AwaitHint(Effect):
    """Wait until the store hints at news, however long that takes. Result None: ask now.

    Fails with ``gone`` when it never hints. A hint lost costs nothing: asking goes on at its own pace.
    """

    lane: str = field(default="hint", init=False)


@dataclass(frozen=True)
class StoredShare:
    """A booking's share as the store has it, times aware UTC text. Never a link, never a recipient.

    Attributes:
        delivered_at: when the first message with a link to it was accepted by a mail server or a webhook.
        changed: the store's change counter, one with the bookings'.
    """

    booking_id: str
    share_id: str
    expires_at: str
    revoked_at: str | None
    delivered_at: str | None
    changed: int


@dataclass(frozen=True)
class StoredCommand:
    """A command from afar, as the store has it: unanswered, meant for this device.

    Attributes:
        args: what a person or program wrote. They may be personal: where effects hand a command on, they are
            empty and ``request`` has them, validated; or ``refusal`` says in one line what is wrong.
    """

    id: str
    target: str
    name: str
    args: Mapping[str, JsonValue]
    deadline: str | None
    created_at: str
    changed: int
    request: Message | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class UnreadableRow:
    """A row that is no booking: its id as far as it has one, and in one line what is wrong with it."""

    id: str
    why: str


@dataclass(frozen=True)
class Polled:
    """What changed after the cursor asked for.

    Attributes:
        cursor: what to ask with next; every row with a lower or equal ``changed`` has been given.
        rows: bookings changed.
        count: all bookings the store has for this device, for a plausibility check only.
        complete: nothing newer is left; False: ask again at once with ``cursor``.
        shares: shares changed; of a booking with several the one that counts (live before ended, newest).
        commands: commands changed and still unanswered.
        unreadable: rows of the answer that are skipped, each with its reason.
    """

    cursor: int
    rows: tuple[StoredBooking, ...]
    count: int
    automatic: bool
    complete: bool = True
    shares: tuple[StoredShare, ...] = ()
    commands: tuple[StoredCommand, ...] = ()
    unreadable: tuple[UnreadableRow, ...] = ()


@dataclass(frozen=True)
class ResultRow:
    """One result on its way to the store: the last body of a kind of a booking (or of the device).

    ``seq`` rises with every row this device ever writes (it is the outbox's row number): a row with a lower
    or equal one than the stored is an old one come late, and changes nothing.
    """

    booking_id: str
    kind: str
    seq: int
    body: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Notice:
    """Something people may have to be told; a row once, whatever happens (idempotent by ``id``).

    The device knows no recipients: whoever sends turns a notice into messages.

    Attributes:
        id: made from what happened (booking and kind, alarm and its beginning): the same again is the same.
        kind: film_ready, film_partial, film_missed, alarm, recovered, preflight_failed, silent, back or test.
        subject: booking id, or agent and alarm (``camera_left/stalled``), or the device.
        at: when it happened, aware UTC text.
        data: what a text about it needs; nothing personal, no link.
    """

    id: str
    kind: str
    subject: str
    at: str
    data: Mapping[str, JsonValue]


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
class ShareMade:
    """A share exists."""

    share_id: str
    expires_at: str
