"""What the store answers: partly, not at all, nothing, as another store. Nothing is withdrawn by mistake."""

from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cloud_bridge import bridge
from cloud_bridge.outbox import Outbox
from cloud_bridge.state import State
from cloud_bridge.stores import NewBooking
from edge_agent.core.agent import Changed, Done, Failed, Started, Tick, World
from edge_agent.core.effects import (
    AnswerEntry,
    BridgeInventory,
    KeepSeen,
    PollStore,
    StoredCommand,
    StoredShare,
    UnreadableRow,
)
from schemas.base import utc_text
from schemas.booking import ScheduleSync
from schemas.recording import Recording, Share
from schemas.registry import ALARM, BOOKING, RECORDING, SCHEDULE_SYNC, SHARE
from tests.cloud_bridge.made import NOON, SETTINGS, Bench, at, row, stamp
from tests.cloud_bridge.rig import Rig

CHANGED = ALARM.at(agent="bridge", alarm="store_changed")
DAYS = timedelta(days=7)


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def seen(bench: Bench) -> list[KeepSeen]:
    return [act for act in bench.acts if isinstance(act, KeepSeen)]


# --- in pieces ---


def test_an_answer_in_pieces_is_asked_for_at_once_until_it_is_whole() -> None:
    bench = Bench(row())
    acts = bench.polled(row("b", 100, 110, changed=2), cursor=2, complete=False)
    assert PollStore("poll", 2) in acts
    assert set(bench.state.bookings) == {"a", "b"}
    assert PollStore("poll", 3) not in bench.polled(row("c", 120, 130, changed=3), cursor=3)
    assert set(bench.state.bookings) == {"a", "b", "c"}


def test_a_piece_of_the_first_answer_says_nothing_of_the_schedule() -> None:
    state, _ = bridge.decide(State(), Started(BridgeInventory(), {}), stamp(-10), SETTINGS)
    bench = Bench()
    bench.state = state
    bench.feed(World({}))
    bench.polled(row(), cursor=1, complete=False)
    assert set(bench.state.bookings) == {"a"}
    assert SCHEDULE_SYNC.at() not in bridge.retained(bench.state)
    bench.polled(row("b", 100, 110, changed=2), cursor=2)
    sync = bridge.retained(bench.state)[SCHEDULE_SYNC.at()]
    assert isinstance(sync, ScheduleSync)
    assert sync.count == 2


def test_what_was_seen_is_kept_once_and_only_when_it_is_news() -> None:
    bench = Bench(row())
    bench.polled(cursor=1)
    assert seen(bench) == []
    news = row("b", 100, 110, changed=2)
    bench.polled(news, cursor=2)
    (keep,) = seen(bench)
    assert (keep.cursor, keep.rows, keep.gone) == (2, (news,), ())
    bench.feed(Failed(keep.key, "full", "disk full"))
    bench.polled(cursor=2)
    (keep,) = seen(bench)
    assert {kept.id for kept in keep.rows} == {"a", "b"}
    bench.feed(Done(keep.key, None))
    bench.polled(cursor=2)
    assert seen(bench) == []


# --- another store ---


def test_a_store_that_begins_anew_is_believed_when_its_answer_is_whole() -> None:
    bench = Bench(row(changed=7), row("later", 600, 660, changed=8))
    bench.polled(cursor=9)
    bench.polled(row(end=40, changed=1), cursor=1, complete=False, count=2)
    assert (set(bench.state.bookings), bench.state.bookings["a"].to) == ({"a", "later"}, at(60))
    bench.polled(row("new", 300, 310, changed=2), cursor=2, count=2)
    assert set(bench.state.bookings) == {"a", "new"}
    assert bench.state.bookings["a"].to == at(40)
    (keep,) = seen(bench)
    assert (keep.cursor, {kept.id for kept in keep.rows}, keep.gone) == (2, {"a", "new"}, ("later",))
    assert CHANGED not in bridge.retained(bench.state)


def test_what_comes_beside_the_rows_of_a_store_that_begins_anew_is_not_lost() -> None:
    bench = Bench(row(changed=7))
    bench.polled(cursor=9)
    command = StoredCommand("c1", "merger", "dance", {}, None, utc_text(NOON), 1, refusal="no such thing")
    bench.polled(row(changed=1), cursor=1, complete=False, commands=(command,), shares=(share(changed=1),))
    assert any(isinstance(entry, AnswerEntry) for entry in bench.keep())
    bench.polled(row("b", 100, 110, changed=2), cursor=2, automatic=False)
    assert topic(bench) is not None
    assert bench.state.bookings["a"].record == "no"


def test_what_has_begun_or_begins_within_the_hour_is_not_withdrawn() -> None:
    rows = (row("past", -300, -240), row("runs", -15, 30), row("soon", 45, 60), row("later", 600, 660))
    bench = Bench(*(replace(one, changed=9) for one in rows))
    bench.polled(cursor=9)
    bench.feed(Changed(RECORDING.at(id="past"), Recording(state="finishing")))
    bench.polled(row("other", 700, 710, changed=1), cursor=1)
    assert set(bench.state.bookings) == {"past", "runs", "soon", "other"}
    alarm = bridge.retained(bench.state)[CHANGED]
    assert "knows none of the 4" in str(alarm)
    bench.polled(row("runs", -15, 20, changed=2), cursor=2)
    assert bench.state.bookings["runs"].to == at(20)
    for name in ("past", "runs", "soon"):
        bench.feed(Changed(RECORDING.at(id=name), Recording(state="ready")), 200)
    bench.keep()
    bench.stored()
    bench.polled(row("x", 800, 810, changed=3), cursor=3, minutes=201)
    bench.polled(cursor=3, minutes=202)
    assert set(bench.state.bookings) == {"other", "x"}
    assert CHANGED not in bridge.retained(bench.state)


