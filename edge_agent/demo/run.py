"""`ezrec demo`: one booking recorded on this machine with nothing but real parts, from cameras to a link."""

import base64
import hashlib
import json
import signal
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cloud_bridge.stores.sqlite import SqliteStore, sqlite_path
from cloud_bridge.stores.sqlite_people import SqlitePeople
from edge_agent.app import agent_names, endpoint_of
from edge_agent.core.agent import wall_ns
from edge_agent.demo.lab import BUCKET, Lab, Plan
from edge_agent.demo.usage import tree_seconds
from edge_agent.demo.watch import LinkWatcher, download
from edge_agent.runtime.client import Client
from schemas.commands import BookArgs
from schemas.receipt import Receipt
from schemas.recording import FINAL_STATES, UploadStage
from schemas.registry import (
    AGENT_AVAILABILITY,
    AVAILABILITY,
    BOOKING,
    CAMERA_STATUS,
    MERGE,
    PROCESS,
    RECEIPT,
    RECORDING,
    UPLOAD,
)

AHEAD_S = 3
GRID_S = 2
PART_BYTES = 5 * 1024 * 1024
WATCHED = (
    AVAILABILITY, AGENT_AVAILABILITY, CAMERA_STATUS, BOOKING, RECORDING, MERGE, PROCESS, UPLOAD, RECEIPT,
)  # fmt: skip
DRAIN_S = 90
LOGIN_CODE_S = 24 * 3600


class DemoFailed(Exception):
    """The demo did not end with a film; one line that says at which point."""


@dataclass(frozen=True)
class Options:
    """What `ezrec demo` was asked for."""

    seconds: int = 20
    as_json: bool = False
    stay: bool = False
    folder: Path | None = None
    store: str = "s3"
    cameras: Mapping[str, str] = field(default_factory=dict[str, str])
    width: int = 1280
    height: int = 720
    fps: int = 30


@dataclass(frozen=True)
class Shared:
    """A link made for the booking before the film exists."""

    page: str

    @property
    def video(self) -> str:
        """The address that gives the film itself."""
        return f"{self.page}/video"


def run(options: Options, say: Callable[[str], None]) -> int:
    """Run the demo; ``say`` gets a line whenever something happened. Returns the exit code.

    Raises:
        DemoFailed, ServerError, NoBroker, NoAnswer: it could not be brought to its end; one line.
    """
    if options.folder is not None:
        return _run_in(options, options.folder, say)
    with tempfile.TemporaryDirectory(prefix="ezrec-demo-") as folder:
        return _run_in(options, Path(folder), say)


def _run_in(options: Options, folder: Path, say: Callable[[str], None]) -> int:
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: _interrupt(over))
    plan = Plan(
        folder=folder,
        store=options.store,
        cameras=dict(options.cameras),
        width=options.width,
        height=options.height,
        fps=options.fps,
    )
    say(f"starting broker, {'S3 server' if options.store == 's3' else 'folder store'}, cameras and agents")
    try:
        with Lab(plan) as lab:
            return _record(options, lab, say, over)
    except KeyboardInterrupt:
        say("ended")
        return 130


def _interrupt(over: threading.Event) -> None:
    if over.is_set():
        return
    over.set()
    raise KeyboardInterrupt


def _record(options: Options, lab: Lab, say: Callable[[str], None], over: threading.Event) -> int:
    token = make_token(lab)
    write_facts(lab, token)
    with Client(endpoint_of(lab.settings, "cli"), lab.plan.device, WATCHED) as client:
        wait_ready(client, lab)
        say("all agents are online, both cameras deliver")
        result = record_one(client, lab, token, options.seconds, say)
    result_line = json.dumps(result, ensure_ascii=False)
    if options.as_json:
        sys.stdout.write(result_line + "\n")
        sys.stdout.flush()
    good = result["state"] == "ready" and result["hash_ok"]
    say(f"{result['state']}: {result['share_url']}")
    if options.stay:
        say(f"log in at {lab.settings.api.share_base_url}/login with the code in {lab.folder / 'demo.json'}")
        say(f"staying; the film's page is {result['share_url']}, the API {lab.settings.api.share_base_url}")
        if lab.settings.smtp.host is None:
            say("no mail server is set, so nobody is written to: docs/messages.md says how")
        say("end with Ctrl-C")
        try:
            while lab.agents_alive() and not over.wait(1.0):
                pass
        except KeyboardInterrupt:
            say("ended")
    return 0 if good else 1


