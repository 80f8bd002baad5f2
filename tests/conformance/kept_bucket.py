"""What every bucket does for the keeper; test classes give `bucket` and `device` over the same data."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloud_bridge.objects.base import KeptBucket
from edge_agent.drivers.objects import ObjectStore
from tests.conformance.objects import FULL, VIDEO, put

FILM = "club/court-1/2026-03-01/a/film.mp4"
POSTER = "club/court-1/2026-03-01/a/poster.jpg"


class KeptBucketConformance:
    def test_what_is_removed_is_gone_and_nothing_else(self, bucket: KeptBucket, device: ObjectStore) -> None:
        bucket.check()
        device.put_small(FILM, b"film", VIDEO)
        device.put_small(POSTER, b"a poster", "image/jpeg")
        assert (bucket.size(FILM), bucket.size(POSTER)) == (4, 8)
        bucket.remove(FILM)
        assert (bucket.size(FILM), bucket.size(POSTER)) == (None, 8)
        assert device.head(FILM) is None
        assert device.head(POSTER) is not None
        bucket.remove(FILM)
        bucket.remove(POSTER)
        assert bucket.size(POSTER) is None

    def test_a_removed_key_can_be_written_again(
        self, bucket: KeptBucket, device: ObjectStore, tmp_path: Path
    ) -> None:
        device.put_small(FILM, b"film", VIDEO)
        bucket.remove(FILM)
        device.put_small(FILM, b"another", VIDEO)
        assert bucket.size(FILM) == 7
        device.get(FILM, tmp_path / "film", max_bytes=10)
        assert (tmp_path / "film").read_bytes() == b"another"
        bucket.remove(FILM)

    def test_an_open_upload_is_listed_and_aborted(self, bucket: KeptBucket, device: ObjectStore) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        upload_id = device.create(FILM, VIDEO)
        other = device.create("club/court-2/2026-03-01/a/film.mp4", VIDEO)
        put(device, FILM, upload_id, 1, FULL)
        (found,) = bucket.open_uploads("club/court-1/")
        assert (found.key, found.upload_id) == (FILM, upload_id)
        assert before <= found.started <= datetime.now(UTC) + timedelta(seconds=2)
        bucket.abort(found)
        bucket.abort(found)
        assert list(bucket.open_uploads("club/court-1/")) == []
        assert device.list_uploads(FILM) == ()
        assert [one.upload_id for one in bucket.open_uploads("club/court-2/")] == [other]
        assert list(bucket.open_uploads("nobody/")) == []
        assert bucket.size(FILM) is None
        device.abort("club/court-2/2026-03-01/a/film.mp4", other)
