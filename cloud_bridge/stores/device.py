"""What a store can do for one device: the bridge's side of it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import JsonValue

from edge_agent.core.effects import Notice, ResultRow


class DeviceStore(Protocol):
    """Beside `cloud_bridge.stores.base.Store`, whose rules (transactions, threads, errors) hold here too.

    Bookings, shares and commands share one change counter, given out in the order of the commits: a poll
    that saw n has seen everything up to n.
    """

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        """Keep results, all or none, in their order; how many were news.

        A row whose ``seq`` is not above the stored one's of its booking and kind changes nothing.
        A ``recording`` or ``upload`` also updates what people's tables show of it (``recordings``,
        ``videos``), a ``health`` the device's status and heartbeat.
        """
        ...

    def add_notices(self, notices: Sequence[Notice]) -> int:
        """Write what people may have to be told, all or none; how many were new (by id)."""
        ...

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        """Write a command's answer (`schemas.commands.Answer` as a body); whether it was the first.

        Raises:
            Missing: there is no such command for this device.
        """
        ...

    def order_command(self, command: Mapping[str, JsonValue]) -> str:
        """Write a command for a device (``target``, ``name``, ``args``, ``deadline``, ``by``); its id.

        For pages in the cloud, where ``device`` says which one. A given ``id`` makes it idempotent.

        Raises:
            Conflict: no target or no name, or another command has this id.
        """
        ...
