"""Bookings by forms: what the API does, for people, with every refusal in words beside what was typed."""

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta

from fastapi import APIRouter, Request, Response

from cloud_bridge.api import bookings, claim, recordings
from cloud_bridge.api.access import TheBooking, TheShare, access, reach
from cloud_bridge.api.context import Context, context
from cloud_bridge.api.etags import etag
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import Form, see
from cloud_bridge.api.models import BookingPatch, ClaimOut, LinkOut
from cloud_bridge.api.operator_form import LONGEST, Typed, change_of, new_booking
from cloud_bridge.api.operator_page import Refused, attempt, show
from cloud_bridge.api.operator_rows import card, shares
from cloud_bridge.api.operator_time import Unclear, clock_change, typed_day
from cloud_bridge.api.operator_words import account, when_of
from cloud_bridge.api.story import facts, why
from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import BookingRow, RecordingRow

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
CLUB = access("user", "club", page=True)
BOOKING = access("user", "booking", page=True)
STEP = timedelta(minutes=15)
DONE: Mapping[str, str] = {
    "booked": "Booked.",
    "changed": "Changed.",
    "same": "Nothing was changed.",
    "extended": "15 minutes were added.",
    "cancelled": "Cancelled.",
    "restored": "The booking stands again.",
    "record": "It will be recorded.",
    "unrecord": "It will not be recorded.",
    "revoked": "The link has ended.",
}
_CHANGES: Mapping[str, BookingPatch] = {
    "restored": BookingPatch(status="confirmed"),
    "record": BookingPatch(record="yes"),
    "unrecord": BookingPatch(record="no"),
}


@router.get("/book", openapi_extra=CLUB)
def book_form(request: Request) -> Response:
    """The form of a new booking, on ``?day=`` when that is one."""
    ctx = context(request)
    typed = Typed.fresh(ctx.now(), ctx.settings, ctx.zone).on(request.query_params.get("day"))
    return _form(request, "/book", typed, _new_id())


@router.post("/book", openapi_extra=CLUB)
def book(request: Request, form: Form) -> Response:
    """Book. The form carries the booking's id, so that sending it twice books once."""
    ctx, typed, booking_id = context(request), Typed.of_form(form), form.get("id") or _new_id()

    def act() -> None:
        asked = new_booking(typed, booking_id, ctx.settings, ctx.zone)
        bookings.create_booking(request, Response(), asked)

    refused = attempt(request, act)
    if refused is not None:
        return _form(request, "/book", typed, booking_id, refused=refused)
    return see(f"/bookings/{booking_id}?done=booked")


@router.get("/bookings/{booking_id}", openapi_extra=BOOKING)
def booking_page(request: Request, booking: TheBooking) -> Response:
    """A booking, and what became of it."""
    return _shown(request, booking)


@router.get("/bookings/{booking_id}/change", openapi_extra=BOOKING)
def change_form(request: Request, booking: TheBooking) -> Response:
    """The form of a change."""
    typed = Typed.of_row(booking, context(request).zone)
    return _form(request, f"/bookings/{booking.id}/change", typed, booking.id, row=booking)


@router.post("/bookings/{booking_id}/change", openapi_extra=BOOKING)
def change(request: Request, booking: TheBooking, form: Form) -> Response:
    """Change what is another than it was."""
    ctx, typed = context(request), Typed.of_form(form)
    done = ["changed"]

    def act() -> None:
        asked = change_of(typed, booking, ctx.settings, ctx.zone)
        if asked is None:
            done.append("same")
            return
        bookings.change_booking(request, Response(), booking, asked, form.get("seen") or None)

    refused = attempt(request, act)
    if refused is not None:
        path, row = f"/bookings/{booking.id}/change", ctx.store.booking(booking.id) or booking
        return _form(request, path, typed, booking.id, row=row, refused=refused)
    return see(f"/bookings/{booking.id}?done={done[-1]}")


@router.post("/bookings/{booking_id}/extend", openapi_extra=BOOKING)
def extend(request: Request, booking: TheBooking, form: Form) -> Response:
    """A quarter of an hour more."""
    later = BookingPatch(end=moment(booking.stored.end) + STEP)
    return _turn(request, booking, "extended", lambda: _change(request, booking, later, form))


