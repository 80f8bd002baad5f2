"""A Supabase project as `cloud_bridge.stores.messages.MessageStore`."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from cloud_bridge.stores.messages import (
    Channel,
    ClaimedMessage,
    DeviceSeen,
    NewMessage,
    OpenNotice,
    Recipient,
    Told,
)
from cloud_bridge.stores.supabase_part import NOTHING, NUMBER, YES_OR_NO, Part, fields_of, plain
from edge_agent.core.effects import Notice

MOST_CLAIMED = 40
"""Of messages with 100 kB each."""
_NOTICES = TypeAdapter(tuple[OpenNotice, ...])
_CLAIMED = TypeAdapter(tuple[ClaimedMessage, ...])
_TOLD = TypeAdapter(tuple[Told, ...])
_RECIPIENTS = TypeAdapter(tuple[Recipient, ...])
_SEEN = TypeAdapter(tuple[DeviceSeen, ...])


class MessagePart(Part):
    """For whoever tells people: of one device, or without one of all that the key may see."""

    def open_notices(self, limit: int) -> tuple[OpenNotice, ...]:
        return self._page("open_notices", _NOTICES, limit=limit)

    def add_notice(self, device: str, notice: Notice) -> bool:
        return self._ask("add_notice", YES_OR_NO, device=device, notice=fields_of(notice))

    def expand(self, notice_id: str, messages: Sequence[NewMessage]) -> int:
        return self._ask(
            "expand", NUMBER, notice_id=notice_id, messages=[fields_of(message) for message in messages]
        )

    def claim(self, sender: str, lease_s: float, limit: int) -> tuple[ClaimedMessage, ...]:
        # Whatever does not arrive is claimed all the same, so no more than can be read in any case.
        return self._ask("claim", _CLAIMED, sender=sender, lease_s=lease_s, limit=min(limit, MOST_CLAIMED))

    def sent(self, message_id: str, sender: str) -> bool:
        return self._ask("sent", YES_OR_NO, message_id=message_id, sender=sender)

    def not_sent(self, message_id: str, sender: str, why: str, again_at: str | None) -> None:
        self._ask("not_sent", NOTHING, message_id=message_id, sender=sender, why=why, again_at=again_at)

    def told(self, device: str, cause: str | None, since: str) -> tuple[Told, ...]:
        return self._ask("told", _TOLD, device=device, cause=cause, since=since)

    def recipients(self, device: str) -> tuple[Recipient, ...]:
        return self._ask("recipients", _RECIPIENTS, device=device)

    def set_recipient(self, recipient: Recipient) -> None:
        self._rpc.call("set_recipient", recipient=plain(fields_of(recipient)))

    def remove_recipient(self, device: str, channel: Channel, address: str) -> bool:
        return self._ask("remove_recipient", YES_OR_NO, device=device, channel=channel, address=address)

    def devices_seen(self) -> tuple[DeviceSeen, ...]:
        return self._ask("devices_seen", _SEEN)
