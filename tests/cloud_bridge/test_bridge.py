import base64
import json
from dataclasses import replace

import pytest
from pydantic import SecretStr

from cloud_bridge import bridge
from cloud_bridge.keys import is_service_role
from cloud_bridge.state import State, slug
from edge_agent.core.agent import Changed, Done, Failed, Started, Tick, World
from edge_agent.core.effects import AwaitHint, BridgeInventory, Polled, PollStore, SendBatch, StoredBooking
from edge_agent.core.settings import Bookings, Settings
from edge_agent.runtime import codec
from schemas.agent import AgentStatus, Alarm
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.commands import BookArgs, StartArgs
from schemas.recording import MergeStage, Recording
from schemas.registry import AGENT_STATUS, ALARM, BOOKING, MERGE, RECORDING, SCHEDULE_SYNC, UPLOAD
from tests.cloud_bridge.made import SETTINGS, Bench, asked, at, film, row, stamp

POLL = PollStore("poll", 1)
A = BOOKING.at(id="a")


def polled(*rows: StoredBooking, cursor: int = 1, automatic: bool = True) -> Done:
    return Done("poll", Polled(cursor, rows, len(rows) or 1, automatic))


def sync_of(state: State) -> ScheduleSync:
    found = bridge.retained(state)[SCHEDULE_SYNC.at()]
    assert isinstance(found, ScheduleSync)
    return found


def booking_of(state: State, booking_id: str = "a") -> Booking:
    return state.bookings[booking_id]


# --- bookings ---


def test_rows_become_bookings_with_a_sync_that_matches() -> None:
    bench = Bench(row(), row("b", 60, 90))
    assert bench.acts == (POLL,)
    topics = bridge.retained(bench.state)
    known = topics[A]
    assert isinstance(known, Booking)
    assert (known.rev, known.start, known.end, known.from_, known.to) == (1, at(0), at(60), at(0), at(60))
    assert (known.wanted, known.deliver) == (True, ("film",))
    sync = sync_of(bench.state)
    assert (sync.count, sync.digest, sync.source) == (2, schedule_digest([("a", 1), ("b", 1)]), "stale")
    bench.feed(polled())
    assert (sync_of(bench.state).source, sync_of(bench.state).generation) == ("ok", sync.generation + 1)


def test_before_the_world_nothing_is_asked() -> None:
    started = Started(BridgeInventory((row(),), cursor=1), {})
    state, acts = bridge.decide(State(), started, stamp(-10), SETTINGS)
    assert (acts, bridge.wakes(state)) == ((), {})


def test_a_store_never_read_leaves_the_bookings_last_seen() -> None:
    kept = Bench(row()).state.bookings["a"]
    state, _ = bridge.decide(State(), Started(BridgeInventory(), {A: kept}), stamp(-10), SETTINGS)
    state, acts = bridge.decide(state, World({}), stamp(-10), SETTINGS)
    assert (acts, state.bookings) == ((PollStore("poll", 0),), {"a": kept})
    assert (sync_of(state).count, sync_of(state).source) == (1, "stale")
    state, _ = bridge.decide(state, Failed("poll", "transient", "locked"), stamp(-9), SETTINGS)
    assert bridge.retained(state)[A] is kept


def test_nothing_is_said_of_the_schedule_before_anything_is_known_of_it() -> None:
    state, _ = bridge.decide(State(), Started(BridgeInventory(), {}), stamp(-10), SETTINGS)
    state, _ = bridge.decide(state, World({}), stamp(-10), SETTINGS)
    assert SCHEDULE_SYNC.at() not in bridge.retained(state)
    state, _ = bridge.decide(state, polled(row(), cursor=1), stamp(-9), SETTINGS)
    assert sync_of(state).count == 1


def test_the_schedules_generation_rises_for_ever() -> None:
    bench = Bench(row())
    before = sync_of(bench.state)
    started = Started(
        BridgeInventory((row(),), cursor=1), {SCHEDULE_SYNC.at(): before, A: booking_of(bench.state)}
    )
    state, _ = bridge.decide(State(), started, stamp(-90), SETTINGS)
    assert sync_of(state) is before
    state, _ = bridge.decide(state, World({}), stamp(-90), SETTINGS)
    state, _ = bridge.decide(state, polled(row(end=30, changed=2), cursor=2), stamp(-90), SETTINGS)
    assert sync_of(state).generation == before.generation + 1


def test_a_poll_is_due_every_second_and_less_often_while_it_fails() -> None:
    bench = Bench(row())
    bench.polled(minutes=0)
    assert bridge.wakes(bench.state)["poll"] == stamp(0).mono_ns + 1_000_000_000
    assert bench.feed(Tick("poll"), 0.5 / 60) == ()
    assert bench.feed(Tick("poll"), 1 / 60) == (POLL,)
    assert bench.feed(Tick("poll"), 3 / 60) == ()  # one is under way
    for number in range(1, 9):
        assert bench.feed(Failed("poll", "transient", "no route"), number) == ()
        assert bench.feed(Tick("poll"), number + 0.5) == (POLL,)
    bench.feed(Failed("poll", "transient", "no route"), 9)
    assert bridge.wakes(bench.state)["poll"] - stamp(9).mono_ns == 10_000_000_000


