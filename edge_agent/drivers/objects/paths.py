"""Opening files beneath a root without ever following a link."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def beneath(relative: str) -> PurePosixPath:
    """The path, if it can only lie beneath whatever it is joined to; touches no disk.

    Raises:
        ValueError: when empty, absolute, or with `.`, `..`, an empty or hidden component, a backslash or a
        control byte.
    """
    names = relative.split("/")
    if any(not name or name.startswith(".") for name in names) or any(
        c < " " or c in "\\\x7f" for c in relative
    ):
        raise ValueError(f"not a path beneath its root: {relative!r}")
    return PurePosixPath(relative)


def open_folder(root: Path, names: tuple[str, ...], *, make: bool = False) -> int:
    """A descriptor of a folder beneath `root`; the caller closes it. No component after `root` may be a link.

    Raises:
        OSError: NotADirectoryError or ELOOP for a link, FileNotFoundError unless `make`.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            if make:
                _make(folder, name)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def open_file(root: Path, relative: str) -> int:
    """A read descriptor of a regular file beneath `root`, no link on the way; the caller closes it.

    Raises:
        ValueError: the path could leave its root. OSError: as open.
    """
    path = beneath(relative)
    folder = open_folder(root, path.parts[:-1])
    try:
        # O_NONBLOCK: a fifo put in the place of a film must not hold a worker for ever.
        return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Make a rename or an unlink in this folder last."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    os.fsync(folder)
