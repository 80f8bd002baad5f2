"""The bridge of court-1 as a process between a broker and a Supabase project, without the other agents."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.client import Client
from schemas.base import Message
from schemas.recording import Recording, UploadedObject, UploadStage
from schemas.registry import RECORDING, UPLOAD
from tests.runtime.toys import DEV, PASSWORDS, Ear, endpoint
from tests.standins.supabase import SupabaseStandIn

ROOT = Path(__file__).resolve().parents[2]


class Device:
    """The bridge of court-1 as a process, and the other agents' voices."""

    def __init__(self, folder: Path, broker: Mosquitto, project: SupabaseStandIn, *more: str) -> None:
        """Write its settings; ``more`` are lines of ``[bookings]``."""
        self._broker = broker
        self._config = folder / "ezrec.toml"
        self._log = folder / "bridge.log"
        self._config.write_text(
            f'[device]\nid = "{DEV}"\norg = "club"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\npassword = "{PASSWORDS["bridge"]}"\n'
            f'[storage]\nroot = "{folder}"\nring = "{folder}/ring"\n'
            f'[bookings]\nkind = "supabase"\nurl = "{project.url}"\n'
            f'key = "{project.device_key(DEV, "club")}"\n'
            f'public_key = "{project.anon_key}"\n' + "\n".join(more or ("poll_s = 1",)) + "\n"
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
        return self.said(f"booking/{booking_id}")

    def said(self, path: str) -> dict[str, Any]:
        """The last message heard on a path, {} before there was one."""
        found: dict[str, Any] = json.loads(self.ear.latest(path) or b"{}")
        return found

    @property
    def log(self) -> str:
        return self._log.read_text()


def _pid(payload: bytes) -> int | None:
    """Of the process that says it is there."""
    said: dict[str, Any] = json.loads(payload or b"{}")
    return said.get("pid") if said.get("state") == "online" else None


@contextmanager
def running(folder: Path, broker: Mosquitto, project: SupabaseStandIn, *more: str) -> Generator[Device]:
    """Its process, up to the end of the block; ``more`` as of `Device`."""
    device = Device(folder, broker, project, *more)
    with device.ear:
        device.start()
        try:
            yield device
        finally:
            device.end()
