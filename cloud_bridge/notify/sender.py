"""The sender: notices become messages, messages go out, silent devices are noticed."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event

from cloud_bridge.notify.lanes import Held, Lanes
from cloud_bridge.notify.post import LEASE_S, MEMORY, Post, Transports
from cloud_bridge.notify.spread import Round, spread
from cloud_bridge.notify.watch import SILENT, judge
from cloud_bridge.notify.ways import Ways
from cloud_bridge.stores.base import Store, StoreError
from cloud_bridge.stores.messages import DeviceSeen, MessageStore, OpenNotice
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

BATCH = 50
ROOM = 200
"""Messages held at once; `cloud_bridge.notify.lanes.DEPTH` keeps one destination from taking it all."""
CLOSING_S = 5.0
WATCH_EVERY_S = 15.0
LONGEST_PAUSE_S = 60.0

log = logging.getLogger(__name__)


class Sender:
    """Turns notices into messages and sends them. Several may run over one store."""

    def __init__(
        self,
        settings: Settings,
        stores: Callable[[str], Store],
        messages: MessageStore,
        transports: Transports,
        clock: Clock | None = None,
        watch_every_s: float = WATCH_EVERY_S,
    ) -> None:
        """The stores stay their caller's; nothing runs yet.

        Args:
            settings: who is told, and how.
            stores: the rows of a device, for bookings and links.
            messages: for everything else.
            transports: what carries messages out.
            clock: for tests.
            watch_every_s: how often devices are looked at.
        """
        self._settings = settings
        self._messages = messages
        self._clock = clock or SystemClock()
        self._post = Post(settings, messages, Ways(stores, settings, self._clock), transports, self._clock)
        self._lanes = Lanes(self._send)
        self._odd: set[str] = set()
        self._watch = Watch(messages, watch_every_s)

    def run(self, stop: Event, every_s: float) -> None:
        """Work until told to stop. A store that is away is asked again, more and more seldom."""
        failures = 0
        while not stop.is_set():
            try:
                self.step()
                failures = 0
            except StoreError as error:
                failures += 1
                self._watch.store_was_away()
                log.warning("the store is away: %s", error.text)
            stop.wait(min(LONGEST_PAUSE_S, every_s * 2 ** min(failures, 10)))
        self.close()

    def step(self) -> None:
        """One round: notices, silent devices, due messages. Sending goes on in threads.

        Raises:
            StoreError: the store is away; nothing is lost.
        """
        self._watch.look()
        self._expand()
        self._take()

    def settle(self, timeout_s: float | None = None) -> bool:
        """Until nothing is being sent; whether that came true in time."""
        return self._lanes.wait(timeout_s)

    def close(self) -> None:
        """What is being sent may end first; the rest is given back."""
        for held in self._lanes.close(CLOSING_S):
            self._post.put_off(held.claimed)

    def _expand(self) -> None:
        for notice in self._messages.open_notices(BATCH):
            if notice.notice.id in self._odd:
                continue
            try:
                self._expand_one(notice)
            except StoreError as error:
                if error.kind in ("transient", "full"):
                    raise
                self._leave(notice, error)
            except Exception as error:  # noqa: BLE001 - one notice must not keep all others from being told
                self._leave(notice, error)

    def _expand_one(self, notice: OpenNotice) -> None:
        now = self._clock.wall()
        told = self._messages.told(notice.device, notice.notice.subject, utc_text(now - MEMORY))
        given = Round(now, self._messages.recipients(notice.device), told)
        made = spread(notice, given, self._settings)
        self._messages.expand(notice.notice.id, made)
        log.info("%s: %d messages", notice.notice.kind, len(made))

    def _leave(self, notice: OpenNotice, error: Exception) -> None:
        """It stays open for a later version of this software; said once."""
        self._odd.add(notice.notice.id)
        log.error("notice %s cannot be told: %s", notice.notice.id, error, exc_info=error)

    def _take(self) -> None:
        room = ROOM - self._lanes.load
        if room <= 0:
            return
        claimed_s = time.monotonic()
        for claimed in self._messages.claim(self._post.name, LEASE_S, min(BATCH, room)):
            if not self._lanes.put(Held(claimed, claimed_s)):
                self._post.put_off(claimed)

    def _send(self, held: Held) -> None:
        self._post.send(held.claimed, held.since_s)


class Watch:
    """Looks after devices, and says when one is silent or back.

    It speaks only after it has seen the store work for as long as a device may be silent: after a power cut,
    or when the store comes back, the devices need a moment too.
    """

    def __init__(self, messages: MessageStore, every_s: float) -> None:
        self._messages = messages
        self._every_s = every_s
        self._since: datetime | None = None
        self._next_s = 0.0
        self._silent: set[str] | None = None
        self._said: set[str] = set()

    def store_was_away(self) -> None:
        """The store did not answer."""
        self._since = None

    def look(self) -> None:
        """Judge every device, when it is time to.

        Raises:
            StoreError: the store is away.
        """
        if time.monotonic() < self._next_s:
            return
        seen = self._messages.devices_seen()
        self._next_s = time.monotonic() + self._every_s
        if not seen:
            return
        now = datetime.fromisoformat(seen[0].now)
        self._since = self._since or now
        if now - self._since >= SILENT:
            self.judge_all(seen)

    def judge_all(self, seen: Sequence[DeviceSeen]) -> None:
        """Write a notice for every device that became silent or came back.

        Raises:
            StoreError: the store is away.
        """
        first = self._silent is None
        silent = self._silent or set[str]()
        for device in seen:
            asked = first or device.device in silent
            now = datetime.fromisoformat(device.now)
            told = self._messages.told(device.device, device.device, utc_text(now - MEMORY)) if asked else ()
            notice = judge(device, told)
            if notice is None and not _is_silent(device):
                silent.discard(device.device)
            elif _is_silent(device):
                silent.add(device.device)
            if notice is not None and notice.id not in self._said:
                self._messages.add_notice(device.device, notice)
                self._said.add(notice.id)
        self._silent = silent


def _is_silent(device: DeviceSeen) -> bool:
    if device.seen_at is None:
        return True
    gone: timedelta = datetime.fromisoformat(device.now) - datetime.fromisoformat(device.seen_at)
    return gone >= SILENT
