"""What a Supabase project answers, looked at before it is used: rows a person or another program wrote."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, tzinfo
from typing import Annotated, Literal, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.supabase_client import one_line
from edge_agent.core.effects import (
    Polled,
    StoredBooking,
    StoredCommand,
    StoredMedia,
    StoredShare,
    UnreadableRow,
)
from schemas.base import Id, utc_text
from schemas.booking import Deliverable, Layout

T = TypeVar("T")
R = TypeVar("R")
PERSONAL = frozenset({"title", "contacts", "recipient", "address"})
Model = TypeVar("Model", bound="_Row")
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def fitting(name: str, kind: TypeAdapter[T], answer: object) -> T:
    """An answer as what it should be.

    Raises:
        StoreError: transient, with the first thing about it that does not fit.
    """
    try:
        return kind.validate_python(answer)
    except ValidationError as error:
        raise StoreError("transient", f"ezrec_{name}: not what was asked for: {first(error)}") from None


def first(error: ValidationError) -> str:
    """The first mistake in one line, with the value where it is short and nobody's own."""
    found = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in found["loc"]]
    said = found["msg"].removeprefix("Value error, ")
    text = one_line(f"{'.'.join(path)}: {said}" if path else said)
    whole = found["type"] in {"missing", "value_error"}
    if whole or not isinstance(found["input"], str | int | float | bool | None):
        return text
    return text if PERSONAL & set(path) else f"{text}, got {one_line(repr(found['input']))}"


# --- rows of a poll ---


class _Row(BaseModel):
    """A row as it came: unknown columns are ignored, a null is the same as no value."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _nulls(cls, row: object) -> object:
        if not isinstance(row, dict):
            raise ValueError("an object expected")  # noqa: TRY004 - what pydantic collects
        there = cast("dict[str, object]", row)
        return cls.made({name: value for name, value in there.items() if value is not None})

    @classmethod
    def made(cls, row: dict[str, object]) -> dict[str, object]:
        """The row in today's form."""
        return row


def _moment(text: str, zone: tzinfo) -> str:
    moment = datetime.fromisoformat(text.strip())
    if not 1970 <= moment.year < 9999:  # there is no minute after the end of the calendar
        raise ValueError("a year from 1970 to 9998 was expected")
    return utc_text(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))


class _Timed(_Row):
    @field_validator(
        "start", "end", "created_at", "expires_at", "revoked_at", "delivered_at", "deadline",
        mode="after", check_fields=False,
    )  # fmt: skip
    @classmethod
    def _in_utc(cls, text: str | None, info: ValidationInfo) -> str | None:
        try:
            return None if text is None else _moment(text, cast("tzinfo", info.context))
        except (ValueError, OverflowError):
            raise ValueError(f"no time with a date: {one_line(text or '')!r}") from None


class _Booking(_Timed):
    id: Id
    kind: Literal["booked", "manual", "cut"] = "booked"
    start: str
    end: str
    status: Literal["confirmed", "cancelled"] = "confirmed"
    record: Literal["yes", "no"] = "yes"
    audience: Literal["link", "code", "members"] = "link"
    layout: Layout | None = None
    deliver: tuple[Deliverable, ...] = ("film",)
    owner: Word | None = None
    of: Id | None = None
    changed: int = Field(ge=0)
    created_at: str
    dressing: tuple[StoredMedia, ...] = ()

    @field_validator("dressing", mode="before")
    @classmethod
    def _whole_ones(cls, found: object) -> object:
        """A logo that is none costs the logo, not the booking."""
        return (
            [item for item in cast("list[object]", found) if _is_media(item)]
            if isinstance(found, list)
            else ()
        )

    @classmethod
    def made(cls, row: dict[str, object]) -> dict[str, object]:
        """The predecessor's forms: ``start_time`` with a date, or ``date`` beside ``HH:MM``."""
        start, end = (_dated(row, name) for name in ("start", "end"))
        times = {name: text for name, text in (("start", start), ("end", end)) if text is not None}
        return {"created_at": start, **row, **times}

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self

    def stored(self) -> StoredBooking:
        return StoredBooking(**dict(self))


class _Share(_Timed):
    booking_id: Id
    share_id: Id
    expires_at: str
    revoked_at: str | None = None
    delivered_at: str | None = None
    changed: int = Field(ge=0)

    def stored(self) -> StoredShare:
        return StoredShare(**dict(self))


class _Command(_Timed):
    id: Word
    target: Word
    name: Word
    args: dict[str, JsonValue] = {}
    deadline: str | None = None
    created_at: str
    changed: int = Field(ge=0)

    def stored(self) -> StoredCommand:
        return StoredCommand(**dict(self))


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore")

    cursor: int = Field(ge=0)
    rows: list[JsonValue]
    count: int = Field(ge=0)
    automatic: bool
    complete: bool = True
    shares: list[JsonValue] = []
    commands: list[JsonValue] = []


_PAGE = TypeAdapter(_Page)
_MEDIA = TypeAdapter(StoredMedia)


def polled(answer: object, asked: int, zone: tzinfo) -> Polled:
    """A poll's answer; rows that are none are listed and left out.

    Args:
        answer: of ``ezrec_poll``.
        asked: the cursor asked with.
        zone: of the device: what a time without one is meant in.

    Raises:
        StoreError: transient, the answer as a whole is no page, or would be asked for again for ever.
    """
    page = fitting("poll", _PAGE, answer)
    if not page.complete and page.cursor == asked:
        raise StoreError("transient", f"ezrec_poll: more is left behind {asked}, but the cursor stays there")
    unreadable: list[UnreadableRow] = []

    def read(
        what: str, rows: Sequence[JsonValue], model: type[Model], made: Callable[[Model], R]
    ) -> tuple[R, ...]:
        found: list[R] = []
        for number, row in enumerate(rows, 1):
            try:
                found.append(made(model.model_validate(row, context=zone)))
            except ValidationError as error:
                unreadable.append(UnreadableRow(_name(row) or f"{what} {number}", first(error)))
        return tuple(found)

    return Polled(
        page.cursor,
        read("booking", page.rows, _Booking, _Booking.stored),
        page.count,
        page.automatic,
        page.complete,
        read("share", page.shares, _Share, _Share.stored),
        read("command", page.commands, _Command, _Command.stored),
        tuple(unreadable),
    )


def _dated(row: Mapping[str, object], name: str) -> object:
    """A start or end by its old or new name; a time of day with the row's date."""
    value = row.get(name, row.get(f"{name}_time"))
    try:
        day = date.fromisoformat(str(row.get("date")))
        return datetime.combine(day, time.fromisoformat(str(value).strip())).isoformat()
    except ValueError:
        return value


def _is_media(item: object) -> bool:
    try:
        _MEDIA.validate_python(item)
    except ValidationError:
        return False
    return True


def _name(row: JsonValue) -> str:
    if not isinstance(row, Mapping):
        return ""
    name = row.get("id") or row.get("share_id")
    return one_line(str(name)) if name is not None else ""
