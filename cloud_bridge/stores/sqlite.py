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
from cloud_bridge.stores.sqlite_device import DeviceRows
from cloud_bridge.stores.sqlite_media import wearing
from cloud_bridge.stores.sqlite_rows import booking_of, count_change, is_automatic, results_of, share_row
from edge_agent.core.settings import Settings
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


class SqliteStore(DeviceRows):
    """`cloud_bridge.stores.base.Store` in a file: the one of a single device."""

    # --- bookings ---

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
            row["changed"] = count_change(db)
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
            changed["changed"] = count_change(db)
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
        return tuple(booking_of(row) for row in self._db.rows(sql, [*values, query.limit]))

    def automatic(self) -> bool:
        with self._db.read() as db:
            return is_automatic(db)

    def set_automatic(self, *, on: bool) -> None:
        with self._db.write() as db:
            db.execute(
                "INSERT INTO settings VALUES ('automatic', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                ("on" if on else "off",),
            )

    # --- results ---

    def results(self, booking_id: str) -> Mapping[str, StoredResult]:
        with self._db.read() as db:
            return results_of(db, booking_id)

    def recordings(self, owner: str | None, limit: int, after: Position | None) -> tuple[RecordingRow, ...]:
        with self._db.read() as db:
            found = db.execute(
                "SELECT b.* FROM bookings b JOIN results r ON r.booking_id = b.id AND r.kind = 'recording'"
                ' WHERE (b."start", b.id) < (?, ?) AND b.owner IS coalesce(?, b.owner)'
                ' ORDER BY b."start" DESC, b.id DESC LIMIT ?',
                (*(after or _LAST), owner, limit),
            ).fetchall()
            return tuple(RecordingRow(booking_of(row), results_of(db, row["id"])) for row in found)

    # --- shares ---

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        with self._db.write() as db:
            _must(db, booking_id)
            there = db.execute(
                f"SELECT {_SHARE} FROM shares s WHERE s.booking_id = ?"  # noqa: S608 - own words only
                " ORDER BY s.revoked_at IS NOT NULL, s.rowid LIMIT 1",
                (booking_id,),
            ).fetchone()
            return share_row(there) if there else self._new_share(db, booking_id, expires_at)

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
            share = share_row(waiting) if waiting else self._new_share(db, booking_id, expires_at)
            db.execute("INSERT INTO share_tokens VALUES (?, ?)", (token_hash(token), share.share_id))
        return share, token

    def _new_share(self, db: sqlite3.Connection, booking_id: str, expires_at: datetime) -> ShareRow:
        share = ShareRow(
            "s" + secrets.token_hex(8), booking_id, self._now(), utc_text(expires_at), None, 0, 0
        )
        db.execute(
            "INSERT INTO shares (share_id, booking_id, created_at, expires_at, changed)"
            " VALUES (?, ?, ?, ?, ?)",
            (share.share_id, booking_id, share.created_at, share.expires_at, count_change(db)),
        )
        return share

    def share_of(self, token: str) -> ShareRow | None:
        row = self._db.row(
            f"SELECT {_SHARE} FROM share_tokens t JOIN shares s USING (share_id)"  # noqa: S608 - own words
            " WHERE t.token_hash = ?",
            (token_hash(token),),
        )
        return share_row(row) if row else None

    def share(self, share_id: str) -> ShareRow | None:
        row = self._db.row(f"SELECT {_SHARE} FROM shares s WHERE s.share_id = ?", (share_id,))  # noqa: S608
        return share_row(row) if row else None

    def shares(self, owner: str | None, limit: int, after: Position | None) -> tuple[ShareRow, ...]:
        rows = self._db.rows(
            f"SELECT {_SHARE} FROM shares s JOIN bookings b ON b.id = s.booking_id"  # noqa: S608 - own words
            " WHERE (s.created_at, s.share_id) < (?, ?) AND b.owner IS coalesce(?, b.owner)"
            " ORDER BY s.created_at DESC, s.share_id DESC LIMIT ?",
            (*(after or _LAST), owner, limit),
        )
        return tuple(share_row(row) for row in rows)

    def revoke_share(self, share_id: str) -> ShareRow:
        with self._db.write() as db:
            db.execute(
                "UPDATE shares SET revoked_at = ?, changed = ? WHERE share_id = ? AND revoked_at IS NULL",
                (self._now(), count_change(db), share_id),
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
        raise Overlap(booking_id, booking_of(other).stored)


def _raw(db: sqlite3.Connection, booking_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM bookings WHERE id = ?", (booking_id,)).fetchone()
    if row is None:
        raise Missing(f"there is no booking {booking_id}")
    return row


def _must(db: sqlite3.Connection, booking_id: str) -> BookingRow:
    row = booking_of(_raw(db, booking_id))
    return replace(row, stored=wearing(db, [row.stored])[0])


def _find(db: sqlite3.Connection, booking_id: str) -> BookingRow | None:
    row = db.execute("SELECT * FROM bookings WHERE id = ?", (booking_id,)).fetchone()
    return booking_of(row) if row else None
