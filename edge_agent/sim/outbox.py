"""The bridge's outbox on the simulated disk: every call is one transaction, and durable.

The rules are those of `cloud_bridge.outbox.Outbox`; the file is one immutable value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cloud_bridge.outbox_rows import Row, Settled, Waiting, digest_of, notice_of, order_of, to_row
from cloud_bridge.stores.base import StoreError
from edge_agent.core.effects import (
    BridgeInventory,
    Entry,
    KeepSeen,
    Notice,
    OrderEntry,
    OutboxInventory,
    Queued,
    QueuedOrder,
    Refused,
    StoredBooking,
    StoredCommand,
    StoredShare,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.sim.disk import Disk

PATH = "state/bridge/outbox"
REPLACED = ("result", "automatic")
ONCE = ("answer", "share", "booking")


@dataclass(frozen=True)
class Box:
    """The file. ``told``: every notice ever written, by id; ``over``: ids of those that are."""

    last: int = 0
    entries: Mapping[int, Row] = field(default_factory=dict[int, Row])
    aside: Mapping[int, Refused] = field(default_factory=dict[int, Refused])
    stored: Mapping[tuple[str, str], tuple[int, str]] = field(
        default_factory=dict[tuple[str, str], tuple[int, str]]
    )
    told: Mapping[str, Notice] = field(default_factory=dict[str, Notice])
    over: frozenset[str] = frozenset()
    cursor: int = 0
    automatic: bool = True
    rows: Mapping[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    shares: Mapping[str, StoredShare] = field(default_factory=dict[str, StoredShare])
    commands: Mapping[str, StoredCommand] = field(default_factory=dict[str, StoredCommand])


class Outbox:
    """See `cloud_bridge.outbox.Outbox`. ``step`` is called before every transaction; it may raise."""

    def __init__(self, disk: Disk, step: Callable[[], None], now: Callable[[], str]) -> None:
        self._disk = disk
        self._step = step
        self._now = now

    @property
    def box(self) -> Box:
        """What is in the file."""
        value = self._disk.read(PATH)
        return value if isinstance(value, Box) else Box()

    def _write(self, box: Box) -> None:
        self._step()
        try:
            self._disk.write(PATH, box, durable=True)
        except EffectFailed as full:
            raise StoreError("full", full.text) from None

    # --- what is in it ---

    def inventory(self) -> BridgeInventory:
        """Everything the bridge begins with."""
        box = self.box
        waiting = [Waiting(seq, row) for seq, row in sorted(box.entries.items())]
        found = OutboxInventory(
            through=max(box.entries, default=0),
            orders=tuple(
                QueuedOrder(e.seq, order) for e in waiting if (order := order_of(e.row)) is not None
            ),
            queued=tuple(
                (e.row.subject, e.row.part, e.seq, digest_of(e.row.body))
                for e in waiting
                if e.row.kind == "result"
            ),
            stored=tuple((*slot, digest) for slot, (_, digest) in box.stored.items()),
            wished=frozenset(e.row.subject for e in waiting if e.row.kind == "share"),
            answered=frozenset(e.row.subject for e in waiting if e.row.kind == "answer"),
            told=frozenset(box.told),
            standing=tuple(
                notice
                for notice_id, notice in box.told.items()
                if notice.kind == "alarm" and notice_id not in box.over
            ),
            refused=tuple(box.aside.values()),
        )
        return BridgeInventory(
            rows=tuple(box.rows.values()),
            cursor=box.cursor,
            automatic=box.automatic,
            shares=tuple(box.shares.values()),
            commands=tuple(box.commands.values()),
            outbox=found,
        )

    def waiting(self, through: int, limit: int) -> tuple[Waiting, ...]:
        """See `cloud_bridge.sending.Queue`."""
        found = sorted(seq for seq in self.box.entries if seq <= through)[:limit]
        return tuple(Waiting(seq, self.box.entries[seq]) for seq in found)

    # --- in ---

    def enqueue(self, entries: tuple[Entry, ...]) -> Queued:
        """Write entries, all or none.

        Raises:
            StoreError: the disk is full.
        """
        box, seqs = self.box, list[int]()
        for entry in entries:
            box, seq = _put(box, to_row(entry))
            seqs.append(seq)
        self._write(box)
        return Queued(tuple(seqs))

    def attempt(self, seq: int, before: Mapping[str, str]) -> None:
        """See `cloud_bridge.sending.Queue`."""
        box = self.box
        row = box.entries.get(seq)
        if row is not None:
            tried = replace(row, body={**row.body, "before": dict(before)})
            self._write(replace(box, entries={**box.entries, seq: tried}))

    # --- out ---

    def settle(self, settled: Settled) -> None:
        """See `cloud_bridge.sending.Queue`."""
        box = self.box
        gone = {entry.seq for entry in settled.done} | {entry.seq for entry, _ in settled.aside}
        stored = dict(box.stored)
        for entry in settled.done:
            slot = (entry.row.subject, entry.row.part)
            if entry.row.kind == "result" and stored.get(slot, (0, ""))[0] < entry.seq:
                stored[slot] = (entry.seq, digest_of(entry.row.body))
        aside = {
            entry.seq: Refused(entry.seq, entry.row.kind, entry.row.subject, why, self._now())
            for entry, why in settled.aside
        }
        entries = {seq: row for seq, row in box.entries.items() if seq not in gone}
        box = replace(box, entries=entries, stored=stored, aside={**box.aside, **aside})
        self._write(_with_rows(box, settled.rows))

    def keep_rows(self, rows: tuple[StoredBooking, ...]) -> None:
        """Keep bookings as the store has them now."""
        self._write(_with_rows(self.box, rows))

    def keep_seen(self, seen: KeepSeen) -> None:
        """See `edge_agent.core.effects.KeepSeen`."""
        box = self.box
        gone = frozenset(seen.gone)
        rows = {**box.rows, **{row.id: row for row in seen.rows}}
        shares = {**box.shares, **{share.booking_id: share for share in seen.shares}}
        self._write(
            replace(
                box,
                cursor=seen.cursor,
                automatic=seen.automatic,
                rows={key: row for key, row in rows.items() if key not in gone},
                shares={key: share for key, share in shares.items() if key not in gone},
                commands={**box.commands, **{command.id: command for command in seen.commands}},
            )
        )


def _put(box: Box, row: Row) -> tuple[Box, int]:
    """The file with one more entry, and its number; 0 for a notice told before."""
    if row.kind == "notice":
        notice = notice_of(row.body)
        if notice.id in box.told:
            return box, 0
        box = replace(box, told={**box.told, notice.id: notice})
        if notice.kind == "recovered":
            box = replace(box, over=box.over | {notice.id.replace(":recovered:", ":alarm:", 1)})
    alike = [seq for seq, one in box.entries.items() if _slot(one) == _slot(row)]
    if alike and row.kind in ONCE:
        return box, alike[0]
    entries = dict(box.entries)
    if row.kind in REPLACED:
        entries = {seq: one for seq, one in entries.items() if seq not in alike}
    if row.kind == "answer":
        left = {key: command for key, command in box.commands.items() if key != row.subject}
        box = replace(box, commands=left)
    seq = box.last + 1
    return replace(box, last=seq, entries={**entries, seq: row}), seq


def _slot(row: Row) -> tuple[str, str, str]:
    return row.kind, row.subject, row.part


def _with_rows(box: Box, rows: list[StoredBooking] | tuple[StoredBooking, ...]) -> Box:
    known = dict(box.rows)
    for row in rows:
        if row.id not in known or known[row.id].changed < row.changed:
            known[row.id] = row
    return replace(box, rows=known)


def orders_in(disk: Disk) -> tuple[OrderEntry, ...]:
    """What was ordered at the court and has not reached the store, oldest first."""
    value = disk.read(PATH)
    rows = [row for _, row in sorted(value.entries.items())] if isinstance(value, Box) else []
    return tuple(order for row in rows if (order := order_of(row)) is not None)


def refused_in(disk: Disk) -> frozenset[str]:
    """Bookings made at the court that the store will never take: it had given the court to somebody else."""
    value = disk.read(PATH)
    aside = value.aside.values() if isinstance(value, Box) else ()
    return frozenset(one.subject for one in aside if one.kind == "booking")
