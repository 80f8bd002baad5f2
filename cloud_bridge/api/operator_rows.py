"""What the operator's page shows, gathered from the store and from the device beside it. Reads; blocks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cloud_bridge.api.access import Reach
from cloud_bridge.api.context import Context
from cloud_bridge.api.etags import etag
from cloud_bridge.api.live import alarms, cameras
from cloud_bridge.api.models import ShareOut
from cloud_bridge.api.operator_time import spoken_clock, spoken_day, spoken_span
from cloud_bridge.api.operator_words import (
    Said,
    called,
    camera_words,
    court_state,
    disk_words,
    state_of,
)
from cloud_bridge.api.story import Facts, facts
from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import BookingQuery, Position, RecordingRow
from schemas.agent import Alarm
from schemas.base import Message, PayloadError, utc_text, validate
from schemas.health import Availability, Health
from schemas.registry import AVAILABILITY, HEALTH
from schemas.topics import Address

MOST = 200
"""Bookings of a page, and shares that are read at once."""
SHARE_PAGES = 5
SILENT = timedelta(minutes=5)
ACKNOWLEDGED = "alarm.acknowledge"


@dataclass(frozen=True)
class Card:
    """A booking in a list, and on its own page. ``can``: what may be done with it."""

    id: str
    title: str
    day: str
    span: str
    said: Said
    tag: str
    progress_pct: int | None
    owner: str | None
    can: frozenset[str]


@dataclass(frozen=True)
class AlarmCard:
    """A standing alarm; ``seen`` says who acknowledged it, and when."""

    agent: str
    alarm: str
    severity: str
    text: str
    mend: str
    since: str
    seen: str | None


@dataclass(frozen=True)
class CourtCard:
    """The court: its state, its cameras, what is wrong; ``disk`` None: not known."""

    name: str
    said: tuple[Said, ...]
    cameras: tuple[Said, ...]
    alarms: tuple[AlarmCard, ...]
    disk: Said | None


def known_between(ctx: Context, sees: Reach, begin: datetime, end: datetime) -> tuple[Facts, ...]:
    """The bookings that touch a time, oldest start first, with what the device made of them."""
    if sees.nothing:
        return ()
    rows = ctx.store.bookings(BookingQuery(begin, end, None, sees.owner, MOST))
    told = ctx.store.recordings(sees.owner, MOST, Position(utc_text(end), "")) if rows else ()
    results = {row.booking.id: row.results for row in told}
    return tuple(facts(RecordingRow(row, results.get(row.id, {}))) for row in rows)


def card(ctx: Context, known: Facts) -> Card:
    """A booking as people see it now."""
    recording, running = known.recording, known.state in ("recording", "finishing")
    return Card(
        known.row.booking.id,
        called(known),
        spoken_day(known.start.astimezone(ctx.zone).date()),
        spoken_span(known.start, known.end, ctx.zone),
        state_of(known, ctx.now()),
        etag(known.row.booking),
        recording.progress_pct if recording is not None and running else None,
        known.row.booking.stored.owner,
        frozenset(_can(known, ctx)),
    )


def _can(known: Facts, ctx: Context) -> Iterable[str]:
    stored, now = known.row.booking.stored, ctx.now()
    over = known.end <= now
    if stored.status == "cancelled":
        yield from () if over else ("restore",)
        return
    if not over and stored.kind != "cut":
        yield from ("extend", "cancel", "change", "unrecord" if stored.record == "yes" else "record")
    if stored.record == "yes":
        yield "link"
        if stored.audience == "code":
            yield "code"


def court(ctx: Context, today: Iterable[Facts]) -> CourtCard:
    """The court now; ``today`` are the bookings around now."""
    now = ctx.now()
    booked = [one for one in today if _counts(one)]
    current = next((one for one in booked if one.start <= now < one.end), None)
    found = cameras(ctx.live)
    said = court_state(current, _following(ctx, now), found, now, ctx.zone)
    health, trouble = _device(ctx, now)
    return CourtCard(
        ctx.settings.device.id,
        (*said, *trouble),
        camera_words(ctx.settings.camera_names(), found),
        _alarms(ctx, alarms(ctx.live) or {}),
        disk_words(health),
    )


def _counts(known: Facts) -> bool:
    stored = known.row.booking.stored
    return stored.status == "confirmed" and stored.kind != "cut"


def _following(ctx: Context, now: datetime) -> Facts | None:
    rows = ctx.store.bookings(BookingQuery(now, None, "confirmed", None, 20))
    coming = (facts(RecordingRow(row)) for row in rows)
    return next((one for one in coming if one.start > now and _counts(one)), None)


def _device(ctx: Context, now: datetime) -> tuple[Health | None, tuple[Said, ...]]:
    """The device's last metrics, and what is wrong with it as a whole."""
    said = list[Said]()
    if not ctx.store.automatic():
        said.append(Said("bad", "Automatic recording is off: booked matches are not recorded."))
    topics: Mapping[Address[Any], Message] = ctx.live.topics() if ctx.live is not None else {}
    there, health = topics.get(AVAILABILITY.at()), topics.get(HEALTH.at())
    if isinstance(there, Availability) and there.state != "online":
        said.append(Said("bad", "The device is switched off, or cannot be reached."))
    if isinstance(health, Health):
        return health, tuple(said)
    stored, stored_at = _stored_health(ctx)
    if stored is None or stored_at is None:
        return None, (*said, Said("still", "The device has not told anything of itself yet."))
    if now - stored_at > SILENT:
        when = f"{spoken_clock(stored_at, ctx.zone)} on {spoken_day(stored_at.astimezone(ctx.zone).date())}"
        said.append(Said("bad", f"The device has said nothing since {when}. Is it switched on?"))
    if stored.alarms.active and not topics:
        ids = ", ".join(stored.alarms.ids)
        said.append(Said("bad", f"Alarms stand: {ids}. What to do is shown beside the device."))
    return stored, tuple(said)


