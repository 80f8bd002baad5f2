"""The keeper over the real SQLite store and a folder bucket: what goes, what stays, what is written."""

import logging
import os
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from cloud_bridge.keeper import EVERY_S, FIRST_S, Keeper, Rounds, kept_bucket
from cloud_bridge.objects.base import KeptBucket
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.kept_folder import FolderKept
from cloud_bridge.stores import NewBooking, SqliteStore, StoreError
from cloud_bridge.stores.keeping import Removal
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from edge_agent.core.settings import Device, Settings, Storage, Store
from edge_agent.drivers.objects import FolderStore, ObjectStore
from tests.cloud_bridge.served import NOON, HandClock, minutes
from tests.conformance.keeping import key_of, uploaded
from tests.conformance.kept_bucket import KeptBucketConformance

DAY = timedelta(days=1)


class TestFolderKept(KeptBucketConformance):
    @pytest.fixture
    def bucket(self, tmp_path: Path) -> KeptBucket:
        (tmp_path / "bucket").mkdir()
        return FolderKept(tmp_path / "bucket")

    @pytest.fixture
    def device(self, tmp_path: Path, bucket: KeptBucket) -> ObjectStore:
        return FolderStore(tmp_path / "bucket")


class Refusing(FolderKept):
    """A folder that may refuse to delete: a stand-in for a key without the right."""

    trouble: BucketError | None = None
    deleted = 0

    def remove(self, key: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.deleted += 1
        super().remove(key)


class Rig:
    """One court with a clock set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bucket"
        self.folder.mkdir()
        self.clock = HandClock(NOON)
        self.path = folder / "store.sqlite"
        self.store = SqliteStore(self.path, self.clock)
        self.kept = SqliteKeeping(self.path, "club", "court-1", self.clock)
        self.bucket = Refusing(self.folder)
        self.settings = Settings(store=Store(kind="dir", folder=str(self.folder)))
        self.keeper = Keeper(self.kept, self.bucket, self.settings, self.clock)

    def film(self, booking_id: str, *names: str, book: bool = True) -> None:
        """A booking whose objects are in the bucket, verified now."""
        if book:
            self.store.create_booking(
                NewBooking(booking_id, "booked", self.clock.now, self.clock.now + minutes(1))
            )
        for name in names or ("film.mp4",):
            path = self.folder / key_of(booking_id, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 7)
        verified = self.clock.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = uploaded(booking_id, *names, verified_at=verified)
        self.store.save_result(booking_id, "upload", body)
        self.store.save_result(booking_id, "recording", {"state": "ready"})

    def after(self, by: timedelta) -> None:
        self.clock.now += by

    def files(self) -> set[str]:
        return {str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file()}

    def account(self) -> tuple[Removal, ...]:
        return self.kept.removals(1000, None)

    def close(self) -> None:
        self.kept.close()
        self.store.close()


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_a_film_goes_on_time_with_an_account_and_its_shares_end(rig: Rig) -> None:
    rig.film("a", "film.mp4", "poster.jpg", "receipt.json")
    _, token = rig.store.issue_link("a", NOON + 30 * DAY)
    before = rig.store.poll(0).cursor
    rig.after(13 * DAY)
    assert rig.keeper.round().removed == ()
    assert len(rig.files()) == 3
    rig.after(DAY)
    done = rig.keeper.round()
    assert rig.files() == {key_of("a", "receipt.json")}
    assert set(done.removed) == set(rig.account())
    assert {(one.key, one.bytes, one.why, one.device) for one in rig.account()} == {
        (key_of("a"), 7, "past its time", "court-1"),
        (key_of("a", "poster.jpg"), 7, "past its time", "court-1"),
    }
    share = rig.store.share_of(token)
    assert share is not None
    assert share.revoked_at is not None
    assert rig.store.poll(before).cursor > before
    again = rig.keeper.round()
    assert (again.removed, len(rig.account())) == ((), 2)
    rig.after(80 * DAY)
    assert [one.key for one in rig.keeper.round().removed] == [key_of("a", "receipt.json")]
    assert rig.store.booking("a") is None
    assert len(rig.account()) == 3
    assert list(rig.folder.iterdir()) == []


def test_a_dry_run_tells_and_touches_nothing(rig: Rig) -> None:
    rig.film("a")
    rig.after(200 * DAY)
    done = rig.keeper.round(dry_run=True)
    assert [(one.key, one.bytes) for one in done.removed] == [(key_of("a"), 7)]
    assert (done.pruned, rig.account(), rig.bucket.deleted) == ({}, (), 0)
    assert rig.files() == {key_of("a")}
    assert rig.store.booking("a") is not None


def test_what_is_gone_already_is_fine(rig: Rig) -> None:
    rig.film("a")
    rig.bucket.remove(key_of("a"))
    rig.after(14 * DAY)
    assert [one.bytes for one in rig.keeper.round().removed] == [None]
    assert [one.bytes for one in rig.account()] == [None]


def test_a_cancelled_booking_loses_its_objects_after_ten_minutes(rig: Rig) -> None:
    rig.film("a")
    rig.store.change_booking("a", {"status": "cancelled"})
    rig.after(minutes(9))
    assert rig.keeper.round().removed == ()
    rig.after(minutes(1))
    assert [one.why for one in rig.keeper.round().removed] == ["cancelled"]
    assert rig.files() == set()


def test_a_key_that_may_not_delete_is_one_line_and_nothing_is_written(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        rig.film(f"b{number}", "film.mp4", "poster.jpg")
        rig.after(minutes(5))
    rig.after(14 * DAY)
    rig.bucket.trouble = BucketError("denied", "delete: this key may not do that")
    done = rig.keeper.round()
    assert (done.removed, rig.account(), len(rig.files())) == ((), (), 6)
    (line,) = done.refused
    assert "may not" in line
    assert "docs/s3.md" in line
    rounds = Rounds(rig.keeper)
    with caplog.at_level(logging.ERROR):
        for _ in range(25):
            rounds.once()
    assert [record.message for record in caplog.records] == [f"not removed from the bucket: {line}"] * 2
    rig.bucket.trouble = None
    assert len(rig.keeper.round().removed) == 6


@pytest.mark.parametrize("kind", ["transient", "unknown"])
def test_a_half_answer_is_tried_again_later(rig: Rig, kind: str) -> None:
    rig.film("a", "film.mp4", "poster.jpg")
    rig.film("b", book=False)
    rig.after(14 * DAY)
    rig.bucket.trouble = BucketError(kind, "half an answer")  # type: ignore[arg-type]
    done = rig.keeper.round()
    assert (done.removed, done.refused, rig.account()) == ((), (), ())
    assert done.later == (("half an answer",) * 2 if kind == "transient" else ())
    rig.bucket.trouble = None
    assert len(rig.keeper.round().removed) == 3


def test_what_is_still_there_after_a_deletion_is_not_in_the_account(rig: Rig) -> None:
    rig.film("a")
    rig.after(14 * DAY)

    class Lying(FolderKept):
        def remove(self, key: str) -> None:
            pass

    done = Keeper(rig.kept, Lying(rig.folder), rig.settings, rig.clock).round()
    assert (done.removed, rig.account()) == ((), ())
    assert "still there" in done.later[0]


def test_a_bucket_that_is_not_there_is_no_empty_one(rig: Rig) -> None:
    rig.film("a")
    rig.after(14 * DAY)
    (rig.folder).rename(rig.folder.with_name("unmounted"))
    with pytest.raises(BucketError, match="not there"):
        rig.keeper.round()
    assert rig.account() == ()


def test_films_in_another_bucket_and_foreign_keys_are_named_and_left(rig: Rig) -> None:
    rig.film("a")
    rig.film("b", book=False)
    rig.store.save_result("a", "upload", {**uploaded("a"), "bucket": "old"})
    rig.store.save_result("c", "upload", {"objects": [{"key": key_of("b"), "verified_at": None}]})
    rig.kept.order_removal("a", "erased")
    rig.kept.order_removal("c", "erased")
    done = rig.keeper.round()
    assert (done.removed, len(rig.files())) == ((), 2)
    assert [line.partition(":")[0] for line in done.odd] == ["a", "c"]


def test_uploads_left_behind_are_aborted_and_those_on_their_way_are_not(rig: Rig) -> None:
    device = FolderStore(rig.folder)
    for booking_id, state in (("failed", "failed"), ("running", "recording"), ("fresh", "failed")):
        rig.store.save_result(booking_id, "recording", {"state": state})
    ids = {b: device.create(key_of(b), "video/mp4") for b in ("failed", "running", "fresh", "unknown")}
    ids["odd"] = device.create("club/court-1/odd", "video/mp4")
    rig.clock.now = rig.clock.now.replace(year=2099)
    for booking_id, upload_id in ids.items():
        about = rig.folder / ".ezrec" / "uploads" / upload_id / "upload.json"
        begun = rig.clock.now - timedelta(hours=23 if booking_id == "fresh" else 48)
        os.utime(about, (begun.timestamp(), begun.timestamp()))
    assert [one.upload_id for one in rig.keeper.round(dry_run=True).aborted] == [ids["failed"]]
    assert len(list((rig.folder / ".ezrec" / "uploads").iterdir())) == 5
    assert [one.key for one in rig.keeper.round().aborted] == [key_of("failed")]
    assert {p.name for p in (rig.folder / ".ezrec" / "uploads").iterdir()} == set(ids.values()) - {
        ids["failed"]
    }


def test_two_keepers_at_once_write_one_account(rig: Rig) -> None:
    for number in range(40):
        rig.film(f"b{number}", "film.mp4", "poster.jpg", book=False)
    rig.after(14 * DAY)
    barrier = threading.Barrier(2)
    troubles: list[str] = []

    def keep() -> None:
        kept = SqliteKeeping(rig.path, "club", "court-1", rig.clock)
        barrier.wait()
        done = Keeper(kept, FolderKept(rig.folder), rig.settings, rig.clock).round()
        troubles.extend((*done.later, *done.refused))
        kept.close()

    both = [threading.Thread(target=keep) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    rig.keeper.round()
    assert {one.key for one in rig.account()} == {
        key_of(f"b{n}", name) for n in range(40) for name in ("film.mp4", "poster.jpg")
    }
    assert len(rig.account()) == 80
    assert rig.files() == set()


def test_a_round_that_ended_before_its_account_is_made_good_by_the_next(rig: Rig) -> None:
    rig.film("a", "film.mp4", "poster.jpg")
    rig.after(14 * DAY)

    class Dying(SqliteKeeping):
        def film_removed(self, removals: object) -> int:
            raise StoreError("full", "disk full")

    dying = Dying(rig.path, "club", "court-1", rig.clock)
    with pytest.raises(StoreError):
        Keeper(dying, rig.bucket, rig.settings, rig.clock).round()
    dying.close()
    assert (rig.files(), rig.account()) == (set(), ())
    assert len(rig.keeper.round().removed) == 2
    assert {one.bytes for one in rig.account()} == {None}


def test_it_stops_between_two_bookings_when_asked(rig: Rig) -> None:
    for number in range(3):
        rig.film(f"b{number}", book=False)
    rig.after(14 * DAY)
    answers = iter([False, True])
    assert len(rig.keeper.round(stopping=lambda: next(answers)).removed) == 1
    stop = threading.Event()
    stop.set()
    Rounds(rig.keeper).run(stop)
    assert len(rig.files()) == 2


def test_the_first_round_waits_for_a_clock_that_may_be_wrong(rig: Rig) -> None:
    assert FIRST_S[0] <= Rounds(rig.keeper, synced=lambda: True).first_s() <= FIRST_S[1]
    assert EVERY_S[0] <= Rounds(rig.keeper, synced=lambda: False).first_s() <= EVERY_S[1]
    assert FIRST_S[1] < EVERY_S[0]


def test_the_bucket_is_the_one_the_settings_name(tmp_path: Path) -> None:
    settings = Settings(storage=Storage(root=str(tmp_path)), device=Device(id="court-1"))
    (tmp_path / "bucket").mkdir()
    kept_bucket(settings).check()
    with pytest.raises(BucketError, match="not an address"):
        kept_bucket(Settings(store=Store(kind="s3", endpoint="bucket.example")))
