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
BROKER = "/usr/sbin/mosquitto -c /etc/ezrec/broker/mosquitto.conf"
NO_CONFIG_HELPS = 78
"""EX_CONFIG: the settings are wrong, starting again does not help."""

SANDBOX: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
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
    "# To read whether the clock is disciplined. Without CAP_SYS_TIME nothing can be set by it.",
    "SystemCallFilter=adjtimex",
)
"""What every long-running service lives in. Each loosening below says why.

Not among them: ``ProcSubset=pid`` would hide the boot id, which every message with a monotonic time carries;
``ProtectClock=yes`` would hide whether the clock is right, and having no capabilities forbids as much.
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
        group: of the files it makes. Not by a setgid folder: the sandbox lets nobody set such a bit.
        alone: whether it has no network.
        watchdog_s: silence after which it is killed and started again; 0: it has none.
        tells: whether it tells systemd that it is ready.
        last: lines behind the sandbox's, since of system calls the last line counts.
        umask: media are readable by the group; the store is written by two, bridge and API.
    """

    what: str
    argv: str
    account: str
    slice: str
    more: tuple[str, ...]
    groups: str = "ezrec-mqtt"
    group: str = "ezrec-media"
    alone: bool = True
    watchdog_s: int = 30
    umask: str = "0027"
    last: tuple[str, ...] = ()
    tells: bool = True


def _may_write(*folders: str) -> str:
    return "ReadWritePaths=" + " ".join(f"-/var/lib/ezrec/{folder}" for folder in folders)


def _secrets(account: str, *keys: str) -> tuple[str, ...]:
    """The account's password on the broker, and the keys it needs."""
    return (f"LoadCredential=mqtt-{account}:/etc/ezrec/secrets/{account}", *_keys(*keys))


def _keys(*names: str) -> tuple[str, ...]:
    """Keys it needs; a file that is empty means that there is none."""
    return tuple(f"LoadCredential={name}:/etc/ezrec/secrets/{name}" for name in names)


def _beside_the_store(
    what: str, argv: str, account: str, more: tuple[str, ...], groups: str = "", last: tuple[str, ...] = ()
) -> Unit:
    """A service that is no agent: it works on the store's file with the bridge, and reports to nobody."""
    return Unit(
        what,
        argv,
        account,
        "work",
        more,
        groups=groups,
        group="ezrec-cloud",
        alone=False,
        watchdog_s=0,
        umask="0007",
        last=last,
        tells=False,
    )


UNITS: Mapping[str, Unit] = {
    "ezrec-broker": Unit(
        "EZREC message broker (Mosquitto)",
        BROKER,
        "ezrec-broker",
        "recording",
        (
            *NO_DEVICES,
            "ExecReload=/bin/kill -HUP $MAINPID",
            "# The socket is the group's: whoever is in it may knock, the password decides.",
            "RuntimeDirectory=ezrec-broker",
            "RuntimeDirectoryMode=0755",
            "StateDirectory=ezrec-broker",
            "StateDirectoryMode=0700",
        ),
        groups="ezrec-broker",
        group="ezrec-mqtt",
        watchdog_s=0,
        umask="0007",
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
            "ReadWritePaths=-/run/ezrec/ring/%i",
            _may_write("recordings", "state/camera_%i"),
            *_secrets("camera_%i"),
        ),
    ),
    "ezrec-stream@": Unit(
        "EZREC camera %i (network)",
        "run camera_%i",
        "ezrec-camera-%i",
        "recording",
        (
            *NO_DEVICES,
            "ReadWritePaths=-/run/ezrec/ring/%i",
            _may_write("recordings", "state/camera_%i"),
            *_secrets("camera_%i"),
        ),
        alone=False,
    ),
    "ezrec-agent@": Unit(
        "EZREC %i",
        "run %i",
        "ezrec-%i",
        "work",
        (*NO_DEVICES, _may_write("recordings", "assets/prepared", "state/%i"), *_secrets("%i")),
        last=(
            "# setpriv, which ends an ffmpeg with its agent, calls it. There is no capability to gain.",
            "SystemCallFilter=capset",
        ),
    ),
    "ezrec-uploader": Unit(
        "EZREC uploader",
        "run uploader",
        "ezrec-uploader",
        "work",
        (
            *NO_DEVICES,
            _may_write("assets", "bucket", "state/uploader"),
            *_secrets("uploader", "store.key", "store.secret"),
        ),
        alone=False,
    ),
    "ezrec-bridge": Unit(
        "EZREC bridge",
        "bridge",
        "ezrec-bridge",
        "work",
        (
            *NO_DEVICES,
            _may_write("cloud", "state/bridge"),
            *_secrets("bridge", "bookings.key"),
        ),
        group="ezrec-cloud",
        alone=False,
        umask="0007",
    ),
    "ezrec-notify": _beside_the_store(
        "EZREC messages to people",
        "notify run",
        "ezrec-bridge",
        (*NO_DEVICES, _may_write("cloud"), *_keys("bookings.key", "smtp.password", "notify.webhook_secret")),
    ),
    "ezrec-keeper": _beside_the_store(
        "EZREC keeper: removes what is past its time",
        "keep run --stay",
        "ezrec-uploader",
        (
            "# The uploader's user: in a bucket that is a folder only the owner may delete.",
            *NO_DEVICES,
            _may_write("cloud", "bucket"),
            *_keys("store.key", "store.secret"),
        ),
    ),
    "ezrec-api": _beside_the_store(
        "EZREC web pages, links and API",
        "api",
        "ezrec-api",
        (*NO_DEVICES, _may_write("cloud"), *_secrets("api", "store.key", "store.secret")),
        groups="ezrec-mqtt ezrec-media",
        last=(
            "# Of the media group it may read the films of a bucket that is a folder, and nothing else.",
            "InaccessiblePaths=-/var/lib/ezrec/recordings -/var/lib/ezrec/assets -/var/lib/ezrec/state",
            "# The worker that looks at uploads shuts itself in with these.",
            "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        ),
    ),
}
"""By file name. `ezrec install` enables one camera unit per camera, by its backend."""

