"""The device's half of the SQLite store: what the bridge asks for, and what it brings."""

import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from cloud_bridge.stores.base import Conflict, Missing
from cloud_bridge.stores.sqlite_db import Database
from cloud_bridge.stores.sqlite_media import wearing
from cloud_bridge.stores.sqlite_messages import write_notice
from cloud_bridge.stores.sqlite_rows import booking_of, count_change, is_automatic
from edge_agent.core.effects import Notice, Polled, ResultRow, StoredCommand, StoredShare
from edge_agent.core.settings import Device
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

PAGE = 500
"""Rows of a poll's answer; the rest comes with the next."""

_CHANGES = """
    SELECT changed, 'booking' AS what, id FROM bookings WHERE changed > ?1
    UNION ALL SELECT changed, 'share', booking_id FROM shares WHERE changed > ?1
    UNION ALL SELECT changed, 'command', id FROM device_commands WHERE changed > ?1 AND answer IS NULL
    ORDER BY changed LIMIT ?2
"""
_SHARES = """
    SELECT s.* FROM shares s WHERE s.share_id = (
        SELECT o.share_id FROM shares o WHERE o.booking_id = s.booking_id
        ORDER BY o.revoked_at IS NOT NULL, o.expires_at <= ?1, o.created_at DESC, o.rowid DESC LIMIT 1)
    AND s.booking_id IN (SELECT value FROM json_each(?2))
"""


@dataclass(frozen=True)
class _Page:
    """Ids that changed, by what they are; ``last``: the number of the last of them."""

    ids: Mapping[str, frozenset[str]]
    last: int
    complete: bool


