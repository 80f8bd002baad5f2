"""Who asks: a key, or a session's cookie and its CSRF token."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from cloud_bridge.api.context import Context
from cloud_bridge.api.html import FORM, read_form
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.tokens import is_jwt
from cloud_bridge.stores.base import Principal
from cloud_bridge.stores.people import Session

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Asking:
    """Who asks, and how they came in; ``csrf`` and ``session`` are a browser's."""

    principal: Principal
    session: Session | None = None
    csrf: str | None = None

    @property
    def client(self) -> Literal["browser", "program"]:
        """Which kind of client it is."""
        return "program" if self.session is None else "browser"


def asking(request: Request) -> Asking:
    """Who asks; the gate let nobody through without."""
    return cast("Asking", request.state.asking)


def who_asks(headers: Headers, scheme: str, ctx: Context) -> Asking | None:
    """Who a key or a cookie stands for; None for a stranger. A key goes before a cookie. Blocks.

    Raises:
        StoreError: it cannot be looked up.
    """
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind:
        found = _bearer(key.strip(), ctx) if kind.lower() == "bearer" and key.strip() else None
        return Asking(found) if found else None
    people = ctx.people
    token = cookie_parser(headers.get("cookie", "")).get(cookie_name(scheme))
    visit = people.visit(token, ctx.settings.api.session_idle_h * 3600.0) if people and token else None
    if visit is None or token is None:
        return None
    return Asking(visit.principal, visit.session, csrf_token(token))


def _bearer(key: str, ctx: Context) -> Principal | None:
    if ctx.tokens is not None and is_jwt(key):
        return ctx.tokens.principal(key)
    return ctx.store.principal(key)


def cookie_name(scheme: str) -> str:
    """A browser keeps a cookie of that name from being set by anybody else, where there is TLS."""
    return "__Host-ezrec" if scheme == "https" else "ezrec"


def csrf_token(session_token: str) -> str:
    """What a page of a session shows and sends back; nobody else can make it."""
    return hashlib.sha256(f"csrf {session_token}".encode()).hexdigest()


async def require_csrf(request: Request, asker: Asking) -> None:
    """Refuse an unsafe request of a session that no page of ours has made. Keys need none.

    Raises:
        Problem: 403.
    """
    if asker.csrf is None or request.method in SAFE:
        return
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.headers.get("content-type", "").startswith(FORM):
        sent = (await read_form(request)).get(CSRF_FIELD)
    if sent is None or not hmac.compare_digest(sent.encode(), asker.csrf.encode()):
        raise Problem(403, f"this needs the session's CSRF token: header {CSRF_HEADER}")


def require_same_site(request: Request) -> None:
    """Refuse a form that another site sends, where there is no session yet.

    Raises:
        Problem: 403.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        same = origin is None or urlsplit(origin).netloc == request.url.netloc
    if not same:
        raise Problem(403, "this form comes from another site")


def give_cookie(request: Request, response: Response, token: str, days: int) -> None:
    """Let a browser in."""
    scheme = request.url.scheme
    response.set_cookie(
        cookie_name(scheme),
        token,
        max_age=days * 86_400,
        path="/",
        secure=scheme == "https",
        httponly=True,
        samesite="lax",
    )


def take_cookie(request: Request, response: Response) -> None:
    """Let a browser forget."""
    scheme = request.url.scheme
    response.delete_cookie(
        cookie_name(scheme), path="/", secure=scheme == "https", httponly=True, samesite="lax"
    )
