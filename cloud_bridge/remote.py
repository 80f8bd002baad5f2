"""Commands from afar: rows of the store that are commands to the agents of this device. Pure.

Each is answered once, into the outbox. It may be sent twice around a crash: agents know what they answered.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from cloud_bridge import court
from cloud_bridge.state import Remote, State
from edge_agent.core.agent import SECOND_NS, Act, Acts, Asked, Say, Stamp
from edge_agent.core.effects import StoredCommand
from edge_agent.core.settings import Settings
from schemas.base import PayloadError, validate
from schemas.commands import Answer, Command, NoArgs, command_for
from schemas.registry import COMMAND

PATIENCE_NS = 60 * SECOND_NS
"""How long an answer is waited for when the command has no deadline."""
OURS = "booking"
"""The target whose commands the bridge obeys itself; they may carry what must not be on the bus."""


def read(command: StoredCommand) -> StoredCommand:
    """A row with its arguments validated, or with the reason why it is none; ``args`` are gone then."""
    request, refusal = None, None
    spec = command_for(command.target, command.name)
    try:
        if spec is None:
            raise PayloadError(f"{command.target[:64]} knows no command {command.name[:64]!r}")
        if not 0 < len(command.id) <= 128:
            raise PayloadError("the command's id is none")
        if command.deadline is not None:
            deadline = datetime.fromisoformat(command.deadline)
            if deadline.tzinfo is None:
                raise PayloadError(f"deadline {command.deadline!r} has no zone")
            validate(Command, {"deadline": deadline})  # one that cannot be said would be asked for for ever
        request = validate(spec.args, command.args)
    except ValueError as error:
        refusal = str(error).splitlines()[0][:300]
    return replace(command, args={}, request=request, refusal=refusal)


def taken(state: State, commands: Collection[StoredCommand]) -> State:
    """The state with commands that are news."""
    news = {
        one.id: Remote(one)
        for one in commands
        if one.id not in state.commands and one.id not in state.answered
    }
    return replace(state, commands={**state.commands, **news}) if news else state


def pursued(state: State, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """Commands are sent, or answered where that can be said here; those nobody answered are given up."""
    acts: list[Act] = []
    for one in list(state.commands.values()):
        if one.due_ns is None:
            state, more = _sent(state, one.command, stamp, settings)
            acts.extend(more)
        elif one.due_ns <= stamp.mono_ns:
            text = f"{one.command.target} gave no answer"
            state = answered(state, Answer(id=one.command.id, status="error", message=text))
    return state, tuple(acts)


def _sent(state: State, command: StoredCommand, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    deadline = datetime.fromisoformat(command.deadline) if command.deadline and not command.refusal else None
    why = command.refusal or _no_such_target(command.target, settings)
    if why is not None:
        return answered(state, Answer(id=command.id, status="rejected", message=why)), ()
    if deadline is not None and stamp.synced and deadline < stamp.wall:
        late = Answer(id=command.id, status="expired", message="the deadline has passed")
        return answered(state, late), ()
    left_ns = PATIENCE_NS
    if deadline is not None:
        left_ns = max(SECOND_NS, round((deadline - stamp.wall).total_seconds() * SECOND_NS))
    waiting = {**state.commands, command.id: Remote(command, stamp.mono_ns + left_ns)}
    state = replace(state, commands=waiting)
    args = command.request or NoArgs()
    if command.target == OURS and command.name != "log_level":
        asked = Asked(command.target, command.name, command.id, args)
        return court.asked(state, asked, stamp, settings, remote=True)
    at = COMMAND.at(target=command.target, name=command.name)
    return state, (Say(at, Command(id=command.id, args=args.body(), deadline=deadline)),)


def _no_such_target(target: str, settings: Settings) -> str | None:
    cameras = [f"camera_{name}" for name in settings.camera_names()]
    known = [*cameras, "merger", "processor", "uploader", "health", "bridge", OURS]
    return None if target in known else f"{target}: expected one of {', '.join(known)}"


def heard(state: State, answer: Answer) -> State:
    """An agent has answered somebody; perhaps a command from afar."""
    waiting = state.commands.get(answer.id)
    return answered(state, answer) if waiting is not None and waiting.due_ns is not None else state


def answered(state: State, answer: Answer) -> State:
    """The answer goes into the outbox."""
    state, _ = court.answered(state, answer, remote=True)
    return state
