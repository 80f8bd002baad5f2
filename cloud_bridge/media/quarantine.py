"""Where uploads lie until the worker has looked at them: bytes as they came, in a folder nobody serves."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = "lock"


class Quarantine:
    """This process's own folder below a common one; what a dead process left there, the next one sweeps."""

    def __init__(self, root: Path) -> None:
        """Sweep away what dead processes left, and make a folder that a lock shows to be ours.

        Raises:
            OSError: the folder cannot be made.
        """
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o711)
        with (root / _LOCK).open("a") as common:
            # One at a time: a folder that is just being made has no lock yet.
            fcntl.flock(common, fcntl.LOCK_EX)
            for folder in root.iterdir():
                if folder.is_dir() and not folder.is_symlink() and _abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=root))
            self._lock = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def new_job(self) -> Path:
        """An empty folder for one upload.

        Raises:
            OSError: it cannot be made.
        """
        return Path(tempfile.mkdtemp(prefix="job-", dir=self._folder))

    def free_bytes(self) -> int:
        """Room on the disk that uploads go to."""
        return shutil.disk_usage(self._folder).free

    def close(self) -> None:
        """Remove everything of this process. May be repeated."""
        if self._lock >= 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _abandoned(folder: Path) -> bool:
    """Whether no living process holds the folder's lock."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    with contextlib.closing(os.fdopen(descriptor, "r+b")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
