"""A disk that may be full, and that forgets at a power cut what was not fsynced."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import cast

from edge_agent.core.errors import EffectFailed


def entries(value: object) -> tuple[object, ...]:
    """A log's entries; no file has none."""
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()


@dataclass
class File:
    """One file: what readers see, and what a power cut leaves at least. A log is a tuple that only grows."""

    value: object
    durable: object = None
    log: bool = False


class Disk:
    """Files by path. Values are immutable; None is no file."""

    def __init__(self, lots: Random) -> None:
        self._lots = lots
        self._files: dict[str, File] = {}
        self.full = False

    def read(self, path: str) -> object:
        """The content, None when there is none."""
        file = self._files.get(path)
        return file.value if file else None

    def is_durable(self, path: str) -> bool:
        """Whether a power cut would leave the file as it is."""
        file = self._files.get(path)
        return file is not None and file.durable == file.value

    def durable(self, path: str) -> object:
        """What a power cut would leave at least."""
        file = self._files.get(path)
        return file.durable if file else None

    def write(self, path: str, value: object, *, durable: bool, log: bool = False) -> None:
        """Replace or extend a file.

        Raises:
            EffectFailed: the disk is full.
        """
        if self.full:
            raise EffectFailed("full", f"{path}: No space left on device")
        file = self._files.setdefault(path, File(None, log=log))
        file.value = value
        if durable:
            file.durable = value

    def sync(self, path: str) -> None:
        """Make a file last as it is."""
        file = self._files.get(path)
        if file is not None:
            file.durable = file.value

    def keep(self, path: str, durable: object) -> None:
        """Make an earlier content of a file last (fsync in the background)."""
        file = self._files.get(path)
        if file is not None:
            file.durable = durable

    def delete(self, path: str) -> None:
        """Remove a file, for good."""
        self._files.pop(path, None)

    def below(self, prefix: str) -> Iterator[str]:
        """Paths that begin so, sorted."""
        return iter(sorted(path for path in self._files if path.startswith(prefix)))

    def cut(self) -> None:
        """The power goes: of what was not fsynced something else than the last may be left."""
        for path, file in list(self._files.items()):
            if file.durable is file.value:
                continue
            file.value = self._left(file)
            file.durable = file.value
            if file.value is None:
                del self._files[path]

    def _left(self, file: File) -> object:
        if file.log:
            value, durable = entries(file.value), entries(file.durable)
            return value[: self._lots.randint(len(durable), len(value))] or None
        return self._lots.choice((file.value, file.durable))
