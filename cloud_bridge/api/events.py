"""Server-sent events: what changes, as it changes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from cloud_bridge.api.access import access, reach
from cloud_bridge.api.context import context, principal
from cloud_bridge.api.feed import END, Listener, TooMany
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.problems import Problem

router = APIRouter(route_class=GuardedRoute, tags=["events"])
HEARTBEAT_S = 15.0
LONGEST_S = 600.0
"""A stream ends then, and the client comes again: whoever was logged out meanwhile stays outside."""


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"description": "a stream", "content": {"text/event-stream": {}}}},
    openapi_extra=access("user", "rows"),
)
async def events(request: Request) -> StreamingResponse:
    """``booking`` and ``recording`` with the row, for operators also ``camera``, ``alarm``, ``device``.

    ``ready``: everything is heard from here on, read what there is now. ``resync``: too much happened at
    once, read everything anew. Comments keep the line open. A stream ends
    after ten minutes; browsers come again by themselves.
    """
    ctx, sees = context(request), reach(request)
    stack = ExitStack()
    try:
        listener = stack.enter_context(
            ctx.feed.listen(principal(request).user, sees.owner, nothing=sees.nothing)
        )
    except TooMany:
        raise Problem(429, "too many listen already", {"Retry-After": "60"}) from None
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(stack, listener), media_type="text/event-stream", headers=headers)


async def _stream(stack: ExitStack, listener: Listener) -> AsyncGenerator[str]:
    loop = asyncio.get_running_loop()
    end, number = loop.time() + LONGEST_S, 0
    with stack:
        yield "retry: 3000\n: here\n\n"
        while (left_s := end - loop.time()) > 0:
            try:
                change = await asyncio.wait_for(listener.queue.get(), min(HEARTBEAT_S, left_s))
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if change is END:
                return
            number += 1
            yield change.text(number)
