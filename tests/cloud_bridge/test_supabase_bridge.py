"""The bridge's process between a real broker and a Supabase project (stand-in over real PostgreSQL)."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloud_bridge.stores import NewBooking
from cloud_bridge.stores.supabase import SupabaseStore
from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.client import Client
from schemas.base import Message
from schemas.commands import StartArgs
from schemas.recording import Recording, UploadedObject, UploadStage
from schemas.registry import RECORDING, UPLOAD
from tests.runtime.toys import DEV, PASSWORDS, Ear, broker_in, endpoint
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import store_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
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


class Device:
    """The bridge of court-1 as a process, and the other agents' voices."""

    def __init__(self, folder: Path, broker: Mosquitto, project: SupabaseStandIn) -> None:
        self._broker = broker
        self._config = folder / "ezrec.toml"
        self._log = folder / "bridge.log"
        self._config.write_text(
            f'[device]\nid = "{DEV}"\norg = "club"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\npassword = "{PASSWORDS["bridge"]}"\n'
            f'[storage]\nroot = "{folder}"\nring = "{folder}/ring"\n'
            f'[bookings]\nkind = "supabase"\nurl = "{project.url}"\n'
            f'key = "{project.device_key(DEV, "club")}"\n'
            f'public_key = "{project.anon_key}"\npoll_s = 1\n'
        )
        self.bridge: subprocess.Popen[bytes] | None = None
        self.ear = Ear(endpoint(broker, "view"))

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.bridge = subprocess.Popen(
                [sys.executable, "-m", "edge_agent", "bridge", "--config", str(self._config)],
                cwd=ROOT,
                stderr=log,
            )
        mine = self.bridge.pid
        self.ear.until(lambda: _pid(self.ear.latest("agent/bridge/availability")) == mine)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.bridge is not None:
            self.bridge.send_signal(how)
            self.bridge.wait(30)
            self.bridge = None

    def press(self, name: str, args: Message | None = None) -> dict[str, Any]:
        with Client(endpoint(self._broker, "cli"), DEV) as client:
            answer = client.ask("booking", name, args, timeout_s=30)
        assert answer.status == "ok", answer.message
        return answer.data

    def tell(self, booking_id: str, state: str, *, film: bool = False) -> None:
        """What health and the uploader say of a recording."""
        with Ear(endpoint(self._broker, "health")) as health:
            health.say(RECORDING.at(id=booking_id), Recording(state=state))  # type: ignore[arg-type]
        if film:
            key = f"club/{DEV}/2026-03-01/{booking_id}/film.mp4"
            done = UploadedObject(name="film", key=key, bytes=1000, hash="h-1", verified_at=datetime.now(UTC))
            with Ear(endpoint(self._broker, "uploader")) as uploader:
                uploader.say(UPLOAD.at(id=booking_id), UploadStage(status="succeeded", objects=(done,)))

    def booked(self, booking_id: str) -> dict[str, Any]:
        """The retained booking as last heard."""
        found: dict[str, Any] = json.loads(self.ear.latest(f"booking/{booking_id}") or b"{}")
        return found

    @property
    def log(self) -> str:
        return self._log.read_text()


def _pid(payload: bytes) -> int | None:
    """Of the process that says it is there."""
    said: dict[str, Any] = json.loads(payload or b"{}")
    return said.get("pid") if said.get("state") == "online" else None


@contextmanager
def running(folder: Path, broker: Mosquitto, project: SupabaseStandIn) -> Generator[Device]:
    device = Device(folder, broker, project)
    with device.ear:
        device.start()
        try:
            yield device
        finally:
            device.end()


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
