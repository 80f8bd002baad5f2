"""Files below ``storage.root``: opened without ever following a link, written so that they last."""

import os
import stat
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

RECORDINGS = "recordings"
SHARED_MODE = 0o1770
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a fifo put in the place of a film must not hold a worker for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class PathRefused(ValueError):
    """A path that could lead out of its root: absolute, with ``..``, or over a link. One clear line."""


def _names(relative: str) -> list[str]:
    names = relative.split("/")
    odd = any(name in {"", ".", ".."} or name.startswith("-") for name in names)
    if odd or any(sign < " " or sign == "\x7f" for sign in relative):
        raise PathRefused(f"not a path below the storage root: {relative!r}")
    return names


def _descend(root: Path, names: list[str], *, make: bool) -> int:
    """Descriptor of a folder; the caller closes it."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for depth, name in enumerate(names):
        try:
            if make:
                _make(folder, name, shared=depth == 1 and names[0] == RECORDINGS)
            inner = os.open(name, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _make(folder: int, name: str, *, shared: bool) -> None:
    """Make a folder in another; one recording's is shared by the agents where recordings are.

    On a Pi each agent is a user of its own, and ``recordings/`` belongs to their common group: each puts its
    own part beside the others', and the sticky bit keeps it from theirs.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    if shared and os.fstat(folder).st_mode & stat.S_IWGRP:
        os.chmod(name, SHARED_MODE, dir_fd=folder)
    os.fsync(folder)


def open_beneath(root: Path, relative: str) -> int:
    """Open a file below ``root`` for reading; the caller closes the descriptor.

    Raises:
        PathRefused: the path is absolute, has ``..`` or empty names, a name begins with ``-``, or there is
            a link at any level.
        OSError: as open; FileNotFoundError when there is no such file.
    """
    *folders, name = _names(relative)
    try:
        folder = _descend(root, folders, make=False)
        try:
            return os.open(name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        if _has_link(root, relative):
            raise PathRefused(f"a link stands in the way: {relative!r}") from error
        raise


def folder_beneath(root: Path, relative: str) -> Path:
    """Make a folder below ``root`` (and those above it, each made to last) and return its path. Idempotent.

    Raises:
        PathRefused: as `open_beneath`.
        OSError: the folder could not be made.
    """
    names = _names(relative)
    try:
        # Whoever loses the race for a recording's folder finds it before it is shared, for a moment.
        for attempt in Retrying(
            retry=retry_if_exception_type(PermissionError),
            wait=wait_fixed(0.02),
            stop=stop_after_attempt(10 if names[0] == RECORDINGS else 1),
            reraise=True,
        ):
            with attempt:
                os.close(_descend(root, names, make=True))
    except OSError as error:
        if _has_link(root, relative):
            raise PathRefused(f"a link stands in the way: {relative!r}") from error
        raise
    return root / relative


def _has_link(root: Path, relative: str) -> bool:
    place = root
    for name in relative.split("/"):
        place /= name
        if place.is_symlink():
            return True
    return False


def sync_file(path: Path) -> None:
    """Make a file's content last."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Make what was renamed, made or removed in a folder last."""
    folder = os.open(path, _FOLDER)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def settle(temporary: Path, final: Path) -> None:
    """Give a finished temporary file its name, durably: fsync, rename, fsync of the folder."""
    sync_file(temporary)
    temporary.replace(final)
    sync_folder(final.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Write a whole file so that after any crash it has the old or the new content.

    Raises:
        OSError: nothing is left behind then.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        settle(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
