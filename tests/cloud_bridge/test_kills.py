"""The bridge killed at random instants while bookings change, results come, and the store comes and goes."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud_bridge.stores import NewBooking, SqliteStore
from edge_agent.core.settings import Settings
from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.client import Client, NoAnswer
from schemas.base import decode, utc_text
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.commands import BookArgs, BookingIdArgs, StartArgs
from schemas.recording import Recording
from schemas.registry import BOOKING, RECORDING, SCHEDULE_SYNC
from tests.runtime.toys import DEV, Ear, broker_in, endpoint, eventually

ROOT = Path(__file__).resolve().parents[2]
BOOKINGS, CHANGES, RESULTS, KILLS = 40, 500, 200, 50
LOG = """
    CREATE TABLE said (what TEXT, id TEXT, part TEXT, body TEXT);
    CREATE TRIGGER said_new AFTER INSERT ON results BEGIN
        INSERT INTO said VALUES ('result', new.booking_id, new.kind, new.body); END;
    CREATE TRIGGER said_again AFTER UPDATE OF body ON results BEGIN
        INSERT INTO said VALUES ('result', new.booking_id, new.kind, new.body); END;
    CREATE TRIGGER said_notice AFTER INSERT ON notices BEGIN
        INSERT INTO said VALUES ('notice', new.id, new.kind, ''); END;
    CREATE TRIGGER said_booking AFTER INSERT ON bookings BEGIN
        INSERT INTO said VALUES ('booking', new.id, new.kind, new.status); END;
