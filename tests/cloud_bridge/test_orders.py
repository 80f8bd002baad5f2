from dataclasses import replace
from typing import Any

import pytest

from cloud_bridge.orders import Order, View, booking_id_for, take
from cloud_bridge.resolve import resolve
from edge_agent.core.agent import Asked
from edge_agent.core.effects import AutomaticEntry, BookingEntry, ChangeEntry, StoredBooking
from edge_agent.core.settings import Booking as BookingSettings
from edge_agent.core.settings import Settings
from schemas.base import Message, utc_text
from schemas.commands import (
    Answer,
    AutomaticArgs,
    BookArgs,
    BookingIdArgs,
    CutArgs,
    ExtendArgs,
    LogLevelArgs,
    NoArgs,
    StartArgs,
)
from schemas.recording import MergeStage
from tests.cloud_bridge.made import at, row

SETTINGS = Settings(booking=BookingSettings(post_s=120, max_minutes=120, record="no"))
MADE = booking_id_for("k1")


def asked(name: str, args: Message) -> Asked:
    return Asked("booking", name, "k1", args)


def view(*rows: StoredBooking, now: float, **more: Any) -> View:
    bookings = {one.id: resolve(one, rows, None, at(-999), SETTINGS) for one in rows}
    fields: dict[str, Any] = {"merges": {}, "final": frozenset(), **more}
    return View(bookings, {one.id: one for one in rows}, now=at(now), settings=SETTINGS, **fields)


def order(name: str, args: Message, seen: View) -> object:
    outcome = take(asked(name, args), seen)
    assert isinstance(outcome, Order), outcome
    assert (outcome.good.id, outcome.good.status) == ("k1", "ok")
    assert outcome.at_court == (name in ("start", "stop", "cut"))
    return outcome.entry


def refused(name: str, args: Message, seen: View) -> str:
    outcome = take(asked(name, args), seen)
    assert isinstance(outcome, Answer), outcome
    assert (outcome.id, outcome.status) == ("k1", "rejected")
    return outcome.message


def test_book_makes_the_same_booking_for_the_same_command() -> None:
    args = BookArgs(start=at(0), end=at(60), record="yes", title="T")
    expected = BookingEntry(MADE, "booked", utc_text(at(0)), utc_text(at(60)), args)
    assert order("book", args, view(now=-5)) == expected
    named = args.replace(id="mine")
    assert order("book", named, view(now=-5)) == BookingEntry(
        "mine", "booked", utc_text(at(0)), utc_text(at(60)), named
    )


def test_book_records_as_the_device_is_set_unless_it_says_so() -> None:
    found = order("book", BookArgs(start=at(0), end=at(60)), view(now=-5))
    assert isinstance(found, BookingEntry)
    assert found.request is not None
    assert found.request.record == "no"


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (60, 0, "is not after start"),
        (0, 0, "is not after start"),
        (0, 121, "121 minutes, at most 120 can be booked"),
        (-60, -5, "is in the past"),
    ],
)
def test_book_refuses_what_cannot_be(begin: float, end: float, words: str) -> None:
    assert words in refused("book", BookArgs(start=at(begin), end=at(end)), view(now=-5))


def test_a_late_booking_is_taken() -> None:
    assert isinstance(order("book", BookArgs(start=at(-10), end=at(60)), view(now=-5)), BookingEntry)


def test_cancel() -> None:
    args = BookingIdArgs(id="a")
    assert order("cancel", args, view(row(), now=5)) == ChangeEntry("a", {"status": "cancelled"})
    assert refused("cancel", args, view(now=5)) == "there is no booking a"
    assert "is over" in refused("cancel", args, view(row(), now=90, final=frozenset({"a"})))


@pytest.mark.parametrize(
    ("to", "now", "end"), [(90, 10, 90), (30, 10, 30), (5, 10, 10), (90, -10, 90), (30, 62.5, None)]
)
def test_extend_moves_the_end(to: float, now: float, end: float | None) -> None:
    args = ExtendArgs(id="a", to=at(to))
    if end is None:
        assert refused("extend", args, view(row(), now=now)).startswith("a ended at")
    else:
        assert order("extend", args, view(row(), now=now)) == ChangeEntry("a", {"end": utc_text(at(end))})


def test_extend_just_after_the_end_is_taken_while_the_film_is_open() -> None:
    args = ExtendArgs(id="a", to=at(80))
    assert isinstance(order("extend", args, view(row(), now=63)), ChangeEntry)
    closed = {"a": MergeStage(status="succeeded")}
    assert "is closed" in refused("extend", args, view(row(), now=63, merges=closed))
    assert "is closed" in refused("extend", args, view(row(), now=63, final=frozenset({"a"})))
    assert refused("extend", args, view(row(), now=70)).startswith("a ended at")


