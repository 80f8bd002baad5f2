"""Retained topics as views: what an agent wants to exist, against what the broker and the disk hold.

Republishing, ghosts, coalescing and forgotten clears exist once, here. Cheap when nothing changed: a
message that is the same object as at the last look is not looked at again.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from schemas.base import Message
from schemas.topics import Address

Retained: TypeAlias = Mapping[Address[Any], Message]
Changes: TypeAlias = list[tuple[Address[Any], Message | None]]


class Unreadable(Message):
    """Stands for an own topic whose payload on the broker cannot be read: a ghost like any other."""


class Looks:
    """Finds which messages are other objects than at the last look."""

    def __init__(self) -> None:
        self.wanted: dict[Address[Any], Message] = {}

    def look(self, wanted: dict[Address[Any], Message]) -> tuple[list[Address[Any]], list[Address[Any]]]:
        """Addresses whose message is new or another object, and addresses that are no longer wanted."""
        before, self.wanted = self.wanted, wanted
        changed = [address for address, message in wanted.items() if before.get(address) is not message]
        new = sum(address not in before for address in changed)
        if len(wanted) - new == len(before):
            return changed, []
        return changed, [address for address in before if address not in wanted]


class Holding:
    """What the broker holds of our topics, since the last snapshot; nothing is known before it."""

    def __init__(self, own: Retained, now_ns: int) -> None:
        self._held = dict(own)
        self._published_ns = dict.fromkeys(own, now_ns)
        self._later: set[Address[Any]] = set()

    def strangers(self, wanted: Retained) -> list[Address[Any]]:
        """What the broker holds and nobody wants."""
        return [address for address in self._held if address not in wanted]

    def compare(self, address: Address[Any], message: Message, now_ns: int, period_ns: int) -> bool:
        """Whether to publish a message now; then it counts as published.

        A change of volatile fields alone waits until ``period_ns`` after the last publication.
        """
        held = self._held.get(address)
        if held is not None and (held is message or held == message):
            self._held[address] = message
            self._later.discard(address)
            return False
        if held is not None and type(held) is type(message) and held.stable() == message.stable():
            due_ns = self._published_ns[address] + period_ns
            if now_ns < due_ns:
                self._later.add(address)
                return False
        self._held[address] = message
        self._published_ns[address] = now_ns
        self._later.discard(address)
        return True

    def await_period(self, address: Address[Any]) -> None:
        """Compare this address again after its period although nothing changed (a heartbeat)."""
        self._later.add(address)

    def clear(self, address: Address[Any]) -> bool:
        """Whether a topic that is not wanted must be cleared."""
        self._later.discard(address)
        self._published_ns.pop(address, None)
        return self._held.pop(address, None) is not None

    def due(self, now_ns: int, period_ns: int) -> list[Address[Any]]:
        """Addresses whose volatile fields may go out now."""
        if not self._later:
            return []
        return [a for a in self._later if now_ns - self._published_ns.get(a, 0) >= period_ns]

    def next_ns(self, period_ns: int) -> int | None:
        """When the next address is due."""
        return min((self._published_ns.get(a, 0) + period_ns for a in self._later), default=None)


class Memory:
    """What the disk holds of our own remembered topics."""

    def __init__(self) -> None:
        self._kept: dict[Address[Any], Message] = {}

    def adopt(self, topics: Retained) -> None:
        """What was found on disk."""
        self._kept = dict(topics)

    def changes(
        self, wanted: Retained, changed: Iterable[Address[Any]], gone: Iterable[Address[Any]]
    ) -> Changes:
        """What to write and what to forget after a look."""
        found: Changes = []
        for address in changed:
            if address.topic.remembered and self._kept.get(address) != wanted[address]:
                self._kept[address] = wanted[address]
                found.append((address, wanted[address]))
        for address in gone:
            if self._kept.pop(address, None) is not None:
                found.append((address, None))
        return found

    def strangers(self, wanted: Retained) -> list[Address[Any]]:
        """What is on disk and no longer wanted."""
        return [address for address in self._kept if address not in wanted]
