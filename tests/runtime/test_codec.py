"""Everything a journal holds comes back as it was, but for what nobody may read."""

import dataclasses
import enum
import inspect
import typing
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from edge_agent.core import agent as agent_module
from edge_agent.core import effects
from edge_agent.core.agent import (
    Asked,
    Changed,
    Done,
    Effect,
    Failed,
    Reply,
    Say,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.runtime.codec import dumps, loads
from schemas.base import FieldClass, Message, mark_of
from schemas.booking import Booking
from schemas.commands import COMMANDS, Answer, BookArgs, Command
from schemas.recording import MergeStage
from schemas.registry import BOOKING, MERGE, TOPICS
from tests.runtime.toys import NOON, booking, stamp

EFFECTS = sorted(
    (cls for cls in vars(effects).values() if inspect.isclass(cls) and dataclasses.is_dataclass(cls)),
    key=lambda cls: cls.__name__,
)
MODELS = sorted(
    {t.model for t in TOPICS} | {spec.args for spec in COMMANDS}, key=lambda model: model.__name__
)


def some(kind: object) -> st.SearchStrategy[object]:
    """Values of a field's declared type, as far as a journal is concerned."""
    if kind is typing.Any or kind is object:
        return st.none() | st.integers() | st.text(max_size=5)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return some(args[0])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1:] == (...,):
        return st.lists(some(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(some(arg) for arg in args))
    if origin is frozenset:
        return st.frozensets(some(args[0]), max_size=3)
    if origin is not None and args and issubclass_of_mapping(origin):
        return st.dictionaries(some(args[0]), some(args[1]), max_size=3)
    if args:  # a union
        return st.one_of(*(some(arg) for arg in args))
    return plain(kind)


def issubclass_of_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, typing.cast("type", typing.Mapping.__origin__))  # type: ignore[attr-defined]


def plain(kind: object) -> st.SearchStrategy[object]:
    known: dict[object, st.SearchStrategy[object]] = {
        int: st.integers(),
        bool: st.booleans(),
        str: st.text(max_size=8),
        bytes: st.binary(max_size=8),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
        datetime: st.datetimes(timezones=st.just(UTC)),
    }
    if kind in known:
        return known[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and issubclass(kind, Message):
        return st.deferred(lambda: st.builds(kind.model_construct, **fields_of_model(kind)))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return st.deferred(lambda: st.builds(kind, **fields_of_dataclass(kind)))
    return st.none()


def fields_of_model(model: type[Message]) -> dict[str, st.SearchStrategy[object]]:
    """Its fields, without those that are pseudonyms in a journal."""
    return {
        name: some(field.annotation)
        for name, field in model.model_fields.items()
        if mark_of(model, name).field_class not in (FieldClass.PERSONAL, FieldClass.SECRET)
    }


def fields_of_dataclass(cls: type) -> dict[str, st.SearchStrategy[object]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.name: some(hints[f.name]) for f in dataclasses.fields(cls) if f.init}


@pytest.mark.parametrize("cls", [*MODELS, *EFFECTS], ids=lambda cls: cls.__name__)
@settings(
    max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)
@given(data=st.data())
def test_message_or_effect_comes_back(cls: type, data: st.DataObject) -> None:
    value = data.draw(plain(cls))
    line = dumps(value)
    back = loads(line)
    assert type(back) is cls
    assert dumps(back) == line
    assert "\n" not in line


def events() -> Iterator[object]:
    yield Started(None, {BOOKING.at(id="b1"): booking()})
    yield World({BOOKING.at(id="b1"): booking(), MERGE.at(id="b1"): MergeStage(rev=3)})
    yield Changed(BOOKING.at(id="b1"), None)
    yield Changed(BOOKING.at(id="b1"), booking(2))
    yield Asked("booking", "book", "c1", BookArgs(start=NOON, end=NOON))
    yield Done("k", (1, "x", None))
    yield Failed("k", "full", "no space", {"left": 3})
    yield Tick("k")
    yield stamp()
    yield Reply("c1", Answer(id="c1", status="ok", data={"a": {"b": None}}))
    yield Say(MERGE.at(id="b1"), MergeStage())


@pytest.mark.parametrize("number", range(11))
def test_event_comes_back(number: int) -> None:
    event = list(events())[number]
    assert loads(dumps(event)) == event


def test_every_event_is_tried_here() -> None:
    known = {type(event) for event in events()}
    assert set(typing.get_args(agent_module.Event)) | {Reply, Say, Stamp} <= known
    assert all(issubclass(cls, Effect) or dataclasses.is_dataclass(cls) for cls in EFFECTS)
    assert len(EFFECTS) > 25


def test_personal_fields_are_pseudonyms_that_stay_what_they_are() -> None:
    request = BookArgs(start=NOON, end=NOON, title="Ann's birthday", contacts=("ann@club.example", "bo@x"))
    line = dumps(Asked("booking", "book", "c1", request))
    for secret in ("Ann", "birthday", "club.example", "bo@x"):
        assert secret not in line
    back = loads(line)
    assert isinstance(back, Asked)
    assert dumps(back) == line
    assert dumps(request) == dumps(request.model_copy())
    other = request.model_copy(update={"title": "Somebody else's"})
    assert dumps(other) != dumps(request)


def test_what_looks_like_a_pseudonym_is_not_written_in_clear() -> None:
    assert "~ann" not in dumps(BookArgs(start=NOON, end=NOON, title="~ann"))
    assert "x" * 20 not in dumps(Command(args={"title": "x" * 20}))
    assert "hunter2" not in dumps(SecretStr("hunter2"))


@pytest.mark.parametrize(
    "value", [object(), stamp, {1: {2: lambda: None}}], ids=["object", "function", "deep"]
)
def test_what_has_no_place_is_said(value: object) -> None:
    with pytest.raises(TypeError, match="has no place in a journal"):
        dumps(value)


@pytest.mark.parametrize("line", ['{"$":"os:system","f":{}}', '{"$":"@","p":"no/such/topic"}', '{"$":3}'])
def test_nothing_foreign_is_built(line: str) -> None:
    with pytest.raises(ValueError, match=r"no class of ours|no topic|no type"):
        loads(line)


def test_booking_comes_back_equal() -> None:
    back = loads(dumps(booking(3)))
    assert isinstance(back, Booking)
    assert back == booking(3)
