"""The desk: commands in, exactly one answer out.

Validates, dedupes by id over restarts, refuses retained commands, past deadlines and foreign response
topics. Pure but for the answers it is given to keep.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from edge_agent.core.agent import Asked, wall_ns
from edge_agent.runtime.bus import Received
from schemas.base import Message, PayloadError, decode_object, validate
from schemas.commands import Answer, Command, CommandSpec, command_for
from schemas.registry import ANSWER
from schemas.topics import ROOT, Address


class Answers(Protocol):
    """Answers that outlive the process: `edge_agent.runtime.memory.Answered`."""

    def get(self, command_id: str) -> Answer | None:
        """The first answer to that id, when there is one."""
        ...

    def add(self, name: str, answer: Answer, now_ns: int) -> None:
        """Keep an answer durably (wall nanoseconds). Never raises for what is the disk's fault."""
        ...


@dataclass(frozen=True)
class Waiting:
    """A command that waits for its answer, and where the answer goes besides ``res/``."""

    name: str
    response_topic: str | None
    correlation: bytes | None


@dataclass(frozen=True)
class Outgoing:
    """An answer on its way: on ``res/{agent}/{name}``, and on a response topic when one was asked for."""

    address: Address[Answer]
    answer: Answer
    response_topic: str | None = None
    correlation: bytes | None = None


class Desk:
    """Commands of one agent. Ids made here are unique by the session they were made in."""

    def __init__(self, agent: str, dev: str, answered: Answers, session: str) -> None:
        self._agent = agent
        self._answered = answered
        self._waiting: dict[str, Waiting] = {}
        self._reply_topic = re.compile(rf"{ROOT}/{re.escape(dev)}/reply/[a-z0-9_-]{{1,64}}/[^+#\0]{{1,200}}")
        self._count = 0
        self._session = session

    def receive(self, address: Address[Any], message: Received, wall: datetime) -> Asked | Outgoing | None:
        """A command as it came: an `Asked` for the agent, an answer given here, or None (being worked on)."""
        name = address["name"]
        self._count += 1
        # Not the correlation data: it is the requester's own, and two requesters may well use the same.
        fallback = f"{self._session}-{self._count}"
        try:
            command = self._parse(message.payload)
        except PayloadError as error:
            return self._refuse(name, fallback, str(error), message)
        command_id = command.id or fallback
        known = self._answered.get(command_id)
        if known is not None:
            return self._outgoing(Waiting(name, self._allowed(message), message.correlation), known)
        if command_id in self._waiting:
            return None
        if message.response_topic and not self._allowed(message):
            return self._refuse(
                name, command_id, "response topic refused: expected reply/{account}/...", None
            )
        spec = command_for(address["target"], name)
        if spec is None:
            return self._refuse(name, command_id, f"{address['target']} knows no command {name!r}", message)
        if command.deadline is not None and command.deadline < wall:
            late = Answer(id=command_id, status="expired", message="the deadline has passed")
            return self._outgoing(Waiting(name, self._allowed(message), message.correlation), late)
        return self._ask(spec, address, command, command_id, message)

    def _ask(
        self, spec: CommandSpec, address: Address[Any], command: Command, command_id: str, message: Received
    ) -> Asked | Outgoing:
        try:
            args: Message = validate(spec.args, command.args)
        except PayloadError as error:
            return self._refuse(spec.name, command_id, str(error), message)
        self._waiting[command_id] = Waiting(spec.name, self._allowed(message), message.correlation)
        return Asked(target=address["target"], name=spec.name, id=command_id, args=args)

    def answer(self, command_id: str, answer: Answer, wall: datetime) -> Outgoing | None:
        """The agent's answer: kept for 24 h, then sent. None when nobody waits (answered before)."""
        waiting = self._waiting.pop(command_id, None)
        if waiting is None:
            return None
        self._answered.add(waiting.name, answer, wall_ns(wall))
        return self._outgoing(waiting, answer)

    @staticmethod
    def _parse(payload: bytes) -> Command:
        if not payload:
            return Command()
        return validate(Command, decode_object(payload))

    def _allowed(self, message: Received) -> str | None:
        topic = message.response_topic
        return topic if topic and self._reply_topic.fullmatch(topic) else None

    def _refuse(self, name: str, command_id: str, why: str, message: Received | None) -> Outgoing:
        answer = Answer(id=command_id[:128], status="rejected", message=why)
        topic = self._allowed(message) if message else None
        return self._outgoing(Waiting(name, topic, message.correlation if message else None), answer)

    def _outgoing(self, waiting: Waiting, answer: Answer) -> Outgoing:
        at = ANSWER.at(agent=self._agent, name=waiting.name)
        return Outgoing(at, answer, waiting.response_topic, waiting.correlation)
