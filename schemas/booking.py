"""Bookings as the bridge resolves them, and the marker of a complete schedule."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.base import PUBLIC, VOLATILE, Id, Message, Moment

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Layout = Literal["side_by_side", "stacked"]
Place = Literal["top_left", "top_center", "top_right", "bottom_left", "bottom_center", "bottom_right"]
Deliverable = Literal["film", "merged", "cameras"]


class AssetRef(Message):
    """A file named by its hash: a key in the bucket, or a local file of the settings."""

    key: Annotated[str, PUBLIC]
    sha256: Annotated[Sha256, PUBLIC]
    bytes: Annotated[int, PUBLIC] = Field(ge=0)


class Logo(AssetRef):
    """A picture over the film: a PNG with alpha, at a place, in a width, with an opacity.

    Attributes:
        slot: whose it is (``company``, ``user``, ``sponsor1`` ...).
        size: width in hundredths of the film's height (so that it looks the same in every film size).
        opacity: 0 to 1, multiplied with the picture's own alpha.
    """

    slot: Annotated[Id, PUBLIC]
    place: Annotated[Place, PUBLIC]
    size: Annotated[float, PUBLIC] = Field(default=16.0, gt=0, le=100)
    opacity: Annotated[float, PUBLIC] = Field(default=1.0, ge=0, le=1)


class Booking(Message):
    """Who may use the court from when to when, and what they get, resolved by the bridge.

    Agents use only ``from_`` and ``to``: pre- and post-roll, manual, cut and late bookings are already
    clamped to neighbours. ``rev`` rises whenever this message changes.
    """

    rev: Annotated[int, PUBLIC] = Field(ge=1)
    kind: Annotated[Literal["booked", "manual", "cut"], PUBLIC] = "booked"
    of: Annotated[Id | None, PUBLIC] = None
    start: Annotated[Moment, PUBLIC]
    end: Annotated[Moment, PUBLIC]
    from_: Annotated[Moment, PUBLIC] = Field(alias="from")
    to: Annotated[Moment, PUBLIC]
    status: Annotated[Literal["confirmed", "cancelled"], PUBLIC] = "confirmed"
    record: Annotated[Literal["yes", "no"], PUBLIC] = "yes"
    audience: Annotated[Literal["link", "code", "members"], PUBLIC] = "link"
    audio: Annotated[Literal["yes", "no"], PUBLIC] = "no"
    owner: Annotated[Id | None, PUBLIC] = None
    layout: Annotated[Layout | None, PUBLIC] = None
    branding: Annotated[tuple[Logo, ...], PUBLIC] = ()
    intro: Annotated[AssetRef | None, PUBLIC] = None
    deliver: Annotated[tuple[Deliverable, ...], PUBLIC] = ("film",)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to < self.from_:
            raise ValueError(f"to ({self.to.isoformat()}) is before from ({self.from_.isoformat()})")
        if self.end < self.start:
            raise ValueError(f"end ({self.end.isoformat()}) is before start ({self.start.isoformat()})")
        return self

    @property
    def wanted(self) -> bool:
        """Whether this booking is to be recorded: ``record`` turned to no counts as cancelled."""
        return self.status == "confirmed" and self.record == "yes"


class ScheduleSync(Message):
    """Marks a complete snapshot of the bookings: an absent booking counts as withdrawn only with this."""

    generation: Annotated[int, PUBLIC] = Field(ge=0)
    count: Annotated[int, PUBLIC] = Field(ge=0)
    digest: Annotated[str, PUBLIC]
    synced_at: Annotated[Moment, VOLATILE]
    source: Annotated[Literal["ok", "stale", "error"], PUBLIC] = "ok"
    automatic: Annotated[Literal["on", "off"], PUBLIC] = "on"


def schedule_digest(revisions: Iterable[tuple[str, int]]) -> str:
    """SHA-256 (hex, first 16) of the sorted ``id:rev`` lines of all retained bookings."""
    lines = "\n".join(sorted(f"{booking}:{rev}" for booking, rev in revisions))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
