"""What every object store must do; each store's test class inherits it and gives `store`."""

import hashlib
import random
from pathlib import Path

import pytest

from edge_agent.drivers.objects import PART_BYTES, ObjectStore, PartRef, StoreError
from edge_agent.drivers.objects.base import composite_sha256, multipart_etag, sha256_b64

VIDEO = "video/mp4"
FULL = random.Random(1).randbytes(PART_BYTES)
OTHER = random.Random(2).randbytes(PART_BYTES)
TAIL = random.Random(3).randbytes(123_457)


def put(store: ObjectStore, key: str, upload_id: str, number: int, data: bytes) -> PartRef:
    etag = store.put_part(key, upload_id, number, data, sha256_b64(data))
    return PartRef(number, etag, sha256_b64(data))


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def content(store: ObjectStore, key: str, folder: Path) -> bytes:
    path = folder / "fetched"
    store.get(key, path, max_bytes=100_000_000)
    return path.read_bytes()


class ObjectStoreConformance:
    @pytest.fixture
    def key(self, request: pytest.FixtureRequest) -> str:
        return f"club/court/2026-01-02/{random.Random(request.node.nodeid).randbytes(6).hex()}/film.mp4"

    def test_parts_in_any_order_make_the_object(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        upload = store.create(key, VIDEO)
        last, second, first = (
            put(store, key, upload, number, data) for number, data in ((3, TAIL), (2, OTHER), (1, FULL))
        )
        assert store.head(key) is None
        store.complete(key, upload, [first, second, last])
        head = store.head(key)
        assert head is not None
        assert head.bytes == 2 * PART_BYTES + len(TAIL)
        assert head.sha256 == composite_sha256([sha256_b64(part) for part in (FULL, OTHER, TAIL)])
        assert head.etag == multipart_etag(md5(part) for part in (FULL, OTHER, TAIL))
        assert content(store, key, tmp_path) == FULL + OTHER + TAIL
        assert store.list_uploads(key) == ()

    def test_one_short_part_is_an_object(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        upload = store.create(key, VIDEO)
        store.complete(key, upload, [put(store, key, upload, 1, TAIL)])
        assert content(store, key, tmp_path) == TAIL

    def test_damaged_part_is_refused(self, store: ObjectStore, key: str) -> None:
        upload = store.create(key, VIDEO)
        with pytest.raises(StoreError) as caught:
            store.put_part(key, upload, 1, TAIL, sha256_b64(FULL))
        assert caught.value.kind == "conflict"
        assert store.list_parts(key, upload) == ()

    def test_the_part_sent_last_wins(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        upload = store.create(key, VIDEO)
        old = put(store, key, upload, 1, FULL)
        last = put(store, key, upload, 2, TAIL)
        new = put(store, key, upload, 1, OTHER)
        assert new.etag != old.etag
        assert (1, new.etag, PART_BYTES) in {
            (part.number, part.etag, part.bytes) for part in store.list_parts(key, upload)
        }
        store.complete(key, upload, [new, last])
        assert content(store, key, tmp_path) == OTHER + TAIL

    def test_parts_beyond_the_named_ones_are_left_out(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        upload = store.create(key, VIDEO)
        first, second, _ = (put(store, key, upload, n, data) for n, data in ((1, FULL), (2, TAIL), (3, TAIL)))
        store.complete(key, upload, [first, second])
        assert content(store, key, tmp_path) == FULL + TAIL

    def test_unknown_part_is_a_conflict_and_keeps_the_upload(self, store: ObjectStore, key: str) -> None:
        upload = store.create(key, VIDEO)
        put(store, key, upload, 1, TAIL)
        with pytest.raises(StoreError) as caught:
            store.complete(key, upload, [PartRef(1, md5(FULL), sha256_b64(FULL))])
        assert caught.value.kind == "conflict"
        assert [part.number for part in store.list_parts(key, upload)] == [1]

    def test_aborted_upload_is_gone(self, store: ObjectStore, key: str) -> None:
        upload = store.create(key, VIDEO)
        part = put(store, key, upload, 1, TAIL)
        store.abort(key, upload)
        store.abort(key, upload)
        for call in (
            lambda: store.list_parts(key, upload),
            lambda: put(store, key, upload, 1, TAIL),
            lambda: store.complete(key, upload, [part]),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.kind == "gone"
        assert store.list_uploads(key) == ()
        assert store.head(key) is None

    def test_complete_again_changes_nothing(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        upload = store.create(key, VIDEO)
        parts = [put(store, key, upload, 1, TAIL)]
        store.complete(key, upload, parts)
        try:
            store.complete(key, upload, parts)
        except StoreError as error:
            assert error.kind == "gone"  # noqa: PT017 - answering again and having forgotten are both right
        assert content(store, key, tmp_path) == TAIL

    def test_uploads_are_listed_by_exact_key(self, store: ObjectStore, key: str) -> None:
        mine = {store.create(key, VIDEO), store.create(key, VIDEO)}
        neighbour = store.create(key + ".bak", VIDEO)
        assert set(store.list_uploads(key)) == mine
        assert store.list_uploads(key + ".bak") == (neighbour,)

    def test_an_earlier_object_stays_until_complete(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        store.put_small(key, b"earlier", "text/plain")
        upload = store.create(key, VIDEO)
        part = put(store, key, upload, 1, TAIL)
        assert content(store, key, tmp_path) == b"earlier"
        store.complete(key, upload, [part])
        assert content(store, key, tmp_path) == TAIL

    def test_small_object_is_replaced_whole(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        store.put_small(key, b"first and longer", "application/json")
        put_head = store.put_small(key, b"second", "application/json")
        head = store.head(key)
        assert head is not None
        assert (head.bytes, head.etag) == (6, md5(b"second"))
        assert (put_head.bytes, put_head.etag) == (6, md5(b"second"))
        assert content(store, key, tmp_path) == b"second"

    def test_fetching_is_all_or_nothing(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        store.put_small(key, TAIL, "image/png")
        path = tmp_path / "logo"
        path.write_bytes(b"what was here before")
        with pytest.raises(StoreError) as too_large:
            store.get(key, path, max_bytes=len(TAIL) - 1)
        with pytest.raises(StoreError) as another:
            store.get(key, path, hashlib.sha256(b"another").hexdigest(), max_bytes=len(TAIL))
        with pytest.raises(StoreError) as missing:
            store.get(key + ".none", path, max_bytes=len(TAIL))
        assert (too_large.value.kind, another.value.kind, missing.value.kind) == (
            "conflict",
            "conflict",
            "missing",
        )
        assert [file.name for file in tmp_path.iterdir()] == ["logo"]
        assert path.read_bytes() == b"what was here before"
        store.get(key, path, hashlib.sha256(TAIL).hexdigest(), max_bytes=len(TAIL))
        assert path.read_bytes() == TAIL

    def test_fetching_into_no_folder_is_an_error_of_ours(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        store.put_small(key, TAIL, "image/png")
        with pytest.raises(StoreError):
            store.get(key, tmp_path / "none" / "logo", max_bytes=len(TAIL))

    def test_nothing_is_there_at_first(self, store: ObjectStore, key: str) -> None:
        assert store.head(key) is None
        assert store.list_uploads(key) == ()
