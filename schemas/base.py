"""What every message on the bus shares: the model base, field classes, the envelope.

A *message* here is the body alone. The envelope (``v ts src session seq``) is added when a message
is published and taken off when it arrives, so that agents compare and store bodies only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    StringConstraints,
)

VERSION = 1
MAX_PAYLOAD_BYTES = 100_000
ID_PATTERN = r"^[a-z0-9_-]{1,64}$"
_SURROGATE = re.compile(rb"\\u[dD][89abAB]")

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""An identifier that may stand in a topic: ``[a-z0-9_-]{1,64}``."""


class FieldClass(StrEnum):
    """Who may see a field: the class decides what may leave the device over MQTT."""

    PUBLIC = "public"
    OPERATIONAL = "operational"
    PERSONAL = "personal"
    SECRET = "secret"  # noqa: S105 - a class of fields, not a secret


@dataclass(frozen=True)
class Mark:
    """Metadata of a field: its class, and whether a change of it alone causes no publication."""

    field_class: FieldClass
    volatile: bool = False


PUBLIC = Mark(FieldClass.PUBLIC)
OPERATIONAL = Mark(FieldClass.OPERATIONAL)
PERSONAL = Mark(FieldClass.PERSONAL)
SECRET = Mark(FieldClass.SECRET)
VOLATILE = Mark(FieldClass.OPERATIONAL, volatile=True)


def utc_text(moment: datetime) -> str:
    """RFC 3339 in UTC with Z and microseconds: Home Assistant raises on a naive timestamp."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _in_this_age(moment: datetime) -> datetime:
    """Refuse the ends of the calendar: there is no UTC of them, nor a minute later."""
    if not 1970 <= moment.year < 2200:
        raise ValueError("expected a year from 1970 to 2199")
    return moment


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_in_this_age),
    PlainSerializer(utc_text, return_type=str, when_used="json"),
]
"""An aware instant, written in UTC with Z. Naive times are refused, and those of another age."""


def _one_line(text: str) -> str:
    """Refuse what is no line: no store, mail or log takes a NUL or a line break in a name."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("expected one line without control characters")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""A text of one line, as people type names and addresses."""


class Message(BaseModel):
    """Body of one topic's payload. Frozen; unknown fields are ignored (CONTRACT 3)."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    default_class: ClassVar[FieldClass] = FieldClass.OPERATIONAL

    def body(self) -> dict[str, JsonValue]:
        """The JSON object of this message, by wire names."""
        return self.model_dump(mode="json", by_alias=True)

    def stable(self) -> tuple[object, ...]:
        """The values that count as a change: all but the volatile ones."""
        skip = volatile_fields(type(self))
        return tuple(getattr(self, name) for name in type(self).model_fields if name not in skip)

    def replace(self, **changes: object) -> Self:
        """A copy with some fields changed, validated again."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})


M = TypeVar("M", bound=Message)


def mark_of(model: type[BaseModel], name: str) -> Mark:
    """The mark of a field; a field without one has its message's default class."""
    for item in model.model_fields[name].metadata:
        if isinstance(item, Mark):
            return item
    default = getattr(model, "default_class", FieldClass.OPERATIONAL)
    return Mark(default)


@cache
def volatile_fields(model: type[Message]) -> frozenset[str]:
    """Names of the fields whose change alone causes no publication."""
    return frozenset(name for name in model.model_fields if mark_of(model, name).volatile)


@dataclass(frozen=True)
class Envelope:
    """What the host adds to every payload."""

    ts: datetime
    src: str
    session: str
    seq: int


class PayloadError(ValueError):
    """A payload that is not what its topic says; the text is one line for the operator."""


def encode(message: Message, envelope: Envelope) -> bytes:
    """The payload of a message: the envelope's fields, then the body's."""
    head = {
        "v": VERSION,
        "ts": utc_text(envelope.ts),
        "src": envelope.src,
        "session": envelope.session,
        "seq": envelope.seq,
    }
    return json.dumps({**head, **message.body()}, separators=(",", ":"), ensure_ascii=False).encode()


def decode(model: type[M], payload: bytes) -> M:
    """The body in a payload.

    Raises:
        PayloadError: too large, not JSON, not an object, another major version, or fields that do not fit.
    """
    return validate(model, decode_object(payload))


def decode_object(payload: bytes) -> Mapping[str, Any]:
    """The JSON object in a payload, of our version (or of none: commands may leave ``v`` out).

    Raises:
        PayloadError: too large, not UTF-8 JSON, not an object, nested too deep, or another version.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadError(f"payload of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} expected")
    try:
        data: object = json.loads(payload.decode(), parse_constant=_not_json)
        if _SURROGATE.search(payload):
            json.dumps(data, ensure_ascii=False).encode()  # half a pair could never be sent on
    except (ValueError, RecursionError):
        raise PayloadError("payload is not JSON, an object expected") from None
    if not isinstance(data, dict):
        raise PayloadError(f"payload is a JSON {type(data).__name__}, an object expected")
    fields = cast("dict[str, Any]", data)
    version = fields.get("v", VERSION)
    if type(version) is not int or version != VERSION:
        raise PayloadError(f"payload has v={str(version)[:20]}, {VERSION} expected")
    return fields


def _not_json(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def validate(model: type[M], data: Mapping[str, Any]) -> M:
    """A message from a JSON object.

    Raises:
        PayloadError: the first field that does not fit, what it is and what was expected.
    """
    try:
        return model.model_validate(data)
    except ValueError as error:
        raise PayloadError(first_line(error)) from None
    except RecursionError:
        raise PayloadError("payload is nested too deep") from None


def first_line(error: ValueError) -> str:
    """One line for a validation error: where, what, what was expected. Never the value of a secret."""
    details = getattr(error, "errors", None)
    if details is None:
        return str(error).splitlines()[0][:300]
    first = details(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "payload"
    return f"{where}: {first['msg']}"[:300]
