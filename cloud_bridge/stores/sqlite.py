"""The embedded store: one SQLite file, shared by the bridge's process and the API's."""

import hashlib
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from cloud_bridge.stores.base import (
    BookingQuery,
    BookingRow,
    Conflict,
    Counter,
    Missing,
    NewBooking,
    Overlap,
    Position,
    Principal,
    RecordingRow,
    Role,
    ShareRow,
    Stale,
    StoredResult,
    new_token,
    token_hash,
)
from cloud_bridge.stores.sqlite_db import Database
from cloud_bridge.stores.sqlite_media import wearing
from edge_agent.core.effects import Polled, StoredBooking
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import ID_PATTERN, utc_text

_CHANGEABLE = frozenset(
    {"start", "end", "status", "record", "audience", "layout", "deliver", "title", "contacts"}
)
_SHARE = "s.share_id, s.booking_id, s.created_at, s.expires_at, s.revoked_at, s.views, s.downloads"
_FIRST = ("", "")
_LAST = ("~", "~")


def sqlite_path(settings: Settings) -> Path:
    """Where the embedded store of a device is."""
    return Path(settings.storage.root) / "cloud" / "store.sqlite"


class SqliteStore:
    """`cloud_bridge.stores.base.Store` in a file."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """Open or make the file.

        Raises:
            StoreError: it cannot be opened, is no database, or is of a newer version.
        """
        self._db = Database(path)
        self._clock = clock or SystemClock()

    def close(self) -> None:
        self._db.close()

    def _now(self) -> str:
        return utc_text(self._clock.wall())

    # --- bookings ---

    def poll(self, cursor: int) -> Polled:
        with self._db.read() as db:
            newest = int(db.execute("SELECT value FROM counters WHERE name = 'changed'").fetchone()[0])
            since = cursor if cursor <= newest else 0
            found = db.execute(
                "SELECT * FROM bookings WHERE changed > ? ORDER BY changed", (since,)
            ).fetchall()
            rows = wearing(db, (_booking(row).stored for row in found))
            count = int(db.execute("SELECT count(*) FROM bookings").fetchone()[0])
            automatic = _automatic(db)
        return Polled(newest, rows, count, automatic)

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        now = self._now()
        if new.end < new.start:
            raise Conflict(f"{new.id}: end {utc_text(new.end)} is before start {utc_text(new.start)}")
        with self._db.write() as db:
            there = db.execute("SELECT request FROM bookings WHERE id = ?", (new.id,)).fetchone()
            if there is not None:
                if there["request"] == _digest(new):
                    return _must(db, new.id), False
                raise Conflict(f"there is another booking {new.id}")
            row = {**_asked(new), "status": "confirmed", "request": _digest(new), "created_at": now}
            _refuse_overlap(db, new.id, row)
            row["changed"] = _count_change(db)
            columns, holes = ", ".join(f'"{name}"' for name in row), ", ".join("?" for _ in row)
            db.execute(f"INSERT INTO bookings ({columns}) VALUES ({holes})", tuple(row.values()))  # noqa: S608
            return _must(db, new.id), True

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        unknown = set(changes) - _CHANGEABLE
        if unknown:
            raise Conflict(f"{', '.join(sorted(unknown))} of a booking cannot be changed")
        with self._db.write() as db:
            row = dict(_raw(db, booking_id))
            if seen is not None and row["changed"] != seen:
                raise Stale(f"{booking_id} has been changed meanwhile")
            changed = {**row, **{name: _plain(value) for name, value in changes.items()}}
            if changed == row:
                return _must(db, booking_id)
            if str(changed["end"]) < str(changed["start"]):
                raise Conflict(f"{booking_id}: end {changed['end']} is before start {changed['start']}")
            if changed["status"] != row["status"]:
                changed["cancelled_at"] = self._now() if changed["status"] == "cancelled" else None
            if any(changed[name] != row[name] for name in ("start", "end", "status")):
                _refuse_overlap(db, booking_id, changed, before=row)
            changed["changed"] = _count_change(db)
            columns = ", ".join(f'"{name}" = ?' for name in changed)
            db.execute(
                f"UPDATE bookings SET {columns} WHERE id = ?",  # noqa: S608 - our own columns
                (*changed.values(), booking_id),
            )
            return _must(db, booking_id)

    def booking(self, booking_id: str) -> BookingRow | None:
        with self._db.read() as db:
            return _find(db, booking_id)

    def bookings(self, query: BookingQuery) -> tuple[BookingRow, ...]:
        conditions, values = ['("start", id) > (?, ?)'], [*(query.after or _FIRST)]
        for condition, value in (
            ('"end" > ?', utc_text(query.begin) if query.begin else None),
            ('"start" < ?', utc_text(query.end) if query.end else None),
            ("status = ?", query.status),
            ("owner = ?", query.owner),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = " AND ".join(conditions)
        sql = f'SELECT * FROM bookings WHERE {where} ORDER BY "start", id LIMIT ?'  # noqa: S608 - own words only
        return tuple(_booking(row) for row in self._db.rows(sql, [*values, query.limit]))

    def automatic(self) -> bool:
        with self._db.read() as db:
            return _automatic(db)

    def set_automatic(self, *, on: bool) -> None:
        with self._db.write() as db:
            db.execute(
                "INSERT INTO settings VALUES ('automatic', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                ("on" if on else "off",),
            )

    # --- results ---

    def save_result(self, booking_id: str, kind: str, body: Mapping[str, JsonValue]) -> bool:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        with self._db.write() as db:
            done = db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT (booking_id, kind)"
                " DO UPDATE SET body = excluded.body, stored_at = excluded.stored_at"
                " WHERE body <> excluded.body",
                (booking_id, kind, text, self._now()),
            )
            return done.rowcount == 1

    def results(self, booking_id: str) -> Mapping[str, StoredResult]:
        with self._db.read() as db:
            return _results(db, booking_id)

    def recordings(self, owner: str | None, limit: int, after: Position | None) -> tuple[RecordingRow, ...]:
        with self._db.read() as db:
            found = db.execute(
                "SELECT b.* FROM bookings b JOIN results r ON r.booking_id = b.id AND r.kind = 'recording'"
                ' WHERE (b."start", b.id) < (?, ?) AND b.owner IS coalesce(?, b.owner)'
                ' ORDER BY b."start" DESC, b.id DESC LIMIT ?',
                (*(after or _LAST), owner, limit),
            ).fetchall()
            return tuple(RecordingRow(_booking(row), _results(db, row["id"])) for row in found)

    # --- shares ---

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        with self._db.write() as db:
            _must(db, booking_id)
            there = db.execute(
                f"SELECT {_SHARE} FROM shares s WHERE s.booking_id = ?"  # noqa: S608 - own words only
                " ORDER BY s.revoked_at IS NOT NULL, s.rowid LIMIT 1",
                (booking_id,),
            ).fetchone()
            return _share(there) if there else self._new_share(db, booking_id, expires_at)

    def issue_link(self, booking_id: str, expires_at: datetime) -> tuple[ShareRow, str]:
        token = new_token()
        with self._db.write() as db:
            _must(db, booking_id)
            waiting = db.execute(
                f"SELECT {_SHARE} FROM shares s WHERE s.booking_id = ?"  # noqa: S608 - own words only
                " AND s.revoked_at IS NULL AND s.expires_at > ?"
                " AND NOT EXISTS (SELECT 1 FROM share_tokens t WHERE t.share_id = s.share_id) LIMIT 1",
                (booking_id, self._now()),
            ).fetchone()
            share = _share(waiting) if waiting else self._new_share(db, booking_id, expires_at)
            db.execute("INSERT INTO share_tokens VALUES (?, ?)", (token_hash(token), share.share_id))
        return share, token

    def _new_share(self, db: sqlite3.Connection, booking_id: str, expires_at: datetime) -> ShareRow:
        share = ShareRow(
            "s" + secrets.token_hex(8), booking_id, self._now(), utc_text(expires_at), None, 0, 0
        )
        db.execute(
            "INSERT INTO shares (share_id, booking_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
            (share.share_id, booking_id, share.created_at, share.expires_at),
        )
        return share

    def share_of(self, token: str) -> ShareRow | None:
        row = self._db.row(
            f"SELECT {_SHARE} FROM share_tokens t JOIN shares s USING (share_id)"  # noqa: S608 - own words
            " WHERE t.token_hash = ?",
            (token_hash(token),),
        )
        return _share(row) if row else None

    def share(self, share_id: str) -> ShareRow | None:
        row = self._db.row(f"SELECT {_SHARE} FROM shares s WHERE s.share_id = ?", (share_id,))  # noqa: S608
        return _share(row) if row else None

    def shares(self, owner: str | None, limit: int, after: Position | None) -> tuple[ShareRow, ...]:
        rows = self._db.rows(
            f"SELECT {_SHARE} FROM shares s JOIN bookings b ON b.id = s.booking_id"  # noqa: S608 - own words
            " WHERE (s.created_at, s.share_id) < (?, ?) AND b.owner IS coalesce(?, b.owner)"
            " ORDER BY s.created_at DESC, s.share_id DESC LIMIT ?",
            (*(after or _LAST), owner, limit),
        )
        return tuple(_share(row) for row in rows)

    def revoke_share(self, share_id: str) -> ShareRow:
        with self._db.write() as db:
            db.execute(
                "UPDATE shares SET revoked_at = coalesce(revoked_at, ?) WHERE share_id = ?",
                (self._now(), share_id),
            )
        share = self.share(share_id)
        if share is None:
            raise Missing(f"there is no share {share_id}")
        return share

    def count(self, share_id: str, what: Counter) -> None:
        column = {"views": "views", "downloads": "downloads"}[what]
        with self._db.write() as db:
            db.execute(f"UPDATE shares SET {column} = {column} + 1 WHERE share_id = ?", (share_id,))  # noqa: S608

    # --- keys ---

    def make_token(self, role: Role, user: str) -> str:
        if not re.fullmatch(ID_PATTERN, user):
            raise Conflict(f"{user!r} is no id: {ID_PATTERN} expected")
        token = new_token()
        with self._db.write() as db:
            db.execute(
                "INSERT INTO api_tokens VALUES (?, ?, ?, ?, NULL)",
                (token_hash(token), role, user, self._now()),
            )
        return token

    def principal(self, token: str) -> Principal | None:
        row = self._db.row(
            "SELECT user, role FROM api_tokens WHERE token_hash = ? AND revoked_at IS NULL",
            (token_hash(token),),
        )
        return Principal(str(row["user"]), cast("Role", row["role"])) if row else None

    def revoke_tokens(self, user: str) -> int:
        with self._db.write() as db:
            done = db.execute(
                "UPDATE api_tokens SET revoked_at = ? WHERE user = ? AND revoked_at IS NULL",
                (self._now(), user),
            )
            return done.rowcount


# --- rows ---


def _asked(new: NewBooking) -> dict[str, object]:
    """A request as the file has it."""
    return {field.name: _plain(getattr(new, field.name)) for field in fields(new)}


def _digest(new: NewBooking) -> str:
    """What tells the same request from another, also after the row was changed."""
    return hashlib.sha256(json.dumps(_asked(new), sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, tuple | list):
        return json.dumps(list(cast("tuple[object, ...]", value)), ensure_ascii=False)
    return value


def _count_change(db: sqlite3.Connection) -> int:
    sql = "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
    return int(db.execute(sql).fetchone()[0])


def _refuse_overlap(
    db: sqlite3.Connection,
    booking_id: str,
    row: Mapping[str, object],
    before: Mapping[str, object] | None = None,
) -> None:
    """One court, one booking at a time. Giving time back is always allowed, whatever is there.

    A booking may begin within a manual recording that began before it: the button gives way
    (`resolve.planned`), or one forgotten press would close the court to customers.
    """
    if row["status"] != "confirmed" or row["kind"] == "cut":
        return
    if (
        before is not None
        and before["status"] == "confirmed"
        and str(row["start"]) >= str(before["start"])
        and str(row["end"]) <= str(before["end"])
    ):
        return
    other = db.execute(
        "SELECT * FROM bookings WHERE status = 'confirmed' AND kind <> 'cut' AND id <> ?"
        ' AND "start" < ? AND "end" > ?'
        " AND NOT (kind = 'manual' AND ? = 'booked' AND \"start\" < ?) ORDER BY \"start\" LIMIT 1",
        (booking_id, row["end"], row["start"], row["kind"], row["start"]),
    ).fetchone()
    if other is not None:
        raise Overlap(booking_id, _booking(other).stored)


def _raw(db: sqlite3.Connection, booking_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM bookings WHERE id = ?", (booking_id,)).fetchone()
    if row is None:
        raise Missing(f"there is no booking {booking_id}")
    return row


def _must(db: sqlite3.Connection, booking_id: str) -> BookingRow:
    row = _booking(_raw(db, booking_id))
    return replace(row, stored=wearing(db, [row.stored])[0])


def _find(db: sqlite3.Connection, booking_id: str) -> BookingRow | None:
    row = db.execute("SELECT * FROM bookings WHERE id = ?", (booking_id,)).fetchone()
    return _booking(row) if row else None


def _booking(row: sqlite3.Row) -> BookingRow:
    plain = (
        "id",
        "kind",
        "start",
        "end",
        "status",
        "record",
        "audience",
        "layout",
        "owner",
        "of",
        "created_at",
    )
    stored = StoredBooking(
        deliver=tuple(json.loads(row["deliver"])), changed=int(row["changed"]), **{n: row[n] for n in plain}
    )
    return BookingRow(stored, row["title"], tuple(json.loads(row["contacts"])), row["cancelled_at"])


def _results(db: sqlite3.Connection, booking_id: str) -> dict[str, StoredResult]:
    rows = db.execute("SELECT kind, body, stored_at FROM results WHERE booking_id = ?", (booking_id,))
    return {row["kind"]: StoredResult(json.loads(row["body"]), row["stored_at"]) for row in rows}


def _share(row: sqlite3.Row) -> ShareRow:
    return ShareRow(*(row[field.name] for field in fields(ShareRow)))


def _automatic(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT value FROM settings WHERE name = 'automatic'").fetchone()
    return row is None or row["value"] == "on"
