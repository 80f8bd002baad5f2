"""One agent on a real broker: views, ghosts, lost memories, kills, refusals."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from edge_agent.core.agent import Act, Event, Failed, Stamp
from edge_agent.core.effects import DeleteMedia
from edge_agent.core.errors import EffectFailed
from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.clock import read_boot_id
from edge_agent.runtime.host import AlreadyRunning, Place
from schemas.agent import AgentAvailability
from schemas.base import decode
from schemas.health import Availability
from schemas.recording import MergeStage
from schemas.registry import ALARM, BOOKING, MERGE
from tests.runtime.toys import (
    DEV,
    PASSWORDS,
    PATIENCE_S,
    Ear,
    NoDrivers,
    Running,
    State,
    booking,
    broker_in,
    decide,
    endpoint,
    eventually,
    toy,
)

ROOT = Path(__file__).resolve().parents[2]
MERGE_B1 = "recording/b1/merge"
AVAILABLE = "agent/merger/availability"


def stage(payload: bytes) -> MergeStage:
    return decode(MergeStage, payload)


@contextmanager
def process(port: int, state: Path, name: str = "merger") -> Generator[subprocess.Popen[str]]:
    """A toy agent in a process of its own, killed at the end if it still runs."""
    program = [sys.executable, "-m", "tests.runtime.toy_process", str(port), str(state), name]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


# --- views ---


def test_views_appear_change_and_go(broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        bridge.say(BOOKING.at(id="b1"), booking(1))
        ear.until(lambda: MERGE_B1 in ear.retained())
        bridge.say(BOOKING.at(id="b1"), booking(2))
        ear.until(lambda: len(ear.payloads(MERGE_B1)) == 2)
        # The same again, and another topic behind it so that we know it was handled.
        bridge.say(BOOKING.at(id="b1"), booking(2))
        bridge.say(BOOKING.at(id="b2"), booking(5))
        ear.until(lambda: "recording/b2/merge" in ear.retained())
        assert [stage(payload).rev for payload in ear.payloads(MERGE_B1)] == [1, 2]
        bridge.say(BOOKING.at(id="b1"), None)
        ear.until(lambda: ear.latest(MERGE_B1) == b"" and len(ear.payloads(MERGE_B1)) == 3)
    assert set(ear.retained()) >= {AVAILABLE, "agent/merger/info", "agent/merger/status"}
    assert all(item.retained for item in ear.heard if item.topic.endswith("/merge"))


def test_ghosts_of_an_earlier_run_are_cleared_unreadable_ones_too(
    broker: Mosquitto, ear: Ear, tmp_path: Path
) -> None:
    with Ear(endpoint(broker, "merger")) as earlier:
        earlier.say(MERGE.at(id="ghost"), MergeStage(rev=3))
        earlier.say_raw("recording/broken/merge", b"not json", retain=True)
        earlier.say_raw("agent/merger/status", b'{"v":7}', retain=True)
    ear.until(lambda: "recording/broken/merge" in ear.retained())
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        ear.until(lambda: not {"recording/ghost/merge", "recording/broken/merge"} & set(ear.retained()))
        ear.until(lambda: json.loads(ear.latest("agent/merger/status")).get("state") == "idle")


def test_what_the_broker_holds_already_is_not_published_again(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    bridge.say(BOOKING.at(id="b1"), booking(1))
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        ear.until(lambda: MERGE_B1 in ear.retained())
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        ear.until(lambda: len(ear.payloads(AVAILABLE)) == 3)  # online, stopped, online
        assert len(ear.payloads(MERGE_B1)) == 1
        assert len(ear.payloads("agent/merger/info")) == 1


# --- the broker's troubles ---


def test_broker_that_lost_its_memory_is_whole_again_by_itself(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    bridge.say(BOOKING.at(id="b1"), booking(4))
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: MERGE_B1 in ear.retained())
        broker.kill9()
        (tmp_path / "broker" / "data" / "mosquitto.db").unlink(missing_ok=True)
        ear.heard.clear()
        broker.start()
        ear.until(lambda: {MERGE_B1, AVAILABLE, "agent/merger/info"} <= set(ear.retained()))
        assert stage(ear.latest(MERGE_B1)).rev == 4
        assert toys.state["worlds"] == 2
        # The booking is gone from the broker; absence of another owner's topic is no deletion.
        assert [item for item in ear.heard if item.topic.endswith(MERGE_B1) and not item.payload] == []


def test_broker_absent_at_start_costs_no_effect(tmp_path: Path) -> None:
    work = DeleteMedia("delete:b0", "b0", ("plan",))
    with broker_in(tmp_path / "broker") as broker:
        where = endpoint(broker, "merger")
        broker.stop()
        with Running(toy(at_start=(work,)), where, tmp_path / "state") as toys:
            eventually(lambda: len(toys.state["ended"]) == 1)
            assert toys.drivers.ran == ["delete:b0"]
            assert toys.state["worlds"] == 0
            broker.start()
            with Ear(endpoint(broker, "cli")) as ear:
                ear.until(lambda: AVAILABLE in ear.retained())
                eventually(lambda: toys.state["worlds"] == 1)


def test_account_refused_at_first_is_let_in_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with broker_in(tmp_path / "broker") as right:
        good = endpoint(right, "merger")
    strangers = Mosquitto(tmp_path / "other", accounts={"somebody": "else"}, port=good.port)
    with Running(toy(), good, tmp_path / "state") as toys:
        with strangers:
            eventually(lambda: "broker refused merger: Not authorized" in caplog.text)
        with right:
            eventually(lambda: toys.state["worlds"] == 1)
    said = [record.getMessage() for record in caplog.records if "broker:" in record.getMessage()]
    assert len(said) == len(set(said))  # each trouble once, not at every attempt
    assert any("here again" in line for line in said)


# --- ends ---


@pytest.mark.slow
def test_killed_agent_is_offline_after_the_delay_with_its_session(
    broker: Mosquitto, ear: Ear, tmp_path: Path
) -> None:
    with (
        process(broker.port, tmp_path / "state") as child,
        process(broker.port, tmp_path / "health", "health") as health,
    ):
        ear.until(lambda: {AVAILABLE, "availability"} <= set(ear.retained()))
        online = decode(AgentAvailability, ear.latest(AVAILABLE))
        device = decode(Availability, ear.latest("availability"))
        assert (online.state, online.pid) == ("online", child.pid)
        assert (device.state, device.version, device.boot_id) == ("online", "test", read_boot_id())
        child.kill()
        health.kill()
        ear.until(lambda: len(ear.payloads(AVAILABLE)) == len(ear.payloads("availability")) == 2)
    offline = decode(AgentAvailability, ear.latest(AVAILABLE))
    gone = decode(Availability, ear.latest("availability"))
    assert (offline.state, offline.session) == ("offline", online.session)
    assert (gone.state, gone.session) == ("offline", device.session)  # health speaks for the device


@pytest.mark.slow
def test_agent_back_within_the_delay_was_never_offline(broker: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    with process(broker.port, tmp_path / "state") as child:
        ear.until(lambda: AVAILABLE in ear.retained())
        child.kill()
        child.wait(PATIENCE_S)
    # Another account's will with the same delay, broken off later, tells when the first would have come.
    with process(broker.port, tmp_path / "state"):
        ear.until(lambda: len(ear.payloads(AVAILABLE)) == 2)
        with process(broker.port, tmp_path / "other", "uploader") as other:
            ear.until(lambda: "agent/uploader/availability" in ear.retained())
            other.kill()
            ear.until(lambda: b'"offline"' in ear.latest("agent/uploader/availability"))
    states = [decode(AgentAvailability, payload).state for payload in ear.payloads(AVAILABLE)]
    assert states[:2] == ["online", "online"]
    assert len(states) == 2


def test_clean_stop_says_stopped_and_closes_the_drivers(broker: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: AVAILABLE in ear.retained())
    ear.until(lambda: b'"stopped"' in ear.latest(AVAILABLE))
    assert toys.drivers.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_death_of_the_network_thread_ends_the_process(broker: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: AVAILABLE in ear.retained())

        def dies(_item: object) -> None:
            raise SystemExit

        toys.host._bus._sink = dies
        with Ear(endpoint(broker, "bridge"), name="speaker") as speaker:
            speaker.say(BOOKING.at(id="b1"), booking())
        toys.thread.join(PATIENCE_S)
        assert str(toys.error) == "the network thread died"


def test_second_process_on_one_folder_is_refused_in_one_line(broker: Mosquitto, tmp_path: Path) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        with process(broker.port, tmp_path / "state") as second:
            _, said = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 78
        assert said == f"merger already runs on {tmp_path / 'state'}: expected one process\n"
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        pass  # free again


def test_agent_that_does_not_understand_its_disk_ends_and_clears_nothing(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    bridge.say(BOOKING.at(id="b1"), booking())
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        ear.until(lambda: MERGE_B1 in ear.retained())

    def fails(*_args: object) -> NoReturn:
        raise KeyError("slot")

    with Running(toy(deciding=fails), endpoint(broker, "merger"), tmp_path / "state") as toys:
        toys.thread.join(PATIENCE_S)
    assert str(toys.error) == "fault on start: KeyError: 'slot'"
    assert list((tmp_path / "state" / "remembered").glob("recording+b1+merge.json"))
    assert MERGE_B1 in ear.retained()


def test_what_it_said_last_is_handed_back_at_start_without_a_broker(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    bridge.say(BOOKING.at(id="b1"), booking(9, to=booking().to.replace(year=2199), end=booking().to))
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        ear.until(lambda: MERGE_B1 in ear.retained())
    nobody = Endpoint("127.0.0.1", 9, "merger", PASSWORDS["merger"])
    with Running(toy(), nobody, tmp_path / "state") as toys:
        eventually(lambda: toys.state["stages"] != {})
        assert toys.state["stages"][MERGE.at(id="b1")].rev == 9
        kept = {path.name for path in (tmp_path / "state" / "remembered").iterdir()}
        assert kept == {"booking+b1.json", "recording+b1+merge.json"}


def test_bookings_long_over_are_forgotten_at_start(broker: Mosquitto, bridge: Ear, tmp_path: Path) -> None:
    old = booking(start=booking().start.replace(year=2001), from_=booking().start.replace(year=2001))
    old = old.replace(end=old.start, to=old.from_)
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state"):
        bridge.say(BOOKING.at(id="old"), old)
        eventually((tmp_path / "state" / "remembered" / "booking+old.json").exists)
    with Running(toy(), Endpoint("127.0.0.1", 9, "merger", None), tmp_path / "state"):
        eventually(lambda: not (tmp_path / "state" / "remembered" / "booking+old.json").exists())


# --- payloads and publications that cannot be ---

HOSTILE = {
    "not json": b"{",
    "not text": b"\xff\xfe\x00",
    "a list": b"[1]",
    "wrong types": b'{"v":1,"rev":"one"}',
    "another version": b'{"v":2,"rev":1}',
    "no number": b'{"rev":NaN}',
    "half a pair": b'{"rev":1,"owner":"\\ud800"}',
    "one megabyte": b'{"rev":"' + b"x" * 200_000 + b'"}',
    "nested": b'{"rev":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested a little": b'{"rev":' + b"[" * 800 + b"]" * 800 + b"}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_payload_that_cannot_be_is_dropped_and_counted(
    kind: str, broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: AVAILABLE in ear.retained())
        bridge.bus._client.publish(f"ezrec/v1/{DEV}/booking/b1", HOSTILE[kind], qos=1, retain=False)
        bridge.say(BOOKING.at(id="b2"), booking())
        ear.until(lambda: "recording/b2/merge" in ear.retained())
        assert toys.host._complaints.dropped == 1
        assert MERGE_B1 not in ear.retained()


def test_megabyte_is_kept_away_by_the_broker_and_harms_nobody(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    with Running(toy(), endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: AVAILABLE in ear.retained())
        with (
            socket.create_connection(("127.0.0.1", broker.port)) as rude,
            contextlib.suppress(ConnectionError),  # the broker hangs up before or after the last byte
        ):
            rude.sendall(b"\x30\xff\xff\x7f" + b"x" * 1_000_000)
        bridge.say(BOOKING.at(id="b1"), booking())
        ear.until(lambda: MERGE_B1 in ear.retained())
        assert toys.state["worlds"] == 1


def test_oversize_publication_is_refused_loudly_and_once(
    broker: Mosquitto, bridge: Ear, ear: Ear, tmp_path: Path
) -> None:
    def too_much(state: State, event: Event, stamp: Stamp, settings: object) -> tuple[State, tuple[Act, ...]]:
        state, acts = decide(state, event, stamp, settings)
        huge = {
            at: m.replace(error={"code": "x", "message": "y" * 120_000}) if m.rev == 1 else m
            for at, m in state["stages"].items()
        }
        return {**state, "stages": huge if huge != state["stages"] else state["stages"]}, acts

    with Running(toy(deciding=too_much), endpoint(broker, "merger"), tmp_path / "state") as toys:
        bridge.say(BOOKING.at(id="b1"), booking(1))
        alarm = ALARM.at(agent="merger", alarm="not_published").path
        ear.until(lambda: alarm in ear.retained())
        assert b"at most 100000 may be sent" in ear.latest(alarm)
        bridge.say(BOOKING.at(id="b2"), booking(2))
        ear.until(lambda: "recording/b2/merge" in ear.retained())
        assert MERGE_B1 not in ear.retained()
        assert len(ear.payloads(alarm)) == 1
        assert toys.state["worlds"] == 1  # never disconnected for it


def test_denied_publication_is_reported_and_alarmed(broker: Mosquitto, ear: Ear, tmp_path: Path) -> None:
    # An agent under another's account: what is not that account's is refused by the broker.
    where = Endpoint("127.0.0.1", broker.port, "uploader", PASSWORDS["uploader"])
    with Running(toy(), where, tmp_path / "state") as toys:
        eventually(lambda: "not_published" in toys.host.core._alarms)
        assert "Not authorized" in toys.host.core._alarms["not_published"].text
    assert AVAILABLE not in ear.retained()


def test_retained_command_is_refused_and_alarmed_until_it_is_cleared(
    broker: Mosquitto, ear: Ear, tmp_path: Path
) -> None:
    ear.say_raw("cmd/processor/pause", b"{}", retain=True)
    alarm = ALARM.at(agent="processor", alarm="retained_command").path
    with Running(toy("processor"), endpoint(broker, "processor"), tmp_path / "state") as toys:
        ear.until(lambda: alarm in ear.retained())
        assert b"mosquitto_pub -r -n -t ezrec/v1/court-1/cmd/processor/pause" in ear.latest(alarm)
        ear.say_raw("cmd/processor/resume", b"{}", retain=True)  # while it runs, too
        ear.say_raw("cmd/processor/pause", b"", retain=True)  # a clearing is no command
        ear.say_raw("cmd/processor/resume", b"", retain=True)
        ear.until(lambda: ear.payloads(alarm)[-1:] == [b""])
        assert toys.state["asked"] == ()


# --- effects ---


class Failing(NoDrivers):
    def run(self, effect: DeleteMedia) -> object:  # type: ignore[override]
        match effect.booking_id:
            case "full":
                raise OSError(28, "No space left on device")
            case "gone":
                raise EffectFailed("gone", "it is gone", detail=7)
            case _:
                raise ZeroDivisionError


def test_every_effect_ends_in_one_event(tmp_path: Path) -> None:
    work = tuple(DeleteMedia(name, name, ()) for name in ("full", "gone", "bug"))
    nobody = Endpoint("127.0.0.1", 9, "merger", None)
    with Running(toy(at_start=work, lanes={"disk": 3}), nobody, tmp_path / "s", Failing()) as toys:
        eventually(lambda: len(toys.state["ended"]) == 3)
        ended = {event.key: event for event in toys.state["ended"]}
    assert {key: event.kind for key, event in ended.items()} == {"full": "full", "gone": "gone", "bug": "bug"}
    assert ended["gone"] == Failed("gone", "gone", "it is gone", 7)


# --- systemd ---


def test_service_manager_hears_ready_without_a_broker_then_a_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with Running(toy(), Endpoint("127.0.0.1", 9, "merger", None), tmp_path / "state"):
            said = [manager.recv(100) for _ in range(3)]
        last = manager.recv(100)
        while last == b"WATCHDOG=1":
            last = manager.recv(100)
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert last == b"STOPPING=1"


def test_place_is_made_private_enough(tmp_path: Path) -> None:
    place = Place(DEV, Endpoint("127.0.0.1", 9, "merger", None), tmp_path / "state", "test")
    assert place.state == tmp_path / "state"
    with Running(toy(), place.endpoint, place.state), pytest.raises(AlreadyRunning):
        Running(toy(), place.endpoint, place.state)
    assert (place.state / "lock").stat().st_mode & 0o077 == 0
