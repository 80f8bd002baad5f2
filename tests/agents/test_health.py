from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from edge_agent.agents import health
from edge_agent.agents.health import State, decide, retained, wakes
from edge_agent.core.agent import (
    SECOND_NS,
    Acts,
    Asked,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Reply,
    Say,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.effects import DeleteMedia, FilmFile, HealthInventory, Measure, Measured, WriteReceipt
from edge_agent.core.settings import Settings
from schemas.agent import AgentAvailability, Alarm
from schemas.base import Message
from schemas.booking import ScheduleSync, schedule_digest
from schemas.commands import NoArgs, PreflightArgs
from schemas.health import Preflight, Retention
from schemas.recording import Recording
from schemas.registry import (
    AGENT_AVAILABILITY,
    ALARM,
    BOOKING,
    CAPTURE,
    EVENT,
    FILM_OBJECT,
    HEALTH,
    MERGE,
    PREFLIGHT,
    PROCESS,
    RECEIPT,
    RECEIPT_OBJECT,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
    SHARE,
    UPLOAD,
)
from schemas.topics import Address
from tests.support.recordings import T0, at, booking, capture, film, merge, process, share, upload

SETTINGS = Settings()
BOOKED = BOOKING.at(id="b1")
DONE: Mapping[Address[Any], Message] = {
    BOOKED: booking(),
    CAPTURE.at(id="b1", cam="left"): capture(),
    CAPTURE.at(id="b1", cam="right"): capture(),
    MERGE.at(id="b1"): merge(),
    PROCESS.at(id="b1"): process(),
    FILM_OBJECT.at(id="b1", name="film"): film(),
}
WRITTEN = FilmFile("recordings/b1/receipt/receipt.json", 77, 77, 0, 0, 0, True, "r-1", 0.0, 0)


@dataclass
class Bench:
    state: State = field(default_factory=State)
    now_s: float = 0.0
    acts: list[Any] = field(default_factory=list)

    def send(self, event: Event, now_s: float | None = None) -> Acts:
        self.now_s = self.now_s if now_s is None else now_s
        wall = T0 + timedelta(seconds=self.now_s)
        stamp = Stamp(0, round((self.now_s + 1000) * SECOND_NS), wall, True, "boot")
        self.state, acts = decide(self.state, event, stamp, SETTINGS)
        self.acts.extend(acts)
        return acts

    def begin(self, topics: Mapping[Address[Any], Message], now_s: float = 0.0, **remembered: Any) -> None:
        self.send(Started(HealthInventory(), remembered.get("remembered", {})), now_s)
        self.send(World(topics))

    def take(self, kind: type[Any]) -> list[Any]:
        found = [act for act in self.acts if isinstance(act, kind)]
        self.acts = [act for act in self.acts if not isinstance(act, kind)]
        return found

    def said(self, booking_id: str = "b1") -> Recording:
        message = retained(self.state)[RECORDING.at(id=booking_id)]
        assert isinstance(message, Recording)
        return message


def test_before_the_world_nothing_is_said_but_what_was() -> None:
    bench = Bench()
    address = RECORDING.at(id="b1")
    old = Recording(state="ready", progress_pct=100)
    assert bench.send(Started(HealthInventory(), {BOOKED: booking(), address: old})) == ()
    assert retained(bench.state) == {address: old}
    assert wakes(bench.state) == {}


def test_a_recording_from_plan_to_receipt() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking()}, -60)
    assert bench.said().state == "scheduled"
    bench.send(Tick("look"), 0)
    assert (bench.said().state, bench.said().progress_pct) == ("recording", 0)
    bench.send(Tick("look"), 10)
    assert bench.said().progress_pct == 45
    for address, message in DONE.items():
        bench.send(Changed(address, message), 22)
    assert bench.said().state == "finishing"
    bench.send(Changed(UPLOAD.at(id="b1"), upload(23)), 23)
    assert (bench.said().state, bench.said().whistle_to_watchable_s) == ("ready", 3.0)
    assert RECEIPT.at(id="b1") not in retained(bench.state)
    bench.send(Changed(SHARE.at(id="b1"), share()), 24)
    (write,) = bench.take(WriteReceipt)
    kept = retained(bench.state)[RECEIPT.at(id="b1")] is write.receipt
    assert kept
    assert (write.key, write.receipt.state, write.receipt.uplink_s) == ("receipt:b1", "ready", 1.0)
    bench.send(Done("receipt:b1", WRITTEN))
    work = retained(bench.state)[RECEIPT_OBJECT.at(id="b1")]
    assert (getattr(work, "path", ""), getattr(work, "hash", "")) == (WRITTEN.path, "r-1")
    bench.send(Changed(UPLOAD.at(id="b1"), upload(23, ("film", "receipt"))), 26)
    assert RECEIPT_OBJECT.at(id="b1") not in retained(bench.state)
    assert bench.take(WriteReceipt) == []
    assert bench.take(Say) == []
    bench.send(Tick("measure"), 23 + 86400)
    bench.send(Tick("measure"), 83 + 86400)
    bench.send(Tick("measure"), 143 + 86400)
    assert bench.take(DeleteMedia) == [DeleteMedia("delete:b1", "b1", ("receipt",))]


