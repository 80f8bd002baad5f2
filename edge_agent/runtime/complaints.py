"""What a host has to complain about: counted, logged without flooding, alarmed while it stands."""

import logging
from collections import Counter
from datetime import datetime
from typing import Any

from edge_agent.core.agent import SECOND_NS
from edge_agent.runtime.core import HostCore
from schemas.agent import Alarm
from schemas.topics import Address

log = logging.getLogger(__name__)

REPORT_EVERY_NS = 60 * SECOND_NS
MAX_KINDS = 50
RETAINED_COMMAND = "retained_command"
NOT_PUBLISHED = "not_published"


class Complaints:
    """Counters and alarms of one host. Only the host's thread calls it."""

    def __init__(self, core: HostCore[Any, Any], dev: str, now_ns: int) -> None:
        self._core = core
        self._dev = dev
        self._dropped: Counter[str] = Counter()
        self._retained: dict[str, Address[Any]] = {}
        self._reported_ns = now_ns - REPORT_EVERY_NS
        self._lost_ns: int | None = None
        self._said_ns: dict[str, int] = {}
        self._attempts = 0
        self.dropped = 0

    # --- payloads ---

    def drop(self, path: str, why: str) -> None:
        """Count a payload that was not looked at any further."""
        self.dropped += 1
        kind = f"{path}: {why}"[:200]
        if kind not in self._dropped and len(self._dropped) >= MAX_KINDS:
            kind = "others"
        self._dropped[kind] += 1

    def report(self, now_ns: int) -> None:
        """Say in the log what was dropped, at most once a minute."""
        if self._dropped and now_ns - self._reported_ns >= REPORT_EVERY_NS:
            log.warning("dropped: %s", dict(self._dropped))
            self._dropped.clear()
            self._reported_ns = now_ns

    # --- the connection ---

    def disconnected(self, reason: str, now_ns: int) -> None:
        """Say that the broker is gone, and why: each reason at once, then once a minute."""
        self._attempts += 1
        if self._lost_ns is None:
            self._lost_ns = now_ns
        if now_ns - self._said_ns.get(reason, now_ns - REPORT_EVERY_NS) >= REPORT_EVERY_NS:
            self._said_ns[reason] = now_ns
            log.warning("broker: %s (attempt %d)", reason, self._attempts)

    def connected(self, now_ns: int) -> None:
        """A new connection: what stood against the old one is over."""
        if self._lost_ns is not None:
            away_s = (now_ns - self._lost_ns) / SECOND_NS
            log.warning("broker: here again after %.1f s and %d attempts", away_s, self._attempts)
        self._lost_ns, self._attempts = None, 0
        self._said_ns.clear()
        self._retained.clear()
        self._core.clear_alarm(RETAINED_COMMAND)
        self._core.clear_alarm(NOT_PUBLISHED)

    def not_published(self, text: str, wall: datetime) -> None:
        """The broker, or our own size guard, refused a publication; it is not tried again by itself."""
        log.error("not published: %s", text)
        alarm = Alarm(
            severity="major",
            text=f"Not published: {text}"[:300],
            since=wall,
            subject=self._core.agent.name,
            mend="Write the broker's access list again (ezrec topics --acl); if it stays, it is our fault.",
        )
        self._core.raise_alarm(NOT_PUBLISHED, alarm)

    # --- retained commands ---

    def retained_command(self, address: Address[Any], payload: bytes, wall: datetime) -> None:
        """A command that was published to be kept is refused and alarmed; its clearing ends the alarm."""
        if payload:
            self._retained[address.path] = address
            log.error("retained command refused: %s", address.path)
        else:
            self._retained.pop(address.path, None)
        if not self._retained:
            self._core.clear_alarm(RETAINED_COMMAND)
            return
        path = min(self._retained)
        alarm = Alarm(
            severity="minor",
            text=f"A retained command on {path} was refused",
            since=wall,
            subject=path,
            mend=f"Clear it: mosquitto_pub -r -n -t {self._retained[path].full(self._dev)}",
        )
        self._core.raise_alarm(RETAINED_COMMAND, alarm)
