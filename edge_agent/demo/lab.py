"""A whole device in one folder: broker with accounts and rules, bucket, agents, bridge and API.

Real parts only; the cameras are simulated unless addresses are given. The demo, the bench and the tests
stand on it.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from edge_agent.core.settings import Settings
from edge_agent.demo.child import ServerError, find_binary, free_port
from edge_agent.demo.servers import Mosquitto, SeaweedFS
from edge_agent.runtime.settings import load
from schemas.acl import accounts, render_acl

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUCKET = "ezrec"
Table: TypeAlias = dict[str, Any]
WATCH_EVERY_S = 0.2


@dataclass(frozen=True)
class Plan:
    """What the device is to be.

    Attributes:
        folder: everything is kept here.
        store: ``s3`` (SeaweedFS on loopback) or ``dir`` (files under ``bucket/``).
        cameras: name -> address; a camera without one is simulated.
        width, height, fps: of each camera.
        scenarios: faults of the simulated cameras, by name.
        settings: further settings, as tables of ezrec.toml.
    """

    folder: Path
    store: str = "s3"
    cameras: dict[str, str] = field(default_factory=dict[str, str])
    width: int = 1280
    height: int = 720
    fps: int = 30
    scenarios: dict[str, Table] = field(default_factory=dict[str, Table])
    settings: dict[str, Table] = field(default_factory=dict[str, Table])
    device: str = "court-1"


class Lab:
    """Starts and ends the device of a `Plan`. Use as a context manager.

    Raises:
        ServerError: a server cannot run here (no binary, occupied port); one line.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = plan.folder.resolve()
        self.passwords: dict[str, str] = {}
        self.broker: Mosquitto | None = None
        self.bucket: SeaweedFS | None = None
        self.settings = Settings()
        self._agents: subprocess.Popen[bytes] | None = None
        self._ring: Path | None = None
        self._epoch_ns = time.monotonic_ns()
        self.bucket_endpoint: str | None = None  # instead of the bucket's own: a throttle in front of it
        self._watching = threading.Event()
        self._watch_lock = threading.Lock()

    @property
    def config(self) -> Path:
        """The settings file of this device."""
        return self.folder / "ezrec.toml"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- start and end ---

    def start(self) -> None:
        """Start the servers, write the settings, start the agents."""
        self.start_servers()
        self.start_device()

    def start_servers(self) -> None:
        """Start bucket and broker."""
        self.folder.mkdir(parents=True, exist_ok=True)
        cameras = ("left", "right")
        self.passwords = {name: secrets.token_urlsafe(18) for name in accounts(cameras)}
        if self.plan.store == "s3":
            self.bucket = SeaweedFS(self.folder / "s3", bucket=BUCKET)
            self.bucket.start()
        acl = render_acl(self.plan.device, cameras)
        self.broker = Mosquitto(self.folder / "mqtt", accounts=self.passwords, acl=acl)
        self.broker.start()

    def start_device(self) -> None:
        """Write the settings and start the agents; the broker is watched from now on."""
        self._write_settings()
        self.settings = load(self.config, {})
        self.start_agents()
        threading.Thread(target=self._keep_broker, name="broker-watch", daemon=True).start()

    def start_agents(self) -> None:
        """Start the supervisor with all agents, the bridge and the API."""
        log = (self.folder / "agents.log").open("ab")
        # However we end, the agents get SIGTERM. The kernel ties that to the thread that starts them.
        ends_with_us = [find_binary("setpriv", "the Debian package util-linux"), "--pdeathsig", "TERM"]
        self._agents = subprocess.Popen(
            [*ends_with_us, sys.executable, "-P", "-m", "edge_agent", "up", "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "EZREC_CONFIG": str(self.config)},
            start_new_session=True,
        )
        log.close()

    def stop_agents(self) -> None:
        """End all agents and wait for them."""
        process, self._agents = self._agents, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End everything this lab started."""
        self._watching.set()
        self.stop_agents()
        with self._watch_lock:
            if self.broker is not None:
                self.broker.stop()
        if self.bucket is not None:
            self.bucket.stop()
        if self._ring is not None:
            shutil.rmtree(self._ring, ignore_errors=True)

    def _keep_broker(self) -> None:
        """A broker that died is started again, as systemd would."""
        while not self._watching.wait(WATCH_EVERY_S):
            with self._watch_lock:
                if self.broker is not None and not self._watching.is_set() and not self.broker.running:
                    self.broker.restart()

    # --- facts ---

    @property
    def broker_port(self) -> int:
        """The broker's port on loopback.

        Raises:
            ServerError: it has not been started.
        """
        if self.broker is None:
            raise ServerError("the broker has not been started")
        return self.broker.port

    def pid(self, agent: str) -> int:
        """Process id of an agent now.

        Raises:
            OSError: it has not been started yet.
        """
        pids = Path(self.settings.storage.root) / "state" / "run"
        return int((pids / f"{agent}.pid").read_text(encoding="ascii"))

    def agents_alive(self) -> bool:
        """Whether the supervisor still runs."""
        return self._agents is not None and self._agents.poll() is None

    # --- settings ---

    def _write_settings(self) -> None:
        secrets_folder = self.folder / "secrets"
        secrets_folder.mkdir(mode=0o700, exist_ok=True)
        for name, password in self.passwords.items():
            path = secrets_folder / name
            path.write_text(password, encoding="utf-8")
            path.chmod(0o600)
        tables = self._tables()
        for section, table in self.plan.settings.items():
            tables[section] = {**tables.get(section, {}), **table}
        lines: list[str] = []
        for section, table in tables.items():
            lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in table.items()), ""]
        for camera in self._cameras():
            lines += ["[[camera]]", *(f"{key} = {_toml(value)}" for key, value in camera.items()), ""]
        self.config.write_text("\n".join(lines), encoding="utf-8")
        self.config.chmod(0o600)

    def _tables(self) -> dict[str, dict[str, Any]]:
        port = free_port()
        logos = [
            ("company", "top_left", 14.0, 1.0),
            ("user", "top_right", 14.0, 1.0),
            ("sponsor1", "bottom_left", 12.0, 0.9),
            ("sponsor2", "bottom_right", 12.0, 0.9),
        ]
        return {
            "device": {"id": self.plan.device, "org": "demo-club"},
            "mqtt": {
                "host": "127.0.0.1",
                "port": self.broker_port,
                "passwords": str(self.folder / "secrets"),
            },
            "storage": {"root": str(self.folder / "data"), "ring": str(self._ring_folder())},
            "store": self._store(),
            "api": {"host": "127.0.0.1", "port": port, "share_base_url": f"http://127.0.0.1:{port}"},
            "branding": {
                "intro": str(ASSETS / "intro.mp4"),
                "logos": [
                    {
                        "slot": slot,
                        "file": str(ASSETS / f"{slot}.png"),
                        "place": place,
                        "size": s,
                        "opacity": o,
                    }
                    for slot, place, s, o in logos
                ],
            },
        }

    def _ring_folder(self) -> Path:
        """The ring lives in memory, as on a Pi; without a tmpfs, in the folder."""
        memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made below it
        base = memory if os.access(memory, os.W_OK) else self.folder
        for left in base.glob("ezrec-ring-*"):
            if not Path(f"/proc/{left.name.split('-')[2]}").exists():
                shutil.rmtree(left, ignore_errors=True)  # of a lab that was killed
        self._ring = base / f"ezrec-ring-{os.getpid()}-{secrets.token_hex(4)}"
        return self._ring

    def _store(self) -> dict[str, Any]:
        if self.bucket is None:
            return {"kind": "dir", "folder": str(self.folder / "bucket"), "bucket": BUCKET}
        target = self.bucket.device
        return {
            "kind": "s3",
            "endpoint": self.bucket_endpoint or self.bucket.endpoint,
            "bucket": BUCKET,
            "key": target.key,
            "secret": target.secret,
        }

    def _cameras(self) -> list[dict[str, Any]]:
        cameras: list[dict[str, Any]] = []
        for name in ("left", "right"):
            camera: dict[str, Any] = {
                "name": name,
                "backend": "simulated",
                "width": self.plan.width,
                "height": self.plan.height,
                "fps": self.plan.fps,
            }
            if name in self.plan.cameras:
                camera |= {"backend": "stream", "url": self.plan.cameras[name]}
            if camera["backend"] == "simulated":
                # Frame numbers count from here, also after a capture child was replaced.
                camera["scenario"] = {"epoch_ns": self._epoch_ns, **self.plan.scenarios.get(name, {})}
            cameras.append(camera)
        return cameras


def _toml(value: object) -> str:
    """A value as TOML; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        table = cast("Table", value)
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in table.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in cast("Sequence[object]", value)) + "]"
    return json.dumps(value)
