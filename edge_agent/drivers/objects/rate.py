"""A byte rate shared by threads."""

from __future__ import annotations

import threading
import time


class TokenBucket:
    """Lets bytes through at `bytes_per_s` on average; nothing is ever refused, only made to wait.

    A request larger than `burst_bytes` is let through on credit and whoever comes next waits it off, so a 5
    MiB part needs no 5 MiB burst.
    """

    def __init__(self, bytes_per_s: float, burst_bytes: float = 0.0) -> None:
        self._bytes_per_s = bytes_per_s
        self._burst_s = burst_bytes / bytes_per_s
        self._free_at_s = time.monotonic() - self._burst_s
        self._lock = threading.Lock()

    def reserve(self, amount_bytes: int) -> float:
        """Take `amount_bytes`, now; returns the seconds to wait before sending them."""
        now_s = time.monotonic()
        with self._lock:
            start_s = max(self._free_at_s, now_s - self._burst_s)
            self._free_at_s = start_s + amount_bytes / self._bytes_per_s
        return max(0.0, start_s - now_s)
