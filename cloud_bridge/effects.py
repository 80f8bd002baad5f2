"""The bridge's effects on a store."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from cloud_bridge.stores.base import NewBooking, Store, StoreError
from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    BridgeInventory,
    ChangeBooking,
    MakeShare,
    PollStore,
    SaveAutomatic,
    SaveBooking,
    SaveResult,
    ShareMade,
    StoredBooking,
)
from edge_agent.core.errors import EffectFailed

log = logging.getLogger(__name__)


class BridgeEffects:
    """The I/O of the bridge: one store. Owns it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[type[Effect], Callable[[Any], object]] = {
            PollStore: lambda effect: store.poll(effect.cursor),
            SaveBooking: self._save,
            ChangeBooking: self._change,
            SaveAutomatic: lambda effect: store.set_automatic(on=effect.on),
            SaveResult: self._result,
            MakeShare: self._share,
        }

    def inventory(self) -> BridgeInventory:
        """The store as it is; empty when it cannot be read: the bookings last seen stay valid then."""
        try:
            polled = self._store.poll(0)
        except StoreError as error:
            log.warning("the store cannot be read at start: %s", error.text)
            return BridgeInventory()
        return BridgeInventory(polled.rows, polled.cursor, polled.automatic)

    def run(self, effect: Effect) -> object:
        """Do one effect, blocking; see the effects for their results.

        Raises:
            EffectFailed: with the kind of the store's error: ``input`` is a refusal, in one clear line.
        """
        work = self._known.get(type(effect))
        if work is None:
            raise EffectFailed("bug", f"the bridge cannot do {type(effect).__name__}")
        with _as_effect():
            return work(effect)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _save(self, effect: SaveBooking) -> StoredBooking:
        asked = effect.request
        new = NewBooking(
            effect.booking_id,
            effect.kind,
            datetime.fromisoformat(effect.start),
            datetime.fromisoformat(effect.end),
            of=effect.of,
        )
        if asked is not None:
            new = NewBooking(
                new.id,
                new.kind,
                new.start,
                new.end,
                asked.record,
                asked.audience,
                asked.layout,
                asked.deliver,
                of=effect.of,
                title=asked.title,
                contacts=asked.contacts,
            )
        row, _ = self._store.create_booking(new)
        return row.stored

    def _change(self, effect: ChangeBooking) -> StoredBooking:
        return self._store.change_booking(effect.booking_id, effect.changes).stored

    def _result(self, effect: SaveResult) -> None:
        self._store.save_result(effect.booking_id, effect.kind, effect.message.body())

    def _share(self, effect: MakeShare) -> ShareMade:
        share = self._store.make_share(effect.booking_id, datetime.fromisoformat(effect.expires_at))
        return ShareMade(share.share_id, share.expires_at)


@contextmanager
def _as_effect() -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise EffectFailed(error.kind, error.text) from error
