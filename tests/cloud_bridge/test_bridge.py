from dataclasses import replace
from datetime import timedelta

import pytest

from cloud_bridge import bridge
from cloud_bridge.orders import booking_id_for
from cloud_bridge.state import State
from edge_agent.core.agent import Asked, Changed, Done, Failed, Reply, Started, Tick, World
from edge_agent.core.effects import (
    BridgeInventory,
    ChangeBooking,
    MakeShare,
    Polled,
    PollStore,
    SaveAutomatic,
    SaveBooking,
    SaveResult,
    ShareMade,
    StoredBooking,
)
from edge_agent.core.settings import Api, Retention, Settings
from edge_agent.runtime import codec
from schemas.base import utc_text
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.commands import Answer, AutomaticArgs, BookArgs, BookingIdArgs, NoArgs, StartArgs
from schemas.health import Health
from schemas.recording import MergeStage, Recording, Share, UploadStage
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    BOOKING,
    HEALTH,
    MERGE,
    RECEIPT,
    RECORDING,
    SCHEDULE_SYNC,
    SHARE,
    UPLOAD,
)
from tests.cloud_bridge.made import NOON, SETTINGS, Bench, at, film, row, stamp
from tests.cloud_bridge.served import receipt

POLL = PollStore("poll", 1)
A = BOOKING.at(id="a")


def polled(*rows: StoredBooking, cursor: int = 1, automatic: bool = True) -> Done:
    return Done("poll", Polled(cursor, rows, len(rows), automatic))


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


def test_an_unreadable_store_leaves_the_bookings_last_seen() -> None:
    kept = Bench(row()).state.bookings["a"]
    state, _ = bridge.decide(State(), Started(BridgeInventory(), {A: kept}), stamp(-10), SETTINGS)
    state, acts = bridge.decide(state, World({}), stamp(-10), SETTINGS)
    assert (acts, state.bookings) == ((PollStore("poll", 0),), {"a": kept})
    assert SCHEDULE_SYNC.at() not in bridge.retained(state)
    state, _ = bridge.decide(state, Failed("poll", "transient", "locked"), stamp(-9), SETTINGS)
    assert bridge.retained(state)[A] is kept
    state, _ = bridge.decide(state, polled(), stamp(-8), SETTINGS)
    assert state.bookings == {}
    assert sync_of(state).count == 0


def test_a_poll_is_due_every_second_and_less_often_while_it_fails() -> None:
    bench = Bench(row())
    bench.feed(polled(), 0)
    assert bridge.wakes(bench.state) == {"poll": stamp(0).mono_ns + 1_000_000_000}
    assert bench.feed(Tick("poll"), 0.5 / 60) == ()
    assert bench.feed(Tick("poll"), 1 / 60) == (POLL,)
    for number in range(1, 9):
        assert bench.feed(Failed("poll", "transient", "no route"), number) == ()
    assert bridge.wakes(bench.state)["poll"] - stamp(8).mono_ns == 32_000_000_000


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


def test_a_store_that_begins_anew_is_read_from_its_beginning() -> None:
    bench = Bench(row(changed=7), row("old", 100, 110, changed=8))
    bench.feed(polled(row(end=50, changed=1), cursor=1))
    bench.state = replace(bench.state, cursor=9)
    bench.feed(polled(row(end=40, changed=1), cursor=1))
    assert (set(bench.state.bookings), booking_of(bench.state).to) == ({"a"}, at(40))


def test_what_is_over_is_cleared_when_final_and_stored() -> None:
    bench = Bench(row())
    bench.feed(polled())
    done = Recording(state="ready")
    bench.feed(Changed(RECORDING.at(id="a"), done), 61)
    bench.feed(Tick("poll"), 200)
    assert A in bridge.retained(bench.state)
    bench.feed(Done("result:a:recording", None), 201)
    assert A not in bridge.retained(bench.state)
    assert sync_of(bench.state).count == 0
    bench.feed(polled(row("b", 300, 310, changed=2), cursor=2), 202)
    assert set(bench.state.bookings) == {"b"}


