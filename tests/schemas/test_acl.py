"""One topic, one writer: every account against every topic, through a real broker."""

import threading
from collections.abc import Generator

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.demo.servers import Mosquitto
from schemas.acl import accounts
from schemas.base import Message
from schemas.commands import COMMANDS
from schemas.registry import AGENTS, COMMAND, FILM_OBJECT, FILM_OBJECT_NAMES, PEOPLE, TOPICS
from schemas.topics import ROOT, Address
from tests.runtime.toys import CAMERAS, DEV, PASSWORDS, broker_in

ACCOUNTS = accounts(CAMERAS)
FILL = {"id": "b1", "minute": "0", "type": "t", "alarm": "a", "sha256": "0" * 64, "target": "x"}


def addresses() -> Generator[Address[Message]]:
    """At least one address of every topic, one for each value its owner or its rules depend on."""
    for topic in TOPICS:
        if topic is COMMAND:
            continue
        choices: list[dict[str, str]] = [{}]
        for hole in topic.holes:
            values = {"agent": AGENTS, "cam": CAMERAS}.get(hole, (FILL.get(hole, "n"),))
            if topic is FILM_OBJECT and hole == "name":
                values = (*FILM_OBJECT_NAMES, "other")
            choices = [{**choice, hole: value} for choice in choices for value in values]
        yield from (topic.at(**choice) for choice in choices)


ADDRESSES: list[Address[Message]] = list(addresses())


def commands() -> list[tuple[str, str, str]]:
    """Target, name and role of every command of this device."""
    found: list[tuple[str, str, str]] = []
    for spec in COMMANDS:
        if spec.target == "*":
            targets = list(AGENTS)
        elif spec.target == "camera_*":
            targets = [f"camera_{cam}" for cam in CAMERAS]
        else:
            targets = [spec.target]
        found += [(target, spec.name, spec.role) for target in targets]
    return found


class Account:
    """A connection that publishes with QoS 1 and collects the broker's verdicts."""

    def __init__(self, broker: Mosquitto, name: str) -> None:
        self.name = name
        self._verdicts: dict[int, ReasonCode] = {}
        self._changed = threading.Condition()
        self.heard: list[str] = []
        self._up = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"all-{name}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.username_pw_set(name, PASSWORDS[name])
        self._client.on_publish = self._published
        self._client.on_subscribe = lambda *_args: self._up.set()
        self._client.on_connect = self._connected
        self._client.on_message = lambda _c, _d, message: self._hear(message.topic)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._up.wait(30)

    def _connected(self, _c: object, _d: object, _f: object, _r: object, _p: object) -> None:
        self._client.subscribe(f"{ROOT}/{DEV}/#", qos=1)

    def _hear(self, topic: str) -> None:
        with self._changed:
            self.heard.append(topic.removeprefix(f"{ROOT}/{DEV}/"))
            self._changed.notify_all()

    def _published(self, _c: object, _d: object, mid: int, reason: ReasonCode, _p: object) -> None:
        with self._changed:
            self._verdicts[mid] = reason
            self._changed.notify_all()

    def allowed(self, paths: list[str]) -> dict[str, bool]:
        """Publish to each path; whether the broker took it."""
        mids = {path: self._client.publish(f"{ROOT}/{DEV}/{path}", b"{}", qos=1).mid for path in paths}
        with self._changed:
            assert self._changed.wait_for(lambda: set(mids.values()) <= set(self._verdicts), 30)
            return {path: not self._verdicts[mid].is_failure for path, mid in mids.items()}

    def hears(self, path: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: path in self.heard, 30), (self.name, path)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Account]]:
    with broker_in(tmp_path_factory.mktemp("acl")) as broker:
        clients = {name: Account(broker, name) for name in ACCOUNTS}
        yield clients
        for client in clients.values():
            client.close()


@pytest.mark.parametrize("account", ACCOUNTS)
def test_account_may_publish_what_it_owns_and_nothing_else(account: str, clients: dict[str, Account]) -> None:
    expected = {address.path: owner(address) == account for address in ADDRESSES}
    assert clients[account].allowed(list(expected)) == expected
    assert any(expected.values()) == (account not in PEOPLE)


def owner(address: Address[Message]) -> str | None:
    if address.topic is FILM_OBJECT and address["name"] not in FILM_OBJECT_NAMES:
        return None
    return address.topic.owner_of(address)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_account_may_send_the_commands_of_its_role(account: str, clients: dict[str, Account]) -> None:
    everything = {"court", "admin"}
    roles = {"api": everything, "cli": everything, "bridge": everything, "court": {"court"}}.get(
        account, set()
    )
    expected = {f"cmd/{target}/{name}": role in roles for target, name, role in commands()}
    assert clients[account].allowed(list(expected)) == expected


@pytest.mark.parametrize("account", ACCOUNTS)
def test_other_devices_and_roots_are_closed(account: str, clients: dict[str, Account]) -> None:
    paths = [f"../court-2/{address.path}" for address in ADDRESSES[:3]]
    assert not any(clients[account].allowed(paths).values())


@pytest.mark.parametrize("account", ACCOUNTS)
def test_answers_to_response_topics_come_from_agents_only(account: str, clients: dict[str, Account]) -> None:
    expected = {f"reply/{other}/x": account not in PEOPLE for other in ACCOUNTS}
    assert clients[account].allowed(list(expected)) == expected


def test_commands_and_replies_are_read_by_their_target_alone(clients: dict[str, Account]) -> None:
    sent = [f"cmd/{target}/{name}" for target, name, _ in commands()]
    assert all(clients["cli"].allowed(sent).values())
    assert all(clients["merger"].allowed([f"reply/{name}/only" for name in ACCOUNTS]).values())
    # The last word, which everybody may read: what was sent before it has arrived by then.
    assert all(clients["health"].allowed(["preflight/replies-sent"]).values())
    for client in clients.values():
        client.hears("preflight/replies-sent")
        assert {path for path in client.heard if path.endswith("/only")} == {f"reply/{client.name}/only"}
    for target, name, _ in commands():
        readers = {c.name for c in clients.values() if f"cmd/{target}/{name}" in c.heard}
        assert readers == {"bridge" if target == "booking" else target}


def test_everybody_reads_the_rest_but_guests_no_work(clients: dict[str, Account]) -> None:
    for address in ADDRESSES:
        writer = owner(address)
        if writer is not None:
            clients[writer].allowed([address.path])
    clients["health"].allowed(["preflight/last"])
    for client in clients.values():
        client.hears("preflight/last")
        unread = {a.path for a in ADDRESSES if owner(a)} - set(client.heard)
        hidden = {a.path for a in ADDRESSES if owner(a) and a.path.startswith("work/")}
        assert unread == (hidden if client.name in ("view", "court") else set())
