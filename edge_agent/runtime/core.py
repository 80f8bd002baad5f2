"""The host's decisions, without I/O: which effects start, what is published, when to wake.

Sans-I/O so that the real host (`edge_agent.runtime.host`) and the simulator (`edge_agent.sim`) share it.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from edge_agent.core.agent import (
    SECOND_NS,
    Act,
    Acts,
    Agent,
    Asked,
    Done,
    Effect,
    Event,
    Failed,
    Reply,
    Say,
    Stamp,
    Started,
    World,
)
from edge_agent.runtime.presence import Identity, online
from edge_agent.runtime.retained import Holding, Looks, Memory, Retained
from schemas.agent import AgentInfo, AgentStatus, Alarm, CommandInfo
from schemas.base import Message
from schemas.commands import Answer, commands_of
from schemas.registry import AGENT_INFO, AGENT_STATUS, ALARM
from schemas.topics import Address

__all__ = ["HostCore", "Identity", "Turn", "info_of"]

S = TypeVar("S")
C = TypeVar("C")

IDLE_PERIOD_NS = 60 * SECOND_NS
HURRIED_PERIOD_NS = 10 * SECOND_NS
MAX_FIRED = 1000


@dataclass
class Turn:
    """What the shell has to do after one event, in this order: remember, publish, say, reply, start."""

    publish: list[tuple[Address[Any], Message | None]] = field(
        default_factory=list[tuple[Address[Any], Message | None]]
    )
    remember: list[tuple[Address[Any], Message | None]] = field(
        default_factory=list[tuple[Address[Any], Message | None]]
    )
    say: list[Say] = field(default_factory=list[Say])
    replies: list[Reply] = field(default_factory=list[Reply])
    start: list[Effect] = field(default_factory=list[Effect])
    acts: Acts = ()


class HostCore(Generic[S, C]):
    """One agent's bookkeeping between the world and its ``decide``.

    ``decide`` raising is our bug: the state stays as it was, the alarm ``agent_fault`` is raised, a
    command is answered with an error, and the shell is told by `faults`. On `Started` it is raised
    again: an agent that has not understood its own disk must not clear what it wrote.
    """

    def __init__(self, agent: Agent[S, C], settings: C, identity: Identity) -> None:
        self.agent = agent
        self.settings = settings
        self.identity = identity
        self.state = agent.initial(settings)
        self.faults = 0
        self.last_fault: BaseException | None = None
        self._alarms: dict[str, Alarm] = {}
        self._in_flight: dict[str, Effect] = {}
        self._queued: dict[str, deque[Effect]] = {}
        self._busy: Counter[str] = Counter()
        self._fired: dict[str, int] = {}
        self._wakes_of: tuple[S, Mapping[str, int]] | None = None
        self._looks = Looks()
        self._viewed: S | None = None
        self._host_changed = True
        self._memory = Memory()
        self._memory_looked = False
        self._holding: Holding | None = None
        self._whole_look = False
        self._info = info_of(agent.name, identity.version)
        self._online: tuple[Address[Any], Message] | None = None

    # --- events in ---

    def feed(self, event: Event, stamp: Stamp) -> Turn:
        """One event through ``decide``; what follows from it.

        Raises:
            Exception: whatever ``decide`` raised on `Started`.
        """
        turn = Turn()
        if isinstance(event, Done | Failed):
            self._ended(event.key, turn)
        try:
            self.state, turn.acts = self.agent.decide(self.state, event, stamp, self.settings)
        except Exception as error:  # a bug of ours must not stop a recording; it is alarmed
            if isinstance(event, Started):
                raise
            self._fault(error, stamp)
            if isinstance(event, Asked):
                apology = Answer(id=event.id, status="error", message="a fault of the software; see the log")
                turn.replies.append(Reply(event.id, apology))
        for act in turn.acts:
            self._sort(act, turn)
        self._compare(stamp, turn)
        return turn

    def _sort(self, act: Act, turn: Turn) -> None:
        match act:
            case Reply():
                turn.replies.append(act)
            case Say():
                turn.say.append(act)
            case Effect():
                self._ask(act, turn)

    def connected(self, own: Retained, world: Retained, stamp: Stamp) -> Turn:
        """The retained snapshot is whole: ``own`` is what the broker holds of our topics."""
        self._holding = Holding(own, stamp.mono_ns)
        self._whole_look = True
        return self.feed(World(world), stamp)

    def disconnected(self) -> None:
        """Nothing is known of the broker until the next snapshot."""
        self._holding = None

    def refresh(self, stamp: Stamp) -> Turn:
        """Publish what is due although nothing but volatile fields changed."""
        turn = Turn()
        self._compare(stamp, turn)
        return turn

    # --- timers ---

    def due(self, now_ns: int) -> list[str]:
        """Keys of the wakes that are due and have not fired for that time; marks them as fired."""
        wakes = self._wakes()
        ready = [key for key, at_ns in wakes.items() if at_ns <= now_ns and self._fired.get(key) != at_ns]
        for key in ready:
            self._fired[key] = wakes[key]
        if len(self._fired) > MAX_FIRED:
            self._fired = {key: at_ns for key, at_ns in self._fired.items() if key in wakes}
        return sorted(ready)

    def next_wake_ns(self) -> int | None:
        """When something is due next: a wake, or a publication of volatile fields."""
        times = [at_ns for key, at_ns in self._wakes().items() if self._fired.get(key) != at_ns]
        if self._holding is not None:
            later_ns = self._holding.next_ns(self._period_ns())
            if later_ns is not None:
                times.append(later_ns)
        return min(times, default=None)

    def _wakes(self) -> Mapping[str, int]:
        if self._wakes_of is None or self._wakes_of[0] is not self.state:
            self._wakes_of = (self.state, self.agent.wakes(self.state))
        return self._wakes_of[1]

    # --- effects ---

    @property
    def in_flight(self) -> Mapping[str, Effect]:
        """Effects started and not ended."""
        return self._in_flight

    @property
    def waiting(self) -> bool:
        """Whether effects were asked for that wait for others in their lane."""
        return any(self._queued.values())

    def _ask(self, effect: Effect, turn: Turn) -> None:
        if effect.key in self._in_flight:
            return
        queue = self._queued.setdefault(effect.lane, deque())
        for place, waiting in enumerate(queue):
            if waiting.key == effect.key:
                queue[place] = effect  # the newer asking knows better
                return
        queue.append(effect)
        self._start(effect.lane, turn)

    def _start(self, lane: str, turn: Turn) -> None:
        queue = self._queued.get(lane)
        while queue and self._busy[lane] < self.agent.lanes.get(lane, 1):
            effect = queue.popleft()
            self._in_flight[effect.key] = effect
            self._busy[lane] += 1
            turn.start.append(effect)

    def _ended(self, key: str, turn: Turn) -> None:
        effect = self._in_flight.pop(key, None)
        if effect is not None:
            self._busy[effect.lane] -= 1
            self._start(effect.lane, turn)

    # --- retained topics ---

    def wanted(self, stamp: Stamp) -> dict[Address[Any], Message]:
        """Every retained topic this agent wants to exist now, the host's own included."""
        name = self.agent.name
        topics: dict[Address[Any], Message] = dict(self.agent.retained(self.state))
        topics[AGENT_INFO.at(agent=name)] = self._info
        if self._online is None:
            self._online = online(name, self.identity, stamp.boot_id)
        topics[self._online[0]] = self._online[1]
        for alarm, message in self._alarms.items():
            topics[ALARM.at(agent=name, alarm=alarm)] = message
        return topics

    def adopt_remembered(self, topics: Retained) -> None:
        """What the disk holds of our own remembered topics, before the first event."""
        name = self.agent.name
        self._memory.adopt({at: m for at, m in topics.items() if at.topic.owner_of(at) == name})

    def _compare(self, stamp: Stamp, turn: Turn) -> None:
        changed: list[Address[Any]] = []
        gone: list[Address[Any]] = []
        if self._host_changed or self._viewed is not self.state:
            changed, gone = self._looks.look(self.wanted(stamp))
            self._viewed, self._host_changed = self.state, False
            forgotten = gone if self._memory_looked else self._memory.strangers(self._looks.wanted)
            self._memory_looked = True
            turn.remember.extend(self._memory.changes(self._looks.wanted, changed, forgotten))
        if self._holding is not None:
            self._publish(self._holding, changed, gone, stamp, turn)

    def _publish(
        self,
        holding: Holding,
        changed: list[Address[Any]],
        gone: list[Address[Any]],
        stamp: Stamp,
        turn: Turn,
    ) -> None:
        wanted, period_ns = self._looks.wanted, self._period_ns()
        if self._whole_look:
            self._whole_look = False
            changed, gone = list(wanted), holding.strangers(wanted)
        for address in (*changed, *holding.due(stamp.mono_ns, period_ns)):
            message = self._filled(address, wanted[address], stamp)
            if holding.compare(address, message, stamp.mono_ns, period_ns):
                turn.publish.append((address, message))
            if address.topic is AGENT_STATUS:
                holding.await_period(address)
        turn.publish.extend((address, None) for address in gone if holding.clear(address))

    def _filled(self, address: Address[Any], message: Message, stamp: Stamp) -> Message:
        if address.topic is AGENT_STATUS and isinstance(message, AgentStatus):
            return message.model_copy(update={"heartbeat": stamp.wall, "pid": self.identity.pid})
        return message

    def _period_ns(self) -> int:
        return HURRIED_PERIOD_NS if self.agent.hurried(self.state) else IDLE_PERIOD_NS

    # --- the host's own alarms ---

    def raise_alarm(self, alarm: str, message: Alarm) -> None:
        """Let an alarm of the host stand; one that stands keeps its ``since``."""
        standing = self._alarms.get(alarm)
        told = message.model_copy(update={"since": standing.since}) if standing else message
        if told != standing:
            self._alarms[alarm] = told
            self._host_changed = True

    def clear_alarm(self, alarm: str) -> None:
        """End an alarm of the host."""
        if self._alarms.pop(alarm, None) is not None:
            self._host_changed = True

    def _fault(self, error: BaseException, stamp: Stamp) -> None:
        self.faults += 1
        self.last_fault = error
        fault = Alarm(
            severity="major",
            text=f"{self.agent.name} met a fault of the software ({type(error).__name__}) and went on",
            since=stamp.wall,
            subject=self.agent.name,
            mend="Send the support bundle to the makers; restarting the agent clears this.",
        )
        self.raise_alarm("agent_fault", fault)


def info_of(name: str, version: str) -> AgentInfo:
    """What an agent understands, with the JSON Schema of each command's arguments."""
    return AgentInfo(
        version=version,
        commands=tuple(
            CommandInfo(
                target=name if spec.target in ("*", "camera_*") else spec.target,
                name=spec.name,
                role=spec.role,
                args=spec.args.model_json_schema(),
            )
            for spec in commands_of(name)
        ),
    )
