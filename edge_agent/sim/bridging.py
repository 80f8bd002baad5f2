"""The bridge's drivers: its effects on the simulated store and on its outbox on the simulated disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import TypeVar

from pydantic import JsonValue

from cloud_bridge import remote
from cloud_bridge.sending import Sender, new_booking
from cloud_bridge.stores.base import BookingRow, NewBooking, ShareRow, StoreError
from edge_agent.core.agent import SECOND_NS, Effect
from edge_agent.core.effects import (
    AwaitHint,
    BookingEntry,
    BridgeInventory,
    ChangeBooking,
    Enqueue,
    KeepSeen,
    Notice,
    Polled,
    PollStore,
    ResultRow,
    SaveAutomatic,
    SaveBooking,
    SendBatch,
    StoredBooking,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.runtime.clock import Clock
from edge_agent.sim.disk import Disk
from edge_agent.sim.loop import MS_NS, Loop
from edge_agent.sim.node import Finish
from edge_agent.sim.outbox import Outbox
from edge_agent.sim.store import Store
from edge_agent.sim.work import FakeDrivers
from schemas.base import utc_text

T = TypeVar("T")
HELD_NS = 20 * SECOND_NS
STEPS = 8


class Cut(Exception):
    """The process died between two steps of an effect."""


class Line:
    """The store as the device reaches it: see `cloud_bridge.sending.Target`. An answer may get lost."""

    def __init__(self, store: Store, lots: Random, trouble: float, step: Callable[[], None]) -> None:
        self._store = store
        self._lots = lots
        self._trouble = trouble
        self._step = step

    def ask(self, call: Callable[[], T]) -> T:
        """Ask the store something.

        Raises:
            StoreError: it refuses, cannot be reached, or its answer was lost.
        """
        self._step()
        self._store.reach()
        if self._lots.random() >= self._trouble:
            return call()
        if self._lots.random() < 0.5:
            call()
        raise StoreError("transient", "the line broke")

    def poll(self, cursor: int) -> Polled:
        """See `Store`."""
        return self.ask(lambda: self._store.poll(cursor))

    def booking(self, booking_id: str) -> BookingRow | None:
        """See `Store`."""
        return self.ask(lambda: self._store.booking(booking_id))

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        """See `Store`."""
        return self.ask(lambda: self._store.create_booking(new))

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        """See `Store`."""
        return self.ask(lambda: self._store.change_booking(booking_id, changes, seen))

    def set_automatic(self, *, on: bool) -> None:
        """See `Store`."""
        self.ask(lambda: self._store.set_automatic(on=on))

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        """See `Store`."""
        return self.ask(lambda: self._store.make_share(booking_id, expires_at))

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        """See `Store`."""
        return self.ask(lambda: self._store.save_results(rows))

    def add_notices(self, notices: Sequence[Notice]) -> int:
        """See `Store`."""
        return self.ask(lambda: self._store.add_notices(notices))

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        """See `Store`."""
        return self.ask(lambda: self._store.answer_command(command_id, answer))


class BridgeDrivers(FakeDrivers):
    """See `FakeDrivers`.

    An answer to a poll that would bring nothing is held back until it brings something, until the bridge has
    anything else to do, or for a while: most of the time nothing happens, and that takes no steps.
    """

    def __init__(
        self, loop: Loop, disk: Disk, lots: Random, trouble: float, store: Store, clock: Clock
    ) -> None:
        super().__init__(loop, disk, lots, trouble)
        self.store = store
        self.outbox = Outbox(disk, self._step, lambda: utc_text(clock.wall()))
        self.line = Line(store, lots, trouble, self._step)
        self.sender = Sender(self.outbox, self.line, clock)
        self._seen = self._reached = -1
        self._steps: int | None = None
        self._under_way: dict[str, Effect] = {}
        self._release: Callable[[], None] | None = None
        self._hint: Finish | None = None
        store.watchers.append(self.news)

    def killed(self) -> None:
        """See `Drivers`; what was under way got some steps far."""
        super().killed()
        self.store.watchers.remove(self.news)
        for effect in self._under_way.values():
            self._steps = self.lots.randint(0, STEPS)
            try:
                self._do(effect)
            except (Cut, StoreError, EffectFailed):
                continue

    def _step(self) -> None:
        if self._steps is not None:
            self._steps -= 1
            if self._steps < 0:
                raise Cut

    # --- when ---

    def start(self, effect: Effect, finish: Finish) -> None:
        """See `Drivers`."""
        match effect:
            case AwaitHint():
                self._hint = finish
            case PollStore() if self._seen == self.store.writes and not self.store.trouble:
                self._hold(effect, finish)
            case PollStore():
                self._poll(effect, finish)
            case _:
                self._under_way[effect.key] = effect
                super().start(effect, finish)

    def _poll(self, effect: PollStore, finish: Finish) -> None:
        def told(result: object) -> None:
            self._seen = -1 if isinstance(result, EffectFailed) else self._reached
            finish(result)

        super().start(effect, told)

    def _hold(self, effect: PollStore, finish: Finish) -> None:
        def release() -> None:
            if self._release is release:
                self._release = None
                self._poll(effect, finish)

        self._release = release
        self.loop.after(HELD_NS, release)

    def stirred(self) -> None:
        """See `Drivers`."""
        if self._release is not None:
            self._release()

    def news(self) -> None:
        """Something was written to the store."""
        self.stirred()
        hint, self._hint = self._hint, None
        if hint is not None and not self.store.trouble:
            self.loop.after(self.lots.randint(1, 400) * MS_NS, lambda: hint(None))

    def latency_ns(self, effect: Effect) -> tuple[int, int]:
        """See `FakeDrivers`; a slow store takes seconds."""
        if self.store.trouble == "slow" and effect.lane != "outbox":
            return self.lots.randint(500, 6000) * MS_NS, self.lots.randint(0, 3000) * MS_NS
        return super().latency_ns(effect)

    # --- what ---

    def inventory(self) -> BridgeInventory:
        """See `Outbox`."""
        return self.outbox.inventory()

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        self._under_way.pop(effect.key, None)
        try:
            return self._do(effect)
        except StoreError as error:
            raise EffectFailed(error.kind, error.text) from None

    def _do(self, effect: Effect) -> object:
        match effect:
            case PollStore():
                self._reached = self.store.writes
                polled = self.line.poll(effect.cursor)
                return replace(polled, commands=tuple(remote.read(one) for one in polled.commands))
            case Enqueue():
                return self.outbox.enqueue(effect.entries)
            case SendBatch():
                return self.sender.send(effect.through)
            case KeepSeen():
                self.outbox.keep_seen(effect)
                return None
            case SaveBooking():
                wanted = BookingEntry(
                    effect.booking_id, effect.kind, effect.start, effect.end, effect.request, effect.of
                )
                return self._kept(self.line.create_booking(new_booking(wanted))[0].stored)
            case ChangeBooking():
                return self._kept(self.line.change_booking(effect.booking_id, effect.changes).stored)
            case SaveAutomatic():
                self.line.set_automatic(on=effect.on)
                return None
            case _:
                return super().perform(effect)

    def _kept(self, row: StoredBooking) -> StoredBooking:
        self.outbox.keep_rows((row,))
        return row
