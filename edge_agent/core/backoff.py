"""Back-off between tries: exponential with jitter that depends only on its inputs, so that it replays."""

import hashlib

from edge_agent.core.agent import SECOND_NS

FIRST_NS = SECOND_NS // 2
CEILING_NS = 60 * SECOND_NS


def delay_ns(attempt: int, key: str, *, first_ns: int = FIRST_NS, ceiling_ns: int = CEILING_NS) -> int:
    """Nanoseconds to wait before try number ``attempt`` (1 is the first repetition).

    Doubles from ``first_ns`` to ``ceiling_ns``; the last half of it is jitter drawn from the key and the
    attempt by a hash, so that many devices spread while a replay sees the same numbers.
    """
    full = min(ceiling_ns, first_ns << min(max(attempt - 1, 0), 30))
    digest = hashlib.blake2b(f"{key}:{attempt}".encode(), digest_size=4).digest()
    return full // 2 + full * int.from_bytes(digest) // 2**33
