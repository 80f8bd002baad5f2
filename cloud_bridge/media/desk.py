"""The way of an upload: quarantine, the worker, the bucket, the row. One at a time, and not many waiting."""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from cloud_bridge.media.answer import answer_of, file_of
from cloud_bridge.media.bounds import MIB, Bounds, Refused, Wanted
from cloud_bridge.media.quarantine import Quarantine
from cloud_bridge.media.sandbox import Running, look_at
from cloud_bridge.objects.assets import AssetBucket, asset_key, assets_of
from cloud_bridge.stores.media import Look, MediaFile, MediaKind, MediaRow, Slot, UserMediaStore, Whose
from edge_agent.core.settings import Settings

MOST_WAITING = 8
MOST_OF_ONE = 3
SPARE_BYTES = 512 * MIB
MEDIA_TYPES: Mapping[MediaKind, str] = {"png": "image/png", "mp4": "video/mp4"}
_REMEMBERED = 1000

Reason = Literal["busy", "many", "full", "large"]

log = logging.getLogger(__name__)


class Turned(Exception):
    """An upload is not taken now, whatever is in it. ``why``: one sentence for whoever sends it."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason: Reason = reason
        self.why = why


class At(NamedTuple):
    """A slot of somebody's."""

    whose: Whose
    slot: Slot


class Upload:
    """One upload on its way in. Written by one thread at a time; ends by `Desk.look` or `Desk.discard`."""

    def __init__(self, at: At, job: Path, limit_bytes: int) -> None:
        self.at = at
        self.job = job
        self._limit = limit_bytes
        self._bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(job / "in", flags, 0o600), "wb")

    def write(self, piece: bytes) -> None:
        """Take the next bytes as they are.

        Raises:
            Turned: ``large``, there are too many.
            OSError: the disk will not.
        """
        self._bytes += len(piece)
        if self._bytes > self._limit:
            raise too_large(self._limit)
        self._file.write(piece)

    def close(self) -> None:
        """All bytes are in. May be repeated."""
        self._file.close()


def wanted_in(slot: Slot) -> Wanted:
    """What a slot takes."""
    return "film" if slot == "intro" else "picture"


def too_large(limit_bytes: int) -> Turned:
    """More was sent than is taken."""
    return Turned("large", f"This file is too large: at most {limit_bytes // MIB} MB are taken here.")


def busy() -> Turned:
    """The last upload for the same slot is not done."""
    return Turned("busy", "The last upload for this slot is still being looked at: wait for it.")


