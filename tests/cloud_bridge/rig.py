"""A bridge with its real outbox and a real store, driven by hand: effects are done at once, in order."""

from pathlib import Path
from typing import Any, cast

from cloud_bridge import bridge
from cloud_bridge.effects import BridgeEffects
from cloud_bridge.outbox import Outbox
from cloud_bridge.state import State
from cloud_bridge.stores import SqliteStore, Store
from edge_agent.core.agent import Asked, Done, Effect, Event, Failed, Reply, Say, Started, Tick, World
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings
from schemas.base import Message
from schemas.commands import Answer, NoArgs
from schemas.registry import find
from schemas.topics import Address
from tests.cloud_bridge.faulty import Faulty, away
from tests.cloud_bridge.made import SETTINGS, at, stamp
from tests.cloud_bridge.served import HandClock


class Rig:
    """What survives a restart is on the disk: outbox, store, and what the host remembers of own topics.

    Attributes:
        store: the embedded one; with ``far`` the bridge has that one instead.
        replies: answers by command id; ``said``: messages that are not retained.
        ended: endings of effects, newest last.
    """

    def __init__(self, folder: Path, settings: Settings = SETTINGS, far: Store | None = None) -> None:
        self.folder = folder
        self.settings = settings
        self.clock = HandClock(at(-10))
        self.store = SqliteStore(folder / "store.sqlite", self.clock, settings.device)
        self.faulty = Faulty(far or self.store)
        self.remembered: dict[Address[Any], Message] = {}
        self.world: dict[Address[Any], Message] = {}
        self.replies: dict[str, Answer] = {}
        self.said: list[Say] = []
        self.ended: list[Done | Failed] = []
        self.minutes = -10.0
        self.seq = 0
        self.start()

    def start(self) -> None:
        """A new run, from the disk alone."""
        outbox = Outbox(self.folder / "outbox.sqlite", "here", self.clock)
        self.effects = BridgeEffects(cast("Store", self.faulty), outbox)
        self.state = State()
        self.feed(Started(self.effects.inventory(), dict(self.remembered)))
        self.feed(World(dict(self.world)))

    def kill(self) -> None:
        """The process is gone, and comes again."""
        self.effects._outbox.close()
        self.start()

    def away(self, *, gone: bool) -> None:
        """The store cannot be reached, or is back."""
        self.faulty.before = away if gone else None

    def feed(self, event: Event, minutes: float | None = None) -> None:
        """An event, and everything that follows from it at once."""
        if minutes is not None:
            self.minutes = minutes
            self.clock.now = at(minutes)
        events: list[Event] = [event]
        while events:
            self.seq += 1
            self.state, acts = bridge.decide(
                self.state, events.pop(0), stamp(self.minutes, self.seq), self.settings
            )
            self._remember()
            for act in acts:
                match act:
                    case Reply():
                        self.replies[act.command_id] = act.answer
                    case Say():
                        self.said.append(act)
                    case Effect():
                        self.ended.append(self._do(act))
                        events.append(self.ended[-1])

    def _remember(self) -> None:
        topics = bridge.retained(self.state)
        self.remembered = {at: message for at, message in topics.items() if at.topic.remembered}

    def _do(self, effect: Effect) -> Done | Failed:
        try:
            return Done(effect.key, self.effects.run(effect))
        except EffectFailed as failure:
            return Failed(effect.key, failure.kind, failure.text, failure.detail)

    def poll(self, minutes: float | None = None) -> None:
        """Time has passed (12 s when nothing is said) and the store is asked again."""
        self.feed(Tick("poll"), self.minutes + 0.2 if minutes is None else minutes)

    def ask(self, name: str, args: Message | None = None, command_id: str = "k1") -> Answer:
        """A command at the court, and its answer."""
        self.feed(Asked("booking", name, command_id, args or NoArgs()))
        return self.replies[command_id]

    def topic(self, path: str) -> Any:
        """What is retained there, or None."""
        address = find(path)
        assert address is not None, path
        return bridge.retained(self.state).get(address)

    def alarms(self) -> set[str]:
        """Ids of the bridge's own alarms."""
        return set(self.state.alarms)

    def close(self) -> None:
        """Give everything back."""
        self.effects.close()
