"""Secrets that have a file of their own: each process is handed only those it needs.

Under systemd they are credentials of the unit; elsewhere files in the folder of the broker's passwords. A
file that is not there, is empty or may not be read by this process means: this process has no such secret.
"""

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


def secret_values(folders: Iterator[Path]) -> Iterator[tuple[tuple[str, str], str]]:
    """Settings and their values, of the first folder that has each; reads files."""
    places = tuple(folders)
    for name, place in SECRETS.items():
        for folder in places:
            value = _read(folder / name)
            if value:
                yield place, value
                break


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