def test_the_account_does_not_wait_for_a_share_longer_than_ten_seconds() -> None:
    bench = Bench()
    bench.begin({**DONE, UPLOAD.at(id="b1"): upload(23)}, 23)
    assert bench.take(WriteReceipt) == []
    due_ns = wakes(bench.state)["look"]
    assert due_ns == (23 + 1000 + 1) * SECOND_NS
    bench.send(Tick("look"), 33)
    assert len(bench.take(WriteReceipt)) == 1


def test_a_receipt_that_could_not_be_written_is_written_later() -> None:
    bench = Bench()
    bench.begin({**DONE, UPLOAD.at(id="b1"): upload(23), SHARE.at(id="b1"): share()}, 24)
    assert len(bench.take(WriteReceipt)) == 1
    bench.send(Failed("receipt:b1", "full", "no space"))
    assert bench.take(WriteReceipt) == []
    assert "retry:receipt:b1" in wakes(bench.state)
    bench.send(Tick("retry:receipt:b1"), 26)
    assert len(bench.take(WriteReceipt)) == 1


def test_a_delivery_is_added_to_the_account_when_it_happens() -> None:
    bench = Bench()
    sent = share().replace(delivered_at=None)
    bench.begin({**DONE, UPLOAD.at(id="b1"): upload(23), SHARE.at(id="b1"): sent}, 24)
    at_ = RECEIPT.at(id="b1")
    closed = retained(bench.state)[at_]
    assert getattr(closed, "whistle_to_delivered_s", 0) is None
    bench.send(Changed(SHARE.at(id="b1"), sent.replace(delivered_at=at(95))), 100)
    told = retained(bench.state)[at_]
    assert getattr(told, "whistle_to_delivered_s", None) == 75.0
    bench.send(Changed(SHARE.at(id="b1"), sent.replace(delivered_at=at(99))), 101)
    assert retained(bench.state)[at_] is told


def test_a_receipt_written_before_a_restart_is_the_same_after_it() -> None:
    first = Bench()
    first.begin({**DONE, UPLOAD.at(id="b1"): upload(23), SHARE.at(id="b1"): share()}, 24)
    (write,) = first.take(WriteReceipt)
    kept = {at_: m for at_, m in retained(first.state).items() if at_.topic.remembered}
    second = Bench()
    topics = {key: value for key, value in DONE.items() if key != BOOKED}  # the booking was cleared meanwhile
    second.begin({**topics, UPLOAD.at(id="b1"): upload(23)}, 500, remembered=kept)
    assert second.take(WriteReceipt) == [write]
    assert second.said() == first.said()
    assert second.take(Say) == []
    assert [entry.id for entry in retention(second).entries] == ["b1"]


def retention(bench: Bench) -> Retention:
    message = retained(bench.state)[RETENTION.at()]
    assert isinstance(message, Retention)
    return message


def test_a_recording_that_never_came_is_told_once_and_accounted_for() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking()}, 700)
    assert bench.said().state == "finishing"  # owners may still speak
    bench.send(Tick("look"), 731)
    assert bench.said().state == "missed"
    (say,) = bench.take(Say)
    assert (say.address, say.message.subject) == (EVENT.at(agent="health", type="recording_missed"), "b1")
    assert len(bench.take(WriteReceipt)) == 1
    bench.send(Tick("look"), 740)
    assert bench.take(Say) == []


