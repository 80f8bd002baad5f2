"""A program that watches topics and sends commands: the command line, the demo, the bench."""

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from edge_agent.runtime.bus import Bus, BusEvent, Connected, Disconnected, Endpoint, Received, Subscription
from edge_agent.runtime.clock import SystemClock
from schemas.base import Envelope, M, Message, PayloadError, decode, encode
from schemas.commands import Answer, Command
from schemas.registry import ANSWER, COMMAND, find
from schemas.topics import ROOT, Address, Topic


class NoBroker(Exception):
    """The broker cannot be reached, or refuses us; one line."""


class NoAnswer(Exception):
    """Nobody answered a command in time; one line."""


class Client:
    """One connection as an account for people: a context manager, or by `start` and `stop`.

    ``topics`` holds the latest message of every watched topic; `wait_for` waits on it. ``told`` is called
    with every change of one (None: it was deleted), in the client's own thread, with its lock held: it must
    only enqueue.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        dev: str,
        watch: Sequence[Topic[Any]] = (),
        told: Callable[[Address[Any], Message | None], None] | None = None,
    ) -> None:
        self._told = told
        self._dev = dev
        self._endpoint = endpoint
        self._clock = SystemClock()
        self._session = uuid.uuid4().hex[:12]
        self._changed = threading.Condition()
        self._answers: dict[str, Answer | None] = {}
        self._state = "connecting"
        self.topics: dict[Address[Any], Message] = {}
        filters = [ANSWER.filter(), *(topic.filter() for topic in watch)]
        subscriptions = [Subscription(f"{ROOT}/{dev}/{path}") for path in filters]
        self._inbox: queue.SimpleQueue[BusEvent | None] = queue.SimpleQueue()
        name = f"{dev}-{endpoint.account}-{self._session}"
        self._bus = Bus(endpoint, name, subscriptions, self._inbox.put)
        self._thread = threading.Thread(target=self._read, name="client", daemon=True)

    def start(self) -> None:
        """Connect in the background, and again whenever the connection ends."""
        self._bus.start()
        self._thread.start()

    def ready(self) -> bool:
        """Whether the broker has us."""
        return self._bus.ready()

    def __enter__(self) -> Self:
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._state != "connecting", timeout=10)
        if self._state != "connected":
            self.stop()
            where = self._endpoint.socket or f"{self._endpoint.host}:{self._endpoint.port}"
            raise NoBroker(f"the broker at {where} does not accept {self._endpoint.account}: {self._state}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the connection. Once."""
        self._bus.stop()
        self._inbox.put(None)
        self._thread.join(3)

    def _read(self) -> None:
        while (item := self._inbox.get()) is not None:
            with self._changed:
                match item:
                    case Connected():
                        self._state = "connected"
                    case Disconnected():
                        self._state = item.reason
                    case Received():
                        self._receive(item)
                    case _:
                        pass
                self._changed.notify_all()

    def _receive(self, item: Received) -> None:
        address = find(item.topic.removeprefix(f"{ROOT}/{self._dev}/"))
        if address is None:
            return
        if not item.payload:
            if self.topics.pop(address, None) is not None and self._told is not None:
                self._told(address, None)
            return
        try:
            message = decode(address.topic.model, item.payload)
        except PayloadError:
            return
        if isinstance(message, Answer):
            if message.id in self._answers:
                self._answers[message.id] = message
        else:
            self.topics[address] = message
            if self._told is not None:
                self._told(address, message)

    def get(self, address: Address[M]) -> M | None:
        """The latest message of a watched topic, or None."""
        with self._changed:
            found = self.topics.get(address)
            return found if isinstance(found, address.topic.model) else None

    def known(self) -> Mapping[Address[Any], Message]:
        """The latest messages of all watched topics, as they are now."""
        with self._changed:
            return dict(self.topics)

    def wait_for(self, ready: Callable[[Mapping[Address[Any], Message]], bool], timeout_s: float) -> bool:
        """Wait until a condition over the watched topics holds; False when it did not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: ready(self.topics), timeout=timeout_s)

    def ask(
        self,
        target: str,
        name: str,
        args: Message | None = None,
        *,
        command_id: str | None = None,
        timeout_s: float = 10.0,
        deadline: datetime | None = None,
    ) -> Answer:
        """Send a command and wait for its answer.

        Raises:
            NoAnswer: none came in time.
        """
        wanted = command_id or uuid.uuid4().hex
        body = args.body() if args is not None else {}
        command = Command(id=wanted, args=body, deadline=deadline)
        envelope = Envelope(self._clock.wall(), self._endpoint.account, self._session, 1)
        topic = COMMAND.at(target=target, name=name).full(self._dev)
        began = time.monotonic()
        with self._changed:
            self._answers[wanted] = None
        self._bus.publish(topic, encode(command, envelope), retain=False)
        with self._changed:
            self._changed.wait_for(lambda: self._answers[wanted] is not None, timeout=timeout_s)
            answer = self._answers.pop(wanted)
        if answer is None:
            waited = time.monotonic() - began
            raise NoAnswer(f"no answer to {target}/{name} within {waited:.0f} s: is its agent running?")
        return answer