class Desk:
    """Takes uploads and brings them to an end. Threads may share it; `close` ends what is under way."""

    def __init__(
        self,
        root: Path,
        store: UserMediaStore,
        bucket: Callable[[], AssetBucket],
        org: str,
        bounds: Bounds | None = None,
    ) -> None:
        """Nothing is made or started before the first upload, but what a dead process left is swept.

        Args:
            root: folder of the quarantine; made when it is needed.
            store: gets the rows.
            bucket: gets the files; called once, at the first.
            org: first part of every key.
            bounds: limits of files and of the worker.
        """
        self.bounds = bounds or Bounds()
        self._root = root
        self._store = store
        self._make_bucket = bucket
        self._org = org
        self._lock = threading.Lock()
        self._quarantine = _swept(root)
        self._bucket: AssetBucket | None = None
        self._under_way: dict[At, Upload] = {}
        self._refused: dict[At, str] = {}
        self._running = Running()
        self._closed = False
        self._said_open = ""
        # One thread for as long as this lives: a worker dies with the thread that started it.
        self._thread = ThreadPoolExecutor(1, "media")

    # --- what is where ---

    def looking(self, at: At) -> bool:
        """Whether an upload for this slot is on its way."""
        with self._lock:
            return at in self._under_way

    def refused(self, at: At) -> str | None:
        """Why the last upload for this slot was not taken; None when it was, or is not known any more."""
        with self._lock:
            return self._refused.get(at)

    def forget(self, at: At) -> None:
        """Forget why an upload was not taken."""
        with self._lock:
            self._refused.pop(at, None)

    # --- in ---

    def open(self, at: At) -> Upload:
        """Begin an upload.

        Raises:
            Turned: ``busy``, the last one for this slot is still on its way; ``many``, too many are waiting;
                ``full``, the disk is nearly full.
            OSError: the disk will not.
        """
        limit = self.bounds.upload_bytes(wanted_in(at.slot))
        with self._lock:
            self._admit(at)
            if self._quarantine is None:
                self._quarantine = Quarantine(self._root)
            if self._quarantine.free_bytes() < limit + SPARE_BYTES:
                raise Turned("full", "There is too little room on this server's disk for uploads.")
            job = self._quarantine.new_job()
            try:
                upload = Upload(at, job, limit)
            except OSError:
                shutil.rmtree(job, ignore_errors=True)
                raise
            self._under_way[at] = upload
            return upload

    def _admit(self, at: At) -> None:
        if self._closed:
            raise Turned("many", "This server is just ending; try again in a minute.")
        if at in self._under_way:
            raise busy()
        of_one = sum(1 for other in self._under_way if other.whose == at.whose)
        if len(self._under_way) >= MOST_WAITING or of_one >= MOST_OF_ONE:
            raise Turned("many", "Too many uploads are waiting; try again in a minute.")

    def discard(self, upload: Upload) -> None:
        """An upload came to nothing on its way in."""
        self._end(upload)

    # --- through ---

    def look(self, upload: Upload, look: Look | None) -> "Future[MediaRow]":
        """Hand an upload to the worker; the row it becomes, in its turn.

        The future's exceptions: `Refused`; and when nobody is to blame who sent it, `WorkerBroke`,
        `cloud_bridge.objects.client.BucketError`, `cloud_bridge.stores.base.StoreError`, OSError.
        """
        try:
            upload.close()
            return self._thread.submit(self._bring_through, upload, look)
        except BaseException:
            self._end(upload)
            raise

    def close(self) -> None:
        """End what is under way and remove it. May be repeated."""
        with self._lock:
            self._closed = True
        self._running.stop()
        self._thread.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for upload in self._under_way.values():
                upload.close()
            self._under_way.clear()
            if self._quarantine is not None:
                self._quarantine.close()
                self._quarantine = None

    def _bring_through(self, upload: Upload, look: Look | None) -> MediaRow:
        at = upload.at
        try:
            made = self._made(upload)
            if self._bucket is None:
                self._bucket = self._make_bucket()
            # Before it is put: whoever removes what nobody names must know that somebody is about to.
            self._store.claim_asset(made.sha256)
            key = asset_key(self._org, made.sha256)
            self._bucket.put(key, upload.job / "out", made.sha256, MEDIA_TYPES[made.kind])
            row = self._store.set_media(at.whose, at.slot, made, look)
        except Refused as refusal:
            self._remember(at, refusal.why)
            raise
        else:
            self.forget(at)
            return row
        finally:
            self._end(upload)

    def _made(self, upload: Upload) -> MediaFile:
        wanted = wanted_in(upload.at.slot)
        answer = answer_of(look_at(upload.job, wanted, self.bounds, self._running))
        said = ", ".join(f"{measure} ({why})" for measure, why in answer.open.items())
        if said and said != self._said_open:
            log.warning("media: this system refuses parts of the worker's confinement: %s", said)
        self._said_open = said
        return file_of(answer, upload.job / "out", wanted, self.bounds)

    def _remember(self, at: At, why: str) -> None:
        with self._lock:
            self._refused.pop(at, None)
            self._refused[at] = why
            while len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]

    def _end(self, upload: Upload) -> None:
        with self._lock:
            if self._under_way.get(upload.at) is upload:
                del self._under_way[upload.at]
        upload.close()
        shutil.rmtree(upload.job, ignore_errors=True)


def _swept(root: Path) -> Quarantine | None:
    """The quarantine, if there ever was one here: what a dead process left in it is private."""
    try:
        return Quarantine(root) if root.exists() else None
    except OSError as error:
        log.warning("media: %s cannot be swept (%s)", root, error.strerror)
        return None


def desk_of(settings: Settings, store: UserMediaStore) -> Desk:
    """The desk of a server, its quarantine beside the embedded store."""
    root = Path(settings.storage.root) / "cloud" / "quarantine"
    return Desk(root, store, lambda: assets_of(settings), settings.device.org)
