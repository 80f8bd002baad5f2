"""Bodies of requests: bounded in bytes and in time while they come in."""

import anyio
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

MAX_BODY_BYTES = 64 * 1024
"""Of a body, unless the route's declaration says otherwise."""
MAX_BODY_S = 60.0
"""How long a body of usual size may take; a larger one gets more in proportion."""
_LIMIT = "max_body_bytes"


def allow(scope: Scope, limit_bytes: int) -> None:
    """Bound the body of one request, before it is read."""
    scope.setdefault("state", {})[_LIMIT] = limit_bytes


def bounded(scope: Scope, receive: Receive) -> Receive:
    """``receive`` that ends a body which is too large (413) or too slow (408).

    Raises (the result, on being awaited):
        HTTPException: 408 or 413.
    """
    got, ended, deadline = 0, False, None

    async def receive_bounded() -> Message:
        nonlocal got, ended, deadline
        if ended:
            return await receive()
        limit = int(scope.get("state", {}).get(_LIMIT, MAX_BODY_BYTES))
        if deadline is None:
            deadline = anyio.current_time() + MAX_BODY_S * max(1.0, limit / 2**20)
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body took too long") from None
        got += len(message.get("body", b""))
        if got > limit:
            raise HTTPException(413, f"at most {limit} bytes are taken")
        ended = not message.get("more_body", False)
        return message

    return receive_bounded


def refuse_declared(content_length: str, limit_bytes: int) -> None:
    """Refuse a body by its declared length, before any of it is read.

    Raises:
        HTTPException: 413; 400, it is no length.
    """
    if not (content_length.isascii() and content_length.isdigit()):
        raise HTTPException(400, "Content-Length: expected a number of bytes")
    if int(content_length) > limit_bytes:
        raise HTTPException(413, f"at most {limit_bytes} bytes are taken")
