"""What the store answers, and what follows when it answers less than before, or nothing, or anew. Pure.

Rows never vanish from a store: a booking is withdrawn by a row that says so. A store may begin anew, though
(another project, a restored backup): its counter is behind ours. Then its whole answer is awaited and
compared; the rule is in ``docs/architecture.md``.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from cloud_bridge import remote
from cloud_bridge.resolve import moment
from cloud_bridge.schedule import with_rows
from cloud_bridge.state import STALE_NS, STORE_MEND, State, with_alarm, without_alarm
from edge_agent.core.agent import Effect, Failed, Stamp
from edge_agent.core.effects import KeepSeen, Polled, StoredShare
from schemas.recording import Share

SOON = timedelta(hours=1)
TELLING = timedelta(days=1)
"""How long people are told of what the store refused."""
ANEW_MEND = "Check bookings.url and bookings.key, and whether the booking system was restored from a backup."


def polled(state: State, news: Polled, stamp: Stamp) -> tuple[State, tuple[Effect, ...]]:
    """The state after an answer, and what of it is kept for the next run."""
    before = state
    state = replace(
        state,
        polling=False,
        polled_ns=stamp.mono_ns,
        poll_ok_ns=stamp.mono_ns,
        failures=0,
        away=False,
        # What waits for the store need not wait any longer: it is back.
        retries={k: r for k, r in state.retries.items() if not (k == "send" and state.failures)},
        last_error=state.last_error if state.retries else None,
        held_automatic=False,
    )
    state = _without_old_alarms(without_alarm(state, "store_unreachable"), stamp)
    if state.anew is None and (news.cursor < state.cursor or _knows_nothing(state, news)):
        state = replace(state, anew={})
    if state.anew is None:
        state = replace(
            with_rows(state, news.rows), cursor=news.cursor, again=state.again or not news.complete
        )
    else:
        state = _anew(state, news, stamp)
        if state.anew is not None:
            return (_with_the_rest(state, before, news, stamp) if news.rows else state), ()
    # An answer that is not whole yet says nothing of the schedule as a whole.
    state = replace(state, read=state.read or news.complete, unresolved=state.unresolved or not state.read)
    state = _with_the_rest(state, before, news, stamp)
    return _kept(state, before, news, stamp)


def _knows_nothing(state: State, news: Polled) -> bool:
    return news.complete and not news.count and not news.rows and bool(state.rows)


def _anew(state: State, news: Polled, stamp: Stamp) -> State:
    """A store that begins anew, page by page. Nothing follows from an answer that is not whole, or empty.

    What has begun, or begins within the hour, is not withdrawn because it is missing: that is a mistake
    rather than somebody's wish, and it could not be made good.
    """
    found = {**(state.anew or {}), **{row.id: row for row in news.rows}}
    known = {**state.local, **state.rows}
    if not news.complete:
        return replace(state, anew=found, cursor=news.cursor, again=True)
    if not found and known:
        text = f"The booking system knows none of the {len(known)} bookings it gave before: they stand"
        # Asked from the beginning: what was changed since alone would look like all there is.
        return with_alarm(replace(state, anew={}, cursor=0), "store_changed", text, ANEW_MEND, stamp)
    missing = known.keys() - found.keys()
    near = {key: known[key] for key in missing if _is_near(state, key, stamp)}
    state = replace(state, rows=found, local=near, anew=None, cursor=news.cursor, unresolved=True)
    state = replace(state, dropped=state.dropped | missing)
    if known and not known.keys() & found.keys():
        text = f"The booking system knows none of the {len(known)} bookings it gave before: another one?"
        state = with_alarm(state, "store_changed", text, ANEW_MEND, stamp)
    elif near:
        text = f"The booking system no longer knows {', '.join(sorted(near))[:200]}: recorded all the same"
        state = with_alarm(state, "store_changed", text, ANEW_MEND, stamp)
    return state


def _is_near(state: State, booking_id: str, stamp: Stamp) -> bool:
    booking = state.bookings.get(booking_id)
    return booking is not None and booking.from_ <= stamp.wall + SOON


def _with_the_rest(state: State, before: State, news: Polled, stamp: Stamp) -> State:
    """Shares, commands, the switch, and rows that are none."""
    if not before.held_automatic and news.automatic != state.stored_automatic:
        state = replace(state, stored_automatic=news.automatic, unresolved=True)
    if news.unreadable:
        wrong = {row.id: row.why for row in news.unreadable}
        state = replace(state, unreadable={**state.unreadable, **wrong}, unresolved=True)
    return remote.taken(with_shares(state, news.shares, stamp), news.commands)


def _without_old_alarms(state: State, stamp: Stamp) -> State:
    """Alarms about what has happened once do not stand for ever."""
    for name, alarm in state.alarms.items():
        told = name.startswith(("refused_", "set_aside_")) and alarm.since + TELLING < stamp.wall
        whole = name == "store_changed" and state.anew is None and not state.local
        if told or (whole and alarm.since + SOON < stamp.wall):
            state = without_alarm(state, name)
    return state


def with_shares(state: State, shares: tuple[StoredShare, ...], stamp: Stamp) -> State:
    """The state with the store's shares of bookings that are of interest here."""
    news: dict[str, Share] = {}
    for share in shares:
        known = any(
            share.booking_id in some for some in (state.rows, state.local, state.bookings, state.anew or {})
        )
        if known or any(booking_id == share.booking_id for booking_id, _ in state.results):
            with suppress(ValueError):  # a time nobody can read: the last understood stands
                news[share.booking_id] = _share(share, state.shares.get(share.booking_id), stamp)
    return replace(state, shares={**state.shares, **news}) if news else state


def _share(share: StoredShare, before: Share | None, stamp: Stamp) -> Share:
    expires_at = moment(share.expires_at)
    ended = share.revoked_at is not None or expires_at <= stamp.wall
    made = Share(
        state="expired" if ended else "active",
        share_id=share.share_id,
        expires_at=expires_at,
        delivered_at=moment(share.delivered_at) if share.delivered_at is not None else None,
        stored_rev=before.stored_rev if before is not None else 0,
    )
    return before if before is not None and before == made else made


def _kept(state: State, before: State, news: Polled, stamp: Stamp) -> tuple[State, tuple[Effect, ...]]:
    """What the next run begins with; nothing when nothing is new."""
    whole = before.anew is not None or before.lost
    same = (state.cursor, state.stored_automatic) == (before.cursor, before.stored_automatic)
    if same and not whole and not news.rows and not news.shares and not news.commands:
        return state, ()
    commands = tuple(one.command for one in state.commands.values()) if whole else news.commands
    keep = KeepSeen(
        f"seen:{stamp.seq}",
        cursor=state.cursor,
        automatic=state.stored_automatic,
        rows=tuple(state.rows.values()) if whole else news.rows,
        shares=news.shares,
        commands=commands,
        gone=tuple(sorted(state.dropped)),
    )
    return replace(state, lost=False, dropped=frozenset()), (keep,)


def failed(state: State, event: Failed, stamp: Stamp) -> State:
    """The state after a poll that was not answered, or not understood: what was known stands."""
    state = replace(
        state,
        polling=False,
        again=False,
        polled_ns=stamp.mono_ns,
        failures=min(state.failures + 1, 5),
        away=event.kind == "transient",
        last_error=event.text,
    )
    if state.poll_ok_ns is None or stamp.mono_ns - state.poll_ok_ns > STALE_NS:
        text = f"Bookings cannot be read: {event.text}"
        state = with_alarm(state, "store_unreachable", text, STORE_MEND, stamp)
    return state
