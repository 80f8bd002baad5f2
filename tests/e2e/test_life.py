"""The life of a booking: row, film, rows of what became of it, mail and link; the store there, and away.

Whole devices over each store: the embedded file, and a Supabase project (stand-in over real PostgreSQL) with
sender and API in the cloud. The first is away while somebody else has it locked, the second while nobody
listens at its address.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, LiteralString, Protocol, TypeAlias

import psycopg
import pytest

from cloud_bridge.stores import NewBooking
from cloud_bridge.stores.sqlite import SqliteStore, sqlite_path
from edge_agent.demo.child import free_port
from edge_agent.demo.lab import Table
from edge_agent.demo.run import composite_sha256
from schemas.base import utc_text
from schemas.commands import BookArgs
from schemas.registry import BOOKING, RECEIPT, SHARE
from tests.cloud_bridge.notify.servers import Mailbox, mail_server, text_of
from tests.e2e.court import PATIENCE_S, Court, court, soon
from tests.judges import link
from tests.standins.supabase import SupabaseStandIn
from tests.support.postgres import postgres
from tests.support.supabase import project, running

__all__ = ["postgres", "project", "running"]

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 6
Said: TypeAlias = list[tuple[str, str]]
"""Booking and the word for its status, in the order in which the store had them."""


class Side(Protocol):
    """Where bookings are kept, as somebody sees it who does not sit at the court."""

    tables: dict[str, Table]

    @property
    def words(self) -> tuple[str, ...]:
        """For a booking's status, in the order in which they may come."""
        ...

    def opened(self, device: Court) -> None:
        """The device runs."""

    def book(self, begin: datetime, contact: str) -> str: ...
    def away(self) -> None: ...
    def back(self) -> None: ...
    def said(self) -> Said: ...
    def films(self) -> list[tuple[str, str]]:
        """Booking and key of each film that is told of."""
        ...

    def rows(self) -> list[tuple[str, str]]:
        """Every booking and its kind."""
        ...


# --- the embedded file ---

SQLITE_LOG = """
    CREATE TABLE said (booking_id TEXT, word TEXT);
    CREATE TRIGGER said_new AFTER INSERT ON results WHEN new.kind = 'recording' BEGIN
        INSERT INTO said VALUES (new.booking_id, new.body ->> 'state'); END;
    CREATE TRIGGER said_again AFTER UPDATE OF body ON results WHEN new.kind = 'recording' BEGIN
        INSERT INTO said VALUES (new.booking_id, new.body ->> 'state'); END;
"""
SQLITE_FILMS = """
    SELECT r.booking_id, o.value ->> 'key' FROM results r, json_each(r.body, '$.objects') o
    WHERE r.kind = 'upload' AND o.value ->> 'name' = 'film' AND o.value ->> 'verified_at' IS NOT NULL
"""


class Embedded:
    """The file of the device, which sends its messages itself."""

    words = ("scheduled", "recording", "finishing", "ready")

    def __init__(self, box: Mailbox) -> None:
        self._open = ExitStack()
        self.tables: dict[str, Table] = {"smtp": smtp(box)}

    def opened(self, device: Court) -> None:
        self._path = sqlite_path(device.lab.settings)
        self._locking = sqlite3.connect(self._path, isolation_level=None, timeout=60)
        self._open.callback(self._locking.close)
        self._locking.executescript(SQLITE_LOG)

    def book(self, begin: datetime, contact: str) -> str:
        wanted = NewBooking(
            f"b-{contact.partition('@')[0]}", "booked", begin, begin + timedelta(seconds=SECONDS),
            title=contact, contacts=(contact,),
        )  # fmt: skip
        with closing(SqliteStore(self._path)) as store:
            store.create_booking(wanted)
        return wanted.id

    def away(self) -> None:
        self._locking.execute("BEGIN IMMEDIATE")

    def back(self) -> None:
        self._locking.execute("ROLLBACK")

    def close(self) -> None:
        self._open.close()

    def said(self) -> Said:
        return self._rows("SELECT booking_id, word FROM said ORDER BY rowid")

    def films(self) -> list[tuple[str, str]]:
        return self._rows(SQLITE_FILMS)

    def rows(self) -> list[tuple[str, str]]:
        return self._rows('SELECT id, kind FROM bookings ORDER BY "start"')

    def _rows(self, text: str) -> list[tuple[str, str]]:
        return self._locking.execute(text).fetchall()


# --- a project ---

PROJECT_LOG: LiteralString = """
    CREATE SCHEMA judge;
    CREATE TABLE judge.said (n bigint GENERATED ALWAYS AS IDENTITY, booking_id text, word text);
    CREATE FUNCTION judge.say() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO judge.said (booking_id, word)
            SELECT new.booking_id, status FROM public.bookings WHERE id = new.booking_id;
        RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER judge_says AFTER INSERT OR UPDATE ON public.results
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION judge.say();
"""
PROJECT_GONE: LiteralString = "DROP SCHEMA IF EXISTS judge CASCADE"


