"""Commands, in both styles, on a real broker."""

import json
import logging
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.demo.servers import Mosquitto
from schemas.base import decode
from schemas.commands import Answer
from schemas.registry import BOOKING
from schemas.topics import ROOT
from tests.runtime.toys import DEV, Ear, Running, booking, endpoint, toy

RES = "res/bridge/"


def answers(ear: Ear, name: str) -> list[Answer]:
    return [decode(Answer, payload) for payload in ear.payloads(f"{RES}{name}")]


def ask(ear: Ear, name: str, **command: Any) -> Answer:
    """Ask plainly, as `mosquitto_pub` does, and wait for the answer on ``res/``."""
    before = len(ear.payloads(f"{RES}{name}"))
    ear.say_raw(f"cmd/booking/{name}", json.dumps(command).encode())
    ear.until(lambda: len(ear.payloads(f"{RES}{name}")) > before)
    return answers(ear, name)[-1]


def request(ear: Ear, name: str, payload: bytes, reply_to: str, correlation: bytes = b"c-1") -> None:
    """Ask with MQTT 5's response topic and correlation data."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = reply_to
    properties.CorrelationData = correlation
    info = ear.bus._client.publish(f"{ROOT}/{DEV}/cmd/booking/{name}", payload, qos=1, properties=properties)
    info.wait_for_publish(30)


@pytest.fixture
def toys(broker: Mosquitto, ear: Ear, tmp_path: Path) -> Any:
    with Running(toy("bridge", reads=()), endpoint(broker, "bridge"), tmp_path / "state") as toys:
        ear.until(lambda: "agent/bridge/availability" in ear.retained())
        yield toys


def test_plain_command_is_answered_once(toys: Running, ear: Ear) -> None:
    answer = ask(ear, "start", id="c1", args={"minutes": 10})
    assert (answer.id, answer.status, answer.message) == ("c1", "ok", "start 1")
    assert toys.state["asked"] == ("c1",)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"v":1}', b'{"args":{}}'])
def test_empty_command_is_legal(payload: bytes, toys: Running, ear: Ear) -> None:
    ear.say_raw("cmd/booking/stop", payload)
    ear.until(lambda: len(ear.payloads(f"{RES}stop")) == 1)
    assert answers(ear, "stop")[0].status == "ok"
    assert answers(ear, "stop")[0].id == toys.state["asked"][0]


def test_answer_goes_to_the_response_topic_too_with_its_correlation(toys: Running, ear: Ear) -> None:
    request(ear, "stop", b"{}", f"{ROOT}/{DEV}/reply/cli/x/1", b"\x00\xff")
    ear.until(lambda: bool(ear.payloads("reply/cli/x/1")))
    [reply] = [item for item in ear.heard if item.topic.endswith("reply/cli/x/1")]
    assert reply.correlation == b"\x00\xff"
    assert ear.payloads(f"{RES}stop") == [reply.payload]


def test_requesters_with_the_same_correlation_are_not_mixed_up(toys: Running, ear: Ear) -> None:
    for name in ("stop", "start"):
        request(ear, name, b"{}", f"{ROOT}/{DEV}/reply/cli/{name}", b"1")
        ear.until(partial(ear.latest, f"reply/cli/{name}"))
    assert decode(Answer, ear.latest("reply/cli/start")).message.startswith("start")
    assert len(toys.state["asked"]) == 2


@pytest.mark.parametrize(
    "reply_to",
    [
        "somewhere/else",
        f"{ROOT}/{DEV}/booking/b1",
        f"{ROOT}/{DEV}/reply",
        f"{ROOT}/{DEV}/reply/cli",
        f"{ROOT}/court-2/reply/cli/x",
        f"{ROOT}/{DEV}/reply/CLI/x",
        f"x/{ROOT}/{DEV}/reply/cli/x",
    ],
)
def test_other_response_topics_are_refused(reply_to: str, toys: Running, ear: Ear) -> None:
    request(ear, "stop", b'{"id":"c9"}', reply_to)
    ear.until(lambda: bool(ear.payloads(f"{RES}stop")))
    answer = answers(ear, "stop")[0]
    assert (answer.id, answer.status) == ("c9", "rejected")
    assert answer.message == "response topic refused: expected reply/{account}/..."
    assert toys.state["asked"] == ()
    assert [item for item in ear.heard if item.topic == reply_to] == []


def came(ear: Ear, times: int) -> bool:
    return len(ear.payloads("agent/bridge/availability")) == times


def test_repeated_id_gets_the_first_answer_also_after_a_restart(
    broker: Mosquitto, ear: Ear, tmp_path: Path
) -> None:
    for run in range(2):
        with Running(toy("bridge", reads=()), endpoint(broker, "bridge"), tmp_path / "state") as toys:
            ear.until(partial(came, ear, 2 * run + 1))
            first = ask(ear, "start", id="c1")
            again = ask(ear, "start", id="c1", args={"minutes": 99})
            assert first == again
            assert toys.state["asked"] == (("c1",) if run == 0 else ())


@pytest.mark.parametrize(
    ("name", "command", "status", "message"),
    [
        ("start", {"args": {"minutes": -1}}, "rejected", "minutes: Input should be greater than 0"),
        ("start", {"args": {"minutes": "ten"}}, "rejected", "minutes: Input should be a valid number"),
        ("start", {"args": {"minutes": 1e999}}, "rejected", "payload is not JSON"),
        ("start", {"args": [1]}, "rejected", "args: Input should be a valid dictionary"),
        ("start", {"id": ""}, "rejected", "id: String should have at least 1 character"),
        ("start", {"v": 2}, "rejected", "payload has v=2, 1 expected"),
        (
            "book",
            {"args": {"start": "2026-05-01T12:00:00", "end": "2026-05-01T13:00:00Z"}},
            "rejected",
            "start: Input should have timezone info",
        ),
        (
            "book",
            {"args": {"id": "Bad Id", "start": "2026-05-01T12:00:00Z", "end": "2026-05-01T13:00:00Z"}},
            "rejected",
            "id: String should match pattern",
        ),
        ("nonsense", {}, "rejected", "booking knows no command 'nonsense'"),
        ("stop", {"deadline": "2020-01-01T00:00:00Z"}, "expired", "the deadline has passed"),
        (
            "stop",
            {"deadline": "2020-01-01T00:00:00"},
            "rejected",
            "deadline: Input should have timezone info",
        ),
    ],
)
def test_what_cannot_be_gets_one_clear_line(
    name: str, command: dict[str, Any], status: str, message: str, toys: Running, ear: Ear
) -> None:
    answer = ask(ear, name, **command)
    assert answer.status == status
    assert answer.message.startswith(message)
    assert "\n" not in answer.message
    assert toys.state["asked"] == ()


def test_hostile_commands_are_each_answered_at_most_once(toys: Running, ear: Ear) -> None:
    lots = random.Random(7)

    def rubbish() -> bytes:
        kinds: list[Callable[[], bytes]] = [
            lambda: lots.randbytes(lots.randint(0, 300)),
            lambda: b"[" * lots.randint(1, 5000),
            lambda: b'{"args":' + b'{"a":' * 900 + b"1" + b"}" * 901,
            lambda: json.dumps({"id": lots.choice([1, None, "x" * 200, [], "\ud800", "a\nb"])}).encode(),
            lambda: json.dumps({"args": {"minutes": lots.choice([0, "1", True, [], 10**400])}}).encode(),
            lambda: json.dumps(
                {"id": f"h{lots.randint(0, 40)}", "deadline": lots.choice([1, "soon", 0])}
            ).encode(),
            lambda: b'{"id":"big","args":{"x":"' + b"y" * 90_000 + b'"}}',
        ]
        return lots.choice(kinds)()

    for number in range(200):
        request(ear, "start", rubbish(), f"{ROOT}/{DEV}/reply/cli/{number}", b"%d" % number)
    assert ask(ear, "stop", id="last").status == "ok"
    replies = [item.topic for item in ear.heard if "/reply/cli/" in item.topic]
    assert len(replies) == len(set(replies))
    assert len(replies) >= 190  # a repeated id that is still waiting may go without
    assert len(ear.payloads(f"{RES}start")) == len(replies)
    assert toys.host.core.faults == 0


def test_commands_wait_until_the_world_is_known(broker: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    with Ear(endpoint(broker, "bridge")) as past:
        for number in range(300):
            past.say(BOOKING.at(id=f"b{number}"), booking())
    with Running(toy("bridge", reads=(BOOKING,)), endpoint(broker, "bridge"), tmp_path / "state") as toys:
        # Asked as soon as the nonce is on its way: the snapshot is being collected then.
        ear.until(lambda: bool(ear.payloads("agent/bridge/sync")))
        answer = ask(ear, "stop", id="early")
        assert answer.message == "stop 1"
        assert toys.state["worlds"] == 1


def test_log_level_is_set(toys: Running, ear: Ear) -> None:
    before = logging.getLogger().level
    ear.say_raw("cmd/bridge/log_level", b'{"args":{"level":"error"}}')
    ear.until(lambda: bool(ear.payloads(f"{RES}log_level")))
    assert logging.getLogger().level == logging.ERROR
    logging.getLogger().setLevel(before)
