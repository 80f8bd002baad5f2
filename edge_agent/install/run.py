"""Carrying out the steps, starting the services, taking everything away again."""

import shutil
from collections.abc import Callable
from pathlib import Path

from edge_agent.core.settings import Settings
from edge_agent.install.layout import SOCKET, Places, services
from edge_agent.install.shell import ask
from edge_agent.install.steps import UNIT_KINDS, InstallFault, Wanted, steps
from edge_agent.runtime.settings import SettingsError

Say = Callable[[str], None]


def install(wanted: Wanted, places: Places, say: Say, *, dry_run: bool) -> int:
    """Make everything so; how many steps there were to do. With ``dry_run`` nothing is changed.

    Raises:
        InstallFault, BrokerFault, SettingsError, OSError: a step did not work; what was done stays.
    """
    changed = 0
    for step in steps(wanted, places):
        missing = _missing(step.missing) if dry_run else step.missing()
        if not missing:
            say(f"ok    {step.what}")
            continue
        changed += 1
        say(f"{'would' if dry_run else 'do'.ljust(5)} {step.what}: {missing}")
        if not dry_run:
            step.do()
    return changed


def _missing(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (OSError, InstallFault, SettingsError, KeyError):
        return "an earlier step has to come first"


def start(settings: Settings, agents: tuple[str, ...]) -> None:
    """Start everything, the broker first; what runs is started anew, with the new program and settings.

    Raises:
        InstallFault: a unit did not start; the line names it.
    """
    for name in services(settings, agents):
        if ask("systemctl", "restart", name).code != 0:
            raise InstallFault(f"{name} did not start: see `journalctl -u {name}`")


def uninstall(places: Places, say: Say) -> None:
    """Stop and remove services and program. Settings, secrets, recordings, films and users stay.

    Raises:
        OSError: a file could not be removed.
    """
    units = sorted(path for path in places.units.glob("*ezrec*") if path.suffix in UNIT_KINDS)
    running = ask("systemctl", "list-units", "--plain", "--no-legend", "--all", "ezrec*", "run-ezrec-*")
    names = [line.split()[0] for line in running.out.splitlines() if line.split()]
    services_first = sorted(names, key=lambda name: (not name.endswith(".service"), name))
    for name in services_first:
        if not name.endswith(".slice"):
            ask("systemctl", "disable", "-q", "--now", name)
    for path in [*units, places.sysusers, places.tmpfiles, places.command]:
        path.unlink(missing_ok=True)
    for wants in places.units.glob("*.wants/*ezrec*"):
        wants.unlink(missing_ok=True)
    ask("systemctl", "daemon-reload")
    shutil.rmtree(places.program, ignore_errors=True)
    say("removed: services and program")
    say(f"kept: {places.etc} (settings, secrets), /var/lib/ezrec (recordings, films, bookings), users")


def first_settings(
    device: str, org: str, timezone: str, record: str, cameras: dict[str, str], base: Settings
) -> Settings:
    """The settings of a new device.

    Args:
        device: its id.
        org: the club's.
        timezone: of names and pages.
        record: whether bookings are recorded by default, yes or no.
        cameras: left or right -> ``picamera2``, ``simulated`` or an address.
        base: what the predecessor's ``.env`` said, or the defaults.

    Raises:
        ValueError: a value that the settings refuse.
    """
    found: list[dict[str, object]] = []
    for name, source in cameras.items():
        backend = source if source in ("picamera2", "simulated") else "stream"
        address: dict[str, object] = {"url": source} if backend == "stream" else {}
        found.append({"name": name, "backend": backend, **address})
    body = base.model_dump()
    body["device"] = {**body["device"], "id": device, "org": org, "timezone": timezone}
    body["booking"] = {**body["booking"], "record": record}
    body["mqtt"] = {**body["mqtt"], "socket": SOCKET, "passwords": "/etc/ezrec/secrets"}
    if found:
        body["camera"] = found
    return Settings.model_validate(body)


def timezone_here(root: Path) -> str:
    """This machine's time zone by its name; UTC when it does not say."""
    try:
        return (root / "etc/timezone").read_text(encoding="utf-8").strip() or "UTC"
    except OSError:
        return "UTC"
