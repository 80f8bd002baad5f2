"""From the store's rows to the bookings and the schedule that are published. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from cloud_bridge.resolve import Dressings, moment, resolve
from cloud_bridge.results import is_stored
from cloud_bridge.state import LINGER, STALE_NS, State, is_final, slug, with_alarm, without_alarm
from edge_agent.core.agent import Stamp
from edge_agent.core.effects import (
    AutomaticEntry,
    BookingEntry,
    BridgeInventory,
    ChangeEntry,
    StoredBooking,
)
from edge_agent.core.settings import Settings
from schemas.base import ID_PATTERN, Message, PayloadError, utc_text
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.recording import Recording, Share
from schemas.registry import RECORDING
from schemas.topics import Address

KEEP_ROWS = timedelta(days=8)
"""How long a row is remembered: a day longer than anything of a recording stands on the broker."""
_ID = re.compile(ID_PATTERN)
ROW_MEND = "Correct this booking in the booking system; until then the device obeys what it last understood."


def started(state: State, found: BridgeInventory, remembered: Mapping[Address[Any], Message]) -> State:
    """The state of a new run: the store as last seen, orders not told yet, and what was last published.

    A booking that was published and of which no row is known is one the store refused or the disk lost: it
    stands until the store's whole answer says otherwise.
    """
    bookings = {at["id"]: m for at, m in remembered.items() if isinstance(m, Booking)}
    shares = {at["id"]: m for at, m in remembered.items() if isinstance(m, Share)}
    sync = next((m for m in remembered.values() if isinstance(m, ScheduleSync)), None)
    rows = {row.id: row for row in found.rows}
    made = {one.entry.booking_id for one in found.outbox.orders if isinstance(one.entry, BookingEntry)}
    local = {key: _stand_in(key, b) for key, b in bookings.items() if key not in rows and key not in made}
    known = bool(rows or local)
    return replace(
        state,
        rows=rows,
        local=local,
        pending=found.outbox.orders,
        anew={} if known and not found.cursor else None,
        read=bool(found.cursor) or known,
        withdrawn=_withdrawn_before(rows, bookings, sync),
        unresolved=True,
        cursor=found.cursor,
        stored_automatic=found.automatic,
        bookings=bookings,
        sync=sync,
        shares=shares,
    )


def _withdrawn_before(
    rows: Mapping[str, StoredBooking], bookings: Mapping[str, Booking], sync: ScheduleSync | None
) -> dict[str, StoredBooking]:
    """Rows an earlier run had withdrawn: not published, and over when the schedule was published last.

    After a power cut the clock may be behind until it is synchronised; by that clock they would not be over.
    """
    if sync is None:
        return {}
    return {
        key: row
        for key, row in rows.items()
        if key not in bookings and _readable(row) and moment(row.end) + LINGER < sync.synced_at
    }


def _stand_in(booking_id: str, booking: Booking) -> StoredBooking:
    """A row of a booking that only its topic is left of."""
    return StoredBooking(
        id=booking_id,
        kind=booking.kind,
        start=utc_text(booking.start),
        end=utc_text(booking.end),
        status=booking.status,
        record=booking.record,
        audience=booking.audience,
        layout=booking.layout,
        deliver=booking.deliver,
        owner=booking.owner,
        of=booking.of,
        changed=0,
        created_at=utc_text(booking.start),
    )


def row_of(entry: BookingEntry) -> StoredBooking:
    """The row that a booking made at the court will be."""
    asked = entry.request
    return StoredBooking(
        id=entry.booking_id,
        kind=entry.kind,
        start=entry.start,
        end=entry.end,
        status="confirmed",
        record=asked.record if asked is not None else "yes",
        audience=asked.audience if asked is not None else "link",
        layout=asked.layout if asked is not None else None,
        deliver=asked.deliver if asked is not None else ("film",),
        owner=None,
        of=entry.of,
        changed=0,
        created_at=entry.start,
    )


def effective(state: State) -> Mapping[str, StoredBooking]:
    """The rows the device obeys: the store's, those that stand without it, the court's own orders on top."""
    if not state.local and not state.pending:
        return state.rows
    rows = {**state.local, **state.rows}
    for one in state.pending:
        match one.entry:
            case BookingEntry() as entry:
                rows.setdefault(entry.booking_id, row_of(entry))
            case ChangeEntry(booking_id=booking_id, changes=changes) if booking_id in rows:
                rows[booking_id] = changed(rows[booking_id], changes)
            case _:
                pass
    return rows


def changed(row: StoredBooking, changes: Mapping[str, str]) -> StoredBooking:
    """A row with the change of an order on it."""
    return replace(row, end=changes.get("end", row.end), status=changes.get("status", row.status))


def automatic(state: State) -> bool:
    """Whether booked bookings are recorded."""
    wished = [one.entry.on for one in state.pending if isinstance(one.entry, AutomaticEntry)]
    return wished[-1] if wished else state.stored_automatic


def with_rows(state: State, rows: Collection[StoredBooking]) -> State:
    """The state with newer rows; an older one than is known changes nothing."""
    news = {
        row.id: row for row in rows if (old := state.rows.get(row.id)) is None or old.changed < row.changed
    }
    if not news:
        return state
    anew = state.anew if state.anew is None else {**state.anew, **{row.id: row for row in rows}}
    return replace(
        state,
        rows={**state.rows, **news},
        local={key: row for key, row in state.local.items() if key not in news},
        unreadable={key: why for key, why in state.unreadable.items() if key not in news},
        anew=anew,
        unresolved=True,
    )


def resolve_all(state: State, stamp: Stamp, settings: Settings, dressings: Dressings) -> State:
    """Bookings follow from the rows; apart from what is over, nothing follows from time alone."""
    if not state.read and not state.pending and not state.rows:
        return state
    if state.unresolved:
        state = _resolve_rows(state, stamp, settings, dressings)
    gone = {key for key, booking in state.bookings.items() if _over(state, key, booking, stamp)}
    if gone:
        rows = {key: row for key, row in effective(state).items() if key in gone}
        state = replace(
            state,
            bookings={k: b for k, b in state.bookings.items() if k not in gone},
            withdrawn={**state.withdrawn, **rows},
        )
    return _synced(state, stamp) if state.read else state


def _resolve_rows(state: State, stamp: Stamp, settings: Settings, dressings: Dressings) -> State:
    kept = {key: row for key, row in state.rows.items() if not _past(state, row, stamp, KEEP_ROWS)}
    state = replace(
        state,
        rows=kept,
        dropped=state.dropped | (state.rows.keys() - kept.keys()),
        shares={key: share for key, share in state.shares.items() if _is_shared(state, key, kept)},
        local={key: row for key, row in state.local.items() if not _gone(state, row, stamp)},
        unresolved=False,
    )
    found = effective(state)
    state = replace(state, withdrawn={key: row for key, row in state.withdrawn.items() if key in found})
    wrong = dict(state.unreadable)
    wrong |= {key: f"{key[:80]!r} is no id: {ID_PATTERN} expected" for key in found if not _ID.fullmatch(key)}
    rows = {key: row for key, row in found.items() if _ID.fullmatch(key) and not _gone(state, row, stamp)}
    others = tuple(row for row in rows.values() if _readable(row))
    bookings: dict[str, Booking] = {}
    for row in rows.values():
        before = state.bookings.get(row.id)
        try:
            bookings[row.id] = resolve(
                row, others, before, stamp.wall, settings, dressings, automatic=automatic(state)
            )
        except PayloadError as error:
            wrong[row.id] = str(error)
            if before is not None:
                bookings[row.id] = before
    state = _told_of(state, wrong, stamp)
    return replace(state, bookings=bookings) if bookings != state.bookings else state


def _is_shared(state: State, booking_id: str, rows: Mapping[str, StoredBooking]) -> bool:
    known = booking_id in rows or booking_id in state.local or booking_id in state.bookings
    return known or (booking_id, RECORDING.key) in state.results


def _told_of(state: State, wrong: Mapping[str, str], stamp: Stamp) -> State:
    """One alarm for each row that makes no booking."""
    names = {f"row_{slug(key)}": key for key in wrong}
    for name in [name for name in state.alarms if name.startswith("row_") and name not in names]:
        state = without_alarm(state, name)
    for key, why in wrong.items():
        state = with_alarm(state, f"row_{slug(key)}", why, ROW_MEND, stamp, key[:80])
    return state


def _readable(row: StoredBooking) -> bool:
    try:
        return moment(row.start) <= moment(row.end)
    except ValueError:
        return False


def _past(state: State, row: StoredBooking, stamp: Stamp, since: timedelta) -> bool:
    """Of no interest to the device any more: over since then, not published, and nothing of it unfinished."""
    if row.id in state.bookings or not _readable(row):
        return False
    recording = state.results.get((row.id, RECORDING.key))
    unfinished = isinstance(recording, Recording) and not is_final(recording)
    return moment(row.end) + since < stamp.wall and not unfinished


def _gone(state: State, row: StoredBooking, stamp: Stamp) -> bool:
    """Not to be published any more.

    What was withdrawn does not come back when the clock goes back a little: it would begin again with its
    first revision. It does when by the clock it is not over at all: then the clock was wrong before.
    """
    withdrawn = state.withdrawn.get(row.id) == row
    return _past(state, row, stamp, timedelta() if withdrawn else LINGER)


def _over(state: State, booking_id: str, booking: Booking, stamp: Stamp) -> bool:
    """Past for a while, and final and stored (or never wanted nor heard of): its topic is cleared."""
    if not state.ready or booking.to + LINGER >= stamp.wall:
        return False
    recording = state.results.get((booking_id, RECORDING.key))
    if not isinstance(recording, Recording):
        return not booking.wanted
    return is_final(recording) and is_stored(state, (booking_id, RECORDING.key))


def _synced(state: State, stamp: Stamp) -> State:
    before = state.sync
    stale = state.poll_ok_ns is None or stamp.mono_ns - state.poll_ok_ns > STALE_NS
    word: Literal["on", "off"] = "on" if automatic(state) else "off"
    source: Literal["ok", "stale"] = "stale" if stale else "ok"
    same = before is not None and (before.source, before.automatic) == (source, word)
    if same and state.synced is state.bookings:
        return state
    digest = schedule_digest((key, booking.rev) for key, booking in state.bookings.items())
    if same and before is not None and before.digest == digest:
        return replace(state, synced=state.bookings)
    # It rises for ever: to agents, a lower one is what a broker remembered of old.
    first = int(stamp.wall.timestamp())
    sync = ScheduleSync(
        generation=max(before.generation + 1, first) if before else first,
        count=len(state.bookings),
        digest=digest,
        synced_at=stamp.wall,
        source=source,
        automatic=word,
    )
    return replace(state, sync=sync, synced=state.bookings)
