"""From the outbox to the store: a batch at a time, each entry once, and none that hinders the others."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from pydantic import JsonValue

from cloud_bridge.outbox_rows import Body, Settled, Waiting, notice_of, order_of
from cloud_bridge.stores.base import BookingRow, Missing, NewBooking, ShareRow, Stale, StoreError
from edge_agent.core.effects import (
    MAX_BATCH,
    AutomaticEntry,
    BookingEntry,
    ChangeEntry,
    Notice,
    OrderEntry,
    Refused,
    ResultRow,
    Sent,
    ShareMade,
    StoredBooking,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import utc_text

TRIES = 3
"""Of a change that somebody else's comes between, each time."""
ORDERS = ("booking", "change", "automatic")
_REFUSALS = ("input", "gone")


class Queue(Protocol):
    """Entries that wait: `cloud_bridge.outbox.Outbox`. Every call is one transaction, and durable."""

    def waiting(self, through: int, limit: int) -> tuple[Waiting, ...]:
        """The oldest entries with a number up to ``through``."""
        ...

    def attempt(self, seq: int, before: Mapping[str, str]) -> None:
        """Keep what a change is about to change, before it is tried."""
        ...

    def settle(self, settled: Settled) -> None:
        """Entries that are through or set aside leave the queue; bookings are kept as seen."""
        ...


class Target(Protocol):
    """A store as entries are brought to it; see `cloud_bridge.stores.base` and `.device`."""

    def booking(self, booking_id: str) -> BookingRow | None:
        """One booking."""
        ...

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        """Make a booking."""
        ...

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        """Change fields of one."""
        ...

    def set_automatic(self, *, on: bool) -> None:
        """Keep whether booked bookings are recorded."""
        ...

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        """The booking's share."""
        ...

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        """Keep results."""
        ...

    def add_notices(self, notices: Sequence[Notice]) -> int:
        """Write what people may have to be told."""
        ...

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        """Write a command's answer."""
        ...


class Sender:
    """Brings entries of an outbox to a store."""

    def __init__(self, outbox: Queue, store: Target, clock: Clock | None = None) -> None:
        self._outbox = outbox
        self._store = store
        self._clock = clock or SystemClock()

    def send(self, through: int) -> Sent:
        """The oldest entries, at most `MAX_BATCH`, with a number up to ``through``.

        Bookings go first, then results, notices, shares, answers: in the order of their numbers as far as
        they concern the same thing.

        Raises:
            EffectFailed: the store is away, or takes nothing; ``detail`` is the `Sent` of what went before.
            StoreError: the outbox itself cannot be read or written.
        """
        entries = self._outbox.waiting(through, MAX_BATCH)
        batch = _Batch(self._outbox, self._store)
        failure: StoreError | None = None
        try:
            batch.deliver(entries)
        except StoreError as error:
            failure = error
        if failure is None and batch.doubtful and not batch.settled.done:
            failure = batch.doubtful[0][1]
        if failure is None:
            batch.settled.aside += [(entry, error.text) for entry, error in batch.doubtful]
        self._outbox.settle(batch.settled)  # those that were settled before are settled again: no harm
        sent = self._sent(batch, entries, through)
        if failure is not None:
            raise EffectFailed(failure.kind, failure.text, sent)
        return sent

    def _sent(self, batch: "_Batch", entries: Sequence[Waiting], through: int) -> Sent:
        settled, now = batch.settled, utc_text(self._clock.wall())
        over = {entry.seq for entry in settled.done} | {entry.seq for entry, _ in settled.aside}
        left = [entry.seq for entry in entries if entry.seq not in over]
        if left:
            through = left[0] - 1
        elif len(entries) == MAX_BATCH:
            through = entries[-1].seq
        return Sent(
            through=through,
            orders=tuple(entry.seq for entry in settled.done if entry.row.kind in ORDERS),
            rows=tuple(settled.rows),
            results=tuple(
                (entry.row.subject, entry.row.part, entry.seq)
                for entry in settled.done
                if entry.row.kind == "result"
            ),
            shares=tuple(batch.shares),
            refused=tuple(
                Refused(entry.seq, entry.row.kind, entry.row.subject, why, now)
                for entry, why in settled.aside
            ),
        )