class DeviceRows:
    """`cloud_bridge.stores.device.DeviceStore` in a file, and its polling."""

    def __init__(self, path: Path, clock: Clock | None = None, device: Device | None = None) -> None:
        """Open or make the file.

        Args:
            path: the file.
            clock: for tests.
            device: whose bookings are in it; only the bridge has to say.

        Raises:
            StoreError: it cannot be opened, is no database, or is of a newer version.
        """
        self._db = Database(path)
        self._clock = clock or SystemClock()
        self._device = device or Device()

    def close(self) -> None:
        self._db.close()

    def _now(self) -> str:
        return utc_text(self._clock.wall())

    # --- out ---

    def poll(self, cursor: int) -> Polled:
        with self._db.read() as db:
            newest = int(db.execute("SELECT value FROM counters WHERE name = 'changed'").fetchone()[0])
            page = _page(db, cursor if cursor <= newest else 0)
            rows = _named(db, "bookings", "id", page.ids["booking"])
            bookings = wearing(db, (booking_of(row).stored for row in rows))
            shares = db.execute(_SHARES, (self._now(), json.dumps(sorted(page.ids["share"])))).fetchall()
            return Polled(
                cursor=newest if page.complete else page.last,
                rows=tuple(sorted(bookings, key=attrgetter("changed"))),
                count=int(db.execute("SELECT count(*) FROM bookings").fetchone()[0]),
                automatic=is_automatic(db),
                complete=page.complete,
                shares=tuple(_share(row) for row in shares),
                commands=tuple(
                    _command(row) for row in _named(db, "device_commands", "id", page.ids["command"])
                ),
            )

    # --- in ---

    def save_result(self, booking_id: str, kind: str, body: Mapping[str, JsonValue]) -> bool:
        text = _json(body)
        with self._db.write() as db:
            done = db.execute(
                "INSERT INTO results (booking_id, kind, body, stored_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (booking_id, kind)"
                " DO UPDATE SET body = excluded.body, stored_at = excluded.stored_at"
                " WHERE body <> excluded.body",
                (booking_id, kind, text, self._now()),
            )
            return done.rowcount == 1

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        now, news = self._now(), 0
        with self._db.write() as db:
            for row in rows:
                done = db.execute(
                    "INSERT INTO results (booking_id, kind, body, stored_at, seq) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (booking_id, kind) DO UPDATE SET body = excluded.body,"
                    " stored_at = excluded.stored_at, seq = excluded.seq WHERE seq < excluded.seq",
                    (row.booking_id, row.kind, _json(row.body), now, row.seq),
                )
                news += done.rowcount
                if row.kind == "availability" and done.rowcount:
                    self._seen(db, now, row.body.get("state"))
            if rows:
                self._seen(db, now, None)
        return news

    def _seen(self, db: sqlite3.Connection, now: str, state: JsonValue) -> None:
        db.execute(
            "INSERT INTO device_status (device, org, seen_at, state) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (device) DO UPDATE SET seen_at = excluded.seen_at,"
            " state = coalesce(excluded.state, state)",
            (self._device.id, self._device.org, now, state if isinstance(state, str) else None),
        )

    def add_notices(self, notices: Sequence[Notice]) -> int:
        now = self._now()
        with self._db.write() as db:
            return sum(write_notice(db, self._device.id, notice, now) for notice in notices)

    # --- commands from afar ---

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        with self._db.write() as db:
            there = db.execute("SELECT answer FROM device_commands WHERE id = ?", (command_id,)).fetchone()
            if there is None:
                raise Missing(f"there is no command {command_id}")
            if there["answer"] is not None:
                return False
            db.execute(
                "UPDATE device_commands SET answer = ?, answered_at = ? WHERE id = ?",
                (_json(answer), self._now(), command_id),
            )
            return True

    def order_command(self, command: Mapping[str, JsonValue]) -> str:
        command_id = command.get("id") or "c" + secrets.token_hex(10)
        wanted = {name: command.get(name) for name in ("target", "name", "deadline", "by")}
        if not isinstance(command_id, str) or not wanted["target"] or not wanted["name"]:
            raise Conflict("a command needs a target and a name")
        row = {**wanted, "args": _json(command.get("args") or {})}
        with self._db.write() as db:
            there = db.execute("SELECT * FROM device_commands WHERE id = ?", (command_id,)).fetchone()
            if there is not None and {name: there[name] for name in row} != row:
                raise Conflict(f"there is another command {command_id}")
            if there is None:
                columns = {"id": command_id, **row, "created_at": self._now(), "changed": count_change(db)}
                names, holes = ", ".join(f'"{name}"' for name in columns), ", ".join("?" for _ in columns)
                sql = f"INSERT INTO device_commands ({names}) VALUES ({holes})"  # noqa: S608 - our own columns
                db.execute(sql, tuple(columns.values()))
        return command_id


def _page(db: sqlite3.Connection, since: int) -> _Page:
    found = db.execute(_CHANGES, (since, PAGE + 1)).fetchall()
    page, complete = found[:PAGE], len(found) <= PAGE
    ids = {
        what: frozenset(str(row["id"]) for row in page if row["what"] == what)
        for what in ("booking", "share", "command")
    }
    return _Page(ids, int(page[-1]["changed"]) if page else since, complete)


def _named(db: sqlite3.Connection, table: str, column: str, ids: Iterable[str]) -> list[sqlite3.Row]:
    sql = f"SELECT * FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own
    return db.execute(sql, (json.dumps(sorted(ids)),)).fetchall()


def _share(row: sqlite3.Row) -> StoredShare:
    return StoredShare(
        booking_id=row["booking_id"],
        share_id=row["share_id"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        delivered_at=row["delivered_at"],
        changed=int(row["changed"]),
    )


def _command(row: sqlite3.Row) -> StoredCommand:
    return StoredCommand(
        id=row["id"],
        target=row["target"],
        name=row["name"],
        args=cast("dict[str, JsonValue]", json.loads(row["args"])),
        deadline=row["deadline"],
        created_at=row["created_at"],
        changed=int(row["changed"]),
    )


def _json(value: JsonValue | Mapping[str, JsonValue]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
