"""Who an agent is on the bus: its availability, its will, and what it subscribes to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.core.agent import Agent
from edge_agent.runtime.bus import Subscription
from schemas.agent import AgentAvailability
from schemas.base import Message
from schemas.commands import commands_of
from schemas.health import Availability
from schemas.registry import AGENT_AVAILABILITY, AGENT_SYNC, AVAILABILITY, COMMAND, TOPICS
from schemas.topics import ROOT, Address


@dataclass(frozen=True)
class Identity:
    """This run of an agent."""

    session: str
    pid: int
    version: str


def online(agent: str, identity: Identity, boot_id: str) -> tuple[Address[Any], Message]:
    """The topic that says an agent runs; health speaks for the whole device."""
    return _said(agent, identity, "online", boot_id)


def gone(
    agent: str, identity: Identity, state: Literal["stopped", "offline"]
) -> tuple[Address[Any], Message]:
    """The same topic at the end: ``stopped`` as a goodbye, ``offline`` as the will."""
    return _said(agent, identity, state, None)


def _said(
    agent: str, identity: Identity, state: Literal["online", "stopped", "offline"], boot_id: str | None
) -> tuple[Address[Any], Message]:
    if agent == "health":
        device = Availability(
            state=state, version=identity.version, boot_id=boot_id, session=identity.session
        )
        return AVAILABILITY.at(), device
    own = AgentAvailability(state=state, session=identity.session, pid=identity.pid)
    return AGENT_AVAILABILITY.at(agent=agent), own


def subscriptions(agent: Agent[Any, Any], dev: str) -> tuple[Subscription, ...]:
    """Its own retained topics (to compare them), what it reads, its commands, its nonce.

    No filter is asked for that another one covers: the broker would send its retained messages twice.
    """
    name = agent.name
    own = {path for topic in TOPICS if topic.retained and (path := topic.owned_filter(name)) is not None}
    read = uncovered(topic.filter() for topic in agent.subscribes)
    quiet = uncovered(path for path in own if not any(covers(wide, path) for wide in read))
    heard = [*read, *(COMMAND.filter(target=target) for target in targets(name))]
    return (
        *(Subscription(f"{ROOT}/{dev}/{path}", no_local=True) for path in quiet),
        *(Subscription(f"{ROOT}/{dev}/{path}") for path in heard),
        Subscription(f"{ROOT}/{dev}/{AGENT_SYNC.filter(agent=name)}"),
    )


def targets(agent: str) -> tuple[str, ...]:
    """Targets of the commands an agent answers."""
    own = {spec.target for spec in commands_of(agent) if spec.target not in ("*", "camera_*")}
    return tuple(sorted(own | {agent}))


def uncovered(filters: Iterable[str]) -> list[str]:
    """The filters without those that another one of them covers, sorted."""
    distinct = sorted(set(filters))
    return [path for path in distinct if not any(covers(wide, path) for wide in distinct if wide != path)]


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic of ``narrow`` is one of ``wide``; both of levels and ``+`` only."""
    levels, others = wide.split("/"), narrow.split("/")
    return len(levels) == len(others) and all(a in ("+", b) for a, b in zip(levels, others, strict=True))
