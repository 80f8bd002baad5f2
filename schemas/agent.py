"""Messages every agent has: availability, info, status, the sync nonce, events and alarms."""

from typing import Annotated, Literal

from pydantic import JsonValue

from schemas.base import OPERATIONAL, PUBLIC, VOLATILE, Message, Moment


class AgentAvailability(Message):
    """Whether an agent runs. Its will has the same ``session``; a will of another session is stale."""

    state: Annotated[Literal["online", "stopped", "offline"], PUBLIC]
    session: Annotated[str, OPERATIONAL]
    pid: Annotated[int | None, OPERATIONAL] = None


class CommandInfo(Message):
    """One command an agent understands."""

    target: Annotated[str, PUBLIC]
    name: Annotated[str, PUBLIC]
    role: Annotated[Literal["court", "admin"], PUBLIC]
    args: Annotated[dict[str, JsonValue], PUBLIC]


class AgentInfo(Message):
    """What an agent is: its version, and the commands it answers with the JSON Schema of their args."""

    version: Annotated[str, PUBLIC]
    commands: Annotated[tuple[CommandInfo, ...], PUBLIC] = ()


class AgentStatus(Message):
    """What an agent is doing."""

    state: Annotated[Literal["idle", "busy", "degraded", "paused"], PUBLIC]
    backlog: Annotated[int, PUBLIC] = 0
    current: Annotated[str | None, PUBLIC] = None
    last_error: Annotated[str | None, OPERATIONAL] = None
    heartbeat: Annotated[Moment | None, VOLATILE] = None
    pid: Annotated[int | None, OPERATIONAL] = None


class Sync(Message):
    """A nonce an agent sends itself: when it comes back, all retained topics before it have arrived."""

    nonce: str


class Event(Message):
    """Something that happened, for Node-RED and audit; nothing may depend on having seen one."""

    text: Annotated[str, PUBLIC]
    subject: Annotated[str | None, PUBLIC] = None
    data: Annotated[dict[str, JsonValue], OPERATIONAL] = {}


class Alarm(Message):
    """A standing trouble, cleared (empty payload) when over."""

    severity: Annotated[Literal["critical", "major", "minor"], PUBLIC]
    text: Annotated[str, PUBLIC]
    since: Annotated[Moment, PUBLIC]
    subject: Annotated[str | None, PUBLIC] = None
    mend: Annotated[str, PUBLIC]