def make_token(lab: Lab) -> str:
    """An API key of role admin for the demo's own requests."""
    store = SqliteStore(sqlite_path(lab.settings))
    try:
        return store.make_token("admin", "demo")
    finally:
        store.close()


def make_login_code(lab: Lab) -> str:
    """A first-login code of a user ``demo``, an admin."""
    people = SqlitePeople(sqlite_path(lab.settings))
    try:
        if people.person("demo") is None:
            people.add("demo", "admin")
        return people.issue_code("demo", LOGIN_CODE_S)
    finally:
        people.close()


def write_facts(lab: Lab, token: str) -> None:
    """``demo.json``: how to reach everything, from the start."""
    store = lab.settings.store
    secret = store.secret.get_secret_value() if store.secret else None
    key = store.key.get_secret_value() if store.key else None
    facts = {
        "device": lab.plan.device,
        "broker": {
            "host": "127.0.0.1",
            "port": lab.broker_port,
            "username": "cli",
            "password": lab.passwords["cli"],
        },
        "api": {
            "url": lab.settings.api.share_base_url,
            "token": token,
            "login_code": make_login_code(lab),
        },
        "bucket": {"endpoint": store.endpoint, "name": BUCKET, "key": key, "secret": secret},
    }
    path = lab.folder / "demo.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def wait_ready(client: Client, lab: Lab, timeout_s: float = 60) -> None:
    """Wait until every agent is online and every camera delivers frames.

    Raises:
        DemoFailed: somebody did not come up.
    """
    agents = [name for name in agent_names(lab.settings) if name != "health"]
    cameras = lab.settings.camera_names()

    def online(topics: Mapping[Any, Any]) -> bool:
        there = all(_is(topics.get(AGENT_AVAILABILITY.at(agent=name)), "online") for name in agents)
        seen = all(_is(topics.get(CAMERA_STATUS.at(cam=cam)), "online", "recording") for cam in cameras)
        return there and seen and _is(topics.get(AVAILABILITY.at()), "online")

    if not client.wait_for(online, timeout_s):
        missing = [a for a in agents if not _is(client.get(AGENT_AVAILABILITY.at(agent=a)), "online")]
        missing += [f"camera {c}" for c in cameras if not _is(client.get(CAMERA_STATUS.at(cam=c)), "online")]
        log = lab.folder / "agents.log"
        raise DemoFailed(f"not ready within {timeout_s:.0f} s: {', '.join(missing)} (see {log.name})")
    _wait_api(lab)


def _is(message: object, *states: str) -> bool:
    return getattr(message, "state", None) in states


def _wait_api(lab: Lab) -> None:
    url = f"{lab.settings.api.share_base_url}/healthz"
    waiting = threading.Event()
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            waiting.wait(0.05)
    raise DemoFailed("the API does not answer on its port")


