"""Logos and intros in the SQLite store."""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import cast

from cloud_bridge.stores.base import Conflict, Missing, StoreError
from cloud_bridge.stores.media import (
    LOOKS,
    REMOVAL_LEASE,
    SLOTS,
    Look,
    MediaFile,
    MediaKind,
    MediaRow,
    Slot,
    Whose,
)
from cloud_bridge.stores.sqlite_db import InFile
from edge_agent.core.effects import StoredBooking, StoredMedia
from schemas.base import utc_text
from schemas.booking import Place

_UNNAMED = "NOT EXISTS (SELECT 1 FROM user_media m WHERE m.sha256 = assets.sha256)"
_DUE = f"unused_since < :before AND {_UNNAMED} AND (removing_since IS NULL OR removing_since < :lost)"
_WEARS_NONE = Look("bottom_right", 16.0, 1.0)


class SqliteMediaStore(InFile):
    """`cloud_bridge.stores.media.UserMediaStore` in the file of `cloud_bridge.stores.sqlite.SqliteStore`."""

    def media(self, whose: Whose) -> tuple[MediaRow, ...]:
        rows = self._db.rows('SELECT * FROM user_media WHERE "of" = ? AND who = ?', (whose.of, whose.id))
        return tuple(sorted((_row(row) for row in rows), key=lambda row: SLOTS.index(row.slot)))

    def set_media(self, whose: Whose, slot: Slot, file: MediaFile, look: Look | None) -> MediaRow:
        with self._db.write() as db:
            before = _find(db, whose, slot)
            worn = None if slot == "intro" else look or (before.look if before else None) or LOOKS[slot]
            row = MediaRow(whose, slot, file, worn, self._now())
            if before is not None and replace(before, updated_at=row.updated_at) == row:
                return before
            db.execute(
                'DELETE FROM user_media WHERE "of" = ? AND who = ? AND slot = ?', (whose.of, whose.id, slot)
            )
            place, size, opacity = (worn.place, worn.size, worn.opacity) if worn else (None, None, None)
            db.execute(
                "INSERT INTO user_media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(whose.of, whose.id, slot, file.sha256, file.bytes, file.kind),
                    *(file.width, file.height, file.seconds, place, size, opacity, row.updated_at),
                ),
            )
            self._settle(db, whose, file.sha256, *((before.file.sha256,) if before else ()))
            return row

    def change_look(self, whose: Whose, slot: Slot, look: Look) -> MediaRow:
        with self._db.read() as db:
            before = _find(db, whose, slot)
        if before is None:
            raise Missing(f"there is no {slot} of {whose.id}")
        if before.look is None:
            raise Conflict("an intro has no place, size or opacity")
        return self.set_media(whose, slot, before.file, look)

    def remove_media(self, whose: Whose, slot: Slot) -> bool:
        with self._db.write() as db:
            before = _find(db, whose, slot)
            if before is None:
                return False
            db.execute(
                'DELETE FROM user_media WHERE "of" = ? AND who = ? AND slot = ?', (whose.of, whose.id, slot)
            )
            self._settle(db, whose, before.file.sha256)
            return True

    def claim_asset(self, sha256: str) -> None:
        with self._db.write() as db:
            taken = db.execute("SELECT removing_since FROM assets WHERE sha256 = ?", (sha256,)).fetchone()
            if taken is not None and (taken["removing_since"] or "") > self._lost():
                raise StoreError("transient", "this file is just being removed: try again in some minutes")
            db.execute(
                "INSERT INTO assets VALUES (?, ?, NULL) ON CONFLICT (sha256)"
                " DO UPDATE SET unused_since = excluded.unused_since, removing_since = NULL",
                (sha256, self._now()),
            )
            self._use(db, sha256)

    def assets_in_use(self) -> frozenset[str]:
        return frozenset(str(row["sha256"]) for row in self._db.rows("SELECT sha256 FROM user_media"))

    def assets_due(self, before: datetime, limit: int) -> tuple[str, ...]:
        with self._db.read() as db:
            found = db.execute(
                f"SELECT sha256 FROM assets WHERE {_DUE} ORDER BY unused_since, sha256 LIMIT :limit",  # noqa: S608
                {"before": utc_text(before), "lost": self._lost(), "limit": limit},
            ).fetchall()
        return tuple(str(row["sha256"]) for row in found)

    def begin_removal(self, sha256: str, before: datetime) -> bool:
        with self._db.write() as db:
            done = db.execute(
                f"UPDATE assets SET removing_since = :now WHERE sha256 = :sha256 AND {_DUE}",  # noqa: S608
                {"now": self._now(), "sha256": sha256, "before": utc_text(before), "lost": self._lost()},
            )
            return done.rowcount == 1

    def asset_removed(self, sha256: str) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM assets WHERE sha256 = ? AND removing_since IS NOT NULL", (sha256,))

    def _lost(self) -> str:
        return utc_text(self._clock.wall() - REMOVAL_LEASE)

    def _use(self, db: sqlite3.Connection, *hashes: str) -> None:
        """An object is unused from when its last row went."""
        for sha256 in hashes:
            db.execute("INSERT INTO assets VALUES (?, NULL, NULL) ON CONFLICT DO NOTHING", (sha256,))
            db.execute(
                f"UPDATE assets SET unused_since = CASE WHEN {_UNNAMED} THEN coalesce(unused_since, ?)"  # noqa: S608
                " END WHERE sha256 = ?",
                (self._now(), sha256),
            )

    def _settle(self, db: sqlite3.Connection, whose: Whose, *hashes: str) -> None:
        """What follows from a change of a row: objects in use or not, bookings that have not begun."""
        self._use(db, *hashes)
        of_whom, values = ("owner = ?", (whose.id,)) if whose.of == "user" else ("1", ())
        ahead = db.execute(
            f'SELECT id FROM bookings WHERE {of_whom} AND "start" > ? ORDER BY "start", id',  # noqa: S608
            (*values, self._now()),
        ).fetchall()
        count = "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
        for row in ahead:
            changed = int(db.execute(count).fetchone()[0])
            db.execute("UPDATE bookings SET changed = ? WHERE id = ?", (changed, row["id"]))


