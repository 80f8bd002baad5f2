"""The host: one agent on a real bus, a real clock and real drivers. One inbox, one thread.

The network thread and the effect threads only enqueue; everything is decided in `Host.run`.
"""

import fcntl
import logging
import os
import queue
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from edge_agent.core.agent import (
    SECOND_NS,
    Agent,
    Changed,
    Done,
    Event,
    Failed,
    Stamp,
    Started,
    Tick,
    World,
    wall_ns,
)
from edge_agent.runtime.bus import (
    Bus,
    BusEvent,
    Connected,
    Disconnected,
    Endpoint,
    Received,
    Refused,
    Will,
)
from edge_agent.runtime.clock import Clock
from edge_agent.runtime.complaints import Complaints
from edge_agent.runtime.core import HostCore, Identity, Turn
from edge_agent.runtime.desk import Desk, Outgoing
from edge_agent.runtime.journal import Journal
from edge_agent.runtime.memory import LAST_SEEN, Answered, Remembered
from edge_agent.runtime.notify import Notifier
from edge_agent.runtime.presence import gone, subscriptions
from edge_agent.runtime.snapshot import Reader, Snapshot, read
from edge_agent.runtime.workers import Drivers, start
from schemas.agent import Sync
from schemas.base import MAX_PAYLOAD_BYTES, Envelope, Message, PayloadError, decode, encode
from schemas.booking import Booking
from schemas.commands import Answer, LogLevelArgs
from schemas.registry import AGENT_SYNC, COMMAND
from schemas.topics import Address

__all__ = ["AlreadyRunning", "Drivers", "Host", "Place"]

log = logging.getLogger(__name__)

ROUND_NS = SECOND_NS
"""How often the host looks after itself, however busy or idle the agent is."""

MAX_UNSENT = 100
OLD_BOOKING = timedelta(days=8)


@dataclass(frozen=True)
class Place:
    """Where an agent runs: device, broker, private folder, and how long its journal is kept."""

    dev: str
    endpoint: Endpoint
    state: Path
    version: str
    journal_days: int = 7


class AlreadyRunning(Exception):
    """Another process runs this agent on this folder."""


@dataclass(frozen=True)
class _Stop:
    """Asks the host to end."""


_Item: TypeAlias = BusEvent | Done | Failed | _Stop


