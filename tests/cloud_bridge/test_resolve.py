from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.resolve import (
    Dressings,
    forbidden,
    last_border,
    moment,
    next_start,
    planned,
    resolve,
    running,
)
from edge_agent.core.effects import StoredBooking, StoredMedia
from edge_agent.core.settings import Booking as BookingSettings
from edge_agent.core.settings import Settings
from schemas.base import PayloadError
from schemas.booking import AssetRef, Booking, Logo
from tests.cloud_bridge.made import SETTINGS, at, row

ROLLS = Settings(booking=BookingSettings(pre_s=60, post_s=120))


def booking(
    one: StoredBooking, *others: StoredBooking, now: float = -10, before: Booking | None = None
) -> Booking:
    return resolve(one, (one, *others), before, at(now), ROLLS)


def test_planned_times_have_pre_and_post_roll_where_the_court_is_free() -> None:
    found = booking(row())
    assert (found.start, found.end) == (at(0), at(60))
    assert (found.from_, found.to, found.rev) == (at(-1), at(62), 1)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([row("b", -60, 0), row("c", 60, 90)], (0, 60)),
        ([row("b", -60, -0.5), row("c", 61, 90)], (-0.5, 61)),
        ([row("b", -60, 0, record="no"), row("c", 60, 90, kind="manual")], (0, 60)),
        ([row("b", -60, 0, status="cancelled"), row("c", 60, 90, kind="cut")], (-1, 62)),
    ],
)
def test_rolls_end_where_the_court_is_somebody_elses(
    others: list[StoredBooking], expected: tuple[float, float]
) -> None:
    found = booking(row(), *others)
    assert (found.from_, found.to) == (at(expected[0]), at(expected[1]))


@pytest.mark.parametrize("kind", ["manual", "cut"])
def test_only_booked_time_has_rolls(kind: str) -> None:
    found = booking(row(kind=kind))
    assert (found.from_, found.to) == (at(0), at(60))


def test_the_revision_rises_with_the_message_and_only_then() -> None:
    first = booking(row())
    assert booking(row(changed=9), before=first) is first
    second = booking(row(record="no"), before=first)
    assert (second.rev, second.record) == (2, "no")


@pytest.mark.parametrize("owner", ["Not An Id", "x" * 65])
def test_a_row_that_makes_no_booking_says_why(owner: str) -> None:
    with pytest.raises(PayloadError, match="owner"):
        booking(row(owner=owner))


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "noon", ""])
def test_naive_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - fromisoformat's own words or ours
        moment(text)


def test_an_end_in_the_past_becomes_now_once() -> None:
    first = booking(row())
    ended = booking(row(end=20), before=first, now=30)
    assert (ended.end, ended.to, ended.rev) == (at(20), at(30), 2)
    assert booking(row(end=20), before=ended, now=45) is ended
    assert booking(row(end=10), before=ended, now=45).to == at(30)


def test_what_ended_by_itself_is_not_cut_back_later() -> None:
    first = booking(row())
    assert booking(row(end=30), before=first, now=90).to == at(62)


def test_a_booking_not_yet_begun_moves_freely() -> None:
    first = booking(row())
    moved = booking(row(begin=-30, end=-20), before=first, now=-25)
    assert (moved.from_, moved.to) == (at(-31), at(-18))


def test_time_given_away_meanwhile_is_given_up() -> None:
    first = booking(row())
    ended = booking(row(end=20), row("b", 25, 50), before=first, now=30)
    assert ended.to == at(25)


def test_an_extension_after_the_end_is_taken() -> None:
    ended = booking(row(end=20), before=booking(row()), now=30)
    assert booking(row(end=50), before=ended, now=31).to == at(52)


def test_automatic_off_means_that_booked_time_is_not_recorded() -> None:
    one, manual = row(), row("m", kind="manual")
    assert resolve(one, [one], None, at(0), SETTINGS, automatic=False).record == "no"
    assert resolve(manual, [manual], None, at(0), SETTINGS, automatic=False).record == "yes"


# --- no planned time crosses a neighbour ---

minutes = st.integers(-100, 100)
kinds = st.sampled_from(["booked", "manual"])


@st.composite
def courts(draw: st.DrawFn) -> list[StoredBooking]:
    """Bookings as a store lets them stand: none overlaps another."""
    edges = sorted(draw(st.sets(minutes, min_size=2, max_size=12)))
    spans = [(a, b) for a, b in pairwise(edges) if draw(st.booleans())] or [(0, 1)]
    return [
        row(f"b{number}", a, b, kind=draw(kinds), record=draw(st.sampled_from(["yes", "no"])))
        for number, (a, b) in enumerate(spans)
    ]


