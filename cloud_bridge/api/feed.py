"""What changes, to whoever listens: bounded queues, and only what each may see."""

import asyncio
import itertools
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import JsonValue

MOST_WAITING = 100
"""Events that may wait for a slow client; one more, and it is told to read everything anew."""
MOST_LISTENERS = 200
MOST_OF_ONE = 10


class TooMany(Exception):
    """Nobody else can listen now."""


@dataclass(frozen=True)
class Change:
    """Something changed. ``owner``: whose it is; users see their own, operators all."""

    kind: str
    data: Mapping[str, JsonValue]
    owner: str | None = None

    def text(self, number: int) -> str:
        """As a server-sent event."""
        return f"id: {number}\nevent: {self.kind}\ndata: {json.dumps(self.data)}\n\n"


END = Change("end", {})
"""The last of a stream; it is not sent."""


@dataclass(frozen=True)
class Listener:
    """Somebody who listens. ``owner`` None: sees everybody's; ``nothing``: sees nothing at all."""

    user: str
    owner: str | None
    nothing: bool
    queue: "asyncio.Queue[Change]"
    loop: asyncio.AbstractEventLoop

    def sees(self, change: Change) -> bool:
        """Whether a change is for them."""
        return not self.nothing and self.owner in (None, change.owner)


class Feed:
    """Hands changes to listeners. All but `close` is called in the event loop's thread."""

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._greeted: set[int] = set()
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._listeners)

    def tell(self, change: Change) -> None:
        """Put a change into the queues of those who may see it; never waits."""
        for listener in self._listeners.values():
            if not listener.sees(change):
                continue
            if listener.queue.qsize() >= MOST_WAITING:
                while not listener.queue.empty():
                    listener.queue.get_nowait()
                listener.queue.put_nowait(Change("resync", {}))
            listener.queue.put_nowait(change)

    def greet(self) -> None:
        """Tell new listeners that they hear everything from here on: it is time to read what there is."""
        for number in self._listeners.keys() - self._greeted:
            self._greeted.add(number)
            self._listeners[number].queue.put_nowait(Change("ready", {}))

    def close(self) -> None:
        """End all streams: this process is about to. From any thread, also from a signal's handler."""
        for listener in tuple(self._listeners.values()):
            listener.loop.call_soon_threadsafe(listener.queue.put_nowait, END)

    @contextmanager
    def listen(self, user: str, owner: str | None, *, nothing: bool) -> Generator[Listener]:
        """Listen for as long as the context lasts.

        Raises:
            TooMany: of all, or of this user.
        """
        mine = sum(1 for one in self._listeners.values() if one.user == user)
        if len(self._listeners) >= MOST_LISTENERS or mine >= MOST_OF_ONE:
            raise TooMany
        number, listener = (
            next(self._numbers),
            Listener(user, owner, nothing, asyncio.Queue(), asyncio.get_running_loop()),
        )
        self._listeners[number] = listener
        try:
            yield listener
        finally:
            del self._listeners[number]
            self._greeted.discard(number)
