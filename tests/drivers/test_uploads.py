import os
import threading
from pathlib import Path

import pytest

from edge_agent.drivers.objects import (
    PART_BYTES,
    FolderStore,
    StoreError,
    UploadDriver,
    UploadLedger,
)
from edge_agent.drivers.objects.base import ObjectHead, composite_sha256, sha256_b64
from tests.drivers.upload_made import FILM, OBJECT, TAIL_BYTES, TOTAL_BYTES, Device


def test_a_film_arrives_whole_and_verified(device: Device, tmp_path: Path) -> None:
    verified = device.send(device.started())
    parts = [sha256_b64(device.film[at : at + PART_BYTES]) for at in range(0, TOTAL_BYTES, PART_BYTES)]
    assert verified.sha256 == composite_sha256(parts)
    assert verified.sha256.endswith("-3")
    assert (verified.key, verified.bytes, verified.parts) == (device.key, TOTAL_BYTES, 3)
    assert (verified.bytes_sent, verified.bytes_resent, verified.resumes) == (TOTAL_BYTES, 0, 0)
    assert device.fetched(tmp_path) == device.film


def test_everything_may_be_called_twice(device: Device) -> None:
    driver = device.started()
    first = driver.begin(OBJECT, device.key, "video/mp4")
    assert driver.begin(OBJECT, device.key, "video/mp4").upload_id == first.upload_id
    assert [device.put(driver, 3), device.put(driver, 3)] == [TAIL_BYTES, 0]
    device.put(driver, 2)
    device.put(driver, 1)
    verified = driver.finish(OBJECT, FILM, TOTAL_BYTES)
    assert driver.finish(OBJECT, FILM, TOTAL_BYTES) == verified
    assert device.started().finish(OBJECT, FILM, TOTAL_BYTES) == verified
    assert driver.adopt(OBJECT, device.key, FILM) == verified


def test_a_new_process_sends_only_what_is_missing(device: Device, tmp_path: Path) -> None:
    before = device.started()
    before.begin(OBJECT, device.key, "video/mp4")
    device.put(before, 2)
    after = device.started()
    # The key was fixed when the upload was created; a night may have passed since.
    begun = after.begin(OBJECT, "club/court/tomorrow/film.mp4", "video/mp4")
    assert begun.key == device.key
    assert [(part.number, part.bytes) for part in begun.parts_done] == [(2, PART_BYTES)]
    verified = device.send(after)
    assert (verified.bytes_sent, verified.bytes_resent, verified.resumes) == (TOTAL_BYTES, 0, 1)
    assert device.fetched(tmp_path) == device.film


