"""`python -m tools.units [--check]`: the units under systemd/, rendered from the tables below.

systemd has no include, and a drop-in for all units would be a second place that may loosen one. So the shared
sandbox stands here once and in every unit whole: what a reader sees in a unit is all that is true of it.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "systemd"
HEAD = "# Rendered by `python -m tools.units`; edit tools/units.py.\n"
PROGRAM = "/opt/ezrec/.venv/bin/python -P -m edge_agent"
BROKER = "/usr/sbin/mosquitto -c /etc/ezrec/mosquitto.conf"
NO_CONFIG_HELPS = 78
"""EX_CONFIG: the settings are wrong, starting again does not help."""

SANDBOX: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectControlGroups=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "PrivateMounts=yes",
    "PrivateIPC=yes",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "KeyringMode=private",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources @obsolete",
    "SystemCallErrorNumber=EPERM",
)
"""What every long-running service lives in. Each loosening below says why.

Not among them: ``ProcSubset=pid`` would hide the boot id, which every message with a monotonic time carries.
"""

ALONE: tuple[str, ...] = ("PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "IPAddressDeny=any")
"""No network at all: the broker is a unix socket."""
ONLINE: tuple[str, ...] = ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",)
"""Out into the world: to the bucket, the booking system, the camera in the network."""
NO_DEVICES: tuple[str, ...] = ("PrivateDevices=yes", "DevicePolicy=closed")


@dataclass(frozen=True)
class Unit:
    """One service.

    Attributes:
        what: its description, ``%i`` allowed.
        argv: what it runs: our program's arguments, or a whole line beginning with ``/``.
        account: system user and broker account, ``%i`` allowed; its state folder has the same name.
        slice: recording comes first.
        more: lines of its own: network, devices, folders it may write, credentials.
        groups: beside its own.
        alone: whether it has no network.
        watchdog_s: silence after which it is killed and started again; 0: it has none.
        umask: media are readable by the group; the store is written by two, bridge and API.
    """

    what: str
    argv: str
    account: str
    slice: str
    more: tuple[str, ...]
    groups: str = "ezrec-media"
    alone: bool = True
    watchdog_s: int = 30
    umask: str = "0027"


def _may_write(*folders: str) -> str:
    return "ReadWritePaths=" + " ".join(f"-/var/lib/ezrec/{folder}" for folder in folders)


def _secrets(*names: str) -> tuple[str, ...]:
    return tuple(f"LoadCredential={name}:/etc/ezrec/secrets/{name}" for name in names)


UNITS: Mapping[str, Unit] = {
    "ezrec-broker": Unit(
        "EZREC message broker (Mosquitto)",
        BROKER,
        "ezrec-broker",
        "recording",
        (
            *NO_DEVICES,
            "ExecReload=/bin/kill -HUP $MAINPID",
            "# The socket's folder: whoever is in the group may knock, the password decides.",
            "RuntimeDirectory=ezrec-broker",
            "RuntimeDirectoryMode=0755",
            "StateDirectory=ezrec-broker",
            "StateDirectoryMode=0700",
            "WorkingDirectory=/opt/ezrec",
        ),
        groups="ezrec-mqtt",
        watchdog_s=0,
    ),
    "ezrec-camera@": Unit(
        "EZREC camera %i (CSI)",
        "run camera_%i",
        "ezrec-camera-%i",
        "recording",
        (
            "# libcamera: media, video and sub-devices, DMA heaps, the encoder; nothing else under /dev.",
            "DevicePolicy=closed",
            "DeviceAllow=char-media rw",
            "DeviceAllow=char-video4linux rw",
            "DeviceAllow=char-dma_heap rw",
            "SupplementaryGroups=video",
            "ReadWritePaths=-/run/ezrec/ring",
            _may_write("recordings", "state/camera_%i"),
            *_secrets("mqtt-camera_%i"),
        ),
    ),
    "ezrec-stream@": Unit(
        "EZREC camera %i (network)",
        "run camera_%i",
        "ezrec-camera-%i",
        "recording",
        (
            *NO_DEVICES,
            "ReadWritePaths=-/run/ezrec/ring",
            _may_write("recordings", "state/camera_%i"),
            *_secrets("mqtt-camera_%i"),
        ),
        alone=False,
    ),
    "ezrec-agent@": Unit(
        "EZREC %i",
        "run %i",
        "ezrec-%i",
        "work",
        (*NO_DEVICES, _may_write("recordings", "assets", "state/%i"), *_secrets("mqtt-%i")),
    ),
    "ezrec-uploader": Unit(
        "EZREC uploader",
        "run uploader",
        "ezrec-uploader",
        "work",
        (
            *NO_DEVICES,
            _may_write("assets", "state/uploader"),
            *_secrets("mqtt-uploader", "store-key", "store-secret"),
        ),
        alone=False,
    ),
    "ezrec-bridge": Unit(
        "EZREC bridge",
        "bridge",
        "ezrec-bridge",
        "work",
        (*NO_DEVICES, _may_write("cloud", "state/bridge"), *_secrets("mqtt-bridge", "bookings-key")),
        groups="ezrec-cloud",
        alone=False,
        umask="0007",
    ),
    "ezrec-api": Unit(
        "EZREC web pages, links and API",
        "api",
        "ezrec-api",
        "work",
        (*NO_DEVICES, _may_write("cloud"), *_secrets("mqtt-api", "store-key", "store-secret")),
        groups="ezrec-cloud",
        alone=False,
        watchdog_s=0,
        umask="0007",
    ),
}
"""By file name. `ezrec install` enables one camera unit per camera, by its backend."""

SLICES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ezrec": ("EZREC", ()),
    "ezrec-recording": ("EZREC: what may never wait", ("CPUWeight=1000", "IOWeight=1000")),
    "ezrec-work": ("EZREC: what catches up", ("CPUWeight=100", "IOWeight=100")),
}


def service(unit: Unit) -> str:
    """A unit file's text."""
    notify = ["Type=notify", "NotifyAccess=main"] if unit.account != "ezrec-api" else ["Type=exec"]
    watchdog = [f"WatchdogSec={unit.watchdog_s}"] if unit.watchdog_s else []
    lines: Sequence[str] = (
        "[Unit]",
        f"Description={unit.what}",
        "Documentation=https://ezrec.org/docs/operations",
        "# No tie to the broker, the clock or another agent: each starts alone and waits for what it needs.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *notify,
        f"ExecStart={unit.argv if unit.argv.startswith('/') else f'{PROGRAM} {unit.argv}'}",
        f"User={unit.account}",
        f"Group={unit.account}",
        f"SupplementaryGroups={unit.groups}",
        f"Slice=ezrec-{unit.slice}.slice",
        *watchdog,
        "WatchdogSignal=SIGKILL",
        "Restart=always",
        "RestartSec=1",
        f"RestartPreventExitStatus={NO_CONFIG_HELPS}",
        "TimeoutStartSec=60",
        "TimeoutStopSec=15",
        "OOMPolicy=stop",
        "LogRateLimitIntervalSec=0",
        f"SyslogIdentifier={unit.account}",
        "Environment=EZREC_CONFIG=/etc/ezrec/ezrec.toml PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1",
        "InaccessiblePaths=-/etc/ezrec/secrets",
        *unit.more,
        *(ALONE if unit.alone else ONLINE),
        *SANDBOX,
        f"UMask={unit.umask}",
        "",
        "[Install]",
        "WantedBy=ezrec.target",
    )
    return HEAD + "\n".join(lines) + "\n"


def rendered() -> Mapping[str, str]:
    """Every rendered file under systemd/, name to text."""
    slices = {
        f"{name}.slice": HEAD
        + "\n".join(
            ("[Unit]", f"Description={what}", "Before=slices.target", "", "[Slice]", *weights)
        ).rstrip()
        + "\n"
        for name, (what, weights) in SLICES.items()
    }
    target = HEAD + (
        "[Unit]\nDescription=EZREC, everything of this court\n\n[Install]\nWantedBy=multi-user.target\n"
    )
    return (
        {f"{name}.service": service(unit) for name, unit in UNITS.items()} | slices | {"ezrec.target": target}
    )


def main(arguments: Sequence[str]) -> int:
    """Write the files, or with ``--check`` name those that are not fresh; returns the exit code."""
    stale: list[str] = []
    for name, text in rendered().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                FOLDER.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        sys.stdout.write(f"not fresh under systemd/: {', '.join(sorted(stale))}; run python -m tools.units\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
