"""Whether a message that is due may go now: troubles and their ends stay in order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud_bridge.stores.messages import ClaimedMessage, Told
from schemas.base import utc_text

OVER_OF: Mapping[str, str] = {"alarm": "recovered", "silent": "back"}
"""Kinds of trouble, and the kind that says it is over."""
_TROUBLE_OF = {over: trouble for trouble, over in OVER_OF.items()}
PAUSE = timedelta(seconds=2)


@dataclass(frozen=True)
class Go:
    """It may be sent."""


@dataclass(frozen=True)
class Later:
    """It waits for another one; ``at``: aware UTC text."""

    at: str
    why: str


@dataclass(frozen=True)
class Never:
    """There is nothing to say any more."""

    why: str


def matters(kind: str) -> bool:
    """Whether messages of this kind have an order at all."""
    return kind in OVER_OF or kind in _TROUBLE_OF


def verdict(claimed: ClaimedMessage, told: Sequence[Told], now: datetime) -> Go | Later | Never:
    """What becomes of a claimed message.

    Args:
        claimed: the message.
        told: messages about its cause, in the order they were made, itself among them.
        now: aware wall time.
    """
    message = claimed.message
    to = (message.channel, message.recipient)
    mine = [one for one in told if (one.channel, one.recipient) == to]
    place = next((number for number, one in enumerate(mine) if one.id == claimed.id), len(mine))
    if message.kind in OVER_OF:
        over = OVER_OF[message.kind]
        ended = any(one.kind == over for one in mine[place + 1 :])
        if ended and message.data.get("held") is True:
            return Never("over before it was due")
        return Go()
    if message.kind in _TROUBLE_OF:
        if any(_stands(one) and one.state == "sent" for one in mine[place + 1 :]):
            return Never("it has begun again since")
        return _ending(mine[:place], now)
    return Go()


def _ending(before: Sequence[Told], now: datetime) -> Go | Later | Never:
    first = next((one for one in before if _stands(one) and one.state == "waiting"), None)
    if first is not None and first.data.get("held") is not True:
        again = max(now + PAUSE, datetime.fromisoformat(first.at) + PAUSE)
        return Later(utc_text(again), "waits for the message before it")
    told = [one for one in before if one.state == "sent" or not _stands(one)]
    return Go() if owed(told) else Never("nobody was told that it began")


def _stands(one: Told) -> bool:
    return one.kind in OVER_OF


def owed(mine: Sequence[Told]) -> bool:
    """Whether somebody was told (or is about to be) of a trouble and not yet of its end."""
    standing = False
    for one in mine:
        if one.state == "given_up":
            continue
        standing = one.kind in OVER_OF
    return standing