def test_a_store_far_away_is_asked_at_its_own_pace_or_when_it_hints() -> None:
    far = Settings(bookings=Bookings(kind="supabase", url="https://x.example.org", poll_s=20))
    bench = Bench(row(), settings=far)
    assert AwaitHint("hint") in bench.hints
    bench.polled(minutes=0)
    assert bridge.wakes(bench.state)["poll"] == stamp(0).mono_ns + 20_000_000_000
    assert bench.feed(Done("hint", None), 1 / 60) == (AwaitHint("hint"), POLL)
    assert bench.feed(Done("hint", None), 2 / 60) == (AwaitHint("hint"),)  # a poll is under way
    assert bench.polled(minutes=3 / 60) == (POLL,)  # which may have come too early
    assert bench.polled(minutes=4 / 60) == ()
    assert bench.feed(Failed("hint", "gone", "nobody hints"), 5 / 60) == ()


def test_a_store_that_stays_away_is_alarmed_and_bookings_stay() -> None:
    bench = Bench(row())
    bench.feed(polled(), 0)
    bench.feed(Failed("poll", "transient", "no route"), 0.5)
    alarm = ALARM.at(agent="bridge", alarm="store_unreachable")
    assert alarm not in bridge.retained(bench.state)
    bench.feed(Failed("poll", "transient", "no route"), 1.5)
    standing = bridge.retained(bench.state)[alarm]
    bench.feed(Failed("poll", "transient", "no route"), 2.5)
    assert bridge.retained(bench.state)[alarm] is standing
    assert sync_of(bench.state).source == "stale"
    assert A in bridge.retained(bench.state)
    bench.feed(polled(), 3)
    assert alarm not in bridge.retained(bench.state)


def test_nothing_new_keeps_every_message() -> None:
    bench = Bench(row())
    bench.feed(polled())
    bench.keep()
    before = bridge.retained(bench.state)
    bench.feed(polled())
    bench.feed(polled(row()))
    after = bridge.retained(bench.state)
    assert after == before
    assert [after[at] is before[at] for at in before if at != AGENT_STATUS.at(agent="bridge")] == [True, True]


def test_a_changed_row_raises_the_revision() -> None:
    bench = Bench(row())
    bench.feed(polled(row(end=90, changed=2), cursor=2))
    assert (booking_of(bench.state).rev, booking_of(bench.state).to) == (2, at(90))
    bench.feed(polled(row(end=90, status="cancelled", changed=3), cursor=3))
    assert (booking_of(bench.state).rev, booking_of(bench.state).wanted) == (3, False)


def test_an_end_in_the_past_is_the_moment_it_is_seen() -> None:
    bench = Bench(row())
    bench.feed(polled(row(end=20, changed=2), cursor=2), 30)
    assert booking_of(bench.state).to == at(30)
    bench.feed(polled(row("x", 200, 210, changed=3), cursor=3), 40)
    assert (booking_of(bench.state).to, booking_of(bench.state).rev) == (at(30), 2)


def test_a_row_that_cannot_be_read_is_alarmed_until_it_is_mended() -> None:
    bench = Bench(row())
    known = booking_of(bench.state)
    alarm = ALARM.at(agent="bridge", alarm="row_a")
    bench.feed(polled(replace(row(changed=2), start="tomorrow"), cursor=2))
    standing = bridge.retained(bench.state)[alarm]
    assert booking_of(bench.state) is known
    bench.feed(polled(row("b", 100, 110, changed=3), cursor=3), -5)
    assert bridge.retained(bench.state)[alarm] is standing
    bench.feed(polled(row(changed=4), cursor=4))
    assert alarm not in bridge.retained(bench.state)


def test_what_is_over_is_cleared_when_final_and_stored() -> None:
    bench = Bench(row())
    bench.feed(polled())
    done = Recording(state="ready")
    bench.feed(Changed(RECORDING.at(id="a"), done), 61)
    bench.keep()
    bench.feed(Tick("poll"), 200)
    assert A in bridge.retained(bench.state)
    bench.stored()
    assert A not in bridge.retained(bench.state)
    assert sync_of(bench.state).count == 0
    bench.feed(polled(row("b", 300, 310, changed=2), cursor=2), 202)
    assert set(bench.state.bookings) == {"b"}


def test_what_was_withdrawn_stays_so_when_the_clock_goes_back_a_little() -> None:
    bench = Bench(row(record="no"))
    bench.feed(polled(), 121)
    assert bench.state.bookings == {}
    rows, sync = (*bench.state.rows.values(), row("seen", 60, 90)), sync_of(bench.state)
    bench.polled(row("b", 300, 310, changed=2), cursor=2, minutes=100)
    assert set(bench.state.bookings) == {"b"}
    again = Bench()
    again.state = State()
    again.feed(Started(BridgeInventory(rows, cursor=1), {SCHEDULE_SYNC.at(): sync}), 100)
    again.feed(World({}))
    assert set(again.state.bookings) == {"seen"}  # withdrawn it was not: it had not been over for an hour
    again.polled(row("b", 300, 310, changed=2), cursor=2, minutes=50)
    assert set(again.state.bookings) == {"a", "b", "seen"}  # the clock was wrong before


