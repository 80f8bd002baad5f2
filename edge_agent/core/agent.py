"""What an agent is: a pure function over events, with its retained topics and timers as views of its state.

``decide(state, event, stamp, settings) -> (state, effects)``. The host (`edge_agent.runtime.host`)
compares ``retained(state)`` with what the broker holds and ``wakes(state)`` with its timers, and sends
the differences. Agents never publish, wait, or read a clock.

Rules every ``decide`` keeps:

- Before `World` no effect but capturing and claiming (from the bookings last seen on disk).
- Any event may come twice, late, or from before a restart; handling it twice changes nothing.
- An effect whose key is in flight is not started again, so asking for it again is harmless: an agent
  may ask for everything still missing after every event.
- Message objects in the state are immutable and kept: equal objects keep their identity, so that the
  host compares retained views cheaply.
- It never raises for what arrives from outside; what cannot be right is answered by an alarm or an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from schemas.base import Message
from schemas.commands import Answer
from schemas.topics import Address, Topic

S = TypeVar("S")
C_contra = TypeVar("C_contra", contravariant=True)

FailureKind = Literal["transient", "permanent", "input", "full", "gone", "denied", "bug"]
"""transient: try again later; permanent: never will; input: this input is bad; full: no space;
gone: what it spoke of is no more; denied: not allowed; bug: ours."""


@dataclass(frozen=True)
class Stamp:
    """The only clock. Every event has one.

    Attributes:
        seq: number of the event in this run of the agent.
        mono_ns: monotonic clock of this boot.
        wall: aware UTC wall clock.
        synced: whether the wall clock is synchronised.
        boot_id: the kernel's boot id.
    """

    seq: int
    mono_ns: int
    wall: datetime
    synced: bool
    boot_id: str


@dataclass(frozen=True)
class Started:
    """First event of a run: what the drivers found on disk, and our own last messages.

    ``remembered`` holds the agent's own remembered topics, and the bookings and their marker last seen.
    """

    inventory: object
    remembered: Mapping[Address[Any], Message]


@dataclass(frozen=True)
class World:
    """All retained topics the agent subscribes to, as they are now. Comes again after a reconnect.

    A topic absent here is not a deletion: nobody acts on the absence of another owner's topic.
    """

    topics: Mapping[Address[Any], Message]


@dataclass(frozen=True)
class Changed:
    """One subscribed topic changed; None: its owner cleared it."""

    address: Address[Any]
    message: Message | None


@dataclass(frozen=True)
class Asked:
    """A command, its args validated, its id new. It must get exactly one `Reply` with this id."""

    target: str
    name: str
    id: str
    args: Message


@dataclass(frozen=True)
class Done:
    """An effect ended well."""

    key: str
    result: Any


@dataclass(frozen=True)
class Failed:
    """An effect ended badly; the text is one line for the operator."""

    key: str
    kind: FailureKind
    text: str
    detail: Any = None


@dataclass(frozen=True)
class Tick:
    """A wake of that key is due."""

    key: str


Event: TypeAlias = Started | World | Changed | Asked | Done | Failed | Tick


@dataclass(frozen=True)
class Effect:
    """Something the drivers do. One effect per key at a time; lanes have widths.

    Subclasses name the work; the key names the instance (``put:b1:film:3``).
    """

    key: str

    lane: str = field(default="main", init=False)


@dataclass(frozen=True)
class Reply:
    """The answer to a command. Not an effect with a result: the host sends it and remembers it 24 h."""

    command_id: str
    answer: Answer


@dataclass(frozen=True)
class Say:
    """A message that is not retained (an event, a snapshot). The host sends it, or drops it when away."""

    address: Address[Any]
    message: Message


Act: TypeAlias = Effect | Reply | Say
Acts: TypeAlias = tuple[Act, ...]


@dataclass(frozen=True)
class Agent(Generic[S, C_contra]):
    """One agent as a value.

    Attributes:
        name: account and topic name, e.g. ``camera_left``.
        subscribes: topics it reads (own topics and its commands are subscribed by the host).
        initial: the empty state.
        decide: see the module.
        retained: every retained topic this agent wants to exist now.
        wakes: timers: key -> monotonic_ns at which a `Tick` of that key is due. A (key, time) fires once.
        lanes: width of each effect lane; a lane not named has width 1.
        hurried: while true, topics whose volatile fields alone changed go out every 10 s instead of 60 s.
    """

    name: str
    subscribes: tuple[Topic[Any], ...]
    initial: Callable[[C_contra], S]
    decide: Callable[[S, Event, Stamp, C_contra], tuple[S, Acts]]
    retained: Callable[[S], Mapping[Address[Any], Message]]
    wakes: Callable[[S], Mapping[str, int]]
    lanes: Mapping[str, int] = field(default_factory=dict[str, int])
    hurried: Callable[[S], bool] = lambda _state: False


SECOND_NS = 1_000_000_000


def wall_ns(moment: datetime) -> int:
    """Nanoseconds of a wall moment since the epoch, exact to the microsecond."""
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * SECOND_NS + moment.microsecond * 1000