"""


class World:
    """Broker, store and the nursery of the bridge; what people and agents do is drawn from a seed."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.lots = random.Random(4711)
        self.store = SqliteStore(folder / "store.sqlite", device=Settings().device)
        self.store._db._db.executescript(LOG)
        command = [sys.executable, "-m", "tests.cloud_bridge.nursery", str(broker.port), str(folder)]
        self.nursery = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = 0
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.said: dict[str, list[Recording]] = {}

    def born(self) -> None:
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write("\n")
        self.nursery.stdin.flush()
        self.pid = int(self.nursery.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.born()

    def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        assert self.nursery.stdin is not None
        self.nursery.stdin.close()
        assert self.nursery.wait(60) == 0
        assert self.nursery.stdout is not None
        self.nursery.stdout.close()
        self.store.close()

    def hold(self, name: str, *, on: bool) -> None:
        file = self.folder / name
        file.touch() if on else file.unlink(missing_ok=True)

    def book(self) -> None:
        for number in range(BOOKINGS):
            start = self.now + timedelta(hours=3 + 2 * number)
            self.store.create_booking(NewBooking(f"b{number}", "booked", start, start + timedelta(hours=1)))

    def change(self) -> None:
        """Somebody changes a booking."""
        number = self.lots.randrange(BOOKINGS)
        start = self.now + timedelta(hours=3 + 2 * number)
        changes = self.lots.choice(
            (
                {"end": start + timedelta(minutes=self.lots.randint(5, 110))},
                {"status": self.lots.choice(("confirmed", "cancelled"))},
                {"record": self.lots.choice(("yes", "no"))},
            )
        )
        self.store.change_booking(f"b{number}", changes)

    def result(self, ear: Ear) -> None:
        """Health says how far a recording is."""
        booking_id = f"r{self.lots.randrange(RESULTS // 4)}"
        said = self.said.setdefault(booking_id, [])
        last = len(said) >= 3
        message = (
            Recording(state="ready", progress_pct=100, why=f"said {len(said)}")
            if last
            else Recording(state="recording", progress_pct=20 * len(said) + 10)
        )
        said.append(message)
        ear.say(RECORDING.at(id=booking_id), message)


@pytest.fixture
def world(tmp_path: Path) -> Generator[tuple[World, Mosquitto]]:
    with broker_in(tmp_path / "broker") as broker:
        world = World(tmp_path, broker)
        world.book()
        world.born()
        yield world, broker
        world.end()


def pressed(client: Client, name: str, args: object, command_id: str) -> str:
    """A button, pressed again with the same id until it is answered; the booking it speaks of."""
    for _ in range(200):
        try:
            answer = client.ask("booking", name, args, command_id=command_id, timeout_s=2)  # type: ignore[arg-type]
        except NoAnswer:
            continue
        assert answer.status in ("ok", "accepted"), answer
        return str(answer.data["id"])
    raise AssertionError(name)


def press(client: Client, ended: threading.Event, pressed_ids: list[str]) -> None:
    """Somebody at the court starts, stops and books, one after the other."""
    number = 0
    while not ended.is_set() and number < 12:
        started = pressed(client, "start", StartArgs(minutes=30), f"start-{number}")
        assert pressed(client, "stop", None, f"stop-{number}") == started
        pressed_ids.append(started)
        begin = datetime.now(UTC) + timedelta(days=9, hours=2 * number)
        args = BookArgs(id=f"c{number}", start=begin, end=begin + timedelta(hours=1))
        pressed(client, "book", args, f"book-{number}")
        if number % 2:
            pressed(client, "cancel", BookingIdArgs(id=f"c{number}"), f"cancel-{number}")
        number += 1


@pytest.mark.lane
@pytest.mark.slow
def test_nothing_is_lost_and_nothing_comes_twice(world: tuple[World, Mosquitto]) -> None:
    it, broker = world
    ended, ids = threading.Event(), list[str]()
    with (
        Ear(endpoint(broker, "health"), name="speaker") as speaker,
        Ear(endpoint(broker, "view"), name="listener") as listener,
        Client(endpoint(broker, "cli"), DEV) as court,
    ):
        player = threading.Thread(target=press, args=(court, ended, ids))
        player.start()
        for number in range(KILLS):
            it.hold("down", on=number % 2 == 0)
            it.hold("lossy", on=number % 4 == 1)
            for _ in range(CHANGES // KILLS):
                it.change()
            for _ in range(RESULTS // KILLS):
                it.result(speaker)
            threading.Event().wait(it.lots.uniform(0.02, 0.9))
            it.kill()
        it.hold("down", on=False)
        it.hold("lossy", on=False)
        player.join(60)
        assert not player.is_alive()
        ended.set()
        eventually(lambda: published(listener) == truth(it.store))
        eventually(lambda: not untold(it))
        eventually(lambda: not [path for path in listener.retained() if path.startswith("alarm/bridge/")])
        assert marker(listener) == (len(truth(it.store)), True)
    each_once(it, ids)


def truth(store: SqliteStore) -> dict[str, tuple[str, str, str, str]]:
    return {row.id: (row.start, row.end, row.status, row.record) for row in store.poll(0).rows}


def published(ear: Ear) -> dict[str, tuple[str, str, str, str]]:
    found: dict[str, tuple[str, str, str, str]] = {}
    for path, payload in ear.retained().items():
        address = BOOKING.match(path)
        if address is not None:
            one = decode(Booking, payload)
            found[address["id"]] = (utc_text(one.start), utc_text(one.end), one.status, one.record)
    return found


def marker(ear: Ear) -> tuple[int, bool]:
    """The count of the schedule's marker, and whether its digest is that of what is retained."""
    retained = ear.retained()
    sync = decode(ScheduleSync, retained[SCHEDULE_SYNC.at().path])
    revs = [
        (address["id"], decode(Booking, payload).rev)
        for path, payload in retained.items()
        if (address := BOOKING.match(path)) is not None
    ]
    return sync.count, sync.digest == schedule_digest(revs)


def untold(it: World) -> list[str]:
    """Recordings whose last word is not in the store."""
    lacking: list[str] = []
    for booking_id, said in it.said.items():
        stored = it.store.results(booking_id).get("recording")
        if stored is None or Recording.model_validate(dict(stored.body)) != said[-1]:
            lacking.append(booking_id)
    return lacking


def each_once(it: World, ids: list[str]) -> None:
    """Every row was written once, as the log of the store has it."""
    written = it.store._db.rows("SELECT * FROM said")
    for booking_id, said in it.said.items():
        bodies = [row["body"] for row in written if (row["what"], row["id"]) == ("result", booking_id)]
        assert len(bodies) == len(set(bodies)) <= len(said), booking_id
    bookings = [row["id"] for row in written if row["what"] == "booking"]
    assert len(bookings) == len(set(bookings))
    manual = {row["id"] for row in written if (row["what"], row["part"]) == ("booking", "manual")}
    assert (manual, len(ids)) == (set(ids), 12)
    notices = [row["id"] for row in written if row["what"] == "notice"]
    assert len(notices) == len(set(notices))
    for number in range(12):
        row = it.store.booking(f"c{number}")
        assert row is not None
        assert row.stored.status == ("cancelled" if number % 2 else "confirmed")
