"""Devices over HTTP: commands as rows, states by the real broker, events and figures."""

import asyncio
import json
import queue
import threading
from collections.abc import Generator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.api.feed import END, MOST_OF_ONE, MOST_WAITING, Change, Feed, TooMany
from cloud_bridge.api.live import AWAY, LiveDevice
from edge_agent.core.settings import Settings
from edge_agent.demo.servers import Mosquitto
from schemas.agent import Alarm
from schemas.base import Message
from schemas.camera import CameraStatus
from schemas.health import Alarms, Availability, Disk, Health
from schemas.recording import Recording
from schemas.registry import ALARM, AVAILABILITY, CAMERA_STATUS
from schemas.topics import Address
from tests.cloud_bridge.served import NOON, Served, minutes
from tests.cloud_bridge.test_api import problem
from tests.runtime.toys import DEV, Ear, broker_in, endpoint, eventually

COMMANDS = "/api/v1/devices/court-1/commands"


def ordered(served: Served) -> list[Any]:
    return [(one.target, one.name, one.args, one.deadline) for one in served.store.poll(0).commands]


def test_a_command_is_a_row_for_the_bridge(served: Served) -> None:
    done = served.ask("POST", f"{COMMANDS}/booking/start", "operator", {"args": {"minutes": 10}})
    assert done.status == 202, done.body
    assert done.json["deadline"] == "2026-03-01T12:01:00.000000Z"
    assert ordered(served) == [("booking", "start", {"minutes": 10.0}, "2026-03-01T12:01:00.000000Z")]


def test_the_same_command_again_is_the_same(served: Served) -> None:
    body = {"id": "c1", "args": {"on": False}, "deadline": "2026-03-01T12:10:00Z"}
    answers = [served.ask("POST", f"{COMMANDS}/booking/automatic", "admin", body) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json == answers[1].json
    assert len(ordered(served)) == 1
    problem(served.ask("POST", f"{COMMANDS}/booking/automatic", "admin", {**body, "args": {"on": True}}), 409)
    problem(served.ask("POST", f"{COMMANDS}/booking/stop", "admin", {"id": "c2"}), 422, "deadline")


@pytest.mark.parametrize(
    ("role", "path", "body", "status", "words"),
    [
        ("operator", "booking/automatic", {"args": {"on": False}}, 403, "needs the role admin"),
        ("operator", "uploader/retry", {}, 403, "needs the role admin"),
        ("user", "booking/start", {}, 403, "operator"),
        ("admin", "booking/explode", {}, 404, "no command booking/explode"),
        ("admin", "nobody/start", {}, 404, "no command nobody/start"),
        ("admin", "booking/start", {"args": {"minutes": "many"}}, 422, "args.minutes"),
        ("admin", "booking/cut", {"args": {}}, 422, "args.last_s"),
        ("admin", "booking/cut", {"args": [1]}, 422, "args"),
        ("admin", "booking/stop", {"deadline": "2026-03-01T11:59:00Z"}, 422, "it is past"),
        ("admin", "booking/stop", {"deadline": "2026-03-01T13:00:00"}, 422, "deadline"),
        ("admin", "booking/stop", {"colour": "red"}, 422, "colour"),
        ("admin", "booking/book", {"args": {"start": "x"}}, 422, "POST /api/v1/bookings"),
        ("admin", "Booking/../stop", {}, 404, ""),
    ],
)
def test_what_is_no_command_is_not_written(
    served: Served, role: str, path: str, body: object, status: int, words: str
) -> None:
    problem(served.ask("POST", f"{COMMANDS}/{path}", role, body), status, words)
    assert ordered(served) == []


def test_a_device_that_is_not_heard_says_nothing(served: Served) -> None:
    assert served.ask("GET", "/api/v1/devices/court-1", "user").json["state"] is None
    shown = served.ask("GET", "/api/v1/devices/court-1/cameras", "operator").json["items"]
    assert [(row["name"], row["state"]) for row in shown] == [("left", None), ("right", None)]
    for path in ("alarms", "cameras/left/snapshot"):
        problem(served.ask("GET", f"/api/v1/devices/court-1/{path}", "operator"), 409, AWAY)
    problem(served.ask("GET", "/api/v1/devices/court-1/cameras/rear/snapshot", "operator"), 404)


@pytest.fixture
def heard(tmp_path: Path) -> Generator[tuple[Mosquitto, Served]]:
    """The HTTP side beside a real broker."""
    with broker_in(tmp_path / "broker") as broker:
        live = LiveDevice(endpoint(broker, "api"), DEV)
        settings = Settings.model_validate({"device": {"id": DEV}})
        with Served(settings, tmp_path / "cloud", live=live) as served:
            yield broker, served


def say(broker: Mosquitto, account: str, address: Address[Any], message: Message) -> None:
    """An agent says something, retained."""
    with Ear(endpoint(broker, account), name="say") as agent:
        agent.say(address, message)


def test_a_device_beside_it_is_seen_as_it_is(heard: tuple[Mosquitto, Served]) -> None:
    broker, served = heard
    left = CameraStatus(state="recording", fps=29.9, dropped=3)
    say(broker, "camera_left", CAMERA_STATUS.at(cam="left"), left)
    mend = "look at the cable"
    said = Alarm(severity="major", text="no picture", since=NOON, mend=mend)
    say(broker, "camera_left", ALARM.at(agent="camera_left", alarm="stalled"), said)
    say(broker, "health", AVAILABILITY.at(), Availability(state="online"))
    base = f"/api/v1/devices/{DEV}"
    eventually(lambda: served.ask("GET", base, "user").json["state"] == "online")
    cameras = served.ask("GET", f"{base}/cameras", "operator").json["items"]
    assert [(one["name"], one["state"], one["dropped"]) for one in cameras] == [
        ("left", "recording", 3),
        ("right", None, None),
    ]
    (alarm,) = served.ask("GET", f"{base}/alarms", "operator").json["items"]
    assert (alarm["agent"], alarm["alarm"], alarm["mend"]) == ("camera_left", "stalled", mend)
    figures = served.ask("GET", "/metrics", "operator").text
    assert f'ezrec_camera_fps{{device="{DEV}",camera="left"}} 29.9\n' in figures
    broker.stop()
    eventually(lambda: served.ask("GET", base, "user").json["state"] is None)
    assert served.ask("GET", "/api/v1/bookings", "user").status == 200


def test_figures_are_for_operators(served: Served) -> None:
    disk = Disk(free_bytes=10**12, total_bytes=2 * 10**12)
    health = Health(cpu_pct=7.5, disk=disk, alarms=Alarms(active=2))
    served.tell("health", health, "court-1")
    served.ask("GET", "/api/v1/nowhere", "user")
    answer = served.ask("GET", "/metrics", "operator")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'ezrec_cpu_percent{device="court-1"} 7.5',
        'ezrec_disk_free_bytes{device="court-1"} 1000000000000',
        'ezrec_alarms_active{device="court-1"} 2',
        'ezrec_device_seen_timestamp_seconds{device="court-1"} 1772366400',
        'ezrec_api_answers_total{status="404"} 1',
        "# TYPE ezrec_api_answers_total counter",
    ):
        assert f"{line}\n" in answer.text
    problem(served.ask("GET", "/metrics"), 401)
    problem(served.ask("GET", "/metrics", "user"), 403)