@router.post("/bookings/{booking_id}/cancel", openapi_extra=BOOKING)
def cancel(request: Request, booking: TheBooking, form: Form) -> Response:
    """Cancel."""
    seen = form.get("seen") or None
    return _turn(request, booking, "cancelled", lambda: bookings.cancel_booking(request, booking, seen))


@router.post("/bookings/{booking_id}/restore", openapi_extra=BOOKING)
def restore(request: Request, booking: TheBooking, form: Form) -> Response:
    """Take a cancellation back."""
    return _plain(request, booking, form, "restored")


@router.post("/bookings/{booking_id}/record", openapi_extra=BOOKING)
def record(request: Request, booking: TheBooking, form: Form) -> Response:
    """Record it, or do not (``record`` of the form is ``no``)."""
    return _plain(request, booking, form, "unrecord" if form.get("record") == "no" else "record")


@router.post("/bookings/{booking_id}/links", openapi_extra=BOOKING)
def make_link(request: Request, booking: TheBooking) -> Response:
    """A new link, shown this once."""
    made = list[LinkOut]()
    refused = attempt(request, lambda: made.append(recordings.make_link(request, booking)))
    return _shown(request, booking, refused, link=made[0] if made else None)


@router.post("/links/{share_id}/revoke", openapi_extra=access("user", "share", page=True))
def revoke(request: Request, share: TheShare) -> Response:
    """End a link."""
    recordings.revoke_share(request, share)
    return see(f"/bookings/{share.booking_id}?done=revoked")


@router.post("/bookings/{booking_id}/code", openapi_extra=access("operator", "booking", page=True))
def code(request: Request, booking: TheBooking) -> Response:
    """The code to tell at the court."""
    made = list[ClaimOut]()
    refused = attempt(request, lambda: made.append(claim.claim_code(request, booking)))
    return _shown(request, booking, refused, code=made[0] if made else None)


def _plain(request: Request, row: BookingRow, form: Mapping[str, str], done: str) -> Response:
    return _turn(request, row, done, lambda: _change(request, row, _CHANGES[done], form))


def _change(request: Request, row: BookingRow, asked: BookingPatch, form: Mapping[str, str]) -> None:
    bookings.change_booking(request, Response(), row, asked, form.get("seen") or None)


def _turn(request: Request, row: BookingRow, done: str, act: Callable[[], object]) -> Response:
    refused = attempt(request, act)
    if refused is None:
        return see(f"/bookings/{row.id}?done={done}")
    return _shown(request, context(request).store.booking(row.id) or row, refused)


def _shown(request: Request, row: BookingRow, refused: Refused | None = None, **more: object) -> Response:
    ctx = context(request)
    known = facts(RecordingRow(row, ctx.store.results(row.id)))
    told = account(known)
    return show(
        request,
        "operator_booking.html",
        refused.status if refused else 200,
        booking=card(ctx, known),
        when=when_of(known, ctx.zone),
        contacts=row.contacts,
        audience=row.stored.audience,
        why=why(known, ctx.now()),
        account=told[0] if told else None,
        missing=told[1] if told else (),
        shares=shares(ctx, reach(request), known),
        refused=refused.text if refused else None,
        done=DONE.get(request.query_params.get("done", "")),
        **more,
    )


def _form(
    request: Request,
    path: str,
    typed: Typed,
    booking_id: str,
    *,
    row: BookingRow | None = None,
    refused: Refused | None = None,
) -> Response:
    ctx = context(request)
    return show(
        request,
        "operator_form.html",
        refused.status if refused else 200,
        path=path,
        id=booking_id,
        typed=typed,
        asks=typed.asks(ctx.zone),
        begun=row is not None and moment(row.stored.start) <= ctx.now(),
        seen=etag(row) if row is not None else None,
        zone=ctx.settings.device.timezone,
        clocks=_clocks(ctx, typed),
        longest=LONGEST,
        refused=refused.text if refused else None,
    )


def _clocks(ctx: Context, typed: Typed) -> str | None:
    try:
        return clock_change(typed_day(typed.day), ctx.zone)
    except Unclear:
        return None


def _new_id() -> str:
    return "b" + secrets.token_hex(8)
