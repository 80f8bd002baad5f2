from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.recording import (
    Delay,
    Facts,
    aged,
    booked,
    delay,
    missing,
    progress,
    state_of,
    whistle,
)
from edge_agent.core.settings import Settings
from edge_agent.core.watch import View, looked_at
from schemas.recording import FINAL_STATES, FilmFacts, MergeStage, ProcessStage, Recording
from tests.support.recordings import at, booking, capture, facts, merge, process, upload

SETTINGS = Settings()
HALF_FILM = FilmFacts(bytes=500, frames=390, intro_frames=90, duration_s=13, width=64, height=36, fps=30)
HALF = process(status="running", slots_done=3, film=HALF_FILM)


@pytest.mark.parametrize(
    ("state", "one", "now_s"),
    [
        ("scheduled", Facts("b1", booking()), -1),
        ("recording", Facts("b1", booking()), 0),
        ("finishing", Facts("b1", booking(), seen=True), 20),
        ("finishing", Facts("b1", booking()), 49),
        ("missed", Facts("b1", booking()), 20 + 600),
        ("missed", Facts("b1", booking(), captures={"left": capture(segments=0, frames=0)}), 50),
        ("finishing", facts(upload=upload(None)), 23),
        ("ready", facts(), 23),
        ("finishing", facts(merge=None), 23),  # its owner has a minute to say what it planned
        ("ready", facts(merge=None), 83),
        ("partial", facts(merge=merge(pictures={"side_by_side": 590, "left": 10})), 23),
        ("partial", facts(merge=merge(frames_total=601)), 23),
        ("partial", facts(process=process(rungs={"full": 5, "card": 1})), 23),
        ("finishing", facts(process=HALF), 23),  # what the broker kept of the processor may be old
        ("ready", facts(process=HALF), 83),
        ("partial", facts(process=HALF.replace(rungs={"card": 1})), 83),
        ("ready", facts(process=process(rungs={"full": 5, "no_logos": 1})), 23),
        ("failed", facts(upload=None, process=ProcessStage(status="failed")), 23),
        ("cancelled", Facts("b1", booking(status="cancelled")), 5),
        ("cancelled", Facts("b1", booking(record="no")), 5),
        ("cancelled", Facts("b1", booking(), withdrawn=True), 5),
        ("ready", facts(withdrawn=True, said=Recording(state="ready")), 99),
    ],
)
def test_the_state_of_a_recording(state: str, one: Facts, now_s: float) -> None:
    assert state_of(one, at(now_s)) == state


def test_a_cancelled_recording_may_be_taken_back_for_ten_minutes() -> None:
    off = booked(facts(merge=MergeStage(), upload=None), booking(status="cancelled"), at(5))
    off = looked_at(off, view(5))
    assert off.said is not None
    assert off.said.state == "cancelled"
    back = looked_at(replace(off, booking=booking(rev=3)), view(5 + 599))
    assert back.said is not None
    assert (back.said.state, back.cancelled_at) == ("finishing", None)
    dead = aged(off, at(5 + 600), 605 * SECOND_NS, SETTINGS)
    assert dead.dead
    assert state_of(replace(dead, booking=booking(rev=3)), at(700)) == "cancelled"


def test_a_recording_taken_back_is_not_missed_before_the_cameras_have_heard_of_it() -> None:
    nothing = capture(status="cancelled", segments=0, frames=0)
    back = Facts("b1", booking(rev=3), captures={"left": nothing, "right": nothing})
    assert state_of(back, at(60)) == "finishing"
    heard = nothing.replace(rev=3, status="succeeded")
    assert state_of(replace(back, captures={"left": heard, "right": heard}), at(60)) == "missed"


def test_a_clock_that_is_set_after_a_boot_shortens_no_patience() -> None:
    off = looked_at(booked(facts(upload=None), booking(status="cancelled"), at(5)), view(5))
    assert not aged(off, at(5 + 3600), 65 * SECOND_NS, SETTINGS).dead


