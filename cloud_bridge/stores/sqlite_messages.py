"""Notices, recipients and messages in the SQLite store's file."""

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from cloud_bridge.stores.base import Missing
from cloud_bridge.stores.messages import (
    Channel,
    ClaimedMessage,
    DeviceSeen,
    NewMessage,
    OpenNotice,
    Recipient,
    Told,
)
from cloud_bridge.stores.sqlite_db import Database
from edge_agent.core.effects import Notice
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

_MESSAGE = "id, device, subject, kind, channel, recipient, language, not_before, data, attempt, claimed_until"
_DUE = "state = 'waiting' AND due_at <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)"


class SqliteMessages:
    """`cloud_bridge.stores.messages.MessageStore` in a file: the one of a single device."""

    def __init__(self, path: Path, device: str, org: str, clock: Clock | None = None) -> None:
        """Open or make the file.

        Args:
            path: the file, the same as `SqliteStore`'s.
            device: id of the device whose bookings are in it.
            org: its organisation.
            clock: for tests.

        Raises:
            StoreError: it cannot be opened, is no database, or is of a newer version.
        """
        self._db = Database(path)
        self._device, self._org = device, org
        self._clock = clock or SystemClock()

    def close(self) -> None:
        self._db.close()

    def _now(self) -> str:
        return utc_text(self._clock.wall())

    # --- notices ---

    def open_notices(self, limit: int) -> tuple[OpenNotice, ...]:
        rows = self._db.rows(
            'SELECT n.id AS notice_id, n.device, n.kind AS notice_kind, n.subject, n."at", n.data, b.*'
            " FROM notices n LEFT JOIN bookings b"
            " ON b.id = n.subject AND (n.kind LIKE 'film#_%' ESCAPE '#' OR n.kind = 'preflight_failed')"
            " WHERE n.expanded_at IS NULL ORDER BY n.seq LIMIT ?",
            (limit,),
        )
        return tuple(_open_notice(row) for row in rows)

    def add_notice(self, device: str, notice: Notice) -> bool:
        with self._db.write() as db:
            return write_notice(db, device, notice, self._now())

    def expand(self, notice_id: str, messages: Sequence[NewMessage]) -> int:
        now = self._now()
        with self._db.write() as db:
            row = db.execute("SELECT expanded_at FROM notices WHERE id = ?", (notice_id,)).fetchone()
            if row is None:
                raise Missing(f"there is no notice {notice_id}")
            if row["expanded_at"] is not None:
                return 0
            db.execute("UPDATE notices SET expanded_at = ? WHERE id = ?", (now, notice_id))
            return sum(_write_message(db, message, now) for message in messages)

    # --- messages ---

    def claim(self, sender: str, lease_s: float, limit: int) -> tuple[ClaimedMessage, ...]:
        wall = self._clock.wall()
        now, until = utc_text(wall), utc_text(wall + timedelta(seconds=lease_s))
        if self._db.row(f"SELECT 1 FROM notifications WHERE {_DUE} LIMIT 1", (now,)) is None:  # noqa: S608
            return ()  # looking costs no write lock
        take = (
            "UPDATE notifications SET claimed_by = ?2, claimed_until = ?3, attempt = attempt + 1"  # noqa: S608
            " WHERE seq IN"
            f" (SELECT seq FROM notifications WHERE {_DUE} ORDER BY seq LIMIT ?4) RETURNING seq, {_MESSAGE}"
        )  # fmt: skip
        with self._db.write() as db:
            rows = db.execute(take, (now, sender, until, limit)).fetchall()
        return tuple(_claimed(row) for row in sorted(rows, key=lambda row: int(row["seq"])))

    def sent(self, message_id: str, sender: str) -> bool:
        now = self._now()
        with self._db.write() as db:
            row = db.execute(
                "SELECT subject, state, claimed_by, data FROM notifications WHERE id = ?", (message_id,)
            ).fetchone()
            if row is None:
                raise Missing(f"there is no message {message_id}")
            if row["state"] != "sent":
                db.execute(
                    "UPDATE notifications SET state = 'sent', done_at = ?, why = NULL WHERE id = ?",
                    (now, message_id),
                )
                if json.loads(row["data"]).get("share") is True:
                    _delivered(db, row["subject"], now)
            return bool(row["claimed_by"] == sender)

    def not_sent(self, message_id: str, sender: str, why: str, again_at: str | None) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE notifications SET why = ?1, claimed_by = NULL, claimed_until = NULL,"
                " state = CASE WHEN ?2 IS NULL THEN 'given_up' ELSE 'waiting' END,"
                " done_at = CASE WHEN ?2 IS NULL THEN ?3 END, due_at = coalesce(?2, due_at)"
                " WHERE id = ?4 AND claimed_by = ?5 AND state = 'waiting'",
                (why, again_at, self._now(), message_id, sender),
            )

    def told(self, device: str, cause: str | None, since: str) -> tuple[Told, ...]:
        rows = self._db.rows(
            "SELECT *, coalesce(done_at, due_at) AS moment FROM notifications"
            " WHERE device = ?1 AND created_at >= ?2"
            " AND (?3 IS NULL OR subject = ?3 OR substr(subject, 1, length(?3) + 1) = ?3 || '@')"
            " ORDER BY seq",
            (device, since, cause),
        )
        return tuple(_told(row) for row in rows)

    # --- who is told, and about what ---

    def recipients(self, device: str) -> tuple[Recipient, ...]:
        rows = self._db.rows("SELECT * FROM recipients WHERE device = ? ORDER BY channel, address", (device,))
        return tuple(
            Recipient(
                row["device"],
                row["channel"],
                row["address"],
                tuple(json.loads(row["kinds"])),
                row["language"],
                row["quiet"],
            )
            for row in rows
        )

    def set_recipient(self, recipient: Recipient) -> None:
        with self._db.write() as db:
            db.execute(
                "INSERT INTO recipients VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device, channel, address)"
                " DO UPDATE SET kinds = excluded.kinds, language = excluded.language, quiet = excluded.quiet",
                (
                    recipient.device,
                    recipient.channel,
                    recipient.address,
                    json.dumps(recipient.kinds),
                    recipient.language,
                    recipient.quiet,
                ),
            )

    def remove_recipient(self, device: str, channel: Channel, address: str) -> bool:
        with self._db.write() as db:
            done = db.execute(
                "DELETE FROM recipients WHERE device = ? AND channel = ? AND address = ?",
                (device, channel, address),
            )
            return done.rowcount == 1

    def devices_seen(self) -> tuple[DeviceSeen, ...]:
        now = self._now()
        with self._db.read() as db:
            rows = db.execute("SELECT * FROM device_status ORDER BY device").fetchall()
            ahead = _next_booking(db, now)
        seen = {
            str(row["device"]): DeviceSeen(row["device"], row["org"], row["seen_at"], row["state"], None, now)
            for row in rows
        }
        own = seen.get(self._device) or DeviceSeen(self._device, self._org, None, None, None, now)
        seen[self._device] = DeviceSeen(own.device, own.org, own.seen_at, own.state, ahead, now)
        return tuple(seen[device] for device in sorted(seen))


