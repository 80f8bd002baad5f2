"""`ezrec install` and `uninstall`: this machine becomes a recorder, or is none any more."""

import os
import platform
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.common import fail, out, say

if TYPE_CHECKING:
    from edge_agent.core.settings import Settings
    from edge_agent.install.layout import Places

CameraOption = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="NAME=SOURCE",
        help="left or right = picamera2, simulated, or an address. Default: both picamera2.",
    ),
]
NEXT = """\
This machine records now. What to do next:
  1. sudo ezrec status            what runs, what is booked, what is wrong and how to mend it
  2. sudo ezrec book --in 30 --for 60        a first booking, half a minute from now
  3. sudo ezrec why ID            where its film is
  4. /etc/ezrec/ezrec.toml        settings; after a change: sudo ezrec install
  5. sudo ezrec secret set store.key, store.secret        keys of the bucket, then [store] kind = "s3"
  6. docs/supabase.md             bookings from Supabase
  7. docs/operations.md           every alarm, every setting
  8. journalctl -u 'ezrec-*' -f   what the services say
  9. sudo ezrec install           again after every update; settings and recordings stay
 10. sudo ezrec uninstall         takes services and program away; recordings stay"""


def install(
    device: Annotated[str | None, typer.Option(help="The court's id. Default: this machine's name.")] = None,
    org: Annotated[str, typer.Option(help="The club's id.")] = "club",
    camera: CameraOption = None,
    record: Annotated[
        str | None, typer.Option(help="Record bookings by default: yes or no. Asked when not given.")
    ] = None,
    env: Annotated[
        Path | None, typer.Option("--env", metavar="FILE", help="The predecessor's .env, taken over.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, change nothing.")
    ] = False,
    start: Annotated[bool, typer.Option(help="Start the services at the end.")] = True,
) -> None:
    """Make this machine a recorder: users, folders, broker, services.

    Needs root and systemd. Does only what is not so yet: run it again after an update or a change of the
    settings. Settings, secrets and recordings that are there are kept, always.
    """
    from edge_agent.app import agent_names
    from edge_agent.install.broker import BrokerFault
    from edge_agent.install.layout import Places
    from edge_agent.install.run import install as carry_out
    from edge_agent.install.run import start as start_services
    from edge_agent.install.steps import InstallFault, Wanted
    from edge_agent.runtime.settings import SettingsError

    places = Places()
    if not dry_run and os.geteuid() != 0:
        fail("install: needs root, run it with sudo", 2)
    if shutil.which("systemctl") is None:
        fail("install: no systemd here; `ezrec up` runs everything in the foreground", 2)
    settings = _settings(places, device, org, camera, record, env)
    wanted = Wanted(Path(__file__).resolve().parents[2], settings, agent_names(settings))
    try:
        carry_out(wanted, places, say, dry_run=dry_run)
        if start and not dry_run:
            say("do    services: start")
            start_services(settings, wanted.agents)
            _prove(settings)
    except (InstallFault, BrokerFault, SettingsError, OSError) as error:
        fail(f"install: {error}")
    if not dry_run:
        out(NEXT)


def uninstall() -> None:
    """Stop and remove services and program; settings, secrets, recordings and films stay."""
    from edge_agent.install.layout import Places
    from edge_agent.install.run import uninstall as take_away

    if os.geteuid() != 0:
        fail("uninstall: needs root, run it with sudo", 2)
    try:
        take_away(Places(), say)
    except OSError as error:
        fail(f"uninstall: {error}")


def _settings(
    places: "Places",
    device: str | None,
    org: str,
    camera: list[str] | None,
    record: str | None,
    env: Path | None,
) -> "Settings":
    """Those that are there; else those of a new device."""
    from edge_agent.install.run import first_settings, timezone_here
    from edge_agent.runtime.settings import SettingsError, load, parse_env_file

    try:
        if places.settings.exists():
            return load(places.settings, {})
        base = load(None, parse_env_file(env) if env else {})
        sources: dict[str, str] = {}
        for one in camera or ([] if env else ["left=picamera2", "right=picamera2"]):
            name, _, source = one.partition("=")
            sources[name] = source
        if env and device is None:
            device = base.device.id
        return first_settings(
            device or re.sub(r"[^a-z0-9_-]", "-", platform.node().lower())[:64] or "court-1",
            base.device.org if env else org,
            timezone_here(places.root),
            _whether_to_record(record),
            sources,
            base,
        )
    except (SettingsError, ValueError, OSError) as error:
        fail(f"install: {error}", 78)


def _whether_to_record(record: str | None) -> str:
    """What the operator says: nobody is filmed because a question was not asked."""
    if record is None:
        text = "Record every booking unless it says otherwise? (yes/no)"
        record = typer.prompt(text) if os.isatty(0) else "no"
        if not os.isatty(0):
            say("      nobody could be asked whether to record by default: no (see booking.record)")
    if record not in ("yes", "no"):
        fail(f"install: --record {record}: yes or no was expected", 2)
    return record


def _prove(settings: "Settings") -> None:
    """What the broker lets through, tried on the running broker."""
    from edge_agent.app import endpoint_of
    from edge_agent.install.selftest import self_test
    from schemas.acl import accounts

    cameras = settings.camera_names()
    faults = self_test(
        lambda name: endpoint_of(settings, name), settings.device.id, cameras, accounts(cameras)
    )
    for fault in faults[:5]:
        say(f"      {fault}")
    if faults:
        fail(f"install: the broker does not do what the contract says ({len(faults)} faults)")
    say("ok    broker: refuses what must be refused, passes what must pass")
