"""The units as systemd's own tools see them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.app import agent_names
from edge_agent.core.settings import Bookings, Settings
from edge_agent.install.layout import services
from tools import units

UNITS = sorted([*units.FOLDER.glob("*.service"), *units.FOLDER.glob("*.mount")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
WORST = 1.5


def concrete(unit: Path) -> str:
    return (
        unit.name.replace("@", "@left")
        if "camera" in unit.name or "stream" in unit.name
        else (unit.name.replace("@", "@merger"))
    )


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """The units with a program that exists: the one they name is there after the installation."""
    for path in units.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_files_are_what_the_tables_say() -> None:
    assert {
        path.name: path.read_text(encoding="utf-8") for path in units.FOLDER.iterdir()
    } == units.rendered()


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_exposure_is_small(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= WORST


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_it(unit: Path, placed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(placed / concrete(unit))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{placed}:"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mistake_in_a_unit_would_be_seen(placed: Path) -> None:
    wrong = placed / "ezrec-bridge.service"
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("[Service]", "[Service]\nTypo=yes"), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(wrong)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Typo" in done.stderr


def test_every_agent_has_a_unit_that_runs_it() -> None:
    """Cameras by their template, the others by name."""
    run = {
        argv.replace("%i", instance)
        for unit, instance in (
            ("ezrec-camera@", "left"),
            ("ezrec-camera@", "right"),
            *(("ezrec-agent@", name) for name in ("merger", "processor", "health")),
            ("ezrec-uploader", ""),
        )
        for argv in [units.UNITS[unit].argv]
    }
    others = {"run " + name for name in agent_names(Settings()) if name != "bridge"}
    assert run == others
    assert units.UNITS["ezrec-bridge"].argv == "bridge"


def test_the_booking_systems_key_is_handed_to_the_bridges_account_alone() -> None:
    texts = {unit.name: unit.read_text(encoding="utf-8") for unit in SERVICES}
    given = {name: text for name, text in texts.items() if "bookings.key" in text}
    assert set(given) == {"ezrec-bridge.service", "ezrec-notify.service"}
    assert all("\nUser=ezrec-bridge\n" in text for text in given.values())
    assert all("\nInaccessiblePaths=-/etc/ezrec/secrets\n" in text for text in texts.values())


def test_who_serves_films_may_read_what_the_uploader_puts_into_a_folder() -> None:
    """Its files are its group's to read (umask 0027) and nobody else's."""
    uploader, api = units.UNITS["ezrec-uploader"], units.UNITS["ezrec-api"]
    assert (uploader.umask, uploader.group in api.groups.split()) == ("0027", True)
    assert f"d /var/lib/ezrec/bucket 0755 {uploader.account} {uploader.group} -" in units.tmpfiles()
    hidden = next(line for line in api.last if line.startswith("InaccessiblePaths="))
    assert {"-/var/lib/ezrec/recordings", "-/var/lib/ezrec/assets"} <= set(hidden.partition("=")[2].split())


def test_a_device_of_a_project_runs_nothing_that_would_need_its_key_besides() -> None:
    own, cloud = Settings(), Settings(bookings=Bookings(kind="supabase", url="https://project.example"))
    agents = agent_names(own)
    needing = {f"ezrec-{name}.service" for name in ("api", "keeper", "notify")}
    assert set(services(own, agents)) - set(services(cloud, agents)) == needing


def test_the_tool_is_here() -> None:
    assert shutil.which("systemd-analyze"), "systemd-analyze is part of Debian's systemd"
