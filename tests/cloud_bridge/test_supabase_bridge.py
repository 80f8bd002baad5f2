"""The bridge's process between a real broker and a Supabase project (stand-in over real PostgreSQL)."""

import signal
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloud_bridge.stores import NewBooking
from cloud_bridge.stores.supabase import SupabaseStore
from edge_agent.demo.servers import Mosquitto
from schemas.commands import StartArgs
from tests.runtime.toys import DEV, broker_in
from tests.standins.supabase import SupabaseStandIn
from tests.support.bridge import running
from tests.support.supabase import store_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOUR = timedelta(hours=1)
PATIENCE_S = 120
"""Longer than the longest pause between two tries of a store that was away."""


@pytest.fixture
def broker(tmp_path: Path) -> Generator[Mosquitto]:
    with broker_in(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def cloud(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project, service=True)
    yield store
    store.close()


def soon(true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def later(booking_id: str, hours: float, **more: Any) -> NewBooking:
    start = datetime.now(UTC) + hours * HOUR
    return NewBooking(booking_id, "booked", start, start + HOUR, **more)


def query(project: SupabaseStandIn, text: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        return db.execute(text).fetchall()


def told(project: SupabaseStandIn, text: Any, expected: list[tuple[Any, ...]]) -> Callable[[], bool]:
    return lambda: query(project, text) == expected


def test_a_row_becomes_a_booking_and_what_becomes_of_it_comes_back(
    tmp_path: Path, broker: Mosquitto, project: SupabaseStandIn, cloud: SupabaseStore
) -> None:
    cloud.create_booking(later("early", 1, title="Anna", contacts=("anna@example.org",)))
    with running(tmp_path, broker, project) as device:
        device.ear.until(lambda: device.booked("early"))
        cloud.create_booking(later("late", 3))
        device.ear.until(lambda: device.booked("late"))
        cloud.change_booking("late", {"status": "cancelled"})
        device.ear.until(lambda: device.booked("late").get("status") == "cancelled")
        assert device.booked("early")["status"] == "confirmed"
        device.tell("early", "ready", film=True)
        soon(told(project, "SELECT status FROM bookings WHERE id = 'early'", [("Completed",)]))
        soon(
            told(
                project,
                "SELECT booking_id, storage_path FROM videos",
                [("early", f"club/{DEV}/2026-03-01/early/film.mp4")],
            )
        )
        everything = b" ".join(item.payload for item in device.ear.heard)
        assert b"anna@example.org" not in everything
        assert b"Anna" not in everything
    assert "eyJ" not in device.log, "a key is in the log"


def test_the_store_is_down_from_before_a_booking_until_after_it_and_the_bridge_killed_meanwhile(
    tmp_path: Path, broker: Mosquitto, project: SupabaseStandIn, cloud: SupabaseStore
) -> None:
    cloud.create_booking(later("known", 2))
    with running(tmp_path, broker, project) as device:
        device.ear.until(lambda: device.booked("known"))
        project.stop()
        made = str(device.press("start", StartArgs(minutes=1))["id"])
        device.ear.until(lambda: device.booked(made))
        device.tell(made, "recording")
        device.end(signal.SIGKILL)
        device.start()
        device.tell("known", "partial", film=True)
        device.press("stop")
        device.tell(made, "ready", film=True)
        device.end(signal.SIGKILL)
        device.start()
        project.start()
        states = "SELECT booking_id, state FROM recordings ORDER BY booking_id"
        soon(told(project, states, sorted([("known", "partial"), (made, "ready")])))
        films = "SELECT booking_id FROM videos ORDER BY booking_id"
        soon(told(project, films, sorted([("known",), (made,)])))
        assert query(project, "SELECT kind, status FROM court_bookings WHERE kind <> 'booked'") == [
            ("manual", "confirmed")
        ]


def test_a_revoked_key_stops_nothing_that_is_known_and_loses_nothing(
    tmp_path: Path, broker: Mosquitto, project: SupabaseStandIn, cloud: SupabaseStore
) -> None:
    cloud.create_booking(later("known", 2))
    with (
        running(tmp_path, broker, project) as device,
        psycopg.connect(project.database.dsn, autocommit=True) as db,
    ):
        device.ear.until(lambda: device.booked("known"))
        db.execute("UPDATE devices SET revoked_at = now() WHERE id = 'court-1'")
        cloud.create_booking(later("unseen", 5))
        device.end(signal.SIGKILL)
        project.faults.asked.clear()
        device.start()
        device.tell("known", "ready", film=True)
        device.ear.until(lambda: any(path.startswith("alarm/bridge/") for path in device.ear.retained()))
        soon(lambda: "ezrec_save_results" in project.faults.asked)
        assert device.booked("known")["status"] == "confirmed"
        assert device.booked("unseen") == {}
        assert query(project, "SELECT state FROM recordings") == []
        db.execute("UPDATE devices SET revoked_at = NULL WHERE id = 'court-1'")
        soon(told(project, "SELECT booking_id, state FROM recordings", [("known", "ready")]))
        soon(told(project, "SELECT booking_id FROM videos", [("known",)]))
        device.ear.until(lambda: device.booked("unseen"))
