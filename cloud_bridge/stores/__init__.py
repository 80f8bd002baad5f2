"""Where bookings, results, shares and tokens are kept."""

from cloud_bridge.stores.base import (
    BookingQuery,
    BookingRow,
    Conflict,
    Missing,
    NewBooking,
    Overlap,
    Position,
    Principal,
    RecordingRow,
    Role,
    ShareRow,
    Stale,
    Store,
    StoredResult,
    StoreError,
)
from cloud_bridge.stores.opening import open_hints, open_keeping, open_messages, open_store
from cloud_bridge.stores.sqlite import SqliteStore, sqlite_path

__all__ = [
    "BookingQuery",
    "BookingRow",
    "Conflict",
    "Missing",
    "NewBooking",
    "Overlap",
    "Position",
    "Principal",
    "RecordingRow",
    "Role",
    "ShareRow",
    "SqliteStore",
    "Stale",
    "Store",
    "StoreError",
    "StoredResult",
    "open_hints",
    "open_keeping",
    "open_messages",
    "open_store",
    "sqlite_path",
]