def test_a_booking_to_come_may_be_taken_back_until_it_is_over() -> None:
    """`automatic` off for an hour must not cost the bookings of tomorrow."""
    off = Facts("b1", booking(86_400, 90_000, record="no"))
    off = looked_at(off, view(0))
    later = aged(off, at(86_500), 86_500 * SECOND_NS, SETTINGS)
    assert not later.dead
    back = looked_at(replace(later, booking=booking(86_400, 90_000, rev=2)), view(86_500))
    assert back.said is not None
    assert back.said.state == "recording"
    assert aged(off, at(90_000), 90_000 * SECOND_NS, SETTINGS).dead
    assert aged(replace(off, seen=True), at(86_500), 86_500 * SECOND_NS, SETTINGS).dead


def test_the_whistle_is_the_end_or_the_news_of_it() -> None:
    one = Facts("b1", booking(0, 600))
    assert whistle(one) == at(600)
    assert whistle(booked(one, booking(0, 300), at(310))) == at(310)
    assert whistle(booked(one, booking(0, 300), at(100))) == at(300)
    extended = booked(booked(one, booking(0, 300), at(310)), booking(0, 900), at(320))
    assert whistle(extended) == at(900)
    obeyed = replace(one, merge=merge(end=at(304)))
    assert whistle(obeyed) == at(304)


def test_the_delay_is_split_between_line_and_machine() -> None:
    assert delay(facts()) == Delay(watchable_s=3.0, uplink_s=1.0, machine_s=2.0)
    assert delay(facts(upload=upload(None))) is None
    early = facts(process=process(completed_at=at(15)))  # ended early: the line cannot take more than all
    assert delay(early) == Delay(3.0, 3.0, 0.0)


def test_what_is_missing_is_named() -> None:
    assert missing(facts()) == {}
    assert missing(facts(merge=merge(pictures={"single": 600}))) == {}
    spoiled = facts(merge=merge(pictures={"side_by_side": 500, "right": 60, "card": 40}, frames_total=603))
    assert missing(spoiled) == {"right": 60, "card": 40, "frames": 3}


def test_progress_is_time_first_and_then_slots_and_bytes() -> None:
    one = Facts("b1", booking())
    assert [progress(one, "recording", at(second)) for second in (0, 10, 20)] == [0, 45, 90]
    half = facts(process=process(slots_done=3), upload=upload(None))
    assert progress(half, "finishing", at(21)) == 93
    assert progress(half, "ready", at(21)) == 100


def view(now_s: float) -> View:
    return View(at(now_s), int(now_s * SECOND_NS), settled=True, cameras={}, versions={}, settings=SETTINGS)


CHANGES = st.sampled_from(
    [
        {"booking": booking(status="cancelled")},
        {"booking": booking()},
        {"booking": booking(0, 40)},
        {"merge": None},
        {"merge": merge()},
        {"merge": merge(pictures={"card": 600})},
        {"process": process(slots_done=2, status="running")},
        {"process": process()},
        {"process": ProcessStage(status="failed")},
        {"upload": upload(None)},
        {"upload": upload()},
        {"withdrawn": True},
        {"withdrawn": False},
        {"captures": {}},
    ]
)


@given(st.lists(st.tuples(CHANGES, st.integers(0, 400)), max_size=14))
def test_a_final_state_stays_and_progress_never_falls(changes: list[tuple[dict[str, object], int]]) -> None:
    one = Facts("b1", booking())
    now_s = 0.0
    for change, later_s in changes:
        before = one
        now_s += later_s
        one = looked_at(replace(one, **change), view(now_s))  # type: ignore[arg-type]
        assert one.said is not None
        if before.said is None:
            continue
        assert one.said.progress_pct >= before.said.progress_pct
        if before.said.state in FINAL_STATES and one.said.state != before.said.state:
            assert before.said.state == "cancelled"
            assert before.cancelled_at is not None
            assert not before.dead
        if before.receipt is not None:
            assert one.receipt is before.receipt


def test_nothing_changes_when_nothing_changed() -> None:
    one = looked_at(facts(), view(23))
    again = looked_at(one, view(24))
    assert again.said is one.said
    assert looked_at(again, view(24)).receipt is again.receipt
    assert at(23) + timedelta(seconds=1) == at(24)
