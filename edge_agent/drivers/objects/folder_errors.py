"""The disk's failures as a store's."""

from __future__ import annotations

import errno

from edge_agent.drivers.objects.base import StoreError, StoreErrorKind

_KINDS: dict[int, tuple[StoreErrorKind, str]] = {
    errno.ENOSPC: ("transient", "the disk is full"),
    errno.EDQUOT: ("transient", "the disk quota is used up"),
    errno.EACCES: ("denied", "no right to write there"),
    errno.EPERM: ("denied", "no right to write there"),
    errno.EROFS: ("denied", "the disk is read-only"),
    errno.ELOOP: ("denied", "a link is in the way: links are not followed"),
    errno.ENOTDIR: ("denied", "a file or a link is in the way: links are not followed"),
    errno.EISDIR: ("conflict", "a folder is in the way"),
    errno.ENOENT: ("missing", "not there"),
}


def as_store_error(error: OSError | ValueError, place: str) -> StoreError:
    """What an error of the disk, or of a path that could leave its root, means for the operator."""
    if isinstance(error, ValueError):
        return StoreError("denied", f"{error} ({place})")
    kind, text = _KINDS.get(error.errno or 0, ("transient", "the disk has a fault"))
    return StoreError(kind, f"{text}: {error.strerror} ({place})")