def test_what_is_over_but_unfinished_comes_back() -> None:
    bench = Bench(row(begin=-300, end=-240))
    bench.feed(polled())
    assert bench.state.bookings == {}
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="finishing")))
    assert set(bench.state.bookings) == {"a"}
    bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")))
    bench.feed(Done("result:a:recording", None))
    bench.feed(Done("result:a:recording", None))
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


# --- commands ---


def asked(name: str, args: object = None, command_id: str = "k1") -> Asked:
    return Asked("booking", name, command_id, args or NoArgs())  # type: ignore[arg-type]


def test_a_command_is_answered_when_the_store_has_it_and_counts_at_once() -> None:
    bench = Bench()
    bench.feed(polled())
    made = booking_id_for("k1")
    (effect,) = [
        act for act in bench.feed(asked("start", StartArgs(minutes=5)), 0) if isinstance(act, SaveBooking)
    ]
    assert not any(isinstance(act, Reply) for act in bench.acts)
    stored = row(made, 0, 5, kind="manual", changed=2)
    bench.feed(Done(effect.key, stored), 0.01)
    good = Answer(
        id="k1", status="ok", message=f"recording {made} until {utc_text(at(5))}", data={"id": made}
    )
    assert bench.acts[0] == Reply("k1", good)
    assert booking_of(bench.state, made).to == at(5)


def test_a_button_pressed_twice_starts_one_recording() -> None:
    bench = Bench()
    bench.feed(polled())
    made = booking_id_for("k1")
    bench.feed(asked("start", StartArgs(), "k1"), 0)
    (first,) = [act for act in bench.acts if isinstance(act, SaveBooking)]
    bench.feed(asked("start", StartArgs(), "k2"), 0.001)
    (second,) = [act for act in bench.acts if isinstance(act, SaveBooking)]
    bench.feed(Done(first.key, row(made, 0, 120, kind="manual", changed=2)), 0.002)
    bench.feed(Failed(second.key, "input", "would overlap"), 0.003)
    assert bench.acts[0] == Reply(
        "k2", Answer(id="k2", status="ok", message=f"{made} is being recorded already", data={"id": made})
    )


def test_booking_again_what_was_cancelled_books_nothing_and_says_so() -> None:
    bench = Bench()
    bench.feed(polled())
    bench.feed(asked("book", BookArgs(id="b1", start=at(0), end=at(60))))
    (save,) = [act for act in bench.acts if isinstance(act, SaveBooking)]
    bench.feed(Done(save.key, row("b1", status="cancelled", changed=2)))
    text = "b1 was booked before and is cancelled: book it under another id"
    assert bench.acts[0] == Reply("k1", Answer(id="k1", status="rejected", message=text))


@pytest.mark.parametrize(
    ("kind", "status"),
    [("input", "rejected"), ("gone", "rejected"), ("transient", "error"), ("full", "error")],
)
def test_a_refusal_of_the_store_is_the_answer(kind: str, status: str) -> None:
    bench = Bench(row())
    bench.feed(asked("cancel", BookingIdArgs(id="a")))
    bench.feed(Failed("change:a:k1", kind, "no such thing"))  # type: ignore[arg-type]
    answer = Answer(id="k1", status=status, message="no such thing")  # type: ignore[arg-type]
    assert bench.acts[0] == Reply("k1", answer)
    assert bench.state.waiting == {}


