"""Logos and intros of users and of the organisation, over HTTP. Nothing here looks into the files."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from cloud_bridge.api.access import access
from cloud_bridge.api.context import MediaSide, context
from cloud_bridge.api.deeds import note
from cloud_bridge.api.etags import IfMatch, has, must_be
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.media_models import LookIn, MediaListOut, MediaOut
from cloud_bridge.api.problems import Problem, described
from cloud_bridge.api.uploads import FILMS, PICTURES, UNTOLD, take, turned, verdict
from cloud_bridge.media.bounds import Bounds
from cloud_bridge.media.desk import MEDIA_TYPES, At, busy
from cloud_bridge.objects import S3Objects, Wanted
from cloud_bridge.objects.assets import asset_key
from cloud_bridge.stores.media import LOOKS, SLOTS, Look, MediaRow, Slot, Whose
from schemas.base import ID_PATTERN
from schemas.booking import Place

PATIENCE_S = 25.0
"""How long an upload's answer waits for the verdict; after that it is 202, and GET tells."""
_MOST_BYTES = max(Bounds().picture_bytes, Bounds().film_bytes)

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": dict.fromkeys((*PICTURES, *FILMS, UNTOLD), _BINARY)}}
_STALE: dict[int | str, dict[str, Any]] = {412: described("it was changed since it was read")}
_PUT: dict[int | str, dict[str, Any]] = {
    **_STALE,
    202: {"description": "it is still being looked at: GET tells what became of it", "model": MediaOut},
    415: described("a file of a kind that is not taken here"),
    507: described("there is too little room on the server's disk"),
}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "it is still what `If-None-Match` says"}}
_FILE: dict[int | str, dict[str, Any]] = {
    **_SAME,
    200: {"description": "the file", "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY)},
    307: {"description": "it is at this address for 15 minutes"},
}
_OWN, _CLUB_READ, _CLUB = access("user", "person"), access("user", "club"), access("operator", "club")
_OWN_PUT = access("user", "person", max_body_bytes=_MOST_BYTES) | _BODY
_CLUB_PUT = access("operator", "club", max_body_bytes=_MOST_BYTES) | _BODY


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncGenerator[None]:
    yield
    side = cast("MediaSide | None", app.state.context.media)
    if side is not None:
        await anyio.to_thread.run_sync(side.desk.close)


router = APIRouter(route_class=GuardedRoute, tags=["media"], lifespan=_life)


def _of_user(user: Annotated[str, Path(pattern=ID_PATTERN, description="whose")]) -> Whose:
    return Whose("user", user)


def _of_club(
    request: Request, org: Annotated[str, Path(pattern=ID_PATTERN, description="the organisation")]
) -> Whose:
    if org != context(request).settings.device.org:
        raise Problem(404, f"nothing is known of an organisation {org}")
    return Whose("organisation", org)


def _asked_look(
    place: Annotated[Place | None, Query(description="of a logo; as it was by default")] = None,
    size: Annotated[
        float | None, Query(gt=0, le=100, description="width in hundredths of the height")
    ] = None,
    opacity: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> LookIn:
    return LookIn(place=place, size=size, opacity=opacity)


User = Annotated[Whose, Depends(_of_user)]
Club = Annotated[Whose, Depends(_of_club)]
AskedLook = Annotated[LookIn, Depends(_asked_look)]


@router.get("/users/{user}/media", openapi_extra=_OWN)
def list_user_media(request: Request, whose: User) -> MediaListOut:
    """All slots of a user."""
    return _list(request, whose)


@router.get("/users/{user}/media/{slot}", response_model=MediaOut, responses=_SAME, openapi_extra=_OWN)
def read_user_media(request: Request, response: Response, whose: User, slot: Slot) -> MediaOut | Response:
    """What a user has in a slot; 404 when there is nothing, and nothing on its way."""
    return _read(request, response, At(whose, slot))


@router.get("/users/{user}/media/{slot}/file", response_class=Response, responses=_FILE, openapi_extra=_OWN)
def read_user_file(request: Request, whose: User, slot: Slot) -> Response:
    """The logo or intro itself, as it was written here."""
    return _file(request, At(whose, slot))


@router.put("/users/{user}/media/{slot}", responses=_PUT, openapi_extra=_OWN_PUT)
async def put_user_media(
    request: Request, response: Response, whose: User, slot: Slot, look: AskedLook, if_match: IfMatch = None
) -> MediaOut:
    """Send a logo or an intro as it is. It is decoded and written anew; the next film wears it."""
    return await _put(request, response, At(whose, slot), look, if_match)


@router.patch("/users/{user}/media/{slot}", responses=_STALE, openapi_extra=_OWN)
def change_user_look(
    request: Request, response: Response, whose: User, slot: Slot, asked: LookIn, if_match: IfMatch = None
) -> MediaOut:
    """Place, size and opacity of a logo, from the next film on."""
    return _change(request, response, At(whose, slot), asked, if_match)


@router.delete("/users/{user}/media/{slot}", status_code=204, responses=_STALE, openapi_extra=_OWN)
def remove_user_media(request: Request, whose: User, slot: Slot, if_match: IfMatch = None) -> None:
    """Empty a slot; the next film does without."""
    _remove(request, At(whose, slot), if_match)


@router.get("/organisations/{org}/media", openapi_extra=_CLUB_READ)
def list_club_media(request: Request, whose: Club) -> MediaListOut:
    """All slots of the organisation."""
    return _list(request, whose)


@router.get(
    "/organisations/{org}/media/{slot}", response_model=MediaOut, responses=_SAME, openapi_extra=_CLUB_READ
)
def read_club_media(request: Request, response: Response, whose: Club, slot: Slot) -> MediaOut | Response:
    """What films wear whose booking's owner has nothing in this slot."""
    return _read(request, response, At(whose, slot))


@router.get(
    "/organisations/{org}/media/{slot}/file",
    response_class=Response,
    responses=_FILE,
    openapi_extra=_CLUB_READ,
)
def read_club_file(request: Request, whose: Club, slot: Slot) -> Response:
    """The logo or intro itself, as it was written here."""
    return _file(request, At(whose, slot))


@router.put("/organisations/{org}/media/{slot}", responses=_PUT, openapi_extra=_CLUB_PUT)
async def put_club_media(
    request: Request, response: Response, whose: Club, slot: Slot, look: AskedLook, if_match: IfMatch = None
) -> MediaOut:
    """Send a logo or an intro for all films of the organisation."""
    return await _put(request, response, At(whose, slot), look, if_match)


@router.patch("/organisations/{org}/media/{slot}", responses=_STALE, openapi_extra=_CLUB)
def change_club_look(
    request: Request, response: Response, whose: Club, slot: Slot, asked: LookIn, if_match: IfMatch = None
) -> MediaOut:
    """Place, size and opacity of a logo of the organisation."""
    return _change(request, response, At(whose, slot), asked, if_match)


@router.delete("/organisations/{org}/media/{slot}", status_code=204, responses=_STALE, openapi_extra=_CLUB)
def remove_club_media(request: Request, whose: Club, slot: Slot, if_match: IfMatch = None) -> None:
    """Empty a slot of the organisation."""
    _remove(request, At(whose, slot), if_match)


def _side(request: Request) -> MediaSide:
    side = context(request).media
    if side is None:
        raise Problem(404, "logos and intros cannot be uploaded here")
    return side


def _row(request: Request, at: At) -> MediaRow | None:
    return next((row for row in _side(request).store.media(at.whose) if row.slot == at.slot), None)


def _must(request: Request, at: At) -> MediaRow:
    row = _row(request, at)
    if row is None:
        raise Problem(404, f"there is no {at.slot} of {at.whose.id}")
    return row


def _shown(request: Request, at: At, row: MediaRow | None) -> MediaOut:
    desk = _side(request).desk
    return MediaOut.of(at.slot, row, desk.refused(at), looking=desk.looking(at))


def _etag(row: MediaRow | None) -> str:
    """Another one after every change of file or look; ``"0"`` of an empty slot."""
    if row is None:
        return '"0"'
    return f'"{hashlib.sha256(repr((row.file, row.look)).encode()).hexdigest()[:32]}"'


def _list(request: Request, whose: Whose) -> MediaListOut:
    rows = {row.slot: row for row in _side(request).store.media(whose)}
    return MediaListOut(items=tuple(_shown(request, At(whose, slot), rows.get(slot)) for slot in SLOTS))


def _read(request: Request, response: Response, at: At) -> MediaOut | Response:
    row = _row(request, at)
    shown = _shown(request, at, row)
    if row is None and not shown.looking and shown.refused is None:
        _must(request, at)
    tag = _etag(row)
    if has(request, tag) and not shown.looking and shown.refused is None:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return shown


def _file(request: Request, at: At) -> Response:
    ctx, row = context(request), _must(request, at)
    key, media_type = asset_key(ctx.settings.device.org, row.file.sha256), MEDIA_TYPES[row.file.kind]
    headers = {"ETag": f'"{row.file.sha256}"', "Cache-Control": "private, no-cache"}
    if has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    wanted = Wanted(key, media_type, f"{at.slot}.{row.file.kind}")
    if isinstance(ctx.objects, S3Objects):
        return RedirectResponse(ctx.objects.address(wanted), 307, {"Cache-Control": "no-store"})
    path = ctx.objects.file(key)
    if path is None:
        raise Problem(404, f"the file of {at.slot} is no longer in its place")
    return FileResponse(
        path, headers=headers | {"Content-Disposition": wanted.disposition}, media_type=media_type
    )


async def _put(request: Request, response: Response, at: At, asked: LookIn, if_match: str | None) -> MediaOut:
    before = await anyio.to_thread.run_sync(_row, request, at)
    must_be(if_match, _etag(before), at.slot)
    desk = _side(request).desk
    pending = await take(request, desk, at, _look(at, before, asked))
    row = await verdict(pending, PATIENCE_S)
    if row is None:
        response.status_code = 202
        return _shown(request, at, before)
    response.headers["ETag"] = _etag(row)
    await anyio.to_thread.run_sync(_note, request, "media.put", at)
    return _shown(request, at, row)


def _look(at: At, before: MediaRow | None, asked: LookIn) -> Look | None:
    if asked.empty:
        return None
    if at.slot == "intro":
        raise Problem(422, "an intro has no place, size or opacity")
    return asked.over((before.look if before else None) or LOOKS[at.slot])


def _change(request: Request, response: Response, at: At, asked: LookIn, if_match: str | None) -> MediaOut:
    row = _must(request, at)
    must_be(if_match, _etag(row), at.slot)
    look = _look(at, row, asked)
    if look is not None:
        row = _side(request).store.change_look(at.whose, at.slot, look)
        _note(request, "media.look", at)
    response.headers["ETag"] = _etag(row)
    return _shown(request, at, row)


def _remove(request: Request, at: At, if_match: str | None) -> None:
    side, row = _side(request), _row(request, at)
    if side.desk.looking(at):
        raise turned(busy())
    if row is None and side.desk.refused(at) is None:
        _must(request, at)
    must_be(if_match, _etag(row), at.slot)
    side.desk.forget(at)
    if side.store.remove_media(at.whose, at.slot):
        _note(request, "media.remove", at)


def _note(request: Request, action: str, at: At) -> None:
    note(request, action, f"{at.whose.of}/{at.whose.id}/{at.slot}")
