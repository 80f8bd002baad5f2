"""Who may come in: keys of programs and sessions of people, asked before anything of the request is read."""

import math
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_bridge.api.access import admit, declared
from cloud_bridge.api.body import allow, bounded, refuse_declared
from cloud_bridge.api.context import Context
from cloud_bridge.api.html import see
from cloud_bridge.api.limits import address_key, is_this_machine
from cloud_bridge.api.problems import problem, store_problem
from cloud_bridge.api.told import for_people
from cloud_bridge.api.visits import SAFE, asking, require_csrf, who_asks
from cloud_bridge.stores.base import StoreError

API = "/api/v1"
OPEN = ("/s/", "/claim", "/login", "/healthz", "/api/v1/openapi.json")
"""What is open to anybody: beginnings of paths. Nobody is asked there who they are."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ezrec"'}


class Gate:
    """Middleware: who asks, or 401 under ``/api/v1``; not too often; safe headers on all answers."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        media = " ".join(("'self'", *context.objects.origins))
        self._headers = {
            "content-security-policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                f"img-src {media} data:; media-src {media}; form-action 'self'; base-uri 'none'; "
                "frame-ancestors 'none'"
            ),
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-robots-tag": "noindex, nofollow",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._context.answered[message["status"]] += 1
                given = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in self._headers.items() if k.encode() not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        refusal = await self._refusal(scope)
        shown = for_people(scope, send_safely, API)
        await (refusal or self._app)(scope, bounded(scope, receive), shown)

    async def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        host = scope["client"][0] if scope.get("client") else None
        limits = self._context.limits
        if path.startswith(OPEN):
            # A proxy that is not named in the settings may stand on this machine: then it is everybody.
            ours = is_this_machine(host) and "x-forwarded-for" not in Headers(scope=scope)
            return None if ours else _too_often(limits.strangers.take(address_key(host)))
        try:
            known = await self._known(scope)
        except StoreError as error:
            return store_problem(error)
        if not known:
            return problem(401, _how_to_come_in(scope), CHALLENGE) if path.startswith(API) else None
        user = scope["state"]["asking"].principal.user
        return _too_often(limits.principals.take(user))

    async def _known(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        if "authorization" not in headers and "cookie" not in headers:
            return False
        found = await anyio.to_thread.run_sync(who_asks, headers, scope["scheme"], self._context)
        if found is not None:
            scope.setdefault("state", {}).update(asking=found, principal=found.principal)
        return found is not None


def _how_to_come_in(scope: Scope) -> str:
    if "authorization" in Headers(scope=scope):
        return "this API key is not known here"
    return "an API key is needed: Authorization: Bearer KEY"


def _too_often(wait_s: float) -> Response | None:
    if not wait_s:
        return None
    wait = str(math.ceil(wait_s))
    return problem(429, f"too many requests: again in {wait} s", {"Retry-After": wait})


class GuardedRoute(APIRoute):
    """A route that asks its declaration (`access`) before it reads the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needed = declared(self)
        if needed is None:
            raise RuntimeError(f"route {self.path} declares no role and owner: openapi_extra=access(..)")

        async def guarded(request: Request) -> Response:
            if needed.role != "open" and not hasattr(request.state, "asking"):
                return _to_login(request) if needed.page else problem(401, "log in, or send a key", CHALLENGE)
            refuse_declared(request.headers.get("content-length", "0"), needed.max_body_bytes)
            allow(request.scope, needed.max_body_bytes)
            if needed.role != "open":
                await require_csrf(request, asking(request))
                await anyio.to_thread.run_sync(admit, request, needed)
            return await handle(request)

        return guarded


def _to_login(request: Request) -> Response:
    if request.method not in SAFE or request.url.path == "/":
        return see("/login")
    return see(f"/login?next={quote(request.url.path)}")
