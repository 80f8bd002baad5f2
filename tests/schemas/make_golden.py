"""Writes the golden payload of topics that have none yet: `python -m tests.schemas.make_golden [KEY...]`.

What is written once stays: it is what devices out there have retained in their brokers.
"""

import sys
import typing
from datetime import UTC, datetime
from pathlib import Path

from annotated_types import Ge, Gt
from pydantic import AwareDatetime, StringConstraints
from pydantic.fields import FieldInfo

from schemas.base import Envelope, Message, encode
from schemas.registry import TOPICS

GOLDEN = Path(__file__).parent / "golden" / "v1"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
WRITERS = {"{agent}": "merger", "camera_{cam}": "camera_left", "-": "cli"}
TEXTS = {
    "^[0-9a-f]{64}$": "0123456789abcdef" * 4,
    "recordings": "recordings/b1/film/film.mp4",
}


def sample(kind: object, field: FieldInfo | None = None) -> object:
    """A value of a field's type that is not its default, every optional field filled."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        constraints = [item for item in args[1:] if isinstance(item, StringConstraints)]
        return text_of(constraints[0]) if constraints else sample(args[0], field)
    if origin is typing.Literal:
        return args[0]
    if origin is tuple and args[-1] is not ...:
        return tuple(sample(arg) for arg in args)
    if origin in (tuple, list):
        return (sample(args[0]),)
    if origin is dict:
        return {sample(args[0]): sample(args[1])}
    if args:
        return sample(next(arg for arg in args if arg is not type(None)), field)
    if isinstance(kind, type) and issubclass(kind, Message):
        return build(kind)
    return plain(kind, field)


def text_of(constraints: StringConstraints) -> str:
    pattern = str(constraints.pattern or "")
    return next((text for key, text in TEXTS.items() if key in pattern), "b1")


def plain(kind: object, field: FieldInfo | None) -> object:
    least = [item.ge for item in field.metadata if isinstance(item, Ge)] if field else []
    above = [item.gt for item in field.metadata if isinstance(item, Gt)] if field else []
    number = 1 + max([0, *(int(str(bound)) for bound in (*least, *above))])
    known: dict[object, object] = {
        int: number,
        float: number - 0.5,
        bool: True,
        str: "text",
        datetime: NOON,
        type(None): None,
    }
    return known.get(kind, NOON if kind is AwareDatetime else "text")


def build(model: type[Message]) -> Message:
    fields = {}
    for name, field in model.model_fields.items():
        constraints = [item for item in field.metadata if isinstance(item, StringConstraints)]
        fields[name] = text_of(constraints[0]) if constraints else sample(field.annotation, field)
    return model.model_validate(fields)


def main(keys: list[str]) -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for topic in TOPICS:
        path = GOLDEN / f"{topic.key}.json"
        if not path.exists() and (not keys or topic.key in keys):
            envelope = Envelope(NOON, WRITERS.get(topic.owner, topic.owner), "0123456789ab", 1)
            path.write_bytes(encode(build(topic.model), envelope) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
