"""Errors as RFC 9457 problems, for programs."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cloud_bridge.passwords import Busy
from cloud_bridge.stores.base import Missing, Stale, StoreError

MEDIA_TYPE = "application/problem+json"
_STATUS = {"transient": 503, "full": 507, "input": 409, "gone": 404}

_BROKEN = "something went wrong here; it has been written to the log"
_TROUBLE = {503: "the store does not answer: try again in a moment", 507: "the store's disk is full"}
_ROUTED = {404: "there is nothing at this address", 405: "this address does not take that method"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}

log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is an error: HTTP status, one clear line, more headers and members."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> Response:
    """The response of a problem."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Response(json.dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def described(text: str) -> dict[str, Any]:
    """A problem, as the OpenAPI document shows it."""
    return {"description": text, "content": {MEDIA_TYPE: {"schema": SCHEMA}}}


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(Exception, _bug)


def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - installed for nothing else
    return problem(error.status, error.detail, error.headers, **error.more)


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    said = str(error.detail)
    plain = said == HTTPStatus(error.status_code).phrase
    return problem(error.status_code, _ROUTED.get(error.status_code, said) if plain else said, error.headers)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    found = [
        {"where": ".".join(str(part) for part in item["loc"]), "what": str(item["msg"])}
        for item in error.errors()[:20]
    ]
    first = f"{found[0]['where']}: {found[0]['what']}" if found else "the request does not fit"
    return problem(422, first, errors=found)


def _store(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)  # noqa: S101 - as above
    return store_problem(error)


def store_problem(error: StoreError) -> Response:
    """What people are told of a store's error; what is inside goes to the log."""
    status = 404 if isinstance(error, Missing) else 412 if isinstance(error, Stale) else 0
    status = status or _STATUS.get(error.kind, 500)
    text = error.text
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("store: %s", text)
        text = _TROUBLE.get(status, _BROKEN)
    more = {"other": other} if (other := getattr(error, "other", None)) else {}
    return problem(status, text, {"Retry-After": "2"} if status == 503 else None, **more)


def _busy(_request: Request, _error: Exception) -> Response:
    return problem(503, "too many are logging in just now: try again in a moment", {"Retry-After": "2"})


def _bug(_request: Request, _error: Exception) -> Response:
    # Starlette logs the error itself after this answer.
    return problem(500, _BROKEN)
