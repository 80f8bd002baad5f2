"""Small agents, an ear on the bus, and a host in a thread: what the tests of the runtime share."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_agent.core.agent import (
    Act,
    Agent,
    Asked,
    Changed,
    Effect,
    Event,
    Reply,
    Stamp,
    Started,
    World,
)
from edge_agent.demo.servers import Mosquitto
from edge_agent.runtime.bus import Bus, BusEvent, Connected, Endpoint, Received, Subscription
from edge_agent.runtime.clock import SystemClock
from edge_agent.runtime.host import Host, Place
from schemas.acl import accounts, render_acl
from schemas.agent import AgentStatus
from schemas.base import Envelope, Message, encode
from schemas.booking import Booking
from schemas.commands import Answer
from schemas.recording import MergeStage
from schemas.registry import AGENT_STATUS, BOOKING, MERGE
from schemas.topics import ROOT, Address, Topic

DEV = "court-1"
CAMERAS = ("left", "right")
PASSWORDS = {name: f"{name}-secret" for name in accounts(CAMERAS)}
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PATIENCE_S = 30.0

State = Mapping[str, Any]


def broker_in(folder: Path, *, port: int | None = None) -> Mosquitto:
    return Mosquitto(folder, accounts=PASSWORDS, acl=render_acl(DEV, CAMERAS), port=port)


def endpoint(broker: Mosquitto, account: str) -> Endpoint:
    return Endpoint("127.0.0.1", broker.port, account, PASSWORDS[account])


def booking(rev: int = 1, **changes: Any) -> Booking:
    start, end = NOON, NOON + timedelta(hours=1)
    fields: dict[str, Any] = {"rev": rev, "start": start, "end": end, "from_": start, "to": end}
    return Booking(**{**fields, **changes})


def stamp(seq: int = 1, mono_s: float = 1.0) -> Stamp:
    return Stamp(seq, int(mono_s * 1e9), NOON + timedelta(seconds=mono_s), synced=True, boot_id="b" * 32)


# --- a merger that plans as many slots as the booking has revisions ---


def decide(state: State, event: Event, _stamp: Stamp, _settings: object) -> tuple[State, tuple[Act, ...]]:
    match event:
        case Started():
            kept = {at: message for at, message in event.remembered.items() if at.topic is MERGE}
            return {**state, "stages": kept}, tuple(state["at_start"])
        case World():
            for address, message in event.topics.items():
                state = planned(state, address, message)
            return {**state, "worlds": state["worlds"] + 1}, ()
        case Changed():
            return planned(state, event.address, event.message), ()
        case Asked():
            answer = Answer(id=event.id, status="ok", message=f"{event.name} {state['worlds']}")
            return {**state, "asked": (*state["asked"], event.id)}, (Reply(event.id, answer),)
        case _:
            return {**state, "ended": (*state["ended"], event)}, ()


def planned(state: State, address: Address[Any], message: Message | None) -> State:
    if address.topic is not BOOKING:
        return state
    stages = dict(state["stages"])
    at = MERGE.at(id=address["id"])
    if not isinstance(message, Booking):
        stages.pop(at, None)
    elif stages.get(at, MergeStage()).rev != message.rev:
        stages[at] = MergeStage(status="running", rev=message.rev, slots_planned=message.rev)
    return {**state, "stages": stages}


def toy(
    name: str = "merger",
    *,
    reads: tuple[Topic[Any], ...] = (BOOKING,),
    at_start: tuple[Effect, ...] = (),
    deciding: Callable[..., tuple[State, tuple[Act, ...]]] = decide,
    **changes: Any,
) -> Agent[State, object]:
    start: State = {
        "stages": {},
        "worlds": 0,
        "asked": (),
        "ended": (),
        "at_start": at_start,
        "status": AgentStatus(state="idle"),
    }

    def retained(state: State) -> Mapping[Address[Any], Message]:
        return {**state["stages"], AGENT_STATUS.at(agent=name): state["status"]}

    agent = Agent[State, object](
        name=name,
        subscribes=reads,
        initial=lambda _settings: start,
        decide=deciding,
        retained=retained,
        wakes=lambda state: state.get("wakes", {}),
    )
    return replace(agent, **changes)


class NoDrivers:
    """Effects end at once with their own key."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.closed = False

    def inventory(self) -> object:
        return None

    def run(self, effect: Effect) -> object:
        self.ran.append(effect.key)
        return effect.key

    def close(self) -> None:
        self.closed = True


class Running:
    """A host in a thread of this process."""

    def __init__(
        self,
        agent: Agent[Any, Any],
        where: Endpoint,
        state: Path,
        drivers: NoDrivers | None = None,
    ) -> None:
        self.drivers = drivers or NoDrivers()
        self.host = Host(agent, None, Place(DEV, where, state, "test"), self.drivers, SystemClock())
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=f"host-{agent.name}")

    def _run(self) -> None:
        try:
            self.host.run()
        except RuntimeError as error:
            self.error = error

    @property
    def state(self) -> State:
        state: State = self.host.core.state
        return state

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.host.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


class Ear:
    """Hears everything an account may hear, and may speak."""

    def __init__(
        self, where: Endpoint, filters: tuple[str, ...] = (f"{ROOT}/{DEV}/#",), name: str = "ear"
    ) -> None:
        self._where = where
        self._changed = threading.Condition()
        self.heard: list[Received] = []
        self.events: list[BusEvent] = []
        self.connections = 0
        subscriptions = [Subscription(path) for path in filters]
        self.bus = Bus(where, f"{name}-{where.account}-{id(self)}", subscriptions, self._take)

    def _take(self, item: BusEvent) -> None:
        with self._changed:
            self.events.append(item)
            if isinstance(item, Received):
                self.heard.append(item)
            if isinstance(item, Connected):
                self.connections += 1
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self.bus.start()
        self.until(lambda: self.connections > 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bus.stop()

    def until(self, true: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, PATIENCE_S), [(i.topic, i.payload[:80]) for i in self.heard]

    def payloads(self, path: str) -> list[bytes]:
        """Everything heard on a path below the device's root."""
        return [item.payload for item in list(self.heard) if item.topic == f"{ROOT}/{DEV}/{path}"]

    def latest(self, path: str) -> bytes:
        return (self.payloads(path) or [b""])[-1]

    def retained(self) -> dict[str, bytes]:
        """What stands now, as far as heard: path to payload."""
        stands: dict[str, bytes] = {}
        for item in list(self.heard):
            stands[item.topic.removeprefix(f"{ROOT}/{DEV}/")] = item.payload
        return {path: payload for path, payload in stands.items() if payload}

    def say(self, address: Address[Any], message: Message | None, *, retain: bool = True) -> None:
        envelope = Envelope(datetime.now(UTC), self._where.account, "ear", 1)
        self.say_raw(address.path, encode(message, envelope) if message else b"", retain=retain)

    def say_raw(self, path: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.bus.publish(f"{ROOT}/{DEV}/{path}", payload, retain=retain)
        self.bus.flush(PATIENCE_S)


def eventually(true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)
