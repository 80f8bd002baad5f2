"""`ezrec install` on a bare Debian with a booted systemd: the services record, whatever is done to them."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.demo.child import free_port
from tests.judges.media import decode_errors, probe
from tests.support.machine import Machine

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(1500)]

TOP = Path(__file__).resolve().parents[2]
PROGRAM = "/opt/ezrec/ezrec"
CAMERAS = ("--camera", "left=simulated", "--camera", "right=simulated")
SERVICES = (
    "ezrec-broker",
    "ezrec-stream@left",
    "ezrec-stream@right",
    *("ezrec-agent@merger", "ezrec-agent@processor", "ezrec-uploader", "ezrec-agent@health"),
    *("ezrec-bridge", "ezrec-api", "ezrec-keeper", "ezrec-notify"),
)
PROBE = """
import os, socket, sys
def tried(name, what):
    try:
        what()
    except OSError as error:
        print(name, type(error).__name__)
    else:
        print(name, 'worked')
root = '/var/lib/ezrec'
for path in sys.argv[1].split(','):
    tried('read ' + path, lambda: os.listdir(path) if os.path.isdir(path) else open(path).read())
for path in sys.argv[2].split(','):
    tried('write ' + path, lambda: open(path + '/probe', 'w').close())
tried('network', lambda: socket.create_connection(('127.0.0.1', int(sys.argv[3])), 5))
"""
CLOCK = "int adjtimex(void *timex) { ((int *)timex)[10] = 0x2001; return 0; }\n"
"""Tries to read, to write and to connect, from within a service's own sandbox."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Generator[Machine]:
    for tool in ("mmdebstrap", "systemd-nspawn"):
        assert shutil.which(tool), f"{tool} is not here: ./ezrec test --all installs it"
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        subprocess.run(["git", "clone", "-q", str(TOP), str(machine.root / "opt/ezrec")], check=True)
        machine.boot()
        yield machine


