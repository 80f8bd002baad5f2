"""The outbox: a file of the bridge's own, with what the store does not have yet and what it last said.

Every call is one transaction, durable when it returns, from any thread. See `edge_agent.core.effects.outbox`.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

from pydantic import JsonValue

from cloud_bridge.outbox_rows import (
    Body,
    Row,
    Settled,
    Waiting,
    booking_of,
    command_body,
    command_of,
    digest_of,
    made,
    notice_of,
    order_of,
    text_of,
    to_row,
)
from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.sqlite_db import Database, Kind, Torn
from edge_agent.core.agent import wall_ns
from edge_agent.core.effects import (
    BridgeInventory,
    Entry,
    KeepSeen,
    OutboxInventory,
    Queued,
    QueuedOrder,
    Refused,
    StoredBooking,
    StoredShare,
)
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

S = TypeVar("S")
T = TypeVar("T")
log = logging.getLogger(__name__)

OUTBOX = Kind(
    "outbox",
    (
        """
        CREATE TABLE entries (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            part TEXT NOT NULL,
            body TEXT NOT NULL,
            aside TEXT,
            aside_at TEXT
        ) STRICT;
        CREATE INDEX entries_subject ON entries (kind, subject, part) WHERE aside IS NULL;
        CREATE TABLE stored (
            subject TEXT NOT NULL,
            part TEXT NOT NULL,
            seq INTEGER NOT NULL,
            digest TEXT NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (subject, part)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE told (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            at TEXT NOT NULL,
            body TEXT NOT NULL,
            over INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE seen (
            what TEXT NOT NULL,
            id TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (what, id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        """,
    ),
    0o600,
)
KEPT = timedelta(days=60)
"""How long it is remembered what was told and stored: longer than anything of it stands on the broker."""
TELLING = timedelta(days=1)
"""How long people are told of what was set aside."""


class Outbox:
    """The file, mode 0600. One process has it at a time (the host's lock on the bridge's folder)."""

    def __init__(self, path: Path, store: str, clock: Clock | None = None) -> None:
        """Open or make the file; one that is torn or not ours is moved aside and a new one begun.

        Args:
            path: the file.
            store: which store it is for: rows seen of another one are told as such.
            clock: for tests.

        Raises:
            StoreError: it cannot be opened or written.
        """
        self._path = path
        self._store = store
        self._clock = clock or SystemClock()
        try:
            self._db = self._open()
        except Torn as error:
            log.error("%s: %s; moved aside", path, error.text)  # noqa: TRY400 - one line, no trace
            self._move_aside()
            self._db = self._open()

    def _open(self) -> Database:
        db = Database(self._path, OUTBOX)
        try:
            self._prepare(db)
        except StoreError:
            db.close()
            raise
        return db

    def _prepare(self, db: Database) -> None:
        self._path.chmod(0o600)
        found = db.row("PRAGMA quick_check(1)")
        if found is None or found[0] != "ok":
            raise Torn(f"outbox is damaged: {found[0] if found else 'unreadable'}")
        if db.row("SELECT 1 FROM sqlite_sequence") is None:
            # Numbers rise for ever, also after a file was lost: the store knows the last ones.
            first = wall_ns(self._clock.wall()) // 1_000_000
            with db.write() as rows:
                rows.execute("INSERT INTO sqlite_sequence VALUES ('entries', ?)", (first,))
        try:
            self._tidy(db)
        except StoreError as error:
            if error.kind != "full":
                raise
            log.warning("%s: cannot be tidied, the disk is full", self._path)

    def _tidy(self, db: Database) -> None:
        old = utc_text(self._clock.wall() - KEPT)
        with db.write() as rows:
            rows.execute("DELETE FROM stored WHERE at < ?", (old,))
            rows.execute("DELETE FROM told WHERE at < ? AND over", (old,))
            rows.execute("DELETE FROM entries WHERE aside_at < ?", (old,))

    def _move_aside(self) -> None:
        number = 1
        while (target := self._path.with_name(f"{self._path.name}.torn-{number}")).exists():
            number += 1
        try:
            for ending in ("-wal", "-shm", ""):
                file = self._path.with_name(self._path.name + ending)
                if file.exists():
                    file.replace(target.with_name(target.name + ending))
        except OSError as error:
            raise StoreError("permanent", f"{self._path}: cannot be moved aside ({error.strerror})") from None

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    # --- what is in it ---

    def inventory(self) -> BridgeInventory:
        """Everything the bridge begins with."""
        with self._db.read() as db:
            facts = {row["name"]: row["value"] for row in db.execute("SELECT * FROM facts")}
            seen = [(row["what"], _body(row["body"])) for row in db.execute("SELECT what, body FROM seen")]
            outbox = self._waiting(db)
        moved = "store" in facts and facts["store"] != self._store
        commands = [] if moved else _readable(command_of, [body for what, body in seen if what == "command"])
        return BridgeInventory(
            rows=tuple(_readable(booking_of, [body for what, body in seen if what == "booking"])),
            cursor=0 if moved else int(facts.get("cursor", "0")),
            automatic=facts.get("automatic") != "off",
            shares=tuple(_readable(_share, [body for what, body in seen if what == "share"])),
            commands=tuple(commands),
            outbox=outbox,
            moved=moved,
        )

    def _waiting(self, db: sqlite3.Connection) -> OutboxInventory:
        entries = [
            _entry(row) for row in db.execute("SELECT * FROM entries WHERE aside IS NULL ORDER BY seq")
        ]
        told = db.execute("SELECT id, kind, body, over FROM told").fetchall()
        since = utc_text(self._clock.wall() - TELLING)
        aside = db.execute("SELECT * FROM entries WHERE aside_at >= ? ORDER BY seq", (since,)).fetchall()
        return OutboxInventory(
            through=max((entry.seq for entry in entries), default=0),
            orders=tuple(order for found in _readable(_order, entries) for order in found),
            queued=tuple(
                (e.row.subject, e.row.part, e.seq, digest_of(e.row.body))
                for e in entries
                if e.row.kind == "result"
            ),
            stored=tuple(tuple(row) for row in db.execute("SELECT subject, part, digest FROM stored")),
            wished=frozenset(e.row.subject for e in entries if e.row.kind == "share"),
            answered=frozenset(e.row.subject for e in entries if e.row.kind == "answer"),
            told=frozenset(str(row["id"]) for row in told),
            standing=tuple(
                notice_of(_body(row["body"])) for row in told if row["kind"] == "alarm" and not row["over"]
            ),
            refused=tuple(_refused(row) for row in aside),
            trouble=self._trouble(),
        )

    def _trouble(self) -> str | None:
        torn = sorted(self._path.parent.glob(f"{self._path.name}.torn-[0-9]*"))
        names = [file.name for file in torn if not file.name.endswith(("-wal", "-shm"))]
        return f"{names[-1]} in {self._path.parent} could not be read" if names else None

    def waiting(self, through: int, limit: int) -> tuple[Waiting, ...]:
        """The oldest entries with a number up to ``through``."""
        rows = self._db.rows(
            "SELECT * FROM entries WHERE aside IS NULL AND seq <= ? ORDER BY seq LIMIT ?", (through, limit)
        )
        return tuple(_entry(row) for row in rows)

    # --- in ---

    def enqueue(self, entries: Sequence[Entry]) -> Queued:
        """Write entries, all or none; see `edge_agent.core.effects.Enqueue`.

        Raises:
            StoreError: the disk is full, or will not.
        """
        with self._db.write() as db:
            return Queued(tuple(self._put(db, to_row(entry)) for entry in entries))

    def _put(self, db: sqlite3.Connection, row: Row) -> int:
        if row.kind == "notice" and not _news(db, row):
            return 0
        if row.kind in ("result", "automatic"):
            db.execute(f"DELETE FROM entries WHERE {_SAME}", (row.kind, row.subject, row.part))  # noqa: S608
        elif row.kind in ("answer", "share", "booking"):
            sql = f"SELECT seq FROM entries WHERE {_SAME}"  # noqa: S608 - our own words
            there = db.execute(sql, (row.kind, row.subject, row.part)).fetchone()
            if there is not None:
                return int(there["seq"])
        if row.kind == "answer":
            db.execute("DELETE FROM seen WHERE what = 'command' AND id = ?", (row.subject,))
        done = db.execute(
            "INSERT INTO entries (kind, subject, part, body) VALUES (?, ?, ?, ?)",
            (row.kind, row.subject, row.part, text_of(row.body)),
        )
        return int(done.lastrowid or 0)

    def attempt(self, seq: int, before: Mapping[str, str]) -> None:
        """Keep what a change is about to change, before it is tried."""
        with self._db.write() as db:
            found = db.execute("SELECT body FROM entries WHERE seq = ?", (seq,)).fetchone()
            if found is not None:
                body = {**_body(found["body"]), "before": dict[str, JsonValue](before)}
                db.execute("UPDATE entries SET body = ? WHERE seq = ?", (text_of(body), seq))

    # --- out ---

    def settle(self, settled: Settled) -> None:
        """Entries that are through or set aside leave the queue; bookings are kept as seen."""
        now = utc_text(self._clock.wall())
        with self._db.write() as db:
            for entry in settled.done:
                db.execute("DELETE FROM entries WHERE seq = ?", (entry.seq,))
                if entry.row.kind == "result":
                    _note_stored(db, entry, now)
            for entry, why in settled.aside:
                db.execute("UPDATE entries SET aside = ?, aside_at = ? WHERE seq = ?", (why, now, entry.seq))
            _keep_newer(db, settled.rows)

    def keep_rows(self, rows: Iterable[StoredBooking]) -> None:
        """Keep bookings as the store has them now."""
        with self._db.write() as db:
            _keep_newer(db, rows)

    def keep_seen(self, seen: KeepSeen) -> None:
        """See `edge_agent.core.effects.KeepSeen`."""
        facts = {
            "store": self._store,
            "cursor": str(seen.cursor),
            "automatic": "on" if seen.automatic else "off",
        }
        with self._db.write() as db:
            for name, value in facts.items():
                db.execute(
                    "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
            _keep(db, "booking", ((row.id, cast("Body", asdict(row))) for row in seen.rows))
            _keep(db, "share", ((share.booking_id, cast("Body", asdict(share))) for share in seen.shares))
            _keep(db, "command", ((command.id, command_body(command)) for command in seen.commands))
            for booking_id in seen.gone:
                db.execute("DELETE FROM seen WHERE what IN ('booking', 'share') AND id = ?", (booking_id,))


_SAME = "aside IS NULL AND kind = ? AND subject = ? AND part = ?"


def _news(db: sqlite3.Connection, row: Row) -> bool:
    """Whether a notice was never told; the end of an alarm ends what stood."""
    notice = notice_of(row.body)
    done = db.execute(
        "INSERT INTO told VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (notice.id, notice.kind, notice.subject, notice.at, text_of(row.body), notice.kind != "alarm"),
    )
    if notice.kind == "recovered":
        db.execute("UPDATE told SET over = 1 WHERE id = ?", (notice.id.replace(":recovered:", ":alarm:", 1),))
    return done.rowcount == 1


def _note_stored(db: sqlite3.Connection, entry: Waiting, now: str) -> None:
    db.execute(
        "INSERT INTO stored VALUES (?, ?, ?, ?, ?) ON CONFLICT (subject, part) DO UPDATE SET"
        " seq = excluded.seq, digest = excluded.digest, at = excluded.at WHERE seq < excluded.seq",
        (entry.row.subject, entry.row.part, entry.seq, digest_of(entry.row.body), now),
    )


def _keep_newer(db: sqlite3.Connection, rows: Iterable[StoredBooking]) -> None:
    for row in rows:
        db.execute(
            "INSERT INTO seen VALUES ('booking', ?, ?) ON CONFLICT (what, id) DO UPDATE SET"
            " body = excluded.body WHERE json_extract(body, '$.changed') < ?",
            (row.id, text_of(cast("Body", asdict(row))), row.changed),
        )


def _keep(db: sqlite3.Connection, what: str, bodies: Iterable[tuple[str, Body]]) -> None:
    for key, body in bodies:
        db.execute(
            "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT (what, id) DO UPDATE SET body = excluded.body",
            (what, key, text_of(body)),
        )


def _body(text: str) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", json.loads(text))


def _entry(row: sqlite3.Row) -> Waiting:
    return Waiting(int(row["seq"]), Row(row["kind"], row["subject"], row["part"], _body(row["body"])))


def _refused(row: sqlite3.Row) -> Refused:
    return Refused(int(row["seq"]), row["kind"], row["subject"], row["aside"], row["aside_at"])


def _order(entry: Waiting) -> tuple[QueuedOrder, ...]:
    order = order_of(entry.row)
    return () if order is None else (QueuedOrder(entry.seq, order),)


def _share(body: Body) -> StoredShare:
    return made(StoredShare, body)


def _readable(read: Callable[[S], T], bodies: Iterable[S]) -> list[T]:
    """What can be read; the rest was written by another version, and is named in the log."""
    found: list[T] = []
    for body in bodies:
        try:
            found.append(read(body))
        except (ValueError, KeyError) as error:
            log.warning("outbox: a row is not understood and left alone: %s", error)
    return found
