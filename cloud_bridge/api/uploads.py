"""An upload on its way through a request: into the quarantine, to the worker, and its verdict."""

import asyncio
import errno
import logging
from collections.abc import Mapping
from concurrent.futures import Future

import anyio
import anyio.to_thread
from fastapi import Request

from cloud_bridge.api.problems import Problem
from cloud_bridge.media.bounds import Refused
from cloud_bridge.media.desk import At, Desk, Reason, Turned, Upload, too_large, wanted_in
from cloud_bridge.media.sandbox import WorkerBroke
from cloud_bridge.objects.client import BucketError
from cloud_bridge.stores.media import Look, MediaRow, Slot

SEND_S = 600.0
"""How long a file may take to come in."""
PICTURES = ("image/png", "image/jpeg", "image/webp")
FILMS = ("video/mp4", "video/quicktime", "video/webm")
UNTOLD = "application/octet-stream"

_AGAIN = {"Retry-After": "10"}
_STATUS: Mapping[Reason, int] = {"busy": 409, "many": 429, "full": 507, "large": 413}
_NO_ROOM = "There is no room left on this server's disk."

log = logging.getLogger(__name__)


def turned(error: Turned) -> Problem:
    """What somebody is told whose upload is not taken now."""
    headers = _AGAIN if error.reason in ("busy", "many") else None
    return Problem(_STATUS[error.reason], error.why, headers)


async def take(request: Request, desk: Desk, at: At, look: Look | None) -> "Future[MediaRow]":
    """Take a request's body as an upload and hand it on; no more is held in memory than a piece of it.

    Raises:
        Problem: 408, 409, 413, 415, 429 or 507, in one sentence.
    """
    _check_headers(request, desk, at.slot)
    try:
        upload = await anyio.to_thread.run_sync(desk.open, at)
    except Turned as error:
        raise turned(error) from None
    except OSError as error:
        raise _disk(error) from error
    try:
        await _receive(request, upload)
        return await anyio.to_thread.run_sync(desk.look, upload, look)
    except BaseException:
        # Also when whoever sends hangs up in the middle.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(desk.discard, upload)
        raise


def _check_headers(request: Request, desk: Desk, slot: Slot) -> None:
    wanted = wanted_in(slot)
    kind = request.headers.get("content-type", UNTOLD).partition(";")[0].strip().lower()
    if kind not in (*(PICTURES if wanted == "picture" else FILMS), UNTOLD):
        what = "a PNG, JPEG or WebP picture" if wanted == "picture" else "an MP4, MOV or WebM film"
        raise Problem(415, f"This slot takes {what}; the request says it sends {kind[:60] or 'nothing'}.")
    limit = desk.bounds.upload_bytes(wanted)
    if int(request.headers.get("content-length", "0")) > limit:
        raise turned(too_large(limit))


async def _receive(request: Request, upload: Upload) -> None:
    try:
        with anyio.fail_after(SEND_S):
            async for piece in request.stream():
                await anyio.to_thread.run_sync(upload.write, piece)
    except TimeoutError:
        raise Problem(408, "The file took too long to come in.") from None
    except Turned as error:
        raise turned(error) from None
    except OSError as error:
        raise _disk(error) from error


async def verdict(pending: "Future[MediaRow]", patience_s: float) -> MediaRow | None:
    """What became of an upload; None when that is not known in time (the worker goes on).

    Raises:
        Problem: 415 or 422, in one sentence for whoever sent it; 503, it is nobody's fault.
        StoreError: the row could not be written.
    """
    future = asyncio.wrap_future(pending)
    # What comes later is told by GET, and is in the log.
    future.add_done_callback(_heard)
    done, _ = await asyncio.wait({future}, timeout=patience_s)
    if not done:
        return None
    try:
        return future.result()
    except Refused as refusal:
        raise Problem(415 if refusal.code == "type" else 422, refusal.why) from None
    except (WorkerBroke, BucketError, OSError, asyncio.CancelledError) as error:
        raise Problem(
            503, "This file could not be brought through: send it again in a moment.", _AGAIN
        ) from error


def _heard(future: "asyncio.Future[MediaRow]") -> None:
    if (
        not future.cancelled()
        and (error := future.exception()) is not None
        and not isinstance(error, Refused)
    ):
        log.error("media: an upload was not brought through: %s", error)


def _disk(error: OSError) -> Problem:
    log.error("media: %s", error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(507, _NO_ROOM)
    return Problem(503, "This file cannot be kept here just now: send it again in a moment.", _AGAIN)
