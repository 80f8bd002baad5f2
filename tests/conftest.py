"""What every test relies on: the real programs, and one recording in real time at a time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

PROGRAMS = ("ffmpeg", "ffprobe", "mosquitto", "mosquitto_passwd", "mosquitto_pub")
REALTIME_LOCK = Path(tempfile.gettempdir()) / f"ezrec-realtime-{os.getuid()}.lock"


def pytest_sessionstart() -> None:
    """Stop before the first test when a program that the suite runs for real is not here."""
    os.environ["PATH"] += (
        ":/usr/local/sbin:/usr/sbin"  # where Debian keeps mosquitto, for people who are not root
    )
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.exit(f"the tests run real programs, and these are missing: {', '.join(missing)}", returncode=3)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Make a test of the browser a lane, before `-m` chooses."""
    if item.get_closest_marker("browser"):
        item.add_marker("lane")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in real time last: by then the other worker is nearly done and leaves them room."""
    items.sort(key=lambda item: item.get_closest_marker("realtime") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the machine's one lock around a test in real time; outside its timeout: waiting is free."""
    if item.get_closest_marker("realtime") is None:
        return (yield)
    with REALTIME_LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A temporary folder that others than root may enter; pytest's are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
