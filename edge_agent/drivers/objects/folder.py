"""A bucket that is a folder (`--store dir`): objects are plain files, the rest is in one hidden folder.

An upload is a folder `.ezrec/uploads/{id}` holding `data`, into which every part is written at its final
place, and one empty file per part whose name says what was written. So Complete is a truncate and a rename,
however long the film. What a bucket knows of an object (ETag, composite SHA-256) is in
`.ezrec/meta/{key}.json`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from edge_agent.drivers.objects.base import (
    PART_BYTES,
    ListedPart,
    ObjectHead,
    StoreError,
    composite_sha256,
    multipart_etag,
    sha256_b64,
)
from edge_agent.drivers.objects.download import write_fetched
from edge_agent.drivers.objects.folder_errors import as_store_error
from edge_agent.drivers.objects.paths import beneath, open_file, open_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from edge_agent.drivers.objects.base import PartRef

HIDDEN = ".ezrec"
CHUNK_BYTES = 256 * 1024
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


class _Part(NamedTuple):
    """A part as its record file's name has it."""

    number: int
    bytes: int
    md5: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.number:05}.{self.bytes}.{self.md5}.{self.sha256}"

    @classmethod
    def parse(cls, file_name: str) -> _Part:
        number, size, md5, sha256 = file_name.split(".")
        return cls(int(number), int(size), md5, sha256)


