"""A judge's own way into a bucket, with the administrator's keys. Imports nothing from the product."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3


@dataclass(frozen=True)
class Bucket:
    """A bucket of an S3 server, or a folder with the objects as files."""

    name: str
    folder: Path | None = None
    endpoint: str = ""
    key: str = ""
    secret: str = ""

    def _s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def keys(self) -> list[str]:
        """Every key there is."""
        if self.folder is not None:
            files = self.folder.rglob("*") if self.folder.exists() else ()
            keys = (str(file.relative_to(self.folder)) for file in files if file.is_file())
            return sorted(key for key in keys if not key.startswith(".ezrec/"))  # the store's own books
        s3 = self._s3()
        try:
            answer = s3.list_objects_v2(Bucket=self.name)
        finally:
            s3.close()
        assert not answer["IsTruncated"]
        return sorted(item["Key"] for item in answer.get("Contents", ()))

    def uploads(self) -> list[str]:
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        if self.folder is not None:
            return [path.name for path in (self.folder / ".ezrec" / "uploads").glob("*")]
        s3 = self._s3()
        try:
            answer = s3.list_multipart_uploads(Bucket=self.name)
        finally:
            s3.close()
        return [item["Key"] for item in answer.get("Uploads", ())]

    def fetch(self, key: str, path: Path) -> None:
        """One object into a file."""
        if self.folder is not None:
            path.write_bytes((self.folder / key).read_bytes())
            return
        s3 = self._s3()
        try:
            s3.download_file(self.name, key, str(path))
        finally:
            s3.close()