def test_a_withdrawn_booking_counts_only_with_a_schedule_that_proves_it() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(0, 600), BOOKING.at(id="b2"): booking(900, 999)}, 10)
    bench.send(Changed(BOOKED, None))
    assert bench.said().state == "recording"
    digest = schedule_digest([("b2", 1)])
    bench.send(Changed(SCHEDULE_SYNC.at(), ScheduleSync(generation=2, count=1, digest=digest, synced_at=T0)))
    assert bench.said().state == "cancelled"
    assert retention(bench).entries == ()
    bench.send(Tick("look"), 610)
    (entry,) = retention(bench).entries
    assert (entry.id, entry.what, entry.dead) == ("b1", "all", True)
    again = Bench()
    kept = {at_: m for at_, m in retained(bench.state).items() if at_.topic.remembered}
    again.begin({RETENTION.at(): retention(bench)}, 620, remembered=kept)
    assert retention(again).entries == (entry,)  # dead stays dead over a restart


def test_a_final_recording_does_not_care_for_its_booking_going() -> None:
    bench = Bench()
    bench.begin({**DONE, UPLOAD.at(id="b1"): upload(23)}, 24)
    bench.send(Changed(BOOKED, None))
    sync = ScheduleSync(generation=2, count=0, digest=schedule_digest([]), synced_at=T0)
    bench.send(Changed(SCHEDULE_SYNC.at(), sync))
    assert bench.said().state == "ready"
    bench.send(Tick("look"), 24 + 7 * 86400 - 1)
    assert bench.said().state == "ready"
    bench.send(Tick("look"), 24 + 7 * 86400)
    assert RECORDING.at(id="b1") not in retained(bench.state)


def test_measures_every_minute_and_tells_of_agents_that_are_away() -> None:
    bench = Bench()
    up = {
        AGENT_AVAILABILITY.at(agent=name): AgentAvailability(state="online", session="s")
        for name in ("camera_left", "camera_right", "merger", "processor", "uploader")
    }
    bench.begin(up)
    assert bench.take(Measure) == [Measure("measure")]
    bench.send(Done("measure", Measured(1.0, 0.1, None, None, 9.0, 10**12, 10**12, True, True, 0)), 1)
    assert wakes(bench.state)["measure"] == 1060 * SECOND_NS
    bench.send(Tick("absent:bridge"), 15)
    down = ALARM.at(agent="health", alarm="agent_down_bridge")
    assert down in retained(bench.state)
    message = retained(bench.state)[HEALTH.at()]
    assert getattr(message, "alarms", None) is not None
    bench.send(Tick("measure"), 60)
    assert bench.take(Measure) == [Measure("measure")]
    bridge = AGENT_AVAILABILITY.at(agent="bridge")
    bench.send(Changed(bridge, AgentAvailability(state="online", session="s")))
    assert down not in retained(bench.state)


def test_the_alarms_of_others_are_summed_up_and_go_when_cleared() -> None:
    bench = Bench()
    address = ALARM.at(agent="uploader", alarm="bucket_denied")
    bench.begin({address: Alarm(severity="critical", text="t", since=at(0), mend="m")})
    assert bench.state.device.message.alarms.ids == ("uploader/bucket_denied",)
    bench.send(Changed(address, None))
    assert bench.state.device.message.alarms.active == 0


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("doctor", "rejected"),
        ("logs", "rejected"),
        ("restart", "rejected"),
        ("log_level", "ok"),
        ("dance", "rejected"),
    ],
)
def test_every_command_gets_one_answer(name: str, status: str) -> None:
    bench = Bench()
    bench.begin({})
    (reply,) = [act for act in bench.send(Asked("health", name, "c1", NoArgs())) if isinstance(act, Reply)]
    assert (reply.command_id, reply.answer.status) == ("c1", status)
    assert reply.answer.message != ""


MEASURED = Measured(1.0, 0.1, 50.0, False, 9.0, 10**12, 10**12, True, True, 0)
DAY_S = 86400.0


def looked(bench: Bench, booking_id: str = "b1") -> Preflight | None:
    message = retained(bench.state).get(PREFLIGHT.at(id=booking_id))
    assert message is None or isinstance(message, Preflight)
    return message


