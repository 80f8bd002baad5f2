"""The contract as an AsyncAPI 3 document, made from the registry."""

from collections.abc import Iterator
from typing import Any

from schemas.base import ID_PATTERN, VERSION, Message
from schemas.commands import COMMANDS, CommandSpec
from schemas.registry import ANSWER, COMMAND, TOPICS
from schemas.topics import ROOT, Topic

REF = "#/components/schemas/{model}"
ENVELOPE = {
    "v": {"const": VERSION},
    "ts": {"type": "string", "format": "date-time"},
    "src": {"type": "string"},
    "session": {"type": "string"},
    "seq": {"type": "integer"},
}


def asyncapi() -> dict[str, Any]:
    """The document: a channel per topic, an operation per writer, a reply per command."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for model in _models():
        _add_model(model, schemas)
        payload = {
            "allOf": [{"$ref": "#/components/schemas/Envelope"}, {"$ref": REF.format(model=model.__name__)}]
        }
        messages[model.__name__] = {
            "name": model.__name__,
            "contentType": "application/json",
            "payload": payload,
        }
    schemas["Envelope"] = {"type": "object", "properties": ENVELOPE}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "EZREC",
            "version": f"{VERSION}.0.0",
            "description": "The topics of one device: retained ones are states, others events and commands.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.key: _channel(topic) for topic in TOPICS},
        "operations": dict(_operations()),
        "components": {"schemas": schemas, "messages": messages},
    }


def _models() -> list[type[Message]]:
    models = {topic.model.__name__: topic.model for topic in TOPICS}
    return [models[name] for name in sorted(models)]


def _add_model(model: type[Message], schemas: dict[str, Any]) -> None:
    schema = model.model_json_schema(mode="serialization", by_alias=True, ref_template=REF)
    schemas |= schema.pop("$defs", {})
    schemas[model.__name__] = schema


def _channel(topic: Topic[Message]) -> dict[str, Any]:
    holes = ("dev", *topic.holes)
    kept = "retained" if topic.retained else "not retained"
    return {
        "address": f"{ROOT}/{{dev}}/{topic.template}",
        "description": f"{topic.about}; written by {topic.owner}, {kept}",
        "messages": {topic.model.__name__: {"$ref": f"#/components/messages/{topic.model.__name__}"}},
        "parameters": {hole: {"description": f"An id, {ID_PATTERN}"} for hole in holes},
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in TOPICS:
        if topic is not COMMAND:
            yield f"send_{topic.key}", _operation("send", topic, topic.about)
    for spec in COMMANDS:
        yield _name(spec), _command(spec)


def _name(spec: CommandSpec) -> str:
    return f"receive_{spec.target}_{spec.name}".replace("*", "any")


def _operation(action: str, topic: Topic[Message], about: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic.key}"},
        "summary": about,
        "messages": [{"$ref": f"#/channels/{topic.key}/messages/{topic.model.__name__}"}],
        "bindings": {"mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": "0.2.0"}},
    }


def _command(spec: CommandSpec) -> dict[str, Any]:
    summary = f"cmd/{spec.target}/{spec.name}: {spec.about} (role {spec.role})"
    answer = f"#/channels/{ANSWER.key}"
    return _operation("receive", COMMAND, summary) | {
        "reply": {
            "channel": {"$ref": answer},
            "messages": [{"$ref": f"{answer}/messages/{ANSWER.model.__name__}"}],
        }
    }
