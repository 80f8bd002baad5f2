"""The broker: retained topics in memory that may be lost or old, deliveries that are late or come twice."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_agent.core.agent import SECOND_NS
from edge_agent.runtime.bus import Received
from edge_agent.sim.loop import MS_NS, Loop, Violation
from schemas.base import Message
from schemas.commands import Answer, Command
from schemas.topics import Address

Watcher = Callable[[str, Address[Any], Message | None], None]
Hearer = Callable[[Answer], None]
SNAPSHOT_NS = 4 * SECOND_NS
KEPT_SNAPSHOTS = 8


class Client(Protocol):
    """What the broker needs of whoever is connected."""

    name: str

    def reads(self, address: Address[Any]) -> bool:
        """Whether it subscribed to a topic."""
        ...

    def heard(self, address: Address[Any], message: Message | None) -> None:
        """One topic changed."""
        ...

    def ask(self, address: Address[Any], command: Received) -> None:
        """A command came."""
        ...

    def cut_off(self) -> None:
        """The connection is gone."""
        ...


class Broker:
    """Retained topics and who is connected. Every subscriber sees publications in the broker's order."""

    def __init__(self, loop: Loop, watcher: Watcher) -> None:
        self.loop = loop
        self.up = True
        self.repeats = 0.0
        self.topics: dict[Address[Any], Message] = {}
        self.hearers: list[Hearer] = []
        self._watcher = watcher
        self._lots = loop.lots("broker")
        self._clients: dict[str, tuple[Client, int]] = {}
        self._session = 0
        self._next_ns: dict[str, int] = {}
        self._old: list[dict[Address[Any], Message]] = []
        self._snapshots()

    def _snapshots(self) -> None:
        self._old = [*self._old[1 - KEPT_SNAPSHOTS :], dict(self.topics)]
        self.loop.after(SNAPSHOT_NS, self._snapshots)

    def connect(self, client: Client) -> Mapping[Address[Any], Message] | None:
        """Subscribe: the retained topics as they are, or None while the broker is down."""
        if not self.up:
            return None
        self._session += 1
        self._clients[client.name] = (client, self._session)
        return dict(self.topics)

    def leave(self, name: str) -> None:
        """A client is gone."""
        self._clients.pop(name, None)

    def publish(self, name: str, address: Address[Any], message: Message | None) -> None:
        """Retain or clear a topic and tell the subscribers; lost while the broker is down.

        Raises:
            Violation: the topic is not this writer's, or is no retained one.
        """
        if address.topic.owner_of(address) != name or not address.topic.retained:
            raise Violation(f"{name} published {address.path}, which is not its to retain")
        if not self.up:
            return
        self._watcher(name, address, message)
        if message is None:
            self.topics.pop(address, None)
        else:
            self.topics[address] = message
        for client, session in list(self._clients.values()):
            if client.name != name and client.reads(address):
                self._deliver(client, session, address, message)

    def command(self, address: Address[Any], command_id: str, args: Mapping[str, Any]) -> None:
        """Bring a command to the agent that answers it; lost when that is not connected."""
        target = address["target"]
        client, session = self._clients.get("bridge" if target == "booking" else target, (None, 0))
        if not self.up or client is None:
            return
        payload = json.dumps({"id": command_id, "args": args}).encode()
        received = Received(address.full("sim"), payload, retained=False)

        def arrive() -> None:
            if self._clients.get(client.name) == (client, session):
                client.ask(address, received)

        self.loop.after(self._lots.randint(1, 12) * MS_NS // 4, arrive)

    def say(self, name: str, address: Address[Any], message: Message) -> None:
        """Something that is not retained; lost while its writer is not connected."""
        if not self.up or name not in self._clients:
            return
        if isinstance(message, Command):
            self.command(address, message.id or "", message.args)
            return
        if isinstance(message, Answer):
            for hear in self.hearers:
                hear(message)
        for client, session in list(self._clients.values()):
            if client.reads(address):
                self._deliver(client, session, address, message)

    def _deliver(self, client: Client, session: int, address: Address[Any], message: Message | None) -> None:
        when_ns = self.loop.now_ns + self._lots.randint(1, 12) * MS_NS // 4
        if self._lots.random() < 0.01:
            when_ns += self._lots.randint(1, 400) * MS_NS
        when_ns = max(when_ns, self._next_ns.get(client.name, 0))
        self._next_ns[client.name] = when_ns

        def arrive() -> None:
            if self._clients.get(client.name) == (client, session):
                client.heard(address, message)

        self.loop.at(when_ns, arrive)
        if self.repeats and self._lots.random() < self.repeats:
            self.loop.at(when_ns, arrive)

    def stop(self) -> None:
        """The broker dies; its clients notice within half a second."""
        self.up = False
        for client, session in list(self._clients.values()):
            self.loop.after(self._lots.randint(0, 500) * MS_NS, self._farewell(client, session))

    def _farewell(self, client: Client, session: int) -> Callable[[], None]:
        def notice() -> None:
            if self._clients.get(client.name) == (client, session):
                del self._clients[client.name]
                client.cut_off()

        return notice

    def start(self, memory: str) -> None:
        """It is back: with its memory ``whole``, ``old`` (some seconds) or ``empty``."""
        for client, session in list(self._clients.values()):
            self._farewell(client, session)()
        if memory == "empty":
            self.topics = {}
        elif memory == "old" and self._old:
            self.topics = dict(self._lots.choice(self._old))
        self.up = True
