"""Slow, many, and large: what the HTTP side does when somebody means no good."""

import socket
import threading
from pathlib import Path

import pytest

from cloud_bridge.api import body
from cloud_bridge.api.limits import Buckets, address_key, is_this_machine
from cloud_bridge.passwords import MOST_WAITING, Busy, Passwords
from edge_agent.core.settings import Api, Settings
from tests.cloud_bridge.served import HandClock, Served, minutes


def test_a_body_that_never_comes_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_BODY_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as line:
        line.sendall(
            b"POST /api/v1/bookings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + served.keys["user"].encode() + b"\r\nContent-Length: 50\r\n\r\n{"
        )
        assert line.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert served.ask("GET", "/api/v1/bookings", "user").status == 200


def test_a_flood_of_logins_is_sent_away_and_the_rest_is_served() -> None:
    passwords, start = Passwords(), threading.Barrier(MOST_WAITING * 4)
    hashed, found = passwords.hash("a good password"), list[str]()

    def log_in() -> None:
        start.wait()
        try:
            found.append(str(passwords.fits(hashed, "a good password")))
        except Busy:
            found.append("busy")

    threads = [threading.Thread(target=log_in) for _ in range(MOST_WAITING * 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == MOST_WAITING * 4
    assert set(found) == {"True", "busy"}
    assert found.count("True") >= MOST_WAITING
    assert passwords.fits(hashed, "a good password")


def test_strangers_are_counted_by_address_this_machine_is_not(tmp_path: Path) -> None:
    settings = Settings(api=Api(open_requests_per_min=10, trusted_proxies=("127.0.0.1",)))
    with Served(settings, tmp_path) as served:

        def ask(**headers: str) -> int:
            return served.ask("GET", "/s/" + "x" * 43, headers=headers).status

        assert [ask(**{"X-Forwarded-For": "203.0.113.1"}) for _ in range(11)] == [404] * 10 + [429]
        assert ask(**{"X-Forwarded-For": "203.0.113.2"}) == 404
        assert [ask() for _ in range(20)] == [404] * 20
        served.clock.now += minutes(0.1)
        assert ask(**{"X-Forwarded-For": "203.0.113.1"}) == 404


def test_a_proxy_nobody_named_is_everybody(tmp_path: Path) -> None:
    with Served(Settings(api=Api(open_requests_per_min=10)), tmp_path) as served:
        statuses = [
            served.ask("GET", "/login", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status
            for number in range(11)
        ]
    assert statuses == [200] * 10 + [429]


def test_a_bucket_fills_again_evenly_and_the_oldest_is_forgotten() -> None:
    clock = HandClock()
    buckets = Buckets(clock, 2, 60, most=3)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 30]
    clock.now += minutes(0.5)
    assert [buckets.take("a") for _ in range(2)] == [0, 30]
    clock.now -= minutes(10)
    assert buckets.take("a") == 30
    for other in "bcd":
        assert buckets.take(other) == 0
    assert buckets.take("a") == 0, "forgotten, so it is full again"
    buckets.take("d")
    buckets.give_back("d")
    assert [buckets.take("d") for _ in range(2)] == [0, 30]


@pytest.mark.parametrize(
    ("host", "key", "here"),
    [
        ("203.0.113.7", "203.0.113.7", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", False),
        ("2001:db8:1:2::1", "2001:db8:1:2::", False),
        ("::1", "::", True),
        (None, "nobody", False),
        ("testclient", "nobody", False),
    ],
)
def test_whom_an_address_stands_for(host: str | None, key: str, here: bool) -> None:
    assert (address_key(host), is_this_machine(host)) == (key, here)
