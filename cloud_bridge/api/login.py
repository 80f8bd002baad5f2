"""Pages for people: logging in and out, and the account with its sessions and password.

No answer says whether there is a user of a name, and each takes as long as the others.
"""

import hashlib
import math
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from cloud_bridge.api.access import access
from cloud_bridge.api.context import Context, context, share_base
from cloud_bridge.api.deeds import note, note_login
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import Form, local, page, see
from cloud_bridge.api.limits import address_key
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.visits import asking, give_cookie, require_same_site, take_cookie
from cloud_bridge.passwords import complaint
from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import Missing
from cloud_bridge.stores.people import PeopleStore, Person

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
ANYBODY = access("open", "nobody")
MINE = access("user", "self", page=True)
SAME_ORIGIN = {"Referrer-Policy": "same-origin"}
"""On pages with a form: without it browsers send ``Origin: null``, which could be anybody's."""


@router.get("/login", openapi_extra=ANYBODY)
def login_page(request: Request) -> Response:
    """The form."""
    return _form(request, next_path=request.query_params.get("next"))


@router.post("/login", openapi_extra=ANYBODY)
def log_in(request: Request, form: Form) -> Response:
    """Name and password, or a first-login code, for a session."""
    require_same_site(request)
    ctx, next_path = context(request), form.get("next")
    if ctx.people is None:
        return _form(request, 404, "Nobody can log in here.", next_path)
    code, user = form.get("code", "").strip(), form.get("user", "").strip().lower()
    wait_s = _throttled(ctx, request, user if not code else None)
    if wait_s:
        wait_min = math.ceil(wait_s / 60)
        text = f"Too many tries. Wait {wait_min} minute{'' if wait_min == 1 else 's'}, then try again."
        answer = _form(request, HTTPStatus.TOO_MANY_REQUESTS, text, next_path)
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
        return answer
    person = ctx.people.redeem_code(code) if code else _by_password(ctx, ctx.people, user, form)
    if person is None:
        known = ctx.people.person(user) is not None
        note_login(request, "login.refused", user if known and not code else "", "")
        text = "This code is not known, or was used before." if code else "Name and password do not fit."
        return _form(request, HTTPStatus.UNAUTHORIZED, text, next_path)
    return _let_in(request, ctx, ctx.people, person, "/account/password" if code else local(next_path))


@router.post("/logout", openapi_extra=MINE)
def log_out(request: Request) -> Response:
    """End this session."""
    people, session = context(request).people, asking(request).session
    if people is not None and session is not None:
        people.end_session(session.user, session.session_id)
        note(request, "logout", session.user)
    answer = see("/login")
    take_cookie(request, answer)
    return answer


@router.get("/account", openapi_extra=MINE)
def account(request: Request) -> Response:
    """Who is logged in, and where."""
    ctx, asker = context(request), asking(request)
    rows = _people(ctx).sessions(asker.principal.user, ctx.settings.api.session_idle_h * 3600.0)
    here = asker.session.session_id if asker.session else None
    sessions = [
        {
            "id": row.session_id,
            "client": row.client or "unknown",
            "seen": f"{moment(row.seen_at).astimezone(ctx.zone):%d %B, %H:%M}",
            "here": row.session_id == here,
        }
        for row in rows
    ]
    return _mine(request, "account.html", who=asker.principal, sessions=sessions)


@router.post("/account/sessions/{session_id}/end", openapi_extra=MINE)
def end_session(request: Request, session_id: str) -> Response:
    """End one of the asker's sessions."""
    user = asking(request).principal.user
    if _people(context(request)).end_session(user, session_id):
        note(request, "session.end", user)
    return see("/account")


@router.get("/account/password", openapi_extra=MINE)
def password_page(request: Request) -> Response:
    """The form for a password."""
    return _mine(request, "password.html", has=_has_password(request), complaint=None)


@router.post("/account/password", openapi_extra=MINE)
def set_password(request: Request, form: Form) -> Response:
    """Set a password, and end all other sessions. Who has one must know it."""
    ctx, asker = context(request), asking(request)
    people, user, has = _people(ctx), asker.principal.user, _has_password(request)
    wait_s = ctx.limits.logins.take(f"password {user}")
    new = form.get("new", "")
    wrong = complaint(new)
    if wait_s:
        wrong = "too many tries: wait a few minutes, then try again"
    elif has and not ctx.passwords.fits(people.password(user), form.get("old", "")):
        wrong = "the old password is another one"
    if wrong is not None:
        status = HTTPStatus.TOO_MANY_REQUESTS if wait_s else HTTPStatus.UNPROCESSABLE_ENTITY
        return _mine(request, "password.html", status, has=has, complaint=wrong)
    people.set_password(user, ctx.passwords.hash(new), asker.session.session_id if asker.session else None)
    note(request, "password.set", user)
    return see("/account")


def _has_password(request: Request) -> bool:
    person = _people(context(request)).person(asking(request).principal.user)
    return person is not None and person.password


def _people(ctx: Context) -> PeopleStore:
    if ctx.people is None:
        raise Problem(404, "nobody logs in here")
    return ctx.people


def _by_password(ctx: Context, people: PeopleStore, user: str, form: Mapping[str, str]) -> Person | None:
    fits = ctx.passwords.fits(people.password(user), form.get("password", ""))
    return people.person(user) if fits else None


def _throttled(ctx: Context, request: Request, user: str | None) -> float:
    address = address_key(request.client.host if request.client else None)
    waits = [ctx.limits.logins.take(f"address {address}")]
    if user is not None:
        waits.append(ctx.limits.logins.take(f"name {hashlib.sha256(user.encode()).hexdigest()}"))
    return max(waits)


def _let_in(request: Request, ctx: Context, people: PeopleStore, person: Person, path: str) -> Response:
    days = ctx.settings.api.session_days
    try:
        _, token = people.open_session(person.user, request.headers.get("user-agent", ""), days * 86_400.0)
    except Missing:  # removed this very moment
        return _form(request, HTTPStatus.UNAUTHORIZED, "Name and password do not fit.", None)
    note_login(request, "login", person.user, person.role)
    answer = see(path)
    give_cookie(request, answer, token, days)
    return answer


def _form(
    request: Request, status: int = 200, complaint: str | None = None, next_path: str | None = None
) -> Response:
    ctx = context(request)
    answer = page(
        "login.html",
        status,
        base=share_base(ctx.settings, request),
        device=ctx.settings.device.id,
        people=ctx.people is not None,
        complaint=complaint,
        next=local(next_path),
    )
    answer.headers.update(SAME_ORIGIN)
    return answer


def _mine(request: Request, name: str, status: int = 200, **values: object) -> Response:
    asker = asking(request)
    answer = page(name, status, csrf=asker.csrf, user=asker.principal.user, **values)
    answer.headers.update(SAME_ORIGIN)
    return answer