def wearing(db: sqlite3.Connection, bookings: Iterable[StoredBooking]) -> tuple[StoredBooking, ...]:
    """Bookings with the logos and intros of their owners and of the organisation."""
    clubs: list[StoredMedia] = []
    users: dict[str, list[StoredMedia]] = {}
    for row in map(_row, db.execute("SELECT * FROM user_media")):
        (clubs if row.whose.of == "organisation" else users.setdefault(row.whose.id, [])).append(_worn(row))
    return tuple(
        replace(booking, dressing=(*clubs, *users.get(booking.owner or "", ()))) for booking in bookings
    )


def _worn(row: MediaRow) -> StoredMedia:
    look = row.look or _WEARS_NONE
    file = row.file
    return StoredMedia(row.whose.of, row.slot, file.sha256, file.bytes, look.place, look.size, look.opacity)


def _find(db: sqlite3.Connection, whose: Whose, slot: Slot) -> MediaRow | None:
    row = db.execute(
        'SELECT * FROM user_media WHERE "of" = ? AND who = ? AND slot = ?', (whose.of, whose.id, slot)
    ).fetchone()
    return _row(row) if row else None


def _row(row: sqlite3.Row) -> MediaRow:
    file = MediaFile(
        row["sha256"],
        int(row["bytes"]),
        cast("MediaKind", row["kind"]),
        int(row["width"]),
        int(row["height"]),
        row["seconds"],
    )
    look = Look(cast("Place", row["place"]), row["size"], row["opacity"]) if row["place"] else None
    return MediaRow(Whose(row["of"], row["who"]), cast("Slot", row["slot"]), file, look, row["updated_at"])
