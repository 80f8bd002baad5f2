"""What every store of bookings must do; each store's test class inherits it and gives `store` and `clock`."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud_bridge.stores import (
    BookingQuery,
    Conflict,
    Missing,
    NewBooking,
    Overlap,
    Position,
    Principal,
    Stale,
    Store,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def new(booking_id: str, start: datetime = NOON, end: datetime | None = None, **more: object) -> NewBooking:
    fields: dict[str, object] = {"kind": "booked", **more}
    return NewBooking(id=booking_id, start=start, end=end or start + HOUR, **fields)  # type: ignore[arg-type]


class StoreConformance:
    def test_a_booking_is_stored_whole(self, store: Store) -> None:
        asked = new(
            "a",
            layout="stacked",
            deliver=("film", "cameras"),
            owner="uma",
            title="Anna & Ben",
            contacts=("anna@example.org",),
            record="no",
            audience="code",
        )
        made, fresh = store.create_booking(asked)
        assert fresh
        assert store.booking("a") == made
        stored = made.stored
        assert (stored.start, stored.end) == ("2026-03-01T12:00:00.000000Z", "2026-03-01T13:00:00.000000Z")
        assert (stored.kind, stored.status, stored.record, stored.audience) == (
            "booked",
            "confirmed",
            "no",
            "code",
        )
        assert (stored.layout, stored.deliver, stored.owner) == ("stacked", ("film", "cameras"), "uma")
        assert (made.title, made.contacts) == ("Anna & Ben", ("anna@example.org",))
        assert store.booking("b") is None

    def test_the_same_again_changes_nothing(self, store: Store) -> None:
        made, _ = store.create_booking(new("a"))
        assert store.create_booking(new("a")) == (made, False)
        store.change_booking("a", {"end": NOON + 2 * HOUR})
        again, fresh = store.create_booking(new("a"))
        assert (again.stored.end, fresh) == ("2026-03-01T14:00:00.000000Z", False)

    @pytest.mark.parametrize("more", [{"end": NOON + 2 * HOUR}, {"owner": "olga"}, {"title": "other"}])
    def test_another_with_the_same_id_is_a_conflict(self, store: Store, more: dict[str, object]) -> None:
        store.create_booking(new("a"))
        with pytest.raises(Conflict):
            store.create_booking(new("a", **more))  # type: ignore[arg-type]

    @pytest.mark.parametrize("record", ["yes", "no"])
    @pytest.mark.parametrize(
        ("kind", "shift"),
        [
            ("booked", timedelta(0)),
            ("booked", HOUR - timedelta(microseconds=1)),
            ("booked", -HOUR + timedelta(microseconds=1)),
            ("manual", timedelta(0)),
            ("manual", -HOUR + timedelta(microseconds=1)),
        ],
    )
    def test_a_taken_court_is_refused(self, store: Store, kind: str, record: str, shift: timedelta) -> None:
        store.create_booking(new("a", kind=kind, record=record))
        with pytest.raises(Overlap) as caught:
            store.create_booking(new("b", NOON + shift))
        assert (caught.value.other, caught.value.kind) == ("a", "input")
        assert "a (2026-03-01T12:00:00.000000Z to 2026-03-01T13:00:00.000000Z)" in caught.value.text
        assert store.booking("b") is None

    def test_a_forgotten_button_does_not_close_the_court(self, store: Store) -> None:
        store.create_booking(new("pressed", kind="manual"))
        row, fresh = store.create_booking(new("customer", NOON + HOUR / 2))
        assert (row.stored.kind, fresh) == ("booked", True)
        with pytest.raises(Overlap):
            store.create_booking(new("button", NOON + HOUR / 2, kind="manual"))

    def test_neighbours_share_a_border(self, store: Store) -> None:
        for number in range(3):
            store.create_booking(new(f"b{number}", NOON + number * HOUR))
        assert len(store.bookings(BookingQuery())) == 3

    def test_a_cut_lies_where_it_likes(self, store: Store) -> None:
        store.create_booking(new("a"))
        store.create_booking(new("c", kind="cut", of="a"))
        store.create_booking(new("d", kind="cut"))
        store.create_booking(new("b", NOON + HOUR))

    def test_a_cancelled_booking_gives_the_court_back(self, store: Store) -> None:
        store.create_booking(new("a"))
        assert store.change_booking("a", {"status": "cancelled"}).cancelled_at is not None
        store.create_booking(new("b"))
        with pytest.raises(Overlap):
            store.change_booking("a", {"status": "confirmed"})
        store.change_booking("b", {"status": "cancelled"})
        assert store.change_booking("a", {"status": "confirmed"}).cancelled_at is None

    def test_moving_an_end_is_refused_where_the_court_is_taken(self, store: Store) -> None:
        store.create_booking(new("a"))
        store.create_booking(new("b", NOON + HOUR))
        with pytest.raises(Overlap):
            store.change_booking("a", {"end": NOON + HOUR + timedelta(seconds=1)})
        with pytest.raises(Conflict):
            store.change_booking("a", {"end": NOON - HOUR})
        assert store.change_booking("a", {"end": NOON}).stored.end == "2026-03-01T12:00:00.000000Z"

    def test_only_what_may_change_changes(self, store: Store) -> None:
        with pytest.raises(Missing):
            store.change_booking("a", {"record": "no"})
        store.create_booking(new("a"))
        with pytest.raises(Conflict):
            store.change_booking("a", {"owner": "olga"})
        changed = store.change_booking(
            "a", {"title": "T", "contacts": ("x",), "deliver": ("film", "cameras")}
        )
        assert (changed.title, changed.contacts, changed.stored.deliver) == ("T", ("x",), ("film", "cameras"))

    def test_a_poll_tells_what_changed_since(self, store: Store) -> None:
        assert store.poll(0).rows == ()
        store.create_booking(new("a"))
        store.create_booking(new("b", NOON + HOUR))
        first = store.poll(0)
        assert ([row.id for row in first.rows], first.count, first.automatic) == (["a", "b"], 2, True)
        assert store.poll(first.cursor).rows == ()
        store.change_booking("a", {"record": "yes"})
        assert store.poll(first.cursor).rows == ()
        store.change_booking("a", {"status": "cancelled"})
        second = store.poll(first.cursor)
        assert [(row.id, row.status) for row in second.rows] == [("a", "cancelled")]
        assert second.cursor > first.cursor
        assert [row.id for row in store.poll(second.cursor + 1000).rows] == ["b", "a"]

    def test_automatic_is_kept(self, store: Store) -> None:
        store.set_automatic(on=False)
        assert (store.automatic(), store.poll(0).automatic) == (False, False)
        store.set_automatic(on=True)
        assert store.automatic()

    def test_pages_of_bookings_meet_without_a_gap(self, store: Store) -> None:
        for number in range(5):
            store.create_booking(
                new(f"b{number}", NOON + number * HOUR, owner="uma" if number % 2 else "olga")
            )
        seen: list[str] = []
        after: Position | None = None
        while rows := store.bookings(BookingQuery(limit=2, after=after)):
            seen += [row.id for row in rows]
            after = Position(rows[-1].stored.start, rows[-1].id)
        assert seen == [f"b{number}" for number in range(5)]
        assert [row.id for row in store.bookings(BookingQuery(owner="uma"))] == ["b1", "b3"]
        within = BookingQuery(begin=NOON + HOUR, end=NOON + 3 * HOUR)
        assert [row.id for row in store.bookings(within)] == ["b1", "b2"]
        assert store.bookings(BookingQuery(status="cancelled")) == ()

    def test_a_result_is_stored_once(self, store: Store) -> None:
        assert store.save_result("a", "recording", {"state": "recording", "n": 1})
        assert not store.save_result("a", "recording", {"n": 1, "state": "recording"})
        assert store.save_result("a", "recording", {"state": "ready", "n": 1})
        assert {kind: dict(found.body) for kind, found in store.results("a").items()} == {
            "recording": {"state": "ready", "n": 1}
        }

    def test_recordings_are_bookings_the_device_spoke_of(self, store: Store) -> None:
        for number, owner in enumerate(("uma", "olga", None)):
            store.create_booking(new(f"b{number}", NOON + number * HOUR, owner=owner))
            store.save_result(f"b{number}", "recording", {"n": number})
        store.create_booking(new("later", NOON + 9 * HOUR))
        rows = store.recordings(None, 2, None)
        assert [row.booking.id for row in rows] == ["b2", "b1"]
        last = rows[-1].booking
        rest = store.recordings(None, 2, Position(last.stored.start, last.id))
        assert [(row.booking.id, dict(row.results["recording"].body)) for row in rest] == [("b0", {"n": 0})]
        assert [row.booking.id for row in store.recordings("olga", 9, None)] == ["b1"]

    def test_a_change_of_what_was_seen_before_another_is_refused(self, store: Store) -> None:
        seen = store.create_booking(new("a", title="T"))[0].stored.changed
        after = store.change_booking("a", {"title": "U"}, seen)
        with pytest.raises(Stale):
            store.change_booking("a", {"title": "V"}, seen)
        assert store.booking("a") == after

    def test_one_share_is_made_and_its_link_given_once(self, store: Store) -> None:
        with pytest.raises(Missing):
            store.make_share("a", NOON)
        store.create_booking(new("a"))
        made = store.make_share("a", NOON + 24 * HOUR)
        assert store.make_share("a", NOON + 48 * HOUR) == made
        share, token = store.issue_link("a", NOON + 48 * HOUR)
        assert (share, store.share_of(token)) == (made, made)
        other, second = store.issue_link("a", NOON + 48 * HOUR)
        assert (other.share_id != made.share_id, second != token) == (True, True)
        assert store.share_of("x" * 43) is None
        assert store.make_share("a", NOON) == made

    def test_a_link_before_the_film_is_the_bookings_share(self, store: Store) -> None:
        store.create_booking(new("a"))
        share, _ = store.issue_link("a", NOON + 24 * HOUR)
        assert store.make_share("a", NOON) == share

    def test_a_revoked_share_stays_so(self, store: Store) -> None:
        store.create_booking(new("a"))
        share, token = store.issue_link("a", NOON + 24 * HOUR)
        ended = store.revoke_share(share.share_id)
        assert ended.revoked_at is not None
        assert store.revoke_share(share.share_id) == ended == store.share_of(token)
        assert store.make_share("a", NOON + 24 * HOUR) == ended
        with pytest.raises(Missing):
            store.revoke_share("s0")

    def test_views_and_downloads_are_counted_apart(self, store: Store) -> None:
        store.create_booking(new("a", owner="uma"))
        share, _ = store.issue_link("a", NOON + 24 * HOUR)
        for what in ("views", "views", "downloads"):
            store.count(share.share_id, what)
        store.count("s0", "views")
        (found,) = store.shares("uma", 5, None)
        assert (found.views, found.downloads, store.shares("olga", 5, None)) == (2, 1, ())
        assert store.shares(None, 5, Position(found.created_at, found.share_id)) == ()

    def test_keys_speak_for_a_user_until_revoked(self, store: Store) -> None:
        key = store.make_token("operator", "otto")
        assert store.principal(key) == Principal("otto", "operator")
        assert store.principal(key + "x") is None
        assert (store.revoke_tokens("otto"), store.revoke_tokens("otto")) == (1, 0)
        assert store.principal(key) is None
        with pytest.raises(Conflict):
            store.make_token("user", "Not An Id")