def test_what_is_over_but_unfinished_comes_back() -> None:
    bench = Bench(row(begin=-300, end=-240))
    bench.feed(polled())
    assert bench.state.bookings == {}
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="finishing")))
    assert set(bench.state.bookings) == {"a"}
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")))
    bench.keep()
    bench.stored()
    assert bench.state.bookings == {}


def test_old_rows_are_forgotten() -> None:
    bench = Bench(row("old", -14_000, -13_900), row("new", -11_000, -10_900))
    assert (set(bench.state.rows), bench.state.bookings) == ({"new"}, {})


def test_time_that_is_not_recorded_is_cleared_after_a_while() -> None:
    bench = Bench(row(record="no"))
    bench.feed(polled(), 119)
    assert A in bridge.retained(bench.state)
    bench.feed(polled(), 121)
    assert A not in bridge.retained(bench.state)


def test_ids_that_are_none_are_told_of_and_hinder_nothing() -> None:
    bench = Bench(row())
    bench.polled(row("Not An Id/../#", 100, 110, changed=2), row("b", 120, 130, changed=3), cursor=3)
    assert set(bench.state.bookings) == {"a", "b"}
    (name,) = bench.state.alarms
    assert ALARM.at(agent="bridge", alarm=name) in bridge.retained(bench.state)


def test_an_effect_whose_end_is_lost_is_asked_for_again() -> None:
    bench = Bench(row())
    assert bench.acts == (POLL,)
    assert bench.feed(Tick("poll"), -8) == ()
    due_ns = bridge.wakes(bench.state)["poll"]
    assert bench.feed(Tick("poll"), due_ns / 60e9) == (POLL,)
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")))
    bench.keep()
    bench.polled(minutes=1)
    assert not any(isinstance(act, SendBatch) for act in bench.polled(minutes=2))
    assert any(isinstance(act, SendBatch) for act in bench.polled(minutes=5))


def test_an_idle_bridge_looks_at_nothing_again() -> None:
    bench = Bench(row())
    bench.polled(minutes=0)
    before = bench.state
    bench.feed(Tick("poll"), 0.5 / 60)
    assert bench.state is before


@pytest.mark.parametrize("name", ["x" * 64, "X" * 200, "../", ""])
def test_every_name_of_an_alarm_fits_its_topic(name: str) -> None:
    for prefix in ("row_", "refused_", "set_aside_"):
        assert ALARM.at(agent="bridge", alarm=f"{prefix}{slug(name)}").path.startswith("alarm/bridge/")
    assert slug("b1") == "b1"


# --- the key ---


def jwt(role: str) -> str:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256"}, {"role": role})
    )
    return f"{head}.{body}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("key", "opens_all"),
    [
        (jwt("service_role"), True),
        ("sb_secret_abcdefgh", True),
        (jwt("ezrec_device"), False),
        (jwt("anon"), False),
        ("a.b.c", False),
        ("", False),
        ("a.W10.c", False),
    ],
)
def test_a_key_that_opens_everything_is_told_of(key: str, opens_all: bool) -> None:
    assert is_service_role(key) == opens_all
    settings = Settings(bookings=Bookings(kind="supabase", url="https://x.example.org", key=SecretStr(key)))
    bench = Bench(row(), settings=settings)
    alarm = bridge.retained(bench.state).get(ALARM.at(agent="bridge", alarm="service_role_key"))
    assert (alarm is not None) == opens_all
    if isinstance(alarm, Alarm):
        assert (alarm.severity, "ezrec store device-key" in alarm.mend) == ("minor", True)
        status = bridge.retained(bench.state)[AGENT_STATUS.at(agent="bridge")]
        assert isinstance(status, AgentStatus)
        assert status.state != "degraded"
    assert not key or key not in codec.dumps(bench.state)


def test_its_state_has_a_place_in_the_journal() -> None:
    bench = Bench(row())
    bench.feed(asked("start", StartArgs(), "k9"), -10)
    bench.feed(asked("book", BookArgs(start=at(100), end=at(110), title="Anna"), "k8"), -10)
    bench.feed(Changed(UPLOAD.at(id="a"), film()), 61)
    bench.keep()
    text = codec.dumps(bench.state)
    assert "Anna" not in text
    assert codec.dumps(codec.loads(text)) == text


def test_a_stage_that_is_cleared_is_forgotten() -> None:
    bench = Bench(row())
    bench.feed(Changed(MERGE.at(id="a"), MergeStage(status="succeeded")))
    bench.feed(Changed(MERGE.at(id="a"), None))
    assert bench.state.merges == {}
