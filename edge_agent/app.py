"""The composition root: which agent gets which drivers, settings and place. The only module that sees all."""

import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud_bridge import bridge
from cloud_bridge.dressings import read_dressings
from cloud_bridge.effects import BridgeEffects
from cloud_bridge.keeper import Keeper, Rounds, kept_bucket
from cloud_bridge.objects.client import BucketError as KeptBucketError
from cloud_bridge.outbox import Outbox
from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.opening import open_hints, open_keeping, open_media, open_messages, open_store
from edge_agent import VERSION
from edge_agent.agents import camera, health, merger, processor, uploader
from edge_agent.core.agent import Agent
from edge_agent.core.settings import Settings
from edge_agent.drivers.health_effects import HealthDrivers
from edge_agent.drivers.objects import StoreError as BucketError
from edge_agent.drivers.plans import MergerDrivers
from edge_agent.drivers.upload_effects import uploader_drivers
from edge_agent.runtime import log as logs
from edge_agent.runtime.bus import Endpoint
from edge_agent.runtime.clock import SystemClock, read_boot_id
from edge_agent.runtime.host import AlreadyRunning, Drivers, Host, Place

EXIT_CONFIG = 78
EXIT_SOFTWARE = 70

log = logging.getLogger(__name__)


class NoSuchAgent(Exception):
    """The settings name no such agent."""


def agent_names(settings: Settings) -> tuple[str, ...]:
    """The agents of this device in order of start; the bridge is one of them."""
    cameras = tuple(f"camera_{name}" for name in settings.camera_names())
    return (*cameras, "merger", "processor", "uploader", "health", "bridge")


def _camera(settings: Settings, cam: str) -> tuple[Agent[Any, Any], Drivers]:
    if cam not in settings.camera_names():
        raise NoSuchAgent(f"camera_{cam}: the settings name {', '.join(settings.camera_names())}")
    # NumPy and PyAV are 35 MB of memory: only who works with pictures pays for them.
    from edge_agent.drivers.camera_effects import CameraEffects  # noqa: PLC0415

    name = settings.camera_of(cam).name
    return camera.agent(settings, name), CameraEffects(settings, name, read_boot_id(), log.info)


def _processor(settings: Settings) -> tuple[Agent[Any, Any], Drivers]:
    from edge_agent.drivers.film_effects import ProcessorDrivers  # noqa: PLC0415 - as for a camera

    return processor.agent(settings), ProcessorDrivers(Path(settings.storage.root))


def _bridge(settings: Settings) -> tuple[Agent[Any, Any], Drivers]:
    bookings = settings.bookings
    path = Path(settings.storage.root) / "state" / "bridge" / "outbox.sqlite"
    outbox = Outbox(path, f"{bookings.kind} {bookings.url or ''} {settings.device.id}")
    hints = open_hints(settings)
    if hints is not None:
        hints.start()
    effects = BridgeEffects(open_store(settings), outbox, hints)
    return bridge.agent(settings, read_dressings(settings)), effects


def build(name: str, settings: Settings) -> tuple[Agent[Any, Any], Drivers]:
    """An agent and its drivers.

    Raises:
        NoSuchAgent: no agent has that name.
        OSError: its folders cannot be made.
    """
    root = Path(settings.storage.root)
    makers: dict[str, Callable[[], tuple[Agent[Any, Any], Drivers]]] = {
        "merger": lambda: (merger.agent(settings), MergerDrivers(root)),
        "processor": lambda: _processor(settings),
        "uploader": lambda: (uploader.agent(settings), uploader_drivers(settings)),
        "health": lambda: (health.agent(settings), HealthDrivers(settings)),
        "bridge": lambda: _bridge(settings),
    }
    kind, _, cam = name.partition("_")
    if kind == "camera" and cam:
        return _camera(settings, cam)
    if name not in makers:
        raise NoSuchAgent(f"{name}: expected one of {', '.join(agent_names(settings))}")
    return makers[name]()