def write_notice(db: sqlite3.Connection, device: str, notice: Notice, now: str) -> bool:
    """Add a notice within a transaction; whether it is new (by id)."""
    done = db.execute(
        'INSERT INTO notices (id, device, kind, subject, "at", data, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)'
        " ON CONFLICT (id) DO NOTHING",
        (notice.id, device, notice.kind, notice.subject, notice.at, _json(notice.data), now),
    )
    return done.rowcount == 1


def _write_message(db: sqlite3.Connection, message: NewMessage, now: str) -> int:
    done = db.execute(
        "INSERT INTO notifications (id, device, subject, kind, channel, recipient, language, not_before,"
        " due_at, data, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?8, ?8, ?, ?)"
        " ON CONFLICT (device, subject, kind, channel, recipient) DO NOTHING",
        (
            "n" + secrets.token_hex(10),
            message.device,
            message.subject,
            message.kind,
            message.channel,
            message.recipient,
            message.language,
            message.not_before,
            _json(message.data),
            now,
        ),
    )
    return done.rowcount


def _delivered(db: sqlite3.Connection, booking_id: str, now: str) -> None:
    """Each share that is delivered by this counts as changed: a poll brings it."""
    first = db.execute(
        "SELECT coalesce(min(delivered_at), ?) FROM shares WHERE booking_id = ?", (now, booking_id)
    ).fetchone()[0]
    shares = db.execute(
        "SELECT share_id FROM shares WHERE booking_id = ? AND delivered_at IS NULL ORDER BY rowid",
        (booking_id,),
    ).fetchall()
    for share in shares:
        changed = db.execute(
            "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
        ).fetchone()[0]
        db.execute(
            "UPDATE shares SET delivered_at = ?, changed = ? WHERE share_id = ?",
            (first, changed, share["share_id"]),
        )


def _next_booking(db: sqlite3.Connection, now: str) -> tuple[str, str] | None:
    row = db.execute(
        "SELECT id, \"start\" FROM bookings WHERE status = 'confirmed' AND record = 'yes' AND kind <> 'cut'"
        " AND \"end\" > ? AND (kind <> 'booked'"
        " OR NOT EXISTS (SELECT 1 FROM settings WHERE name = 'automatic' AND value = 'off'))"
        ' ORDER BY "start", id LIMIT 1',
        (now,),
    ).fetchone()
    return (str(row["id"]), str(row["start"])) if row else None


def _open_notice(row: sqlite3.Row) -> OpenNotice:
    notice = Notice(row["notice_id"], row["notice_kind"], row["subject"], row["at"], _read(row["data"]))
    if row["id"] is None:
        return OpenNotice(row["device"], notice)
    return OpenNotice(
        row["device"],
        notice,
        row["title"],
        tuple(json.loads(row["contacts"])),
        row["audience"],
        row["start"],
        row["end"],
        row["kind"],
        row["record"],
    )


def _claimed(row: sqlite3.Row) -> ClaimedMessage:
    message = NewMessage(
        row["device"],
        row["subject"],
        row["kind"],
        row["channel"],
        row["recipient"],
        row["language"],
        row["not_before"],
        _read(row["data"]),
    )
    return ClaimedMessage(row["id"], message, int(row["attempt"]), row["claimed_until"])


def _told(row: sqlite3.Row) -> Told:
    return Told(
        row["id"],
        row["device"],
        row["subject"],
        row["kind"],
        row["channel"],
        row["recipient"],
        row["language"],
        row["state"],
        row["created_at"],
        row["moment"],
        int(row["attempt"]),
        row["why"],
        _read(row["data"]),
    )


def _json(data: Mapping[str, JsonValue]) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def _read(text: str) -> Mapping[str, JsonValue]:
    return cast("Mapping[str, JsonValue]", json.loads(text))
