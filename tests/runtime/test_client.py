"""The client of command line, demo and bench."""

import queue
from pathlib import Path

import pytest

from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.client import Client, NoAnswer, NoBroker
from schemas.commands import StartArgs
from schemas.registry import AGENT_AVAILABILITY, BOOKING, MERGE
from tests.runtime.toys import DEV, Ear, Running, booking, endpoint, toy


def test_command_gets_its_own_answer(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        Running(toy("bridge", reads=()), endpoint(broker, "bridge"), tmp_path / "state") as toys,
        Client(endpoint(broker, "cli"), DEV, (AGENT_AVAILABILITY,)) as client,
    ):
        there = AGENT_AVAILABILITY.at(agent="bridge")
        assert client.wait_for(lambda topics: there in topics, 30)
        answer = client.ask("booking", "start", StartArgs(minutes=3), command_id="c1")
        assert (answer.id, answer.status) == ("c1", "ok")
        assert client.ask("booking", "stop").message.startswith("stop")
        assert len(toys.state["asked"]) == 2


def test_nobody_answers(broker: Mosquitto) -> None:
    with (
        Client(endpoint(broker, "cli"), DEV) as client,
        pytest.raises(NoAnswer, match="no answer to booking/stop within 0 s: is its agent running"),
    ):
        client.ask("booking", "stop", timeout_s=0.2)


def test_watched_topics_come_change_and_go(broker: Mosquitto, bridge: Ear) -> None:
    at = BOOKING.at(id="b1")
    bridge.say(at, booking(1))
    with Client(endpoint(broker, "cli"), DEV, (BOOKING,)) as client:
        assert client.wait_for(lambda topics: at in topics, 30)
        bridge.say_raw("booking/b1", b"not json", retain=True)
        bridge.say(at, booking(2))
        assert client.wait_for(lambda topics: topics.get(at) == booking(2), 30)
        assert client.get(at) == booking(2)
        bridge.say(at, None)
        assert client.wait_for(lambda topics: at not in topics, 30)
        assert client.get(at) is None
        assert client.get(MERGE.at(id="b1")) is None
        assert not client.wait_for(lambda topics: at in topics, 0.05)


def test_no_broker_is_one_line() -> None:
    with (
        pytest.raises(
            NoBroker, match=r"^the broker at 127.0.0.1:9 does not accept cli: .* cannot be reached$"
        ),
        Client(Endpoint("127.0.0.1", 9, "cli", None), DEV),
    ):
        pass


def test_wrong_password_is_one_line(broker: Mosquitto) -> None:
    where = Endpoint("127.0.0.1", broker.port, "cli", "wrong")
    with (
        pytest.raises(NoBroker, match="does not accept cli: broker refused cli: Not authorized"),
        Client(where, DEV),
    ):
        pass


def test_what_changes_is_told_and_a_broker_may_come_late(broker: Mosquitto, tmp_path: Path) -> None:
    heard: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    client = Client(
        endpoint(broker, "cli"),
        DEV,
        (AGENT_AVAILABILITY,),
        lambda address, message: heard.put((address.topic.key, message is None)),
    )
    client.start()
    with Running(toy("bridge", reads=()), endpoint(broker, "bridge"), tmp_path / "state"):
        assert heard.get(timeout=30) == ("agent_availability", False)
        assert client.ready()
    client.stop()
