"""Problems for people: what a browser shows instead of a program's answer."""

import json
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

from cloud_bridge.api.html import page
from cloud_bridge.api.problems import MEDIA_TYPE

_TITLES = {
    403: "This is not allowed",
    404: "Nothing here",
    409: "Not yet",
    429: "Too many requests",
    500: "Something went wrong",
    503: "One moment",
}


def for_people(scope: Scope, send: Send, api: str) -> Send:
    """``send`` that turns problems into pages, where a browser asks for a page."""
    wants = "text/html" in Headers(scope=scope).get("accept", "")
    if not wants or scope["path"].startswith(api):
        return send
    held: Message | None = None

    async def send_page(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and _is_problem(message):
            held = message
            return
        if held is not None and message["type"] == "http.response.body":
            start, body = _page(held, message)
            held = None
            await send(start)
            await send(body)
            return
        await send(message)

    return send_page


def _is_problem(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type") == MEDIA_TYPE


def _page(start: Message, body: Message) -> tuple[Message, Message]:
    status: int = start["status"]
    found: dict[str, Any] = json.loads(body["body"])
    detail = str(found["detail"])
    text = f"{detail[:1].upper()}{detail[1:].rstrip('.')}."
    shown = page("message.html", status, title=_TITLES.get(status, found["title"]), text=text)
    headers = MutableHeaders(raw=[*start["headers"]])
    headers.update(shown.headers)
    return {**start, "headers": headers.raw}, {**body, "body": shown.body}