def password_of(settings: Settings, account: str) -> str | None:
    """The account's password: systemd's credential, the settings' folder, or the settings' own.

    Raises:
        OSError: the folder has no readable file for the account.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / f"mqtt-{account}").exists():
        return (Path(credentials) / f"mqtt-{account}").read_text(encoding="utf-8").strip()
    if settings.mqtt.passwords:
        return (Path(settings.mqtt.passwords) / account).read_text(encoding="utf-8").strip()
    return settings.mqtt.password.get_secret_value() if settings.mqtt.password else None


def endpoint_of(settings: Settings, account: str) -> Endpoint:
    """Where the broker is, and who we are there."""
    mqtt = settings.mqtt
    return Endpoint(
        host=mqtt.host,
        port=mqtt.port,
        account=mqtt.username or account,
        password=password_of(settings, account),
        socket=mqtt.socket,
        tls=mqtt.tls,
    )


def run_agent(name: str, settings: Settings) -> int:
    """Run one agent in this process until SIGTERM. Returns the process's exit code."""
    logs.set_up(name, settings.log.level)
    try:
        agent, drivers = build(name, settings)
        place = Place(
            dev=settings.device.id,
            endpoint=endpoint_of(settings, name),
            state=Path(settings.storage.root) / "state" / name,
            version=VERSION,
            journal_days=settings.retention.journal_days,
        )
        host = Host(agent, settings, place, drivers, SystemClock())
    except (NoSuchAgent, AlreadyRunning) as error:
        log.error("%s", error)  # noqa: TRY400 - one line, no trace
        return EXIT_CONFIG
    except (OSError, StoreError, BucketError, sqlite3.Error) as error:
        log.error("%s cannot start: %s", name, error)  # noqa: TRY400 - the same
        return EXIT_SOFTWARE
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: host.stop())
    try:
        host.run()
    except (RuntimeError, OSError) as error:
        log.error("%s ended: %s", name, error)  # noqa: TRY400 - the same
        return EXIT_SOFTWARE
    return 0


def run_api(settings: Settings) -> int:
    """Serve the HTTP side in this process until SIGTERM. Returns the process's exit code."""
    from cloud_bridge.api.beside import open_beside  # noqa: PLC0415 - FastAPI is heavy, agents do not need it
    from cloud_bridge.api.live import LiveDevice  # noqa: PLC0415 - the same
    from cloud_bridge.api.serve import serve  # noqa: PLC0415 - the same

    logs.set_up("api", settings.log.level)
    try:
        live = LiveDevice(endpoint_of(settings, "api"), settings.device.id)
    except OSError as error:
        log.warning("the device is known by its rows alone: its broker's password cannot be read (%s)", error)
        live = None
    try:
        store, beside = open_store(settings), open_beside(settings, live)
    except StoreError as error:
        log.error("api cannot start: %s", error.text)  # noqa: TRY400 - one line, no trace
        return EXIT_SOFTWARE
    serve(settings, store, beside)
    return 0


def run_keeper(settings: Settings) -> int:
    """Remove from the bucket what is past its time, every hour until SIGTERM. Returns the exit code."""
    logs.set_up("keeper", settings.log.level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        store, bucket, media = open_keeping(settings), kept_bucket(settings), open_media(settings)
        messages = open_messages(settings, everywhere=True)
    except (StoreError, KeptBucketError) as error:
        log.error("keeper cannot start: %s", error.text)  # noqa: TRY400 - one line, no trace
        return EXIT_SOFTWARE
    log.info("the keeper looks after bucket %s", settings.store.bucket)
    Rounds(Keeper(store, bucket, settings, media=media), messages).run(stop)
    for one in (store, bucket, media, messages):
        if one is not None:
            one.close()
    return 0


def fail(text: str, code: int) -> None:
    """Say one line and end the process."""
    sys.stderr.write(f"ezrec: {text}\n")
    sys.exit(code)
