"""What the broker holds: the retained topics from a new connection until our own nonce comes back."""

from typing import Any

from edge_agent.core.agent import SECOND_NS
from edge_agent.runtime.bus import Received
from edge_agent.runtime.retained import Unreadable
from schemas.base import Message, decode
from schemas.places import check_places
from schemas.registry import AGENT_SYNC, find
from schemas.topics import ROOT, Address, Topic

PATIENCE_NS = 15 * SECOND_NS
MAX_HELD_COMMANDS = 200


class Snapshot:
    """Collects from the end of the old connection on: a broker may send before it confirms a subscription.

    ``held``: commands that came meanwhile, for after the `World`.
    """

    def __init__(self, now_ns: int) -> None:
        self.nonce: str | None = None
        self.own: dict[Address[Any], Message] = {}
        self.world: dict[Address[Any], Message] = {}
        self.held: list[tuple[Address[Any], Received]] = []
        self._moved_ns = now_ns

    def moved(self, now_ns: int) -> None:
        """Something arrived."""
        self._moved_ns = now_ns

    def stuck(self, now_ns: int) -> bool:
        """Whether nothing came for too long although we are connected."""
        return self.nonce is not None and now_ns - self._moved_ns > PATIENCE_NS

    def note_own(self, address: Address[Any], message: Message | None, *, readable: bool) -> None:
        """One of our own topics as the broker has it; unreadable ones are ghosts to be replaced."""
        if message is not None:
            self.own[address] = message
        elif readable:
            self.own.pop(address, None)
        else:
            self.own[address] = Unreadable()

    def note_world(self, address: Address[Any], message: Message | None) -> None:
        """A topic the agent reads, or its end."""
        if message is None:
            self.world.pop(address, None)
        else:
            self.world[address] = message

    def hold(self, address: Address[Any], item: Received) -> bool:
        """Keep a command until the world is known; False when there are too many."""
        if len(self.held) >= MAX_HELD_COMMANDS:
            return False
        self.held.append((address, item))
        return True


class Reader:
    """Turns what arrives into addresses and messages, and says whose concern they are."""

    def __init__(self, agent: str, dev: str, subscribes: tuple[Topic[Any], ...]) -> None:
        self._agent = agent
        self._root = f"{ROOT}/{dev}/"
        self._keys = frozenset(topic.key for topic in subscribes)

    def address(self, topic: str) -> Address[Any] | None:
        """The address of a whole topic, or None when it is none of the contract's."""
        if not topic.startswith(self._root):
            return None
        return find(topic[len(self._root) :])

    def reads(self, address: Address[Any]) -> bool:
        """Whether the agent subscribed to it."""
        return address.topic.key in self._keys

    def owns(self, address: Address[Any]) -> bool:
        """Whether it is a retained topic of the agent's own."""
        return address.topic.retained and address.topic.owner_of(address) == self._agent

    def is_sync(self, address: Address[Any]) -> bool:
        """Whether it is the agent's own nonce topic."""
        return address.topic is AGENT_SYNC and address.topic.owner_of(address) == self._agent


def read(address: Address[Any], payload: bytes) -> Message | None:
    """The message of a payload, None for an empty one.

    Raises:
        PayloadError: it is not what its topic says, or speaks of files that are not its own.
    """
    if not payload:
        return None
    message: Message = decode(address.topic.model, payload)
    check_places(address, message)
    return message
