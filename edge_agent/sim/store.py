"""The booking store of the simulated world: rows in memory with one change counter, and its troubles.

It outlives the device and keeps the rules of `cloud_bridge.stores`. People write to it while the device
cannot reach it; what it ever said of a booking is kept beside the rows, for the judge.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from cloud_bridge.stores.base import (
    BookingRow,
    Conflict,
    Missing,
    NewBooking,
    Overlap,
    ShareRow,
    Stale,
    StoreError,
)
from edge_agent.core.agent import FailureKind
from edge_agent.core.effects import Notice, Polled, ResultRow, StoredBooking, StoredCommand, StoredShare
from schemas.base import utc_text

PAGE = 500
SMALL_PAGE = 2
Trouble = Literal["away", "denied", "slow", "half", "empty", "pages"]
REFUSALS: Mapping[Trouble, tuple[FailureKind, str]] = {
    "away": ("transient", "the store cannot be reached"),
    "denied": ("denied", "401 JWT expired"),
    "half": ("transient", "the store's answer is no JSON"),
}


@dataclass
class Rows:
    """Everything a store has, and everything a backup of it brings back."""

    counter: int = 0
    automatic: bool = True
    bookings: dict[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    requests: dict[str, NewBooking] = field(default_factory=dict[str, NewBooking])
    shares: dict[str, StoredShare] = field(default_factory=dict[str, StoredShare])
    commands: dict[str, StoredCommand] = field(default_factory=dict[str, StoredCommand])
    answers: dict[str, Mapping[str, JsonValue]] = field(default_factory=dict[str, Mapping[str, JsonValue]])
    results: dict[tuple[str, str], ResultRow] = field(default_factory=dict[tuple[str, str], ResultRow])
    notices: dict[str, Notice] = field(default_factory=dict[str, Notice])

    def copy(self) -> "Rows":
        """A backup."""
        return copy.deepcopy(self)


class Store:
    """One club's rows; see `cloud_bridge.stores.base.Store` and `cloud_bridge.stores.device.DeviceStore`.

    Attributes:
        trouble: what the device meets when it asks now; people are not troubled.
        said: every version of every booking, oldest first; a restored backup takes nothing from it.
        written_at: when a row was last written.
        taken: results as they were taken, by booking and kind, each with how often its topic had been said.
        spoken: how often a topic was said on the bus, by booking and kind.
        writes: how often anything was written that a poll may bring; watchers are told each time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.rows = Rows()
        self.trouble: Trouble | None = None
        self.said: dict[str, list[StoredBooking]] = {}
        self.written_at: dict[str, datetime] = {}
        self.taken: dict[tuple[str, str], list[tuple[ResultRow, int]]] = {}
        self.spoken: Counter[tuple[str, str]] = Counter()
        self.writes = 0
        self.watchers: list[Callable[[], None]] = []
        self._now = now

    def reach(self) -> None:
        """Fail as the line or the store does now.

        Raises:
            StoreError: away, refusing, or answering nonsense.
        """
        refusal = REFUSALS.get(self.trouble) if self.trouble else None
        if refusal is not None:
            raise StoreError(*refusal)

    # --- what the device asks ---

    def poll(self, cursor: int) -> Polled:
        """See `cloud_bridge.stores.base.Store`; a troubled store may answer with less than there is."""
        if self.trouble == "empty":
            return Polled(0, (), 0, automatic=True)
        rows = self.rows
        since = cursor if cursor <= rows.counter else 0
        changed: tuple[StoredBooking | StoredShare | StoredCommand, ...] = (
            *rows.bookings.values(),
            *rows.shares.values(),
            *rows.commands.values(),
        )
        news = sorted((row for row in changed if row.changed > since), key=lambda row: row.changed)
        size = SMALL_PAGE if self.trouble == "pages" else PAGE
        page, complete = news[:size], len(news) <= size
        return Polled(
            cursor=rows.counter if complete else page[-1].changed,
            rows=tuple(row for row in page if isinstance(row, StoredBooking)),
            count=len(rows.bookings),
            automatic=rows.automatic,
            complete=complete,
            shares=tuple(row for row in page if isinstance(row, StoredShare)),
            commands=tuple(
                row for row in page if isinstance(row, StoredCommand) and row.id not in rows.answers
            ),
        )

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        """See `DeviceStore`."""
        news = 0
        for row in rows:
            key = (row.booking_id, row.kind)
            there = self.rows.results.get(key)
            if there is None or there.seq < row.seq:
                self.rows.results[key] = row
                self.taken.setdefault(key, []).append((row, self.spoken[key]))
                news += 1
        return news

    def add_notices(self, notices: Sequence[Notice]) -> int:
        """See `DeviceStore`."""
        new = [notice for notice in notices if notice.id not in self.rows.notices]
        self.rows.notices.update({notice.id: notice for notice in new})
        return len(new)

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        """See `cloud_bridge.stores.base.Store`."""
        self._row(booking_id)
        share = self.rows.shares.get(booking_id)
        if share is None:
            text = utc_text(expires_at)
            share = StoredShare(booking_id, f"s-{booking_id}", text, None, None, self._count())
            self.rows.shares[booking_id] = share
            self._tell()
        now = utc_text(self._now())
        return ShareRow(share.share_id, booking_id, now, share.expires_at, None, views=0, downloads=0)

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        """See `DeviceStore`."""
        if command_id not in self.rows.commands:
            raise Missing(f"there is no command {command_id}")
        if command_id in self.rows.answers:
            return False
        self.rows.answers[command_id] = answer
        return True

    # --- what people and commands do ---

    def booking(self, booking_id: str) -> BookingRow | None:
        """One booking."""
        there = self.rows.bookings.get(booking_id)
        return BookingRow(there, None, (), None) if there is not None else None

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        """See `cloud_bridge.stores.base.Store`."""
        there = self.rows.bookings.get(new.id)
        if there is not None:
            if self.rows.requests.get(new.id) == new:
                return BookingRow(there, None, (), None), False
            raise Conflict(f"there is another booking {new.id}")
        row = StoredBooking(
            id=new.id,
            kind=new.kind,
            start=utc_text(new.start),
            end=utc_text(new.end),
            status="confirmed",
            record=new.record,
            audience=new.audience,
            layout=new.layout,
            deliver=new.deliver,
            owner=new.owner,
            of=new.of,
            changed=0,
            created_at=utc_text(self._now()),
        )
        self._refuse_overlap(row)
        self.rows.requests[new.id] = new
        return self.write_raw(row), True

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        """See `cloud_bridge.stores.base.Store`."""
        before = self._row(booking_id)
        if seen is not None and before.changed != seen:
            raise Stale(f"{booking_id} was changed since")
        fields: dict[str, Any] = {**changes}
        row = replace(before, **fields)
        if row == before:
            return BookingRow(before, None, (), None)
        if row.end < row.start:
            raise Conflict(f"{booking_id}: end {row.end} is before start {row.start}")
        if (row.start, row.end, row.status) != (before.start, before.end, before.status):
            self._refuse_overlap(row, before)
        return self.write_raw(row)

    def write_raw(self, row: StoredBooking) -> BookingRow:
        """A row as somebody writes it who asks nobody: it may overlap, or make no sense."""
        row = replace(row, changed=self._count())
        self.rows.bookings[row.id] = row
        self.said.setdefault(row.id, []).append(row)
        self.written_at[row.id] = self._now()
        self._tell()
        return BookingRow(row, None, (), None)

    def set_automatic(self, *, on: bool) -> None:
        """See `cloud_bridge.stores.base.Store`."""
        self.rows.automatic = on
        self._tell()

    def order(
        self, command_id: str, to: tuple[str, str], args: Mapping[str, JsonValue], deadline: datetime | None
    ) -> None:
        """A command from afar, to a target and its command."""
        now, until = utc_text(self._now()), utc_text(deadline) if deadline is not None else None
        command = StoredCommand(command_id, *to, args, until, now, self._count())
        self.rows.commands[command_id] = command
        self._tell()

    def _row(self, booking_id: str) -> StoredBooking:
        row = self.rows.bookings.get(booking_id)
        if row is None:
            raise Missing(f"there is no booking {booking_id}")
        return row

    def _count(self) -> int:
        self.rows.counter += 1
        return self.rows.counter

    def _tell(self) -> None:
        self.writes += 1
        for watcher in tuple(self.watchers):
            watcher()

    def _refuse_overlap(self, row: StoredBooking, before: StoredBooking | None = None) -> None:
        """One court, one booking at a time. Manual recordings give way; giving time back is always fine."""
        if row.status != "confirmed" or row.kind == "cut":
            return
        given_back = before is not None and before.start <= row.start and row.end <= before.end
        if before is not None and before.status == "confirmed" and given_back:
            return
        for other in self.rows.bookings.values():
            if other.id == row.id or other.status != "confirmed" or other.kind == "cut":
                continue
            yields = other.kind == "manual" and row.kind == "booked" and other.start < row.start
            if other.start < row.end and other.end > row.start and not yields:
                raise Overlap(row.id, other)
