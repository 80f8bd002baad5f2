"""The keeper's bucket where it is a folder (`edge_agent.drivers.objects.folder` says what is in it)."""

import json
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cloud_bridge.objects.base import OpenUpload
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.viewed import FolderObjects

HIDDEN = ".ezrec"


class FolderKept:
    """`KeptBucket` over a folder. Follows no link."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._plain = FolderObjects(root)

    def close(self) -> None:
        pass

    def check(self) -> None:
        if not self._root.is_dir():
            raise BucketError("missing", f"the bucket's folder {self._root} is not there")

    def size(self, key: str) -> int | None:
        with _mapped(f"look at {key} in {self._root}"):
            path = self._plain.file(key)
            return path.stat().st_size if path is not None else None

    def remove(self, key: str) -> None:
        with _mapped(f"delete {key} in {self._root}"):
            path = self._plain.file(key)
            if path is not None:
                path.unlink(missing_ok=True)
                _sync(path.parent)
                self._tidy(path.parent)
            meta = self._root / HIDDEN / "meta" / f"{key}.json"
            meta.unlink(missing_ok=True)

    def _tidy(self, folder: Path) -> None:
        """Empty folders go with their last object; whoever needs one again makes it."""
        while folder != self._root and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def open_uploads(self, prefix: str) -> Iterator[OpenUpload]:
        uploads = self._root / HIDDEN / "uploads"
        with _mapped(f"list uploads in {self._root}"):
            for folder in sorted(uploads.iterdir()) if uploads.is_dir() else ():
                key = _key_of(folder / "upload.json")
                if key is not None and key.startswith(prefix):
                    # Not the folder's own time, which every part moves.
                    begun = (folder / "upload.json").stat().st_mtime
                    yield OpenUpload(key, folder.name, datetime.fromtimestamp(begun, UTC))

    def abort(self, upload: OpenUpload) -> None:
        folder = self._root / HIDDEN / "uploads" / upload.upload_id
        with _mapped(f"abort an upload of {upload.key} in {self._root}"):
            if _key_of(folder / "upload.json") == upload.key:
                shutil.rmtree(folder)
                _sync(folder.parent)


def _key_of(about: Path) -> str | None:
    """The key an upload's description names; None when there is none that can be read."""
    try:
        body: object = json.loads(about.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    key = cast("dict[str, object]", body).get("key") if isinstance(body, dict) else None
    return key if isinstance(key, str) else None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _mapped(what: str) -> Generator[None]:
    try:
        yield
    except PermissionError as error:
        raise BucketError("denied", f"{what}: this process may not ({error.strerror})") from error
    except OSError as error:
        raise BucketError("transient", f"{what}: {error.strerror}") from error
