"""What the bridge knows, and the alarms it raises. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal, TypeAlias

from cloud_bridge import orders
from edge_agent.core.agent import SECOND_NS, Asked, Stamp
from edge_agent.core.effects import (
    AnswerEntry,
    BookingEntry,
    Entry,
    Notice,
    OrderEntry,
    QueuedOrder,
    Refused,
    StoredBooking,
    StoredCommand,
)
from edge_agent.core.settings import Settings
from schemas.agent import Alarm
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.recording import FINAL_STATES, CaptureStage, MergeStage, ProcessStage, Recording, Share

Slot: TypeAlias = tuple[str, str]
"""Booking and kind of a result; the device's own have `DEVICE` for a booking."""

DEVICE = ""
POLL_NS = SECOND_NS
SLOWEST_POLL_NS = 10 * SECOND_NS
FORGOTTEN_NS = 180 * SECOND_NS
"""An effect is asked for again after this: should its end ever get lost, the bridge must not stand still."""
STALE_NS = 60 * SECOND_NS
LINGER = timedelta(hours=1)
STORE_MEND = "Look at the booking system and its disk; recording goes on with the bookings last seen."


@dataclass(frozen=True)
class Retry:
    """An effect that failed so many times, and the monotonic moment at which it is due again."""

    attempt: int
    due_ns: int


@dataclass(frozen=True)
class Waiting:
    """A result in the outbox: its number, and its message; of one that an earlier run wrote, the digest."""

    seq: int
    message: Message | None
    digest: str = ""


@dataclass(frozen=True)
class Contested:
    """A recording that a button began and the store refused."""

    entry: BookingEntry
    refused: Refused


@dataclass(frozen=True)
class Remote:
    """A command from afar that has no answer yet; ``due_ns``: when waiting for its agent ends, once sent."""

    command: StoredCommand
    due_ns: int | None = None


@dataclass(frozen=True)
class Outflow:
    """What is on its way out of the device.

    Attributes:
        through: highest number in the outbox that is known; ``sent``: up to which nothing waits there.
        keeping: entries that are being written into the outbox.
        sending: a batch is under way.
        notices, answers, orders: still to be written into the outbox.
        told: ids of notices that were ever written; ``standing``: alarms told of and not over, by subject.
        queued: results in the outbox; ``saved``: what the store has of each; ``stored``: the same by digest,
            as an earlier run left it.
        dirty: results that may have to be written.
        wished: bookings whose share is asked for; ``unshared``, ``untold``: bookings whose film is in the
            bucket, and of whose share, or film, nobody was told yet.
    """

    through: int = 0
    sent: int = 0
    keeping: tuple[Entry, ...] = ()
    sending: bool = False
    sending_ns: int = 0
    notices: tuple[Notice, ...] = ()
    answers: tuple[AnswerEntry, ...] = ()
    orders: tuple[OrderEntry, ...] = ()
    told: frozenset[str] = frozenset()
    standing: Mapping[str, Notice] = field(default_factory=dict[str, Notice])
    queued: Mapping[Slot, Waiting] = field(default_factory=dict[Slot, Waiting])
    saved: Mapping[Slot, Message] = field(default_factory=dict[Slot, Message])
    stored: Mapping[Slot, str] = field(default_factory=dict[Slot, str])
    dirty: frozenset[Slot] = frozenset()
    wished: frozenset[str] = frozenset()
    unshared: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()