def crossed(one: Booking, others: list[StoredBooking]) -> list[StoredBooking]:
    return [o for o in others if one.from_ < moment(o.end) and one.to > moment(o.start)]


@given(courts(), st.integers(0, 600), st.integers(0, 600))
def test_rolls_never_cross_a_neighbour(rows: list[StoredBooking], pre_s: int, post_s: int) -> None:
    settings = Settings(booking=BookingSettings(pre_s=pre_s, post_s=post_s))
    for one in rows:
        found = resolve(one, rows, None, at(-200), settings)
        assert crossed(found, [other for other in rows if other is not one]) == []
        assert found.from_ <= found.start <= found.end <= found.to
        assert found.start - found.from_ <= timedelta(seconds=pre_s)
        assert found.to - found.end <= timedelta(seconds=post_s)


@given(courts(), minutes, st.integers(0, 10), st.data())
def test_a_cut_never_crosses_a_booking_but_its_own(
    rows: list[StoredBooking], end: int, length: int, data: st.DataObject
) -> None:
    of = data.draw(st.sampled_from([None, *(one.id for one in rows)]))
    cut = row("c", end - length, end, kind="cut", of=of)
    found = resolve(cut, [*rows, cut], None, at(200), ROLLS)
    assert crossed(found, [other for other in rows if other.id != of]) == []
    assert at(end - length) <= found.from_ <= found.to <= at(end) or found.from_ == found.to


@given(courts(), st.data())
def test_moved_ends_never_cross_a_neighbour_nor_undo_what_was_recorded(
    rows: list[StoredBooking], data: st.DataObject
) -> None:
    one = rows[0]
    others = rows[1:]
    now = moment(one.start)
    found = resolve(one, rows, None, now - timedelta(hours=1), ROLLS)
    border = min((moment(o.start) for o in others), default=None)
    for step in data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 200)), max_size=6)):
        now += timedelta(minutes=step[0])
        end = moment(one.start) + timedelta(minutes=step[1])
        one = row(one.id, 0, 0, kind=one.kind, record=one.record)
        one = _ending(one, rows[0], min(end, border) if border else end)
        before, found = found, resolve(one, [one, *others], found, now, ROLLS)
        assert crossed(found, others) == []
        assert found.to >= min(before.to, now)
        assert resolve(one, [one, *others], found, now + timedelta(minutes=7), ROLLS) is found


def _ending(one: StoredBooking, first: StoredBooking, end: datetime) -> StoredBooking:
    return replace(one, start=first.start, end=end.isoformat())


def test_planned_names_the_border() -> None:
    one, other = row(), row("b", 90, 100)
    assert planned(one, at(0), at(60), [one, other], ROLLS) == (at(-1), at(62), at(90))


def test_a_manual_recording_ends_where_a_booking_begins() -> None:
    pressed = row("pressed", 0, 240, kind="manual")
    customer = row("customer", 60, 120)
    assert planned(pressed, at(0), at(240), [pressed, customer], ROLLS) == (at(0), at(60), at(60))
    begin, end, _ = planned(customer, at(60), at(120), [pressed, customer], ROLLS)
    assert (begin, end) == (at(60), at(122))
    booking = resolve(pressed, [pressed, customer], None, at(1), ROLLS)
    assert (booking.end, booking.to) == (at(60), at(60))


# --- what commands look at ---


def bookings(*rows: StoredBooking) -> dict[str, Booking]:
    return {one.id: resolve(one, rows, None, at(-99), SETTINGS) for one in rows}


def test_what_is_running_now() -> None:
    known = bookings(row(), row("no", 60, 70, record="no"), row("c", 10, 20, kind="cut"))
    assert [running(known, at(m)) for m in (-0.1, 0, 59.9, 60)] == [[], ["a"], ["a"], []]
    assert [forbidden(known, at(m)) for m in (59.9, 60, 69.9, 70)] == [False, True, True, False]


def test_borders_of_the_courts_time() -> None:
    known = bookings(
        row(), row("b", 90, 100), row("c", 70, 71, kind="cut"), row("x", 75, 76, status="cancelled")
    )
    assert [next_start(known, at(m)) for m in (-1, 0, 95)] == [at(0), at(90), None]
    # What was cancelled at 76 was somebody's time all the same.
    assert [last_border(known, at(m)) for m in (-1, 30, 80, 95)] == [None, at(0), at(76), at(90)]


# --- logos and intros ---


def media(slot: str, digit: str, of: Literal["user", "organisation"] = "user", **more: Any) -> StoredMedia:
    fields: dict[str, Any] = {"place": "top_right", "size": 16.0, "opacity": 1.0, **more}
    return StoredMedia(of, slot, digit * 64, 7, **fields)


