"""The SQLite file below the store: opened, migrated, and its errors translated."""

import os
import sqlite3
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.sqlite_schema import MIGRATIONS
from edge_agent.core.agent import FailureKind
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

BUSY_MS = 5000
_TORN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}  # the last: no such table
_GONE_WRONG = {*_TORN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}


class Torn(StoreError):
    """The file is no database, damaged, or of a newer version: no trying again will help."""

    def __init__(self, text: str) -> None:
        super().__init__("permanent", text)


@dataclass(frozen=True)
class Kind:
    """A kind of file: what it is called, its steps (only ever appended to), its mode."""

    what: str
    steps: tuple[str, ...]
    mode: int


STORE = Kind("bookings' file", MIGRATIONS, 0o660)
"""The store's: it holds names and addresses, and the bridge's and the API's accounts share it."""


class Database:
    """One connection behind a lock. Several processes may have the file open."""

    def __init__(self, path: Path, kind: Kind = STORE) -> None:
        """Open or make the file and bring it up to date.

        Raises:
            StoreError: it cannot be opened.
            Torn: it is no database, or of a newer version.
        """
        self._kind = kind
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, kind.mode)
            try:
                _hand_over(descriptor, path.parent, kind.mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError("permanent", f"{path}: cannot be opened ({error.strerror})") from None
        self._db = sqlite3.connect(
            path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        try:
            with self.translated():
                self._set_up()
        except StoreError:
            self._db.close()
            raise

    def _set_up(self) -> None:
        # Switching to WAL needs the file alone and does not wait for it: the other process is at it too.
        for attempt in Retrying(
            retry=retry_if_exception(_is_locked),
            wait=wait_fixed(0.02),
            stop=stop_after_delay(BUSY_MS / 1000),
            reraise=True,
        ):
            with attempt:
                self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA foreign_keys=ON")
        with self.write() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            steps = self._kind.steps
            if version > len(steps):
                raise Torn(f"{self._kind.what} is of version {version}, this software knows {len(steps)}")
            for number, step in enumerate(steps[version:], version + 1):
                for statement in statements(step):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={number}")

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """One transaction that holds the write lock from its beginning; durable when it returns."""
        with self._lock, self.translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has ended it by itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        """One consistent view."""
        with self._lock, self.translated():
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of one query."""
        with self.read() as db:
            return db.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row of one query."""
        found = self.rows(sql, values)
        return found[0] if found else None

    @contextmanager
    def translated(self) -> Generator[None]:
        """SQLite's errors as `StoreError`."""
        try:
            yield
        except sqlite3.Error as error:
            text = f"{self._kind.what}: {error}"
            raise (Torn(text) if _code(error) in _TORN else StoreError(_kind(error), text)) from error

    def close(self) -> None:
        """Close the file; may be repeated."""
        with self._lock:
            self._db.close()


def _hand_over(descriptor: int, folder: Path, mode: int) -> None:
    """What root made is its folder's owner's: a command typed before the first start would lock all out."""
    owner = folder.stat()
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fchmod(descriptor, mode)


def statements(step: str) -> Iterator[str]:
    """The statements of a step; a trigger's body is part of its own."""
    pending = ""
    for part in step.split(";"):
        pending += f"{part};"
        if part.strip() and sqlite3.complete_statement(pending):
            yield pending
            pending = ""


class InFile:
    """What every store in the file starts from: the database, a clock, and the present as rows have it."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Open or make the file, the same for all stores of a device.

        Raises:
            StoreError: it cannot be opened, is no database, or is of a newer version.
        """
        self._db = Database(path)
        self._clock = clock or SystemClock()

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def _now(self, later_s: float = 0) -> str:
        return utc_text(self._clock.wall() + timedelta(seconds=later_s))


def _code(error: BaseException) -> int:
    # Extended codes have the plain one in their low byte.
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _kind(error: sqlite3.Error) -> FailureKind:
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return "full"
    if code in _GONE_WRONG:
        return "permanent"
    if code == sqlite3.SQLITE_CONSTRAINT:
        return "input"
    return "transient"
