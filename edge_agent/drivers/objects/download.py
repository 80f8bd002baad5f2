"""Writing a fetched object: bounded, hashed, atomic; the same for every store."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.drivers.objects.base import StoreError
from edge_agent.drivers.objects.folder_errors import as_store_error
from edge_agent.drivers.objects.paths import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_fetched(
    chunks: Iterable[bytes], path: Path, expected_sha256: str | None, max_bytes: int, what: str
) -> None:
    """Write `chunks` to `path` under a temporary name, fsync, rename; on any failure nothing remains.

    Raises:
        StoreError: `conflict` beyond `max_bytes` or with another hash than `expected_sha256` (hex); for the
        disk's own
            errors, what they mean.
    """
    try:
        _write(chunks, path, expected_sha256, max_bytes, what)
    except OSError as error:
        raise as_store_error(error, f"{what}, fetched into {path}") from error


def _write(
    chunks: Iterable[bytes], path: Path, expected_sha256: str | None, max_bytes: int, what: str
) -> None:
    digest = hashlib.sha256()
    written_bytes = 0
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".fetch", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                written_bytes += len(chunk)
                _require(
                    written_bytes <= max_bytes, f"{what} is larger than the {max_bytes} bytes allowed here"
                )
                digest.update(chunk)
                file.write(chunk)
            if expected_sha256 is not None:
                found = digest.hexdigest()
                _require(
                    found == expected_sha256.lower(), f"{what} has SHA-256 {found}, not {expected_sha256}"
                )
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o640)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _require(holds: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    if not holds:
        raise StoreError("conflict", text)
