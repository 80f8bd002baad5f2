"""Who may use a route, and whose things it reaches: declared beside the route, asked by the gate.

A route without a declaration fails when the application is made. Too low a role is 403; what is somebody
else's is as unknown as what is not there: 404.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from fastapi import Depends, Path, Request
from starlette.routing import BaseRoute

from cloud_bridge.api.body import MAX_BODY_BYTES
from cloud_bridge.api.context import context, principal
from cloud_bridge.api.problems import Problem
from cloud_bridge.stores.base import BookingRow, Principal, Role, ShareRow
from edge_agent.core.settings import Settings
from schemas.base import ID_PATTERN

Asker = Literal["open", "user", "operator", "admin"]
Owner = Literal["nobody", "self", "rows", "club", "booking", "share", "device", "person"]
"""Whose things a route reaches.

``nobody``: nobody's (open pages). ``self``: the asker's alone. ``rows``: rows within the asker's `Reach`.
``club``: those of the asker's organisation, which must be this one. ``booking``, ``share``, ``device``,
``person``: the one the path names (``booking_id``, ``share_id``, ``device_id``, ``user``).
"""

ROLE = "x-role"
OWNER = "x-owner"
PAGE = "x-page"
MAX_BODY = "x-max-body-bytes"
RANK: Mapping[str, int] = {"user": 0, "operator": 1, "admin": 2}


@dataclass(frozen=True)
class Access:
    """A route's declaration. ``page``: it is for browsers, strangers are sent to the login."""

    role: Asker
    owner: Owner
    page: bool = False
    max_body_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True)
class Reach:
    """Which rows somebody sees: of an owner alone (None: of all), or none at all."""

    owner: str | None
    nothing: bool = False


def access(
    role: Asker, owner: Owner, *, page: bool = False, max_body_bytes: int = MAX_BODY_BYTES
) -> dict[str, Any]:
    """A route's declaration, as its ``openapi_extra``: shown in the OpenAPI document too."""
    return {ROLE: role, OWNER: owner, PAGE: page, MAX_BODY: max_body_bytes}


def declared(route: BaseRoute) -> Access | None:
    """What a route declares; None when it does not."""
    extra: dict[str, Any] = getattr(route, "openapi_extra", None) or {}
    if ROLE not in extra or OWNER not in extra:
        return None
    return Access(extra[ROLE], extra[OWNER], extra[PAGE], extra[MAX_BODY])


def require_declared(routes: Iterable[BaseRoute], guarded: type[BaseRoute]) -> None:
    """Refuse an application with a route that nobody stands before.

    Raises:
        RuntimeError: one is not ``guarded``, or declares no role and owner.
    """
    for route in routes:
        if not isinstance(route, guarded) or declared(route) is None:
            where = getattr(route, "path", route)
            raise RuntimeError(f"route {where} declares no role and owner: give it openapi_extra=access(..)")


def of_this_club(who: Principal, settings: Settings) -> bool:
    """Whether somebody belongs to the organisation whose store this is; an admin belongs everywhere."""
    return who.role == "admin" or who.org in (None, settings.device.org)


def reach(request: Request) -> Reach:
    """The rows the asker sees."""
    who = principal(request)
    if not of_this_club(who, context(request).settings):
        return Reach(None, nothing=True)
    return Reach(who.user if who.role == "user" else None)


def admit(request: Request, needed: Access) -> None:
    """Let the asker at a route, or not. Reads the store; blocks.

    What the path names is kept in the request's state, for `TheBooking` and `TheShare`.

    Raises:
        Problem: 403, or 404 for what the asker may not see.
    """
    if needed.role == "open":
        return
    role: Role = principal(request).role
    if RANK[role] < RANK[needed.role]:
        raise Problem(403, f"this needs the role {needed.role}")
    check = _CHECKS.get(needed.owner)
    if check is not None:
        check(request)


async def the_booking(
    request: Request,
    booking_id: Annotated[str, Path(pattern=ID_PATTERN, description="the booking's id")],  # noqa: ARG001
) -> BookingRow:
    """The booking the path names; the gate has looked whose it is."""
    return cast("BookingRow", request.state.booking)


async def the_share(
    request: Request,
    share_id: Annotated[str, Path(pattern=ID_PATTERN, description="the share's id")],  # noqa: ARG001
) -> ShareRow:
    """The share the path names; the gate has looked whose it is."""
    return cast("ShareRow", request.state.share)


TheBooking = Annotated[BookingRow, Depends(the_booking)]
TheShare = Annotated[ShareRow, Depends(the_share)]


def _club(request: Request) -> None:
    if not of_this_club(principal(request), context(request).settings):
        raise Problem(403, "this belongs to another organisation")


def _booking(request: Request) -> None:
    booking_id = request.path_params["booking_id"]
    row = _visible(request, booking_id)
    if row is None:
        raise Problem(404, f"there is no booking {booking_id}")
    request.state.booking = row


def _share(request: Request) -> None:
    share_id = request.path_params["share_id"]
    share = context(request).store.share(share_id)
    if share is None or _visible(request, share.booking_id) is None:
        raise Problem(404, f"there is no share {share_id}")
    request.state.share = share


def _visible(request: Request, booking_id: str) -> BookingRow | None:
    sees = reach(request)
    row = None if sees.nothing else context(request).store.booking(booking_id)
    return row if row is not None and sees.owner in (None, row.stored.owner) else None


def _device(request: Request) -> None:
    settings, device_id = context(request).settings, request.path_params["device_id"]
    if device_id != settings.device.id or not of_this_club(principal(request), settings):
        raise Problem(404, f"nothing is known of a device {device_id}")


def _person(request: Request) -> None:
    who, named = principal(request), request.path_params["user"]
    # A project has the people of several clubs, and a person belongs to none: nobody acts for another there.
    of_several = context(request).settings.bookings.kind == "supabase"
    if who.user != named and (who.role == "user" or of_several):
        raise Problem(404, f"nothing is known of {named}")
    _club(request)


_CHECKS: Mapping[Owner, Callable[[Request], None]] = {
    "club": _club,
    "booking": _booking,
    "share": _share,
    "device": _device,
    "person": _person,
}
