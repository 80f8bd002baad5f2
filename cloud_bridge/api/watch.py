"""Noticing changes: of bookings and recordings by their rows, of the device by its topics."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import anyio.to_thread
from pydantic import JsonValue

from cloud_bridge.api.context import Context
from cloud_bridge.api.feed import Change
from cloud_bridge.api.models import BookingOut, RecordingOut
from cloud_bridge.api.story import facts
from cloud_bridge.stores.base import BookingQuery, StoreError
from schemas.base import Message
from schemas.registry import ALARM, AVAILABILITY, CAMERA_STATUS
from schemas.topics import Address

EVERY_S = 1.0
_MANY = 200
log = logging.getLogger(__name__)
Seen = Mapping[tuple[str, str], Change]


async def watch_rows(ctx: Context) -> None:
    """Compare rows once a second while somebody listens, tell what is another, greet who is new."""
    before: Seen | None = None
    while True:
        await asyncio.sleep(EVERY_S)
        if not len(ctx.feed):
            before = None
            continue
        try:
            now = await anyio.to_thread.run_sync(_rows, ctx)
        except StoreError as error:
            log.warning("events: %s", error.text)
            continue
        for change in differences(before, now):
            ctx.feed.tell(change)
        before = now
        ctx.feed.greet()


def differences(before: Seen | None, now: Seen) -> Iterator[Change]:
    """What is another than before; nothing the first time."""
    if before is not None:
        yield from (change for key, change in now.items() if before.get(key) != change)


def _rows(ctx: Context) -> Seen:
    """The bookings from yesterday on and the latest recordings, as changes."""
    seen: dict[tuple[str, str], Change] = {}
    since = BookingQuery(begin=ctx.now() - timedelta(days=1), limit=_MANY)
    for booking in ctx.store.bookings(since):
        data = BookingOut.of_row(booking).model_dump(mode="json")
        seen["booking", booking.id] = Change("booking", data, booking.stored.owner)
    for row in ctx.store.recordings(None, _MANY // 4, None):
        data = RecordingOut.of(facts(row)).model_dump(mode="json")
        seen["recording", row.booking.id] = Change("recording", data, row.booking.stored.owner)
    return seen


def of_topic(device: str, address: Address[Any], message: Message | None) -> Change | None:
    """What a topic's change is to operators; None: nothing. An alarm that is over has no ``severity``."""
    body: dict[str, JsonValue] = dict(message.body()) if message is not None else {}
    if address.topic is AVAILABILITY:
        return Change("device", {**body, "device": device})
    if address.topic is CAMERA_STATUS:
        return Change("camera", {**body, "device": device, "camera": address["cam"]})
    if address.topic is ALARM:
        return Change(
            "alarm", {"device": device, "agent": address["agent"], "alarm": address["alarm"], **body}
        )
    return None