def moved(bench: Bench, now_s: float) -> Preflight | None:
    bench.send(Tick("measure"), now_s)
    return looked(bench)


def test_a_booking_is_looked_at_a_day_an_hour_and_ten_minutes_before() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(2 * DAY_S, 2 * DAY_S + 600)})
    bench.send(Done("measure", MEASURED), 40)
    moments: list[float] = []
    for now_s in range(60, round(2 * DAY_S), 60):
        result = moved(bench, now_s)
        if result is not None and (not moments or at(moments[-1]) != result.at):
            moments.append((result.at - T0).total_seconds())
    assert moments == [DAY_S, 2 * DAY_S - 3600, 2 * DAY_S - 600]
    assert looked(bench) is not None  # until the recording is over


def test_a_late_booking_is_looked_at_once_the_device_has_come_up() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(1800, 2400)})
    bench.send(Done("measure", MEASURED), 1)
    assert looked(bench) is None
    result = moved(bench, 31)
    assert result is not None
    assert (result.ok, result.at) == (False, at(31))


def test_nothing_is_said_of_bookings_that_are_not_recorded_or_over() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(1800, 2400), BOOKING.at(id="b2"): booking(1800, 2400, record="no")})
    bench.send(Done("measure", MEASURED), 40)
    assert looked(bench) is not None
    assert looked(bench, "b2") is None
    bench.send(Changed(BOOKED, booking(1800, 2400, rev=2, status="cancelled")))
    assert looked(bench) is None


def test_a_look_goes_when_its_recording_is_over() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(1800, 2400)})
    bench.send(Done("measure", MEASURED), 40)
    assert moved(bench, 2000) is not None
    assert moved(bench, 2400 + 601) is None
    assert bench.said().state == "missed"


def test_a_look_outlives_a_restart_and_is_not_repeated() -> None:
    first = Bench()
    first.begin({BOOKED: booking(1800, 2400)})
    first.send(Done("measure", MEASURED), 40)
    before = looked(first)
    assert before is not None
    second = Bench()
    second.begin({BOOKED: booking(1800, 2400), PREFLIGHT.at(id="b1"): before}, 50)
    second.send(Done("measure", MEASURED), 100)
    assert looked(second) is before
    later = moved(second, 1200)
    assert later is not None
    assert later.at == at(1200)


def asked(bench: Bench, booking_id: str | None = None) -> Reply:
    event = Asked("health", "preflight", "c1", PreflightArgs(id=booking_id))
    (reply,) = [act for act in bench.send(event) if isinstance(act, Reply)]
    return reply


def test_a_look_on_command_is_answered_and_published() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(2 * DAY_S, 2 * DAY_S + 600)})
    answer = asked(bench).answer
    assert answer.status == "ok"
    assert answer.message.startswith("b1 will not record as it is: camera_left: its agent does not run")
    result = looked(bench)
    assert result is not None
    assert answer.data == {"id": "b1", **result.body()}
    assert asked(bench, "b1").answer.status == "ok"


def test_a_look_at_a_booking_that_is_none() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(0, 20, record="no")})
    assert asked(bench, "b1").answer.status == "rejected"
    assert asked(bench, "b9").answer.message == "b9: no booking ahead that is to be recorded"
    answer = asked(bench).answer
    assert (answer.status, answer.data["id"]) == ("ok", None)
    assert not [address for address in retained(bench.state) if address.topic is PREFLIGHT]


def test_what_did_not_change_keeps_its_identity() -> None:
    bench = Bench()
    bench.begin({**DONE, UPLOAD.at(id="b1"): upload(23), SHARE.at(id="b1"): share()}, 24)
    before = retained(bench.state)
    bench.send(World({**DONE, UPLOAD.at(id="b1"): upload(23), SHARE.at(id="b1"): share()}), 25)
    after = retained(bench.state)
    assert before.keys() == after.keys()
    assert all(before[address] is after[address] for address in before)


def test_the_agent_reads_what_it_folds() -> None:
    agent = health.agent(SETTINGS)
    assert {topic.key for topic in agent.subscribes} >= {"booking", "capture", "merge", "process", "upload"}
    assert not agent.hurried(agent.initial(SETTINGS))
    assert isinstance(Measure("measure"), Effect)
