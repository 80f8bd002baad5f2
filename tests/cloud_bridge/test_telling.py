"""When the device has something to say to people: once each, over restarts, and never late news."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from edge_agent.core.agent import Changed, Tick, World
from edge_agent.core.effects import Entry, Notice, NoticeEntry
from schemas.agent import AgentAvailability, Alarm
from schemas.base import utc_text
from schemas.health import Availability, Preflight, PreflightCheck
from schemas.recording import FilmFacts, MergeStage, ProcessStage, Recording
from schemas.registry import (
    AGENT_AVAILABILITY,
    ALARM,
    AVAILABILITY,
    MERGE,
    PREFLIGHT,
    PROCESS,
    RECORDING,
    UPLOAD,
)
from tests.cloud_bridge.made import NOON, Bench, at, film, row
from tests.cloud_bridge.rig import Rig

FACTS = FilmFacts(bytes=9, frames=1800, intro_frames=0, duration_s=60.0, width=640, height=180, fps=30)
WHOLE = MergeStage(status="succeeded", frames_total=1800, pictures={"side_by_side": 1800})
DONE = ProcessStage(status="succeeded", film=FACTS)
LOST = ALARM.at(agent="camera_left", alarm="capture_lost")
ONLINE = AgentAvailability(state="online", session="s")


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    rig.poll(0)
    yield rig
    rig.close()


def notices(entries: list[Entry]) -> list[Notice]:
    return [entry.notice for entry in entries if isinstance(entry, NoticeEntry)]


def told(rig: Rig) -> list[tuple[str, str]]:
    """Kind and subject of every notice in the store, in their order."""
    rows = rig.store._db.rows("SELECT kind, subject FROM notices ORDER BY seq")
    return [(row["kind"], row["subject"]) for row in rows]


def alarm(severity: str = "major", since: float = 0) -> Alarm:
    return Alarm.model_validate({"severity": severity, "text": "t", "since": at(since), "mend": "m"})


# --- films ---


def test_a_film_is_told_when_it_is_in_the_bucket_and_nothing_is_waited_for() -> None:
    bench = Bench(row())
    for event in (Changed(MERGE.at(id="a"), WHOLE), Changed(PROCESS.at(id="a"), DONE)):
        bench.feed(event, 60)
    assert notices(bench.keep()) == []
    bench.feed(Changed(UPLOAD.at(id="a"), film(60.2)), 60.2)
    (notice,) = notices(bench.keep())
    assert (notice.id, notice.kind, notice.at) == ("court-1:film:a", "film_ready", utc_text(at(60.2)))
    bench.feed(Changed(UPLOAD.at(id="a"), film(60.2)), 60.3)
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")), 60.4)
    assert notices(bench.keep()) == []


def test_a_film_whose_stages_are_not_known_is_told_after_a_minute() -> None:
    bench = Bench(row())
    bench.polled(minutes=60)
    bench.feed(Changed(UPLOAD.at(id="a"), film(60)), 60)
    bench.feed(Tick("poll"), 60.9)
    assert notices(bench.keep()) == []
    bench.feed(Changed(MERGE.at(id="a"), WHOLE.replace(pictures={"left": 1800})), 60.95)
    assert notices(bench.keep()) == []
    bench.polled(minutes=61.01)
    assert [notice.kind for notice in notices(bench.keep())] == ["film_partial"]


def test_a_stage_the_broker_kept_from_before_makes_no_film_partial() -> None:
    """The uploader may be back on a restarted broker before the processor is."""
    bench = Bench(row())
    old = DONE.replace(status="running", film=FACTS.replace(frames=900))
    for topic, stage in ((MERGE, WHOLE), (PROCESS, old), (UPLOAD, film(60))):
        bench.feed(Changed(topic.at(id="a"), stage), 60)
    assert notices(bench.keep()) == []
    bench.feed(Changed(PROCESS.at(id="a"), DONE), 60.1)
    assert [notice.kind for notice in notices(bench.keep())] == ["film_ready"]


@pytest.mark.parametrize("state", ["missed", "failed"])
def test_a_film_that_will_not_be_is_told(state: str) -> None:
    bench = Bench(row())
    bench.feed(Changed(RECORDING.at(id="a"), Recording.model_validate({"state": state, "why": "w"})), 61)
    assert [(n.kind, n.data["state"], n.data["why"]) for n in notices(bench.keep())] == [
        ("film_missed", state, "w")
    ]


def test_nobody_is_told_of_what_was_not_wanted_or_is_old() -> None:
    for bench, minutes in ((Bench(row(status="cancelled")), 61.0), (Bench(row(record="no")), 61.0)):
        bench.feed(Changed(UPLOAD.at(id="a"), film()), minutes)
        bench.feed(Changed(RECORDING.at(id="b"), Recording(state="missed")), minutes)
        bench.polled(minutes=63)
        assert notices(bench.keep()) == []
    bench = Bench(row())
    bench.feed(World({UPLOAD.at(id="a"): film(), MERGE.at(id="a"): WHOLE, PROCESS.at(id="a"): DONE}), 3000)
    assert notices(bench.keep()) == []


def test_a_film_is_told_once_over_restarts_and_an_absent_store(rig: Rig) -> None:
    rig.world = {UPLOAD.at(id="a"): film(61), MERGE.at(id="a"): WHOLE, PROCESS.at(id="a"): DONE}
    rig.minutes = 61
    rig.away(gone=True)
    for _ in range(3):
        rig.kill()
    rig.away(gone=False)
    for _ in range(3):
        rig.kill()
    assert told(rig) == [("film_ready", "a")]
    assert rig.faulty.calls.count("add_notices") >= 1


# --- alarms ---


def test_an_alarm_and_its_end_are_told_once_each() -> None:
    bench = Bench()
    bench.feed(Changed(LOST, alarm()))
    bench.feed(Changed(LOST, alarm().replace(text="still")))
    assert [n.id for n in notices(bench.keep())] == [
        f"court-1:alarm:camera_left/capture_lost:{utc_text(NOON)}"
    ]
    bench.feed(Changed(LOST, None), 5)
    (over,) = notices(bench.keep())
    assert (over.kind, over.at, over.data["since"]) == ("recovered", utc_text(at(5)), utc_text(NOON))
    bench.feed(Changed(LOST, alarm(since=6)), 6)
    assert [n.kind for n in notices(bench.keep())] == ["alarm"]


def test_a_minor_alarm_is_no_reason_to_write_but_one_that_grows_is() -> None:
    bench = Bench()
    bench.feed(Changed(LOST, alarm("minor")))
    assert notices(bench.keep()) == []
    bench.feed(Changed(LOST, alarm("critical")))
    assert [n.data["severity"] for n in notices(bench.keep())] == ["critical"]
    bench.feed(Changed(LOST, alarm("minor")))
    bench.feed(Changed(LOST, None))
    assert [n.kind for n in notices(bench.keep())] == ["recovered"]
    bench.feed(Changed(LOST, None))
    assert notices(bench.keep()) == []


def test_an_alarm_that_ends_while_it_is_written_down_is_told_in_order() -> None:
    bench = Bench()
    bench.feed(Changed(ALARM.at(agent="merger", alarm="slow"), alarm()))
    bench.feed(Changed(LOST, alarm()))
    bench.feed(Changed(LOST, None), 1)
    assert [(n.kind, n.subject) for n in notices(bench.keep())] == [
        ("alarm", "merger/slow"),
        ("alarm", "camera_left/capture_lost"),
        ("recovered", "camera_left/capture_lost"),
    ]


def test_an_alarm_that_ended_while_the_bridge_was_dead_is_told_when_its_agent_runs(rig: Rig) -> None:
    rig.world = {LOST: alarm()}
    rig.kill()
    assert told(rig) == [("alarm", "camera_left/capture_lost")]
    rig.world = {AGENT_AVAILABILITY.at(agent="camera_left"): ONLINE.replace(state="offline")}
    rig.kill()
    rig.poll(rig.minutes + 2)
    assert len(told(rig)) == 1  # perhaps the broker forgot it, and nobody is there to say it again
    rig.feed(Changed(AGENT_AVAILABILITY.at(agent="camera_left"), ONLINE))
    assert told(rig)[1:] == [("recovered", "camera_left/capture_lost")]
    rig.kill()
    rig.poll(rig.minutes + 2)
    assert len(told(rig)) == 2


def test_an_alarm_that_comes_back_at_once_was_never_over(rig: Rig) -> None:
    rig.world = {LOST: alarm(), AVAILABILITY.at(): Availability(state="online")}
    rig.kill()
    rig.world = {AGENT_AVAILABILITY.at(agent="camera_left"): ONLINE}
    rig.kill()
    rig.feed(Changed(LOST, alarm()), rig.minutes + 0.2)
    rig.poll(rig.minutes + 2)
    assert told(rig) == [("alarm", "camera_left/capture_lost")]


# --- preflights ---


def test_a_preflight_is_told_when_it_fails_and_again_when_something_else_does() -> None:
    bench = Bench(row())
    at_a = PREFLIGHT.at(id="a")
    bad = PreflightCheck(name="disk", ok=False, value="1 GB", mend="make room")
    good = bad.replace(ok=True)
    bench.feed(Changed(at_a, Preflight(ok=True, at=at(-60), checks=(good,))))
    assert notices(bench.keep()) == []
    for minutes in (-60, -10):
        bench.feed(Changed(at_a, Preflight(ok=False, at=at(minutes), checks=(bad,))))
    assert [(n.kind, n.subject, n.data["start"]) for n in notices(bench.keep())] == [
        ("preflight_failed", "a", utc_text(at(0)))
    ]
    other = bad.replace(name="clock")
    bench.feed(Changed(at_a, Preflight(ok=False, at=at(-5), checks=(bad, other))))
    assert len(notices(bench.keep())) == 1
    assert timedelta(0) < at(0) - at(-5)
