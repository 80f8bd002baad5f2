"""ETags: a row's change number, so that nobody overwrites what they have not seen."""

import re
from typing import Annotated

from fastapi import Header, Request, Response

from cloud_bridge.api.problems import Problem
from cloud_bridge.stores.base import BookingRow

IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=1000, description="the `ETag` that was read; else 412")
]
_TAG = re.compile(r'(W/)?"([^"]*)"')


def etag(row: BookingRow) -> str:
    """A booking's ETag; another after every change."""
    return f'"{row.stored.changed}"'


def tag(response: Response, row: BookingRow) -> None:
    """Say which version an answer shows."""
    response.headers["ETag"] = etag(row)


def has(request: Request, tag: str) -> bool:
    """Whether the asker has the version of this ETag already (``If-None-Match``)."""
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or tag.strip('"') in {found[2] for found in _TAG.finditer(asked)}


def unchanged(request: Request, row: BookingRow) -> bool:
    """Whether the asker has this version already (``If-None-Match``)."""
    return has(request, etag(row))


def must_be(if_match: str | None, tag: str, what: str) -> None:
    """Refuse a change of what is not the version of this ETag (any more).

    Raises:
        Problem: 412, it is another one already; 422, that is no ETag.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags = list(_TAG.finditer(if_match))
    if not tags:
        raise Problem(422, 'If-Match: expected an ETag such as "12"')
    if tag.strip('"') not in {found[2] for found in tags if not found[1]}:
        raise Problem(412, f"{what} has been changed meanwhile: read it again")


def seen(if_match: str | None, row: BookingRow) -> int | None:
    """The change number that must still be the row's when it is changed; None: whatever it is.

    Raises:
        Problem: 412, it is another one already; 422, that is no ETag.
    """
    must_be(if_match, etag(row), row.id)
    return None if if_match is None or if_match.strip() == "*" else row.stored.changed