def test_a_vanished_upload_starts_over(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    begun = driver.begin(OBJECT, device.key, "video/mp4")
    device.put(driver, 2)
    device.store.abort(device.key, begun.upload_id)
    with pytest.raises(StoreError) as caught:
        device.put(driver, 3)
    assert caught.value.kind == "gone"
    again = driver.begin(OBJECT, device.key, "video/mp4")
    assert again.upload_id != begun.upload_id
    assert again.parts_done == ()
    verified = device.send(driver)
    assert (verified.bytes_sent, verified.bytes_resent) == (TOTAL_BYTES + PART_BYTES, PART_BYTES)
    assert device.fetched(tmp_path) == device.film


def test_an_upload_that_vanished_between_two_processes_starts_over(device: Device) -> None:
    driver = device.started()
    begun = driver.begin(OBJECT, device.key, "video/mp4")
    for number in (2, 3, 1):
        device.put(driver, number)
    device.store.abort(device.key, begun.upload_id)
    with pytest.raises(StoreError) as caught:
        driver.finish(OBJECT, FILM, TOTAL_BYTES)
    assert caught.value.kind == "gone"
    assert device.send(device.started()).bytes_resent == TOTAL_BYTES


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_a_part_the_bucket_holds_otherwise_than_recorded_does_not_count(
    device: Device, tmp_path: Path
) -> None:
    driver = device.started()
    begun = driver.begin(OBJECT, device.key, "video/mp4")
    for number in (2, 3, 1):
        device.put(driver, number)
    device.store.put_part(device.key, begun.upload_id, 2, b"not ours", sha256_b64(b"not ours"))
    with pytest.raises(StoreError) as caught:
        driver.finish(OBJECT, FILM, TOTAL_BYTES)
    assert caught.value.kind == "conflict"
    after = device.started()
    begun = after.begin(OBJECT, device.key, "video/mp4")
    assert [part.number for part in begun.parts_done] == [1, 3]
    assert device.send(after).bytes_resent == PART_BYTES
    assert device.fetched(tmp_path) == device.film


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_a_part_lost_between_two_processes_is_sent_again(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    begun = driver.begin(OBJECT, device.key, "video/mp4")
    device.put(driver, 2)
    device.store.put_part(device.key, begun.upload_id, 2, b"not ours", sha256_b64(b"not ours"))
    after = device.started()
    assert after.begin(OBJECT, device.key, "video/mp4").parts_done == ()
    device.send(after)
    assert device.fetched(tmp_path) == device.film


def test_a_part_changed_on_disk_is_sent_again(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    for number in (2, 3, 1):
        device.put(driver, number)
    with (device.root / FILM).open("r+b") as film:
        film.seek(20)
        film.write(b"16 bytes changed")
    after = device.started()
    after.begin(OBJECT, device.key, "video/mp4")
    assert [device.put(after, number) for number in (1, 2, 3)] == [PART_BYTES, 0, 0]
    verified = after.finish(OBJECT, FILM, TOTAL_BYTES)
    assert (verified.bytes_sent, verified.bytes_resent) == (TOTAL_BYTES + PART_BYTES, PART_BYTES)
    assert device.fetched(tmp_path) == device.film


def test_a_film_cut_back_after_a_crash_leaves_its_old_end_out(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    for number in (2, 3):
        device.put(driver, number)
    os.truncate(device.root / FILM, PART_BYTES + 1234)
    device.put(driver, 2)
    device.put(driver, 1)
    verified = driver.finish(OBJECT, FILM, PART_BYTES + 1234)
    assert (verified.bytes, verified.parts) == (PART_BYTES + 1234, 2)
    assert device.fetched(tmp_path) == device.film


def test_a_film_changed_after_it_was_verified_is_sent_again(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    device.send(driver)
    device.write(TOTAL_BYTES, seed=2)
    with pytest.raises(StoreError) as caught:
        device.put(driver, 2)
    assert caught.value.kind == "gone"
    device.send(driver)
    assert device.fetched(tmp_path) == device.film


def test_finish_refuses_what_is_not_whole(device: Device) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    device.put(driver, 2)
    device.put(driver, 3)
    for total_bytes, names in ((TOTAL_BYTES, "part 1"), (TOTAL_BYTES - 1, "bytes")):
        with pytest.raises(StoreError, match=names) as caught:
            driver.finish(OBJECT, FILM, total_bytes)
        assert caught.value.kind == "conflict"
    assert device.store.head(device.key) is None


@pytest.mark.parametrize("path", ["../ledger.sqlite", "/etc/passwd", "recordings/link/film.mp4", "none.mp4"])
def test_only_files_beneath_the_root_are_sent(device: Device, path: str) -> None:
    (device.root / "recordings" / "link").symlink_to(device.root / "recordings/b1/film")
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    with pytest.raises(StoreError) as caught:
        driver.put_part(OBJECT, 1, path, 0, 10)
    assert caught.value.kind == "conflict"
    assert device.ledgers[-1].parts(OBJECT) == ()


def test_parts_lie_where_parts_lie(device: Device) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    for number, offset, length in (
        (2, 0, 10),
        (1, 0, PART_BYTES + 1),
        (1, 0, 0),
        (3, 2 * PART_BYTES, PART_BYTES),
    ):
        with pytest.raises(StoreError) as caught:
            driver.put_part(OBJECT, number, FILM, offset, length)
        assert caught.value.kind == "conflict"


class TestWithoutALedger:
    def test_the_same_film_is_adopted(self, device: Device) -> None:
        sent = device.send(device.started())
        device.ledger_path = device.ledger_path.with_name("new.sqlite")
        driver = device.started()
        adopted = driver.adopt(OBJECT, device.key, FILM)
        assert adopted is not None
        assert (adopted.bytes, adopted.sha256, adopted.etag, adopted.parts) == (
            sent.bytes,
            sent.sha256,
            sent.etag,
            3,
        )
        assert adopted.bytes_sent == 0
        assert driver.finish(OBJECT, FILM, TOTAL_BYTES) == adopted

    def test_another_film_is_sent_and_strays_are_aborted(self, device: Device, tmp_path: Path) -> None:
        device.send(device.started())
        device.store.create(device.key, "video/mp4")
        device.ledger_path = device.ledger_path.with_name("new.sqlite")
        device.write(TOTAL_BYTES, seed=2)
        driver = device.started()
        assert driver.adopt(OBJECT, device.key, FILM) is None
        assert device.store.list_uploads(device.key) == ()
        device.send(driver)
        assert device.fetched(tmp_path) == device.film

    def test_nothing_there_is_not_adopted(self, device: Device) -> None:
        stray = device.store.create(device.key, "video/mp4")
        assert device.store.list_uploads(device.key) == (stray,)
        assert device.started().adopt(OBJECT, device.key, FILM) is None
        assert device.store.list_uploads(device.key) == ()

    def test_where_nothing_is_a_key_that_may_not_list_is_refused_and_sends(self, tmp_path: Path) -> None:
        class Unlisted(FolderStore):
            """S3's answer to a key without ListBucket: a stand-in, no server here gives it."""

            def head(self, key: str) -> ObjectHead | None:
                found = super().head(key)
                if found is None:
                    raise StoreError("denied", "this key may not do that here")
                return found

        (tmp_path / "bucket").mkdir()
        device = Device.make(tmp_path, Unlisted(tmp_path / "bucket"), "club/court/film.mp4")
        driver = device.started()
        assert driver.adopt(OBJECT, device.key, FILM) is None
        assert device.send(driver).bytes == TOTAL_BYTES
        assert device.fetched(tmp_path) == device.film
        for ledger in device.ledgers:
            ledger.close()

    def test_an_upload_on_record_is_not_touched(self, device: Device) -> None:
        driver = device.started()
        begun = driver.begin(OBJECT, device.key, "video/mp4")
        assert driver.adopt(OBJECT, device.key, FILM) is None
        assert device.store.list_uploads(device.key) == (begun.upload_id,)


def test_abort_ends_the_upload_and_forget_the_record(device: Device) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    device.put(driver, 2)
    device.store.create(device.key, "video/mp4")
    driver.abort(OBJECT)
    driver.abort(OBJECT)
    assert device.store.list_uploads(device.key) == ()
    assert [(record.object_id, record.state) for record in driver.inventory()] == [(OBJECT, "aborted")]
    with pytest.raises(StoreError) as caught:
        device.put(driver, 3)
    assert caught.value.kind == "gone"
    driver.forget(OBJECT)
    assert driver.inventory() == ()
    assert device.ledgers[-1].parts(OBJECT) == ()
    driver.abort("never/heard")


def test_a_cancelled_film_taken_back_is_sent(device: Device, tmp_path: Path) -> None:
    driver = device.started()
    driver.begin(OBJECT, device.key, "video/mp4")
    driver.abort(OBJECT)
    device.send(driver)
    assert device.fetched(tmp_path) == device.film


def test_waiting_for_bandwidth_ends_with_the_driver(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    device = Device.make(tmp_path, FolderStore(tmp_path / "bucket"), "film.mp4")
    ledger = UploadLedger(device.ledger_path)
    driver = UploadDriver(device.store, ledger, device.root, bandwidth_bytes_per_s=1)
    driver.begin(OBJECT, device.key, "video/mp4")
    device.put(driver, 2)  # let through on credit: the next one would wait for two months
    caught: list[StoreError] = []

    def put() -> None:
        try:
            device.put(driver, 1)
        except StoreError as error:
            caught.append(error)

    worker = threading.Thread(target=put)
    worker.start()
    driver.close()
    worker.join()
    assert [error.kind for error in caught] == ["transient"]
    ledger.close()