def ezrec(machine: Machine, *arguments: str) -> str:
    done = machine.run(PROGRAM, *arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{machine.journal()}"
    return done.stdout.strip()


def recordings(machine: Machine) -> dict[str, Any]:
    topics = json.loads(ezrec(machine, "status", "--json"))
    return {
        topic.split("/")[1]: message
        for topic, message in topics.items()
        if topic.startswith("recording/") and topic.count("/") == 1
    }


def book(machine: Machine, seconds: int) -> str:
    return ezrec(machine, "book", "--in", "4", "--for", str(seconds)).split()[-1]


def until_state(machine: Machine, booking_id: str, *states: str, patience_s: float = 120) -> str:
    seen: list[str] = []

    def there() -> bool:
        found = recordings(machine).get(booking_id)
        seen.append(str(found["state"]) if found else "")
        return seen[-1] in states

    machine.until(there, f"{booking_id} {states}", patience_s)
    return seen[-1]


def film_of(machine: Machine, booking_id: str) -> Path:
    films = list((machine.root / "var/lib/ezrec/bucket").rglob(f"{booking_id}/film.mp4"))
    assert len(films) == 1
    return films[0]


def whole(machine: Machine, booking_id: str, seconds: int) -> None:
    """One film in the bucket that decodes and has every frame of the planned time behind its intro."""
    film = film_of(machine, booking_id)
    receipt = json.loads((film.parent / "receipt.json").read_text(encoding="utf-8"))
    assert decode_errors(film) == ""
    assert int(probe(film)["nb_read_frames"]) == receipt["film"]["intro_frames"] + seconds * 30


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    ezrec(machine, "install", "--device", "court-9", "--record", "yes", *CAMERAS, "--no-start")
    settings = machine.root / "etc/ezrec/ezrec.toml"
    settings.write_text(f"{settings.read_text()}\n[api]\nport = {free_port()}\n", encoding="utf-8")
    said = ezrec(machine, "install")
    assert "What to do next" in said
    return machine


def test_every_service_runs_as_a_user_of_its_own_and_only_root_reads_the_secrets(installed: Machine) -> None:
    assert [installed.show(name, "ActiveState") for name in SERVICES] == ["active"] * len(SERVICES)
    users = {name: installed.show(name, "User") for name in SERVICES}
    shared = {users.pop("ezrec-keeper"): "ezrec-uploader", users.pop("ezrec-notify"): "ezrec-bridge"}
    assert all(user == meant for user, meant in shared.items())
    assert len(set(users.values())) == len(users)
    assert "root" not in users.values()
    secrets = installed.root / "etc/ezrec/secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets.iterdir())
    listening = installed.ask("cat", "/proc/net/unix")
    assert "/run/ezrec-broker/mqtt.sock" in listening


def test_the_services_record_a_booking(installed: Machine) -> None:
    booking_id = book(installed, 8)
    assert until_state(installed, booking_id, "ready", "partial", "failed") == "ready"
    whole(installed, booking_id, 8)


@pytest.mark.parametrize(
    ("unit", "readable", "writable", "network"),
    [
        ("ezrec-agent@merger", "plan", "plan", False),
        ("ezrec-stream@left", "left", "left", True),
        ("ezrec-agent@processor", "film", "film", False),
        ("ezrec-uploader", "", "", True),
    ],
)
def test_the_sandbox_holds(
    installed: Machine, unit: str, readable: str, writable: str, network: bool
) -> None:
    root = "/var/lib/ezrec"
    recording = f"{root}/recordings/probe"
    if not (installed.root / recording.lstrip("/")).exists():
        installed.run("install", "-d", "-m", "1770", "-o", "root", "-g", "ezrec-media", recording)
        for part, user in (("left", "camera-left"), ("plan", "merger"), ("film", "processor")):
            where = f"{recording}/{part}"
            installed.run("install", "-d", "-m", "750", "-o", f"ezrec-{user}", "-g", "ezrec-media", where)
    parts = [f"{recording}/{part}" for part in ("left", "plan", "film")]
    own = {"ezrec-stream@left": "camera_left", "ezrec-uploader": "uploader"}.get(unit, unit.partition("@")[2])
    secret = [f"{root}/state/{name}" for name in ("camera_left", "merger", "processor", "uploader", "bridge")]
    reads = [*parts, *secret, "/etc/ezrec/secrets", "/etc/ezrec/secrets/merger", "/etc/shadow", "/home"]
    writes = [*parts, *secret, f"{root}/cloud", "/etc/ezrec", "/opt/ezrec", "/run/ezrec/ring/right"]
    (installed.root / "opt/ezrec/probe.py").write_text(PROBE, encoding="utf-8")
    port = str(tomllib.loads((installed.root / "etc/ezrec/ezrec.toml").read_text())["api"]["port"])
    text = installed.ask("systemctl", "cat", f"{unit}.service")
    lines = [
        line
        for line in text.splitlines()
        if not line.startswith(("ExecStart", "Type", "Restart", "Watchdog"))
    ]
    command = f"/usr/bin/python3 /opt/ezrec/probe.py {','.join(reads)} {','.join(writes)} {port}"
    lines.insert(lines.index("[Service]") + 1, f"Type=oneshot\nExecStart={command}")
    name, _, instance = unit.partition("@")
    probe_name = f"probe-{name}{'@' if instance else ''}"
    (installed.root / f"etc/systemd/system/{probe_name}.service").write_text(
        "\n".join(lines), encoding="utf-8"
    )
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "start", f"{probe_name}{instance}.service")
    said = installed.ask("journalctl", "-u", f"{probe_name}{instance}.service", "-o", "cat", "--no-pager")
    worked = {line.removesuffix(" worked") for line in said.splitlines() if line.endswith(" worked")}
    expected = {f"read {part}" for part in parts} | {f"read {root}/state/{own}", f"write {root}/state/{own}"}
    expected |= {f"write {recording}/{writable}"} if writable else set()
    expected |= {"network"} if network else set()
    assert readable in ("", writable)
    assert worked == expected, said


