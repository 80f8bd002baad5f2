"""The contract as AsyncAPI: every topic a channel, every command an operation, every reference resolves."""

import json
from collections.abc import Iterator
from typing import Any

from schemas.asyncapi import asyncapi
from schemas.commands import COMMANDS
from schemas.registry import TOPICS


def refs(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from refs(value)
    elif isinstance(node, list):
        for item in node:
            yield from refs(item)


def resolve(document: dict[str, Any], ref: str) -> object:
    node: Any = document
    for part in ref.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_every_topic_is_a_channel_with_its_address() -> None:
    document = asyncapi()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {f"ezrec/v1/{{dev}}/{topic.template}" for topic in TOPICS}


def test_every_command_is_an_operation_with_a_reply() -> None:
    replies = [o for o in asyncapi()["operations"].values() if "reply" in o]
    assert len(replies) == len(COMMANDS)


def test_every_reference_resolves_and_the_document_is_json() -> None:
    document = json.loads(json.dumps(asyncapi()))
    found = list(refs(document))
    assert len(found) > 100
    for ref in found:
        assert resolve(document, ref) is not None, ref
