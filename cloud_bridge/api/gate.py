"""Who may come in: keys for programs, checked before anything of the request is looked at."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio.to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_bridge.api.access import admit, declared
from cloud_bridge.api.body import allow, bounded, refuse_declared
from cloud_bridge.api.problems import problem
from cloud_bridge.stores.base import Store, StoreError

PREFIX = "/api/v1/"
OPEN = frozenset({"/api/v1/openapi.json"})


class Gate:
    """Middleware: under ``/api/v1`` a valid key or 401; safe headers on all answers."""

    def __init__(self, app: ASGIApp, store: Store, origins: tuple[str, ...]) -> None:
        self._app = app
        self._store = store
        media = " ".join(("'self'", *origins))
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
                given = {name for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in self._headers.items() if k.encode() not in given]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self._app)(scope, bounded(scope, receive), send_safely)

    async def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path.startswith(PREFIX) and path not in OPEN:
            return await self._stranger(scope, Headers(scope=scope))
        return None

    async def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        challenge = {"WWW-Authenticate": 'Bearer realm="ezrec"'}
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return problem(401, "an API key is needed: Authorization: Bearer KEY", challenge)
        try:
            found = await anyio.to_thread.run_sync(self._store.principal, token.strip())
        except StoreError as error:
            return problem(503, error.text, {"Retry-After": "2"})
        if found is None:
            return problem(401, "this API key is not known here", challenge)
        scope.setdefault("state", {})["principal"] = found
        return None


class GuardedRoute(APIRoute):
    """A route that asks its declaration (`access`) before it reads the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needed = declared(self)
        if needed is None:
            raise RuntimeError(f"route {self.path} declares no role and owner: openapi_extra=access(..)")

        async def guarded(request: Request) -> Response:
            if needed.role != "open":
                await anyio.to_thread.run_sync(admit, request, needed)
            refuse_declared(request.headers.get("content-length", "0"), needed.max_body_bytes)
            allow(request.scope, needed.max_body_bytes)
            return await handle(request)

        return guarded
