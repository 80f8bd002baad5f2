"""The clock: monotonic time of this boot, wall time, and whether the wall clock can be trusted.

The only place of the device software that reads a clock; everything else gets a `Stamp`.
"""

import ctypes
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

STA_UNSYNC = 0x0040
TIME_ERROR = 5


class Clock(Protocol):
    """What the host needs to stamp an event."""

    def mono_ns(self) -> int:
        """Monotonic nanoseconds of this boot."""
        ...

    def wall(self) -> datetime:
        """Aware UTC wall time."""
        ...

    def synced(self) -> bool:
        """Whether the wall clock is synchronised."""
        ...

    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        ...


class SystemClock:
    """The machine's own clock. ``synced`` is read from the kernel at most once a second."""

    def __init__(self) -> None:
        self._boot_id = read_boot_id()
        self._synced = kernel_synced()
        self._read_ns = time.monotonic_ns()

    def mono_ns(self) -> int:
        """Monotonic nanoseconds of this boot."""
        return time.monotonic_ns()

    def wall(self) -> datetime:
        """Aware UTC wall time."""
        return datetime.now(UTC)

    def synced(self) -> bool:
        """Whether the kernel says the clock is synchronised."""
        now = time.monotonic_ns()
        if now - self._read_ns > 1_000_000_000:
            self._synced = kernel_synced()
            self._read_ns = now
        return self._synced

    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        return self._boot_id


def read_boot_id() -> str:
    """The kernel's boot id, a UUID without its dashes."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")


class _Timex(ctypes.Structure):
    # struct timex of adjtimex(2); only ``status`` is read, the rest keeps the size.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_byte * 256),
    )


def kernel_synced() -> bool:
    """Whether adjtimex(2) says the clock is disciplined. A machine that cannot tell counts as not."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    state = int(libc.adjtimex(ctypes.byref(timex)))
    return state not in (-1, TIME_ERROR) and not timex.status & STA_UNSYNC
