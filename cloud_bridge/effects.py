"""The bridge's effects: on a store that may be far away, and on the outbox on the disk."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from cloud_bridge import remote
from cloud_bridge.outbox import Outbox
from cloud_bridge.sending import Sender, new_booking
from cloud_bridge.stores.base import Store, StoreError
from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    AwaitHint,
    BookingEntry,
    BridgeInventory,
    ChangeBooking,
    Enqueue,
    KeepSeen,
    Polled,
    PollStore,
    SaveAutomatic,
    SaveBooking,
    SendBatch,
    StoredBooking,
)
from edge_agent.core.errors import EffectFailed


class Hints(Protocol):
    """Says when asking the store is worth it."""

    def wait(self) -> bool:
        """Wait until something changed, however long that takes; False once closed."""
        ...

    def close(self) -> None:
        """Listen no longer; `wait` returns. May be repeated."""
        ...


class BridgeEffects:
    """The I/O of the bridge: one store, one outbox, perhaps somebody who hints. Owns them."""

    def __init__(self, store: Store, outbox: Outbox, hints: Hints | None = None) -> None:
        self._store = store
        self._outbox = outbox
        self._hints = hints
        sender = Sender(outbox, store)
        self._known: dict[type[Effect], Callable[[Any], object]] = {
            PollStore: self._poll,
            AwaitHint: self._hint,
            KeepSeen: outbox.keep_seen,
            Enqueue: lambda effect: outbox.enqueue(effect.entries),
            SendBatch: lambda effect: sender.send(effect.through),
            SaveBooking: self._save,
            ChangeBooking: self._change,
            SaveAutomatic: lambda effect: store.set_automatic(on=effect.on),
        }

    def inventory(self) -> BridgeInventory:
        """What the last run left on the disk; the store is not asked.

        Raises:
            OSError: the outbox cannot be read.
        """
        try:
            return self._outbox.inventory()
        except StoreError as error:
            raise OSError(error.text) from error

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
        """Close the store and the outbox."""
        if self._hints is not None:
            self._hints.close()
        self._store.close()
        self._outbox.close()

    def _poll(self, effect: PollStore) -> Polled:
        polled = self._store.poll(effect.cursor)
        return replace(polled, commands=tuple(remote.read(command) for command in polled.commands))

    def _hint(self, _effect: AwaitHint) -> None:
        if self._hints is None or not self._hints.wait():
            raise EffectFailed("gone", "nobody hints")

    def _save(self, effect: SaveBooking) -> StoredBooking:
        wanted = BookingEntry(
            effect.booking_id, effect.kind, effect.start, effect.end, effect.request, effect.of
        )
        row, _ = self._store.create_booking(new_booking(wanted))
        return self._seen(row.stored)

    def _change(self, effect: ChangeBooking) -> StoredBooking:
        return self._seen(self._store.change_booking(effect.booking_id, effect.changes).stored)

    def _seen(self, row: StoredBooking) -> StoredBooking:
        """The next run knows it too, also when the store is away then."""
        self._outbox.keep_rows([row])
        return row


@contextmanager
def _as_effect() -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise EffectFailed(error.kind, error.text) from error
