import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from pydantic import SecretStr

from cloud_bridge.objects.assets import AssetBucket, FolderAssets, S3Assets, asset_key, assets_of
from cloud_bridge.objects.client import BucketError
from edge_agent.core.settings import Settings, Store
from edge_agent.demo.servers import SeaweedFS
from edge_agent.drivers.objects import FolderStore, S3Store
from tests.conformance.asset_bucket import CONTENT, KEY, SHA256, AssetBucketConformance, Read, Spoil


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Generator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


def settings_of(seaweed: SeaweedFS, **more: object) -> Settings:
    target = seaweed.device
    fields = {"endpoint": target.endpoint, "bucket": target.bucket, "key": SecretStr(target.key), **more}
    return Settings(store=Store(kind="s3", **{"secret": SecretStr(target.secret), **fields}))  # type: ignore[arg-type]


class TestFolder(AssetBucketConformance):
    @pytest.fixture
    def bucket(self, tmp_path: Path) -> AssetBucket:
        return assets_of(Settings(store=Store(kind="dir", folder=str(tmp_path / "bucket"))))

    @pytest.fixture
    def read(self, tmp_path: Path) -> Read:
        def read(key: str) -> bytes | None:
            file = tmp_path / "bucket" / key
            return file.read_bytes() if file.exists() else None

        return read

    @pytest.fixture
    def spoil(self, tmp_path: Path) -> Spoil:
        def spoil(key: str, content: bytes) -> None:
            file = tmp_path / "bucket" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

        return spoil

    def test_nothing_half_is_left_and_the_device_reads_it(self, bucket: AssetBucket, tmp_path: Path) -> None:
        self.put(bucket, tmp_path)
        assert [file.name for file in (tmp_path / "bucket" / KEY).parent.iterdir()] == [SHA256]
        fetched = tmp_path / "fetched"
        FolderStore(tmp_path / "bucket").get(KEY, fetched, SHA256, max_bytes=len(CONTENT))
        assert fetched.read_bytes() == CONTENT

    def test_a_link_in_its_place_is_not_followed(self, bucket: AssetBucket, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_bytes(b"mine")
        place = tmp_path / "bucket" / KEY
        place.parent.mkdir(parents=True)
        place.symlink_to(precious)
        with pytest.raises(BucketError):
            self.put(bucket, tmp_path)
        assert precious.read_bytes() == b"mine"

    def test_a_folder_that_cannot_be_made_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "bucket").write_bytes(b"a file")
        with pytest.raises(BucketError, match="put club/assets"):
            self.put(FolderAssets(tmp_path / "bucket"), tmp_path)


class TestSeaweed(AssetBucketConformance):
    @pytest.fixture(autouse=True)
    def _empty(self, seaweed: SeaweedFS) -> None:
        for content in (CONTENT, b""):
            key = asset_key("club", hashlib.sha256(content).hexdigest())
            self.admin(seaweed).delete_object(Bucket=seaweed.device.bucket, Key=key)

    def admin(self, seaweed: SeaweedFS) -> Any:
        target = seaweed.device
        return boto3.client(
            "s3", endpoint_url=target.endpoint, aws_access_key_id=target.key, region_name="us-east-1",
            aws_secret_access_key=target.secret,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )  # fmt: skip

    @pytest.fixture
    def bucket(self, seaweed: SeaweedFS) -> AssetBucket:
        return S3Assets(settings_of(seaweed))

    @pytest.fixture
    def read(self, seaweed: SeaweedFS) -> Read:
        client = self.admin(seaweed)

        def read(key: str) -> bytes | None:
            try:
                body: bytes = client.get_object(Bucket=seaweed.device.bucket, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                return None
            return body

        return read

    @pytest.fixture
    def spoil(self, seaweed: SeaweedFS) -> Spoil:
        client = self.admin(seaweed)
        return lambda key, content: client.put_object(Bucket=seaweed.device.bucket, Key=key, Body=content)

    def test_the_device_reads_it(self, bucket: AssetBucket, seaweed: SeaweedFS, tmp_path: Path) -> None:
        self.put(bucket, tmp_path)
        with S3Store(seaweed.device) as device:
            device.get(KEY, tmp_path / "fetched", SHA256, max_bytes=len(CONTENT))
        assert (tmp_path / "fetched").read_bytes() == CONTENT

    def test_a_key_that_may_not_is_said_in_one_line(self, seaweed: SeaweedFS, tmp_path: Path) -> None:
        bucket = S3Assets(settings_of(seaweed, secret=SecretStr("wrong")))
        with pytest.raises(BucketError) as caught:
            self.put(bucket, tmp_path)
        assert caught.value.kind == "denied"
        assert "\n" not in caught.value.text

    def test_a_bucket_that_is_away_is_said_in_one_line(self, seaweed: SeaweedFS, tmp_path: Path) -> None:
        bucket = S3Assets(settings_of(seaweed, endpoint="http://127.0.0.1:9"))
        with pytest.raises(BucketError) as caught:
            self.put(bucket, tmp_path)
        assert caught.value.kind == "transient"
