"""Which bookings stand, what they must not take, and where films are cut."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.schedule import (
    Schedule,
    Taken,
    cut_times,
    forget,
    frames_between,
    heard,
    heard_all,
    heard_sync,
    last_seen,
    standing,
    taken_from,
    wanted,
)
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.registry import BOOKING, SCHEDULE_SYNC
from tests.agents.camera_rig import T0, at, booking, mono, ring_file


def marker(generation: int = 1, **bookings: Booking) -> ScheduleSync:
    digest = schedule_digest((key, one.rev) for key, one in bookings.items())
    return ScheduleSync(generation=generation, count=len(bookings), digest=digest, synced_at=T0)


def test_a_cleared_booking_stands_until_the_marker_proves_it_gone() -> None:
    one, two = booking(0, 10), booking(20, 30, rev=4)
    known = heard_all(Schedule(), {"a": one, "b": two}, marker(a=one, b=two))
    cleared = heard(known, "a", None)
    assert wanted(cleared, "a")
    assert wanted(heard_sync(cleared, marker(b=booking(20, 30, rev=5))), "a")  # another revision of b
    assert wanted(heard_sync(cleared, marker(b=two, c=one)), "a")  # another count
    gone = heard_sync(cleared, marker(b=two))
    assert not wanted(gone, "a")
    assert standing(gone) == {"b": two}
    assert wanted(heard(gone, "a", one), "a")
    assert "a" not in forget(gone, "a").bookings
    assert forget(gone, "b") is gone


def test_a_withdrawn_booking_does_not_come_back_by_a_marker_that_fits_no_more() -> None:
    one, two = booking(0, 10), booking(20, 30)
    gone = heard_sync(heard(heard(Schedule(), "a", one), "a", None), marker())
    assert not wanted(heard(gone, "b", two), "a")


def test_a_remembered_booking_missing_from_the_broker_needs_the_marker_too() -> None:
    one = booking(0, 10)
    remembered = Schedule(bookings={"a": one})
    assert wanted(heard_all(remembered, {}, None), "a")
    assert not wanted(heard_all(remembered, {}, marker()), "a")


def test_after_a_restart_a_broker_with_an_old_memory_withdraws_nothing() -> None:
    one, two, longer = booking(0, 10), booking(20, 30), booking(0, 15, rev=2)
    newest = marker(7, a=longer, b=two)
    known = last_seen({BOOKING.at(id="a"): longer, BOOKING.at(id="b"): two, SCHEDULE_SYNC.at(): newest})
    old = heard_all(known, {"a": one}, marker(5, a=one))
    assert standing(old) == {"a": longer, "b": two}
    assert standing(heard_all(old, {}, None)) == {"a": longer, "b": two}
    mended = heard_all(old, {"a": longer, "b": two}, newest)
    assert standing(mended) == {"a": longer, "b": two}
    assert standing(heard_all(old, {"b": two}, marker(8, b=two))) == {"b": two}
    # A bridge that lost its count is believed once it speaks itself.
    spoken = heard_sync(heard(heard(old, "a", None), "b", two), marker(3, b=two))
    assert standing(spoken) == {"b": two}


def test_a_broker_that_comes_back_with_an_old_memory_withdraws_nothing() -> None:
    one, two, longer = booking(0, 10), booking(20, 30), booking(0, 15, rev=2)
    known = heard_all(Schedule(), {"a": longer, "b": two}, marker(7, a=longer, b=two))
    old = heard_all(known, {"a": one}, marker(5, a=one))
    assert standing(old) == {"a": longer, "b": two}
    assert wanted(heard_sync(old, marker(7, a=longer, b=two)), "b")
    # The same from a broker that is up to date is what it looks like.
    assert standing(heard_all(known, {"a": one}, marker(8, a=one))) == {"a": one}


def span(begin: float, end: float, by: str, reason: str, *, crossing: bool) -> Taken:
    return Taken(wall_ns(at(begin)), wall_ns(at(end)), by, reason, crossing)


def test_rolls_manual_bookings_and_cuts_may_not_reach_into_anothers_time() -> None:
    others = {"b": booking(10, 20)}
    crossing = [span(10, 15, "b", "another booking's time", crossing=True)]
    assert list(taken_from("a", booking(0, 10, to=at(15)), others)) == crossing
    assert list(taken_from("a", booking(5, 15, kind="manual"), others)) == crossing
    assert list(taken_from("a", booking(5, 15, kind="cut"), others)) == crossing
    assert taken_from("a", booking(5, 15), others) == ()  # booked over booked: the database's business
    assert taken_from("a", booking(0, 10), others) == ()
    assert taken_from("a", booking(12, 14, kind="cut", of="b"), others) == ()


def test_of_two_buttons_the_first_has_the_court() -> None:
    first, second = booking(0, 10, kind="manual"), booking(5, 15, kind="manual")
    both = {"a": first, "b": second}
    assert taken_from("a", first, both) == ()
    assert [one.by for one in taken_from("b", second, both)] == ["a"]


def test_time_under_record_no_is_available_to_nobody() -> None:
    others = {"no": booking(10, 20, record="no")}
    reason = "time that must not be recorded"
    assert list(taken_from("a", booking(5, 30), others)) == [span(10, 20, "no", reason, crossing=False)]
    crossed = taken_from("a", booking(5, 30, kind="manual"), others)
    assert {one.crossing for one in crossed} == {True, False}


def test_cuts_are_those_near_sorted_and_once() -> None:
    now = mono(100)
    assert cut_times([mono(50), mono(99), mono(98), mono(99), mono(701), mono(700)], now) == (
        mono(98),
        mono(99),
        mono(700),
    )


@given(st.integers(0, 4_000_000), st.integers(0, 4_000_000))
def test_frames_between_counts_as_one_by_one(begin_us: int, length_us: int) -> None:
    file = ring_file(1, 0, 2)
    begin = file.t0_ns - SECOND_NS + begin_us * 1000
    end = begin + length_us * 1000
    first, after = frames_between(file, begin, end)
    inside = [n for n, us in enumerate(file.offsets_us) if begin <= file.t0_ns + us * 1000 < end]
    assert list(range(first, after)) == inside
