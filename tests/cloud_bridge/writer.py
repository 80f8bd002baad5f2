"""A process that books, one hour after the other, until it is killed; each line on stdout is durable."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloud_bridge.stores import NewBooking, SqliteStore

store = SqliteStore(Path(sys.argv[1]))
name, count = sys.argv[2], int(sys.argv[3])
for number in range(count):
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=2 * number + (name == "b"))
    store.create_booking(NewBooking(f"{name}{number}", "booked", start, start + timedelta(hours=1)))
    store.save_result(f"{name}{number}", "recording", {"n": number})
    sys.stdout.write(f"{name}{number}\n")
    sys.stdout.flush()
