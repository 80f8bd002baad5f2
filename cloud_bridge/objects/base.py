"""The bucket as the keeper sees it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class OpenUpload:
    """A multipart upload nobody has completed. ``started``: by the bucket's clock."""

    key: str
    upload_id: str
    started: datetime


class KeptBucket(Protocol):
    """What is there, and taking it away. Every call may raise `cloud_bridge.objects.client.BucketError`.

    Implementations pass `tests/conformance/kept_bucket.py`.
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def check(self) -> None:
        """Whether the bucket is there at all: an object of a bucket that is not there looks gone.

        Raises:
            BucketError: ``missing`` when it is not.
        """
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object, None when it is not there."""
        ...

    def remove(self, key: str) -> None:
        """Take an object away; one that is not there is fine."""
        ...

    def open_uploads(self, prefix: str) -> Iterator[OpenUpload]:
        """Uploads begun under a prefix and not completed."""
        ...

    def abort(self, upload: OpenUpload) -> None:
        """Throw an upload's parts away; one that is over is fine."""
        ...
