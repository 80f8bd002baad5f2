"""What goes into the store of what the device made, and when."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from cloud_bridge import bridge
from cloud_bridge.results import Standing
from cloud_bridge.state import State
from cloud_bridge.stores import NewBooking
from edge_agent.core.agent import Changed, Done, Failed, Started, Tick, World
from edge_agent.core.effects import (
    BridgeInventory,
    Enqueue,
    Refused,
    ResultEntry,
    SendBatch,
    Sent,
    ShareEntry,
    ShareMade,
)
from edge_agent.core.settings import Api, Retention, Settings
from schemas.agent import Alarm
from schemas.base import utc_text
from schemas.health import Availability, Health
from schemas.recording import Recording, Share, UploadStage
from schemas.registry import ALARM, AVAILABILITY, BOOKING, HEALTH, RECEIPT, RECORDING, SHARE, UPLOAD
from tests.cloud_bridge.made import NOON, SETTINGS, Bench, at, film, row, stamp
from tests.cloud_bridge.rig import Rig
from tests.cloud_bridge.served import receipt

A = BOOKING.at(id="a")
UNSTORED = ALARM.at(agent="bridge", alarm="results_unstored")


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_results_are_written_once_and_progress_in_tens() -> None:
    bench = Bench(row())
    bench.polled(minutes=6)
    running = Recording(state="recording", progress_pct=10)
    bench.feed(Changed(RECORDING.at(id="a"), running))
    assert bench.keep() == [ResultEntry("a", "recording", running)]
    bench.feed(Changed(RECORDING.at(id="a"), running.replace(progress_pct=19)))
    assert bench.keep() == []
    bench.stored()
    bench.feed(Changed(RECORDING.at(id="a"), running.replace(progress_pct=18)))
    assert bench.keep() == []
    much = running.replace(progress_pct=20)
    bench.feed(Changed(RECORDING.at(id="a"), much))
    assert bench.keep() == [ResultEntry("a", "recording", much)]


def test_the_last_word_on_a_recording_is_stored_as_it_stands() -> None:
    bench = Bench(row())
    kept = Recording(state="cancelled", why="its media is kept for 10 minutes")
    bench.feed(Changed(RECORDING.at(id="a"), kept), 1)
    bench.keep()
    bench.stored()
    gone = kept.replace(why="its media is deleted")
    bench.feed(Changed(RECORDING.at(id="a"), gone), 12)
    assert bench.keep() == [ResultEntry("a", "recording", gone)]


def test_what_changes_while_it_is_written_is_written_again() -> None:
    bench = Bench(row())
    bench.polled(minutes=61)
    bench.feed(Changed(RECEIPT.at(id="a"), receipt()), 61)
    newer = receipt(whistle_to_watchable_s=2.5)
    bench.feed(Changed(RECEIPT.at(id="a"), newer), 61)
    assert len(bench.writes) == 1
    assert bench.keep() == [ResultEntry("a", "receipt", receipt()), ResultEntry("a", "receipt", newer)]
    out = bench.state.out
    older, last = bench.seq - 1, bench.seq
    bench.feed(Done("send", Sent(out.through, results=(("a", "receipt", older),))))
    assert ("a", "receipt") in bench.state.out.queued
    bench.feed(Done("send", Sent(out.through, results=(("a", "receipt", last),))))
    assert bench.state.out.saved["a", "receipt"] == newer


def test_the_device_has_rows_of_its_own_and_is_heard_of_every_minute() -> None:
    bench = Bench()
    bench.polled(minutes=0)
    bench.keep()
    healthy = Health(cpu_pct=7, agents={"merger": "online"})
    bench.feed(Changed(HEALTH.at(), healthy), 0)
    assert bench.keep() == [ResultEntry("court-1", "health", healthy)]
    warmer = healthy.replace(cpu_pct=70)
    bench.feed(Changed(HEALTH.at(), warmer), 0.5)
    assert bench.keep() == []
    down = healthy.replace(agents={"merger": "offline"})
    bench.feed(Changed(HEALTH.at(), down), 0.6)
    assert bench.keep() == [ResultEntry("court-1", "health", down)]
    bench.polled(minutes=0.9)
    assert bench.keep() == []
    bench.polled(minutes=1.01)
    assert bench.keep() == [ResultEntry("court-1", "health", down)]
    online = Availability(state="online", version="1")
    bench.feed(Changed(AVAILABILITY.at(), online), 1.1)
    assert bench.keep() == [ResultEntry("court-1", "availability", online)]
    bench.feed(Changed(HEALTH.at(), None))
    assert bench.keep() == []


def test_the_store_sees_when_the_device_was_heard_of(rig: Rig) -> None:
    rig.feed(Changed(AVAILABILITY.at(), Availability(state="online")), 0)
    rig.feed(Changed(HEALTH.at(), Health(cpu_pct=7)), 0)
    seen = rig.store._db.row("SELECT seen_at, state FROM device_status")
    assert seen is not None
    assert tuple(seen) == (utc_text(at(0)), "online")
    rig.feed(Tick("poll"), 3)
    seen = rig.store._db.row("SELECT seen_at FROM device_status")
    assert seen is not None
    assert seen["seen_at"] == utc_text(at(3))


def test_what_an_earlier_run_stored_is_not_stored_again(rig: Rig) -> None:
    ready = Recording(state="ready")
    rig.world = {RECORDING.at(id="a"): ready, UPLOAD.at(id="a"): UploadStage(status="running")}
    rig.kill()
    assert rig.faulty.calls.count("save_results") == 1
    first = rig.effects.inventory().outbox
    assert len(first.stored) == 2
    rig.kill()
    assert rig.faulty.calls.count("save_results") == 1
    rig.world[RECORDING.at(id="a")] = ready.replace(why="complete")
    rig.kill()
    assert rig.faulty.calls.count("save_results") == 2
    assert rig.store.results("a")["recording"].body["why"] == "complete"


def test_what_an_earlier_run_left_waiting_is_sent_once(rig: Rig) -> None:
    rig.away(gone=True)
    rig.world = {RECORDING.at(id="a"): Recording(state="ready")}
    rig.kill()
    rig.kill()
    assert len(rig.effects.inventory().outbox.queued) == 1
    rig.away(gone=False)
    rig.kill()
    assert rig.store.results("a")["recording"].body["state"] == "ready"
    assert rig.state.out.queued == {}


def test_a_booking_stands_until_it_is_final_and_stored_over_a_restart(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("a", "booked", at(0), at(60)))
    rig.poll(1)
    rig.away(gone=True)
    rig.world = {RECORDING.at(id="a"): Recording(state="ready")}
    rig.minutes = 200
    rig.kill()
    rig.poll(201)
    assert rig.topic("booking/a") is not None
    rig.away(gone=False)
    rig.poll(202)
    rig.poll(203)
    assert rig.topic("booking/a") is None
    rig.kill()
    assert (rig.topic("booking/a"), rig.topic("schedule/sync").count) == (None, 0)


def test_writing_that_fails_is_tried_again_and_alarmed_in_the_end() -> None:
    bench = Bench(row())
    bench.polled(minutes=61)
    ready = Recording(state="ready")
    bench.feed(Changed(RECORDING.at(id="a"), ready), 61)
    minutes = 61.0
    for attempt in range(1, 4):
        assert UNSTORED not in bridge.retained(bench.state)
        bench.writes.clear()
        bench.feed(Failed("keep", "full", "disk is full"), minutes)
        due_ns = bridge.wakes(bench.state)["retry:keep"]
        assert due_ns - stamp(minutes).mono_ns >= 250_000_000 * 2 ** (attempt - 1)
        assert bench.writes == []
        minutes = (due_ns + 1) / 60e9 + 1e-6
        bench.feed(Tick("retry:keep"), minutes)
        assert [write.entries for write in bench.writes] == [(ResultEntry("a", "recording", ready),)]
    assert UNSTORED in bridge.retained(bench.state)
    bench.keep()
    bench.stored()
    assert UNSTORED not in bridge.retained(bench.state)
    assert bench.state.retries == {}


def test_a_store_that_answers_but_takes_nothing_is_alarmed_in_the_end() -> None:
    bench = Bench(row())
    bench.polled(minutes=61)
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")), 61)
    bench.keep()
    minutes = 61.0
    for _ in range(3):
        assert UNSTORED not in bridge.retained(bench.state)
        bench.feed(Failed("send", "permanent", "table results is missing"), minutes)
        minutes = (bridge.wakes(bench.state)["retry:send"] + 1) / 60e9 + 1e-6
        assert [a for a in bench.feed(Tick("retry:send"), minutes) if isinstance(a, SendBatch)]
    assert UNSTORED in bridge.retained(bench.state)
    bench.stored()
    assert UNSTORED not in bridge.retained(bench.state)


def test_what_is_set_aside_is_named() -> None:
    bench = Bench(row())
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")), 61)
    bench.keep()
    told = Refused(bench.seq, "result", "a", "a is no booking of ours", utc_text(at(61)))
    bench.feed(Done("send", Sent(bench.seq, refused=(told,))))
    alarm = bench.state.alarms["set_aside_a"]
    assert "result of a" in alarm.text
    assert bench.state.out.queued == {}


# --- shares ---


def test_a_complete_film_gets_one_share_that_ends_with_it() -> None:
    settings = Settings(api=Api(share_days=30), retention=Retention(film_bucket_days=14))
    bench = Bench(row(), settings=settings)
    bench.polled(minutes=61)
    bench.feed(Changed(UPLOAD.at(id="a"), UploadStage(status="running")), 61)
    assert not any(isinstance(entry, ShareEntry) for entry in bench.keep())
    bench.feed(Changed(UPLOAD.at(id="a"), film(61)), 61)
    expires = at(61) + timedelta(days=14)
    wish = ShareEntry("a", utc_text(expires))
    assert wish in bench.keep()
    bench.feed(Changed(UPLOAD.at(id="a"), film(61)), 61)
    assert wish not in bench.keep()
    sent = Sent(bench.seq, shares=(("a", ShareMade("s1", utc_text(expires))),))
    bench.feed(Done("send", sent), 61)
    active = Share(state="active", share_id="s1", expires_at=expires)
    assert bridge.retained(bench.state)[SHARE.at(id="a")] == active
    bench.feed(Changed(UPLOAD.at(id="a"), film(61)), 62)
    assert wish not in bench.keep()
    bench.feed(Tick("poll"), 61 + 14 * 24 * 60)
    assert bridge.retained(bench.state)[SHARE.at(id="a")] == active.replace(state="expired")


@pytest.mark.parametrize("expires_at", ["9999-12-31T00:00:00.000000Z", "10000-01-01T00:00:00.000000Z"])
def test_a_share_with_an_end_that_no_topic_can_say_is_a_share(expires_at: str) -> None:
    """Whoever books makes shares too, with any end the store takes."""
    bench = Bench(row())
    bench.polled(minutes=61)
    bench.feed(Changed(UPLOAD.at(id="a"), film()), 61)
    bench.keep()
    sent = Sent(bench.seq, shares=(("a", ShareMade("s1", expires_at)),))
    bench.feed(Done("send", sent), 61)
    assert bridge.retained(bench.state)[SHARE.at(id="a")] == Share(state="active", share_id="s1")
    assert bench.state.out.wished == frozenset()


def test_a_cancelled_booking_gets_no_share() -> None:
    bench = Bench(row(status="cancelled"))
    bench.feed(Changed(UPLOAD.at(id="a"), film()), 61)
    assert not any(isinstance(entry, ShareEntry) for entry in bench.keep())


def test_a_share_stands_as_long_as_anything_of_its_recording() -> None:
    bench = Bench(row())
    bench.polled(minutes=61)
    for event in (
        Changed(RECORDING.at(id="a"), Recording(state="ready")),
        Changed(UPLOAD.at(id="a"), film()),
    ):
        bench.feed(event, 61)
    bench.keep()
    bench.stored()
    made = (("a", ShareMade("s1", utc_text(NOON + timedelta(days=7)))),)
    bench.feed(Done("send", Sent(bench.seq, shares=made)), 61)
    share = bridge.retained(bench.state)[SHARE.at(id="a")]
    assert isinstance(share, Share)
    assert share.stored_rev == 2
    bench.feed(Tick("poll"), 300)
    topics = bridge.retained(bench.state)
    assert (A in topics, SHARE.at(id="a") in topics) == (False, True)
    for topic in (UPLOAD, RECORDING):
        bench.feed(Changed(topic.at(id="a"), None), 9000)
    assert SHARE.at(id="a") not in bridge.retained(bench.state)
    out = bench.state.out
    assert [slot for slot in (*out.saved, *bench.state.results) if slot[0] == "a"] == []


def test_a_share_made_before_is_not_made_again() -> None:
    share = Share(state="active", share_id="s1", expires_at=NOON + timedelta(days=7))
    started = Started(BridgeInventory((row(),), cursor=1), {SHARE.at(id="a"): share})
    state, _ = bridge.decide(State(), started, stamp(61), SETTINGS)
    state, acts = bridge.decide(state, World({UPLOAD.at(id="a"): film()}), stamp(61), SETTINGS)
    entries = [entry for act in acts if isinstance(act, Enqueue) for entry in act.entries]
    assert not any(isinstance(entry, ShareEntry) for entry in entries)
    assert bridge.retained(state)[SHARE.at(id="a")] is share


def test_a_share_asked_for_by_an_earlier_run_is_not_asked_for_again(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("a", "booked", at(0), at(60)))
    rig.poll(61)
    rig.away(gone=True)
    rig.world = {UPLOAD.at(id="a"): film()}
    rig.kill()
    rig.kill()
    rig.away(gone=False)
    rig.kill()
    rig.poll(62)
    assert rig.faulty.calls.count("make_share") >= 1
    assert rig.topic("recording/a/share").state == "active"
    assert len(rig.store.shares(None, 9, None)) == 1


def test_all_alarms_are_one_row() -> None:
    bench = Bench()
    alarm = Alarm(severity="minor", text="t", since=NOON, mend="m")
    bench.feed(Changed(ALARM.at(agent="merger", alarm="slow"), alarm))
    assert bench.keep() == [ResultEntry("court-1", "alarms", Standing(alarms={"merger/slow": alarm}))]
    bench.feed(Changed(ALARM.at(agent="merger", alarm="slow"), None))
    assert bench.keep() == [ResultEntry("court-1", "alarms", Standing(alarms={}))]