class Heard:
    """The events somebody gets, read in a thread of its own."""

    def __init__(self, served: Served, key: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
        headers = {"Authorization": f"Bearer {served.keys[key]}"}
        self._connection.request("GET", "/api/v1/events", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        assert self._answer.readline() == b"retry: 3000\n"
        self.found: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        kind = ""
        with suppress(OSError, HTTPException, AttributeError):  # the connection is closed from outside
            while line := self._answer.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    self.found.put((kind, json.loads(value)))

    def until(self, wanted: str) -> Any:
        """The next event of a kind."""
        while True:
            kind, data = self.found.get(timeout=30)
            if kind == wanted:
                return data

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join(10)
        self._connection.close()


def test_everybody_hears_of_their_own(served: Served) -> None:
    served.book()
    served.book("hers", "olga", start=NOON + minutes(60), end=NOON + minutes(120))
    ears = {key: Heard(served, key) for key in ("user", "operator")}
    try:
        assert [ear.until("ready") for ear in ears.values()] == [{}, {}]
        served.store.change_booking("hers", {"title": "H"})
        served.tell("recording", Recording(state="recording", progress_pct=40), "hers")
        assert ears["operator"].until("booking")["id"] == "hers"
        heard = ears["operator"].until("recording")
        assert (heard["id"], heard["state"], heard["progress_pct"]) == ("hers", "recording", 40)
        served.store.change_booking("match", {"title": "M"})
        first = ears["user"].until("booking")
        assert (first["id"], first["title"]) == ("match", "M")
    finally:
        for ear in ears.values():
            ear.close()
    eventually(lambda: len(served.app.state.context.feed) == 0)


def test_operators_hear_of_the_device(heard: tuple[Mosquitto, Served]) -> None:
    broker, served = heard
    ear = Heard(served, "operator")
    try:
        ear.until("ready")
        say(broker, "camera_left", CAMERA_STATUS.at(cam="left"), CameraStatus(state="stalled"))
        told = ear.until("camera")
        assert (told["device"], told["camera"], told["state"]) == (DEV, "left", "stalled")
    finally:
        ear.close()


async def slow() -> None:
    feed = Feed()
    with feed.listen("otto", None, nothing=False) as slow, feed.listen("uma", "uma", nothing=False) as other:
        for number in range(MOST_WAITING + 5):
            feed.tell(Change("booking", {"n": number}, "olga"))
        kinds = [slow.queue.get_nowait().kind for _ in range(slow.queue.qsize())]
        assert (kinds[0], len(kinds)) == ("resync", 6)
        assert other.queue.empty()
        with feed.listen("uwe", None, nothing=True) as stranger:
            feed.tell(Change("booking", {}, "uwe"))
            assert stranger.queue.empty()
        feed.close()
        assert [(await slow.queue.get()).kind, await slow.queue.get()] == ["booking", END]
        assert await other.queue.get() == END
    assert len(feed) == 0


def test_a_slow_listener_is_told_to_read_anew() -> None:
    asyncio.run(slow())


async def many() -> None:
    feed = Feed()
    with ExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            stack.enter_context(feed.listen("otto", None, nothing=False))
        with pytest.raises(TooMany), feed.listen("otto", None, nothing=False):
            pass
        with feed.listen("uma", "uma", nothing=False):
            assert len(feed) == MOST_OF_ONE + 1
    assert len(feed) == 0


def test_one_user_listens_a_few_times_only() -> None:
    asyncio.run(many())
