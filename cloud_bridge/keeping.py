"""What must go from the bucket, and when. Pure.

Nothing is due but under a key that an upload of this very booking named, and only below its device's prefix.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from pydantic import JsonValue

from cloud_bridge.objects.base import OpenUpload
from cloud_bridge.stores.keeping import KeptFilm
from edge_agent.core.settings import Settings

RECEIPT = "receipt.json"
HEARD = timedelta(days=1)
"""Nothing goes by its age sooner than this after its upload was heard of: a device's clock may be wrong."""
CANCELLED_DEVICE = timedelta(days=1)
"""A recording that the device alone calls cancelled may be taken back while it is not heard."""
UPLOAD_LEFT = timedelta(days=1)
UPLOAD_UNKNOWN = timedelta(days=7)
UPLOAD_ON_ITS_WAY = timedelta(days=30)
_KEY = re.compile(
    r"(?P<org>[a-z0-9_-]{1,64})/(?P<device>[a-z0-9_-]{1,64})/\d{4}-\d\d-\d\d/"
    r"(?P<booking>[a-z0-9_-]{1,64})/(?P<name>[a-z0-9_-]{1,64}\.[a-z0-9]{1,8})"
)


@dataclass(frozen=True)
class DueObject:
    """An object that must go. ``verified_at``: as the upload says it, empty when it was not."""

    key: str
    verified_at: str
    why: str


@dataclass(frozen=True)
class _Named:
    """An object as an upload names it."""

    key: str
    verified_at: str


def due(film: KeptFilm, now: datetime, settings: Settings) -> tuple[DueObject, ...]:
    """What of a booking must go now, in the order its upload names it.

    A film goes ``retention.film_bucket_days`` after it was verified, and everything beside it with it, but
    for the receipt: that goes after ``retention.receipt_days``. What was never verified counts from the day
    its upload was last heard of. All of it goes when somebody ordered it, or the booking is cancelled for
    longer than ``retention.cancelled_min``.
    """
    named = tuple(one for one in _named(film) if owned(one.key, film))
    whole = film.ordered or _cancelled(film, now, settings)
    heard = _moment(film.stored_at) or now
    media = _media_since(named, heard)
    found: list[DueObject] = []
    for one in named:
        if (one.key, one.verified_at) in film.removed:
            continue
        receipt = one.key.endswith(f"/{RECEIPT}")
        since = min(_moment(one.verified_at) or heard, heard) if receipt else media
        days = settings.retention.receipt_days if receipt else settings.retention.film_bucket_days
        past = max(_later(since, timedelta(days=days)), _later(heard, HEARD)) <= now
        if whole or past:
            found.append(DueObject(one.key, one.verified_at, whole or "past its time"))
    return tuple(found)


def strangers(film: KeptFilm) -> tuple[str, ...]:
    """Keys that an upload names and that are not its own: never touched, worth a line."""
    return tuple(one.key for one in _named(film) if not owned(one.key, film))


def owned(key: str, film: KeptFilm) -> bool:
    """Whether a key is one of this booking, below its device's prefix."""
    match = _KEY.fullmatch(key)
    return match is not None and (match["org"], match["device"], match["booking"]) == (
        film.org,
        film.device,
        film.booking_id,
    )


def booking_of(key: str) -> str | None:
    """The booking a key is of; None when it is no key of ours."""
    match = _KEY.fullmatch(key)
    return match["booking"] if match else None


def elsewhere(film: KeptFilm, bucket: str) -> str | None:
    """The bucket a booking was sent to, when it is another one than ``bucket``."""
    named = (film.upload or {}).get("bucket")
    return named if isinstance(named, str) and named != bucket else None


def left_behind(upload: OpenUpload, film: KeptFilm | None, now: datetime) -> bool:
    """Whether an upload that was begun and never completed is to be aborted.

    One that may still be on its way over a slow line is left alone for 30 days, one of a booking nobody
    knows for 7, else a day.
    """
    age = now - upload.started
    if film is None:
        return age >= UPLOAD_UNKNOWN
    sent = any(one.key == upload.key and one.verified_at for one in _named(film))
    over = film.status == "cancelled" or film.state in ("failed", "missed", "cancelled") or film.ordered
    return age >= (UPLOAD_LEFT if sent or over else UPLOAD_ON_ITS_WAY)


def _named(film: KeptFilm) -> Iterator[_Named]:
    objects = (film.upload or {}).get("objects")
    for one in objects if isinstance(objects, list) else ():
        if isinstance(one, Mapping):
            body = cast("Mapping[str, JsonValue]", one)
            key, verified_at = body.get("key"), body.get("verified_at")
            if isinstance(key, str):
                yield _Named(key, verified_at if isinstance(verified_at, str) else "")


def _media_since(named: tuple[_Named, ...], heard: datetime) -> datetime:
    """When the time of film and what goes with it began: never after it was heard of."""
    films = [m for one in named if one.key.endswith("/film.mp4") and (m := _moment(one.verified_at))]
    others = [m for one in named if not one.key.endswith(f"/{RECEIPT}") and (m := _moment(one.verified_at))]
    return min(max(films or others, default=heard), heard)


def _cancelled(film: KeptFilm, now: datetime, settings: Settings) -> str | None:
    since = _moment(film.cancelled_at or "")
    patience = timedelta(minutes=settings.retention.cancelled_min)
    if film.status == "cancelled" and since is not None and since + patience <= now:
        return "cancelled"
    heard = _moment(film.stored_at)
    if film.state == "cancelled" and heard is not None and heard + CANCELLED_DEVICE <= now:
        return "cancelled"
    return None


def _moment(text: str) -> datetime | None:
    """An aware time; None when it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
