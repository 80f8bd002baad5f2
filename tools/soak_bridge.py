"""The bridge beside a Supabase project (stand-in over real PostgreSQL): how quick it is, and how small.

Changes are made with the service's key; the clock runs from before the request until the retained message is
heard. The machine's other work is in every figure.
"""

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from cloud_bridge.stores import NewBooking
from edge_agent.demo.servers import Mosquitto
from edge_agent.demo.usage import cpu_seconds, pss_bytes
from edge_agent.runtime.bus import BusEvent, Received
from schemas.recording import Recording
from schemas.registry import RECORDING
from tests.runtime.toys import Ear, broker_in, endpoint
from tests.standins.supabase import SupabaseStandIn
from tests.support.bridge import Device, running
from tests.support.postgres import Server
from tests.support.supabase import CLUB, store_of
from tools.bounds import Lines, broken

CHANGES, RESULTS, POLL_S, IDLE_S, AWAY_S = 100, 500, 5, 60, 60
PATIENCE_S = 180.0
HINTED_S, BEYOND_POLL_S, CORE, MEMORY, CAUGHT_UP_S = 1.0, 1.0, 0.02, 80e6, 60.0
"""Bounds: row to message with hints; beyond the polling interval without; idle; results of a time offline."""
HINTS = ("realtime = true", "poll_s = 300")
POLLS = ("realtime = false", f"poll_s = {POLL_S}")
USUAL = ("realtime = true", f"poll_s = {POLL_S}")
BEGIN = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def bridge(say: Callable[[str], None]) -> Lines:
    """All figures, and the bounds that were not held."""
    folder = Path(tempfile.mkdtemp(prefix="ezrec-soak-"))
    (folder / "sql").mkdir()
    folder.chmod(0o711)  # PostgreSQL runs as somebody else when this is root
    server = Server(folder / "sql")
    try:
        with server.fresh() as name, SupabaseStandIn(server.dsn(name)) as project:
            with psycopg.connect(project.database.dsn, autocommit=True) as db:
                db.execute(CLUB)
            with broker_in(folder / "broker") as broker:
                return _figures(folder, broker, project, say)
    finally:
        server.stop()
        shutil.rmtree(folder)


def _figures(folder: Path, broker: Mosquitto, project: SupabaseStandIn, say: Callable[[str], None]) -> Lines:
    lines: Lines = []
    for name, keys, bound_s in (
        ("with Realtime (polling every 300 s)", HINTS, HINTED_S),
        (f"without, polling every {POLL_S} s", POLLS, POLL_S + BEYOND_POLL_S),
    ):
        say(f"row to message {name}")
        own = folder / str(len(lines))
        own.mkdir()
        with running(own, broker, project, *keys):
            took = _changes(broker, project, f"c{len(lines)}", joined=keys is HINTS)
        p95 = statistics.quantiles(took, n=20)[-1]
        lines.append(f"- row to retained message {name}: {_spread(took)}, {len(took)} changes")
        lines += broken(f"row to message {name}", p95 < bound_s, f"p95 under {bound_s:.0f} s")
    own = folder / "usual"
    own.mkdir()
    with running(own, broker, project, *USUAL) as device:
        _until(lambda: project.realtime.joined > 0)
        say(f"idle for {IDLE_S} s, then {RESULTS} results while nobody answers")
        return lines + _idle(device) + _offline(device, broker, project)


class _Arrivals(Ear):
    """When each retained booking was first heard."""

    def __init__(self, broker: Mosquitto) -> None:
        self.at_s: dict[str, float] = {}
        super().__init__(endpoint(broker, "view"), name="arrivals")

    def _take(self, item: BusEvent) -> None:
        if isinstance(item, Received) and "/booking/" in item.topic and item.payload:
            self.at_s.setdefault(item.topic.rpartition("/")[2], time.perf_counter())
        super()._take(item)


def _changes(broker: Mosquitto, project: SupabaseStandIn, prefix: str, *, joined: bool) -> list[float]:
    """Seconds from a new row to its message, of rows at random moments."""
    _until(lambda: project.realtime.joined == int(joined))
    lots, begun = random.Random(1), dict[str, float]()
    with closing(store_of(project, service=True)) as cloud, _Arrivals(broker) as arrivals:
        for number in range(CHANGES):
            time.sleep(lots.uniform(0, 1.2))
            booking_id = f"{prefix}-{number}"
            start = BEGIN + timedelta(minutes=number)
            begun[booking_id] = time.perf_counter()
            cloud.create_booking(NewBooking(booking_id, "cut", start, start))
        _until(lambda: begun.keys() <= arrivals.at_s.keys())
        return [arrivals.at_s[booking_id] - at_s for booking_id, at_s in begun.items()]


def _idle(device: Device) -> Lines:
    pid = int(device.said("agent/bridge/availability")["pid"])
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(IDLE_S)
    core = (cpu_seconds(pid) - before) / (time.perf_counter() - began)
    memory = pss_bytes(pid)
    size = f"{memory / 1e6:.0f} MB"
    return [
        f"- idle for {IDLE_S} s, Realtime joined, polling every {POLL_S} s: {core:.4f} core, {size}",
        *broken("idle", core <= CORE, f"at most {CORE} core"),
        *broken("memory", memory <= MEMORY, f"at most {MEMORY / 1e6:.0f} MB"),
    ]


def _offline(device: Device, broker: Mosquitto, project: SupabaseStandIn) -> Lines:
    """From the store's return until all results of the time without it are rows."""
    project.stop()
    with Ear(endpoint(broker, "health"), name="results") as health:
        for number in range(RESULTS):
            health.say(RECORDING.at(id=f"r{number}"), Recording(state="ready", why=f"recording {number}"))
    _until(lambda: _waiting(device) >= RESULTS)
    time.sleep(AWAY_S)  # by now the bridge asks as seldom as it ever does
    began = time.perf_counter()
    project.start()
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        _until(lambda: db.execute("SELECT count(*) FROM recordings").fetchone() == (RESULTS,))
        took_s = time.perf_counter() - began
        rows = db.execute(
            "SELECT count(DISTINCT booking_id), min(state), max(state) FROM recordings"
        ).fetchone()
    return [
        f"- {RESULTS} results while the store was away for {AWAY_S} s: all rows {took_s:.1f} s after it",
        *broken("rows", rows == (RESULTS, "ready", "ready"), f"{RESULTS} ready"),
        *broken("results", took_s <= CAUGHT_UP_S, f"within {CAUGHT_UP_S:.0f} s"),
    ]


def _waiting(device: Device) -> int:
    """How many rows the outbox holds, by the bridge's own word."""
    return int(device.said("agent/bridge/status").get("backlog", 0))


def _until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end_s:
            raise TimeoutError("the bridge did not come to it in time")
        time.sleep(0.02)


def _spread(values: Sequence[float]) -> str:
    p95 = statistics.quantiles(values, n=20)[-1]
    return f"median {statistics.median(values):.3f} s, p95 {p95:.3f} s, max {max(values):.3f} s"
