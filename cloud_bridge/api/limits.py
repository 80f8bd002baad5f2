"""How often somebody may ask: token buckets in memory, bounded in number. Forgotten when the process ends."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock

LOGIN_WINDOW_S = 15 * 60
DAY_S = 86_400.0
CLAIM_TRIES = 5
COURT_TRIES = 50
"""Wrong codes a day from everywhere: a code is one in a million."""
_MOST = 10_000


class Buckets:
    """A bucket per key: so many at once, filled again evenly. The one used longest ago is forgotten first."""

    def __init__(self, clock: Clock, capacity: float, window_s: float, most: int = _MOST) -> None:
        """So many (``capacity``) in a time (``window_s``), of at most ``most`` keys."""
        self._clock = clock
        self._capacity = capacity
        self._per_s = capacity / window_s
        self._most = most
        self._lock = threading.Lock()
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one; 0, or the seconds until there is one."""
        now = self._clock.mono_ns() / 1e9
        with self._lock:
            amount, at = self._filled.pop(key, (self._capacity, now))
            amount = min(self._capacity, amount + max(0.0, now - at) * self._per_s)
            wait_s = 0.0 if amount >= 1 else (1 - amount) / self._per_s
            self._filled[key] = (amount if wait_s else amount - 1, now)
            while len(self._filled) > self._most:
                self._filled.popitem(last=False)
        return wait_s

    def give_back(self, key: str) -> None:
        """It was no guess: what was taken does not count."""
        with self._lock:
            if key in self._filled:
                amount, at = self._filled[key]
                self._filled[key] = (min(self._capacity, amount + 1), at)


@dataclass(frozen=True)
class Limits:
    """The buckets of an application.

    Attributes:
        principals: requests of users and keys.
        strangers: requests from addresses, on open paths.
        logins: tries of names, and from addresses.
        claims: codes tried from addresses; ``court``: from all of them together.
        links: requests for the film of a link.
    """

    principals: Buckets
    strangers: Buckets
    logins: Buckets
    claims: Buckets
    court: Buckets
    links: Buckets


def limits_of(settings: Settings, clock: Clock) -> Limits:
    """The buckets as set."""
    api = settings.api
    return Limits(
        Buckets(clock, api.requests_per_min, 60),
        Buckets(clock, api.open_requests_per_min, 60),
        Buckets(clock, api.login_tries, LOGIN_WINDOW_S),
        Buckets(clock, CLAIM_TRIES, DAY_S),
        Buckets(clock, COURT_TRIES, DAY_S),
        Buckets(clock, api.link_requests_per_day, DAY_S),
    )


def address_key(host: str | None) -> str:
    """Whom an address stands for: of IPv6 the network of 64 bits, since a home has all of it."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return "nobody"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)


def is_this_machine(host: str | None) -> bool:
    """Whether a request came from this machine itself (a proxy that is named in the settings is none)."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
