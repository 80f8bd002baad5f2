"""The booking system's key: in the bridge's process alone, and in no file that everybody can read."""

import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from edge_agent.runtime.settings import SettingsError, load
from tests.runtime.toys import eventually

ROOT = Path(__file__).resolve().parents[2]
KEY = "sb_secret_kestrel0815heron"
AGENTS = ("camera_left", "camera_right", "merger", "processor", "uploader", "health", "bridge")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device with a project nobody answers for, and no broker; its key in a file of its own."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in AGENTS:
        (secrets / name).write_text("x")
    key = secrets / "bookings.key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    file = tmp_path / "ezrec.toml"
    file.write_text(
        f"""
        mqtt.passwords = "{secrets}"
        mqtt.port = 9
        storage.root = "{tmp_path}/root"
        storage.ring = "{tmp_path}/ring"
        bookings.kind = "supabase"
        bookings.url = "http://127.0.0.1:9"
        bookings.realtime = false
        """
    )
    return file


@pytest.fixture
def running(config: Path) -> Generator[psutil.Process]:
    """The supervisor of all agents, once the bridge has its outbox open."""
    command = [sys.executable, "-m", "edge_agent", "run", *AGENTS, "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        supervisor = psutil.Process(parent.pid)
        eventually(lambda: len(supervisor.children()) == len(AGENTS) and bridges(supervisor) != [])
        yield supervisor
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) == 0


def bridges(supervisor: psutil.Process) -> list[psutil.Process]:
    """The agents that have the outbox open."""
    return [
        process
        for process in supervisor.children()
        if any(file.path.endswith("outbox.sqlite") for file in process.open_files())
    ]


def holds_key(process: psutil.Process) -> bool:
    """Whether the key is in a process's environment or anywhere in its memory."""
    if KEY in " ".join(process.environ().values()):
        return True
    with Path(f"/proc/{process.pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(begin)
                if KEY.encode() in memory.read(end - begin):
                    return True
            except (OSError, ValueError):
                continue
    return False


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's view of memory")
def test_the_key_is_in_the_bridges_process_and_in_no_other(running: psutil.Process) -> None:
    (bridge,) = bridges(running)
    eventually(lambda: holds_key(bridge))
    others = [running, *(one for one in running.children(recursive=True) if one.pid != bridge.pid)]
    assert len(others) >= len(AGENTS)
    assert [one.pid for one in others if holds_key(one)] == []


def test_it_is_read_by_those_who_ask_for_it(config: Path) -> None:
    found = load(config, {}).bookings.key
    assert found is not None
    assert found.get_secret_value() == KEY
    assert load(config, {}, leave=frozenset({"bookings.key"})).bookings.key is None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_key_that_lies_open_is_refused_in_one_line(config: Path, mode: int) -> None:
    key = config.parent / "secrets" / "bookings.key"
    key.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        load(config, {})
    assert str(caught.value) == f"{key}: everybody here can read it (mode {mode:04o}), 0600 expected"
    key.chmod(0o640)
    assert load(config, {}).bookings.key is not None
