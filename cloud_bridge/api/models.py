"""What the API takes and gives, as JSON."""

import base64
import binascii
import re
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from fastapi import Query
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from cloud_bridge.api.problems import Problem
from cloud_bridge.api.story import Facts
from cloud_bridge.stores.base import BookingRow, Position, RecordingRow, ShareRow
from schemas.agent import Alarm
from schemas.base import ID_PATTERN, Id, Line, Moment, utc_text
from schemas.booking import Deliverable, Layout
from schemas.camera import CameraStatus
from schemas.commands import BookArgs

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=200, description="rows of a page")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Contact = Annotated[Line, StringConstraints(max_length=200)]


_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Out(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Page(Out, Generic[T]):
    """Some rows, and where the next ones are (null: these were the last)."""

    items: tuple[T, ...]
    next: str | None = None


class BookingIn(BookArgs):
    """A booking to make. Without an ``id`` one is given to it; with one, sending it again changes nothing."""

    model_config = ConfigDict(extra="forbid")

    owner: Id | None = Field(default=None, description="whose booking it is; your own by default")


class BookingPatch(BaseModel):
    """What is to change. A new end in the past means now. ``title`` and ``layout`` may be null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Moment | None = None
    end: Moment | None = None
    status: Literal["confirmed", "cancelled"] | None = None
    record: Literal["yes", "no"] | None = None
    audience: Literal["link", "code", "members"] | None = None
    layout: Layout | None = None
    deliver: tuple[Deliverable, ...] | None = None
    title: Annotated[Line, StringConstraints(max_length=200)] | None = None
    contacts: Annotated[tuple[Contact, ...], Field(max_length=20)] | None = None

    @model_validator(mode="after")
    def _nulls(self) -> Self:
        for name in self.model_fields_set - {"layout", "title"}:
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        if self.deliver is not None and "merged" in self.deliver:
            raise ValueError("'merged' is not offered yet: expected film, cameras")
        return self

    def changes(self) -> dict[str, object]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class BookingPut(BookArgs):
    """What a booking is to be, whole: what is left out becomes its default."""

    model_config = ConfigDict(extra="forbid")

    def fields(self) -> dict[str, Any]:
        """All there is to set."""
        names = ("start", "end", "record", "audience", "layout", "deliver", "title", "contacts")
        return {name: getattr(self, name) for name in names}


class BookingOut(Out):
    """A booking."""

    id: str
    kind: str
    start: str
    end: str
    status: str
    record: str
    audience: str
    layout: str | None
    deliver: tuple[str, ...]
    owner: str | None
    of: str | None
    title: str | None
    contacts: tuple[str, ...]
    created_at: str
    cancelled_at: str | None

    @classmethod
    def of_row(cls, row: BookingRow) -> Self:
        """A stored booking as people see it."""
        b = row.stored
        return cls(
            id=b.id,
            kind=b.kind,
            start=b.start,
            end=b.end,
            status=b.status,
            record=b.record,
            audience=b.audience,
            layout=b.layout,
            deliver=b.deliver,
            owner=b.owner,
            of=b.of,
            title=row.title,
            contacts=row.contacts,
            created_at=b.created_at,
            cancelled_at=row.cancelled_at,
        )


class FilmOut(Out):
    """A film that is complete in the bucket; ``hash`` is the composite SHA-256 of its 5 MiB parts."""

    bytes: int
    hash: str | None
    verified_at: str


class RecordingOut(Out):
    """What the device makes, or made, of a booking."""

    id: str
    kind: str
    title: str | None
    start: str
    end: str
    state: str
    progress_pct: int
    eta_s: float | None
    why: str
    whistle_to_watchable_s: float | None
    film: FilmOut | None
    receipt: bool

    @classmethod
    def of(cls, known: Facts) -> Self:
        """What is known of a recording, as people see it."""
        stored, recording, film = known.row.booking.stored, known.recording, known.film
        verified_at = film.verified_at if film else None
        return cls(
            id=stored.id,
            kind=stored.kind,
            title=known.row.booking.title,
            start=stored.start,
            end=stored.end,
            state=known.state,
            progress_pct=recording.progress_pct if recording else 0,
            eta_s=recording.eta_s if recording else None,
            why=recording.why if recording else "",
            whistle_to_watchable_s=recording.whistle_to_watchable_s if recording else None,
            film=FilmOut(
                bytes=film.bytes, hash=film.hash, verified_at=utc_text(verified_at) if verified_at else ""
            )
            if film
            else None,
            receipt=known.receipt is not None,
        )


class WhyOut(Out):
    """In words: why a film is late or incomplete, or that nothing is wrong."""

    id: str
    state: str
    why: tuple[str, ...]
    eta_s: float | None


class ShareIn(BaseModel):
    """How long the link is to work; never longer than there is a film."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int | None = Field(default=None, ge=1, le=365)


class LinkOut(Out):
    """A new link. ``url`` is a secret and told this once. ``only_here``: it works in this network only."""

    share_id: str
    booking_id: str
    url: str
    expires_at: str
    only_here: bool


class ClaimOut(Out):
    """What is told at the court, for ``/claim``."""

    court: str
    code: str
    expires_at: str


class ShareOut(Out):
    """A share, without its link."""

    share_id: str
    booking_id: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str
    revoked_at: str | None
    views: int
    downloads: int

    @classmethod
    def of_row(cls, row: ShareRow, now: str) -> Self:
        """A stored share at a moment."""
        ended: Literal["active", "expired"] = "expired" if row.expires_at <= now else "active"
        return cls(
            share_id=row.share_id,
            booking_id=row.booking_id,
            state="revoked" if row.revoked_at else ended,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            views=row.views,
            downloads=row.downloads,
        )


class DeviceOut(Out):
    """A device: one court."""

    id: str
    org: str
    timezone: str
    cameras: tuple[str, ...]
    state: str | None = None


class CameraOut(Out):
    """A camera; what is not known is null."""

    name: str
    state: str | None = None
    fps: float | None = None
    frame_age_ms: int | None = None
    dropped: int | None = None
    width: int | None = None
    height: int | None = None

    @classmethod
    def of(cls, name: str, status: CameraStatus | None) -> Self:
        """A camera with its last status."""
        if status is None:
            return cls(name=name)
        known = status.model_dump(include=set(cls.model_fields) - {"name"})
        return cls(name=name, **known)


class AlarmOut(Out):
    """A standing trouble, and what to do."""

    agent: str
    alarm: str
    severity: str
    text: str
    since: str
    subject: str | None
    mend: str

    @classmethod
    def of(cls, agent: str, alarm: str, body: Alarm) -> Self:
        """An alarm as people see it."""
        return cls(
            agent=agent,
            alarm=alarm,
            severity=body.severity,
            text=body.text,
            since=utc_text(body.since),
            subject=body.subject,
            mend=body.mend,
        )


class CommandIn(BaseModel):
    """A command's arguments; with an ``id`` sending it again changes nothing, and a deadline is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Id | None = None
    args: dict[str, JsonValue] = Field(default={}, max_length=20)
    deadline: Moment | None = Field(default=None, description="in 60 s by default")


class CommandOut(Out):
    """A command that was taken."""

    id: str
    target: str
    name: str
    deadline: str


class HealthOut(Out):
    """The last metrics the device sent, and when they were stored."""

    stored_at: str
    health: dict[str, JsonValue]


def cursor_of(at: str, row_id: str) -> str:
    """A page's end as an opaque text."""
    return base64.urlsafe_b64encode(f"{at} {row_id}".encode()).decode().rstrip("=")


def position(cursor: str | None) -> Position | None:
    """The page's end in a cursor.

    Raises:
        Problem: 422, it is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        raise Problem(422, "cursor: expected `next` of another page") from None
    at, _, row_id = text.partition(" ")
    if not (_AT.fullmatch(at) and re.fullmatch(ID_PATTERN, row_id)):
        raise Problem(422, "cursor: expected `next` of another page")
    return Position(at, row_id)


def booking_page(rows: tuple[BookingRow, ...], limit: int) -> Page[BookingOut]:
    """A page of bookings."""
    last = rows[-1].stored if len(rows) == limit else None
    items = tuple(BookingOut.of_row(row) for row in rows)
    return Page(items=items, next=cursor_of(last.start, last.id) if last else None)


def recording_end(rows: tuple[RecordingRow, ...], limit: int) -> str | None:
    """The cursor after a page of recordings."""
    last = rows[-1].booking.stored if len(rows) == limit else None
    return cursor_of(last.start, last.id) if last else None
