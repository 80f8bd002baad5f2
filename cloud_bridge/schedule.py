"""From the store's rows to the bookings and the schedule that are published. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from cloud_bridge.resolve import Dressings, moment, resolve
from cloud_bridge.state import LINGER, STALE_NS, State, is_final, with_alarm
from edge_agent.core.agent import Stamp
from edge_agent.core.effects import BridgeInventory, Polled, StoredBooking
from edge_agent.core.settings import Settings
from schemas.base import Message, PayloadError
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.recording import Recording, Share
from schemas.registry import RECORDING
from schemas.topics import Address

KEEP_ROWS = timedelta(days=8)
"""How long a row is remembered: a day longer than anything of a recording stands on the broker."""
ROW_MEND = "Correct this booking in the booking system; until then the device obeys what it last understood."


def started(state: State, found: BridgeInventory, remembered: Mapping[Address[Any], Message]) -> State:
    """The state of a new run: the store as found, and what was last published."""
    bookings = {at["id"]: m for at, m in remembered.items() if isinstance(m, Booking)}
    shares = {at["id"]: m for at, m in remembered.items() if isinstance(m, Share)}
    return replace(
        state,
        rows={row.id: row for row in found.rows},
        read=bool(found.rows),
        unresolved=True,
        cursor=found.cursor,
        automatic=found.automatic,
        bookings=bookings,
        shares=shares,
    )


def with_rows(state: State, rows: tuple[StoredBooking, ...]) -> State:
    """The state with newer rows; an older one than is known changes nothing."""
    news = {
        row.id: row for row in rows if (old := state.rows.get(row.id)) is None or old.changed < row.changed
    }
    return replace(state, rows={**state.rows, **news}, unresolved=True) if news else state


def polled(state: State, news: Polled, stamp: Stamp) -> State:
    """The state after a poll."""
    if news.cursor < state.cursor:
        # Another store, or one restored from a backup: its counts mean nothing beside the old ones.
        state = replace(state, rows={}, unresolved=True)
    state = with_rows(state, news.rows)
    alarms = {name: alarm for name, alarm in state.alarms.items() if name != "store_unreachable"}
    return replace(
        state,
        read=True,
        unresolved=state.unresolved or not state.read or news.automatic != state.automatic,
        cursor=news.cursor,
        automatic=news.automatic,
        polled_ns=stamp.mono_ns,
        poll_ok_ns=stamp.mono_ns,
        failures=0,
        alarms=alarms,
        last_error=state.last_error if state.retries else None,
    )


def resolve_all(state: State, stamp: Stamp, settings: Settings, dressings: Dressings) -> State:
    """Bookings follow from the rows; apart from what is over, nothing follows from time alone."""
    if not state.read:
        return state
    if state.unresolved:
        state = _resolve_rows(state, stamp, settings, dressings)
    gone = {key for key, booking in state.bookings.items() if _over(state, key, booking, stamp)}
    if gone:
        state = replace(state, bookings={k: b for k, b in state.bookings.items() if k not in gone})
    return replace(state, sync=_sync(state, stamp))


def _resolve_rows(state: State, stamp: Stamp, settings: Settings, dressings: Dressings) -> State:
    kept = {key: row for key, row in state.rows.items() if not _past(state, row, stamp, KEEP_ROWS)}
    rows = {key: row for key, row in kept.items() if not _past(state, row, stamp, LINGER)}
    others = tuple(row for row in rows.values() if _readable(row))
    before_alarms = state.alarms
    alarms = {name: alarm for name, alarm in before_alarms.items() if not name.startswith("row_")}
    state = replace(state, rows=kept, alarms=alarms, unresolved=False)
    bookings: dict[str, Booking] = {}
    for row in rows.values():
        before = state.bookings.get(row.id)
        try:
            bookings[row.id] = resolve(
                row, others, before, stamp.wall, settings, dressings, automatic=state.automatic
            )
        except PayloadError as error:
            name = f"row_{row.id}"[:64]
            state = with_alarm(state, name, str(error), ROW_MEND, stamp, row.id)
            standing = before_alarms.get(name)
            if standing is not None and standing.text == str(error):
                state = replace(state, alarms={**state.alarms, name: standing})
            if before is not None:
                bookings[row.id] = before
    return replace(state, bookings=bookings) if bookings != state.bookings else state


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


def _over(state: State, booking_id: str, booking: Booking, stamp: Stamp) -> bool:
    """Past for a while, and final and stored (or never wanted nor heard of): its topic is cleared."""
    if not state.ready or booking.to + LINGER >= stamp.wall:
        return False
    recording = state.results.get((booking_id, RECORDING.key))
    if not isinstance(recording, Recording):
        return not booking.wanted
    return is_final(recording) and state.saved.get((booking_id, RECORDING.key)) == recording


def _sync(state: State, stamp: Stamp) -> ScheduleSync:
    digest = schedule_digest((key, booking.rev) for key, booking in state.bookings.items())
    before = state.sync
    stale = state.poll_ok_ns is None or stamp.mono_ns - state.poll_ok_ns > STALE_NS
    automatic: Literal["on", "off"] = "on" if state.automatic else "off"
    source: Literal["ok", "stale"] = "stale" if stale else "ok"
    if before and (before.digest, before.source, before.automatic) == (digest, source, automatic):
        return before
    return ScheduleSync(
        generation=(before.generation + 1) if before else int(stamp.wall.timestamp()),
        count=len(state.bookings),
        digest=digest,
        synced_at=stamp.wall,
        source=source,
        automatic=automatic,
    )
