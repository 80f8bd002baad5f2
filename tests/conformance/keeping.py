"""What every keeping store must do; each store's test class gives `store` and `keeping` over the same rows.

The device is court-1 of the organisation club.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from pydantic import JsonValue

from cloud_bridge.stores import Missing, NewBooking, Position, Store
from cloud_bridge.stores.device import DeviceStore
from cloud_bridge.stores.keeping import KeepingStore, Removal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
VERIFIED = "2026-03-01T13:00:10.000000Z"


def key_of(booking_id: str, name: str = "film.mp4") -> str:
    return f"club/court-1/2026-03-01/{booking_id}/{name}"


def uploaded(booking_id: str, *names: str, verified_at: str | None = VERIFIED) -> dict[str, JsonValue]:
    """The body of an upload result."""
    objects: list[JsonValue] = [
        {
            "name": name.partition(".")[0],
            "key": key_of(booking_id, name),
            "bytes": 7,
            "verified_at": verified_at,
        }
        for name in names or ("film.mp4",)
    ]
    return {"status": "succeeded", "objects": objects}


def removal(booking_id: str, name: str = "film.mp4", **more: object) -> Removal:
    base = Removal(
        booking_id=booking_id,
        org="club",
        device="court-1",
        key=key_of(booking_id, name),
        bytes=7,
        verified_at=VERIFIED,
        why="past its time",
        at="2026-03-15T13:00:00.000000Z",
    )
    return replace(base, **more)  # type: ignore[arg-type]


class KeepingConformance:
    def book(self, store: Store, booking_id: str, number: int = 0, **more: object) -> None:
        start = NOON + number * HOUR
        fields: dict[str, object] = {"kind": "booked", **more}
        store.create_booking(NewBooking(id=booking_id, start=start, end=start + HOUR, **fields))  # type: ignore[arg-type]

    def test_the_device_is_named(self, keeping: KeepingStore) -> None:
        assert ("club", "court-1") in keeping.devices()

    def test_a_film_is_kept_until_every_object_is_accounted_for(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        self.book(store, "a")
        assert keeping.kept_films(10, None) == ()
        body = uploaded("a", "film.mp4", "poster.jpg")
        store.save_result("a", "upload", body)
        store.save_result("a", "recording", {"state": "ready"})
        (film,) = keeping.kept_films(10, None)
        assert (film.booking_id, film.org, film.device) == ("a", "club", "court-1")
        assert (film.status, film.cancelled_at, film.state) == ("confirmed", None, "ready")
        assert (film.upload, film.ordered, film.removed) == (body, None, frozenset())
        assert datetime.fromisoformat(film.stored_at).tzinfo is not None
        assert keeping.film_removed([removal("a")]) == 1
        (film,) = keeping.kept_films(10, None)
        assert film.removed == {(key_of("a"), VERIFIED)}
        assert keeping.film_removed([removal("a", "poster.jpg", bytes=None)]) == 1
        assert keeping.kept_films(10, None) == ()
        left = keeping.kept_film("a")
        assert left is not None
        assert left.removed == {(key_of("a"), VERIFIED), (key_of("a", "poster.jpg"), VERIFIED)}

    def test_the_same_key_verified_anew_is_another_object(self, store: Store, keeping: KeepingStore) -> None:
        store.save_result("a", "upload", uploaded("a", verified_at=None))
        keeping.film_removed([removal("a", verified_at="")])
        assert keeping.kept_films(10, None) == ()
        store.save_result("a", "upload", uploaded("a"))
        assert [film.booking_id for film in keeping.kept_films(10, None)] == ["a"]

    def test_a_result_without_a_booking_is_a_film_too(self, store: Store, keeping: KeepingStore) -> None:
        store.save_result("x", "upload", uploaded("x"))
        (film,) = keeping.kept_films(10, None)
        assert (film.booking_id, film.status, film.state) == ("x", None, None)

    @pytest.mark.parametrize(
        "body",
        [{}, {"objects": None}, {"objects": "text"}, {"objects": []}, {"objects": [1, "x", None, {}]},
         {"objects": [{"key": 5}]}, {"objects": {"key": "club/court-1"}}],
    )  # fmt: skip
    def test_a_result_that_names_no_key_is_no_film(
        self, store: Store, keeping: KeepingStore, body: dict[str, JsonValue]
    ) -> None:
        store.save_result("a", "upload", body)
        assert keeping.kept_films(10, None) == ()
        found = keeping.kept_film("a")
        assert found is not None
        assert found.upload == body
        keeping.prune(FAR_AHEAD)

    def test_pages_meet_without_a_gap(self, store: Store, keeping: KeepingStore) -> None:
        for number in range(5):
            store.save_result(f"b{number}", "upload", uploaded(f"b{number}"))
        seen: list[str] = []
        after: str | None = None
        while films := keeping.kept_films(2, after):
            seen += [film.booking_id for film in films]
            after = films[-1].booking_id
        assert seen == [f"b{number}" for number in range(5)]

    def test_a_cancelled_booking_says_since_when(self, store: Store, keeping: KeepingStore) -> None:
        self.book(store, "a")
        store.save_result("a", "upload", uploaded("a"))
        row = store.change_booking("a", {"status": "cancelled"})
        (film,) = keeping.kept_films(10, None)
        assert film.status == "cancelled"
        assert film.cancelled_at == row.cancelled_at
        store.change_booking("a", {"status": "confirmed"})
        (film,) = keeping.kept_films(10, None)
        assert (film.status, film.cancelled_at) == ("confirmed", None)

    def test_nothing_known_is_none(self, store: Store, keeping: KeepingStore) -> None:
        assert keeping.kept_film("a") is None
        with pytest.raises(Missing):
            keeping.order_removal("a", "taken down")
        self.book(store, "a")
        assert keeping.kept_film("a", "court-2") is None
        with pytest.raises(Missing):
            keeping.order_removal("a", "taken down", "court-2")
        film = keeping.kept_film("a", "court-1")
        assert film is not None
        assert (film.upload, film.stored_at, film.state) == (None, "", None)

    def test_an_order_reaches_the_cuts_and_keeps_its_first_reason(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        self.book(store, "a")
        self.book(store, "c", kind="cut", of="a")
        self.book(store, "b", 1)
        for booking_id in "abc":
            store.save_result(booking_id, "upload", uploaded(booking_id))
        assert sorted(keeping.order_removal("a", "taken down")) == ["a", "c"]
        assert sorted(keeping.order_removal("a", "erased")) == ["a", "c"]
        ordered = {film.booking_id: film.ordered for film in keeping.kept_films(10, None)}
        assert ordered == {"a": "taken down", "b": None, "c": "taken down"}

    def test_the_account_is_written_once_and_read_newest_first(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        first = [removal("a"), removal("a", "poster.jpg", bytes=None)]
        assert (keeping.film_removed(first), keeping.film_removed(first)) == (2, 0)
        later = removal("b", at="2026-03-16T13:00:00.000000Z", why="cancelled")
        assert keeping.film_removed([*first, later]) == 1
        assert keeping.film_removed([]) == 0
        everything = keeping.removals(10, None)
        assert everything[0] == later
        assert set(everything) == {later, *first}
        page = keeping.removals(2, None)
        rest = keeping.removals(2, Position(page[-1].at, page[-1].key))
        assert (*page, *rest) == everything

    def test_shares_end_with_their_film_and_not_with_a_poster(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        self.book(store, "a")
        self.book(store, "b", 1)
        share, token = store.issue_link("a", FAR_AHEAD)
        other, _ = store.issue_link("b", FAR_AHEAD)
        keeping.film_removed([removal("a", "poster.jpg")])
        assert store.share_of(token) == share
        keeping.film_removed([removal("a")])
        ended = store.share_of(token)
        assert ended is not None
        assert ended.revoked_at is not None
        assert store.share(other.share_id) == other

    def test_pruning_takes_what_is_past_and_leaves_what_is_not(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        self.book(store, "gone", title="T", contacts=("anna@example.org",))
        self.book(store, "film", 1)
        self.book(store, "share", 2)
        for booking_id in ("gone", "film"):
            store.save_result(booking_id, "upload", uploaded(booking_id))
            store.save_result(booking_id, "receipt", {"state": "ready"})
        store.issue_link("gone", LONG_AGO)
        keeping.film_removed([removal("gone")])
        alive, token = store.issue_link("share", FAR_AHEAD)
        assert keeping.prune(LONG_AGO) == {}
        gone = keeping.prune(FAR_AHEAD)
        assert gone["bookings"] == 1
        assert gone["results"] == 2
        assert store.booking("gone") is None
        assert dict(store.results("gone")) == {}
        assert store.booking("film") is not None
        assert set(store.results("film")) == {"upload", "receipt"}
        assert store.share_of(token) == alive
        assert [one.booking_id for one in keeping.removals(10, None)] == ["gone"]
        assert keeping.prune(FAR_AHEAD) == {}

    def test_results_without_a_booking_are_pruned_once_nothing_is_left(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        store.save_result("x", "upload", uploaded("x"))
        store.save_result("x", "recording", {"state": "ready"})
        assert keeping.prune(FAR_AHEAD) == {}
        keeping.film_removed([removal("x")])
        assert keeping.prune(FAR_AHEAD)["results"] == 2
        assert keeping.kept_film("x") is None

    def test_commands_are_pruned_once_they_are_answered_or_too_late(
        self, store: Store, keeping: KeepingStore
    ) -> None:
        device = cast("DeviceStore", store)
        command: dict[str, JsonValue] = {
            "device": "court-1",
            "target": "uploader",
            "name": "pause",
            "args": {},
        }
        for more in ({"id": "late", "deadline": VERIFIED}, {"id": "answered"}, {"id": "waiting"}):
            device.order_command({**command, **more, "by": "otto"})
        device.answer_command("answered", {"status": "ok"})
        assert keeping.prune(LONG_AGO) == {}
        assert keeping.prune(FAR_AHEAD) == {"device_commands": 2}
        assert keeping.prune(FAR_AHEAD) == {}