@dataclass(frozen=True)
class State:
    """Rows as last polled, bookings as published, results as stored.

    Attributes:
        read: the store was read at least once (by an earlier run perhaps): without that nothing is said of
            the schedule as a whole.
        unresolved: rows changed since ``bookings`` were made of them.
        rows: as the store has them; ``pending``: orders given at the court that it does not have yet;
            ``local``: rows it does not have and that stand all the same.
        anew: the rows of a store that begins anew, until its answer is complete.
        contested: manual recordings the store refused, until its next answer says why.
        withdrawn: rows whose booking was taken away because it was over, as they were then.
        unreadable: rows of the store that are none, and why.
        synced: the bookings ``sync`` was made of.
        poll_ns: when the next poll is due; ``asked_ns``: when the last one was asked for.
        away: the store could not be reached when it was asked last.
        polling: a poll is under way; ``again``: and another one is due after it.
        held_automatic: a poll that was under way when ``automatic`` was set knows less.
        waiting: effect key -> the command that waits for it; ``held``: commands that wait for those,
            and whether they came from afar.
        results: what the device made, as last heard; ``merges``, ``processes``, ``captures`` its stages.
        alarms: our own; ``heard``: everybody's, by ``agent/alarm``; ``doubtful``: those told of and absent
            from the broker since a monotonic moment.
        agents: agent -> state of its availability.
        beat_ns: when the store heard of the device last.
        retries: effects that failed, by key, and when they are due again.
        lost: the disk would not take what was seen, all of it is to be kept again; ``dropped``: rows it is
            to forget.
    """

    ready: bool = False
    read: bool = False
    unresolved: bool = True
    rows: Mapping[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    pending: tuple[QueuedOrder, ...] = ()
    local: Mapping[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    anew: Mapping[str, StoredBooking] | None = None
    contested: Mapping[str, Contested] = field(default_factory=dict[str, Contested])
    withdrawn: Mapping[str, StoredBooking] = field(default_factory=dict[str, StoredBooking])
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    cursor: int = 0
    stored_automatic: bool = True
    bookings: Mapping[str, Booking] = field(default_factory=dict[str, Booking])
    sync: ScheduleSync | None = None
    synced: Mapping[str, Booking] | None = None
    polled_ns: int | None = None
    poll_ok_ns: int | None = None
    poll_ns: int | None = None
    asked_ns: int = 0
    polling: bool = False
    again: bool = False
    held_automatic: bool = False
    failures: int = 0
    away: bool = False
    hints: Literal["none", "asked", "ask"] = "none"
    waiting: Mapping[str, orders.Order] = field(default_factory=dict[str, orders.Order])
    held: tuple[tuple[Asked, bool], ...] = ()
    results: Mapping[Slot, Message] = field(default_factory=dict[Slot, Message])
    merges: Mapping[str, MergeStage] = field(default_factory=dict[str, MergeStage])
    processes: Mapping[str, ProcessStage] = field(default_factory=dict[str, ProcessStage])
    captures: Mapping[Slot, CaptureStage] = field(default_factory=dict[Slot, CaptureStage])
    shares: Mapping[str, Share] = field(default_factory=dict[str, Share])
    heard: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    doubtful: Mapping[str, int] = field(default_factory=dict[str, int])
    agents: Mapping[str, str] = field(default_factory=dict[str, str])
    commands: Mapping[str, Remote] = field(default_factory=dict[str, Remote])
    answered: frozenset[str] = frozenset()
    out: Outflow = field(default_factory=Outflow)
    beat_ns: int | None = None
    retries: Mapping[str, Retry] = field(default_factory=dict[str, Retry])
    lost: bool = False
    dropped: frozenset[str] = frozenset()
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    last_error: str | None = None


def poll_every_ns(state: State, settings: Settings) -> int:
    """How long after a poll the next one is due."""
    usual_ns = POLL_NS if settings.bookings.kind == "sqlite" else round(settings.bookings.poll_s * SECOND_NS)
    return max(usual_ns, min(usual_ns << state.failures, SLOWEST_POLL_NS))


def with_alarm(
    state: State,
    name: str,
    text: str,
    mend: str,
    stamp: Stamp,
    subject: str | None = None,
    severity: Literal["critical", "major", "minor"] = "major",
) -> State:
    """The state with an alarm standing; one that stands keeps its moment."""
    standing = state.alarms.get(name)
    if standing is not None and standing.text == text:
        return state
    since = standing.since if standing else stamp.wall
    alarm = Alarm(severity=severity, text=text[:500], since=since, subject=subject, mend=mend)
    return replace(state, alarms={**state.alarms, name: alarm})


def without_alarm(state: State, name: str) -> State:
    """The state when an alarm is over."""
    if name not in state.alarms:
        return state
    return replace(state, alarms={other: alarm for other, alarm in state.alarms.items() if other != name})


def must_wait(state: State, key: str, stamp: Stamp) -> bool:
    """Whether an effect that failed is not due again yet."""
    retry = state.retries.get(key)
    return retry is not None and stamp.mono_ns < retry.due_ns


def slug(name: str) -> str:
    """A name that may stand in an alarm's topic, made from any text; ids stay what they are."""
    plain = re.sub("[^a-z0-9_-]", "-", name.lower())[:40]
    if plain == name:
        return plain or "automatic"
    return f"{plain}-{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=3).hexdigest()}"


def is_final(message: Message | None) -> bool:
    """Whether a recording has come to its end."""
    return isinstance(message, Recording) and message.state in FINAL_STATES
