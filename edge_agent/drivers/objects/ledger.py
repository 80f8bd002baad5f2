"""What was sent of which object: an event source in SQLite. A record is on disk before its effect runs."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from edge_agent.runtime.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from edge_agent.runtime.clock import Clock

UploadState = Literal["creating", "open", "completing", "verified", "lost", "aborting", "aborted"]
PartState = Literal["intent", "done"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    object_id TEXT PRIMARY KEY, key TEXT NOT NULL, content_type TEXT NOT NULL, part_bytes INTEGER NOT NULL,
    created TEXT NOT NULL, state TEXT NOT NULL, upload_id TEXT NOT NULL DEFAULT '', path TEXT NOT NULL DEFAULT
    '', total_bytes INTEGER NOT NULL DEFAULT 0, sha256 TEXT NOT NULL DEFAULT '', etag TEXT NOT NULL DEFAULT
    '', part_count INTEGER NOT NULL DEFAULT 0, bytes_sent INTEGER NOT NULL DEFAULT 0, bytes_resent INTEGER NOT
    NULL DEFAULT 0, resumes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS parts (
    object_id TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL, offset INTEGER NOT
    NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, md5 TEXT NOT NULL, etag TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL, times_sent INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (object_id, number)
) STRICT;
"""
_UPLOAD_COLUMNS = (
    "object_id, key, content_type, part_bytes, created, state, upload_id, path, total_bytes, sha256, etag, "
    "part_count, bytes_sent, bytes_resent, resumes"
)


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """One object on its way; `sha256` (composite), `etag`, `part_count` are final when `verified`."""

    object_id: str
    key: str
    content_type: str
    part_bytes: int
    created: str
    state: UploadState
    upload_id: str
    path: str
    total_bytes: int
    sha256: str
    etag: str
    part_count: int
    bytes_sent: int
    bytes_resent: int
    resumes: int


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One part: `intent` before it is sent, `done` with its answered ETag. Hashes: base64 and hex."""

    number: int
    offset: int
    bytes: int
    sha256: str
    md5: str
    etag: str = ""
    state: PartState = "intent"


class UploadLedger:
    """The ledger file. Every method is one transaction, synced to disk on return; threads may share it."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Open or make the file (its folder must exist).

        A file that is no ledger any more is set aside (`set_aside` tells): the objects are then adopted or
        sent anew.

        Raises:
            sqlite3.Error: it cannot be opened or written.
        """
        self._clock = clock or SystemClock()
        self.set_aside: Path | None = None
        self._lock = threading.RLock()
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            self.set_aside = path.with_name(f"{path.name}.damaged")
            path.rename(self.set_aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)

    def close(self) -> None:
        """Close the file; may be repeated."""
        with self._lock:
            self._db.close()

    def find(self, object_id: str) -> UploadRecord | None:
        """The record of an object."""
        with self._lock:
            row = self._db.execute(
                f"SELECT {_UPLOAD_COLUMNS} FROM uploads WHERE object_id = ?",  # noqa: S608 - a constant
                (object_id,),
            ).fetchone()
        return None if row is None else UploadRecord(*row)

    def all(self) -> tuple[UploadRecord, ...]:
        """Every record, oldest first."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_UPLOAD_COLUMNS} FROM uploads ORDER BY created, object_id"  # noqa: S608 - a constant
            ).fetchall()
        return tuple(UploadRecord(*row) for row in rows)

    def parts(self, object_id: str) -> tuple[PartRecord, ...]:
        """Every part on record, by number."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number, offset, bytes, sha256, md5, etag, state FROM parts"
                " WHERE object_id = ? ORDER BY number",
                (object_id,),
            ).fetchall()
        return tuple(PartRecord(*row) for row in rows)

    def part(self, object_id: str, number: int) -> PartRecord | None:
        """One part on record."""
        with self._lock:
            row = self._db.execute(
                "SELECT number, offset, bytes, sha256, md5, etag, state FROM parts"
                " WHERE object_id = ? AND number = ?",
                (object_id, number),
            ).fetchone()
        return None if row is None else PartRecord(*row)

    def creating(self, object_id: str, key: str, content_type: str, part_bytes: int) -> None:
        """An upload is about to be opened: a new record, or one starting over (key and counts are kept)."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO uploads (object_id, key, content_type, part_bytes, created, state)"
                " VALUES (?, ?, ?, ?, ?, 'creating')"
                " ON CONFLICT (object_id) DO UPDATE SET state = 'creating', upload_id = '',"
                " content_type = excluded.content_type",
                (object_id, key, content_type, part_bytes, self._now()),
            )
            self._undo_parts(object_id)

    def opened(self, object_id: str, upload_id: str) -> None:
        """The store answered with an upload id."""
        self._set(object_id, "state = 'open', upload_id = ?", upload_id)

    def reopened(self, object_id: str) -> None:
        """Completing is off: a part has to be sent again first."""
        self._set(object_id, "state = 'open'")

    def resumed(self, object_id: str) -> None:
        """A new process found the upload open."""
        self._set(object_id, "resumes = resumes + 1")

    def intent(self, object_id: str, path: str, part: PartRecord) -> None:
        """A part is about to be sent; what was known of this number no longer counts."""
        with self._transaction():
            self._db.execute("UPDATE uploads SET path = ? WHERE object_id = ?", (path, object_id))
            self._db.execute(
                "INSERT INTO parts (object_id, number, offset, bytes, sha256, md5, state)"
                " VALUES (?, ?, ?, ?, ?, ?, 'intent') ON CONFLICT (object_id, number) DO UPDATE SET"
                " offset = excluded.offset, bytes = excluded.bytes, sha256 = excluded.sha256,"
                " md5 = excluded.md5, etag = '', state = 'intent'",
                (object_id, part.number, part.offset, part.bytes, part.sha256, part.md5),
            )

    def done(self, object_id: str, upload_id: str, part: PartRecord, etag: str) -> bool:
        """A part was answered. False when upload or part is another one meanwhile: it does not count."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE parts SET state = 'done', etag = ?, times_sent = times_sent + 1"
                " WHERE object_id = ? AND number = ? AND sha256 = ? AND bytes = ?"
                " AND (SELECT upload_id FROM uploads WHERE object_id = parts.object_id) = ?",
                (etag, object_id, part.number, part.sha256, part.bytes, upload_id),
            ).rowcount
            self._db.execute(
                "UPDATE uploads SET bytes_sent = bytes_sent + ?, bytes_resent = bytes_resent + ? *"
                " coalesce((SELECT times_sent > 1 FROM parts WHERE object_id = ? AND number = ?), 0)"
                " WHERE object_id = ?",
                (part.bytes, part.bytes, object_id, part.number, object_id),
            )
        return changed == 1

    def undone(self, object_id: str, numbers: Iterable[int]) -> None:
        """These parts are not in the bucket as recorded."""
        with self._transaction():
            self._db.executemany(
                "UPDATE parts SET state = 'intent', etag = '' WHERE object_id = ? AND number = ?",
                [(object_id, number) for number in numbers],
            )

    def completing(self, object_id: str, total_bytes: int) -> None:
        """Complete is about to be called."""
        self._set(object_id, "state = 'completing', total_bytes = ?", total_bytes)

    def verified(self, object_id: str, total_bytes: int, sha256: str, etag: str, part_count: int) -> None:
        """The bucket's own figures were compared and agree. Final."""
        self._set(
            object_id,
            "state = 'verified', total_bytes = ?, sha256 = ?, etag = ?, part_count = ?",
            total_bytes,
            sha256,
            etag,
            part_count,
        )

    def adopted(
        self,
        object_id: str,
        key: str,
        path: str,
        part_bytes: int,
        sha256: str,
        etag: str,
        parts: Sequence[PartRecord],
    ) -> None:
        """An object without a record was found to be this file; nothing was sent."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO uploads (object_id, key, content_type, part_bytes, created, state, path,"
                " total_bytes, sha256, etag, part_count) VALUES (?, ?, '', ?, ?, 'verified', ?, ?, ?, ?, ?)",
                (
                    object_id,
                    key,
                    part_bytes,
                    self._now(),
                    path,
                    sum(p.bytes for p in parts),
                    sha256,
                    etag,
                    len(parts),
                ),
            )
            self._db.executemany(
                "INSERT INTO parts (object_id, number, offset, bytes, sha256, md5, etag, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'done')",
                [(object_id, p.number, p.offset, p.bytes, p.sha256, p.md5, p.md5) for p in parts],
            )

    def lost(self, object_id: str, upload_id: str) -> None:
        """This upload id is of no more use: all is to be sent again. Nothing if it is another meanwhile."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE uploads SET state = 'lost', upload_id = '' WHERE object_id = ? AND upload_id = ?",
                (object_id, upload_id),
            ).rowcount
            if changed:
                self._undo_parts(object_id)

    def aborting(self, object_id: str) -> None:
        """The upload is about to be dropped."""
        self._set(object_id, "state = 'aborting'")

    def aborted(self, object_id: str) -> None:
        """The upload is dropped."""
        with self._transaction():
            self._db.execute(
                "UPDATE uploads SET state = 'aborted', upload_id = '' WHERE object_id = ?", (object_id,)
            )
            self._undo_parts(object_id)

    def forget(self, object_id: str) -> None:
        """Remove every record of the object."""
        with self._transaction():
            self._db.execute("DELETE FROM uploads WHERE object_id = ?", (object_id,))

    def _set(self, object_id: str, assignment: str, *values: str | int) -> None:
        with self._transaction():
            self._db.execute(
                f"UPDATE uploads SET {assignment} WHERE object_id = ?",  # noqa: S608 - constants of this file
                (*values, object_id),
            )

    def _undo_parts(self, object_id: str) -> None:
        self._db.execute("UPDATE parts SET state = 'intent', etag = '' WHERE object_id = ?", (object_id,))

    def _now(self) -> str:
        return self._clock.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        mode = cast("tuple[str]", db.execute("PRAGMA journal_mode = WAL").fetchone())[0]
        if mode != "wal":
            raise sqlite3.OperationalError(
                f"the ledger's disk cannot hold a write-ahead log (journal mode {mode})"
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db
