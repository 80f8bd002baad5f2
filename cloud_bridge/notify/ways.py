"""How a recipient gets to a film: the link is made as its message is sent, and is known nowhere else."""

from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Literal, cast

from cloud_bridge.notify.outcome import Delayed, Refused
from cloud_bridge.notify.spread import WITH_LINK
from cloud_bridge.notify.text import Way
from cloud_bridge.shares import expiry, film_ends, link_base, only_here
from cloud_bridge.stores.base import BookingRow, Store
from cloud_bridge.stores.messages import ClaimedMessage
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock
from schemas.base import PayloadError, validate
from schemas.recording import UploadStage
from schemas.registry import UPLOAD

KEPT = 1000


class Ways:
    """Makes links, each once: a message that is tried again gets the one it had, as long as this lives."""

    def __init__(self, stores: Callable[[str], Store], settings: Settings, clock: Clock) -> None:
        """``stores``: the rows of a device; ids of bookings are its own."""
        self._stores = stores
        self._settings = settings
        self._clock = clock
        self._made: dict[str, Way] = {}
        self._lock = Lock()

    def to(self, claimed: ClaimedMessage) -> Way | None:
        """The way to the film for a message's recipient; None when there is none in it.

        Raises:
            Refused: the booking was cancelled, must not be recorded, or its film is gone.
            Delayed: the store does not know the film yet.
            StoreError: the store is away.
        """
        message = claimed.message
        if not message.kind.startswith("film_"):
            return None
        share = message.data.get("share") is True
        if not share and message.data.get("player") is not True:
            return None
        store = self._stores(message.device)
        booking = _wanted(store, message.subject)
        if message.kind not in WITH_LINK:
            return None
        base = link_base(self._settings)
        audience = booking.stored.audience
        if audience != "link":
            kind = cast("Literal['code', 'members']", audience)
            page = f"{base}/claim" if kind == "code" else f"{base}/login"
            return Way(page, kind, here=only_here(base)) if message.data.get("player") is True else None
        with self._lock:
            known = self._made.get(claimed.id)
        return known or self._new(claimed.id, store, booking, base)

    def forget(self, message_id: str) -> None:
        """The message is over and done with."""
        with self._lock:
            self._made.pop(message_id, None)

    def _new(self, message_id: str, store: Store, booking: BookingRow, base: str) -> Way:
        now, verified_at = self._clock.wall(), _verified_at(store, booking.id)
        if film_ends(verified_at, self._settings) <= now:
            raise Refused("the film is past its time")
        ends = datetime.fromisoformat(booking.stored.end)
        share, token = store.issue_link(booking.id, expiry(now, ends, verified_at, self._settings))
        expires_at = datetime.fromisoformat(share.expires_at)
        way = Way(f"{base}/s/{token}", "link", expires_at, only_here(base))
        with self._lock:
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[message_id] = way
        return way


def _wanted(store: Store, booking_id: str) -> BookingRow:
    booking = store.booking(booking_id)
    if booking is None:
        raise Refused("there is no such booking any more")
    if booking.stored.status == "cancelled":
        raise Refused("the booking was cancelled")
    if booking.stored.record == "no":
        raise Refused("the booking is not to be recorded")
    return booking


def _verified_at(store: Store, booking_id: str) -> datetime:
    stored = store.results(booking_id).get(UPLOAD.key)
    try:
        stage = validate(UploadStage, stored.body) if stored else UploadStage()
    except PayloadError:
        stage = UploadStage()
    film = stage.verified("film")
    if film is None or film.verified_at is None:
        raise Delayed("the store does not know yet that the film is complete")
    return film.verified_at