class Cloud:
    """A project of a club: the device has its own key alone, sender and API in the cloud the service's."""

    words = ("confirmed", "Recording", "Processing", "Uploading", "Uploaded", "Completed")

    def __init__(self, project: SupabaseStandIn, folder: Path, box: Mailbox) -> None:
        self._project, self._folder, self._box = project, folder, box
        self._cloud: list[subprocess.Popen[bytes]] = []
        bookings = {
            "kind": "supabase", "url": project.url, "public_key": project.anon_key, "poll_s": 1,
        }  # fmt: skip
        self.tables: dict[str, Table] = {"device": {"org": "club"}, "bookings": bookings}
        secret = folder / "device" / "secrets" / "bookings.key"
        secret.parent.mkdir(parents=True, mode=0o700)
        secret.write_text(project.device_key("court-1", "club"), encoding="utf-8")
        secret.chmod(0o600)
        self._do(PROJECT_GONE)
        self._do(PROJECT_LOG)

    def opened(self, device: Court) -> None:
        """Somewhere else run the sender, and the API that links lead to."""
        port = free_port()
        bucket = device.lab.settings.store
        tables: dict[str, Table] = {
            "bookings": {"kind": "supabase", "url": self._project.url, "poll_s": 1},
            "api": {"port": port, "share_base_url": f"http://127.0.0.1:{port}"},
            "store": {"kind": "dir", "folder": bucket.folder, "bucket": bucket.bucket},
            "storage": {"root": str(self._folder / "cloud")},
            "device": {"org": "club"},
            "smtp": smtp(self._box),
        }
        lines: list[str] = []
        for section, table in tables.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        config = self._folder / "cloud.toml"
        config.write_text("\n".join(lines), encoding="utf-8")
        secret = {**os.environ, "EZREC_BOOKINGS__KEY": self._project.service_key}
        with (self._folder / "cloud.log").open("wb") as log:
            for words in (("notify", "run", "--all"), ("api",)):
                command = [sys.executable, "-m", "edge_agent", *words, "--config", str(config)]
                self._cloud.append(subprocess.Popen(command, cwd=ROOT, stderr=log, env=secret))

    def book(self, begin: datetime, contact: str) -> str:
        """As docs/supabase.md has it."""
        self._do(
            "INSERT INTO bookings (camera_id, start_time, end_time, title, email)"
            " VALUES ('court-1', %s, %s, %s, %s)",
            (utc_text(begin), utc_text(begin + timedelta(seconds=SECONDS)), contact, contact),
        )
        *_, (booking_id, _) = self._rows("SELECT id, title FROM bookings ORDER BY start_time")
        return str(booking_id)

    def away(self) -> None:
        self._project.stop()

    def back(self) -> None:
        self._project.start()

    def close(self) -> None:
        for process in self._cloud:
            process.terminate()
        assert [process.wait(60) for process in self._cloud] == [0] * len(self._cloud)
        self._do(PROJECT_GONE)

    def said(self) -> Said:
        return self._rows("SELECT booking_id, word FROM judge.said ORDER BY n")

    def films(self) -> list[tuple[str, str]]:
        return self._rows("SELECT booking_id, storage_path FROM videos")

    def rows(self) -> list[tuple[str, str]]:
        return self._rows("SELECT id, kind FROM court_bookings ORDER BY starts_at")

    def _do(self, text: LiteralString, values: tuple[str, ...] = ()) -> None:
        with psycopg.connect(self._project.database.dsn, autocommit=True) as db:
            db.execute(text, values)

    def _rows(self, text: LiteralString) -> list[Any]:
        with psycopg.connect(self._project.database.dsn, autocommit=True) as db:
            return db.execute(text).fetchall()


def smtp(box: Mailbox) -> Table:
    return {"host": "127.0.0.1", "port": box.port, "sender": "films@club.example", "tls": False}


# --- the lives ---


@pytest.fixture
def box() -> Generator[Mailbox]:
    with mail_server() as box:
        yield box


