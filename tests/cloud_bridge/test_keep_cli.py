"""`ezrec keep`: what people type, over real rows and a folder bucket."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud_bridge.stores import NewBooking, SqliteStore, sqlite_path
from edge_agent.cli.main import app
from edge_agent.core.settings import Settings, Storage
from tests.conformance.keeping import key_of, uploaded

OLD = datetime(2020, 1, 1, 12, tzinfo=UTC)


class LongAgo:
    """The clock when the film was made."""

    def wall(self) -> datetime:
        return OLD

    def mono_ns(self) -> int:
        return 0

    def synced(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "0" * 32


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device with one film that is long past its time, and one that is not."""
    root = tmp_path / "device"
    store = SqliteStore(sqlite_path(Settings(storage=Storage(root=str(root)))), LongAgo())
    for booking_id, verified in (("old", OLD), ("new", datetime.now(UTC))):
        start = OLD if booking_id == "old" else verified
        store.create_booking(NewBooking(booking_id, "booked", start, start + timedelta(hours=1)))
        film = root / "bucket" / key_of(booking_id)
        film.parent.mkdir(parents=True)
        film.write_bytes(b"film" * 3)
        stamp = verified.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        store.save_result(booking_id, "upload", uploaded(booking_id, verified_at=stamp))
    store.close()
    # The new one was heard of just now.
    fresh = SqliteStore(sqlite_path(Settings(storage=Storage(root=str(root)))))
    fresh.save_result("new", "upload", {**uploaded("new", verified_at=stamp), "bytes_done": 12})
    fresh.close()
    path = tmp_path / "ezrec.toml"
    path.write_text(f'[storage]\nroot = "{root}"\n')
    return path


def ran(config: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["keep", *words, "--config", str(config)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def film(config: Path, booking_id: str) -> Path:
    return config.parent / "device" / "bucket" / key_of(booking_id)


def test_a_dry_run_then_a_real_one_then_nothing(config: Path) -> None:
    would = f"would remove {key_of('old')} (past its time): 12 bytes\n"
    assert ran(config, "run", "--dry-run") == (0, would)
    assert film(config, "old").exists()
    assert ran(config, "account") == (0, "nothing was removed yet\n")
    code, said = ran(config, "run")
    assert (code, said.splitlines()[0]) == (0, f"removed {key_of('old')} (past its time): 12 bytes")
    assert (film(config, "old").exists(), film(config, "new").exists()) == (False, True)
    assert ran(config, "run") == (0, "nothing is past its time\n")
    code, said = ran(config, "account")
    assert (code, said.endswith(f"Z {key_of('old')} (past its time): 12 bytes\n")) == (0, True)


def test_for_programs(config: Path) -> None:
    code, said = ran(config, "run", "--json")
    done = json.loads(said)
    assert (code, [one["key"] for one in done["removed"]]) == (0, [key_of("old")])
    assert (done["refused"], done["later"], done["dry_run"]) == ([], [], False)
    code, said = ran(config, "account", "--json")
    assert json.loads(said)["removed"] == done["removed"]


def test_a_film_is_taken_down_on_demand(config: Path) -> None:
    assert ran(config, "remove", "nobody") == (1, "ezrec: keep remove: there is no booking nobody\n")
    code, said = ran(config, "remove", "new", "--why", "asked by\n a player")
    assert (code, said.partition(":")[0]) == (0, "will go with the next round")
    assert ran(config, "run")[0] == 0
    assert not film(config, "new").exists()
    assert "(asked by a player)" in ran(config, "account")[1]


def test_a_bucket_that_is_away_is_one_line(config: Path) -> None:
    bucket = config.parent / "device" / "bucket"
    bucket.rename(bucket.with_name("unmounted"))
    code, said = ran(config, "run")
    assert (code, said.count("\n")) == (1, 1)
    assert "not there" in said
    assert ran(config, "account") == (0, "nothing was removed yet\n")


def test_a_project_without_an_address_is_one_line(config: Path) -> None:
    config.write_text(config.read_text() + '[bookings]\nkind = "supabase"\n')
    code, said = ran(config, "run")
    assert (code, said.count("\n"), "bookings.url" in said) == (1, 1, True)


def test_staying_goes_with_nothing_else(config: Path) -> None:
    assert ran(config, "run", "--stay", "--dry-run")[0] == 2


def test_it_stays_until_it_is_told_to_end(config: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "keep", "run", "--stay", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EZREC_LOG__LEVEL": "info"},
    ) as child:
        assert child.stderr is not None
        assert "keeper looks after" in child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert film(config, "old").exists()


def test_one_that_is_killed_is_made_good_by_the_next(config: Path) -> None:
    root = config.parent / "device"
    store = SqliteStore(sqlite_path(Settings(storage=Storage(root=str(root)))), LongAgo())
    keys = [key_of(f"b{number:03}") for number in range(100)]
    stamp = OLD.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for key in keys:
        path = root / "bucket" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(b"film")
        store.save_result(key.split("/")[3], "upload", uploaded(key.split("/")[3], verified_at=stamp))
    store.close()
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "keep", "run", "--config", str(config)],
        stdout=subprocess.DEVNULL,
    ) as child:
        while (root / "bucket" / keys[10]).exists():  # the test's own timeout bounds it
            assert child.poll() is None
            time.sleep(0.002)
        child.kill()
    left = sum((root / "bucket" / key).exists() for key in keys)
    code, said = ran(config, "run", "--json")
    done = json.loads(said)
    assert code == 0
    # The one whose account was not written when it was killed was gone already.
    assert left <= len([one for one in done["removed"] if one["key"] in keys]) <= left + 1
    account = json.loads(ran(config, "account", "--limit", "1000", "--json")[1])["removed"]
    assert sorted(one["key"] for one in account) == sorted([*keys, key_of("old")])
    assert not any((root / "bucket" / key).exists() for key in keys)
