"""One's own account over HTTP, and the audit for admins."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import JsonValue

from cloud_bridge.api.access import access
from cloud_bridge.api.context import context
from cloud_bridge.api.deeds import note
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.models import Limit, Out, Page
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.visits import asking
from schemas.base import ID_PATTERN

router = APIRouter(route_class=GuardedRoute)


class AccountOut(Out):
    """Who asks. ``csrf`` (of a session): what unsafe requests send as ``X-CSRF-Token``."""

    user: str
    role: str
    org: str
    client: str
    csrf: str | None


class SessionOut(Out):
    """Where somebody is logged in; ``here``: this is where the question comes from."""

    session_id: str
    client: str
    created_at: str
    seen_at: str
    expires_at: str
    here: bool


class DeedOut(Out):
    """Something somebody did; ``actor`` is ``share`` for whoever opened a link."""

    seq: int
    at: str
    actor: str
    role: str
    client: str
    action: str
    subject: str
    detail: dict[str, JsonValue]


@router.get("/account", tags=["account"], openapi_extra=access("user", "self"))
def read_account(request: Request) -> AccountOut:
    """Who you are here."""
    ctx, asker = context(request), asking(request)
    who = asker.principal
    org = who.org or ctx.settings.device.org
    return AccountOut(user=who.user, role=who.role, org=org, client=asker.client, csrf=asker.csrf)


@router.get("/account/sessions", tags=["account"], openapi_extra=access("user", "self"))
def list_sessions(request: Request) -> Page[SessionOut]:
    """Where you are logged in, last used first."""
    ctx, asker = context(request), asking(request)
    if ctx.people is None:
        return Page(items=())
    rows = ctx.people.sessions(asker.principal.user, ctx.settings.api.session_idle_h * 3600.0)
    here = asker.session.session_id if asker.session else None
    return Page(
        items=tuple(
            SessionOut(
                session_id=row.session_id,
                client=row.client,
                created_at=row.created_at,
                seen_at=row.seen_at,
                expires_at=row.expires_at,
                here=row.session_id == here,
            )
            for row in rows
        )
    )


@router.delete(
    "/account/sessions/{session_id}",
    status_code=204,
    tags=["account"],
    openapi_extra=access("user", "self"),
)
def end_session(request: Request, session_id: Annotated[str, Path(pattern=ID_PATTERN)]) -> None:
    """Log out there."""
    ctx, user = context(request), asking(request).principal.user
    if ctx.people is None or not ctx.people.end_session(user, session_id):
        raise Problem(404, f"there is no session {session_id}")
    note(request, "session.end", user)


@router.get("/audit", tags=["audit"], openapi_extra=access("admin", "club"))
def read_audit(
    request: Request,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the page before")] = None,
    subject: Annotated[str | None, Query(max_length=200, description="of one thing, by its id")] = None,
) -> Page[DeedOut]:
    """Who did what, newest first."""
    audit = context(request).audit
    rows = audit.read(limit, cursor, subject) if audit is not None else ()
    items = tuple(
        DeedOut(
            seq=row.seq,
            at=row.at,
            actor=row.deed.actor,
            role=row.deed.role,
            client=row.deed.client,
            action=row.deed.action,
            subject=row.deed.subject,
            detail=dict(row.deed.detail),
        )
        for row in rows
    )
    return Page(items=items, next=str(items[-1].seq) if items and len(items) == limit else None)
