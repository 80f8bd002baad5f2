"""What every store of uploaded logos and intros must do; each store's test class inherits it.

It gives ``media`` (the store under test), ``store`` (the bookings beside it) and ``clock``.
"""

from datetime import timedelta
from typing import Any

import pytest

from cloud_bridge.stores import Conflict, Missing, NewBooking, Store, StoreError
from cloud_bridge.stores.media import (
    ASSET_LINGER,
    LOOKS,
    REMOVAL_LEASE,
    Look,
    MediaFile,
    UserMediaStore,
    Whose,
)
from edge_agent.core.effects import StoredBooking
from schemas.base import utc_text
from tests.cloud_bridge.served import HandClock, minutes

UMA = Whose("user", "uma")
CLUB = Whose("organisation", "club")
SMALL = Look("top_left", 9.5, 0.25)


def picture(digit: str) -> MediaFile:
    return MediaFile(digit * 64, 700, "png", 320, 200, None)


def film(digit: str) -> MediaFile:
    return MediaFile(digit * 64, 70_000, "mp4", 1280, 720, 4.5)


def worn(stored: StoredBooking) -> dict[str, str]:
    return {f"{media.of}:{media.slot}": media.sha256[0] for media in stored.dressing}


class MediaConformance:
    def book(
        self, store: Store, clock: HandClock, name: str, after: float, owner: str | None = "uma"
    ) -> None:
        start = clock.wall() + minutes(after)
        store.create_booking(NewBooking(name, "booked", start, start + minutes(60), owner=owner))

    def changed(self, store: Store, cursor: int) -> dict[str, dict[str, str]]:
        return {row.id: worn(row) for row in store.poll(cursor).rows}

    def test_what_somebody_has_is_told_in_the_order_of_the_slots(self, media: UserMediaStore) -> None:
        assert media.media(UMA) == ()
        intro = media.set_media(UMA, "intro", film("1"), SMALL)
        logo = media.set_media(UMA, "logo", picture("2"), SMALL)
        sponsor = media.set_media(UMA, "sponsor3", picture("2"), None)
        media.set_media(Whose("user", "olga"), "logo", picture("3"), None)
        media.set_media(Whose("organisation", "uma"), "logo", picture("4"), None)
        assert media.media(UMA) == (logo, sponsor, intro)
        assert (intro.look, logo.look, sponsor.look) == (None, SMALL, LOOKS["sponsor3"])
        assert (intro.file, logo.file, logo.whose) == (film("1"), picture("2"), UMA)

    def test_another_file_keeps_the_look_unless_told(self, media: UserMediaStore) -> None:
        media.set_media(UMA, "logo", picture("1"), SMALL)
        assert media.set_media(UMA, "logo", picture("2"), None).look == SMALL
        assert media.set_media(UMA, "logo", picture("2"), LOOKS["logo"]).look == LOOKS["logo"]

    def test_the_same_again_changes_nothing(
        self, media: UserMediaStore, store: Store, clock: HandClock
    ) -> None:
        self.book(store, clock, "match", 60)
        first = media.set_media(UMA, "logo", picture("1"), None)
        cursor = store.poll(0).cursor
        clock.now += minutes(1)
        assert media.set_media(UMA, "logo", picture("1"), None) == first
        assert media.change_look(UMA, "logo", LOOKS["logo"]) == first
        assert store.poll(cursor).rows == ()
        other = media.set_media(UMA, "logo", picture("2"), None)
        assert other.updated_at == utc_text(clock.wall()) > first.updated_at

    def test_a_look_can_be_changed_by_itself(self, media: UserMediaStore) -> None:
        media.set_media(UMA, "logo", picture("1"), None)
        media.set_media(UMA, "intro", film("2"), None)
        assert media.change_look(UMA, "logo", SMALL).look == SMALL
        assert media.media(UMA)[0].look == SMALL
        with pytest.raises(Conflict):
            media.change_look(UMA, "intro", SMALL)
        with pytest.raises(Missing):
            media.change_look(UMA, "sponsor1", SMALL)

    def test_a_slot_is_emptied_once(self, media: UserMediaStore) -> None:
        media.set_media(UMA, "logo", picture("1"), None)
        assert (media.remove_media(UMA, "logo"), media.remove_media(UMA, "logo")) == (True, False)
        assert media.media(UMA) == ()

    def test_a_change_reaches_the_bookings_that_have_not_begun(
        self, media: UserMediaStore, store: Store, clock: HandClock
    ) -> None:
        self.book(store, clock, "running", -1)
        self.book(store, clock, "next", 60)
        self.book(store, clock, "hers", 120, owner="olga")
        self.book(store, clock, "nobodys", 180, owner=None)
        assert self.changed(store, 0) == {"running": {}, "next": {}, "hers": {}, "nobodys": {}}
        steps: list[tuple[Any, dict[str, dict[str, str]]]] = [
            (lambda: media.set_media(UMA, "logo", picture("1"), None), {"next": {"user:logo": "1"}}),
            (
                lambda: media.set_media(CLUB, "logo", picture("2"), None),
                {
                    "next": {"user:logo": "1", "organisation:logo": "2"},
                    "hers": {"organisation:logo": "2"},
                    "nobodys": {"organisation:logo": "2"},
                },
            ),
            (
                lambda: media.remove_media(UMA, "logo"),
                {"next": {"organisation:logo": "2"}},
            ),
            (lambda: media.remove_media(UMA, "logo"), {}),
            (lambda: media.remove_media(CLUB, "logo"), {"next": {}, "hers": {}, "nobodys": {}}),
        ]
        for change, expected in steps:
            cursor = store.poll(0).cursor
            change()
            assert self.changed(store, cursor) == expected
        rows = store.poll(0).rows
        assert len({row.changed for row in rows}) == len(rows)

    def test_a_new_booking_and_a_changed_one_come_dressed(
        self, media: UserMediaStore, store: Store, clock: HandClock
    ) -> None:
        media.set_media(UMA, "intro", film("1"), None)
        media.set_media(UMA, "sponsor1", picture("2"), SMALL)
        start = clock.wall() + minutes(10)
        made, _ = store.create_booking(NewBooking("a", "booked", start, start + minutes(60), owner="uma"))
        dressed = {one.slot: one for one in made.stored.dressing}
        assert (dressed["sponsor1"].place, dressed["sponsor1"].size, dressed["sponsor1"].opacity) == (
            "top_left",
            9.5,
            0.25,
        )
        assert (dressed["intro"].sha256, dressed["intro"].bytes) == ("1" * 64, 70_000)
        (polled,) = store.poll(0).rows
        assert set(polled.dressing) == set(made.stored.dressing)
        changed = store.change_booking("a", {"end": start + minutes(30)})
        assert set(changed.stored.dressing) == set(made.stored.dressing)

    def test_an_object_is_due_a_while_after_its_last_row_went(
        self, media: UserMediaStore, clock: HandClock
    ) -> None:
        for whose in (UMA, CLUB):
            media.claim_asset("1" * 64)
            media.set_media(whose, "logo", picture("1"), None)
        media.claim_asset("9" * 64)  # put, and the process died before it had a row
        assert media.assets_in_use() == {"1" * 64}
        clock.now += timedelta(days=30)
        assert media.assets_due(clock.wall() - ASSET_LINGER, 9) == ("9" * 64,)
        media.remove_media(UMA, "logo")
        assert media.assets_due(clock.wall(), 9) == ("9" * 64,)
        media.set_media(CLUB, "logo", picture("2"), None)
        gone = clock.wall()
        assert media.assets_in_use() == {"2" * 64}
        clock.now += ASSET_LINGER
        assert media.assets_due(clock.wall() - ASSET_LINGER, 9) == ("9" * 64,)
        clock.now += minutes(1)
        assert media.assets_due(clock.wall() - ASSET_LINGER, 9) == ("9" * 64, "1" * 64)
        assert media.assets_due(clock.wall() - ASSET_LINGER, 1) == ("9" * 64,)
        assert not media.begin_removal("1" * 64, gone)
        assert not media.begin_removal("2" * 64, clock.wall())

    def test_an_object_that_is_named_again_stays(self, media: UserMediaStore, clock: HandClock) -> None:
        media.set_media(UMA, "logo", picture("1"), None)
        media.remove_media(UMA, "logo")
        clock.now += 2 * ASSET_LINGER
        before = clock.wall() - ASSET_LINGER
        assert media.assets_due(before, 9) == ("1" * 64,)
        media.claim_asset("1" * 64)
        assert (media.assets_due(before, 9), media.begin_removal("1" * 64, before)) == ((), False)
        media.set_media(UMA, "logo", picture("1"), None)
        assert (media.assets_due(clock.wall(), 9), media.begin_removal("1" * 64, clock.wall())) == ((), False)

    def test_what_is_being_removed_cannot_be_claimed(self, media: UserMediaStore, clock: HandClock) -> None:
        media.set_media(UMA, "logo", picture("1"), None)
        media.remove_media(UMA, "logo")
        clock.now += minutes(1)
        before = clock.wall()
        assert media.begin_removal("1" * 64, before)
        assert not media.begin_removal("1" * 64, before)
        assert media.assets_due(before, 9) == ()
        with pytest.raises(StoreError) as caught:
            media.claim_asset("1" * 64)
        assert caught.value.kind == "transient"
        media.asset_removed("1" * 64)
        media.asset_removed("1" * 64)
        media.claim_asset("1" * 64)
        assert media.assets_due(clock.wall(), 9) == ()

    def test_a_removal_that_never_ended_is_taken_up_again(
        self, media: UserMediaStore, clock: HandClock
    ) -> None:
        media.set_media(UMA, "logo", picture("1"), None)
        media.remove_media(UMA, "logo")
        clock.now += minutes(1)
        before = clock.wall()
        assert media.begin_removal("1" * 64, before)
        clock.now += REMOVAL_LEASE + minutes(1)
        assert media.begin_removal("1" * 64, before)
        clock.now += REMOVAL_LEASE + minutes(1)
        media.claim_asset("1" * 64)
        media.asset_removed("1" * 64)  # the first remover wakes up: nothing of it is forgotten
        clock.now += minutes(1)
        assert media.assets_due(clock.wall(), 9) == ("1" * 64,)
