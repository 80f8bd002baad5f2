"""Events, effects and states as JSON and back, for the journal.

Only what is a dataclass of `edge_agent.core`, of an agent, or a message of `schemas` is written;
nothing is ever unpickled. Personal and secret fields are written as pseudonyms: the same value gives
the same pseudonym, and a pseudonym stays as it is, so that a replay of a journal writes the same bytes.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias, cast

from pydantic import JsonValue, SecretStr

from schemas.base import FieldClass, Message, mark_of
from schemas.registry import find
from schemas.topics import Address

TYPE = "$"
PSEUDONYM = "~"
PSEUDONYMS = re.compile(f"{PSEUDONYM}[0-9a-f]{{12}}")
Packed: TypeAlias = "JsonValue"
HOME = ("schemas.", "edge_agent.core.", "edge_agent.agents.", "cloud_bridge.")


def dumps(value: object) -> str:
    """One line of JSON, keys in order of the fields.

    Raises:
        TypeError: something that has no place in a journal.
    """
    return json.dumps(pack(value), separators=(",", ":"), ensure_ascii=False)


def loads(line: str) -> object:
    """The inverse of `dumps`, but for pseudonyms.

    Raises:
        ValueError: not a line of ours.
    """
    return unpack(json.loads(line))


def pack(value: object) -> Packed:
    """A JSON-able picture of a value.

    Raises:
        TypeError: something that has no place in a journal.
    """
    if value is None or type(value) in (bool, int, float, str):
        return cast("Packed", value)
    if isinstance(value, Address):
        return {TYPE: "@", "p": cast("Address[Message]", value).path}
    if isinstance(value, Message):
        return {TYPE: _name(type(value)), "f": _fields_of_message(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: pack(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {TYPE: _name(type(value)), "f": fields}
    return _pack_plain(value)


def _pack_plain(value: object) -> Packed:
    match value:
        case tuple() | list():
            things = cast("Sequence[JsonValue]", value)
            if all(type(thing) is int for thing in things):
                return [*things]  # the capture times of thousands of frames
            return [pack(thing) for thing in things]
        case frozenset() | set():
            return {TYPE: "set", "i": sorted(map(pack, cast("AbstractSet[object]", value)), key=json.dumps)}
        case Mapping():
            items = cast("Mapping[object, object]", value).items()
            return {TYPE: "map", "i": [[pack(key), pack(item)] for key, item in items]}
        case datetime():
            return {TYPE: "t", "i": value.isoformat()}
        case bytes():
            return {TYPE: "b", "i": value.hex()}
        case Enum():
            return {TYPE: _name(type(value)), "v": pack(value.value)}
        case SecretStr():
            return PSEUDONYM
        case int() | float() | str():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a journal")


def unpack(data: object) -> Any:  # noqa: ANN401 - what it was
    """The inverse of `pack`. Lists come back as tuples.

    Raises:
        ValueError: not a picture of ours.
    """
    if isinstance(data, list):
        return tuple(unpack(item) for item in cast("list[object]", data))
    if not isinstance(data, dict):
        return data
    picture = cast("dict[str, Any]", data)
    match picture[TYPE]:
        case "@":
            return _address(picture["p"])
        case "set":
            return frozenset(unpack(item) for item in picture["i"])
        case "map":
            return {unpack(key): unpack(item) for key, item in picture["i"]}
        case "t":
            return datetime.fromisoformat(picture["i"])
        case "b":
            return bytes.fromhex(picture["i"])
        case str(kind):
            return _build(_class(kind), picture)
        case _:
            raise ValueError("a journal's picture has no type")


def _address(path: str) -> Address[Message]:
    address = find(path)
    if address is None:
        raise ValueError(f"no topic has the path {path!r}")
    return address


def _build(cls: type[Any], data: Mapping[str, Any]) -> object:
    if "v" in data:
        return cls(data["v"])
    fields = {name: unpack(item) for name, item in data["f"].items()}
    if issubclass(cls, Message):
        return cls.model_construct(**fields)
    return cls(**fields)


def _fields_of_message(message: Message) -> dict[str, Packed]:
    model = type(message)
    return {
        name: _pseudonym(getattr(message, name)) if _is_private(model, name) else pack(getattr(message, name))
        for name in model.model_fields
    }


@cache
def _is_private(model: type[Message], name: str) -> bool:
    return mark_of(model, name).field_class in (FieldClass.PERSONAL, FieldClass.SECRET)


def _pseudonym(value: object) -> Packed:
    match value:
        case None:
            return None
        case tuple() | list():
            return [_pseudonym(item) for item in cast("Sequence[object]", value)]
        case Mapping():
            items = cast("Mapping[object, object]", value).items()
            return {TYPE: "map", "i": [[pack(key), _pseudonym(item)] for key, item in items]}
        case str() if PSEUDONYMS.fullmatch(value):
            return value
        case _:
            return PSEUDONYM + hashlib.blake2b(str(value).encode(), digest_size=6).hexdigest()


@cache
def _name(cls: type) -> str:
    name = f"{cls.__module__}:{cls.__qualname__}"
    if not name.startswith(HOME):
        raise TypeError(f"{name} has no place in a journal")
    return name


@cache
def _class(name: str) -> type[Any]:
    if not name.startswith(HOME):
        raise ValueError(f"{name!r} is no class of ours")
    module, _, qualname = name.partition(":")
    found: type[Any] = getattr(import_module(module), qualname)
    return found