def test_cancel_and_automatic_take_effect_with_their_answer() -> None:
    bench = Bench(row())
    bench.feed(asked("cancel", BookingIdArgs(id="a")))
    assert ChangeBooking("change:a:k1", "a", {"status": "cancelled"}) in bench.acts
    bench.feed(Done("change:a:k1", row(status="cancelled", changed=2)))
    assert not booking_of(bench.state).wanted
    bench = Bench(row())
    bench.feed(asked("automatic", AutomaticArgs(on=False)))
    assert SaveAutomatic("automatic:k1", False) in bench.acts
    bench.feed(Done("automatic:k1", None))
    assert (booking_of(bench.state).record, sync_of(bench.state).automatic) == ("no", "off")


def test_every_command_gets_one_answer() -> None:
    bench = Bench(row())
    bench.feed(asked("stop"), -5)
    assert [act for act in bench.acts if isinstance(act, Reply)] == [
        Reply("k1", Answer(id="k1", status="rejected", message="nothing is being recorded"))
    ]
    bench.feed(Changed(MERGE.at(id="a"), MergeStage(status="succeeded")))
    bench.feed(Changed(MERGE.at(id="a"), None))
    assert bench.state.merges == {}


# --- results ---


def test_results_are_stored_once_and_progress_in_tens() -> None:
    bench = Bench(row())
    running = Recording(state="recording", progress_pct=10)
    bench.feed(Changed(RECORDING.at(id="a"), running), 6)
    assert bench.acts == (POLL, SaveResult("result:a:recording", "a", "recording", running))
    bench.feed(polled(), 6)
    later = running.replace(progress_pct=19)
    assert bench.feed(Changed(RECORDING.at(id="a"), later), 6) == ()
    assert bench.feed(Done("result:a:recording", None), 6) == ()
    much = running.replace(progress_pct=20)
    assert bench.feed(Changed(RECORDING.at(id="a"), much), 6) == (
        SaveResult("result:a:recording", "a", "recording", much),
    )


def test_the_last_word_on_a_recording_is_stored_as_it_stands() -> None:
    bench = Bench(row())
    kept = Recording(state="cancelled", why="its media is kept for 10 minutes")
    bench.feed(Changed(RECORDING.at(id="a"), kept), 1)
    bench.feed(Done("result:a:recording", None), 1)
    gone = kept.replace(why="its media is deleted")
    acts = bench.feed(Changed(RECORDING.at(id="a"), gone), 12)
    assert SaveResult("result:a:recording", "a", "recording", gone) in acts


def test_what_changed_while_it_was_stored_is_stored_again() -> None:
    bench = Bench(row())
    bench.feed(polled(), 61)
    bench.feed(Changed(RECEIPT.at(id="a"), receipt()), 61)
    newer = receipt(whistle_to_watchable_s=2.5)
    assert bench.feed(Changed(RECEIPT.at(id="a"), newer), 61) == ()
    assert bench.feed(Done("result:a:receipt", None), 61) == (
        SaveResult("result:a:receipt", "a", "receipt", newer),
    )


def test_the_devices_health_has_a_row_of_its_own() -> None:
    bench = Bench()
    bench.feed(polled())
    healthy = Health(cpu_pct=7)
    assert bench.feed(Changed(HEALTH.at(), healthy)) == (
        SaveResult("result::health", "court-1", "health", healthy),
    )
    bench.feed(Done("result::health", None))
    assert bench.feed(Changed(HEALTH.at(), None)) == ()


def test_a_write_that_fails_waits_and_is_alarmed_in_the_end() -> None:
    bench = Bench(row())
    bench.feed(polled(), 61)
    (save,) = bench.feed(Changed(RECORDING.at(id="a"), Recording(state="ready")), 61)
    alarm = ALARM.at(agent="bridge", alarm="results_unstored")
    minutes = 61.0
    for attempt in range(1, 4):
        assert alarm not in bridge.retained(bench.state)
        assert bench.feed(Failed(save.key, "full", "disk is full"), minutes) == ()  # type: ignore[union-attr]
        due_ns = bridge.wakes(bench.state)["retry:result:a:recording"]
        assert due_ns - stamp(minutes).mono_ns >= 250_000_000 * 2 ** (attempt - 1)
        minutes = (due_ns + 1) / 60e9 + 1e-6
        bench.feed(polled(), minutes)
        assert (
            save in bench.feed(Tick("retry:result:a:recording"), minutes)
            or save in bench.acts
            or ("result:a:recording" in bench.state.saving)
        )
    assert alarm in bridge.retained(bench.state)
    bench.feed(Done("result:a:recording", None), minutes)
    assert alarm not in bridge.retained(bench.state)
    assert bench.state.retries == {}