SLICES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ezrec": ("EZREC", ()),
    "ezrec-recording": ("EZREC: what may never wait", ("CPUWeight=1000", "IOWeight=1000")),
    "ezrec-work": ("EZREC: what catches up", ("CPUWeight=100", "IOWeight=100")),
}


RING_BYTES = 200_000_000
"""Both cameras at 4 Mb/s for 90 s and 1.3, and as much again for what is being written; `install` fits it."""
USERS: Sequence[str] = (
    *(f"ezrec-{name}" for name in ("broker", "camera-left", "camera-right")),
    *(f"ezrec-{name}" for name in ("merger", "processor", "uploader", "health", "bridge", "api")),
)
GROUPS: Sequence[str] = ("ezrec-media", "ezrec-cloud", "ezrec-mqtt")
AGENTS: Mapping[str, str] = {
    "camera_left": "ezrec-camera-left",
    "camera_right": "ezrec-camera-right",
    **{name: f"ezrec-{name}" for name in ("merger", "processor", "uploader", "health", "bridge")},
}
"""Agent -> its user: who owns ``state/{agent}``."""


def sysusers() -> str:
    """Users and groups: one each, none may log in."""
    lines = [f"g {name} - -" for name in GROUPS]
    lines += [f'u {name} - "EZREC" /nonexistent /usr/sbin/nologin' for name in USERS]
    return HEAD + "\n".join(lines) + "\n"


def tmpfiles() -> str:
    """Folders: who owns each, who may look in."""
    root = "/var/lib/ezrec"
    lines = [
        f"d {root} 0755 root root -",
        "# Each recording's folder is made in here by the agents; the sticky bit keeps their parts apart.",
        f"d {root}/recordings 0770 root ezrec-media -",
        f"d {root}/assets 0750 ezrec-uploader ezrec-media -",
        f"d {root}/assets/prepared 0750 ezrec-processor ezrec-media -",
        f"d {root}/bucket 0755 ezrec-uploader ezrec-media -",
        f"d {root}/cloud 0770 ezrec-bridge ezrec-cloud -",
        f"d {root}/state 0755 root root -",
        *(f"d {root}/state/{agent} 0700 {user} {user} -" for agent, user in AGENTS.items()),
        *(
            f"d /run/ezrec/ring/{cam} 0700 ezrec-camera-{cam} ezrec-camera-{cam} -"
            for cam in ("left", "right")
        ),
    ]
    return HEAD + "\n".join(lines) + "\n"


def ring_mount() -> str:
    """The ring's own tmpfs: what is not booked is only ever in memory, and never more of it than this."""
    lines = (
        "[Unit]",
        "Description=EZREC ring (in memory)",
        "Before=systemd-tmpfiles-setup.service",
        "",
        "[Mount]",
        "What=tmpfs",
        "Where=/run/ezrec/ring",
        "Type=tmpfs",
        f"Options=size={RING_BYTES},mode=0755,nosuid,nodev,noexec",
        "",
        "[Install]",
        "WantedBy=local-fs.target",
    )
    return HEAD + "\n".join(lines) + "\n"


def service(unit: Unit) -> str:
    """A unit file's text."""
    notify = ["Type=notify", "NotifyAccess=main"] if unit.tells else ["Type=exec"]
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
        f"Group={unit.group}",
        *([f"SupplementaryGroups={unit.groups}"] if unit.groups else []),
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
        f"SyslogIdentifier={unit.account if '%i' in unit.account else '%p'}",
        "Environment=EZREC_CONFIG=/etc/ezrec/ezrec.toml PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1",
        "InaccessiblePaths=-/etc/ezrec/secrets",
        *unit.more,
        *(ALONE if unit.alone else ONLINE),
        *SANDBOX,
        *unit.last,
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
    services = {f"{name}.service": service(unit) for name, unit in UNITS.items()}
    others = {
        "ezrec.target": target,
        "ezrec.sysusers": sysusers(),
        "ezrec.tmpfiles": tmpfiles(),
        "run-ezrec-ring.mount": ring_mount(),
    }
    return {**services, **slices, **others}


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
