"""What is due, without a bucket: the rules, and that nothing else is ever named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from cloud_bridge.keeping import booking_of, due, elsewhere, left_behind, owned, strangers
from cloud_bridge.objects.base import OpenUpload
from cloud_bridge.stores.keeping import KeptFilm
from edge_agent.core.settings import Retention, Settings
from schemas.base import utc_text

SETTINGS = Settings(retention=Retention(film_bucket_days=14, receipt_days=90, cancelled_min=10))
T0 = datetime(2026, 3, 1, 13, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE = "club/court-1/2026-03-01/a"
FILM, POSTER, RECEIPT = (f"{PLACE}/{name}" for name in ("film.mp4", "poster.jpg", "receipt.json"))


def body(**verified: datetime | None) -> dict[str, JsonValue]:
    keys = {"film": FILM, "poster": POSTER, "receipt": RECEIPT, "left": f"{PLACE}/left.mp4"}
    objects: list[JsonValue] = [
        {"name": name, "key": keys[name], "verified_at": utc_text(at) if at else None}
        for name, at in verified.items()
    ]
    return {"status": "succeeded", "bucket": "ezrec", "objects": objects}


def film(**more: object) -> KeptFilm:
    base = KeptFilm(
        booking_id="a",
        org="club",
        device="court-1",
        status="confirmed",
        cancelled_at=None,
        state="ready",
        upload=body(film=T0, poster=T0, receipt=T0),
        stored_at=utc_text(T0),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def names(one: KeptFilm, now: datetime) -> list[tuple[str, str]]:
    return [(found.key.rpartition("/")[2], found.why) for found in due(one, now, SETTINGS)]


def test_a_film_goes_with_what_is_beside_it_and_the_receipt_later() -> None:
    assert names(film(), T0 + 14 * DAY - timedelta(seconds=1)) == []
    media = [("film.mp4", "past its time"), ("poster.jpg", "past its time")]
    assert names(film(), T0 + 14 * DAY) == media
    assert names(film(), T0 + 90 * DAY) == [*media, ("receipt.json", "past its time")]


def test_what_is_in_the_account_is_not_due_again_until_it_is_verified_anew() -> None:
    gone = film(removed=frozenset({(FILM, utc_text(T0)), (POSTER, utc_text(T0))}))
    assert names(gone, T0 + 15 * DAY) == []
    later = T0 + 15 * DAY
    again = replace(gone, upload=body(film=later, poster=T0), stored_at=utc_text(later))
    assert names(again, later + 14 * DAY - timedelta(seconds=1)) == []
    assert names(again, later + 14 * DAY) == [("film.mp4", "past its time")]


def test_camera_files_and_posters_go_with_the_film_whenever_they_were_sent() -> None:
    late = film(upload=body(film=T0, left=T0 + 3 * DAY, poster=None), stored_at=utc_text(T0 + 3 * DAY))
    assert [name for name, _ in names(late, T0 + 14 * DAY)] == ["film.mp4", "left.mp4", "poster.jpg"]


def test_without_a_film_the_last_of_the_others_counts() -> None:
    bare = film(upload=body(film=None, left=T0 + 2 * DAY, poster=T0), stored_at=utc_text(T0 + 2 * DAY))
    assert names(bare, T0 + 16 * DAY - timedelta(seconds=1)) == []
    assert len(names(bare, T0 + 16 * DAY)) == 3
    never = film(upload=body(film=None), stored_at=utc_text(T0))
    assert names(never, T0 + 14 * DAY) == [("film.mp4", "past its time")]


def test_a_clock_that_was_wrong_costs_no_film_at_once_and_keeps_none_for_ever() -> None:
    behind = film(upload=body(film=datetime(1970, 1, 1, tzinfo=UTC)))
    assert names(behind, T0 + timedelta(hours=23)) == []
    assert names(behind, T0 + DAY) == [("film.mp4", "past its time")]
    ahead = film(upload=body(film=datetime(2099, 1, 1, tzinfo=UTC)))
    assert names(ahead, T0 + 14 * DAY) == [("film.mp4", "past its time")]


def test_a_cancelled_booking_goes_after_ten_minutes_and_not_when_taken_back() -> None:
    cancelled = film(status="cancelled", cancelled_at=utc_text(T0))
    assert names(cancelled, T0 + timedelta(seconds=599)) == []
    assert names(cancelled, T0 + timedelta(minutes=10)) == [
        (name, "cancelled") for name in ("film.mp4", "poster.jpg", "receipt.json")
    ]
    assert names(film(status="confirmed"), T0 + DAY) == []
    assert names(film(status="cancelled", cancelled_at=None), T0 + DAY) == []


def test_what_the_device_alone_calls_cancelled_goes_after_a_day() -> None:
    one = film(state="cancelled", upload=body(poster=T0))
    assert names(one, T0 + DAY - timedelta(seconds=1)) == []
    assert names(one, T0 + DAY) == [("poster.jpg", "cancelled")]


def test_what_was_ordered_goes_at_once() -> None:
    assert names(film(ordered="taken down"), T0) == [
        (name, "taken down") for name in ("film.mp4", "poster.jpg", "receipt.json")
    ]


@pytest.mark.parametrize(
    "key",
    ["", "/", "club/court-1/2026-03-01/a/", "club/court-1/2026-03-01/b/film.mp4", "club/assets/0f0f",
     "club/court-2/2026-03-01/a/film.mp4", "other/court-1/2026-03-01/a/film.mp4",
     "club/court-1/2026-03-01/a/../b/film.mp4", "club/court-1/../../a/film.mp4",
     "club/court-1/2026-03-01/a/film.mp4/x", "/club/court-1/2026-03-01/a/film.mp4",
     "club/court-1/2026-03-01/a/film.mp4\n", "club/court-1/2026-03-01/a/..mp4", ".ezrec/court-1/a/film.mp4"],
)  # fmt: skip
def test_a_foreign_key_is_named_and_never_due(key: str) -> None:
    odd = film(ordered="erased", upload={"objects": [{"key": key, "verified_at": None}]})
    assert due(odd, T0, SETTINGS) == ()
    assert strangers(odd) == (key,)
    assert not owned(key, odd)


KEYS = st.one_of(
    st.text(max_size=80),
    st.builds(
        "/".join,
        st.lists(
            st.sampled_from(["club", "court-1", "court-2", "a", "b", "2026-03-01", "film.mp4", "..", ""])
        ),
    ),
    st.sampled_from([FILM, POSTER, RECEIPT]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["key", "verified_at", "x"]), inner)
    ),
)
OBJECT = st.fixed_dictionaries({"key": KEYS, "verified_at": st.none() | st.text(max_size=30)})
UPLOADS = st.none() | st.fixed_dictionaries({"objects": JSON | st.lists(OBJECT, max_size=5)})
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(utc_text) | st.text(max_size=12)


@given(
    UPLOADS,
    st.sampled_from([None, "confirmed", "cancelled"]),
    st.none() | MOMENTS,
    st.none() | st.sampled_from(["ready", "cancelled", "failed"]),
    MOMENTS,
    st.none() | st.just("erased"),
    st.datetimes(timezones=st.just(UTC)),
)
def test_whatever_a_row_says_only_its_own_keys_are_ever_due(
    upload: dict[str, JsonValue] | None,
    status: str | None,
    cancelled_at: str | None,
    state: str | None,
    stored_at: str,
    ordered: str | None,
    now: datetime,
) -> None:
    one = film(
        upload=upload,
        status=status,
        cancelled_at=cancelled_at,
        state=state,
        stored_at=stored_at,
        ordered=ordered,
    )
    for found in due(one, now, SETTINGS):
        assert found.key.startswith("club/court-1/")
        assert found.key.split("/")[3] == "a"
        assert ".." not in found.key
        assert found.key not in strangers(one)


def test_a_film_in_another_bucket_is_told_apart() -> None:
    assert elsewhere(film(), "ezrec") is None
    assert elsewhere(film(), "new") == "ezrec"
    assert elsewhere(film(upload={"objects": []}), "new") is None
    assert elsewhere(film(upload=None), "new") is None


@pytest.mark.parametrize(
    ("one", "days"),
    [
        (None, 7),
        (film(upload=None, state="recording"), 30),
        (film(upload=body(film=None), state="finishing"), 30),
        (film(), 1),
        (film(upload=None, state="failed"), 1),
        (film(upload=None, state=None, status="cancelled"), 1),
        (film(upload=None, state="missed"), 1),
    ],
)
def test_an_upload_left_behind_is_told_from_one_on_its_way(one: KeptFilm | None, days: int) -> None:
    upload = OpenUpload(FILM, "u", T0)
    assert not left_behind(upload, one, T0 + days * DAY - timedelta(seconds=1))
    assert left_behind(upload, one, T0 + days * DAY)


def test_a_key_names_its_booking() -> None:
    assert booking_of(FILM) == "a"
    assert booking_of("club/assets/0f") is None
