"""Logos and intros on their way into the bucket, each under the name of its own hash."""

import base64
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from cloud_bridge.objects.client import BucketError, mapped, s3_client
from edge_agent.core.settings import Settings

_CHUNK = 1024 * 1024
_TRIES = 3


class AssetBucket(Protocol):
    """Implementations pass `tests/conformance/asset_bucket.py`. Threads may share one."""

    def put(self, key: str, path: Path, sha256: str, media_type: str) -> bool:
        """Put a file where its hash says it belongs, unless that very file is there; whether it was put.

        When this returns, the bucket has said that it holds these bytes.

        Raises:
            BucketError: it does not hold them, or nobody knows.
        """
        ...


def asset_key(org: str, sha256: str) -> str:
    """Where a logo or intro of an organisation is."""
    return f"{org}/assets/{sha256}"


class S3Assets:
    """`AssetBucket` over S3 (AWS, R2, SeaweedFS ...)."""

    def __init__(self, settings: Settings) -> None:
        """Make the client; no request is made.

        Raises:
            BucketError: ``denied`` when the endpoint is no address.
        """
        self._bucket = settings.store.bucket
        self._place = f"bucket {self._bucket} at {settings.store.endpoint or 'AWS'}"
        self._client = s3_client(settings)

    def put(self, key: str, path: Path, sha256: str, media_type: str) -> bool:
        if self._holds(key, path.stat().st_size, sha256):
            return False
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with path.open("rb") as file, mapped(f"put {key} into {self._place}"):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=file,
                ContentType=media_type,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )
        if not self._holds(key, path.stat().st_size, sha256):
            raise BucketError("transient", f"{key} in {self._place} is not what was put there")
        return True

    def _holds(self, key: str, size: int, sha256: str) -> bool:
        """Whether the object is this one, by size and hash; where a store has no hash, by reading it."""
        try:
            with mapped(f"look at {key} in {self._place}"):
                head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
                if head["ContentLength"] != size:
                    return False
                checksum = cast("str | None", head.get("ChecksumSHA256"))
                return (base64.b64decode(checksum).hex() if checksum else self._read(key)) == sha256
        except BucketError as error:
            if error.kind == "missing":
                return False
            raise

    def _read(self, key: str) -> str:
        body = cast("BinaryIO", self._client.get_object(Bucket=self._bucket, Key=key)["Body"])
        digest = hashlib.sha256()
        while piece := body.read(_CHUNK):
            digest.update(piece)
        return digest.hexdigest()


class FolderAssets:
    """`AssetBucket` over a folder. Follows no link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, path: Path, sha256: str, media_type: str) -> bool:  # noqa: ARG002
        final = self._root / key
        try:
            if _digest(final) == sha256:
                return False
            _place(path, final)
            if _digest(final) != sha256:
                raise BucketError("transient", f"{key} in {self._root} is not what was put there")
        except OSError as error:
            raise BucketError("transient", f"put {key} into {self._root}: {error.strerror}") from error
        return True


def _temporary(folder: Path) -> tuple[int, str]:
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return tempfile.mkstemp(prefix=".", dir=folder)
        except FileNotFoundError:
            continue  # the keeper has just tidied the empty folder away
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(prefix=".", dir=folder)


def _place(source: Path, final: Path) -> None:
    descriptor, temporary = _temporary(final.parent)
    try:
        with os.fdopen(descriptor, "wb") as target, source.open("rb") as file:
            while piece := file.read(_CHUNK):
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(final)
    finally:
        Path(temporary).unlink(missing_ok=True)
    handle = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assets_of(settings: Settings) -> AssetBucket:
    """The bucket that the settings name.

    Raises:
        BucketError: ``denied`` when its endpoint is no address.
    """
    if settings.store.kind == "s3":
        return S3Assets(settings)
    folder = settings.store.folder
    return FolderAssets(Path(folder) if folder else Path(settings.storage.root) / "bucket")
