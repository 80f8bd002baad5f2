"""The rows of the SQLite store as the values that go around."""

import json
import sqlite3
from dataclasses import fields

from cloud_bridge.stores.base import BookingRow, ShareRow, StoredResult
from edge_agent.core.effects import StoredBooking


def booking_of(row: sqlite3.Row) -> BookingRow:
    """A whole row of ``bookings``."""
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


def results_of(db: sqlite3.Connection, booking_id: str) -> dict[str, StoredResult]:
    """Everything stored of a recording, by kind."""
    rows = db.execute("SELECT kind, body, stored_at FROM results WHERE booking_id = ?", (booking_id,))
    return {row["kind"]: StoredResult(json.loads(row["body"]), row["stored_at"]) for row in rows}


def share_row(row: sqlite3.Row) -> ShareRow:
    """The columns `ShareRow` has, of ``shares``."""
    return ShareRow(*(row[field.name] for field in fields(ShareRow)))


def is_automatic(db: sqlite3.Connection) -> bool:
    """Whether booked bookings are recorded."""
    row = db.execute("SELECT value FROM settings WHERE name = 'automatic'").fetchone()
    return row is None or row["value"] == "on"


def count_change(db: sqlite3.Connection) -> int:
    """The next number of the change counter, given out within a transaction."""
    sql = "UPDATE counters SET value = value + 1 WHERE name = 'changed' RETURNING value"
    return int(db.execute(sql).fetchone()[0])
