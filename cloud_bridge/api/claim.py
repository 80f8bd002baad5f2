"""Films for players without a contact in the booking: court and code for a link, at ``/claim``.

A link to a booking for ``code`` opens in the browser that gave the code, one for ``members`` in one that is
logged in here: a link that was passed on opens nothing.
"""

import math
import re
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from cloud_bridge.api.access import TheBooking, access, of_this_club
from cloud_bridge.api.context import Context, context
from cloud_bridge.api.deeds import note
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import Form, page, see
from cloud_bridge.api.limits import address_key
from cloud_bridge.api.links import issue
from cloud_bridge.api.models import ClaimOut
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.story import Facts, facts
from cloud_bridge.api.visits import require_same_site, who_asks
from cloud_bridge.stores.base import RecordingRow, ShareRow
from cloud_bridge.stores.claims import DIGITS

router = APIRouter(route_class=GuardedRoute, tags=["shares"])
pages = APIRouter(route_class=GuardedRoute, include_in_schema=False)
CODE_S = 24 * 3600
COOKIE = "ezrec-film"
OPEN = access("open", "nobody")
SAME_ORIGIN = {"Referrer-Policy": "same-origin"}


@router.post("/recordings/{booking_id}/claim-code", openapi_extra=access("operator", "booking"))
def claim_code(request: Request, booking: TheBooking) -> ClaimOut:
    """The code that leads to this film at ``/claim``, to be told at the court. The same until it ends."""
    ctx = context(request)
    if ctx.claims is None:
        raise Problem(409, "there are no codes here")
    stored = booking.stored
    if stored.status == "cancelled" or stored.record == "no":
        raise Problem(409, f"{booking.id} is not recorded, there is nothing to claim")
    made = ctx.claims.claim_code(booking.id, CODE_S)
    note(request, "claim.code", booking.id)
    return ClaimOut(code=made.code, court=ctx.settings.device.id, expires_at=made.expires_at)


@pages.get("/claim", openapi_extra=OPEN)
def claim_page(request: Request) -> Response:
    """The form."""
    return _form(request)


@pages.post("/claim", openapi_extra=OPEN)
def claim(request: Request, form: Form) -> Response:
    """Court and code for a link of one's own."""
    require_same_site(request)
    ctx = context(request)
    address = address_key(request.client.host if request.client else None)
    wait_s = ctx.limits.claims.take(f"address {address}") or ctx.limits.court.take("court")
    if wait_s:
        text = "Too many tries. Ask at the court for help, or try again tomorrow."
        answer = _form(request, HTTPStatus.TOO_MANY_REQUESTS, text)
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
        return answer
    known = _found(ctx, form.get("court", ""), form.get("code", ""))
    if known is None or ctx.claims is None:
        return _form(request, HTTPStatus.UNAUTHORIZED, "Court and code do not fit.")
    ctx.limits.claims.give_back(f"address {address}")
    ctx.limits.court.give_back("court")
    share, token = issue(ctx, known)
    note(request, "claim", known.row.booking.id, share=share.share_id)
    answer = see(f"/s/{token}")
    days = ctx.settings.api.share_days
    answer.set_cookie(
        COOKIE,
        ctx.claims.add_opener(share.share_id),
        max_age=days * 86_400,
        path=f"/s/{token}",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


def barred(request: Request, share: ShareRow, audience: str) -> HTTPStatus | None:
    """Why a link does not open in this browser: 401, it gave no code; 403, nobody is logged in. Blocks."""
    ctx = context(request)
    if audience == "code":
        opener = request.cookies.get(COOKIE)
        opens = ctx.claims is not None and opener is not None and ctx.claims.opens(share.share_id, opener)
        return None if opens else HTTPStatus.UNAUTHORIZED
    if audience == "members":
        found = who_asks(Headers(scope=request.scope), request.url.scheme, ctx)
        member = found is not None and of_this_club(found.principal, ctx.settings)
        return None if member else HTTPStatus.FORBIDDEN
    return None


def _found(ctx: Context, court: str, code: str) -> Facts | None:
    """The recording that court and code lead to."""
    digits = re.sub(r"[\s-]", "", code)
    if ctx.claims is None or not re.fullmatch(rf"[0-9]{{{DIGITS}}}", digits):
        return None
    booking_id = ctx.claims.claimed(digits)
    booking = ctx.store.booking(booking_id) if booking_id is not None else None
    if booking is None or court.strip().lower() != ctx.settings.device.id:
        return None
    return facts(RecordingRow(booking, ctx.store.results(booking.id)))


def _form(request: Request, status: int = 200, complaint: str | None = None) -> Response:
    answer = page("claim.html", status, complaint=complaint, court=context(request).settings.device.id)
    answer.headers.update(SAME_ORIGIN)
    return answer
