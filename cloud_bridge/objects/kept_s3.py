"""The keeper's bucket over S3."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from cloud_bridge.objects.base import OpenUpload
from cloud_bridge.objects.client import BucketError, mapped, s3_client
from edge_agent.core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListMultipartUploadsOutputTypeDef


class S3Kept:
    """`KeptBucket` over S3 (AWS, R2, SeaweedFS ...). Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        """Make the client; no request is made.

        Raises:
            BucketError: ``denied`` when the endpoint is no address.
        """
        self._bucket = settings.store.bucket
        self._place = f"bucket {self._bucket} at {settings.store.endpoint or 'AWS'}"
        self._client = s3_client(settings)

    def close(self) -> None:
        self._client.close()

    def check(self) -> None:
        try:
            with mapped(self._place):
                self._client.head_bucket(Bucket=self._bucket)
        except BucketError as error:
            # A key that may not look at the bucket may still delete in it: that will be seen then.
            if error.kind != "denied":
                raise

    def size(self, key: str) -> int | None:
        try:
            with mapped(f"look at {key} in {self._place}"):
                answer = self._client.head_object(Bucket=self._bucket, Key=key)
            return cast("int", cast("dict[str, object]", answer).get("ContentLength", 0))
        except BucketError as error:
            if error.kind == "missing":
                return None
            raise

    def remove(self, key: str) -> None:
        try:
            with mapped(f"delete {key} in {self._place}"):
                self._client.delete_object(Bucket=self._bucket, Key=key)
        except BucketError as error:
            if error.kind != "missing":
                raise

    def open_uploads(self, prefix: str) -> Iterator[OpenUpload]:
        with mapped(f"list uploads under {prefix} in {self._place}"):
            paginator = self._client.get_paginator("list_multipart_uploads")
            pages = cast(
                "Iterable[ListMultipartUploadsOutputTypeDef]",
                paginator.paginate(Bucket=self._bucket, Prefix=prefix),
            )
            for page in pages:
                for one in page.get("Uploads", []):
                    key, upload_id, started = one.get("Key"), one.get("UploadId"), one.get("Initiated")
                    if key and upload_id and started:
                        yield OpenUpload(key, upload_id, started)

    def abort(self, upload: OpenUpload) -> None:
        try:
            with mapped(f"abort an upload of {upload.key} in {self._place}"):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id
                )
        except BucketError as error:
            if error.kind != "missing":
                raise
