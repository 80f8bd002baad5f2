"""Health's effects, done: metrics from the operating system, and the receipt's file."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.effects import DeleteMedia, FilmFile, HealthInventory, Measure, Measured, WriteReceipt
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from edge_agent.drivers.disk import PathRefused, folder_beneath, write_durably
from edge_agent.drivers.media import delete_media
from edge_agent.drivers.objects.base import PART_BYTES, composite_sha256, sha256_b64
from edge_agent.runtime.clock import kernel_synced

CPU_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "soc_thermal")
RECEIPT_NAME = "receipt.json"


class HealthDrivers:
    """Runs health's effects. Reads the operating system; writes below ``recordings/{id}/receipt`` only."""

    def __init__(self, settings: Settings) -> None:
        self._root = Path(settings.storage.root)
        psutil.cpu_percent(None)  # the first reading has nothing to compare with

    def inventory(self) -> HealthInventory:
        """The receipts on disk, with their sizes."""
        found: dict[str, int] = {}
        for file in sorted(self._root.glob(f"recordings/*/receipt/{RECEIPT_NAME}")):
            if not file.is_symlink():
                found[file.parts[-3]] = file.stat().st_size
        return HealthInventory(receipts=found)

    def run(self, effect: Effect) -> object:
        """Do one effect of health, blocking.

        Raises:
            EffectFailed: full or transient for the disk, input for a path that is refused.
        """
        try:
            match effect:
                case Measure():
                    return self._measure()
                case WriteReceipt():
                    return self._write(effect)
                case DeleteMedia():
                    delete_media(self._root, effect.booking_id, effect.parts)
                    return None
                case _:
                    raise EffectFailed("bug", f"health's drivers do not know {type(effect).__name__}")
        except PathRefused as error:
            raise EffectFailed("input", str(error)) from error
        except OSError as error:
            kind: FailureKind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "transient"
            raise EffectFailed(kind, f"{error.filename or self._root}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held between effects."""

    def _measure(self) -> Measured:
        disk = shutil.disk_usage(_existing(self._root))
        return Measured(
            cpu_pct=psutil.cpu_percent(None),
            load1=round(os.getloadavg()[0], 2),
            temperature_c=_temperature_c(),
            throttled=None,
            memory_used_pct=psutil.virtual_memory().percent,
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            network_up=_network_up(),
            clock_synced=_clock_synced(),
            media_bytes=sum(_sizes(self._root / "recordings")),
        )

    def _write(self, effect: WriteReceipt) -> FilmFile:
        relative = f"recordings/{effect.booking_id}/receipt"
        content = effect.receipt.model_dump_json(indent=2, by_alias=True).encode() + b"\n"
        write_durably(folder_beneath(self._root, relative) / RECEIPT_NAME, content)
        parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
        return FilmFile(
            path=f"{relative}/{RECEIPT_NAME}",
            bytes=len(content),
            bytes_durable=len(content),
            frames=0,
            slots=0,
            intro_frames=0,
            complete=True,
            sha256=composite_sha256([sha256_b64(part) for part in parts]),
            duration_s=0.0,
            generation=0,
        )


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _temperature_c() -> float | None:
    """The processor's temperature, or the highest there is; None where nothing measures one."""
    read = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return None
    try:
        groups = psutil.sensors_temperatures()
    except (OSError, RuntimeError):
        return None
    chosen = next((groups[name] for name in CPU_SENSORS if groups.get(name)), None)
    sensors = chosen if chosen is not None else [sensor for group in groups.values() for sensor in group]
    return max((sensor.current for sensor in sensors), default=None)


def _network_up() -> bool | None:
    """Whether any interface but the loopback is up; None where there is none to ask."""
    try:
        interfaces = psutil.net_if_stats()
    except OSError:
        return None
    others = [stats.isup for name, stats in interfaces.items() if name != "lo"]
    return any(others) if others else None


def _clock_synced() -> bool:
    """Whether the kernel says the clock is synchronised; False where it cannot be asked."""
    try:
        return kernel_synced()
    except (OSError, AttributeError):
        return False


def _sizes(folder: Path) -> Iterator[int]:
    """Sizes of all files below a folder, links not followed; what vanishes meanwhile is left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
