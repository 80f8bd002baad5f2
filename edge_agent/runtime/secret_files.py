"""Secrets that have a file of their own: each process is handed only those it needs.

Under systemd they are credentials of the unit; elsewhere files in the folder of the broker's passwords. A
file that is not there, is empty or may not be read by this process means: this process has no such secret.
"""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

SECRETS: Mapping[str, tuple[str, str]] = {
    "store.key": ("store", "key"),
    "store.secret": ("store", "secret"),
    "bookings.key": ("bookings", "key"),
    "smtp.password": ("smtp", "password"),
    "notify.webhook_secret": ("notify", "webhook_secret"),
}
"""File name -> section and key of the settings it stands for."""


THE_STORES = frozenset({"bookings.key"})
"""What only those who ask the booking system need; the supervisor never reads it, so no agent inherits it."""


class SecretExposed(ValueError):
    """A secret that everybody on this machine can read; the text is one line."""


def secret_values(
    folders: Iterator[Path], leave: frozenset[str] = frozenset()
) -> Iterator[tuple[tuple[str, str], str]]:
    """Settings and their values, of the first folder that has each but those to ``leave``; reads files.

    Raises:
        SecretExposed: the booking system's key lies open.
    """
    places = tuple(folders)
    for name, place in SECRETS.items():
        for folder in places if name not in leave else ():
            value = _read(folder / name)
            if value:
                if name in THE_STORES:
                    _must_be_private(folder / name)
                yield place, value
                break


def _must_be_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        raise SecretExposed(f"{path}: everybody here can read it (mode {mode:04o}), 0600 expected")


def secret_folders(environment: Mapping[str, str], passwords: object) -> Iterator[Path]:
    """Where secrets are looked for: systemd's credentials first, then the settings' ``mqtt.passwords``."""
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    if credentials:
        yield Path(credentials)
    if isinstance(passwords, str) and passwords:
        yield Path(passwords)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