def live(folder: Path, side: Side, box: Mailbox) -> None:
    with court(folder, settings=side.tables) as device:
        side.opened(device)
        ada = side.book(soon(), "ada@example.org")
        until_delivered(device, ada)
        assert box.recipients == ["ada@example.org"]
        ben, eve = while_away(device, side)
        assert box.recipients == ["ada@example.org"]
        side.back()
        until_delivered(device, ben, eve)
        assert box.recipients[0] == "ada@example.org"
        assert sorted(box.recipients[1:]) == ["ben@example.org", "eve@example.org"]
        assert side.rows() == [(ada, "booked"), (ben, "booked"), (eve, "booked")]
        said, films = side.said(), dict(side.films())
        assert len(side.films()) == len(films) == 3
        for name, booking_id in (("ada", ada), ("ben", ben), ("eve", eve)):
            mail = box.mails[box.recipients.index(f"{name}@example.org")]
            is_whole(device, booking_id, mail, films[booking_id])
        assert words(said, ada)[-1] == words(said, ben)[-1] == words(said, eve)[-1] == side.words[-1]
        assert side.words[1] in words(said, ada)
        for booking_id in (ada, ben, eve):
            assert words(said, booking_id) == [w for w in side.words if w in words(said, booking_id)]
        retained = json.dumps([message.body() for message in device.client.topics.values()])
        log = (device.lab.folder / "agents.log").read_text(encoding="utf-8", errors="replace")
        tokens = [tail for mail in box.mails for tail in re.findall(r"/s/(\S+)", text_of(mail))]
        assert len(set(tokens)) == 3
        assert not [secret for secret in (*tokens, "@example.org") if secret in retained + log]


def test_a_booking_in_the_devices_own_file(tmp_path: Path, box: Mailbox) -> None:
    with closing(Embedded(box)) as side:
        live(tmp_path, side, box)


def test_a_booking_in_a_supabase_project(tmp_path: Path, box: Mailbox, project: SupabaseStandIn) -> None:
    with closing(Cloud(project, tmp_path, box)) as side:
        live(tmp_path, side, box)


def while_away(device: Court, side: Side) -> tuple[str, str]:
    """One booking is known when the store goes, its neighbour is made at the court after that."""
    begin = soon(10)
    ben = side.book(begin, "ben@example.org")
    device.until(lambda topics: BOOKING.at(id=ben) in topics, "the row")
    side.away()
    before = side.said()  # that it is scheduled may have been told by then
    begin += timedelta(seconds=SECONDS)
    args = BookArgs(
        start=begin, end=begin + timedelta(seconds=SECONDS), title="Eve", contacts=("eve@example.org",)
    )
    answer = device.client.ask("booking", "book", args, timeout_s=PATIENCE_S)
    assert answer.status == "accepted", answer
    eve = str(answer.data["id"])
    device.until_final(ben, eve)
    assert side.said() == before
    assert not {ben, eve} & {booking_id for booking_id, _ in side.films()}
    assert eve not in dict(side.rows())
    return ben, eve


def until_delivered(device: Court, *ids: str) -> None:
    """Wait until the film is final, a message is out, and the device has heard of it and accounts for it."""
    device.until_final(*ids)

    def delivered(topics: Mapping[Any, Any]) -> bool:
        shares = [topics.get(SHARE.at(id=booking_id)) for booking_id in ids]
        receipts = [topics.get(RECEIPT.at(id=booking_id)) for booking_id in ids]
        return all(one is not None and one.delivered_at is not None for one in shares) and all(
            one is not None and one.whistle_to_delivered_s is not None for one in receipts
        )

    device.until(delivered, f"delivery of {', '.join(ids)}")


def is_whole(device: Court, booking_id: str, mail: EmailMessage, key: str) -> None:
    """The mail's link opens the film that the receipt accounts for, and the row names it."""
    receipt = device.client.get(RECEIPT.at(id=booking_id))
    share = device.client.get(SHARE.at(id=booking_id))
    assert receipt is not None
    assert share is not None
    assert receipt.film is not None
    assert receipt.state == "ready", receipt
    assert share.state == "active"
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/s/\S+", text_of(mail))
    path = device.folder / f"{booking_id}-watched.mp4"
    assert link.page(url)[0] == 200
    watched = link.watch(f"{url}/video", path)
    assert (watched.status, watched.total_bytes) == (206, receipt.film.bytes)
    assert composite_sha256(path) == receipt.film.sha256
    assert (
        key
        == f"{device.lab.settings.device.org}/court-1/{receipt.planned_start:%Y-%m-%d}/{booking_id}/film.mp4"
    )
    assert receipt.film.frames - receipt.film.intro_frames == SECONDS * 30
    assert [one.what for one in receipt.timeline].count("delivered") == 1
    assert share.delivered_at is not None
    assert receipt.whistle_to_delivered_s is not None
    after_s = (share.delivered_at - receipt.planned_end).total_seconds()
    assert abs(receipt.whistle_to_delivered_s - after_s) < 1


def words(said: Said, booking_id: str) -> list[str]:
    """What was said of a booking, each word once for as long as it stood."""
    found: list[str] = []
    for subject, word in said:
        if subject == booking_id and found[-1:] != [word]:
            found.append(word)
    return found
