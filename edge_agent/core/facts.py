"""What a camera agent learns from the topics of others. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_agent.core.agent import wall_ns
from edge_agent.core.schedule import heard, heard_all, heard_sync
from edge_agent.core.take_plan import Facts
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.health import Retention
from schemas.recording import MergeStage, Recording
from schemas.registry import BOOKING
from schemas.topics import Address


def learn(facts: Facts, address: Address[Any], message: Message | None) -> Facts:
    """One topic changed; a cleared one takes nothing away but a booking's presence."""
    match message:
        case Booking():
            return replace(facts, schedule=heard(facts.schedule, address["id"], message))
        case None if address.topic.key == BOOKING.key:
            return replace(facts, schedule=heard(facts.schedule, address["id"], None))
        case ScheduleSync():
            return replace(facts, schedule=heard_sync(facts.schedule, message))
        case Recording():
            return replace(facts, states={**facts.states, address["id"]: message.state})
        case MergeStage(status="succeeded", end=end) if end is not None:
            return replace(facts, fixed_ends={**facts.fixed_ends, address["id"]: wall_ns(end)})
        case Retention():
            dead = facts.dead | {entry.id for entry in message.entries if entry.dead}
            return replace(facts, retention={entry.id: entry for entry in message.entries}, dead=dead)
        case _:
            return facts


def learn_world(facts: Facts, topics: Mapping[Address[Any], Message]) -> Facts:
    """A whole snapshot: bookings together with their marker, everything else one by one."""
    bookings = {at["id"]: message for at, message in topics.items() if isinstance(message, Booking)}
    sync = next((message for message in topics.values() if isinstance(message, ScheduleSync)), None)
    for address, message in topics.items():
        if not isinstance(message, Booking | ScheduleSync):
            facts = learn(facts, address, message)
    return replace(facts, schedule=heard_all(facts.schedule, bookings, sync))
