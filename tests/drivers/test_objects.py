import dataclasses
import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from edge_agent.demo.child import free_port
from edge_agent.demo.servers import SeaweedFS
from edge_agent.demo.throttle import ThrottleProxy
from edge_agent.drivers.objects import FolderStore, ObjectStore, S3Store, StoreError
from edge_agent.drivers.objects.base import PART_BYTES, part_bytes_for, sha256_b64
from tests.conformance.objects import FULL, TAIL, VIDEO, ObjectStoreConformance, content, put


class TestS3(ObjectStoreConformance):
    @pytest.fixture
    def store(self, seaweed: SeaweedFS) -> Generator[ObjectStore]:
        with S3Store(seaweed.device) as store:
            yield store


class TestFolder(ObjectStoreConformance):
    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
        return FolderStore(tmp_path_factory.mktemp("bucket"))


class TestWhatS3Refuses:
    @pytest.mark.parametrize(
        ("change", "kind", "names"),
        [
            ({"secret": "not-the-secret"}, "denied", "store.secret"),
            ({"key": "NOBODY"}, "denied", "store.key"),
            ({"bucket": "neighbours"}, "denied", "neighbours"),
            ({"bucket": "not a bucket"}, "missing", "store.bucket"),
        ],
    )
    def test_one_line_that_names_the_place_and_no_secret(
        self, seaweed: SeaweedFS, change: dict[str, str], kind: str, names: str
    ) -> None:
        target = dataclasses.replace(seaweed.device, **change)
        with S3Store(target) as store, pytest.raises(StoreError) as caught:
            store.create("club/film.mp4", VIDEO)
        text = str(caught.value)
        assert caught.value.kind == kind
        assert names in text
        assert target.bucket in text
        assert seaweed.endpoint in text
        assert "\n" not in text
        assert target.secret not in text
        assert target.secret not in repr(target)

    def test_a_bucket_that_is_not_there(self, seaweed: SeaweedFS) -> None:
        target = dataclasses.replace(seaweed.admin, bucket="nowhere")
        with S3Store(target) as store, pytest.raises(StoreError) as caught:
            store.put_small("film.mp4", b"x", VIDEO)
        assert caught.value.kind == "missing"
        assert "nowhere" in str(caught.value)

    def test_an_endpoint_that_is_no_address(self, seaweed: SeaweedFS) -> None:
        with pytest.raises(StoreError, match=r"store\.endpoint 'bucket\.example'"):
            S3Store(dataclasses.replace(seaweed.device, endpoint="bucket.example"))

    def test_nobody_there_is_transient(self, seaweed: SeaweedFS) -> None:
        target = dataclasses.replace(seaweed.device, endpoint=f"http://127.0.0.1:{free_port()}")
        with S3Store(target) as store, pytest.raises(StoreError) as caught:
            store.head("film.mp4")
        assert caught.value.kind == "transient"

    def test_a_broken_line_is_transient_and_tried_once(self, seaweed: SeaweedFS) -> None:
        key = "club/broken/film.mp4"
        with (
            ThrottleProxy(seaweed.port) as line,
            S3Store(dataclasses.replace(seaweed.device, endpoint=line.endpoint)) as store,
        ):
            upload = store.create(key, VIDEO)
            line.cut_after(1_000_000)
            with pytest.raises(StoreError) as caught:
                put(store, key, upload, 1, FULL)
            assert caught.value.kind == "transient"
            assert line.wait_for_cut(0)
            assert store.list_parts(key, upload) == ()


