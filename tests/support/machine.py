"""A Debian of its own with a booted systemd, in a container: where the services run as on a Pi.

Made with mmdebstrap once and kept under the user's cache; each machine is an overlay on it. It has its own
processes, users, mounts and systemd; it shares the network of the host (packages come in by it), so every
port in it must be a free one. What cannot be seen in here: limits of memory, weights of CPU and disk.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,ca-certificates,mosquitto,mosquitto-clients,ffmpeg"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ezrec"
BOOT_S, COMMAND_S = 60.0, 600.0
PASSED_ON = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
"""How this machine reaches its package registries."""


def base_root() -> Path:
    """A bare Debian with the packages that `./ezrec` would install; made when there is none."""
    root = CACHE / "debian-bookworm"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
        subprocess.run(argv, check=True, timeout=900, stdin=subprocess.DEVNULL)
        (root / "etc/systemd/system/mosquitto.service").symlink_to("/dev/null")  # Debian's own broker
        for name in PASSED_ON:
            if Path(name).exists():
                shutil.copyfile(name, root / name.lstrip("/"))
        (root / "complete").touch()
    return root


class Machine:
    """A container that boots; use as a context manager. Needs root, overlayfs and systemd-nspawn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"
        self._spawned: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        lower = base_root()
        for name in ("root", "upper", "work"):
            (self._folder / name).mkdir(parents=True)
        layers = f"lowerdir={lower},upperdir={self._folder / 'upper'},workdir={self._folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()
        subprocess.run(["umount", "-l", str(self.root)], check=False)

    def boot(self) -> None:
        """Start it and return when systemd says it is up."""
        argv = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit"]
        argv += ["--console=pipe", "--resolv-conf=copy-host", "-b"]
        with (self._folder / "console").open("ab") as console:
            self._spawned = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.until(
            lambda: self.ask("systemctl", "is-system-running") in ("running", "degraded"), "up", BOOT_S
        )

    def reboot(self) -> None:
        """As when somebody pulls the plug and puts it back: everything in it is killed at once."""
        if self._spawned is None:
            raise AssertionError("not booted")
        self._pull_the_plug()
        self.boot()

    def power_off(self) -> None:
        """End it in order; what does not end is killed."""
        if self._spawned is None or self._spawned.poll() is not None:
            return
        self._spawned.terminate()
        try:
            self._spawned.wait(60)
        except subprocess.TimeoutExpired:
            self._pull_the_plug()

    def _pull_the_plug(self) -> None:
        """The container's first process is not nspawn's to take along: with it all in it end at once."""
        if self._spawned is not None:
            with contextlib.suppress(LookupError, OSError):
                os.kill(self._leader(), signal.SIGKILL)
            self._spawned.kill()
            self._spawned.wait(30)

    def run(self, *argv: str, timeout_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        passed = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
        path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["env", "-i", path, "HOME=/", "LC_ALL=C.UTF-8", *passed, *argv]
        into = ["nsenter", "-t", str(self._leader()), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        return subprocess.run(
            [*into, *inside],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ask(self, *argv: str) -> str:
        """What a command prints; nothing while the machine is not there."""
        try:
            return self.run(*argv).stdout.strip()
        except (LookupError, OSError):
            return ""

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.ask("systemctl", "show", unit, "-p", what, "--value")

    def until(self, so: Callable[[], bool], what: str, patience_s: float) -> None:
        """Wait for something; systemd has no event for it that reaches out of the container."""
        deadline = time.monotonic() + patience_s
        while not so():
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} within {patience_s:.0f} s\n{self.journal()}")
            time.sleep(0.25)

    def journal(self) -> str:
        """The end of what everything in it said."""
        return self.ask("journalctl", "--no-pager", "-n", "40", "-o", "cat")

    def _leader(self) -> int:
        """The container's first process."""
        if self._spawned is None:
            raise LookupError("not booted")
        return _systemd_below(self._spawned.pid)


def _systemd_below(pid: int) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        if Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "systemd":
            return int(child)
        found = _systemd_below(int(child))
        if found:
            return found
    raise LookupError("systemd is not there yet")
