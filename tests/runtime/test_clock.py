"""The clock."""

import time
from datetime import timedelta

from edge_agent.runtime.clock import SystemClock, kernel_synced, read_boot_id


def test_clock_is_aware_and_rises() -> None:
    clock = SystemClock()
    first, again = clock.mono_ns(), clock.mono_ns()
    assert first <= again
    assert clock.wall().utcoffset() == timedelta(0)
    assert abs(clock.wall().timestamp() - time.time()) < 60


def test_boot_id_is_the_kernels() -> None:
    assert SystemClock().boot_id() == read_boot_id()
    assert len(read_boot_id()) == 32
    assert set(read_boot_id()) <= set("0123456789abcdef")


def test_kernel_is_asked_at_most_once_a_second() -> None:
    clock = SystemClock()
    honest = clock.synced()
    clock._synced = not honest
    assert clock.synced() is not honest  # remembered
    clock._read_ns -= 2_000_000_000
    assert clock.synced() is kernel_synced()
