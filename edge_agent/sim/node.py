"""One agent as a process of the simulated device, which may be killed between any two of its steps."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_agent.core.agent import (
    SECOND_NS,
    Agent,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Stamp,
    Started,
    Tick,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from edge_agent.runtime.bus import Received
from edge_agent.runtime.core import HostCore, Identity, Turn
from edge_agent.runtime.desk import Desk, Outgoing
from edge_agent.runtime.memory import LAST_SEEN, must_last
from edge_agent.sim.answered import Answered
from edge_agent.sim.broker import Broker
from edge_agent.sim.disk import Disk
from edge_agent.sim.loop import MS_NS, Loop, Violation
from schemas.agent import AgentAvailability
from schemas.base import Message, validate
from schemas.commands import Answer
from schemas.health import Availability
from schemas.registry import AGENT_AVAILABILITY, AVAILABILITY, find
from schemas.topics import Address

Finish = Callable[[object], None]
SPIN_NS = 10 * SECOND_NS
SPIN_EVENTS = 4000
BEFORE_WORLD = ("CaptureStart", "CaptureStop", "SetCuts", "WatchCapture", "Claim")


class Drivers(Protocol):
    """The fake I/O of one agent's process."""

    def inventory(self) -> object:
        """What is on disk now."""
        ...

    def start(self, effect: Effect, finish: Finish) -> None:
        """Begin an effect; ``finish`` gets its result or an `EffectFailed`, never at once."""
        ...

    def killed(self) -> None:
        """The process is dead: what was under way happened or not."""
        ...

    def stirred(self) -> None:
        """Effects wait for those under way to end."""
        ...


class Clocks(Protocol):
    """The device's clocks."""

    def stamp(self, seq: int) -> Stamp:
        """Both clocks now."""
        ...

    def true_of(self, mono_ns: int) -> int:
        """True time of a moment of this boot's monotonic clock."""
        ...

    def mono_ns(self) -> int:
        """This boot's monotonic clock."""
        ...


class Killed(Exception):
    """The process died in the middle of carrying something out."""


class Shared:
    """What all nodes of a device share."""

    def __init__(self, loop: Loop, disk: Disk, broker: Broker, clocks: Clocks, settings: Settings) -> None:
        self.loop = loop
        self.disk = disk
        self.broker = broker
        self.clocks = clocks
        self.settings = settings