class Host:
    """Runs one agent until `stop`. Not reusable."""

    def __init__(
        self, agent: Agent[Any, Any], settings: object, place: Place, drivers: Drivers, clock: Clock
    ) -> None:
        self._agent = agent
        self._place = place
        self._drivers = drivers
        self._clock = clock
        self._identity = Identity(uuid.uuid4().hex[:12], os.getpid(), place.version)
        self._sent = 0
        self.core: HostCore[Any, Any] = HostCore(agent, settings, self._identity)
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._lock = _take_lock(agent.name, place.state)
        self._memory = Remembered(place.state / "remembered")
        answered = Answered(place.state / "answered.jsonl", wall_ns(clock.wall()))
        self._desk = Desk(agent.name, place.dev, answered, self._identity.session)
        self._journal = Journal(place.state / "journal", place.journal_days)
        self._reader = Reader(agent.name, place.dev, agent.subscribes)
        self._complaints = Complaints(self.core, place.dev, clock.mono_ns())
        name = f"{place.dev}-{agent.name}"
        self._bus = Bus(place.endpoint, name, subscriptions(agent, place.dev), self._inbox.put, self._will())
        self._snapshot: Snapshot | None = Snapshot(clock.mono_ns())
        self._notifier = Notifier()
        self._seq = 0
        self._round_ns = 0
        self._unsent: list[Outgoing] = []
        self._faults_logged = 0

    def _will(self) -> Will:
        address, offline = gone(self._agent.name, self._identity, "offline")
        return Will(address.full(self._place.dev), encode(offline, self._envelope()))

    # --- the loop ---

    def run(self) -> None:
        """Run until `stop`; then say goodbye on the bus and close the drivers.

        Raises:
            RuntimeError: the network thread died, or the agent did not understand its own disk; the
                process must be replaced.
        """
        with ExitStack() as ending:
            ending.callback(os.close, self._lock)
            ending.callback(self._journal.close)
            ending.callback(self._drivers.close)
            self._begin()
            self._notifier.ready()
            ending.callback(self._goodbye)
            self._bus.start()
            while self._turn():
                pass

    def stop(self) -> None:
        """Ask the loop to end. Safe from any thread and from a signal handler."""
        self._inbox.put(_Stop())

    def _begin(self) -> None:
        remembered = self._memory.load()
        for address in self._long_over(remembered):
            self._memory.keep(address, None)
            del remembered[address]
        self.core.adopt_remembered(remembered)
        self._journal.begin(self.core.state, self._clock.wall().timestamp())
        inventory = self._drivers.inventory()
        try:
            self._feed(Started(inventory, remembered))
        except Exception as error:
            raise RuntimeError(f"fault on start: {type(error).__name__}: {error}") from error

    def _long_over(self, remembered: dict[Address[Any], Message]) -> list[Address[Any]]:
        """Bookings of another owner that ended days ago: their clearing came while we were away."""
        before = self._clock.wall() - OLD_BOOKING
        return [
            address
            for address, message in remembered.items()
            if isinstance(message, Booking) and not self._reader.owns(address) and message.to < before
        ]

    def _turn(self) -> bool:
        item = self._next()
        match item:
            case _Stop():
                self._notifier.stopping()
                return False
            case None:
                self._carry_out(self.core.refresh(self._stamp()))
            case Done() | Failed():
                self._feed(item)
            case _:
                self._from_bus(item)
        for key in self.core.due(self._clock.mono_ns()):
            self._feed(Tick(key))
        if self._clock.mono_ns() >= self._round_ns:
            self._look_after_itself()
        return True

    def _next(self) -> _Item | None:
        until_ns = self._round_ns
        wake_ns = self.core.next_wake_ns()
        if wake_ns is not None:
            until_ns = min(until_ns, wake_ns)
        wait_s = (until_ns - self._clock.mono_ns()) / SECOND_NS
        try:
            return self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _look_after_itself(self) -> None:
        if not self._bus.alive():
            raise RuntimeError("the network thread died")
        now_ns = self._clock.mono_ns()
        self._round_ns = now_ns + ROUND_NS
        self._notifier.beat()
        self._memory.retry()
        self._complaints.report(now_ns)
        if self._snapshot is not None and self._snapshot.stuck(now_ns):
            log.warning("the retained snapshot did not end, asking again")
            self._new_snapshot()
            self._bus.resubscribe()

    def _goodbye(self) -> None:
        if self._bus.ready():
            address, stopped = gone(self._agent.name, self._identity, "stopped")
            self._bus.publish(address.full(self._place.dev), encode(stopped, self._envelope()), retain=True)
            self._bus.flush(1.0)
        self._bus.stop()

    # --- one event ---

    def _stamp(self) -> Stamp:
        self._seq += 1
        clock = self._clock
        return Stamp(self._seq, clock.mono_ns(), clock.wall(), clock.synced(), clock.boot_id())

    def _feed(self, event: Event) -> None:
        stamp = self._stamp()
        self._follow(event, stamp, self.core.feed(event, stamp))

    def _follow(self, event: Event, stamp: Stamp, turn: Turn) -> None:
        self._journal.record(stamp, event, turn.acts, self.core.state)
        if self.core.faults > self._faults_logged:
            self._faults_logged = self.core.faults
            log.error("fault in decide on %s", type(event).__name__, exc_info=self.core.last_fault)
        self._carry_out(turn)

    def _carry_out(self, turn: Turn) -> None:
        for address, message in turn.remember:
            self._memory.keep(address, message)
        for address, message in turn.publish:
            payload = encode(message, self._envelope()) if message is not None else b""
            self._bus.publish(address.full(self._place.dev), payload, retain=True)
        for say in turn.say:
            payload = encode(say.message, self._envelope())
            self._bus.publish(say.address.full(self._place.dev), payload, retain=False)
        for reply in turn.replies:
            outgoing = self._desk.answer(reply.command_id, reply.answer, self._clock.wall())
            if outgoing is not None:
                self._send(outgoing)
        for effect in turn.start:
            start(effect, self._drivers, self._inbox.put)

    def _send(self, outgoing: Outgoing) -> None:
        payload = encode(outgoing.answer, self._envelope())
        if len(payload) > MAX_PAYLOAD_BYTES:
            text = f"the answer has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may be sent"
            payload = encode(Answer(id=outgoing.answer.id, status="error", message=text), self._envelope())
        if not self._bus.publish(outgoing.address.full(self._place.dev), payload, retain=False):
            self._unsent = [*self._unsent, outgoing][-MAX_UNSENT:]
            return
        if outgoing.response_topic:
            self._bus.publish(
                outgoing.response_topic, payload, retain=False, correlation=outgoing.correlation
            )

    def _envelope(self) -> Envelope:
        self._sent += 1
        return Envelope(self._clock.wall(), self._agent.name, self._identity.session, self._sent)

    # --- the bus ---

    def _from_bus(self, item: BusEvent) -> None:
        match item:
            case Received():
                self._received(item)
            case Connected():
                self._ask_snapshot()
            case Disconnected():
                self._new_snapshot()
                self.core.disconnected()
                self._complaints.disconnected(item.reason, self._clock.mono_ns())
            case Refused():
                self._complaints.not_published(item.text, self._clock.wall())
                self._carry_out(self.core.refresh(self._stamp()))

    def _new_snapshot(self) -> None:
        held = self._snapshot.held if self._snapshot else []
        self._snapshot = Snapshot(self._clock.mono_ns())
        self._snapshot.held = held

    def _ask_snapshot(self) -> None:
        if self._snapshot is None:
            self._new_snapshot()
        now_ns = self._clock.mono_ns()
        self._complaints.connected(now_ns)
        nonce = uuid.uuid4().hex
        if self._snapshot is not None:
            self._snapshot.nonce = nonce
            self._snapshot.moved(now_ns)
        sync = AGENT_SYNC.at(agent=self._agent.name)
        self._bus.publish(
            sync.full(self._place.dev), encode(Sync(nonce=nonce), self._envelope()), retain=False
        )

    def _received(self, item: Received) -> None:
        if self._snapshot is not None:
            self._snapshot.moved(self._clock.mono_ns())
        address = self._reader.address(item.topic)
        if address is None:
            return
        if address.topic is COMMAND:
            self._command(address, item)
        elif self._reader.is_sync(address):
            self._synced(item)
        else:
            self._topic(address, item)

    def _topic(self, address: Address[Any], item: Received) -> None:
        own, reads = self._reader.owns(address), self._reader.reads(address)
        if not reads and self._snapshot is None:
            return
        message, readable = None, True
        try:
            message = read(address, item.payload)
        except PayloadError as error:
            self._complaints.drop(address.path, str(error))
            readable = False
        if own and self._snapshot is not None:
            self._snapshot.note_own(address, message, readable=readable)
        if not reads or not readable:
            return
        if address.topic in LAST_SEEN and not own:
            self._memory.keep(address, message)
        if self._snapshot is not None:
            self._snapshot.note_world(address, message)
        else:
            self._feed(Changed(address, message))

    def _synced(self, item: Received) -> None:
        snapshot = self._snapshot
        try:
            nonce = decode(Sync, item.payload).nonce
        except PayloadError:
            return
        if snapshot is None or nonce != snapshot.nonce:
            return
        self._snapshot = None
        unsent, self._unsent = self._unsent, []
        stamp = self._stamp()
        turn = self.core.connected(snapshot.own, snapshot.world, stamp)
        self._follow(World(snapshot.world), stamp, turn)
        for outgoing in unsent:
            self._send(outgoing)
        for address, command in snapshot.held:
            self._command(address, command)

    def _command(self, address: Address[Any], item: Received) -> None:
        if item.retained:
            self._complaints.retained_command(address, item.payload, self._clock.wall())
            self._carry_out(self.core.refresh(self._stamp()))
            return
        if self._snapshot is not None:
            if not self._snapshot.hold(address, item):
                self._complaints.drop(address.path, "too many commands before the world is known")
            return
        outcome = self._desk.receive(address, item, self._clock.wall())
        if isinstance(outcome, Outgoing):
            self._send(outcome)
        elif outcome is not None:
            if isinstance(outcome.args, LogLevelArgs):
                logging.getLogger().setLevel(outcome.args.level.upper())
            self._feed(outcome)


def _take_lock(agent: str, state: Path) -> int:
    state.mkdir(parents=True, exist_ok=True)
    handle = os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise AlreadyRunning(f"{agent} already runs on {state}: expected one process") from None
    return handle
