"""From rows to bookings as the agents obey them: planned times clamped to neighbours. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from edge_agent.core.effects import StoredBooking, StoredMedia
from edge_agent.core.settings import Settings
from schemas.base import PayloadError, validate
from schemas.booking import AssetRef, Booking, Logo

M = TypeVar("M", Logo, AssetRef)
Dressings = tuple[tuple[Logo, ...], AssetRef | None]


@lru_cache(maxsize=4096)
def moment(text: str) -> datetime:
    """An aware instant from a row's text.

    Raises:
        ValueError: not ISO 8601, or without a zone.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no zone, an aware time was expected")
    return value


def resolve(
    row: StoredBooking,
    rows: Collection[StoredBooking],
    before: Booking | None,
    now: datetime,
    settings: Settings,
    dressings: Dressings = ((), None),
    *,
    automatic: bool = True,
) -> Booking:
    """The booking of a row, with the revision it had before, or one more when anything changed.

    Pre-roll reaches back to the end of the booking before, post-roll forward to the start of the next.
    An end in the past, seen while the booking runs, becomes ``now`` and stays that.

    Raises:
        PayloadError: the row makes no booking; the text says why.
    """
    try:
        start, end = moment(row.start), moment(row.end)
    except ValueError as error:
        raise PayloadError(f"booking {row.id}: {error}") from None
    from_, to, border = planned(row, start, end, rows, settings)
    to = _not_undone(before, to, border, now)
    record = row.record if automatic or row.kind != "booked" else "no"
    begun = before is not None and before.from_ + timedelta(seconds=settings.film.slot_s) <= now
    if before is not None and (begun or not row.changed):
        # A film keeps what it was begun with, and a row that only stands for one of the store what that wore.
        logos, intro = before.branding, before.intro
    else:
        logos, intro = dressed(_worn(row, rows), dressings, settings.device.org)
    fields: Mapping[str, object] = {
        "rev": before.rev if before else 1,
        "kind": row.kind,
        "of": row.of,
        "start": start,
        # What a manual recording gave way to is not its time any more, for cameras too.
        "end": min(end, border) if border and row.kind == "manual" else end,
        "from": min(from_, to),
        "to": to,
        "status": row.status,
        "record": record,
        "audience": row.audience,
        "owner": row.owner,
        "layout": row.layout,
        "branding": logos,
        "intro": intro,
        "deliver": row.deliver,
    }
    booking = validate(Booking, fields)
    if before is None or booking == before:
        return before or booking
    return booking.replace(rev=before.rev + 1)


def _worn(row: StoredBooking, rows: Collection[StoredBooking]) -> tuple[StoredMedia, ...]:
    """What a row wears; one made at the court, which the store has not seen, what the club's others wear."""
    if row.changed:
        return row.dressing
    newest = max(rows, key=lambda other: other.changed, default=row)
    return tuple(media for media in newest.dressing if media.of == "organisation")


def dressed(dressing: Collection[StoredMedia], own: Dressings, org: str) -> Dressings:
    """Slot by slot: what the booking's owner uploaded, else the organisation, else the device's own.

    Uploads take the slots ``logo``, ``sponsor1`` to ``sponsor3`` and the intro; what the device shows in
    other slots (``company``) is always shown. A row that makes no sense is left out: no logo is worth a film.
    """
    found = {media.slot: media for media in sorted(dressing, key=lambda media: media.of == "user")}
    intro = found.pop("intro", None)
    logos = [logo for logo in own[0] if logo.slot not in found]
    logos += [logo for _, media in sorted(found.items()) if (logo := _made(Logo, media, org))]
    return tuple(logos), (_made(AssetRef, intro, org) if intro else None) or own[1]


def _made(model: type[M], media: StoredMedia, org: str) -> M | None:
    fields = {
        "key": f"{org}/assets/{media.sha256}",
        **{name: getattr(media, name) for name in model.model_fields if name != "key"},
    }
    try:
        return validate(model, fields)
    except PayloadError:
        return None


def planned(
    row: StoredBooking, start: datetime, end: datetime, rows: Iterable[StoredBooking], settings: Settings
) -> tuple[datetime, datetime, datetime | None]:
    """Planned start and end, with pre- and post-roll as far as the court is nobody else's, and that border.

    A cut is held to its own booking's time, or to nobody's; a manual recording ends where a booking begins.
    """
    pre_s = settings.booking.pre_s if row.kind == "booked" else 0
    post_s = settings.booking.post_s if row.kind == "booked" else 0
    from_, to = start - timedelta(seconds=pre_s), end + timedelta(seconds=post_s)
    border: datetime | None = None
    for other in rows:
        if other.id == row.id or other.status != "confirmed" or other.kind == "cut" or other.id == row.of:
            continue
        other_start, other_end = moment(other.start), moment(other.end)
        if other_start == other_end:
            continue
        if other_end <= start:
            from_ = max(from_, other_end)
        elif row.kind == "booked" and other.kind == "manual" and other_start < start:
            from_ = max(from_, start)  # the button gives way here, and not a second before
        elif other_start >= end or (row.kind == "manual" and other.kind == "booked" and other_start > start):
            to = min(to, other_start)
            border = min(border or other_start, other_start)
        elif row.kind == "cut":
            # Of what lies on both sides of somebody's time, the younger side is what was asked for.
            from_, to = (max(from_, other_end), to) if other_end < end else (from_, min(to, other_start))
    return from_, to, border


def _not_undone(before: Booking | None, to: datetime, border: datetime | None, now: datetime) -> datetime:
    """What was recorded stays recorded: an end that is already past ends the recording when it is seen.

    It becomes ``now`` once, because an end that has passed is never moved back; only time that has become
    somebody else's is given up.
    """
    if before is None or before.from_ >= now:
        return to
    held = max(to, min(before.to, now))
    return max(to, min(held, border)) if border is not None else held


def running(bookings: Mapping[str, Booking], now: datetime) -> list[str]:
    """Ids of what is being recorded now, oldest first."""
    live = [
        (b.from_, key)
        for key, b in bookings.items()
        if b.wanted and b.from_ <= now < b.to and b.kind != "cut"
    ]
    return [key for _, key in sorted(live)]


def forbidden(bookings: Mapping[str, Booking], now: datetime) -> bool:
    """Whether the court's time now is under ``record: no``."""
    return any(
        b.status == "confirmed" and b.record == "no" and b.start <= now < b.end for b in bookings.values()
    )


def next_start(bookings: Mapping[str, Booking], now: datetime) -> datetime | None:
    """Start of the next confirmed booking of the court."""
    return min(
        (b.start for b in bookings.values() if b.status == "confirmed" and b.kind != "cut" and b.start > now),
        default=None,
    )


def last_border(bookings: Mapping[str, Booking], now: datetime) -> datetime | None:
    """The last moment up to now at which the court's time changed hands: no cut reaches behind it."""
    borders = [
        edge
        for b in bookings.values()
        if b.kind != "cut"  # time that was cancelled was somebody's all the same
        for edge in (b.from_, b.start, b.end, b.to)
        if edge <= now
    ]
    return max(borders, default=None)
