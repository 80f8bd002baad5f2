"""Commands and their answers. A command is never retained; empty or ``{}`` is legal."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, field_validator

from schemas.base import OPERATIONAL, PERSONAL, PUBLIC, Id, Line, Message, Moment
from schemas.booking import Deliverable, Layout

Role = Literal["court", "admin"]
CommandId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Command(Message):
    """The payload of a command topic; ``args`` are validated against the command's own model."""

    id: Annotated[CommandId | None, OPERATIONAL] = None
    args: Annotated[dict[str, JsonValue], PERSONAL] = {}
    deadline: Annotated[Moment | None, OPERATIONAL] = None


class Answer(Message):
    """One answer per command."""

    id: Annotated[str, OPERATIONAL]
    status: Annotated[Literal["ok", "accepted", "rejected", "error", "expired"], PUBLIC]
    message: Annotated[str, PUBLIC] = ""
    data: Annotated[dict[str, JsonValue], OPERATIONAL] = {}


class NoArgs(Message):
    """A command without arguments."""


class StartArgs(Message):
    """Record now. Without ``minutes`` until ``stop``, at most ``booking.max_minutes``."""

    minutes: Annotated[float | None, PUBLIC] = Field(default=None, gt=0, le=24 * 60)


class CutArgs(Message):
    """A clip of the last seconds."""

    last_s: Annotated[float, PUBLIC] = Field(gt=0, le=600)


class BookArgs(Message):
    """A booking. Only this command carries title and contacts; they go to the store, nowhere else."""

    id: Annotated[Id | None, PUBLIC] = None
    start: Annotated[Moment, PUBLIC]
    end: Annotated[Moment, PUBLIC]
    record: Annotated[Literal["yes", "no"], PUBLIC] = "yes"
    audience: Annotated[Literal["link", "code", "members"], PUBLIC] = "link"
    layout: Annotated[Layout | None, PUBLIC] = None
    deliver: Annotated[tuple[Deliverable, ...], PUBLIC] = ("film",)
    title: Annotated[Line | None, PERSONAL] = Field(default=None, max_length=200)
    contacts: Annotated[tuple[Annotated[Line, StringConstraints(max_length=200)], ...], PERSONAL] = Field(
        default=(), max_length=20
    )

    @field_validator("deliver")
    @classmethod
    def _no_merged(cls, deliver: tuple[Deliverable, ...]) -> tuple[Deliverable, ...]:
        if "merged" in deliver:
            raise ValueError("'merged' is not offered yet: expected film, cameras")
        return deliver


class BookingIdArgs(Message):
    """Names a booking."""

    id: Annotated[Id, PUBLIC]


class ExtendArgs(Message):
    """A new end of a booking; in the past it means now."""

    id: Annotated[Id, PUBLIC]
    to: Annotated[Moment, PUBLIC]


class AutomaticArgs(Message):
    """Whether booked bookings are recorded."""

    on: Annotated[bool, PUBLIC]


class LogLevelArgs(Message):
    """How much an agent logs."""

    level: Annotated[Literal["debug", "info", "warning", "error"], PUBLIC]


class PreflightArgs(Message):
    """Names the booking to look at; without one, the next."""

    id: Annotated[Id | None, PUBLIC] = None


class RestartArgs(Message):
    """Names the agent to restart; without one, the device's agents all."""

    agent: Annotated[Id | None, PUBLIC] = None


@dataclass(frozen=True)
class CommandSpec:
    """A command: its topic ``cmd/{target}/{name}``, who answers, who may ask, what it takes.

    ``agent`` may be a template (``camera_{cam}``); ``target`` then is the agent's name.
    """

    target: str
    name: str
    agent: str
    role: Role
    args: type[Message]
    about: str

    def answered_by(self, agent: str) -> bool:
        """Whether an agent of that name answers this command."""
        return self.agent == agent or (self.agent == "camera_*" and agent.startswith("camera_"))


COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec("booking", "start", "bridge", "court", StartArgs, "record now"),
    CommandSpec("booking", "stop", "bridge", "court", NoArgs, "end what runs now, and keep it"),
    CommandSpec("booking", "cut", "bridge", "court", CutArgs, "a clip of the last seconds"),
    CommandSpec("booking", "book", "bridge", "admin", BookArgs, "book the court"),
    CommandSpec("booking", "cancel", "bridge", "admin", BookingIdArgs, "withdraw a booking"),
    CommandSpec("booking", "extend", "bridge", "admin", ExtendArgs, "move the end of a booking"),
    CommandSpec("booking", "automatic", "bridge", "admin", AutomaticArgs, "record booked bookings, or not"),
    CommandSpec("camera_*", "snapshot", "camera_*", "court", NoArgs, "a still picture"),
    CommandSpec("camera_*", "restart", "camera_*", "admin", NoArgs, "restart capture"),
    CommandSpec("processor", "pause", "processor", "admin", NoArgs, "stop rendering for a while"),
    CommandSpec("processor", "resume", "processor", "admin", NoArgs, "go on rendering"),
    CommandSpec("uploader", "pause", "uploader", "admin", NoArgs, "stop uploading for a while"),
    CommandSpec("uploader", "resume", "uploader", "admin", NoArgs, "go on uploading"),
    CommandSpec("uploader", "retry", "uploader", "admin", NoArgs, "try again now"),
    CommandSpec("health", "preflight", "health", "court", PreflightArgs, "will the next booking record"),
    CommandSpec("health", "doctor", "health", "admin", NoArgs, "what is wrong here"),
    CommandSpec("health", "logs", "health", "admin", NoArgs, "the last log lines"),
    CommandSpec("health", "restart", "health", "admin", RestartArgs, "restart agents"),
    CommandSpec("*", "log_level", "*", "admin", LogLevelArgs, "how much an agent logs"),
)


def command_for(target: str, name: str) -> CommandSpec | None:
    """The command with that topic, or None."""
    for spec in COMMANDS:
        fits = spec.target in (target, "*") or (spec.target == "camera_*" and target.startswith("camera_"))
        if fits and spec.name == name:
            return spec
    return None


def commands_of(agent: str) -> tuple[CommandSpec, ...]:
    """What an agent understands."""
    return tuple(spec for spec in COMMANDS if spec.answered_by(agent) or spec.agent == "*")