class TestWhatTheFolderRefuses:
    @pytest.mark.parametrize(
        "key",
        ["../film.mp4", "a/../../film.mp4", "/etc/film.mp4", "", "a//b", ".ezrec/meta/x", "a/./b", "a\\b"],
    )
    def test_keys_that_could_leave_the_tree(self, tmp_path: Path, key: str) -> None:
        root = tmp_path / "bucket"
        root.mkdir()
        store = FolderStore(root)
        for call in (
            lambda: store.create(key, VIDEO),
            lambda: store.put_small(key, b"x", VIDEO),
            lambda: store.head(key),
            lambda: store.list_uploads(key),
            lambda: store.get(key, tmp_path / "fetched", max_bytes=10),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.kind == "denied"
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        root, outside = tmp_path / "bucket", tmp_path / "outside"
        root.mkdir()
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        (root / "club").symlink_to(outside)
        (root / "film.mp4").symlink_to(outside / "secret")
        store = FolderStore(root)
        upload = store.create("club/film.mp4", VIDEO)
        part = put(store, "club/film.mp4", upload, 1, TAIL)
        calls: list[Callable[[], object]] = [
            lambda: store.complete("club/film.mp4", upload, [part]),
            lambda: store.put_small("club/film.mp4", b"x", VIDEO),
            lambda: store.get("club/secret", tmp_path / "fetched", max_bytes=10),
            lambda: store.get("film.mp4", tmp_path / "fetched", max_bytes=10),
            lambda: store.head("film.mp4"),
        ]
        for call in calls:
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.kind == "denied"
        assert [path.name for path in outside.iterdir()] == ["secret"]
        store.put_small("film.mp4", b"x", VIDEO)
        assert (outside / "secret").read_bytes() == b"secret"
        assert not (root / "film.mp4").is_symlink()

    def test_a_disk_that_is_not_mounted_is_missing(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path / "not-there")
        with pytest.raises(StoreError, match="not-there does not exist") as caught:
            store.create("club/film.mp4", VIDEO)
        assert caught.value.kind == "missing"

    def test_only_objects_are_visible(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path)
        store.create("club/other.mp4", VIDEO)
        upload = store.create("club/film.mp4", VIDEO)
        store.complete("club/film.mp4", upload, [put(store, "club/film.mp4", upload, 1, TAIL)])
        visible = [
            path.relative_to(tmp_path).as_posix()
            for path in tmp_path.rglob("*")
            if path.is_file() and ".ezrec" not in path.parts
        ]
        assert visible == ["club/film.mp4"]

    def test_a_file_changed_by_somebody_else_is_not_vouched_for(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path)
        store.put_small("club/film.mp4", b"ours", VIDEO)
        film = tmp_path / "club/film.mp4"
        film.write_bytes(b"hers")
        os.utime(film, ns=(1, 1))
        head = store.head("club/film.mp4")
        assert head is not None
        assert (head.bytes, head.etag, head.sha256) == (4, "", None)

    def test_a_part_sent_again_is_held_once(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path)
        upload = store.create("film.mp4", VIDEO)
        old = put(store, "film.mp4", upload, 1, FULL)
        new = put(store, "film.mp4", upload, 1, TAIL)
        assert [(part.number, part.etag) for part in store.list_parts("film.mp4", upload)] == [(1, new.etag)]
        with pytest.raises(StoreError) as caught:
            store.complete("film.mp4", upload, [old])
        assert caught.value.kind == "conflict"

    def test_unequal_parts_are_refused(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path)
        upload = store.create("film.mp4", VIDEO)
        parts = [put(store, "film.mp4", upload, 1, TAIL), put(store, "film.mp4", upload, 2, TAIL)]
        with pytest.raises(StoreError) as caught:
            store.complete("film.mp4", upload, parts)
        assert caught.value.kind == "conflict"
        assert store.head("film.mp4") is None

    def test_larger_parts_stay_together(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path)
        large = FULL + b"+"
        upload = store.create("film.mp4", VIDEO)
        parts = [put(store, "film.mp4", upload, 1, large), put(store, "film.mp4", upload, 2, TAIL)]
        store.complete("film.mp4", upload, parts)
        (tmp_path / "out").mkdir()
        assert content(store, "film.mp4", tmp_path / "out") == large + TAIL


def test_parts_grow_only_where_ten_thousand_would_not_do() -> None:
    assert part_bytes_for(1) == PART_BYTES
    assert part_bytes_for(45_000_000_000) == PART_BYTES
    for total_bytes in (45_000_000_001, 60_000_000_000, 2_000_000_000_000):
        assert part_bytes_for(total_bytes) % (1024 * 1024) == 0
        assert part_bytes_for(total_bytes) * 10_000 > total_bytes


def test_hash_is_written_as_s3_writes_it() -> None:
    assert sha256_b64(b"") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
