"""Recordings, their receipts and their links over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from pydantic import JsonValue

from cloud_bridge.api.access import TheBooking, TheShare, access, reach
from cloud_bridge.api.context import context, share_base
from cloud_bridge.api.deeds import note
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.links import issue
from cloud_bridge.api.models import (
    Cursor,
    Limit,
    LinkOut,
    Page,
    RecordingOut,
    ShareIn,
    ShareOut,
    WhyOut,
    cursor_of,
    position,
    recording_end,
)
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.story import Facts, facts, why
from cloud_bridge.shares import only_here
from cloud_bridge.stores.base import BookingRow, RecordingRow
from schemas.base import utc_text
from schemas.registry import RECEIPT

router = APIRouter(route_class=GuardedRoute)


@router.get("/recordings", tags=["recordings"], openapi_extra=access("user", "rows"))
def list_recordings(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[RecordingOut]:
    """Recordings, newest first."""
    sees = reach(request)
    if sees.nothing:
        return Page(items=())
    rows = context(request).store.recordings(sees.owner, limit, position(cursor))
    items = tuple(RecordingOut.of(facts(row)) for row in rows)
    return Page(items=items, next=recording_end(rows, limit))


@router.get("/recordings/{booking_id}", tags=["recordings"], openapi_extra=access("user", "booking"))
def read_recording(request: Request, booking: TheBooking) -> RecordingOut:
    """One recording; it has the booking's id, and is there as soon as the booking is."""
    return RecordingOut.of(_facts(request, booking))


@router.get("/recordings/{booking_id}/receipt", tags=["recordings"], openapi_extra=access("user", "booking"))
def read_receipt(request: Request, booking: TheBooking) -> dict[str, JsonValue]:
    """The account of one recording; 404 until there is one."""
    stored = _facts(request, booking).row.results.get(RECEIPT.key)
    if stored is None:
        raise Problem(404, f"there is no receipt of {booking.id} yet")
    return dict(stored.body)


@router.get("/recordings/{booking_id}/why", tags=["recordings"], openapi_extra=access("user", "booking"))
def read_why(request: Request, booking: TheBooking) -> WhyOut:
    """In words why a film is late or incomplete."""
    known = _facts(request, booking)
    eta_s = known.recording.eta_s if known.recording else None
    return WhyOut(id=booking.id, state=known.state, why=why(known, context(request).now()), eta_s=eta_s)


@router.post(
    "/recordings/{booking_id}/shares",
    status_code=201,
    tags=["shares"],
    openapi_extra=access("user", "booking"),
)
def make_link(
    request: Request, booking: TheBooking, asked: Annotated[ShareIn | None, Body()] = None
) -> LinkOut:
    """A new link, also before there is a film; the page says then how far it is. Told this once."""
    ctx = context(request)
    made, token = issue(ctx, _facts(request, booking), asked.days if asked is not None else None)
    note(request, "share.create", booking.id, share=made.share_id)
    base = share_base(ctx.settings, request)
    return LinkOut(
        share_id=made.share_id,
        booking_id=booking.id,
        url=f"{base}/s/{token}",
        expires_at=made.expires_at,
        only_here=only_here(base),
    )


@router.get("/shares", tags=["shares"], openapi_extra=access("user", "rows"))
def list_shares(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[ShareOut]:
    """Shares, newest first, without their links."""
    ctx, sees = context(request), reach(request)
    if sees.nothing:
        return Page(items=())
    rows = ctx.store.shares(sees.owner, limit, position(cursor))
    now = utc_text(ctx.now())
    last = rows[-1] if len(rows) == limit else None
    return Page(
        items=tuple(ShareOut.of_row(row, now) for row in rows),
        next=cursor_of(last.created_at, last.share_id) if last else None,
    )


@router.delete("/shares/{share_id}", status_code=204, tags=["shares"], openapi_extra=access("user", "share"))
def revoke_share(request: Request, share: TheShare) -> None:
    """End a share now; its links answer 410 from here on."""
    context(request).store.revoke_share(share.share_id)
    note(request, "share.revoke", share.booking_id, share=share.share_id)


@router.get("/shares/{share_id}/stats", tags=["shares"], openapi_extra=access("user", "share"))
def share_stats(request: Request, share: TheShare) -> ShareOut:
    """How often the film was opened and downloaded. By whom is not known."""
    return ShareOut.of_row(share, utc_text(context(request).now()))


def _facts(request: Request, booking: BookingRow) -> Facts:
    return facts(RecordingRow(booking, context(request).store.results(booking.id)))