class _Batch:
    """One batch on its way.

    ``doubtful``: entries the store failed at for good. When it took none at all, that is the store's trouble
    (a table missing, a key refused), not theirs.
    """

    def __init__(self, outbox: Queue, store: Target) -> None:
        self.settled = Settled()
        self.shares: list[tuple[str, ShareMade]] = []
        self.doubtful: list[tuple[Waiting, StoreError]] = []
        self._outbox = outbox
        self._store = store

    def deliver(self, entries: Sequence[Waiting]) -> None:
        """Bring all of them.

        Raises:
            StoreError: the store is away; what went before is in `settled`.
        """
        kinds: dict[str, list[Waiting]] = {}
        for entry in entries:
            kinds.setdefault(entry.row.kind, []).append(entry)
        for entry in entries:
            if entry.row.kind in ORDERS and self._each(entry):
                # One change after the other: a repeated one is recognised by what it left behind.
                self._outbox.settle(Settled([entry], rows=self.settled.rows[-1:]))
        self._together(kinds.get("result", []), "result")
        self._together(kinds.get("notice", []), "notice")
        for kind in ("share", "answer"):
            for entry in kinds.get(kind, []):
                self._each(entry)

    def _together(self, entries: Sequence[Waiting], kind: Literal["result", "notice"]) -> None:
        """All in one call; when that is refused, halves, until the one that is bad is found."""
        if not entries:
            return
        try:
            if kind == "result":
                rows = [ResultRow(e.row.subject, e.row.part, e.seq, e.row.body) for e in entries]
                self._store.save_results(rows)
            else:
                self._store.add_notices([notice_of(entry.row.body) for entry in entries])
        except StoreError as error:
            if error.kind not in (*_REFUSALS, "permanent"):
                raise
            if len(entries) == 1:
                self._not_taken(entries[0], error)
                return
            middle = len(entries) // 2
            self._together(entries[:middle], kind)
            self._together(entries[middle:], kind)
            return
        self.settled.done += entries

    def _each(self, entry: Waiting) -> bool:
        """Bring one; whether it is through."""
        try:
            order = order_of(entry.row)
        except (ValueError, KeyError) as error:
            self.settled.aside.append((entry, f"it was written by another version: {error}"))
            return False
        try:
            self._deliver(entry, order)
        except StoreError as error:
            if error.kind not in (*_REFUSALS, "permanent"):
                raise
            self._not_taken(entry, error)
            return False
        self.settled.done.append(entry)
        return True

    def _not_taken(self, entry: Waiting, error: StoreError) -> None:
        if error.kind in _REFUSALS:
            self.settled.aside.append((entry, error.text))
        else:
            self.doubtful.append((entry, error))

    def _deliver(self, entry: Waiting, order: OrderEntry | None) -> None:
        match order:
            case BookingEntry() as made:
                row, _ = self._store.create_booking(new_booking(made))
                self.settled.rows.append(row.stored)
            case ChangeEntry() as change:
                self.settled.rows.append(self._changed(entry.seq, change))
            case AutomaticEntry(on=on):
                self._store.set_automatic(on=on)
            case None if entry.row.kind == "share":
                self._share(entry.row.subject, entry.row.body)
            case None:
                self._answer(entry.row.subject, entry.row.body)

    def _changed(self, seq: int, change: ChangeEntry) -> StoredBooking:
        """The row after a change, made once: one that arrived before the last crash is recognised.

        Raises:
            StoreError: also of kind input, when somebody else has changed the same meanwhile.
        """
        before = change.before
        for _ in range(TRIES):
            there = self._store.booking(change.booking_id)
            if there is None:
                raise Missing(f"there is no booking {change.booking_id}")
            now = {name: _plain(getattr(there.stored, name)) for name in change.changes}
            if now == {name: _plain(value) for name, value in change.changes.items()}:
                return there.stored
            if before is None:
                self._outbox.attempt(seq, now)
                before = now
            elif before != now:
                raise Stale(f"{change.booking_id} was changed by somebody else meanwhile")
            try:
                row = self._store.change_booking(change.booking_id, change.changes, there.stored.changed)
            except Stale:
                continue
            return row.stored
        raise StoreError("transient", f"{change.booking_id} is being changed by somebody else")

    def _share(self, booking_id: str, body: Body) -> None:
        expires_at = datetime.fromisoformat(str(body["expires_at"]))
        share = self._store.make_share(booking_id, expires_at)
        self.shares.append((booking_id, ShareMade(share.share_id, share.expires_at)))

    def _answer(self, command_id: str, body: Body) -> None:
        try:
            self._store.answer_command(command_id, body)
        except Missing:
            return  # whoever gave it is no longer interested


def _plain(value: str) -> str:
    """A time in the one form times have; any other word as it is."""
    try:
        return utc_text(datetime.fromisoformat(value))
    except ValueError:
        return value


def new_booking(made: BookingEntry) -> NewBooking:
    """What the store is asked for."""
    asked = made.request
    start, end = datetime.fromisoformat(made.start), datetime.fromisoformat(made.end)
    if asked is None:
        return NewBooking(made.booking_id, made.kind, start, end, of=made.of)
    return NewBooking(
        made.booking_id,
        made.kind,
        start,
        end,
        asked.record,
        asked.audience,
        asked.layout,
        asked.deliver,
        of=made.of,
        title=asked.title,
        contacts=asked.contacts,
    )
