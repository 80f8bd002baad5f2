"""The pages behind a share link.

A film that is not complete yet is 409 at its address: never a part of it. Nobody's address is kept or logged.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse

from cloud_bridge.api.access import access
from cloud_bridge.api.claim import barred
from cloud_bridge.api.context import Context, context, share_base
from cloud_bridge.api.deeds import note
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import NO_STORE, page
from cloud_bridge.api.problems import problem
from cloud_bridge.api.story import Facts, facts, tell
from cloud_bridge.objects import S3Objects, Wanted
from cloud_bridge.resolve import moment
from cloud_bridge.shares import film_ends, only_here
from cloud_bridge.stores.base import RecordingRow, ShareRow, StoreError
from schemas.recording import UploadedObject

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
ANYBODY = access("open", "nobody")
STATIC = Path(__file__).parent / "static"
TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
CRAWLERS = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|preview|facebookexternalhit|whatsapp|telegram|skype|embedly|linkexpander"
    r"|\bgoogle-|mediapartners",
    re.IGNORECASE,
)
"""What programs call themselves that open a link because somebody was sent it."""
PRIVATE = {"Cache-Control": "private, no-cache"}


@dataclass(frozen=True)
class Opened:
    """A link that leads somewhere."""

    share: ShareRow
    known: Facts


@router.get("/healthz", openapi_extra=ANYBODY)
def healthz(request: Request) -> Response:
    """200 while the store can be read."""
    try:
        context(request).store.automatic()
    except StoreError as error:
        return problem(503, error.text)
    return PlainTextResponse("ok\n", headers=NO_STORE)


@router.api_route("/s/static/{name}", methods=["GET", "HEAD"], openapi_extra=ANYBODY)
def static(name: str) -> Response:
    """Our own style sheets and scripts."""
    if name not in ("ezrec.css", "player.js", "operator.css", "operator.js"):
        return problem(404, "there is no such file")
    return FileResponse(STATIC / name, headers={"Cache-Control": "public, max-age=300"})


@router.api_route("/s/{token}", methods=["GET", "HEAD"], openapi_extra=ANYBODY)
def share_page(request: Request, token: str) -> Response:
    """The player's page; for a player that asks for bytes, the film itself."""
    if "range" in request.headers and "text/html" not in request.headers.get("accept", ""):
        return video(request, token)
    ctx, opened = context(request), _open(request, token)
    if isinstance(opened, int):
        return _closed(opened)
    share, known = opened.share, opened.known
    story = tell(known, ctx.now(), ctx.zone)
    expires = moment(share.expires_at).astimezone(ctx.zone)
    return page(
        "share.html",
        story=story,
        here=f"/s/{token}",
        poster=known.upload is not None and known.upload.verified("poster") is not None,
        film_mb=round(known.film.bytes / 1e6) if known.film else 0,
        expires=f"{expires:%A} {expires.day} {expires:%B}",
        only_here=only_here(share_base(ctx.settings, request)),
    )


@router.api_route("/s/{token}/video", methods=["GET", "HEAD"], openapi_extra=ANYBODY)
def video(request: Request, token: str) -> Response:
    """The film: an address for 15 minutes (307), or its bytes; 409 until it is complete."""
    return _send(request, token, "film")


@router.api_route("/s/{token}/download", methods=["GET", "HEAD"], openapi_extra=ANYBODY)
def download(request: Request, token: str) -> Response:
    """The film, to keep."""
    return _send(request, token, "film", attachment=True)


@router.api_route("/s/{token}/poster", methods=["GET", "HEAD"], openapi_extra=ANYBODY)
def poster(request: Request, token: str) -> Response:
    """A still picture of the film."""
    return _send(request, token, "poster")


