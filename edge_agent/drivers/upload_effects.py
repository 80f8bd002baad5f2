"""The uploader's effects, done: the bucket, the ledger and the folder of assets."""

import errno
import hashlib
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.effects import (
    AbortUpload,
    BeginUpload,
    Begun,
    DropAsset,
    FetchAsset,
    FinishUpload,
    LedgerEntry,
    PartSent,
    PutPart,
    UploaderInventory,
    Verified,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from edge_agent.drivers.disk import folder_beneath, sync_folder, write_durably
from edge_agent.drivers.objects import (
    FolderStore,
    ObjectStore,
    S3Store,
    StoreError,
    StoreErrorKind,
    UploadDriver,
    UploadLedger,
    UploadRecord,
)
from edge_agent.drivers.objects import Verified as StoredObject
from edge_agent.drivers.objects.base import composite_sha256
from edge_agent.drivers.objects.s3 import S3Target

MAX_ASSET_BYTES = 256 * 1024 * 1024
_HASH = re.compile(r"[0-9a-f]{64}")
# `missing` is a bucket that is not there, `conflict` asks to begin again and compare: see UploadDriver.
_UPLOAD_KINDS: dict[StoreErrorKind, FailureKind] = {
    "transient": "transient",
    "gone": "gone",
    "denied": "denied",
    "missing": "denied",
    "conflict": "gone",
}
_ASSET_KINDS: dict[StoreErrorKind, FailureKind] = {
    "transient": "transient",
    "gone": "gone",
    "denied": "denied",
    "missing": "gone",
    "conflict": "input",
}


def store_of(settings: Settings) -> S3Store | FolderStore:
    """The bucket the settings name. No request is made; a folder is made when it is not there.

    Raises:
        StoreError: the endpoint is no address.
        OSError: the folder cannot be made.
    """
    store = settings.store
    if store.kind == "dir":
        folder = Path(store.folder) if store.folder else Path(settings.storage.root) / "bucket"
        folder.mkdir(parents=True, exist_ok=True)
        return FolderStore(folder)
    key = store.key.get_secret_value() if store.key else ""
    secret = store.secret.get_secret_value() if store.secret else ""
    return S3Store(S3Target(store.bucket, key, secret, store.endpoint, store.region))


def uploader_drivers(settings: Settings) -> "UploaderDrivers":
    """The uploader's drivers as the settings have them; opens the ledger under ``state/uploader/``.

    Raises:
        OSError, sqlite3.Error: the ledger's folder or file cannot be made.
    """
    root = Path(settings.storage.root)
    folder = root / "state" / "uploader"
    folder.mkdir(parents=True, exist_ok=True)
    files = [Path(logo.file) for logo in settings.branding.logos]
    files += [Path(settings.branding.intro)] if settings.branding.intro else []
    ledger = UploadLedger(folder / "ledger.sqlite")
    return UploaderDrivers(store_of(settings), ledger, root, files, bandwidth_bps=settings.store.bandwidth)


class UploaderDrivers:
    """Runs the uploader's effects; every one may be repeated. Threads may share it."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: UploadLedger,
        root: Path,
        branding_files: Iterable[Path] = (),
        *,
        bandwidth_bps: int | None = None,
    ) -> None:
        """``root`` is storage.root; bookings may name ``branding_files`` by hash; bandwidth in bits/s."""
        self._store = store
        self._ledger = ledger
        self._root = root
        self._branding = tuple(branding_files)
        bytes_per_s = bandwidth_bps // 8 if bandwidth_bps else None
        self._uploads = UploadDriver(store, ledger, root, bandwidth_bytes_per_s=bytes_per_s)
        self._sent: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def inventory(self) -> UploaderInventory:
        """The ledger, and the assets on disk. No network.

        Raises:
            sqlite3.Error: the ledger cannot be read.
        """
        uploads = tuple(self._entry(record) for record in self._uploads.inventory())
        folder = self._root / "assets"
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        names = [file.name for file in files if _HASH.fullmatch(file.name) and not file.is_symlink()]
        return UploaderInventory(uploads=uploads, assets={name: f"assets/{name}" for name in names})

    def run(self, effect: Effect) -> object:
        """Do one effect of the uploader, blocking.

        Raises:
            EffectFailed: transient, gone (begin again), denied, full; input for a hash that differs.
        """
        kinds = _ASSET_KINDS if isinstance(effect, FetchAsset | DropAsset) else _UPLOAD_KINDS
        with _mapped(kinds):
            match effect:
                case BeginUpload():
                    return self._begin(effect)
                case PutPart():
                    return self._put(effect)
                case FinishUpload():
                    return self._finish(effect)
                case AbortUpload():
                    self._abort(effect)
                case FetchAsset():
                    return self._fetch(effect)
                case DropAsset():
                    self._drop(effect)
                case _:
                    raise EffectFailed("bug", f"the uploader's drivers do not know {type(effect).__name__}")
        return None

    def close(self) -> None:
        """End waits for bandwidth and close the ledger."""
        self._uploads.close()
        self._ledger.close()

    def _entry(self, record: UploadRecord) -> LedgerEntry:
        done = {
            part.number: part.bytes for part in self._ledger.parts(record.object_id) if part.state == "done"
        }
        stored = None
        if record.state == "verified":
            stored = _core(
                StoredObject(
                    record.key,
                    record.total_bytes,
                    record.sha256,
                    record.etag,
                    record.part_count,
                    record.bytes_sent,
                    record.bytes_resent,
                    record.resumes,
                )
            )
        return LedgerEntry(record.object_id, record.key, record.state, done, stored)

    def _begin(self, effect: BeginUpload) -> Begun | Verified:
        if effect.path is not None:
            adopted = self._uploads.adopt(effect.object_id, effect.object_key, effect.path)
            if adopted is not None:
                return _core(adopted)
        begun = self._uploads.begin(effect.object_id, effect.object_key, effect.content_type)
        return Begun({part.number: part.bytes for part in begun.parts_done})

    def _put(self, effect: PutPart) -> PartSent:
        part = self._uploads.put_part(
            effect.object_id, effect.number, effect.path, effect.offset, effect.length
        )
        with self._lock:
            again = (effect.object_id, effect.number) in self._sent
            if part.bytes_sent:
                self._sent.add((effect.object_id, effect.number))
        return PartSent(part.number, part.bytes, part.bytes_sent, part.bytes_sent if again else 0)

    def _finish(self, effect: FinishUpload) -> Verified:
        record = self._ledger.find(effect.object_id)
        if effect.expected_hash and record is not None and record.state in ("open", "completing"):
            self._compare(effect, self._sent_hash(record, effect.bytes))
        stored = self._uploads.finish(effect.object_id, effect.path, effect.bytes)
        if effect.expected_hash:
            self._compare(effect, stored.sha256)
        return _core(stored)

    def _sent_hash(self, record: UploadRecord, total_bytes: int) -> str:
        """Hash of the object as its parts would make it; parts of a longer file, cut back since, left out."""
        parts = self._ledger.parts(record.object_id)
        return composite_sha256(
            [part.sha256 for part in parts if part.state == "done" and part.offset < total_bytes]
        )

    def _compare(self, effect: FinishUpload, sent: str) -> None:
        """Before Complete, so that the bucket never shows a film that is not the one that was written."""
        if sent != effect.expected_hash:
            text = f"{effect.object_id}: what was sent has hash {sent}, the file {effect.expected_hash}"
            raise EffectFailed("input", text)

    def _abort(self, effect: AbortUpload) -> None:
        self._uploads.abort(effect.object_id)
        with self._lock:
            self._sent = {known for known in self._sent if known[0] != effect.object_id}
        if effect.forget:
            self._uploads.forget(effect.object_id)

    def _fetch(self, effect: FetchAsset) -> str:
        relative = f"assets/{effect.sha256}"
        target = folder_beneath(self._root, "assets") / effect.sha256
        if _sha256(target) == effect.sha256:
            return relative
        for file in self._branding:
            if _sha256(file) == effect.sha256:
                write_durably(target, file.read_bytes())
                return relative
        limit = effect.bytes or MAX_ASSET_BYTES
        self._store.get(effect.key_in_bucket, target, effect.sha256, max_bytes=limit)
        return relative

    def _drop(self, effect: DropAsset) -> None:
        """The asset, and whatever was prepared from it: its name has the first 16 digits of the hash."""
        folder = self._root / "assets"
        if not folder.is_dir():
            return
        for place in folder.rglob(f"*{effect.sha256[:16]}*"):
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
        sync_folder(folder)


def _core(stored: StoredObject) -> Verified:
    return Verified(
        key=stored.key,
        bytes=stored.bytes,
        hash=stored.sha256,
        parts=stored.parts,
        bytes_sent=stored.bytes_sent,
        bytes_resent=stored.bytes_resent,
        resumes=stored.resumes,
    )


def _sha256(path: Path) -> str | None:
    """Hash of a regular file that is no link, None when there is none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@contextmanager
def _mapped(kinds: dict[StoreErrorKind, FailureKind]) -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise EffectFailed(kinds[error.kind], error.text) from error
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise EffectFailed("full" if full else "transient", f"the upload ledger: {error}") from error
    except OSError as error:
        kind: FailureKind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "transient"
        raise EffectFailed(kind, f"{error.filename or 'disk'}: {error.strerror}") from error