@pytest.mark.parametrize(
    ("one", "to", "words"),
    [
        (row("b"), 90, "there is no booking a"),
        (row(status="cancelled"), 90, "a is cancelled"),
        (row(), 121, "at most 120 minutes"),
        (row(), 0, "is not after the start"),
    ],
)
def test_extend_refuses(one: StoredBooking, to: float, words: str) -> None:
    assert words in refused("extend", ExtendArgs(id="a", to=at(to)), view(one, now=10))


def manual(begin: float, end: float) -> BookingEntry:
    return BookingEntry(MADE, "manual", utc_text(at(begin)), utc_text(at(end)), None)


def test_start_records_until_the_minutes_the_limit_or_the_next_booking() -> None:
    assert order("start", StartArgs(minutes=10), view(now=0)) == manual(0, 10)
    assert order("start", StartArgs(), view(now=0)) == manual(0, 120)
    assert order("start", StartArgs(minutes=600), view(now=0)) == manual(0, 120)
    assert order("start", StartArgs(), view(row("b", 30, 60, record="no"), now=0)) == manual(0, 30)


def test_start_while_one_runs_names_it() -> None:
    outcome = take(asked("start", StartArgs()), view(row(), now=5))
    assert outcome == Answer(id="k1", status="ok", message="a is being recorded already", data={"id": "a"})


@pytest.mark.parametrize(("name", "args"), [("start", StartArgs()), ("cut", CutArgs(last_s=30))])
def test_nothing_is_recorded_where_that_is_forbidden(name: str, args: Message) -> None:
    assert refused(name, args, view(row(record="no"), now=5)) == "this time is not to be recorded"


@pytest.mark.parametrize(
    ("one", "now", "end"),
    [
        (row(kind="manual"), 10, 10),
        (row(), 10, 8),  # two minutes of post-roll come on top
        (row(), 61, 59),  # within the post-roll
        (row(), 1, 0),  # the post-roll alone is longer
    ],
)
def test_stop_ends_everything_now(one: StoredBooking, now: float, end: float) -> None:
    assert order("stop", NoArgs(), view(one, now=now)) == ChangeEntry("a", {"end": utc_text(at(end))})


def test_stop_of_what_has_just_ended_says_so() -> None:
    over = row(end=60)
    outcome = take(asked("stop", NoArgs()), view(over, now=62.5))
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.data) == ("ok", {"id": "a"})
    assert refused("stop", NoArgs(), view(over, now=63.5)) == "nothing is being recorded"


def test_stop_of_nothing() -> None:
    assert refused("stop", NoArgs(), view(row(), now=90)) == "nothing is being recorded"


def cut(begin: float, end: float, of: str | None) -> BookingEntry:
    return BookingEntry(MADE, "cut", utc_text(at(begin)), utc_text(at(end)), None, of=of)


@pytest.mark.parametrize(
    ("rows", "last_s", "now", "expected"),
    [
        ([row()], 30, 10, cut(9.5, 10, "a")),
        ([row()], 600, 5, cut(0, 5, "a")),
        ([row()], 120, 61, cut(59, 61, "a")),  # in the post-roll the booking's own time is still its own
        ([row()], 600, 70, cut(68.5, 70, None)),  # outside, as far back as the ring
        ([row()], 600, 62.5, cut(62, 62.5, None)),  # the post-roll was not nobody's
        ([row("b", 62, 62.25, kind="manual")], 600, 62.5, cut(62.25, 62.5, None)),
    ],
)
def test_cut_stays_in_its_own_time(
    rows: list[StoredBooking], last_s: float, now: float, expected: BookingEntry
) -> None:
    settings_now = view(*rows, now=now)
    assert order("cut", CutArgs(last_s=last_s), settings_now) == expected


def test_cut_of_nothing() -> None:
    one = row(kind="manual")
    assert refused("cut", CutArgs(last_s=9), view(one, now=0)) == "there is nothing to cut yet"


def test_automatic_and_log_level_and_the_unknown() -> None:
    assert order("automatic", AutomaticArgs(on=False), view(now=0)) == AutomaticEntry(False)
    outcome = take(asked("log_level", LogLevelArgs(level="debug")), view(now=0))
    assert outcome == Answer(id="k1", status="ok", message="log level set")
    assert refused("dance", NoArgs(), view(now=0)) == "bridge knows no dance"


def test_a_booking_whose_times_nobody_can_read_is_not_extended() -> None:
    broken = replace(row(), start="tomorrow")
    seen = replace(view(row(), now=5), rows={"a": broken})
    assert "cannot be read" in refused("extend", ExtendArgs(id="a", to=at(90)), seen)
    assert order("cancel", BookingIdArgs(id="a"), seen) == ChangeEntry("a", {"status": "cancelled"})