def _open(request: Request, token: str) -> Opened | int:
    """What a token opens, or the status that says why it does not."""
    ctx = context(request)
    share = ctx.store.share_of(token) if TOKEN.fullmatch(token) else None
    booking = ctx.store.booking(share.booking_id) if share else None
    if share is None or booking is None:
        return 404
    known = facts(RecordingRow(booking, ctx.store.results(booking.id)))
    now, film = ctx.now(), known.film
    if share.revoked_at is not None or moment(share.expires_at) <= now:
        return 410
    if film is not None and film.verified_at is not None and film_ends(film.verified_at, ctx.settings) <= now:
        return 410
    return barred(request, share, booking.stored.audience) or Opened(share, known)


def _closed(status: int) -> Response:
    if status == 410:
        text = "This link has ended. Ask whoever sent it to you, or your club, for another one."
        return page("message.html", 410, title="This link has ended", text=text)
    if status == 401:
        text = "This film opens with a code, which is told at the court."
        ways = {"go": "/claim", "go_text": "Enter the code"}
        return page("message.html", 401, title="A code is needed", text=text, **ways)
    if status == 403:
        text = "This film is for members. Log in, then open the link again."
        return page("message.html", 403, title="For members", text=text, go="/login", go_text="Log in")
    text = "There is nothing behind this link. Was all of it copied?"
    return page("message.html", 404, title="Nothing here", text=text)


def _send(
    request: Request, token: str, name: Literal["film", "poster"], *, attachment: bool = False
) -> Response:
    opened = _open(request, token)
    if isinstance(opened, int):
        return _closed(opened)
    film, upload = opened.known.film, opened.known.upload
    found = upload.verified(name) if upload is not None and film is not None else None
    if found is None:
        return problem(409, "the film is not complete yet", {"Retry-After": "2"} | NO_STORE)
    ctx = context(request)
    wait_s = ctx.limits.links.take(opened.share.share_id) if request.method == "GET" else 0
    if wait_s:
        wait = {"Retry-After": str(math.ceil(wait_s))}
        return problem(429, "this link was opened too often today", wait | NO_STORE)
    _count(request, ctx, opened.share, name, attachment=attachment)
    return _object(ctx, _wanted(ctx, opened.known, found, request.method, attachment=attachment))


def _count(request: Request, ctx: Context, share: ShareRow, name: str, *, attachment: bool) -> None:
    """Count a first request.

    Not the pieces after it, nor an address that the page renews (``?again``), nor programs that look ahead.
    """
    first = (
        request.headers.get("range", "bytes=0-").startswith("bytes=0-")
        and "again" not in request.query_params
        and not _looks_ahead(request)
    )
    if name == "film" and request.method == "GET" and first:
        ctx.store.count(share.share_id, "downloads" if attachment else "views")
        if attachment:
            note(request, "film.download", share.booking_id, share=share.share_id)


def _looks_ahead(request: Request) -> bool:
    """Whether a program fetches it for somebody who has not asked yet: a crawler, a preview, a prefetch."""
    purpose = " ".join(request.headers.get(name, "") for name in ("purpose", "sec-purpose", "x-moz"))
    return "prefetch" in purpose or CRAWLERS.search(request.headers.get("user-agent", "")) is not None


def _wanted(ctx: Context, known: Facts, found: UploadedObject, method: str, *, attachment: bool) -> Wanted:
    begin = known.start.astimezone(ctx.zone)
    ending, media_type = ("jpg", "image/jpeg") if found.name == "poster" else ("mp4", "video/mp4")
    name = f"{ctx.settings.device.id}-{begin:%Y-%m-%d-%H%M}.{ending}"
    return Wanted(found.key, media_type, name, attachment, "HEAD" if method == "HEAD" else "GET")


def _object(ctx: Context, wanted: Wanted) -> Response:
    if isinstance(ctx.objects, S3Objects):
        return RedirectResponse(ctx.objects.address(wanted), 307, NO_STORE)
    path = ctx.objects.file(wanted.key)
    if path is None:
        return problem(404, "the film is no longer in its place")
    headers = {"Content-Disposition": wanted.disposition, **PRIVATE}
    return FileResponse(path, headers=headers, media_type=wanted.media_type)
