"""Whether people are told that films stay in the bucket. Pure."""

from collections.abc import Sequence
from datetime import datetime

from cloud_bridge.notices import alarm, recovered
from cloud_bridge.stores.messages import Told
from edge_agent.core.effects import Notice
from schemas.agent import Alarm

AGENT, NAME = "keeper", "films_stay"
CAUSE = f"{AGENT}/{NAME}"
TEXT = "Films stay in the bucket: "
MEND = "Give the keeper a key that may delete (docs/s3.md), or let it run where one is."


def news(device: str, refused: str | None, told: Sequence[Told], now: datetime) -> Notice | None:
    """What there is to say of a device: films stay, or that it is over; None: nothing new.

    Args:
        device: its id.
        refused: why its films stay; None: they do not.
        told: messages about `CAUSE`, in the order they were made.
        now: aware wall time.
    """
    standing = _standing(told)
    if refused is not None and standing is None:
        return _notice(device, refused, now)
    if refused is None and standing is not None:
        since = standing.data.get("since")
        text = standing.data.get("text")
        begun = datetime.fromisoformat(since) if isinstance(since, str) else now
        return recovered(
            _notice(device, text.removeprefix(TEXT) if isinstance(text, str) else "", begun), now
        )
    return None


def _standing(told: Sequence[Told]) -> Told | None:
    last = next((one for one in reversed(told) if one.kind in ("alarm", "recovered")), None)
    return last if last is not None and last.kind == "alarm" else None


def _notice(device: str, text: str, since: datetime) -> Notice:
    standing = Alarm(severity="major", text=f"{TEXT}{text}", since=since, subject=device, mend=MEND)
    return alarm(device, AGENT, NAME, standing)
