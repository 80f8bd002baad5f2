"""Figures against the stand-in: `python -m tests.standins.supabase.measure`. No test depends on them.

Prints one JSON object: from a change of a row until the device hears the hint, and until it has the row;
a poll that finds nothing; 500 results in batches of 100.
"""

import json
import queue
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

from cloud_bridge.hints import RealtimeHints
from cloud_bridge.stores import NewBooking
from edge_agent.core.effects import ResultRow
from tests.cloud_bridge.served import NOON, minutes
from tests.standins.supabase import SupabaseStandIn
from tests.support.postgres import Server
from tests.support.supabase import CLUB, as_device, store_of

CHANGES = 100
RESULTS, BATCH = 500, 100


def main() -> None:
    """Start everything, measure, print, end everything."""
    folder = Path(tempfile.mkdtemp(prefix="ezrec-measure-"))
    server = Server(folder)
    try:
        with server.fresh() as name:
            dsn = server.dsn(name)
            with psycopg.connect(dsn, autocommit=True) as db:
                db.execute(CLUB)
            with SupabaseStandIn(dsn) as project:
                sys.stdout.write(json.dumps(figures(project), indent=2) + "\n")
    finally:
        server.stop()
        shutil.rmtree(folder)


def figures(project: SupabaseStandIn) -> dict[str, object]:
    """All of them; times in milliseconds."""
    store, cloud = store_of(project), store_of(project, service=True)
    told: queue.SimpleQueue[float] = queue.SimpleQueue()
    hints = RealtimeHints(as_device(project), "court-1", lambda: told.put(time.perf_counter()))
    hints.start()
    told.get(timeout=30)
    to_hint: list[float] = []
    to_row: list[float] = []
    cursor = 0
    for number in range(CHANGES):
        began = time.perf_counter()
        cloud.create_booking(NewBooking(f"b{number}", "cut", NOON, NOON + minutes(number)))
        to_hint.append(told.get(timeout=30) - began)
        polled = store.poll(cursor)
        to_row.append(time.perf_counter() - began)
        if [row.id for row in polled.rows] != [f"b{number}"]:
            raise RuntimeError(f"change {number} was not polled: {polled}")
        cursor = polled.cursor
    hints.close()
    idle = [seconds(lambda: store.poll(cursor)) for _ in range(CHANGES)]
    rows = [
        ResultRow(f"b{n % CHANGES}", "recording", n + 1, {"n": n, "x": "y" * 2000}) for n in range(RESULTS)
    ]
    queued = seconds(lambda: [store.save_results(rows[at : at + BATCH]) for at in range(0, RESULTS, BATCH)])
    store.close()
    cloud.close()
    return {
        "change_to_hint_ms": spread(to_hint),
        "change_to_row_ms": spread(to_row),
        "idle_poll_ms": spread(idle),
        f"{RESULTS}_results_s": round(queued, 3),
    }


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, p95 and maximum in milliseconds."""
    p95 = statistics.quantiles(values, n=20)[-1]
    median = statistics.median(values)
    return {"p50": round(median * 1e3, 1), "p95": round(p95 * 1e3, 1), "max": round(max(values) * 1e3, 1)}


if __name__ == "__main__":
    main()
