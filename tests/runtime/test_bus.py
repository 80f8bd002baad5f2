"""The bus on a real broker: threads, sizes, sockets."""

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.bus import Bus, Connected, Disconnected, Endpoint, Refused, Subscription, Will
from schemas.acl import render_acl
from schemas.topics import ROOT
from tests.runtime.toys import CAMERAS, DEV, PASSWORDS, Ear, endpoint, eventually

TOPIC = f"{ROOT}/{DEV}/event/merger/test"


def test_publishing_from_many_threads_arrives_whole(broker: Mosquitto, ear: Ear) -> None:
    # Large and small beside each other: a packet written into another one would end the connection.
    with Ear(endpoint(broker, "merger"), filters=("none",)) as merger:

        def publish(number: int) -> None:
            for n in range(50):
                size = 90_000 if (n + number) % 2 else 10
                assert merger.bus.publish(TOPIC, b"%d %d " % (number, n) + b"x" * size, retain=False)

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ear.until(lambda: len(ear.payloads("event/merger/test")) == 200)
        assert merger.connections == 1
    assert len({payload[:8] for payload in ear.payloads("event/merger/test")}) == 200


def test_too_large_is_refused_here_and_the_connection_stays(broker: Mosquitto, ear: Ear) -> None:
    with Ear(endpoint(broker, "merger"), filters=("none",)) as merger:
        assert not merger.bus.publish(TOPIC, b"x" * 100_001, retain=False)
        assert merger.bus.publish(TOPIC, b"x" * 100_000, retain=False)
        ear.until(lambda: len(ear.payloads("event/merger/test")) == 1)
        assert [type(event) for event in merger.events] == [Connected, Refused]


def test_denied_publication_is_told_with_topic_and_reason(broker: Mosquitto) -> None:
    with Ear(endpoint(broker, "merger"), filters=("none",)) as merger:
        assert merger.bus.publish(f"{ROOT}/{DEV}/booking/b1", b"{}", retain=True)
        merger.until(lambda: any(isinstance(event, Refused) for event in merger.events))
        assert merger.events[-1] == Refused(f"{ROOT}/{DEV}/booking/b1: Not authorized")


def test_nothing_is_queued_while_away(broker: Mosquitto) -> None:
    with Ear(endpoint(broker, "merger"), filters=("none",)) as merger:
        broker.kill9()
        merger.until(lambda: any(isinstance(event, Disconnected) for event in merger.events))
        assert not merger.bus.publish(TOPIC, b"stale", retain=True)
        assert not merger.bus.ready()
        broker.start()
        merger.until(lambda: merger.connections == 2)
        with Ear(endpoint(broker, "cli")) as late:
            assert merger.bus.publish(f"{ROOT}/{DEV}/event/merger/last", b"fresh", retain=False)
            late.until(lambda: bool(late.payloads("event/merger/last")))
            assert late.payloads("event/merger/test") == []


def test_unix_socket_works_too(tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    acl = render_acl(DEV, CAMERAS)
    with Mosquitto(tmp_path / "broker", accounts=PASSWORDS, acl=acl, socket_path=path):
        where = Endpoint("unused", 1, "cli", PASSWORDS["cli"], socket=str(path))
        with Ear(where) as ear:
            assert ear.bus.ready()


def test_an_agent_without_any_network_needs_only_the_broker_s_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mqtt.sock"
    with Mosquitto(tmp_path / "broker", accounts=PASSWORDS, acl=None, socket_path=path):

        class NoNetwork(socket.socket):
            def __init__(self, family: int = -1, *more: Any, **named: Any) -> None:
                if family in (socket.AF_INET, socket.AF_INET6):
                    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
                super().__init__(family, *more, **named)

        monkeypatch.setattr(socket, "socket", NoNetwork)
        with Ear(Endpoint("unused", 1, "merger", PASSWORDS["merger"], socket=str(path))) as ear:
            assert ear.bus.ready()


def test_goodbye_sends_no_will(broker: Mosquitto, ear: Ear) -> None:
    said: list[object] = []
    will = Will(f"{ROOT}/{DEV}/agent/merger/availability", b"gone")
    bus = Bus(endpoint(broker, "merger"), "willing", [Subscription("none")], said.append, will)
    bus.start()
    eventually(bus.ready)
    assert bus.alive()
    bus.stop()
    assert not bus.alive()
    ear.say_raw("cmd/merger/log_level", b"")  # something to wait for
    ear.until(lambda: ear.connections == 1)
    assert ear.payloads("agent/merger/availability") == []
    assert [event for event in said if isinstance(event, Disconnected)] == []
