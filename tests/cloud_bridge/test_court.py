"""Bookings made at the court, with a store that answers, is away, or says no."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.orders import booking_id_for
from cloud_bridge.stores import NewBooking, StoreError
from edge_agent.core.agent import Done, Failed, Reply, Tick
from edge_agent.core.effects import Enqueue, PollStore, Queued, SaveBooking
from schemas.base import utc_text
from schemas.booking import Booking
from schemas.commands import AutomaticArgs, BookArgs, BookingIdArgs, CutArgs, ExtendArgs, StartArgs
from tests.cloud_bridge.faulty import away
from tests.cloud_bridge.made import Bench, asked, at, row
from tests.cloud_bridge.rig import Rig

MADE = booking_id_for("k1")
LATER = "; the booking system will be told when it answers again"


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def stored(rig: Rig, booking_id: str) -> tuple[str, str, str] | None:
    found = rig.store.booking(booking_id)
    return (found.stored.kind, found.stored.end, found.stored.status) if found else None


def published(rig: Rig, booking_id: str) -> Booking | None:
    found = rig.topic(f"booking/{booking_id}")
    assert found is None or isinstance(found, Booking)
    return found


# --- a store that answers ---


def test_a_button_is_answered_when_it_is_written_down_and_counts_at_once(rig: Rig) -> None:
    rig.feed(Tick("poll"), 0)
    answer = rig.ask("start", StartArgs(minutes=5))
    assert (answer.status, answer.data) == ("ok", {"id": MADE})
    known = published(rig, MADE)
    assert known is not None
    assert (known.kind, known.to) == ("manual", at(5))
    assert stored(rig, MADE) == ("manual", utc_text(at(5)), "confirmed")
    rig.feed(Tick("poll"), 2)
    assert rig.ask("stop", None, "k2").status == "ok"
    assert stored(rig, MADE) == ("manual", utc_text(at(2)), "confirmed")
    assert published(rig, MADE).to == at(2)  # type: ignore[union-attr]


def test_a_button_waits_for_its_writing_and_for_nothing_else() -> None:
    bench = Bench()
    bench.polled(minutes=0)
    acts = bench.feed(asked("start", StartArgs(minutes=5)))
    assert not any(isinstance(act, Reply) for act in acts)
    (write,) = [act for act in acts if isinstance(act, Enqueue)]
    assert bench.state.bookings == {}
    acts = bench.feed(Done(write.key, Queued((7,))))
    assert [act.answer.status for act in acts if isinstance(act, Reply)] == ["ok"]
    assert set(bench.state.bookings) == {MADE}


def test_a_button_pressed_twice_starts_one_recording() -> None:
    bench = Bench()
    bench.polled(minutes=0)
    bench.feed(asked("start", StartArgs(), "k1"), 0)
    assert bench.feed(asked("start", StartArgs(), "k2"), 0.001) == ()
    assert bench.feed(asked("stop", None, "k3"), 0.001) == ()
    (write,) = bench.writes
    acts = bench.feed(Done(write.key, Queued((7,))), 0.002)
    answers = {act.command_id: act.answer for act in acts if isinstance(act, Reply)}
    assert answers["k1"].data == {"id": MADE}
    assert answers["k2"].message == f"{MADE} is being recorded already"
    assert "k3" not in answers
    bench.writes.pop(0)
    assert len(bench.keep()) == 1
    assert (bench.state.held, bench.state.bookings[MADE].to) == ((), at(0.002))


def test_a_full_disk_is_the_answer() -> None:
    bench = Bench()
    bench.polled(minutes=0)
    bench.feed(asked("start", StartArgs()))
    (write,) = bench.writes
    acts = bench.feed(Failed(write.key, "full", "the disk is full"))
    assert [act.answer.status for act in acts if isinstance(act, Reply)] == ["error"]
    assert bench.state.bookings == {}


def test_a_booking_asks_the_store_which_may_refuse(rig: Rig) -> None:
    rig.poll(0)
    args = BookArgs(id="b1", start=at(60), end=at(120), title="Anna", contacts=("a@example.org",))
    assert rig.ask("book", args).status == "ok"
    assert rig.ask("book", args.replace(id="b2", start=at(90)), "k2").status == "rejected"
    kept = rig.store.booking("b1")
    assert kept is not None
    assert (kept.title, kept.contacts, published(rig, "b1") is not None) == ("Anna", ("a@example.org",), True)
    assert rig.ask("extend", ExtendArgs(id="b1", to=at(150)), "k3").status == "ok"
    assert rig.ask("cancel", BookingIdArgs(id="b1"), "k4").status == "ok"
    assert stored(rig, "b1") == ("booked", utc_text(at(150)), "cancelled")
    assert rig.ask("book", args, "k5").message == (
        "b1 was booked before and is cancelled: book it under another id"
    )
    assert rig.ask("automatic", AutomaticArgs(on=False), "k6").status == "ok"
    assert (rig.store.automatic(), rig.topic("schedule/sync").automatic) == (False, "off")


@pytest.mark.parametrize("kind", ["permanent", "denied", "full"])
def test_a_store_that_fails_for_good_is_the_answer(rig: Rig, kind: Any) -> None:
    rig.poll(0)

    def broken(_name: str, _values: tuple[Any, ...]) -> None:
        raise StoreError(kind, "the key was revoked")

    rig.faulty.before = broken
    answer = rig.ask("book", BookArgs(id="b1", start=at(60), end=at(120)))
    assert (answer.status, answer.message) == ("error", "the key was revoked")
    assert rig.state.pending == ()


# --- a store that is away ---


def test_everything_works_without_the_store_and_it_is_told_later(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("b0", "booked", at(200), at(260)))
    rig.poll(0)
    rig.away(gone=True)
    rig.poll(1)
    assert rig.ask("start", StartArgs(minutes=30)).status == "ok"
    rig.minutes = 2
    assert rig.ask("cut", CutArgs(last_s=20), "k2").status == "ok"
    args = BookArgs(id="b1", start=at(60), end=at(120), title="Anna", contacts=("a@example.org",))
    booked = rig.ask("book", args, "k3")
    assert (booked.status, booked.message) == ("accepted", f"booked b1{LATER}")
    assert rig.ask("extend", ExtendArgs(id="b1", to=at(150)), "k4").status == "accepted"
    assert rig.ask("cancel", BookingIdArgs(id="b0"), "k5").status == "accepted"
    assert rig.ask("automatic", AutomaticArgs(on=False), "k6").status == "accepted"
    rig.minutes = 5
    assert rig.ask("stop", None, "k7").status == "ok"

    def as_ordered() -> None:
        cut = booking_id_for("k2")
        known = {name: published(rig, name) for name in (MADE, cut, "b0", "b1")}
        assert {name: (one.kind, one.status) for name, one in known.items() if one} == {
            MADE: ("manual", "confirmed"),
            cut: ("cut", "confirmed"),
            "b0": ("booked", "cancelled"),
            "b1": ("booked", "confirmed"),
        }
        assert [known[name].to for name in (MADE, "b1")] == [at(5), at(150)]  # type: ignore[union-attr]
        assert (rig.topic("schedule/sync").automatic, known["b1"].record) == ("off", "no")  # type: ignore[union-attr]

    as_ordered()
    assert rig.store.booking(MADE) is None
    rig.kill()
    as_ordered()
    rig.kill()
    rig.away(gone=False)
    rig.poll(6)
    rig.poll(7)
    as_ordered()
    assert stored(rig, MADE) == ("manual", utc_text(at(5)), "confirmed")
    assert stored(rig, "b0") == ("booked", utc_text(at(260)), "cancelled")
    kept = rig.store.booking("b1")
    assert kept is not None
    assert (kept.stored.end, kept.title, kept.contacts) == (utc_text(at(150)), "Anna", ("a@example.org",))
    assert (rig.store.automatic(), rig.state.pending, rig.alarms()) == (False, (), set())
    rig.kill()
    as_ordered()


def test_a_store_that_goes_away_with_the_question_is_told_later(rig: Rig) -> None:
    rig.store.create_booking(NewBooking("b0", "booked", at(60), at(120)))
    rig.poll(0)
    rig.faulty.after = away  # it happens, and the answer is lost
    assert rig.ask("extend", ExtendArgs(id="b0", to=at(150))).status == "accepted"
    assert rig.ask("book", BookArgs(id="b1", start=at(200), end=at(220)), "k2").status == "accepted"
    rig.faulty.after = None
    rig.store.change_booking("b0", {"title": "Anna"})
    rig.poll(1)
    rig.poll(2)
    assert (stored(rig, "b0"), rig.alarms()) == (("booked", utc_text(at(150)), "confirmed"), set())
    assert stored(rig, "b1") == ("booked", utc_text(at(220)), "confirmed")


def test_the_same_booking_twice_without_the_store(rig: Rig) -> None:
    rig.poll(0)
    rig.away(gone=True)
    rig.poll(1)
    args = BookArgs(id="b1", start=at(60), end=at(120))
    assert rig.ask("book", args).status == "accepted"
    assert rig.ask("book", args, "k2").status == "ok"
    assert rig.ask("book", args.replace(end=at(130)), "k3").message == "there is another booking b1"
    assert rig.ask("cancel", BookingIdArgs(id="b1"), "k4").status == "accepted"
    assert rig.ask("book", args, "k5").status == "rejected"
    assert len(rig.state.pending) == 2


def test_a_late_refusal_is_an_alarm_and_the_device_follows_the_store(rig: Rig) -> None:
    rig.poll(0)
    rig.away(gone=True)
    rig.poll(1)
    rig.ask("book", BookArgs(id="b1", start=at(60), end=at(120)))
    rig.store.create_booking(NewBooking("cloud", "booked", at(90), at(150)))
    assert published(rig, "b1") is not None
    rig.away(gone=False)
    rig.poll(2)
    rig.poll(3)
    assert (published(rig, "b1"), published(rig, "cloud") is not None) == (None, True)
    alarm = rig.topic("alarm/bridge/refused_b1")
    assert "b1" in alarm.text
    assert "would overlap cloud" in alarm.text
    rig.kill()
    assert rig.alarms() == {"refused_b1"}
    rig.poll(3 + 24 * 60 + 1)
    assert rig.alarms() == set()


def test_a_button_pressed_in_ignorance_of_a_booking_ends_where_that_begins(rig: Rig) -> None:
    rig.poll(0)
    rig.away(gone=True)
    rig.poll(1)
    rig.ask("start", StartArgs(minutes=100))
    rig.store.create_booking(NewBooking("cloud", "booked", at(60), at(90)))
    rig.away(gone=False)
    for minutes in (2, 3, 4):
        rig.poll(minutes)
    assert stored(rig, MADE) == ("manual", utc_text(at(60)), "confirmed")
    assert (published(rig, MADE).to, rig.alarms()) == (at(60), set())  # type: ignore[union-attr]


def test_what_a_button_began_is_recorded_whatever_the_store_says(rig: Rig) -> None:
    rig.poll(0)
    rig.away(gone=True)
    rig.poll(1)
    rig.ask("start", StartArgs(minutes=30))
    rig.store.create_booking(NewBooking("cloud", "booked", at(0.5), at(90)))
    rig.away(gone=False)
    for minutes in (2, 3, 4):
        rig.poll(minutes)
    assert stored(rig, MADE) is None
    assert published(rig, MADE) is not None
    assert rig.alarms() == {f"refused_{MADE}"}
    rig.minutes = 5
    assert rig.ask("stop", None, "k2").status == "ok"
    rig.poll(6)
    rig.kill()
    assert published(rig, MADE) is not None


def test_commands_of_a_bench_without_a_store_go_into_the_outbox() -> None:
    bench = Bench(row())
    acts = bench.feed(asked("cancel", BookingIdArgs(id="a")))
    assert [type(act) for act in acts] == [Enqueue]  # it was never heard of in this run
    bench.keep()
    bench.polled(minutes=1)
    acts = bench.feed(asked("book", BookArgs(id="b1", start=at(60), end=at(70)), "k2"))
    assert [type(act) for act in acts if not isinstance(act, PollStore)] == [SaveBooking]
