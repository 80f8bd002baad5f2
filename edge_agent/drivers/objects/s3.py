"""The bucket over S3 (AWS, R2, SeaweedFS ...): boto3, imported only when a store is made."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, cast

from edge_agent.drivers.objects.base import ListedPart, ObjectHead, StoreError, sha256_b64
from edge_agent.drivers.objects.download import write_fetched
from edge_agent.drivers.objects.s3_errors import as_store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        ListMultipartUploadsOutputTypeDef,
        ListPartsOutputTypeDef,
    )

    from edge_agent.drivers.objects.base import PartRef

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class S3Target:
    """Where the bucket is and who we are there. `endpoint` None is AWS itself."""

    bucket: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    endpoint: str | None = None
    region: str = "us-east-1"


class S3Store:
    """ObjectStore over S3. Retries nothing: that is the agent's. Safe to share between threads."""

    def __init__(self, target: S3Target, *, connections: int = 8) -> None:
        """Make the client; no request is made. `connections` is how many requests run at once.

        Raises:
            StoreError: `denied` when the endpoint is not an address at all.
        """
        self._target = target
        self._client = _client(target, connections)

    def close(self) -> None:
        """Close idle connections; may be repeated."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create(self, key: str, content_type: str) -> str:
        with self._mapped(key):
            return self._client.create_multipart_upload(
                Bucket=self._target.bucket, Key=key, ContentType=content_type, ChecksumAlgorithm="SHA256"
            )["UploadId"]

    def put_part(self, key: str, upload_id: str, number: int, data: bytes, sha256_b64: str) -> str:
        with self._mapped(key):
            answer = self._client.upload_part(
                Bucket=self._target.bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=data,
                ContentLength=len(data),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=sha256_b64,
            )
        return answer["ETag"].strip('"')

    def complete(self, key: str, upload_id: str, parts: Sequence[PartRef]) -> None:
        named: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": f'"{part.etag}"', "ChecksumSHA256": part.sha256_b64}
            for part in parts
        ]
        with self._mapped(key):
            self._client.complete_multipart_upload(
                Bucket=self._target.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": named}
            )

    def head(self, key: str) -> ObjectHead | None:
        try:
            with self._mapped(key):
                answer = self._client.head_object(Bucket=self._target.bucket, Key=key, ChecksumMode="ENABLED")
        except StoreError as error:
            # A HEAD has no body, so a missing bucket looks the same here; every other call names it.
            if error.kind == "missing":
                return None
            raise
        return ObjectHead(
            answer["ContentLength"], answer["ETag"].strip('"'), answer.get("ChecksumSHA256") or None
        )

    def abort(self, key: str, upload_id: str) -> None:
        try:
            with self._mapped(key):
                self._client.abort_multipart_upload(Bucket=self._target.bucket, Key=key, UploadId=upload_id)
        except StoreError as error:
            if error.kind != "gone":
                raise

    def list_uploads(self, key: str) -> tuple[str, ...]:
        with self._mapped(key):
            paginator = self._client.get_paginator("list_multipart_uploads")
            pages = cast(
                "Iterable[ListMultipartUploadsOutputTypeDef]",
                paginator.paginate(Bucket=self._target.bucket, Prefix=key),
            )
            return tuple(
                upload["UploadId"]
                for page in pages
                for upload in page.get("Uploads", [])
                if upload.get("Key") == key and "UploadId" in upload
            )

    def list_parts(self, key: str, upload_id: str) -> tuple[ListedPart, ...]:
        with self._mapped(key):
            paginator = self._client.get_paginator("list_parts")
            pages = cast(
                "Iterable[ListPartsOutputTypeDef]",
                paginator.paginate(Bucket=self._target.bucket, Key=key, UploadId=upload_id),
            )
            return tuple(
                ListedPart(part.get("PartNumber", 0), part.get("ETag", "").strip('"'), part.get("Size", 0))
                for page in pages
                for part in page.get("Parts", [])
            )

    def get(self, key: str, path: Path, expected_sha256: str | None = None, *, max_bytes: int) -> None:
        what = f"{key} in bucket {self._target.bucket}"
        with self._mapped(key):
            body = self._client.get_object(Bucket=self._target.bucket, Key=key)["Body"]
        with body:
            write_fetched(self._read(body, key), path, expected_sha256, max_bytes, what)

    def make_bucket(self) -> None:
        """Make the bucket itself, for whoever administers the server; may be repeated."""
        try:
            with self._mapped(""):
                self._client.create_bucket(Bucket=self._target.bucket)
        except StoreError as error:
            if "BucketAlreadyOwnedByYou" not in error.text and "BucketAlreadyExists" not in error.text:
                raise

    def put_small(self, key: str, data: bytes, content_type: str) -> ObjectHead:
        digest = sha256_b64(data)
        with self._mapped(key):
            answer = self._client.put_object(
                Bucket=self._target.bucket,
                Key=key,
                Body=data,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digest,
            )
        return ObjectHead(len(data), answer["ETag"].strip('"'), digest)

    def _read(self, body: StreamingBody, key: str) -> Iterator[bytes]:
        with self._mapped(key):
            yield from body.iter_chunks(CHUNK_BYTES)

    @contextmanager
    def _mapped(self, key: str) -> Generator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as boto3 below

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise as_store_error(error, self._target, key) from error
        except RecursionError:  # botocore looks for the region by the very request that was redirected
            where = f"bucket {self._target.bucket} at {self._target.endpoint or 'AWS'}"
            text = f"redirected without end: check store.endpoint and store.region ({where})"
            raise StoreError("denied", text) from None


def _client(target: S3Target, connections: int) -> S3Client:
    # They cost 30 MB and half a second, which only a process that talks S3 shall pay.
    from boto3.session import Session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1},  # `max_attempts` would be one more than it says
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=connections,
    )
    # A session of our own: the default one is not made for threads.
    make = cast("Callable[..., S3Client]", Session().client)  # pyright: ignore[reportUnknownMemberType]
    try:
        return make(
            "s3",
            endpoint_url=target.endpoint,
            region_name=target.region,
            aws_access_key_id=target.key,
            aws_secret_access_key=target.secret,
            config=config,
        )
    except ValueError as error:
        raise StoreError(
            "denied", f"store.endpoint {target.endpoint!r} is not an address like https://host"
        ) from error
