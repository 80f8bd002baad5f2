"""Where everything of an installation is, and which account of the broker is which user of the system."""

from dataclasses import dataclass
from pathlib import Path

from cloud_bridge.notify.run import sends_here
from edge_agent.core.settings import Settings


@dataclass(frozen=True)
class Places:
    """Absolute paths below ``root`` (``/`` but in tests)."""

    root: Path = Path("/")

    @property
    def program(self) -> Path:
        """The copy of the program that the units run."""
        return self.root / "opt/ezrec"

    @property
    def etc(self) -> Path:
        """Settings, secrets, the broker's files: kept by every installation and by uninstalling."""
        return self.root / "etc/ezrec"

    @property
    def settings(self) -> Path:
        """The settings' file."""
        return self.etc / "ezrec.toml"

    @property
    def secrets(self) -> Path:
        """One file per broker account and per key; only root looks in."""
        return self.etc / "secrets"

    @property
    def broker(self) -> Path:
        """Mosquitto's configuration, access list and hashed passwords."""
        return self.etc / "broker"

    @property
    def units(self) -> Path:
        """Where systemd finds an administrator's units."""
        return self.root / "etc/systemd/system"

    @property
    def sysusers(self) -> Path:
        """Users and groups, declared."""
        return self.root / "etc/sysusers.d/ezrec.conf"

    @property
    def tmpfiles(self) -> Path:
        """Folders with owner and mode, declared: made at installation and at every boot."""
        return self.root / "etc/tmpfiles.d/ezrec.conf"

    @property
    def command(self) -> Path:
        """``ezrec`` for whoever has a terminal."""
        return self.root / "usr/local/bin/ezrec"


SOCKET = "/run/ezrec-broker/mqtt.sock"
"""Where Mosquitto listens; nothing else does until somebody opens a door on purpose."""


def service_of(settings: Settings, agent: str) -> str:
    """The unit that runs an agent of this device."""
    kind, _, cam = agent.partition("_")
    if kind == "camera" and cam:
        csi = settings.camera_of(cam).backend == "picamera2"
        return f"ezrec-{'camera' if csi else 'stream'}@{cam}.service"
    if agent in ("uploader", "bridge"):
        return f"ezrec-{agent}.service"
    return f"ezrec-agent@{agent}.service"


def services(settings: Settings, agents: tuple[str, ...]) -> tuple[str, ...]:
    """Every unit to enable, the broker first."""
    names = ["ezrec-broker.service", *(service_of(settings, name) for name in agents)]
    if settings.bookings.kind == "sqlite":  # else a cloud side does it: they get no key here
        names += ["ezrec-api.service", "ezrec-keeper.service"]
    if sends_here(settings):
        names.append("ezrec-notify.service")
    return tuple(names)