class Node:
    """An agent's place on the device. ``core`` is None while no process runs."""

    def __init__(
        self,
        shared: Shared,
        name: str,
        agent: Callable[[], Agent[Any, Any]],
        drivers: Callable[[], Drivers],
    ) -> None:
        self.name = name
        self.core: HostCore[Any, Any] | None = None
        self.connected = False
        self.runs = 0
        self.doom: int | None = None
        self._shared = shared
        self._make_agent = agent
        self._make_drivers = drivers
        self._drivers: Drivers | None = None
        self._desk: Desk | None = None
        self._lots = shared.loop.lots(f"node/{name}")
        self._seq = 0
        self._armed_ns: int | None = None
        self._reads: frozenset[str] = frozenset()
        self._unkept: dict[Address[Any], Message | None] = {}
        self._knows_world = False
        self._window = (0, 0)

    # --- life ---

    def start(self) -> None:
        """Start the process: from the disk's inventory and its own last messages."""
        if self.core is not None:
            return
        self.runs += 1
        self._seq = 0
        self._knows_world = False
        agent = self._make_agent()
        self._reads = frozenset(topic.key for topic in agent.subscribes)
        self._unkept.clear()
        drivers = self._drivers = self._make_drivers()
        core = self.core = HostCore(agent, self._shared.settings, Identity(f"r{self.runs}", self.runs, "sim"))
        answered = Answered(self._shared.disk, f"state/{self.name}/answered")
        self._desk = Desk(self.name, "sim", answered, f"r{self.runs}")
        self._shared.loop.note(self.name, "started", self.runs)
        remembered = self._remembered()
        core.adopt_remembered(remembered)
        self._feed(Started(drivers.inventory(), remembered))
        self._connect_later(self.runs)

    def kill(self) -> None:
        """End the process at once; its will is published."""
        if self.core is None:
            return
        self._shared.loop.note(self.name, "killed")
        self.core = None
        self.connected = False
        self.doom = None
        drivers, self._drivers = self._drivers, None
        if drivers is not None:
            drivers.killed()
        self._shared.broker.leave(self.name)
        self._publish_will()

    def _publish_will(self) -> None:
        if not self._shared.broker.up:
            return
        session = f"r{self.runs}"
        if self.name == "health":
            self._shared.broker.publish(
                self.name, AVAILABILITY.at(), Availability(state="offline", session=session)
            )
        else:
            gone = AgentAvailability(state="offline", session=session)
            self._shared.broker.publish(self.name, AGENT_AVAILABILITY.at(agent=self.name), gone)

    # --- memory ---

    def _memory(self, address: Address[Any]) -> str:
        return f"state/{self.name}/remembered/{address.path}"

    def _remembered(self) -> dict[Address[Any], Message]:
        prefix = f"state/{self.name}/remembered/"
        found: dict[Address[Any], Message] = {}
        for path in self._shared.disk.below(prefix):
            address, message = find(path.removeprefix(prefix)), self._shared.disk.read(path)
            if address is not None and isinstance(message, Message):
                found[address] = again(message)
        return found

    def _remember(self, address: Address[Any], message: Message | None) -> None:
        try:
            if message is None:
                self._shared.disk.delete(self._memory(address))
            else:
                self._shared.disk.write(self._memory(address), message, durable=must_last(message))
        except EffectFailed:
            self._shared.loop.note(self.name, "cannot remember", address.path)
            self._unkept[address] = message
            if len(self._unkept) == 1:
                self._retry_later(self.runs)
            return
        self._unkept.pop(address, None)

    def _retry_later(self, run: int) -> None:
        def retry() -> None:
            if self.core is None or self.runs != run:
                return
            unkept, self._unkept = self._unkept, {}
            for address, message in unkept.items():
                self._remember(address, message)

        self._shared.loop.after(SECOND_NS, retry)

    # --- the bus ---

    def _connect_later(self, run: int) -> None:
        def connect() -> None:
            if self.core is None or self.runs != run or self.connected:
                return
            topics = self._shared.broker.connect(self)
            if topics is None:
                self._connect_later(run)
                return
            self._snapshot(self.core, topics)

        self._shared.loop.after(self._lots.randint(40, 1200) * MS_NS, connect)

    def _snapshot(self, core: HostCore[Any, Any], topics: Mapping[Address[Any], Message]) -> None:
        self.connected = True
        own = {at: again(m) for at, m in topics.items() if at.topic.owner_of(at) == self.name}
        world = {at: m for at, m in topics.items() if at.topic.key in self._reads}
        for address, message in world.items():
            if address.topic in LAST_SEEN and address not in own:
                self._remember(address, message)
        self._knows_world = True
        self._shared.loop.note(self.name, "World", len(world))
        self._carry_out(core, core.connected(own, world, self._stamp()))

    def reads(self, address: Address[Any]) -> bool:
        """See `Client`."""
        return address.topic.key in self._reads

    def heard(self, address: Address[Any], message: Message | None) -> None:
        """See `Client`."""
        if address.topic in LAST_SEEN:
            self._remember(address, message)
        self._feed(Changed(address, message))

    def cut_off(self) -> None:
        """See `Client`."""
        if self.core is not None:
            self.connected = False
            self.core.disconnected()
            self._connect_later(self.runs)

    # --- commands ---

    def ask(self, address: Address[Any], command: Received) -> None:
        """A command has come. Before the world is known it is lost here; the real host holds it back."""
        core, desk = self.core, self._desk
        if core is None or desk is None or not self._knows_world:
            return
        outcome = desk.receive(address, command, self._shared.clocks.stamp(0).wall)
        if isinstance(outcome, Outgoing):
            self._shared.broker.say(self.name, outcome.address, outcome.answer)
        elif outcome is not None:
            self._feed(outcome)

    def _reply(self, command_id: str, answer: Answer) -> None:
        desk = self._desk
        outgoing = desk.answer(command_id, answer, self._shared.clocks.stamp(0).wall) if desk else None
        if outgoing is not None:
            self._shared.broker.say(self.name, outgoing.address, outgoing.answer)

    # --- one event ---

    def _stamp(self) -> Stamp:
        self._seq += 1
        return self._shared.clocks.stamp(self._seq)

    def _feed(self, event: Event) -> None:
        core = self.core
        if core is None:
            return
        self._shared.loop.note(self.name, "event", event)
        self._count(event)
        try:
            turn = core.feed(event, self._stamp())
        except Exception as error:
            raise Violation(f"{self.name} met a fault of the software on {type(event).__name__}") from error
        if core.last_fault is not None:
            raise Violation(f"{self.name} met a fault of the software") from core.last_fault
        self._carry_out(core, turn)

    def _count(self, event: Event) -> None:
        """An agent that asks for the same for ever is a fault too, though every answer is right."""
        begin_ns, events = self._window
        if self._shared.loop.now_ns - begin_ns > SPIN_NS:
            begin_ns, events = self._shared.loop.now_ns, 0
        self._window = (begin_ns, events + 1)
        if events > SPIN_EVENTS:
            raise Violation(f"{self.name} spins: {events} events in 10 s, the last {str(event)[:80]}")

    def _carry_out(self, core: HostCore[Any, Any], turn: Turn) -> None:
        try:
            for address, message in turn.remember:
                self._step()
                self._remember(address, message)
            for address, message in turn.publish:
                self._step()
                self._shared.broker.publish(self.name, address, message)
            for say in turn.say:
                self._step()
                self._shared.broker.say(self.name, say.address, say.message)
            for reply in turn.replies:
                self._step()
                self._reply(reply.command_id, reply.answer)
            for effect in turn.start:
                self._step()
                self._begin(effect, self.runs)
        except Killed:
            return
        if core.waiting and self._drivers is not None:
            self._drivers.stirred()
        self._arm(core)

    def _step(self) -> None:
        """A place where the process may die."""
        if self.doom is None:
            return
        self.doom -= 1
        if self.doom <= 0:
            self.kill()
            raise Killed

    def _begin(self, effect: Effect, run: int) -> None:
        if not self._knows_world and type(effect).__name__ not in BEFORE_WORLD:
            raise Violation(f"{self.name} asked for {effect.key} before it knew the world")
        self._shared.loop.note(self.name, "starts", effect.key)

        def finish(result: object) -> None:
            if self.core is None or self.runs != run:
                return
            if isinstance(result, EffectFailed):
                if result.kind == "bug":
                    raise Violation(f"{self.name}: {effect.key} is impossible: {result.text}")
                self._feed(Failed(effect.key, result.kind, result.text, result.detail))
            else:
                self._feed(Done(effect.key, result))

        if self._drivers is not None:
            self._drivers.start(effect, finish)

    # --- timers ---

    def _arm(self, core: HostCore[Any, Any]) -> None:
        wake_ns = core.next_wake_ns()
        if wake_ns is None:
            return
        when_ns = max(self._shared.clocks.true_of(wake_ns), self._shared.loop.now_ns + MS_NS)
        if self._armed_ns is not None and self._shared.loop.now_ns < self._armed_ns <= when_ns:
            return
        self._armed_ns = when_ns
        run = self.runs

        def wake() -> None:
            if self.core is core and self.runs == run and self._armed_ns == when_ns:
                self._armed_ns = None
                self._wake(core)

        self._shared.loop.at(when_ns, wake)

    def _wake(self, core: HostCore[Any, Any]) -> None:
        due = core.due(self._shared.clocks.mono_ns())
        for key in due:
            if self.core is core:
                self._feed(Tick(key))
        if not due and self.core is core:
            self._carry_out(core, core.refresh(self._stamp()))


def again(message: Message) -> Message:
    """The message as it comes back from disk or broker: through JSON, another object."""
    return validate(type(message), json.loads(json.dumps(message.body())))
