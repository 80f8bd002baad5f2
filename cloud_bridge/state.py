"""What the bridge knows, and the alarms it raises. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeAlias

from cloud_bridge import orders
from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.effects import StoredBooking
from schemas.agent import Alarm
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.recording import FINAL_STATES, MergeStage, Recording, Share

Slot: TypeAlias = tuple[str, str]
"""Booking and kind of a result; the device's own have `DEVICE` for a booking."""

DEVICE = ""
POLL_NS = SECOND_NS
STALE_NS = 60 * SECOND_NS
LINGER = timedelta(hours=1)
STORE_MEND = "Look at the booking system and its disk; recording goes on with the bookings last seen."


@dataclass(frozen=True)
class Retry:
    """An effect that failed so many times, and the monotonic moment at which it is due again."""

    attempt: int
    due_ns: int


@dataclass(frozen=True)
class State:
    """Rows as last polled, bookings as published, results as stored.

    Attributes:
        read: the store was read at least once, so a booking without a row is withdrawn.
        unresolved: rows changed since ``bookings`` were made of them.
        waiting: effect key -> the command that waits for it.
        saved: what the store has of each result; ``saving``: what is on its way there, by effect key.
        retries: effects that failed, by key, and when they are due again.
    """

    ready: bool = False
    read: bool = False
    unresolved: bool = True
    rows: Mapping[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    cursor: int = 0
    automatic: bool = True
    bookings: Mapping[str, Booking] = field(default_factory=dict[str, Booking])
    sync: ScheduleSync | None = None
    polled_ns: int | None = None
    poll_ok_ns: int | None = None
    failures: int = 0
    waiting: Mapping[str, orders.Order] = field(default_factory=dict[str, orders.Order])
    results: Mapping[Slot, Message] = field(default_factory=dict[Slot, Message])
    saved: Mapping[Slot, Message] = field(default_factory=dict[Slot, Message])
    saving: Mapping[str, tuple[Slot, Message]] = field(default_factory=dict[str, tuple[Slot, Message]])
    retries: Mapping[str, Retry] = field(default_factory=dict[str, Retry])
    merges: Mapping[str, MergeStage] = field(default_factory=dict[str, MergeStage])
    shares: Mapping[str, Share] = field(default_factory=dict[str, Share])
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    last_error: str | None = None

    @property
    def poll_every_ns(self) -> int:
        """How long after a poll the next one is due."""
        return POLL_NS << self.failures


def with_alarm(
    state: State, name: str, text: str, mend: str, stamp: Stamp, subject: str | None = None
) -> State:
    """The state with an alarm standing; one that stands keeps its moment."""
    standing = state.alarms.get(name)
    if standing is not None and standing.text == text:
        return state
    since = standing.since if standing else stamp.wall
    alarm = Alarm(severity="major", text=text, since=since, subject=subject, mend=mend)
    return replace(state, alarms={**state.alarms, name: alarm})


def is_final(message: Message | None) -> bool:
    """Whether a recording has come to its end."""
    return isinstance(message, Recording) and message.state in FINAL_STATES
