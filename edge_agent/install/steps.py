"""The steps of an installation: each says what is missing, and mends it; done twice it does nothing."""

import grp
import hashlib
import os
import pwd
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.core.settings import Settings
from edge_agent.install import broker
from edge_agent.install.layout import SOCKET, Places, services
from edge_agent.install.shell import ask
from edge_agent.runtime.secret_files import SECRETS
from edge_agent.runtime.settings import load, to_toml
from schemas.acl import accounts, render_acl

LEFT_OUT = frozenset({".git", ".venv", ".github", "node_modules", "tests", "build", "tmp"})
"""Top-level names that are not part of an installed program."""
UNIT_KINDS = frozenset({".service", ".slice", ".target", ".mount", ".path"})


class InstallFault(Exception):
    """A step could not be done; one line. What was done before it stays; the next try goes on from there."""


@dataclass(frozen=True)
class Step:
    """One thing that has to be so.

    Attributes:
        what: in words, for the operator.
        missing: what is not so yet, in words; empty when nothing is.
        do: makes it so.
    """

    what: str
    missing: Callable[[], str]
    do: Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be installed.

    Attributes:
        source: the clone this runs from.
        first: the settings of a first installation; those that are there win.
        agents: the device's agents, in order of start.
    """

    source: Path
    first: Settings
    agents: tuple[str, ...]


def steps(wanted: Wanted, places: Places) -> Iterator[Step]:
    """Everything, in order; a later step may need what an earlier one made."""
    if wanted.source != places.program:
        yield Step(
            f"program in {places.program}",
            lambda: _differs(wanted.source, places.program),
            lambda: _copy_program(wanted.source, places.program),
        )
    yield Step("Python environment", lambda: _no_environment(places), lambda: _make_environment(places))
    yield _text(places.command, lambda: '#!/bin/sh\nexec /opt/ezrec/ezrec "$@"\n', 0o755)
    for target, name in ((places.sysusers, "ezrec.sysusers"), (places.tmpfiles, "ezrec.tmpfiles")):
        yield _copied(wanted.source / "systemd" / name, target)
    yield Step("users and groups", _no_user, lambda: _run("systemd-sysusers", str(places.sysusers)))
    yield Step(
        "settings",
        lambda: "" if places.settings.exists() else "there are none yet",
        lambda: _write(places.settings, to_toml(wanted.first), 0o644),
    )
    yield Step("passwords and keys", lambda: _no_secret(places), lambda: _make_secrets(places))
    yield from _broker_steps(places)
    yield from _unit_steps(wanted, places)


def _broker_steps(places: Places) -> Iterator[Step]:
    folder = places.broker
    config = broker.configuration(
        [f"listener 0 {SOCKET}"], folder / "passwords", folder / "acl", Path("/var/lib/ezrec-broker")
    )
    yield _text(folder / "mosquitto.conf", lambda: config)
    yield _text(folder / "acl", lambda: _acl(places))
    yield Step(
        "broker accounts",
        lambda: (
            "" if _read(folder / "passwords.from") == _fingerprint(places) else "not those of the secrets"
        ),
        lambda: _hash_passwords(places),
    )


def _unit_steps(wanted: Wanted, places: Places) -> Iterator[Step]:
    for unit in sorted((wanted.source / "systemd").iterdir()):
        if unit.suffix in UNIT_KINDS:
            yield _copied(unit, places.units / unit.name)
    yield Step(
        "systemd knows the units", lambda: "read anew each time", lambda: _run("systemctl", "daemon-reload")
    )
    yield Step("folders and ring", lambda: "made anew each time", lambda: _make_folders(places))
    names = services(wanted.first, wanted.agents)
    yield Step(
        "services start with the machine",
        lambda: _not_enabled(("ezrec.target", *names)),
        lambda: _run("systemctl", "enable", "-q", "ezrec.target", *names),
    )


# --- the program ---


def tree_digest(root: Path) -> str:
    """Tells one version of the program from another: names and contents of what is installed."""
    sums = hashlib.sha256()
    for path in sorted(_files(root)):
        sums.update(f"{path.relative_to(root)}\0".encode())
        sums.update(hashlib.sha256(path.read_bytes()).digest())
    return sums.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for top in root.iterdir():
        if top.name in LEFT_OUT or top.name.startswith("."):
            continue
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _differs(source: Path, program: Path) -> str:
    if not (program / "ezrec").exists():
        return "not there"
    return "" if tree_digest(source) == tree_digest(program) else "another version"


def _copy_program(source: Path, program: Path) -> None:
    """The new version beside the old one, then in its place; its Python environment is kept."""
    fresh, old = program.with_name("ezrec.new"), program.with_name("ezrec.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    program.parent.mkdir(parents=True, exist_ok=True)
    for path in _files(source):
        target = fresh / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for folder, _, names in os.walk(fresh):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder) / name
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    if (program / ".venv").is_dir():
        (program / ".venv").rename(fresh / ".venv")
    if program.exists():
        program.rename(old)
    fresh.rename(program)
    shutil.rmtree(old, ignore_errors=True)


def _no_environment(places: Places) -> str:
    stamp = _read(places.program / ".venv/requirements.lock.stamp")
    wanted = hashlib.sha256((places.program / "requirements.lock").read_bytes()).hexdigest() if stamp else ""
    return "" if stamp.startswith(wanted) and stamp else "has to be made"


def _make_environment(places: Places) -> None:
    _run(str(places.program / "ezrec"), "--help")


# --- users, folders, secrets ---


def _no_user() -> str:
    for name in ("ezrec-broker", "ezrec-camera-left", "ezrec-health", "ezrec-api"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            return f"no user {name} yet"
    return ""


def _make_folders(places: Places) -> None:
    _run("systemctl", "enable", "-q", "--now", "run-ezrec-ring.mount")  # first: folders of the ring are in it
    # Only our own file: other packages' lines may fail on their own account.
    _run("systemd-tmpfiles", "--create", str(places.tmpfiles))


def _secret_names(places: Places) -> tuple[str, ...]:
    return accounts(_settings(places).camera_names())


def _settings(places: Places) -> Settings:
    return load(places.settings, {})


def _no_secret(places: Places) -> str:
    absent = [n for n in (*_secret_names(places), *SECRETS) if not (places.secrets / n).exists()]
    return f"{len(absent)} to be made" if absent else ""


def _make_secrets(places: Places) -> None:
    places.secrets.mkdir(parents=True, exist_ok=True)
    places.secrets.chmod(0o700)
    for name in _secret_names(places):
        if not (places.secrets / name).exists():
            _write(places.secrets / name, secrets.token_urlsafe(24) + "\n", 0o600)
    for name in SECRETS:  # empty: there is none; a unit's credential needs the file
        if not (places.secrets / name).exists():
            _write(places.secrets / name, "", 0o600)


def _passwords(places: Places) -> Mapping[str, str]:
    return {name: _read(places.secrets / name) for name in _secret_names(places)}


def _fingerprint(places: Places) -> str:
    return broker.fingerprint(_passwords(places))


def _hash_passwords(places: Places) -> None:
    text = broker.hashed(_passwords(places), places.broker / "passwords.new")
    _write(places.broker / "passwords", text, 0o640, "ezrec-broker")
    _write(places.broker / "passwords.from", _fingerprint(places) + "\n", 0o600)


def _acl(places: Places) -> str:
    settings = _settings(places)
    return render_acl(settings.device.id, settings.camera_names())


# --- files ---


def _copied(source: Path, target: Path) -> Step:
    return _text(target, lambda: source.read_text(encoding="utf-8"))


def _text(target: Path, text: Callable[[], str], mode: int = 0o644) -> Step:
    def missing() -> str:
        if not target.exists():
            return "not there"
        return "" if target.read_text(encoding="utf-8") == text() else "out of date"

    group = "ezrec-broker" if target.parent.name == "broker" else None
    return Step(str(target), missing, lambda: _write(target, text(), 0o640 if group else mode, group))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str, mode: int, group: str | None = None) -> None:
    """Replace a file as a whole; never readable by more than it will be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if group is not None:
        os.chown(fresh, 0, grp.getgrnam(group).gr_gid)
    fresh.chmod(mode)
    fresh.replace(path)


# --- systemd ---


def _not_enabled(names: Sequence[str]) -> str:
    states = ask("systemctl", "is-enabled", *names).out.split()
    left = [n for n, s in zip(names, states, strict=False) if s != "enabled"]
    return f"not yet: {', '.join(left)}" if left or len(states) != len(names) else ""


def _run(*argv: str) -> None:
    done = ask(*argv)
    if done.code != 0:
        raise InstallFault(f"{' '.join(argv[:3])}: {done.last_line}")
