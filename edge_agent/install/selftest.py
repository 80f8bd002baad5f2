"""Tries on the running broker what must be refused and what must pass; nothing that is tried does anything.

Every account publishes to every topic of the registry, not retained and with a payload that is no message, so
that whoever is handed it drops it; and every account listens to everything meanwhile.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from edge_agent.runtime.bus import (
    Bus,
    BusEvent,
    Connected,
    Disconnected,
    Endpoint,
    Received,
    Refused,
    Subscription,
)
from schemas.acl import accounts, may_read, may_write
from schemas.base import Message
from schemas.commands import COMMANDS
from schemas.registry import AGENTS, COMMAND, FILM_OBJECT, FILM_OBJECT_NAMES, TOPICS
from schemas.topics import ROOT, Topic

PROBE = b"!"
PATIENCE_S = 10.0


def probes(cameras: Sequence[str]) -> Iterator[str]:
    """Every topic below the device's root that is tried: one for each value an owner or a rule depends on."""
    for topic in TOPICS:
        if topic is COMMAND:
            yield from _commands(cameras)
        else:
            yield from _of(topic, cameras)
    yield from (f"reply/{account}/x" for account in accounts(cameras))


def _of(topic: Topic[Message], cameras: Sequence[str]) -> Iterator[str]:
    known = {"agent": AGENTS, "cam": tuple(cameras), "sha256": ("0" * 64,)}
    if topic is FILM_OBJECT:
        known["name"] = (*FILM_OBJECT_NAMES, "other")
    values = [known.get(hole, ("selftest",)) for hole in topic.holes]
    for chosen in product(*values):
        yield topic.at(**dict(zip(topic.holes, chosen, strict=True))).path


def _commands(cameras: Sequence[str]) -> Iterator[str]:
    for spec in COMMANDS:
        targets: Sequence[str] = (spec.target,)
        if spec.target == "*":
            targets = AGENTS
        elif spec.target == "camera_*":
            targets = [f"camera_{cam}" for cam in cameras]
        yield from (COMMAND.at(target=target, name=spec.name).path for target in targets)


def covers(filters: Sequence[str], path: str) -> bool:
    """Whether one of MQTT's filters matches a topic."""
    return any(_matches(one.split("/"), path.split("/")) for one in filters)


def _matches(wanted: Sequence[str], levels: Sequence[str]) -> bool:
    for number, part in enumerate(wanted):
        if part == "#":
            return True
        if number >= len(levels) or part not in ("+", levels[number]):
            return False
    return len(wanted) == len(levels)


class _Account:
    """A connection that listens to everything and collects what it is refused and what it hears."""

    def __init__(self, endpoint: Endpoint, dev: str) -> None:
        self.name = endpoint.account
        self.refused: set[str] = set()
        self.heard: set[str] = set()
        self.state = ""
        self._root = f"{ROOT}/{dev}/"
        self._changed = threading.Condition()
        client_id = f"selftest-{endpoint.account}"
        self.bus = Bus(endpoint, client_id, [Subscription(f"{self._root}#")], self._take)

    def _take(self, event: BusEvent) -> None:
        with self._changed:
            match event:
                case Connected():
                    self.state = "connected"
                case Disconnected():
                    self.state = self.state or event.reason
                case Refused():
                    self.refused.add(event.text.partition(":")[0].removeprefix(self._root))
                case Received() if event.payload == PROBE:
                    self.heard.add(event.topic.removeprefix(self._root))
                case Received():
                    pass
            self._changed.notify_all()

    def wait(self, until: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(until, PATIENCE_S)


def self_test(
    endpoint: Callable[[str], Endpoint], dev: str, cameras: Sequence[str], everyone: Sequence[str]
) -> list[str]:
    """What the broker lets through or refuses against the contract, a line each; nothing when it is right.

    Args:
        endpoint: how to connect as an account.
        dev: the device's id.
        cameras: its cameras.
        everyone: accounts to try; those of the registry, or fewer.
    """
    faults = [*_strangers(endpoint, dev)]
    opened = [_Account(endpoint(name), dev) for name in everyone]
    try:
        for account in opened:
            account.bus.start()
        for account in opened:
            account.wait(lambda account=account: bool(account.state))  # type: ignore[misc]
            if account.state != "connected":
                faults.append(f"{account.name}: cannot connect ({account.state})")
        if faults:
            return faults
        paths = tuple(dict.fromkeys(probes(cameras)))
        for account in opened:
            for path in paths:
                account.bus.publish(f"{ROOT}/{dev}/{path}", PROBE, retain=False)
        for account in opened:
            account.bus.flush(PATIENCE_S)
        for account in opened:
            faults += _judged(account, paths, cameras)
    finally:
        for account in opened:
            account.bus.stop()
    return faults


def _judged(account: _Account, paths: Sequence[str], cameras: Sequence[str]) -> Iterator[str]:
    writes, reads = tuple(may_write(account.name, cameras)), tuple(may_read(account.name))
    for path in paths:
        allowed = covers(writes, path)
        if allowed == (path in account.refused):
            yield f"{account.name} {'may not' if allowed else 'may'} publish to {path}"
        if path in account.heard and not covers(reads, path):
            yield f"{account.name} hears {path}"


def _strangers(endpoint: Callable[[str], Endpoint], dev: str) -> Iterator[str]:
    known = endpoint("view")
    for name, password in (("view", "wrong"), ("nobody", "x"), ("", None)):
        tried = Endpoint(known.host, known.port, name, password, known.socket, known.tls)
        account = _Account(tried, dev)
        try:
            account.bus.start()
            account.wait(lambda account=account: bool(account.state))  # type: ignore[misc]
            if account.state == "connected":
                yield f"{name or 'anybody'} is let in with a wrong password"
        finally:
            account.bus.stop()