def test_every_service_killed_in_a_booking_comes_back_and_there_is_one_film(installed: Machine) -> None:
    booking_id = book(installed, 16)
    until_state(installed, booking_id, "recording")
    for name in SERVICES:
        before = installed.show(name, "MainPID")
        installed.run("systemctl", "kill", "-s", "KILL", f"{name}.service")
        installed.until(
            lambda name=name, before=before: (
                installed.show(name, "ActiveState") == "active"  # type: ignore[misc]
                and installed.show(name, "MainPID") not in (before, "0")
            ),
            f"{name} back",
            60,
        )
    assert until_state(installed, booking_id, "ready", "partial", "failed") in ("ready", "partial")
    whole(installed, booking_id, 16)


def test_a_hung_agent_is_replaced_by_the_watchdog(installed: Machine) -> None:
    pid = installed.show("ezrec-agent@merger", "MainPID")
    stopped = installed.run("sh", "-c", f"kill -STOP {pid}")
    assert stopped.returncode == 0
    installed.until(
        lambda: (
            installed.show("ezrec-agent@merger", "MainPID") not in (pid, "0")
            and installed.show("ezrec-agent@merger", "ActiveState") == "active"
        ),
        "merger replaced",
        120,
    )
    assert "Watchdog timeout" in installed.ask("journalctl", "-u", "ezrec-agent@merger", "--no-pager")


def trust_the_clock(machine: Machine) -> None:
    """Stand-in for a time service: the kernel's answer is "disciplined", for the agents alone.

    No clock may be set here; without it planning waits ten minutes after such a reboot, as DESIGN says.
    """
    source = machine.root / "opt/clock.c"
    source.write_text(CLOCK, encoding="ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(source.with_suffix(".so")), str(source)], check=True)
    for unit in ("ezrec-agent@", "ezrec-stream@"):
        drop_in = machine.root / f"etc/systemd/system/{unit}.service.d/clock.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("[Service]\nEnvironment=LD_PRELOAD=/opt/clock.so\n", encoding="ascii")


def test_power_cut_inside_a_booking_leaves_one_film(installed: Machine) -> None:
    trust_the_clock(installed)
    booking_id = book(installed, 40)
    until_state(installed, booking_id, "recording")
    installed.until(
        lambda: bool(list((installed.root / f"var/lib/ezrec/recordings/{booking_id}/film").glob("*.mp4"))),
        "a film begun",
        60,
    )
    installed.reboot()
    assert until_state(installed, booking_id, "ready", "partial", "failed", patience_s=180) == "partial"
    whole(installed, booking_id, 40)


def test_installing_again_changes_nothing_and_uninstalling_keeps_what_matters(installed: Machine) -> None:
    settings = (installed.root / "etc/ezrec/ezrec.toml").read_text()
    secrets = {p.name: p.read_text() for p in (installed.root / "etc/ezrec/secrets").iterdir()}
    again = installed.run(PROGRAM, "install", "--no-start")
    assert again.returncode == 0
    done = [line for line in again.stderr.splitlines() if line.startswith("do ")]
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in done] == [
        "systemd knows the units",
        "folders and ring",
    ]
    kept = [installed.root / f"var/lib/ezrec/{name}/kept" for name in ("recordings", "bucket", "cloud")]
    for path in kept:
        path.write_text("a film", encoding="ascii")
    films = sorted((installed.root / "var/lib/ezrec/bucket").rglob("film.mp4"))
    ezrec(installed, "uninstall")
    assert (
        installed.ask("systemctl", "list-units", "--all", "--no-legend", "--plain", "ezrec-*.service") == ""
    )
    assert not (installed.root / "opt/ezrec").exists()
    assert (installed.root / "etc/ezrec/ezrec.toml").read_text() == settings
    assert {p.name: p.read_text() for p in (installed.root / "etc/ezrec/secrets").iterdir()} == secrets
    assert sorted((installed.root / "var/lib/ezrec/bucket").rglob("film.mp4")) == films
    assert [path.read_text(encoding="ascii") for path in kept] == ["a film"] * 3
