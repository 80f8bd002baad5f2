import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from cloud_bridge.stores import BookingQuery, NewBooking, SqliteStore, Store, StoreError, sqlite_path
from edge_agent.core.settings import Settings, Storage
from tests.cloud_bridge.served import NOON, HandClock, minutes
from tests.conformance.device import DeviceConformance
from tests.conformance.stores import StoreConformance

ROOT = Path(__file__).resolve().parents[2]


class TestSqlite(StoreConformance, DeviceConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Generator[Store]:
        store = SqliteStore(tmp_path / "store.sqlite", HandClock())
        yield store
        store.close()


def spawn(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cloud_bridge.writer", str(path), name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cloud" / "store.sqlite"
    with spawn(path, "a", 40) as one, spawn(path, "b", 40) as two:
        outputs = [child.communicate(timeout=60)[0] for child in (one, two)]
    assert [len(output.split()) for output in outputs] == [40, 40]
    store = SqliteStore(path)
    polled = store.poll(0)
    assert {row.id for row in polled.rows} == {f"{name}{number}" for name in "ab" for number in range(40)}
    assert [row.changed for row in polled.rows] == list(range(1, 81))
    assert polled.cursor == 80
    store.close()


def test_what_a_killed_writer_said_is_there(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with spawn(path, "a", 100_000) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(25)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.read().split()
    store = SqliteStore(path)
    rows = store.poll(0)
    assert {row.id for row in rows.rows} >= set(said)
    assert rows.cursor == len(rows.rows) == rows.count
    assert store.results(said[-1])["recording"].body == {"n": len(said) - 1}
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    store.close()


def test_it_is_in_the_clouds_folder_and_not_for_everybody(tmp_path: Path) -> None:
    path = sqlite_path(Settings(storage=Storage(root=str(tmp_path))))
    store = SqliteStore(path)
    store.set_automatic(on=True)
    assert path == tmp_path / "cloud" / "store.sqlite"
    for file in path.parent.iterdir():
        assert not stat.S_IMODE(file.stat().st_mode) & 0o007, file
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_makes_first_is_the_folders_owners(tmp_path: Path) -> None:
    """`sudo ezrec user add` before the services were ever started would keep all of them out."""
    folder = tmp_path / "cloud"
    folder.mkdir()
    os.chown(folder, 50001, 50002)
    path = folder / "store.sqlite"
    store = SqliteStore(path, HandClock())
    store.set_automatic(on=False)
    owners = [(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()]
    store.close()
    assert owners == [(50001, 50002)] * 3  # the log and its index too
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_only_hashes_of_tokens_are_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite", HandClock())
    store.create_booking(NewBooking("a", "booked", NOON, NOON + minutes(60)))
    _, link = store.issue_link("a", NOON + minutes(999))
    key = store.make_token("admin", "anna")
    store.close()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert (len(link), len(key)) == (43, 43)
    assert link.encode() not in files
    assert key.encode() not in files
    assert b"anna" in files


@pytest.mark.parametrize("broken", ["newer", "garbage", "folder"])
def test_a_file_that_is_not_ours_is_refused_in_one_line(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "store.sqlite"
    if broken == "newer":
        SqliteStore(path).close()
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version=99")
        db.close()
    elif broken == "garbage":
        path.write_bytes(b"x" * 5000)
    else:
        path.mkdir()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert caught.value.kind == "permanent"
    assert "\n" not in caught.value.text


def test_a_store_that_is_held_is_a_passing_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_bridge.stores.sqlite_db.BUSY_MS", 20)
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path, HandClock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as caught:
        store.create_booking(NewBooking("a", "booked", NOON, NOON + minutes(60)))
    assert caught.value.kind == "transient"
    assert store.bookings(BookingQuery()) == ()
    other.execute("ROLLBACK")
    store.create_booking(NewBooking("a", "booked", NOON, NOON + minutes(60)))
    other.close()
    store.close()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite", HandClock())
    store.save_result("a", "recording", {"n": 1})
    store._db._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(StoreError) as caught:
        store.save_result("b", "recording", {"text": "x" * 100_000})
    assert caught.value.kind == "full"
    assert (store.results("b"), store.results("a")["recording"].body) == ({}, {"n": 1})
    store.close()
