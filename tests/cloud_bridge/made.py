"""Rows, stamps and states for the tests of the bridge."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloud_bridge import bridge
from cloud_bridge.state import State
from edge_agent.core.agent import Acts, Asked, Done, Event, Stamp, Started, World
from edge_agent.core.effects import (
    AwaitHint,
    BridgeInventory,
    Enqueue,
    Entry,
    Polled,
    Queued,
    Sent,
    StoredBooking,
)
from edge_agent.core.settings import Settings
from schemas.base import Message, utc_text
from schemas.commands import NoArgs
from schemas.recording import UploadedObject, UploadStage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = Settings()


def at(minutes: float) -> datetime:
    """Minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def stamp(minutes: float, seq: int = 1) -> Stamp:
    """An event so many minutes after noon; the machine booted at noon."""
    return Stamp(seq, round(minutes * 60e9), at(minutes), True, "b" * 32)


def row(booking_id: str = "a", begin: float = 0, end: float = 60, **more: Any) -> StoredBooking:
    """A booked hour from noon on, times in minutes after noon."""
    fields: dict[str, Any] = {
        "kind": "booked", "status": "confirmed", "record": "yes", "audience": "link", "layout": None,
        "deliver": ("film",), "owner": None, "of": None, "changed": 1, "created_at": utc_text(NOON), **more,
    }  # fmt: skip
    return StoredBooking(id=booking_id, start=utc_text(at(begin)), end=utc_text(at(end)), **fields)


def film(minutes: float = 61) -> UploadStage:
    """The film is complete in the bucket."""
    return UploadStage(
        status="succeeded",
        objects=(UploadedObject(name="film", key="k", bytes=9, hash="h", verified_at=at(minutes)),),
    )


def asked(name: str, args: Message | None = None, command_id: str = "k1") -> Asked:
    """A command to the bridge."""
    return Asked("booking", name, command_id, args or NoArgs())


class Bench:
    """A bridge driven by hand, one event after the other."""

    def __init__(self, *rows: StoredBooking, minutes: float = -10, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.state = State()
        self.minutes = minutes
        self.acts: Acts = ()
        self.writes: list[Enqueue] = []
        self.hints: list[AwaitHint] = []
        self.seq = 100
        self.feed(Started(BridgeInventory(rows, cursor=1), {}))
        self.feed(World({}))

    def feed(self, event: Event, minutes: float | None = None) -> Acts:
        """What the bridge does after an event."""
        self.minutes = self.minutes if minutes is None else minutes
        self.state, self.acts = bridge.decide(self.state, event, stamp(self.minutes), self.settings)
        self.writes += [act for act in self.acts if isinstance(act, Enqueue)]
        self.hints += [act for act in self.acts if isinstance(act, AwaitHint)]
        return self.acts

    def keep(self) -> list[Entry]:
        """Let everything that is to be written be in the outbox; what was written."""
        entries: list[Entry] = []
        while self.writes:
            write = self.writes.pop(0)
            entries += write.entries
            seqs = tuple(range(self.seq + 1, self.seq + 1 + len(write.entries)))
            self.seq = seqs[-1]
            self.feed(Done(write.key, Queued(seqs)))
        return entries

    def stored(self) -> None:
        """Let the store have everything that is in the outbox."""
        out = self.state.out
        results = tuple(
            (b or self.settings.device.id, kind, one.seq) for (b, kind), one in out.queued.items()
        )
        self.feed(Done("send", Sent(out.through, results=results)))

    def polled(
        self, *rows: StoredBooking, cursor: int = 1, minutes: float | None = None, **more: Any
    ) -> Acts:
        """The store answers a poll."""
        fields: dict[str, Any] = {"count": len(rows) or 1, "automatic": True, **more}
        return self.feed(Done("poll", Polled(cursor, rows, **fields)), minutes)