@pytest.mark.parametrize("cursor", [0, 1, 9])
def test_an_answer_that_is_empty_by_accident_withdraws_nothing(cursor: int) -> None:
    bench = Bench(row(changed=9), row("later", 600, 660, changed=8))
    bench.polled(cursor=9)
    before = bench.state.bookings
    for _ in range(3):
        bench.polled(cursor=cursor, count=0, automatic=False)
        assert bench.state.bookings is before
        assert bench.state.cursor == 0  # what was changed since alone would look like all there is
    assert CHANGED in bridge.retained(bench.state)
    bench.polled(row("new", 300, 310, changed=10), row(changed=9), cursor=10, count=3)
    assert "a" in bench.state.bookings


def test_a_store_that_moved_is_compared_as_a_whole(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("a", "booked", at(10), at(30)))
    rig.store.create_booking(NewBooking("far", "booked", at(600), at(660)))
    rig.poll(0)
    rig.effects._outbox.close()
    found = Outbox(rig.folder / "outbox.sqlite", "another").inventory()
    assert (found.moved, found.cursor, {kept.id for kept in found.rows}) == (True, 0, {"a", "far"})
    state, _ = bridge.decide(State(), Started(found, rig.remembered), stamp(1), SETTINGS)
    bench = Bench()
    bench.state = state
    bench.feed(World({}), 1)
    bench.polled(row("b", 100, 130, changed=1), cursor=1)
    assert set(bench.state.bookings) == {"a", "b"}
    assert CHANGED in bridge.retained(bench.state)


def test_a_disk_that_lost_what_was_seen_withdraws_nothing_before_the_store_speaks(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("a", "booked", at(10), at(30)))
    rig.poll(0)
    for file in rig.folder.glob("outbox.sqlite*"):
        file.unlink()
    rig.away(gone=True)
    rig.start()
    assert set(rig.state.bookings) == {"a"}
    rig.poll(1)
    assert set(rig.state.bookings) == {"a"}
    rig.away(gone=False)
    rig.poll(2)
    rig.store.change_booking("a", {"status": "cancelled"})
    rig.poll(3)
    assert not rig.state.bookings["a"].wanted


# --- rows that are none ---


def test_a_row_nobody_can_read_is_told_of_by_name_and_the_last_known_stands() -> None:
    bench = Bench(row())
    known = bench.state.bookings["a"]
    alarm = ALARM.at(agent="bridge", alarm="row_a")
    wrong = (UnreadableRow("a", "a: end before start"), UnreadableRow("b", "b: start is null"))
    bench.polled(cursor=2, unreadable=wrong)
    assert bench.state.bookings["a"] is known
    assert set(bench.state.alarms) == {"row_a", "row_b"}
    standing = bridge.retained(bench.state)[alarm]
    bench.polled(row("c", 100, 110, changed=3), cursor=3)
    assert bridge.retained(bench.state)[alarm] is standing
    bench.polled(row(end=50, changed=4), cursor=4)
    assert set(bench.state.alarms) == {"row_b"}


# --- shares ---


def share(**more: object) -> StoredShare:
    fields: dict[str, object] = {
        "booking_id": "a", "share_id": "s1", "expires_at": utc_text(NOON + DAYS), "revoked_at": None,
        "delivered_at": None, "changed": 2, **more,
    }  # fmt: skip
    return StoredShare(**fields)  # type: ignore[arg-type]


def topic(bench: Bench) -> Share | None:
    found = bridge.retained(bench.state).get(SHARE.at(id="a"))
    assert found is None or isinstance(found, Share)
    return found


def test_a_share_says_when_it_was_delivered_moved_and_revoked() -> None:
    bench = Bench(row())
    bench.polled(cursor=2, shares=(share(),))
    made = Share(state="active", share_id="s1", expires_at=NOON + DAYS)
    assert topic(bench) == made
    bench.polled(cursor=3, shares=(share(delivered_at=utc_text(at(62)), changed=3),), minutes=63)
    assert topic(bench) == made.replace(delivered_at=at(62))
    bench.polled(cursor=4, shares=(share(expires_at=utc_text(NOON + 2 * DAYS), changed=4),))
    assert topic(bench) == made.replace(expires_at=NOON + 2 * DAYS)
    bench.polled(cursor=5, shares=(share(revoked_at=utc_text(at(64)), changed=5),))
    assert topic(bench) == made.replace(state="expired")


def test_shares_of_bookings_nobody_here_knows_are_left_alone() -> None:
    bench = Bench(row())
    bench.polled(cursor=2, shares=(share(booking_id="elsewhere"),))
    assert bench.state.shares == {}


def test_a_share_is_known_after_a_restart_without_the_store(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("a", "booked", at(0), at(60)))
    rig.store.make_share("a", NOON + DAYS)
    rig.poll(61)
    rig.away(gone=True)
    rig.remembered = {at_: m for at_, m in rig.remembered.items() if at_.topic is BOOKING}
    rig.kill()
    assert rig.topic("recording/a/share").state == "active"


# --- a store that is away ---


def test_a_store_that_comes_back_is_brought_everything_at_once(rig: Rig) -> None:
    rig.poll(0)
    rig.away(gone=True)
    for minutes in (1, 2, 3, 4, 5):
        rig.feed(Changed(RECORDING.at(id=f"b{minutes}"), Recording(state="ready")), minutes)
        rig.feed(Tick("poll"))
    assert "store_unreachable" in rig.alarms()
    assert "results_unstored" not in rig.alarms()
    rig.away(gone=False)
    rig.poll(5.5)
    assert rig.alarms() == set()
    assert [rig.store.results(f"b{n}")["recording"].body["state"] for n in range(1, 6)] == ["ready"] * 5
