"""What every bucket of logos and intros must do; each one's test class inherits it.

It gives ``bucket`` and ``read`` (the bytes of an object as somebody else sees them, None: there is none) and
``spoil`` (puts other bytes in an object's place).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cloud_bridge.objects.assets import AssetBucket, asset_key

Read = Callable[[str], bytes | None]
Spoil = Callable[[str, bytes], None]
CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = asset_key("club", SHA256)


class AssetBucketConformance:
    def put(self, bucket: AssetBucket, folder: Path, content: bytes = CONTENT) -> bool:
        file = folder / "out"
        file.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return bucket.put(asset_key("club", sha256), file, sha256, "image/png")

    def test_a_file_is_put_once(self, bucket: AssetBucket, read: Read, tmp_path: Path) -> None:
        assert KEY.split("/") == ["club", "assets", SHA256]
        assert read(KEY) is None
        assert (self.put(bucket, tmp_path), self.put(bucket, tmp_path)) == (True, False)
        assert read(KEY) == CONTENT

    def test_an_empty_file_is_a_file(self, bucket: AssetBucket, read: Read, tmp_path: Path) -> None:
        self.put(bucket, tmp_path, b"")
        assert read(asset_key("club", hashlib.sha256(b"").hexdigest())) == b""

    def test_what_is_there_and_is_not_it_is_put_right(
        self, bucket: AssetBucket, read: Read, spoil: Spoil, tmp_path: Path
    ) -> None:
        for other in (b"short", b"x" * len(CONTENT)):
            spoil(KEY, other)
            assert read(KEY) == other
            assert self.put(bucket, tmp_path)
            assert read(KEY) == CONTENT
