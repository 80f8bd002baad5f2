"""Whether a device is silent that should not be. Pure: judged by the cloud side, by the store's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue

from cloud_bridge.notify.order import owed
from cloud_bridge.stores.messages import DeviceSeen, Told
from edge_agent.core.effects import Notice

SILENT = timedelta(minutes=3)
STAGES = (
    ("now", timedelta(0)),
    ("10min", timedelta(minutes=10)),
    ("1h", timedelta(hours=1)),
    ("3h", timedelta(hours=3)),
    ("24h", timedelta(hours=24)),
)
URGENT = ("now", "10min")
"""Stages that are told also in quiet hours: an hour later would be too late."""


def judge(seen: DeviceSeen, told: Sequence[Told]) -> Notice | None:
    """What there is to say of a device: silent before or in a booking, or back.

    The same again has the same id, so it may be asked as often as one likes.

    Args:
        seen: the device.
        told: the messages there are about it, in the order they were made.
    """
    now = datetime.fromisoformat(seen.now)
    last = datetime.fromisoformat(seen.seen_at) if seen.seen_at else None
    if last is None or now - last >= SILENT:
        return _silent(seen, now)
    if any(_owed_to(told)):
        begun = next(one for one in reversed(told) if one.kind == "silent")
        since = begun.data.get("seen_at")
        notice_id = f"{seen.device}:back:{begun.id}"
        return Notice(notice_id, "back", seen.device, seen.now, {"seen_at": since, "over_at": seen.seen_at})
    return None


def _silent(seen: DeviceSeen, now: datetime) -> Notice | None:
    stage = _stage(seen, now)
    if stage is None or seen.next_booking is None:
        return None
    booking_id, start = seen.next_booking
    data: dict[str, JsonValue] = {
        "seen_at": seen.seen_at,
        "booking_id": booking_id,
        "start": start,
        "stage": stage,
        "severity": "critical" if stage in URGENT else "major",
    }
    again = f":{seen.seen_at}" if stage == "now" else ""
    notice_id = f"{seen.device}:silent:{booking_id}:{stage}{again}"
    return Notice(notice_id, "silent", seen.device, seen.now, data)


def _stage(seen: DeviceSeen, now: datetime) -> str | None:
    if seen.next_booking is None:
        return None
    ahead = datetime.fromisoformat(seen.next_booking[1]) - now
    return next((name for name, left in STAGES if ahead <= left), None)


def _owed_to(told: Sequence[Told]) -> list[bool]:
    """For each recipient whether they believe the device is silent."""
    to = dict.fromkeys((one.channel, one.recipient) for one in told)
    return [owed([one for one in told if (one.channel, one.recipient) == who]) for who in to]