def test_a_complete_film_gets_one_share_that_ends_with_it() -> None:
    settings = Settings(api=Api(share_days=30), retention=Retention(film_bucket_days=14))
    bench = Bench(row(), settings=settings)
    bench.feed(polled(), 61)
    bench.feed(Changed(UPLOAD.at(id="a"), UploadStage(status="running")), 61)
    assert not any(isinstance(act, MakeShare) for act in bench.acts)
    bench.feed(Changed(UPLOAD.at(id="a"), film(61)), 61)
    expires = at(61) + timedelta(days=14)
    share = MakeShare("share:a", "a", utc_text(expires))
    assert share in bench.acts
    bench.feed(Done("share:a", ShareMade("s1", utc_text(expires))), 61)
    active = Share(state="active", share_id="s1", expires_at=expires)
    assert bridge.retained(bench.state)[SHARE.at(id="a")] == active
    assert share not in bench.feed(Tick("poll"), 62)
    bench.feed(Tick("poll"), 61 + 14 * 24 * 60)
    assert bridge.retained(bench.state)[SHARE.at(id="a")] == active.replace(state="expired")


def test_a_cancelled_booking_gets_no_share() -> None:
    bench = Bench(row(status="cancelled"))
    assert not any(isinstance(act, MakeShare) for act in bench.feed(Changed(UPLOAD.at(id="a"), film()), 61))


def test_a_share_stands_as_long_as_anything_of_its_recording() -> None:
    bench = Bench(row())
    ready = Recording(state="ready")
    for event in (
        polled(),
        Changed(RECORDING.at(id="a"), ready),
        Changed(UPLOAD.at(id="a"), film()),
        Done("result:a:recording", None),
        Done("result:a:upload", None),
        Done("share:a", ShareMade("s1", utc_text(NOON + timedelta(days=7)))),
    ):
        bench.feed(event, 61)
    share = bridge.retained(bench.state)[SHARE.at(id="a")]
    assert isinstance(share, Share)
    assert share.stored_rev == 2
    bench.feed(Tick("poll"), 300)
    assert (A in bridge.retained(bench.state), SHARE.at(id="a") in bridge.retained(bench.state)) == (
        False,
        True,
    )
    for topic in (UPLOAD, RECORDING):
        bench.feed(Changed(topic.at(id="a"), None), 9000)
    assert SHARE.at(id="a") not in bridge.retained(bench.state)
    assert (bench.state.results, bench.state.saved) == ({}, {})


def test_a_share_made_before_is_not_made_again() -> None:
    share = Share(state="active", share_id="s1", expires_at=NOON + timedelta(days=7))
    started = Started(BridgeInventory((row(),), cursor=1), {SHARE.at(id="a"): share})
    state, _ = bridge.decide(State(), started, stamp(61), SETTINGS)
    state, acts = bridge.decide(state, World({UPLOAD.at(id="a"): film()}), stamp(61), SETTINGS)
    assert not any(isinstance(act, MakeShare) for act in acts)
    assert bridge.retained(state)[SHARE.at(id="a")] is share


def test_its_state_has_a_place_in_the_journal() -> None:
    bench = Bench(row())
    bench.feed(asked("start", StartArgs(), "k9"), -10)
    bench.feed(Changed(UPLOAD.at(id="a"), film()), 61)
    assert codec.loads(codec.dumps(bench.state)) == bench.state
