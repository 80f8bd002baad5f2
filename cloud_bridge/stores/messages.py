"""What a store can do for whoever tells people: notices, recipients, messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from edge_agent.core.effects import Notice

Channel = Literal["email", "webhook"]


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told about a device, beside those the settings name.

    Attributes:
        device: its id.
        channel: how.
        address: an e-mail address or an https URL.
        kinds: kinds of notices wanted; empty: all of trouble (alarm, recovered, preflight_failed,
            film_partial, film_missed, silent, back).
        language: of the texts.
        quiet: local times ``HH:MM-HH:MM`` during which only critical alarms are sent; None: never quiet.
    """

    device: str
    channel: Channel
    address: str
    kinds: tuple[str, ...] = ()
    language: str = "en"
    quiet: str | None = None


@dataclass(frozen=True)
class OpenNotice:
    """A notice nobody has turned into messages yet, with what the store knows about its booking.

    ``booking_kind`` is None when the notice is about no booking the store knows; ``zone`` is the device's
    time zone when the store has one (None: the settings').
    """

    device: str
    notice: Notice
    title: str | None = None
    contacts: tuple[str, ...] = ()
    audience: str = "link"
    start: str | None = None
    end: str | None = None
    booking_kind: str | None = None
    record: str = "yes"
    zone: str | None = None


@dataclass(frozen=True)
class NewMessage:
    """A message to be sent.

    Attributes:
        subject: the booking's id; of trouble the cause and its beginning, ``{Notice.subject}@{moment}``:
            what stands before the ``@`` is the cause.
        not_before: when it may go at the earliest, aware UTC text.
        data: all a text needs but links, which are made on sending; ``share: true``: it carries a link.
    """

    device: str
    subject: str
    kind: str
    channel: Channel
    recipient: str
    language: str
    not_before: str
    data: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class ClaimedMessage:
    """A message that is ours to send until ``claimed_until``; ``attempt`` counts from 1."""

    id: str
    message: NewMessage
    attempt: int
    claimed_until: str


@dataclass(frozen=True)
class Told:
    """A message there is; times aware UTC text.

    Attributes:
        state: ``waiting`` (also while claimed), ``sent`` or ``given_up``.
        at: when it was sent or given up; of a waiting one when it is due.
        why: why it last did not go, in one line.
        data: as in `NewMessage`.
    """

    id: str
    device: str
    subject: str
    kind: str
    channel: Channel
    recipient: str
    language: str
    state: Literal["waiting", "sent", "given_up"]
    created_at: str
    at: str
    attempt: int
    why: str | None
    data: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class DeviceSeen:
    """A device as whoever watches over it sees it; times aware UTC text.

    ``now``: the store's clock. ``seen_at``: when its last row came in, by that clock. ``next_booking``: id
    and start of the first confirmed booking that is recorded and not over, so also of one that runs.
    """

    device: str
    org: str
    seen_at: str | None
    state: str | None
    next_booking: tuple[str, str] | None
    now: str


class MessageStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`.

    A message is a row, unique by (device, subject, kind, channel, recipient), sent by the one who claimed it.
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def open_notices(self, limit: int) -> tuple[OpenNotice, ...]:
        """Notices without messages, oldest first."""
        ...

    def add_notice(self, device: str, notice: Notice) -> bool:
        """A notice of the cloud side's own (silent, back, test); whether it is new."""
        ...

    def expand(self, notice_id: str, messages: Sequence[NewMessage]) -> int:
        """Close a notice by its messages, in one transaction; how many were new. Repeating adds none."""
        ...

    def claim(self, sender: str, lease_s: float, limit: int) -> tuple[ClaimedMessage, ...]:
        """Take due messages that nobody else has; oldest first. A lease that ran out frees its message."""
        ...

    def sent(self, message_id: str, sender: str) -> bool:
        """The message is out; False when the lease was lost meanwhile (it counts as sent all the same).

        A message whose ``data`` has ``share: true`` sets ``delivered_at`` of all shares of its booking
        that have none, to the first such moment of that booking.
        """
        ...

    def not_sent(self, message_id: str, sender: str, why: str, again_at: str | None) -> None:
        """It did not go: due again at ``again_at`` (aware UTC text), or (None) given up for good.

        Nothing happens when the lease was lost, or it was sent.
        """
        ...

    def told(self, device: str, cause: str | None, since: str) -> tuple[Told, ...]:
        """Messages made since a moment about a cause (`NewMessage.subject` up to its ``@``); None: about all.

        In the order they were made.
        """
        ...

    def recipients(self, device: str) -> tuple[Recipient, ...]:
        """Who is told about a device, as the store has it."""
        ...

    def set_recipient(self, recipient: Recipient) -> None:
        """Add one, or change it (by device, channel and address)."""
        ...

    def remove_recipient(self, device: str, channel: Channel, address: str) -> bool:
        """Whether there was one."""
        ...

    def devices_seen(self) -> tuple[DeviceSeen, ...]:
        """Every device that is not revoked."""
        ...
