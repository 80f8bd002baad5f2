"""A whole device for the end-to-end tests: its lab, a client beside it, and what is left when it has ended.

What a device did is kept as plain files, so that it is recorded once and judged by many tests.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.stores.sqlite import SqliteStore, sqlite_path
from edge_agent.app import endpoint_of
from edge_agent.demo.lab import BUCKET, Lab, Plan
from edge_agent.demo.run import WATCHED, make_token, share, wait_ready
from edge_agent.runtime.client import Client
from schemas.agent import Alarm
from schemas.commands import Answer, BookArgs, BookingIdArgs, ExtendArgs
from schemas.recording import FINAL_STATES
from schemas.registry import ALARM, BOOKING, CAPTURE, MERGE, PROCESS, RECEIPT, RECORDING, SHARE, UPLOAD
from tests.judges.bucket import Bucket

PATIENCE_S = 90


@dataclass(frozen=True)
class Kept:
    """What a booking left behind: its objects as they are in the bucket, and what the topics said last."""

    folder: Path
    id: str

    @property
    def said(self) -> dict[str, Any]:
        """The last message of each of its topics, by the topic's last level."""
        text = (self.folder / self.id / "said.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = self.said["receipt"]
        return found

    def file(self, name: str) -> Path:
        return self.folder / self.id / name

    @property
    def film(self) -> Path:
        return self.file("film.mp4")

    @property
    def intro_frames(self) -> int:
        return int(self.receipt["film"]["intro_frames"])


def kept(folder: Path, name: str) -> Kept:
    """What the recording script of a device called a booking."""
    names: dict[str, str] = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return Kept(folder, names[name])


def shared_base(factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run of pytest."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def recorded_once(base: Path, name: str, record: Callable[[Path], None]) -> Path:
    """The folder that ``record`` fills: by whichever worker of pytest comes first, the others read it."""
    folder = base / name
    with (base / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "failed").exists():
            pytest.fail(f"{name} was not recorded: {(folder / 'failed').read_text(encoding='utf-8')}")
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _record(folder, record)
    return folder


def _record(folder: Path, record: Callable[[Path], None]) -> None:
    try:
        record(folder)
    except BaseException as error:
        # Once is enough to know it.
        (folder / "failed").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise
    (folder / "done").touch()


class Court:
    """A running device. Use `court`."""

    def __init__(self, folder: Path, lab: Lab, client: Client) -> None:
        self.folder = folder
        self.lab = lab
        self.client = client
        self.token = ""
        self._names: dict[str, str] = {}

    # --- bookings ---

    def book(self, name: str, start: datetime, seconds: float, **more: Any) -> str:
        """Book, and remember the id under a name."""
        args = BookArgs(start=start, end=start + timedelta(seconds=seconds), **more)
        answer = self.client.ask("booking", "book", args)
        assert answer.status == "ok", answer.message
        return self.remember(name, str(answer.data["id"]))

    def remember(self, name: str, booking_id: str) -> str:
        self._names[name] = booking_id
        (self.folder / "names.json").write_text(json.dumps(self._names), encoding="utf-8")
        return booking_id

    def extend(self, booking_id: str, to: datetime) -> Answer:
        return self.client.ask("booking", "extend", ExtendArgs(id=booking_id, to=to))

    def cancel(self, booking_id: str) -> Answer:
        return self.client.ask("booking", "cancel", BookingIdArgs(id=booking_id))

    def change_in_store(self, booking_id: str, **changes: object) -> None:
        """Change a booking as the cloud's pages do: in the store, without a command."""
        store = SqliteStore(sqlite_path(self.lab.settings))
        try:
            store.change_booking(booking_id, changes)
        finally:
            store.close()

    def link(self, booking_id: str) -> str:
        """A link to its page, made by the API."""
        return share(self.lab, self.token, booking_id).page

    # --- waiting ---

    def until(
        self, ready: Callable[[Mapping[Any, Any]], bool], what: str, timeout_s: float = PATIENCE_S
    ) -> None:
        """Wait for a condition over the watched topics; fails with what it waited for."""
        assert self.client.wait_for(ready, timeout_s), f"waited {timeout_s:.0f} s for {what}; {self.scene()}"

    def until_moment(self, moment: datetime) -> None:
        """Let time pass: what is waited for is the match itself."""
        time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))

    def until_final(self, *ids: str, extra: tuple[str, ...] = ()) -> None:
        """Wait until recordings are final and everything of them, receipt included, is in the bucket."""

        def done(topics: Mapping[Any, Any]) -> bool:
            return all(self._is_final(topics, booking_id, {"film", "receipt", *extra}) for booking_id in ids)

        self.until(done, f"the end of {', '.join(ids)}")

    @staticmethod
    def _is_final(topics: Mapping[Any, Any], booking_id: str, objects: set[str]) -> bool:
        recording = topics.get(RECORDING.at(id=booking_id))
        if recording is None or recording.state not in FINAL_STATES:
            return False
        if recording.state not in ("ready", "partial"):
            return True
        upload = topics.get(UPLOAD.at(id=booking_id))
        there = {one.name for one in upload.objects if one.verified_at} if upload else set()
        return objects <= there and RECEIPT.at(id=booking_id) in topics

    def until_alarm(self, agent: str, alarm: str, timeout_s: float = PATIENCE_S) -> Any:
        """Wait for a standing alarm; the alarm."""
        at = ALARM.at(agent=agent, alarm=alarm)
        self.until(lambda topics: at in topics, f"alarm {alarm} of {agent}", timeout_s)
        return self.client.get(at)

    def scene(self) -> str:
        """What recordings and alarms say now, and the last lines of the log: for a failed wait."""
        wanted = (RECORDING, ALARM, PROCESS, UPLOAD, MERGE)
        lines = [f"{at.path}: {str(m)[:300]}" for at, m in self.client.topics.items() if at.topic in wanted]
        log = (self.lab.folder / "agents.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join([*sorted(lines), *log.splitlines()[-15:]])

    # --- what is left ---

    @property
    def bucket(self) -> Bucket:
        if self.lab.bucket is None:
            return Bucket(BUCKET, self.lab.folder / "bucket")
        admin = self.lab.bucket.admin
        return Bucket(BUCKET, None, self.lab.bucket.endpoint, admin.key, admin.secret)

    def keep(self, *ids: str) -> None:
        """Keep what recordings left: objects of the bucket and last messages."""
        keys = self.bucket.keys()
        for booking_id in ids:
            folder = self.folder / booking_id
            folder.mkdir(exist_ok=True)
            mine = [key for key in keys if f"/{booking_id}/" in key]
            for key in mine:
                self.bucket.fetch(key, folder / key.rpartition("/")[2])
            said = {"keys": mine, **self._said(booking_id)}
            (folder / "said.json").write_text(json.dumps(said, indent=1), encoding="utf-8")

    def _said(self, booking_id: str) -> dict[str, Any]:
        kinds = {
            "booking": BOOKING, "recording": RECORDING, "merge": MERGE, "process": PROCESS,
            "upload": UPLOAD, "receipt": RECEIPT, "share": SHARE,
        }  # fmt: skip
        said: dict[str, Any] = {name: self.client.get(kind.at(id=booking_id)) for name, kind in kinds.items()}
        for cam in ("left", "right"):
            said[f"capture_{cam}"] = self.client.get(CAPTURE.at(id=booking_id, cam=cam))
        return {name: message.body() for name, message in said.items() if message is not None}

    def alarms(self) -> dict[str, str]:
        """Standing alarms: their text by `agent/alarm`."""
        return {
            at.path.removeprefix("alarm/"): message.text
            for at, message in self.client.topics.items()
            if isinstance(message, Alarm)
        }

    # --- a shell on the court ---

    def shell(self, program: str, *arguments: str, account: str = "court") -> list[str]:
        """The command line of mosquitto_pub or mosquitto_sub for an account."""
        assert self.lab.broker is not None
        where = ["-h", "127.0.0.1", "-p", str(self.lab.broker.port)]
        return [program, *where, "-u", account, "-P", self.lab.passwords[account], *arguments]

    def ask_from_shell(
        self, topic: str, answer_topic: str, *payload: str, account: str = "court"
    ) -> dict[str, Any]:
        """Publish with mosquitto_pub and read the one answer with mosquitto_sub."""
        root = f"ezrec/v1/{self.lab.plan.device}"
        listen = self.shell(
            "mosquitto_sub", "-d", "-C", "1", "-W", "20", "-t", f"{root}/{answer_topic}", account=account
        )
        argv = ["stdbuf", "-oL", *listen]  # its words are wanted when they are said
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            for line in listener.stdout:
                if line.startswith("Subscribed"):
                    break
            subprocess.run(
                self.shell("mosquitto_pub", "-t", f"{root}/{topic}", *payload, account=account), check=True
            )
            said = [line for line in listener.stdout.read().splitlines() if line.startswith("{")]
        assert said, f"no answer on {answer_topic}"
        found: dict[str, Any] = json.loads(said[0])
        return found


@contextlib.contextmanager
def court(
    folder: Path,
    *,
    kind: type[Lab] = Lab,
    before_ready: Callable[[Court], None] = lambda _device: None,
    **plan: Any,
) -> Generator[Court]:
    """A device of small pictures in ``folder/device``, ready to record; ended afterwards."""
    small = Plan(folder=folder / "device", store="dir", width=640, height=360, fps=30)
    wanted = replace(small, **plan)
    watched = (*WATCHED, ALARM, SHARE, CAPTURE)
    with kind(wanted) as lab, Client(endpoint_of(lab.settings, "cli"), wanted.device, watched) as client:
        device = Court(folder, lab, client)
        before_ready(device)
        wait_ready(client, lab)
        device.token = make_token(lab)
        yield device


def soon(seconds: float = 3.0) -> datetime:
    """A moment so far ahead, on the next whole second with an even number: where bookings begin."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.replace(microsecond=0) + timedelta(seconds=2 - at.second % 2)
