"""What is past its time, in the SQLite store."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from cloud_bridge.stores.base import Missing, Position
from cloud_bridge.stores.keeping import KeptFilm, Removal
from cloud_bridge.stores.sqlite_db import Database
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

_FILM = """
    SELECT i.id, b.status, b.cancelled_at, u.body AS upload, u.stored_at, w.why,
        (SELECT json_extract(s.body, '$.state') FROM results s
            WHERE s.booking_id = i.id AND s.kind = 'recording') AS state
    FROM i LEFT JOIN bookings b ON b.id = i.id
        LEFT JOIN results u ON u.booking_id = i.id AND u.kind = 'upload'
        LEFT JOIN removal_orders w ON w.booking_id = i.id
    ORDER BY i.id
"""
_PAGE = """
    WITH i (id) AS
        (SELECT DISTINCT booking_id FROM objects_left WHERE booking_id > ? ORDER BY booking_id LIMIT ?)
"""
_ONE = """
    WITH i (id) AS
        (SELECT id FROM bookings WHERE id = ?1 UNION SELECT booking_id FROM results WHERE booking_id = ?1)
"""
_PAST = """
    SELECT id FROM bookings b WHERE b."end" < ?
        AND NOT EXISTS (SELECT 1 FROM objects_left o WHERE o.booking_id = b.id)
        AND NOT EXISTS (SELECT 1 FROM shares s WHERE s.booking_id = b.id
            AND s.revoked_at IS NULL AND s.expires_at > ?)
"""
_COUNT = "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
_PRUNED: tuple[tuple[str, str], ...] = (
    (
        "share_tokens",
        """
        DELETE FROM share_tokens WHERE share_id IN
            (SELECT share_id FROM shares WHERE booking_id IN (SELECT value FROM json_each(:past)))
        """,
    ),
    ("shares", "DELETE FROM shares WHERE booking_id IN (SELECT value FROM json_each(:past))"),
    (
        "results",
        """
        DELETE FROM results WHERE booking_id IN (SELECT value FROM json_each(:past))
            OR stored_at < :before AND booking_id NOT IN (SELECT id FROM bookings)
            AND booking_id NOT IN (SELECT booking_id FROM objects_left)
        """,
    ),
    ("removal_orders", "DELETE FROM removal_orders WHERE booking_id IN (SELECT value FROM json_each(:past))"),
    (
        "notifications",
        "DELETE FROM notifications WHERE state <> 'waiting' AND coalesce(done_at, created_at) < :before",
    ),
    ("device_commands", "DELETE FROM device_commands WHERE coalesce(answered_at, deadline) < :before"),
    ("notices", "DELETE FROM notices WHERE expanded_at < :before"),
    ("bookings", "DELETE FROM bookings WHERE id IN (SELECT value FROM json_each(:past))"),
)
"""Table and statement; what hangs on a row goes before it. ``:past``: bookings that go, as JSON."""


class SqliteKeeping:
    """`cloud_bridge.stores.keeping.KeepingStore` in the embedded store's file, of its one device."""

    def __init__(self, path: Path, org: str, device: str, clock: Clock | None = None) -> None:
        """Open or make the file.

        Raises:
            StoreError: it cannot be opened, is no database, or is of a newer version.
        """
        self._db = Database(path)
        self._court = (org, device)
        self._clock = clock or SystemClock()

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def devices(self) -> tuple[tuple[str, str], ...]:
        return (self._court,)

    def kept_films(self, limit: int, after: str | None) -> tuple[KeptFilm, ...]:
        with self._db.read() as db:
            rows = db.execute(_PAGE + _FILM, (after or "", limit)).fetchall()
            return tuple(self._film(db, row) for row in rows)

    def kept_film(self, booking_id: str, device: str | None = None) -> KeptFilm | None:
        if device not in (None, self._court[1]):
            return None
        with self._db.read() as db:
            row = db.execute(_ONE + _FILM, (booking_id,)).fetchone()
            return self._film(db, row) if row else None

    def order_removal(self, booking_id: str, why: str, device: str | None = None) -> tuple[str, ...]:
        with self._db.write() as db:
            known = db.execute(_ONE + _FILM, (booking_id,)).fetchone() is not None
            if not known or device not in (None, self._court[1]):
                raise Missing(f"there is no booking {booking_id}")
            cuts = db.execute('SELECT id FROM bookings WHERE "of" = ? ORDER BY id', (booking_id,)).fetchall()
            ids = (booking_id, *(str(row["id"]) for row in cuts))
            now = utc_text(self._clock.wall())
            db.executemany(
                "INSERT OR IGNORE INTO removal_orders VALUES (?, ?, ?)", [(i, why, now) for i in ids]
            )
            return ids

    def film_removed(self, removals: Sequence[Removal]) -> int:
        with self._db.write() as db:
            before = db.total_changes
            db.executemany(
                "INSERT OR IGNORE INTO removals VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (r.booking_id, r.key, r.verified_at, r.org, r.device, r.bytes, r.why, r.at)
                    for r in removals
                ],
            )
            new = db.total_changes - before
            for booking_id in {r.booking_id for r in removals if r.key.endswith("/film.mp4")}:
                self._end_shares(db, booking_id)
            return new

    def _end_shares(self, db: sqlite3.Connection, booking_id: str) -> None:
        """Each end is a change of its own, as the bridge sees the counter."""
        now = utc_text(self._clock.wall())
        alive = db.execute(
            "SELECT share_id FROM shares WHERE booking_id = ? AND revoked_at IS NULL AND expires_at > ?",
            (booking_id, now),
        ).fetchall()
        for row in alive:
            changed = db.execute(_COUNT).fetchone()[0]
            db.execute(
                "UPDATE shares SET revoked_at = ?, changed = ? WHERE share_id = ?",
                (now, changed, row["share_id"]),
            )

    def removals(self, limit: int, after: Position | None) -> tuple[Removal, ...]:
        rows = self._db.rows(
            "SELECT booking_id, org, device, key, bytes, verified_at, why, at FROM removals"
            " WHERE (at, key) < (?, ?) ORDER BY at DESC, key DESC LIMIT ?",
            (*(after or ("~", "~")), limit),
        )
        return tuple(Removal(**dict(row)) for row in rows)

    def prune(self, before: datetime) -> Mapping[str, int]:
        limit, now = utc_text(before), utc_text(self._clock.wall())
        gone: dict[str, int] = {}
        with self._db.write() as db:
            past = [str(row["id"]) for row in db.execute(_PAST, (limit, now))]
            values = {"past": json.dumps(past), "before": limit}
            for table, statement in _PRUNED:
                count = db.execute(statement, values).rowcount
                if count:
                    gone[table] = count
        return gone

    def _film(self, db: sqlite3.Connection, row: sqlite3.Row) -> KeptFilm:
        gone = db.execute("SELECT key, verified_at FROM removals WHERE booking_id = ?", (row["id"],))
        org, device = self._court
        return KeptFilm(
            booking_id=row["id"],
            org=org,
            device=device,
            status=row["status"],
            cancelled_at=row["cancelled_at"],
            state=row["state"] if isinstance(row["state"], str) else None,
            upload=_object(row["upload"]),
            stored_at=row["stored_at"] or "",
            ordered=row["why"],
            removed=frozenset((one["key"], one["verified_at"]) for one in gone),
        )


def _object(text: str | None) -> Mapping[str, JsonValue] | None:
    body: object = json.loads(text) if text else None
    return cast("dict[str, JsonValue]", body) if isinstance(body, dict) else None