class FolderStore:
    """ObjectStore over a folder on a local disk. One process at a time; its threads may share it.

    Parts of an upload are equal but for the last, as on R2. What is answered has been fsynced.
    """

    def __init__(self, root: Path) -> None:
        """Touch nothing yet; calls answer `missing` while the root does not exist (a disk not mounted)."""
        self._root = root
        self._hidden = root / HIDDEN
        self._lock = threading.Lock()

    def close(self) -> None:
        """Nothing is held between calls."""

    def create(self, key: str, content_type: str) -> str:
        with self._mapped(key):
            beneath(key)
            self._require_root()
            upload_id = secrets.token_hex(16)
            folder = self._hidden / "uploads" / upload_id
            (folder / "parts").mkdir(parents=True)
            (folder / "data").touch()
            _write_json(folder / "upload.json", {"key": key, "content_type": content_type, "slot_bytes": 0})
            sync_folder(folder.parent)
            return upload_id

    def put_part(self, key: str, upload_id: str, number: int, data: bytes, sha256_b64: str) -> str:
        digest = hashlib.sha256(data)
        part = _Part(
            number, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), digest.hexdigest()
        )
        with self._mapped(key):
            folder = self._upload(key, upload_id)
            if _b64(digest.digest()) != sha256_b64:
                raise StoreError("conflict", f"part {number} of {key} arrived damaged")
            with self._lock:
                slot_bytes = self._slot(folder, len(data))
                # The old record goes first: it must not vouch for bytes that are being written over.
                for old in _records(folder):
                    if old.number == number:
                        (folder / "parts" / old.file_name).unlink()
                        sync_folder(folder / "parts")
            with (folder / "data").open("r+b") as file:
                _write_all(file.fileno(), data, (number - 1) * slot_bytes)
                os.fdatasync(file.fileno())
            (folder / "parts" / part.file_name).touch()
            sync_folder(folder / "parts")
        return part.md5

    def complete(self, key: str, upload_id: str, parts: Sequence[PartRef]) -> None:
        with self._mapped(key):
            folder = self._upload(key, upload_id)
            records = _named(folder, key, parts)
            upload = _read_json(folder / "upload.json")
            content_type = cast("str", upload["content_type"])
            _check_equal(records, key, cast("int", upload["slot_bytes"]))
            total_bytes = sum(record.bytes for record in records)
            with (folder / "data").open("r+b") as file:
                os.ftruncate(file.fileno(), total_bytes)
                os.fsync(file.fileno())
            etag = multipart_etag(record.md5 for record in records)
            composite = composite_sha256([part.sha256_b64 for part in parts])
            self._place(key, folder / "data", ObjectHead(total_bytes, etag, composite), content_type)
            shutil.rmtree(folder)

    def head(self, key: str) -> ObjectHead | None:
        with self._mapped(key):
            self._require_root()
            try:
                descriptor = open_file(self._root, key)
            except FileNotFoundError:
                return None
            try:
                seen = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            return self._described(key, seen)

    def abort(self, key: str, upload_id: str) -> None:
        with self._mapped(key):
            self._require_root()
            try:
                folder = self._upload(key, upload_id)
            except StoreError:
                return
            shutil.rmtree(folder)
            sync_folder(folder.parent)

    def list_uploads(self, key: str) -> tuple[str, ...]:
        with self._mapped(key):
            beneath(key)
            self._require_root()
            uploads = self._hidden / "uploads"
            if not uploads.is_dir():
                return ()
            return tuple(
                folder.name
                for folder in sorted(uploads.iterdir())
                if (folder / "upload.json").is_file() and _read_json(folder / "upload.json")["key"] == key
            )

    def list_parts(self, key: str, upload_id: str) -> tuple[ListedPart, ...]:
        with self._mapped(key):
            records = _records(self._upload(key, upload_id))
            return tuple(ListedPart(record.number, record.md5, record.bytes) for record in records)

    def get(self, key: str, path: Path, expected_sha256: str | None = None, *, max_bytes: int) -> None:
        with self._mapped(key):
            self._require_root()
            try:
                descriptor = open_file(self._root, key)
            except FileNotFoundError as error:
                raise StoreError("missing", f"no such object ({self._place_text(key)})") from error
        with os.fdopen(descriptor, "rb") as file:
            write_fetched(
                iter(lambda: file.read(CHUNK_BYTES), b""),
                path,
                expected_sha256,
                max_bytes,
                self._place_text(key),
            )

    def put_small(self, key: str, data: bytes, content_type: str) -> ObjectHead:
        described = ObjectHead(
            len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), sha256_b64(data)
        )
        with self._mapped(key):
            beneath(key)
            self._require_root()
            self._hidden.mkdir(exist_ok=True)
            temporary = self._hidden / f"small-{secrets.token_hex(8)}"
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._place(key, temporary, described, content_type)
        return described

    def _place(self, key: str, source: Path, described: ObjectHead, content_type: str) -> None:
        """Give a finished file its name.

        Its description goes first and fits only this very file, so a crash
        between the two leaves an object without a description, never one with a wrong one.
        """
        seen = source.stat()
        meta = self._hidden / "meta" / f"{key}.json"
        meta.parent.mkdir(parents=True, exist_ok=True)
        fits = {"inode": seen.st_ino, "mtime_ns": seen.st_mtime_ns, "bytes": described.bytes}
        about = {"etag": described.etag, "sha256": described.sha256, "content_type": content_type}
        _write_json(meta, {**fits, **about})
        path = beneath(key)
        folder = open_folder(self._root, path.parts[:-1], make=True)
        try:
            os.rename(source, path.name, dst_dir_fd=folder)
            os.fsync(folder)
        finally:
            os.close(folder)

    def _described(self, key: str, seen: os.stat_result) -> ObjectHead:
        try:
            meta = _read_json(self._hidden / "meta" / f"{key}.json")
        except FileNotFoundError:
            return ObjectHead(seen.st_size, "", None)
        if (meta["inode"], meta["mtime_ns"], meta["bytes"]) != (seen.st_ino, seen.st_mtime_ns, seen.st_size):
            return ObjectHead(seen.st_size, "", None)
        return ObjectHead(seen.st_size, cast("str", meta["etag"]), cast("str", meta["sha256"]))

    def _slot(self, folder: Path, part_bytes: int) -> int:
        """Distance between two parts in `data`, fixed by the upload's first part."""
        upload = _read_json(folder / "upload.json")
        slot_bytes = cast("int", upload["slot_bytes"])
        if slot_bytes == 0:
            # The first part put may be the short last one, so an ordinary part is assumed at least.
            slot_bytes = max(PART_BYTES, part_bytes)
            _write_json(folder / "upload.json", {**upload, "slot_bytes": slot_bytes})
        if part_bytes > slot_bytes:
            raise StoreError("conflict", f"a part of {part_bytes} bytes where parts have {slot_bytes} bytes")
        return slot_bytes

    def _upload(self, key: str, upload_id: str) -> Path:
        beneath(key)
        self._require_root()
        folder = self._hidden / "uploads" / upload_id
        if _UPLOAD_ID.fullmatch(upload_id):
            try:
                if _read_json(folder / "upload.json")["key"] == key:
                    return folder
            except FileNotFoundError:
                pass
        raise StoreError("gone", f"the upload is no longer known there ({self._place_text(key)})")

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise StoreError(
                "missing", f"the bucket's folder {self._root} does not exist: check store.bucket"
            )

    def _place_text(self, key: str) -> str:
        return f"folder {self._root}, key {key}"

    @contextmanager
    def _mapped(self, key: str) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise as_store_error(error, self._place_text(key)) from error


def _records(folder: Path) -> list[_Part]:
    return sorted(_Part.parse(file.name) for file in (folder / "parts").iterdir())


def _named(folder: Path, key: str, parts: Sequence[PartRef]) -> list[_Part]:
    held = {(record.number, record.md5): record for record in _records(folder)}
    numbers = [part.number for part in parts]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise StoreError("conflict", f"parts of {key} are not named 1, 2, 3 ...")
    for part in parts:
        record = held.get((part.number, part.etag))
        if record is None or _b64(bytes.fromhex(record.sha256)) != part.sha256_b64:
            raise StoreError("conflict", f"part {part.number} of {key} is not there as it was sent")
    return [held[part.number, part.etag] for part in parts]


def _check_equal(records: Sequence[_Part], key: str, slot_bytes: int) -> None:
    if any(record.bytes != slot_bytes for record in records[:-1]):
        raise StoreError("conflict", f"parts of {key} must all have {slot_bytes} bytes but the last")


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _write_json(path: Path, content: dict[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with temporary.open("x", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _read_json(path: Path) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))