def _stored_health(ctx: Context) -> tuple[Health | None, datetime | None]:
    row = ctx.store.results(ctx.settings.device.id).get(HEALTH.key)
    try:
        return (validate(Health, row.body), moment(row.stored_at)) if row is not None else (None, None)
    except PayloadError:
        return None, None  # written by another version


def _alarms(ctx: Context, found: Mapping[tuple[str, str], Alarm]) -> tuple[AlarmCard, ...]:
    order = {"critical": 0, "major": 1, "minor": 2}
    standing = sorted(found.items(), key=lambda one: (order[one[1].severity], one[1].since, one[0]))
    return tuple(
        AlarmCard(
            agent,
            alarm,
            body.severity,
            body.text,
            body.mend,
            f"{spoken_clock(body.since, ctx.zone)} on {spoken_day(body.since.astimezone(ctx.zone).date())}",
            _seen(ctx, agent, alarm, body),
        )
        for (agent, alarm), body in standing
    )


def alarm_subject(agent: str, alarm: str) -> str:
    """What the audit calls an alarm."""
    return f"alarm/{agent}/{alarm}"


def _seen(ctx: Context, agent: str, alarm: str, body: Alarm) -> str | None:
    rows = ctx.audit.read(5, None, alarm_subject(agent, alarm)) if ctx.audit is not None else ()
    for row in rows:
        if row.deed.action == ACKNOWLEDGED and row.deed.detail.get("since") == utc_text(body.since):
            at = moment(row.at)
            day = spoken_day(at.astimezone(ctx.zone).date())
            return f"{row.deed.actor}, {spoken_clock(at, ctx.zone)} on {day}"
    return None


@dataclass(frozen=True)
class ShareCard:
    """A link that was made; never the link."""

    id: str
    state: str
    made: str
    ends: str
    views: int
    downloads: int


def shares(ctx: Context, sees: Reach, known: Facts) -> tuple[ShareCard, ...]:
    """The links of a booking, newest first. A link is never older than its booking: the search ends there."""
    found, after = list[ShareCard](), None
    now, born = utc_text(ctx.now()), known.row.booking.stored.created_at
    for _ in range(SHARE_PAGES):
        rows = ctx.store.shares(sees.owner, MOST, after)
        for row in rows:
            if row.booking_id == known.row.booking.id:
                out = ShareOut.of_row(row, now)
                made, ends = (_day(ctx, text) for text in (row.created_at, row.expires_at))
                found.append(ShareCard(row.share_id, out.state, made, ends, row.views, row.downloads))
        if len(rows) < MOST or rows[-1].created_at < born:
            break
        after = Position(rows[-1].created_at, rows[-1].share_id)
    return tuple(found)


def _day(ctx: Context, text: str) -> str:
    return spoken_day(moment(text).astimezone(ctx.zone).date())


def films(ctx: Context, sees: Reach, limit: int, after: Position | None) -> tuple[RecordingRow, ...]:
    """Recordings that have begun, newest first."""
    if sees.nothing:
        return ()
    return ctx.store.recordings(sees.owner, limit, after or Position(utc_text(ctx.now()), "~"))