def next_start(now: datetime) -> datetime:
    """3 s from now, on the 2 s grid cameras split their segments on, as bookings at full minutes are."""
    at = now + timedelta(seconds=AHEAD_S)
    grid_ns = GRID_S * 1_000_000_000
    late_ns = -wall_ns(at) % grid_ns
    return at + timedelta(microseconds=late_ns // 1000)


def record_one(
    client: Client, lab: Lab, token: str, seconds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Book, watch, fetch. The object `ezrec demo --json` ends with (and ``hash_ok``).

    Raises:
        DemoFailed: the booking was refused, or nothing final came of it in time.
    """
    start = next_start(datetime.now(UTC))
    end = start + timedelta(seconds=seconds)
    answer = client.ask("booking", "book", BookArgs(start=start, end=end, title="Demo"))
    if answer.status != "ok":
        raise DemoFailed(f"the booking was refused: {answer.message}")
    booking_id = str(answer.data["id"])
    say(f"booked {booking_id}: {seconds} s from {start:%H:%M:%S} UTC")
    before = cpu_seconds(lab)
    shared = share(lab, token, booking_id)
    watcher = LinkWatcher(shared.video, end)
    watcher.start()
    try:
        receipt = follow(client, booking_id, end + timedelta(seconds=DRAIN_S), say)
        watchable = watcher.wait(10)
    finally:
        watcher.stop()
    film = lab.folder / "film.mp4"
    size = download(shared.video, film) if watchable else 0
    return summary(lab, booking_id, receipt, shared, watcher, size) | {
        "cpu_seconds": round(cpu_seconds(lab) - before, 2),
        "hash_ok": bool(receipt.film and size and composite_sha256(film) == receipt.film.sha256),
        "receipt": receipt_body(receipt),
    }


def share(lab: Lab, token: str, booking_id: str) -> Shared:
    """Make a link for a booking through the API."""
    request = urllib.request.Request(
        f"{lab.settings.api.share_base_url}/api/v1/recordings/{booking_id}/shares",
        data=b"{}",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return Shared(json.load(answer)["url"])


def follow(client: Client, booking_id: str, until: datetime, say: Callable[[str], None]) -> Receipt:
    """Say what happens until the recording is final and has its receipt.

    Raises:
        DemoFailed: it is not, at ``until``.
    """
    at = RECORDING.at(id=booking_id)
    receipt_at = RECEIPT.at(id=booking_id)
    said = ""

    def changed(topics: Mapping[Any, Any]) -> bool:
        return (topics.get(at), topics.get(receipt_at)) != (recording, receipt)

    while datetime.now(UTC) < until:
        recording = client.get(at)
        receipt: Receipt | None = client.get(receipt_at)
        if recording is not None:
            line = f"{recording.state} {recording.progress_pct // 10 * 10} %"
            if line != said:
                said = line
                say(line)
        if recording is not None and recording.state in FINAL_STATES and receipt is not None:
            return receipt
        client.wait_for(changed, 1.0)
    recording = client.get(at)
    why = f"{recording.state}: {recording.why}" if recording else "no recording was published"
    raise DemoFailed(f"{booking_id} did not become final in time ({why})")


def cpu_seconds(lab: Lab) -> float:
    """CPU seconds of all agents and what they started, simulated cameras' children apart."""
    pids = [lab.pid(name) for name in agent_names(lab.settings)]
    total = tree_seconds(pids, capture=False)
    streams = [c.name for c in lab.settings.camera if c.backend != "simulated"]
    return total + tree_seconds([lab.pid(f"camera_{name}") for name in streams], capture=True)


def composite_sha256(path: Path) -> str:
    """S3's composite SHA-256 of a file over 5 MiB parts: base64 of the digest of digests, and their count."""
    whole = hashlib.sha256()
    parts = 0
    with path.open("rb") as file:
        while chunk := file.read(PART_BYTES):
            whole.update(hashlib.sha256(chunk).digest())
            parts += 1
    return f"{base64.b64encode(whole.digest()).decode()}-{parts}"


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    """The receipt as JSON."""
    return dict(receipt.body())


def summary(
    lab: Lab, booking_id: str, receipt: Receipt, shared: Shared, watcher: LinkWatcher, size: int
) -> dict[str, Any]:
    """The figures of a recording as a client saw them."""
    whistle = receipt.planned_end
    watchable_s = (watcher.watchable_at - whistle).total_seconds() if watcher.watchable_at else None
    film = receipt.film
    return {
        "booking_id": booking_id,
        "state": receipt.state,
        "share_url": shared.page,
        "bucket": BUCKET,
        "key": _film_key(lab, booking_id),
        "film_path": str(lab.folder / "film.mp4"),
        "film_bytes": size,
        "film_duration_s": film.duration_s if film else None,
        "width": film.width if film else None,
        "height": film.height if film else None,
        "fps": film.fps if film else None,
        "whistle_to_watchable_s": round(watchable_s, 3) if watchable_s is not None else None,
        "machine_s": receipt.machine_s,
        "uplink_s": receipt.uplink_s,
        "start_error_ms": receipt.start_error_ms,
        "end_error_ms": receipt.end_error_ms,
    }


def _film_key(lab: Lab, booking_id: str) -> str | None:
    store = SqliteStore(sqlite_path(lab.settings))
    try:
        stored = store.results(booking_id).get("upload")
    finally:
        store.close()
    stage = UploadStage.model_validate(stored.body) if stored else UploadStage()
    return next((item.key for item in stage.objects if item.name == "film"), None)
