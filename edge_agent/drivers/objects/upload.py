"""Getting objects whole into the bucket. Every method may be killed anywhere and called again."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.drivers.objects.base import (
    PART_BYTES,
    ObjectHead,
    PartRef,
    StoreError,
    composite_sha256,
    multipart_etag,
    part_bytes_for,
    seen,
    sha256_b64,
)
from edge_agent.drivers.objects.ledger import PartRecord
from edge_agent.drivers.objects.paths import open_file
from edge_agent.drivers.objects.rate import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge_agent.drivers.objects.base import ObjectStore
    from edge_agent.drivers.objects.ledger import UploadLedger, UploadRecord


@dataclass(frozen=True, slots=True)
class PartDone:
    """A part that is in the bucket. `sha256` is base64; `bytes_sent` is 0 when it was there already."""

    number: int
    bytes: int
    sha256: str
    etag: str
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class Begun:
    """An open upload: its key (fixed at the first `begin`), the size of its parts, and what is there."""

    upload_id: str
    parts_done: tuple[PartDone, ...]
    key: str
    part_bytes: int


@dataclass(frozen=True, slots=True)
class Verified:
    """An object the bucket itself describes as ours. `sha256` is composite ("BASE64-N").

    `bytes_sent` counts parts the store acknowledged; `bytes_resent` those of them whose number had been
    acknowledged before; `resumes` the processes that found the upload already open.
    """

    key: str
    bytes: int
    sha256: str
    etag: str
    parts: int
    bytes_sent: int
    bytes_resent: int
    resumes: int


class UploadDriver:
    """What the uploader's effects call; blocking, for worker threads.

    One call at a time per object, but `put_part`, which may run for several numbers at once. On `gone` and on
    `conflict` call `begin` again: it says what is left to send. All raise StoreError; sqlite3.Error for the
    ledger.
    """

    def __init__(
        self,
        store: ObjectStore,
        ledger: UploadLedger,
        root: Path,
        *,
        bandwidth_bytes_per_s: int | None = None,
    ) -> None:
        """`root` is storage.root: every `path` below is relative to it and opened without following links."""
        self._store = store
        self._ledger = ledger
        self._root = root
        self._rate = TokenBucket(bandwidth_bytes_per_s) if bandwidth_bytes_per_s else None
        self._closing = threading.Event()
        self._met: set[str] = set()

    def close(self) -> None:
        """End every wait for bandwidth with a `transient` error; the ledger stays open."""
        self._closing.set()

    def begin(self, object_id: str, key: str, content_type: str, *, part_bytes: int = PART_BYTES) -> Begun:
        """Open the object's upload, or take up the one on record with what the bucket still has of it."""
        record = self._ledger.find(object_id)
        if record is not None and record.state in {"open", "completing", "verified"}:
            begun = self._resume(record)
            if begun is not None:
                return begun
        if record is not None:
            # A process that died between Create and its record, or an upload given up, left parts that cost
            # money.
            self._abort_all(record.key)
            key, part_bytes = record.key, record.part_bytes
        self._ledger.creating(object_id, key, content_type, part_bytes)
        self._met.add(object_id)
        upload_id = self._store.create(key, content_type)
        self._ledger.opened(object_id, upload_id)
        return Begun(upload_id, (), key, part_bytes)

    def put_part(self, object_id: str, number: int, path: str, offset: int, length: int) -> PartDone:
        """Send one slice of a file as a part, unless the very same is there already.

        Raises:
            StoreError: `gone` when there is no open upload (any more); `conflict` when the file does not have
            the
                slice, or the slice is not where parts of this upload begin.
        """
        record = self._open_record(object_id)
        if offset != (number - 1) * record.part_bytes or not 0 < length <= record.part_bytes:
            raise StoreError("conflict", f"{object_id}: part {number} cannot be {length} bytes at {offset}")
        data = self._read(path, offset, length)
        part = PartRecord(number, offset, length, sha256_b64(data), _md5(data))
        known = self._ledger.part(object_id, number)
        if (
            known is not None
            and known.state == "done"
            and (known.sha256, known.bytes) == (part.sha256, length)
        ):
            return PartDone(number, length, part.sha256, known.etag, 0)
        if record.state == "verified":
            self._ledger.lost(object_id, record.upload_id)
            raise StoreError(
                "gone", f"{object_id}: part {number} changed after it was stored; the upload starts over"
            )
        if record.state == "completing":
            self._ledger.reopened(object_id)
        self._ledger.intent(object_id, path, part)
        self._wait_for_bandwidth(length)
        try:
            etag = self._store.put_part(record.key, record.upload_id, number, data, part.sha256)
        except StoreError as error:
            if error.kind == "gone":
                self._ledger.lost(object_id, record.upload_id)
            raise
        if not self._ledger.done(object_id, record.upload_id, part, etag):
            raise StoreError(
                "gone", f"{object_id}: the upload started over while part {number} was under way"
            )
        return PartDone(number, length, part.sha256, etag, length)

    def finish(self, object_id: str, path: str, total_bytes: int) -> Verified:
        """Complete the object of its first `total_bytes` and compare what the bucket then says of it.

        Nothing here grows with the object: its parts' recorded hashes are used. Repeated after success it
        answers from the ledger.

        Raises:
            StoreError: `conflict` when parts are missing, the file has another size, or the bucket has
            something else.
        """
        record = self._open_record(object_id)
        if record.state == "verified" and record.total_bytes == total_bytes:
            return _verified(record)
        if record.state == "verified":
            self._ledger.lost(object_id, record.upload_id)
            raise StoreError(
                "gone", f"{object_id} changed its size after it was stored; the upload starts over"
            )
        self._check_size(path, total_bytes)
        parts = _whole(record, self._ledger.parts(object_id), total_bytes)
        self._ledger.completing(object_id, total_bytes)
        described = _expected(parts, total_bytes)
        self._complete(record, parts, described)
        head = self._store.head(record.key)
        if head is None:
            raise StoreError("transient", f"{record.key} was completed but is not to be seen yet")
        if not _same(head, described):
            self._ledger.lost(object_id, record.upload_id)
            raise StoreError(
                "conflict", f"{record.key} in the bucket is {head}, sent was {described}: sending again"
            )
        self._ledger.verified(object_id, total_bytes, described.sha256 or "", head.etag, len(parts))
        return _verified(self._open_record(object_id))

    def adopt(self, object_id: str, key: str, path: str) -> Verified | None:
        """Without a record: take the bucket's object as ours if it is this very file, read whole for that.

        Otherwise every upload of that key is aborted and None answered: `begin` then sends it. With a record:
        the verified object or None, and nothing is touched.
        """
        record = self._ledger.find(object_id)
        if record is not None:
            return _verified(record) if record.state == "verified" else None
        head = seen(self._store, key)
        if head is not None and head.bytes == self._size(path):
            part_bytes = part_bytes_for(head.bytes)
            parts = tuple(self._parts_of(path, head.bytes, part_bytes))
            if _is_file(head, parts):
                sha256 = composite_sha256([part.sha256 for part in parts])
                self._ledger.adopted(object_id, key, path, part_bytes, sha256, head.etag, parts)
                return Verified(key, head.bytes, sha256, head.etag, len(parts), 0, 0, 0)
        self._abort_all(key)
        return None

    def abort(self, object_id: str) -> None:
        """Drop the object's unfinished upload, and strays of its key. A verified object is left as it is."""
        record = self._ledger.find(object_id)
        if record is None or record.state in {"verified", "aborted"}:
            return
        self._ledger.aborting(object_id)
        if record.upload_id:
            self._store.abort(record.key, record.upload_id)
        self._abort_all(record.key)
        self._ledger.aborted(object_id)

    def inventory(self) -> tuple[UploadRecord, ...]:
        """Every object on record, oldest first; no network."""
        return self._ledger.all()

    def forget(self, object_id: str) -> None:
        """Remove the object's records, nothing in the bucket; an unknown one is forgotten already."""
        self._met.discard(object_id)
        self._ledger.forget(object_id)

    def _resume(self, record: UploadRecord) -> Begun | None:
        if record.object_id not in self._met:
            self._met.add(record.object_id)
            if record.state != "verified":
                self._ledger.resumed(record.object_id)
        if record.state == "open":
            try:
                self._compare(record)
            except StoreError as error:
                if error.kind != "gone":
                    raise
                self._ledger.lost(record.object_id, record.upload_id)
                return None
        # While completing, the id may be unknown because it succeeded: finish finds out.
        done = tuple(
            PartDone(part.number, part.bytes, part.sha256, part.etag, 0)
            for part in self._ledger.parts(record.object_id)
            if part.state == "done"
        )
        return Begun(record.upload_id, done, record.key, record.part_bytes)

    def _compare(self, record: UploadRecord) -> int:
        """Forget parts the bucket does not hold under the ETag we recorded; returns how many."""
        held = {
            (part.number, part.etag, part.bytes)
            for part in self._store.list_parts(record.key, record.upload_id)
        }
        missing = [
            part.number
            for part in self._ledger.parts(record.object_id)
            if part.state == "done" and (part.number, part.etag, part.bytes) not in held
        ]
        self._ledger.undone(record.object_id, missing)
        return len(missing)

    def _complete(self, record: UploadRecord, parts: Sequence[PartRecord], described: ObjectHead) -> None:
        refs = [PartRef(part.number, part.etag, part.sha256) for part in parts]
        try:
            self._store.complete(record.key, record.upload_id, refs)
        except StoreError as error:
            if error.kind == "gone":
                head = self._store.head(record.key)
                if head is not None and _same(head, described):
                    return
                self._ledger.lost(record.object_id, record.upload_id)
            elif error.kind == "conflict":
                self._ledger.reopened(record.object_id)
                if self._compare(record) == 0:
                    # All parts seem to be there and yet they do not make the object: only sending all again
                    # helps.
                    self._ledger.lost(record.object_id, record.upload_id)
            raise

    def _open_record(self, object_id: str) -> UploadRecord:
        record = self._ledger.find(object_id)
        if record is None or record.state not in {"open", "completing", "verified"}:
            raise StoreError("gone", f"{object_id} has no open upload: begin again")
        return record

    def _abort_all(self, key: str) -> None:
        for upload_id in self._store.list_uploads(key):
            self._store.abort(key, upload_id)

    def _wait_for_bandwidth(self, length: int) -> None:
        if self._rate is not None and self._closing.wait(self._rate.reserve(length)):
            raise StoreError("transient", "stopped while waiting for bandwidth")

    def _parts_of(self, path: str, total_bytes: int, part_bytes: int) -> Iterator[PartRecord]:
        for index, offset in enumerate(range(0, total_bytes, part_bytes)):
            data = self._read(path, offset, min(part_bytes, total_bytes - offset))
            yield PartRecord(index + 1, offset, len(data), sha256_b64(data), _md5(data))

    def _check_size(self, path: str, total_bytes: int) -> None:
        size_bytes = self._size(path)
        if size_bytes != total_bytes:
            raise StoreError("conflict", f"{path} has {size_bytes} bytes, said were {total_bytes}")

    def _size(self, path: str) -> int:
        descriptor = self._opened(path)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _read(self, path: str, offset: int, length: int) -> bytes:
        descriptor = self._opened(path)
        try:
            data = os.pread(descriptor, length, offset)
            while 0 < len(data) < length:
                more = os.pread(descriptor, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise StoreError("transient", f"{path} cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if len(data) != length:
            raise StoreError("conflict", f"{path} ends before {offset + length}: it was cut back meanwhile")
        return data

    def _opened(self, path: str) -> int:
        try:
            return open_file(self._root, path)
        except (OSError, ValueError) as error:
            raise StoreError("conflict", f"{path} cannot be opened beneath {self._root}: {error}") from error


def _whole(record: UploadRecord, parts: Sequence[PartRecord], total_bytes: int) -> tuple[PartRecord, ...]:
    """The parts of the first `total_bytes`; those of a longer film, cut back since, are left out."""
    by_number = {part.number: part for part in parts if part.state == "done"}
    chosen: list[PartRecord] = []
    for index, offset in enumerate(range(0, total_bytes, record.part_bytes)):
        part = by_number.get(index + 1)
        if part is None or part.bytes != min(record.part_bytes, total_bytes - offset):
            raise StoreError(
                "conflict", f"{record.object_id}: part {index + 1} has not been sent as it is now"
            )
        chosen.append(part)
    if not chosen:
        raise StoreError("conflict", f"{record.object_id} is empty")
    return tuple(chosen)


def _expected(parts: Sequence[PartRecord], total_bytes: int) -> ObjectHead:
    return ObjectHead(
        total_bytes,
        multipart_etag(part.md5 for part in parts),
        composite_sha256([part.sha256 for part in parts]),
    )


def _same(head: ObjectHead, described: ObjectHead) -> bool:
    """By size and composite SHA-256; where the store keeps none, by size and ETag."""
    if head.sha256 is not None:
        return (head.bytes, head.sha256) == (described.bytes, described.sha256)
    return (head.bytes, head.etag) == (described.bytes, described.etag)


def _is_file(head: ObjectHead, parts: Sequence[PartRecord]) -> bool:
    """Size and ETag as recomputed from the file, and the hash too where the store has one."""
    if not parts:
        return False
    described = _expected(parts, head.bytes)
    if "-" not in head.etag:  # stored in one request
        return len(parts) == 1 and head.etag == parts[0].md5
    return head.etag == described.etag and (head.sha256 is None or head.sha256 == described.sha256)


def _verified(record: UploadRecord) -> Verified:
    return Verified(
        record.key,
        record.total_bytes,
        record.sha256,
        record.etag,
        record.part_count,
        record.bytes_sent,
        record.bytes_resent,
        record.resumes,
    )


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
