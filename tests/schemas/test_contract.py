"""The contract: fields have classes, addresses are what they say, what v1 wrote is read for ever."""

import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.base import (
    MAX_PAYLOAD_BYTES,
    Envelope,
    FieldClass,
    Mark,
    Message,
    PayloadError,
    decode,
    encode,
    mark_of,
)
from schemas.booking import Booking, schedule_digest
from schemas.commands import COMMANDS, BookArgs, command_for, commands_of
from schemas.registry import AGENTS, COMMAND, RECEIPT_OBJECT, TOPICS, find
from schemas.topics import Topic
from schemas.work import pack_offsets, unpack_offsets

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "v1"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ENVELOPE = Envelope(NOON, "merger", "s1", 7)
ids = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)


def nested(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and every model in its fields."""
    seen: set[type[BaseModel]] = set()
    todo: list[object] = [model]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in seen:
                seen.add(kind)
                todo += [field.annotation for field in kind.model_fields.values()]
        else:
            todo += typing.get_args(kind)
    return iter(seen)


# --- fields ---


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.key)
def test_every_field_has_a_class_and_only_commands_are_personal(topic: Topic[Message]) -> None:
    for model in nested(topic.model):
        for name in model.model_fields:
            mark = mark_of(model, name)
            assert isinstance(mark, Mark)
            if topic is not COMMAND:
                assert mark.field_class in (FieldClass.PUBLIC, FieldClass.OPERATIONAL), (model, name)


def test_title_and_contacts_are_personal_and_of_one_command() -> None:
    personal = {
        (spec.name, name)
        for spec in COMMANDS
        for name in spec.args.model_fields
        if mark_of(spec.args, name).field_class is not FieldClass.PUBLIC
    }
    assert personal == {("book", "title"), ("book", "contacts")}


@pytest.mark.parametrize("word", ["title", "contact", "email", "phone", "token", "password", "url", "link"])
def test_no_topic_has_a_field_that_sounds_personal_or_secret(word: str) -> None:
    named = {
        f"{topic.key}.{name}"
        for topic in TOPICS
        for model in nested(topic.model)
        for name in model.model_fields
        if word in name.lower().replace("uplink", "")
    }
    assert named == set()


def test_envelope_names_are_no_fields() -> None:
    taken = {
        (topic.key, name)
        for topic in TOPICS
        for name in topic.model.model_fields
        if name in ENVELOPE.__dict__
    }
    # The same value as the envelope's: what a will carries, which has no other envelope.
    assert taken == {("availability", "session"), ("agent_availability", "session")}


# --- topics ---


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.key)
@given(data=st.data())
def test_address_is_found_again(topic: Topic[Message], data: st.DataObject) -> None:
    values = {hole: data.draw(ids) for hole in topic.holes}
    address = topic.at(**values)
    found = topic.match(address.path)
    assert found is not None
    assert found == address
    assert [found[hole] for hole in topic.holes] == list(values.values())
    assert address is topic.at(**values)
    assert address.full("court-1") == f"ezrec/v1/court-1/{address.path}"
    assert address.full("court-1").count("/") <= 7
    looked_up = find(address.path)
    assert looked_up is not None
    assert looked_up.topic in (topic, RECEIPT_OBJECT)


@pytest.mark.parametrize("bad", ["", "A", "a/b", "a+", "#", "x" * 65, "ü", "a\n", "a b", "..", "a."])
def test_what_is_no_id_makes_no_address(bad: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        COMMAND.at(target="x", name=bad)
    assert find(f"booking/{bad}") is None


def test_holes_must_be_filled_exactly() -> None:
    for values in ({}, {"id": "a", "cam": "b"}, {"cam": "left"}):
        with pytest.raises(ValueError, match=r"expected \('id',\)"):
            next(topic for topic in TOPICS if topic.key == "booking").at(**values)


def test_keys_and_templates_differ() -> None:
    assert len({topic.key for topic in TOPICS}) == len(TOPICS)
    assert len({topic.template for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.key)
def test_topic_has_one_writer_that_exists(topic: Topic[Message]) -> None:
    owners = [agent for agent in AGENTS if topic.owned_filter(agent) is not None]
    if topic is COMMAND:
        assert owners == []
    elif topic.owner == "{agent}":
        assert owners == list(AGENTS)
    else:
        assert owners == [
            agent for agent in AGENTS if re.fullmatch(topic.owner.replace("{cam}", ".*"), agent)
        ]
        assert owners


# --- commands ---


@pytest.mark.parametrize("agent", AGENTS)
def test_agents_commands_are_found_by_their_topic(agent: str) -> None:
    for spec in commands_of(agent):
        target = spec.target if spec.target not in ("*", "camera_*") else agent
        assert command_for(target, spec.name) is spec
    assert command_for(agent, "nonsense") is None


def test_merged_is_refused_with_one_line() -> None:
    with pytest.raises(ValidationError, match="'merged' is not offered yet: expected film, cameras"):
        BookArgs(start=NOON, end=NOON, deliver=("merged",))


# --- payloads ---


def test_times_are_written_in_utc_and_naive_ones_refused() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=2)))
    fields = {"rev": 1, "start": local, "end": local, "from": local, "to": local}
    booking = Booking.model_validate(fields)
    assert booking.body()["from"] == "2026-05-01T12:00:00.000000Z"
    assert decode(Booking, encode(booking, ENVELOPE)) == booking
    with pytest.raises(ValidationError, match="timezone"):
        Booking.model_validate({**fields, "to": local.replace(tzinfo=None)})
    with pytest.raises(ValidationError, match="before from"):
        Booking.model_validate({**fields, "to": local - timedelta(seconds=1)})


def test_payload_may_be_as_large_as_the_bound() -> None:
    filler = b'{"v":1,"nonce":"' + b"x" * (MAX_PAYLOAD_BYTES - 18) + b'"}'
    sync = next(topic for topic in TOPICS if topic.key == "agent_sync").model
    assert len(filler) == MAX_PAYLOAD_BYTES
    decode(sync, filler)
    with pytest.raises(PayloadError, match="at most 100000 expected"):
        decode(sync, filler + b" ")


@pytest.mark.parametrize("version", ["2", "true", '"1"', "null", "1.0", "[]"])
def test_another_version_is_refused(version: str) -> None:
    sync = next(topic for topic in TOPICS if topic.key == "agent_sync").model
    with pytest.raises(PayloadError, match="1 expected"):
        decode(sync, f'{{"v":{version},"nonce":"x"}}'.encode())


@given(revs=st.dictionaries(ids, st.integers(1, 99), max_size=5))
def test_digest_of_a_schedule_knows_no_order(revs: dict[str, int]) -> None:
    assert schedule_digest(revs.items()) == schedule_digest(reversed(list(revs.items())))
    assert schedule_digest([*revs.items(), ("new-one", 100)]) != schedule_digest(revs.items())


# --- capture times ---


@given(steps=st.lists(st.integers(0, 100_000), max_size=200))
def test_offsets_come_back(steps: list[int]) -> None:
    offsets = [0]
    for step in steps:
        offsets.append(offsets[-1] + step)
    assert unpack_offsets(pack_offsets(offsets)) == tuple(offsets)


@given(period=st.integers(1, 100_000), frames=st.integers(2, 5000))
def test_steady_rate_takes_two_numbers(period: int, frames: int) -> None:
    packed = pack_offsets([n * period for n in range(frames)])
    assert len(packed) == min(2, frames - 1)
    assert unpack_offsets(packed)[-1] == (frames - 1) * period


@pytest.mark.parametrize("packed", [(-1,), (1, -10_000), (1,) * 10_000])
def test_offsets_that_cannot_be_are_refused(packed: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not decode"):
        unpack_offsets(packed)


# --- what v1 wrote ---


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.key)
def test_what_version_1_wrote_is_read_for_ever(topic: Topic[Message]) -> None:
    path = GOLDEN / f"{topic.key}.json"
    assert path.exists(), f"no golden payload: python -m tests.schemas.make_golden {topic.key}"
    payload = path.read_bytes()
    message = decode(topic.model, payload)
    written = {
        key: value for key, value in json.loads(payload).items() if key not in {"v", *ENVELOPE.__dict__}
    }
    body = json.loads(json.dumps(message.body()))
    assert {key: body[key] for key in written} == written


def test_every_golden_payload_has_its_topic() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {topic.key for topic in TOPICS}


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schemas.render", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0)