OWN_INTRO = AssetRef(key="club/assets/own", sha256="e" * 64, bytes=3)
OWN: Dressings = (
    (
        Logo(key="k", sha256="a" * 64, bytes=1, slot="company", place="bottom_right"),
        Logo(key="k", sha256="b" * 64, bytes=1, slot="logo", place="top_left"),
    ),
    OWN_INTRO,
)


def dressed_as(
    *dressing: StoredMedia, before: Booking | None = None, now: float = -10
) -> tuple[dict[str, str], str | None]:
    found = resolve(row(dressing=dressing), (), before, at(now), SETTINGS, OWN)
    return {logo.slot: logo.sha256[0] for logo in found.branding}, found.intro.sha256[
        0
    ] if found.intro else None


def test_slot_by_slot_the_owners_media_come_before_the_clubs_and_those_before_the_devices() -> None:
    assert dressed_as() == ({"company": "a", "logo": "b"}, "e")
    club = (media("logo", "1", "organisation"), media("sponsor1", "2", "organisation"))
    assert dressed_as(*club) == ({"company": "a", "logo": "1", "sponsor1": "2"}, "e")
    own = (media("intro", "4"), media("logo", "3"))
    for order in ((*club, *own), (*own, *club)):
        assert dressed_as(*order) == ({"company": "a", "logo": "3", "sponsor1": "2"}, "4")


def test_an_upload_is_named_by_its_key_with_its_place() -> None:
    sponsor = media("sponsor2", "5", place="bottom_left", size=9.5, opacity=0.5)
    found = resolve(row(dressing=(sponsor, media("intro", "6"))), (), None, at(-10), SETTINGS)
    (logo,) = found.branding
    assert (logo.key, logo.sha256, logo.bytes) == (f"club/assets/{'5' * 64}", "5" * 64, 7)
    assert (logo.slot, logo.place, logo.size, logo.opacity) == ("sponsor2", "bottom_left", 9.5, 0.5)
    assert found.intro == AssetRef(key=f"club/assets/{'6' * 64}", sha256="6" * 64, bytes=7)


def test_a_change_reaches_a_booking_until_it_begins() -> None:
    first = resolve(row(dressing=(media("logo", "1"),)), (), None, at(-10), SETTINGS)
    changed = row(dressing=(media("logo", "2"),), changed=2)
    assert resolve(changed, (), first, at(-1), SETTINGS).branding[0].sha256[0] == "2"
    assert resolve(changed, (), first, at(1), SETTINGS) is first
    assert resolve(row(changed=3), (), first, at(1), SETTINGS) is first
    assert resolve(row(changed=3), (), first, at(-1), SETTINGS).branding == ()


def test_a_row_of_the_store_that_comes_a_moment_later_still_dresses_the_film() -> None:
    pressed = resolve(row(kind="manual", changed=0), (), None, at(0), SETTINGS)
    stored = row(kind="manual", dressing=(media("logo", "1", "organisation"),), changed=9)
    assert pressed.branding == ()
    assert len(resolve(stored, (), pressed, at(1 / 60), SETTINGS).branding) == 1
    assert resolve(stored, (), pressed, at(5 / 60), SETTINGS) is pressed


def test_what_is_made_at_the_court_wears_what_the_club_wears() -> None:
    others = (
        row("old", dressing=(media("logo", "1", "organisation"),), changed=3),
        row("new", dressing=(media("logo", "2", "organisation"), media("intro", "3")), changed=4),
    )
    cut = row("cut", kind="cut", begin=-1, end=0, changed=0)
    found = resolve(cut, (*others, cut), None, at(0), SETTINGS)
    assert ([logo.sha256[0] for logo in found.branding], found.intro) == (["2"], None)


def test_a_row_that_only_stands_for_another_changes_nothing_it_wears() -> None:
    first = resolve(row(dressing=(media("logo", "1"), media("intro", "2"))), (), None, at(-10), SETTINGS)
    assert resolve(row(changed=0), (), first, at(-9), SETTINGS) is first


@pytest.mark.parametrize(
    "odd", [{"place": "middle"}, {"size": 0.0}, {"size": 101.0}, {"opacity": 1.5}, {"opacity": float("nan")}]
)
def test_media_that_make_no_sense_cost_no_film(odd: dict[str, Any]) -> None:
    good, bad = media("sponsor1", "1"), media("logo", "2", **odd)
    found = resolve(row(dressing=(bad, good)), (), None, at(-10), SETTINGS)
    assert [logo.slot for logo in found.branding] == ["sponsor1"]
