"""Deleting an owner's media of one recording."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from edge_agent.core.errors import EffectFailed
from edge_agent.runtime.memory import fsync_folder
from schemas.base import ID_PATTERN

_PART = re.compile(r"[a-z]{1,16}")
_ID = re.compile(ID_PATTERN)


def delete_media(root: Path, booking_id: str, parts: Iterable[str]) -> None:
    """Remove ``recordings/{booking_id}/{part}`` below ``root`` for each part, and what is empty then.

    Idempotent; a link in the place of a folder is not followed but refused.

    Raises:
        EffectFailed: permanent for a name that is no id or a link in the way, transient when the disk fails.
    """
    if not _ID.fullmatch(booking_id):
        raise EffectFailed("permanent", f"not a booking id: {booking_id[:40]!r}")
    recording = root / "recordings" / booking_id
    if not _is_folder(recording):
        return
    try:
        for part in parts:
            _remove(recording, part)
        if not any(recording.iterdir()):
            recording.rmdir()
            fsync_folder(recording.parent)
    except FileNotFoundError:
        return  # another owner removed its part at the same moment, and with it the folder
    except OSError as error:
        raise EffectFailed("transient", f"deleting media of {booking_id}: {error.strerror}") from error


def _remove(recording: Path, part: str) -> None:
    if not _PART.fullmatch(part):
        raise EffectFailed("permanent", f"not a part of a recording: {part[:40]!r}")
    if _is_folder(recording / part):
        shutil.rmtree(recording / part)
        fsync_folder(recording)


def _is_folder(path: Path) -> bool:
    if path.is_symlink():
        raise EffectFailed("permanent", f"a link stands where the folder {path.name} should be")
    return path.is_dir()
