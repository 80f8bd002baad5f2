"""The application: API, pages, and what stands before both."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.types import Lifespan

from cloud_bridge.api import (
    account,
    bookings,
    claim,
    devices,
    events,
    login,
    media,
    metrics,
    operator,
    operator_bookings,
    pages,
    problems,
    recordings,
)
from cloud_bridge.api.access import require_declared
from cloud_bridge.api.context import Beside, Context, MediaSide, zone_of
from cloud_bridge.api.gate import Gate, GuardedRoute
from cloud_bridge.api.limits import limits_of
from cloud_bridge.api.watch import of_topic, watch_rows
from cloud_bridge.media.desk import desk_of
from cloud_bridge.objects import objects_of
from cloud_bridge.passwords import Passwords
from cloud_bridge.stores.base import Store
from edge_agent import VERSION
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import Message
from schemas.topics import Address

_ERRORS = {
    400: "it is no request",
    401: "no key, or one that is not known",
    403: "the key's role does not reach that far",
    404: "there is none, or it is somebody else's",
    409: "it contradicts what is there",
    408: "the body took too long",
    413: "the body is too large",
    422: "the request does not fit",
    429: "too many requests: see `Retry-After`",
    503: "the store does not answer: again in a moment",
}
API = tuple(part.router for part in (account, bookings, recordings, claim, devices, media, events))
PAGES = (pages.router, login.router, claim.pages, metrics.router, operator.router, operator_bookings.router)


def create_app(
    settings: Settings,
    store: Store,
    clock: Clock | None = None,
    beside: Beside | None = None,
) -> FastAPI:
    """The application over stores, which stay their caller's. Makes no request and starts nothing.

    Raises:
        RuntimeError: a route declares no role and owner.
    """
    objects, clock, more = objects_of(settings), clock or SystemClock(), beside or Beside()
    ctx = Context(
        settings,
        store,
        objects,
        clock,
        zone_of(settings),
        limits_of(settings, clock),
        Passwords(),
        more.people,
        more.audit,
        more.live,
        MediaSide(more.uploads, desk_of(settings, more.uploads)) if more.uploads is not None else None,
        more.claims,
        more.tokens,
    )
    app = FastAPI(
        title="EZREC",
        version=VERSION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(ctx),
    )
    app.state.context = ctx
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(HTTPBearer(auto_error=False))])
    for router in API:
        require_declared(router.routes, GuardedRoute)
        api.include_router(router, responses=_responses())
    app.include_router(api)
    for router in PAGES:
        require_declared(router.routes, GuardedRoute)
        app.include_router(router)
    app.add_middleware(Gate, context=ctx)
    problems.install(app)
    return app


def _responses() -> dict[int | str, dict[str, Any]]:
    return {status: problems.described(text) for status, text in _ERRORS.items()}


def _lifespan(ctx: Context) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncGenerator[None]:
        loop, device = asyncio.get_running_loop(), ctx.settings.device.id

        def told(address: Address[Any], message: Message | None) -> None:
            change = of_topic(device, address, message)
            if change is not None and not loop.is_closed():
                loop.call_soon_threadsafe(ctx.feed.tell, change)

        # The first link after the whistle must not wait for a library to load.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, ctx.objects.warm)
            tasks.start_soon(watch_rows, ctx)
            if ctx.live is not None:
                ctx.live.start(told)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                if ctx.live is not None:
                    ctx.live.stop()

    return life
