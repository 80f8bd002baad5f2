"""Bookings over HTTP."""

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from cloud_bridge.api.access import TheBooking, access, reach
from cloud_bridge.api.context import Context, context, principal
from cloud_bridge.api.deeds import note
from cloud_bridge.api.etags import IfMatch, etag, seen, tag, unchanged
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.models import (
    BookingIn,
    BookingOut,
    BookingPatch,
    BookingPut,
    Cursor,
    Limit,
    Page,
    booking_page,
    position,
)
from cloud_bridge.api.problems import Problem, described
from cloud_bridge.api.story import facts
from cloud_bridge.orders import refusal
from cloud_bridge.stores.base import BookingQuery, BookingRow, NewBooking, RecordingRow
from schemas.base import Moment
from schemas.recording import FINAL_STATES

router = APIRouter(route_class=GuardedRoute, tags=["bookings"])
STALE: dict[int | str, dict[str, Any]] = {412: described("it was changed since it was read")}


@router.get("/bookings", openapi_extra=access("user", "rows"))
def list_bookings(
    request: Request,
    begin: Annotated[Moment | None, Query(alias="from", description="that end after")] = None,
    end: Annotated[Moment | None, Query(alias="to", description="that start before")] = None,
    status: Literal["confirmed", "cancelled"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[BookingOut]:
    """Bookings, oldest start first."""
    sees = reach(request)
    if sees.nothing:
        return Page(items=())
    query = BookingQuery(begin, end, status, sees.owner, limit, position(cursor))
    return booking_page(context(request).store.bookings(query), limit)


@router.post(
    "/bookings",
    status_code=201,
    responses={200: {"description": "it was there already"}},
    openapi_extra=access("user", "club"),
)
def create_booking(request: Request, response: Response, asked: BookingIn) -> BookingOut:
    """Book the court. Idempotent by ``id``; another booking with that id, or in that time, is a 409."""
    ctx, who = context(request), principal(request)
    owner = asked.owner or (who.user if who.role == "user" else None)
    if who.role == "user" and owner != who.user:
        raise Problem(403, "a user can book for no one else")
    booking_id = asked.id or "b" + secrets.token_hex(8)
    known = ctx.store.booking(booking_id) is not None
    problem = None if known else refusal(asked.start, asked.end, ctx.now(), ctx.settings)
    if problem is not None:
        raise Problem(422, problem)
    record = asked.record if "record" in asked.model_fields_set else ctx.settings.booking.record
    row, new = ctx.store.create_booking(
        NewBooking(
            booking_id,
            "booked",
            asked.start,
            asked.end,
            record,
            asked.audience,
            asked.layout,
            asked.deliver,
            owner,
            title=asked.title,
            contacts=asked.contacts,
        )
    )
    response.status_code = 201 if new else 200
    tag(response, row)
    if new:
        note(request, "booking.create", row.id)
    return BookingOut.of_row(row)


@router.get(
    "/bookings/{booking_id}",
    response_model=BookingOut,
    responses={304: {"description": "it is still what `If-None-Match` says"}},
    openapi_extra=access("user", "booking"),
)
def read_booking(request: Request, response: Response, booking: TheBooking) -> BookingOut | Response:
    """One booking, with an ``ETag`` for a change of it."""
    if unchanged(request, booking):
        return Response(status_code=304, headers={"ETag": etag(booking)})
    tag(response, booking)
    return BookingOut.of_row(booking)


@router.put("/bookings/{booking_id}", responses=STALE, openapi_extra=access("user", "booking"))
def replace_booking(
    request: Request, response: Response, booking: TheBooking, asked: BookingPut, if_match: IfMatch = None
) -> BookingOut:
    """Change a booking to what is sent: what is left out becomes its default."""
    if asked.id not in (None, booking.id):
        raise Problem(422, f"id: expected none, or {booking.id} as in the path")
    return _change(request, response, booking, BookingPatch(**asked.fields()), if_match)


@router.patch("/bookings/{booking_id}", responses=STALE, openapi_extra=access("user", "booking"))
def change_booking(
    request: Request, response: Response, booking: TheBooking, asked: BookingPatch, if_match: IfMatch = None
) -> BookingOut:
    """Change a booking, also while it runs. What can no longer be had is a 409."""
    return _change(request, response, booking, asked, if_match)


@router.delete(
    "/bookings/{booking_id}", status_code=204, responses=STALE, openapi_extra=access("user", "booking")
)
def cancel_booking(request: Request, booking: TheBooking, if_match: IfMatch = None) -> None:
    """Cancel a booking. It can be taken back for a while; afterwards its pictures are gone."""
    ctx = context(request)
    expected = seen(if_match, booking)
    _refuse(ctx, booking, BookingPatch(status="cancelled"))
    ctx.store.change_booking(booking.id, {"status": "cancelled"}, expected)
    note(request, "booking.cancel", booking.id)


def _change(
    request: Request, response: Response, row: BookingRow, asked: BookingPatch, if_match: str | None
) -> BookingOut:
    ctx, changes = context(request), asked.changes()
    expected = seen(if_match, row)
    _refuse(ctx, row, asked)
    if asked.end is not None and datetime.fromisoformat(row.stored.start) <= ctx.now():
        changes["end"] = max(asked.end, ctx.now())
    changed = ctx.store.change_booking(row.id, changes, expected)
    tag(response, changed)
    note(request, "booking.change", row.id, fields=[*sorted(changes)])
    return BookingOut.of_row(changed)


def _refuse(ctx: Context, row: BookingRow, asked: BookingPatch) -> None:
    """Refuse what the device could no longer obey.

    Raises:
        Problem: 409 or 422, with why.
    """
    now, stored = ctx.now(), row.stored
    start, end = datetime.fromisoformat(stored.start), datetime.fromisoformat(stored.end)
    times = (asked.start is not None and asked.start != start) or (asked.end is not None and asked.end != end)
    turns = asked.status is not None and asked.status != stored.status
    records = asked.record is not None and asked.record != stored.record
    if not (times or turns or records):
        return
    state = facts(RecordingRow(row, ctx.store.results(row.id))).state
    if state in FINAL_STATES and stored.status == "confirmed" and end <= now:
        raise Problem(409, f"{row.id} is over ({state}), it can no longer be changed")
    if turns and asked.status == "confirmed" and _dead(ctx, row):
        raise Problem(409, f"{row.id} was cancelled too long ago to be taken back: make another booking")
    if times:
        _refuse_times(ctx, asked, start, end)


def _refuse_times(ctx: Context, asked: BookingPatch, start: datetime, end: datetime) -> None:
    now = ctx.now()
    new_start, new_end = asked.start or start, asked.end or end
    if start <= now:
        if new_start != start:
            raise Problem(409, "it has begun, its start can no longer be moved")
        if end + timedelta(seconds=ctx.settings.booking.post_s + ctx.settings.storage.ring_s) <= now:
            raise Problem(409, "it is over, its end can no longer be moved")
        new_end = max(new_end, now + timedelta(microseconds=1))
    problem = refusal(new_start, new_end, now, ctx.settings)
    if problem is not None:
        raise Problem(422, problem)


def _dead(ctx: Context, row: BookingRow) -> bool:
    """Whether its pictures are gone. Of one that was cancelled before it began there never were any."""
    if row.cancelled_at is None:
        return False
    cancelled = datetime.fromisoformat(row.cancelled_at)
    begin = datetime.fromisoformat(row.stored.start) - timedelta(seconds=ctx.settings.booking.pre_s)
    if cancelled < begin and ctx.now() < datetime.fromisoformat(row.stored.end):
        return False
    return cancelled + timedelta(minutes=ctx.settings.retention.cancelled_min) <= ctx.now()
