"""Bugs put into the simulated device to show that its promises are really held: none is in the product.

`ezrec sim` is red with each of them; ``run(seed, hours, plant="tests.sim.plants:EARLY_COVER")``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edge_agent.core import merging
from edge_agent.core.agent import SECOND_NS, Agent, Done
from edge_agent.core.effects import (
    BookingEntry,
    BridgeInventory,
    Entry,
    FinishUpload,
    Polled,
    Queued,
    Verified,
    WritePlans,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.pairing import Rules
from edge_agent.core.pairing import rules as right_rules
from edge_agent.sim import Plant
from edge_agent.sim.bridging import BridgeDrivers
from edge_agent.sim.bucket import UploadDrivers
from edge_agent.sim.capture import CaptureDrivers, Copy
from edge_agent.sim.device import Mood
from edge_agent.sim.film import composite, prints_of
from edge_agent.sim.making import PlanDrivers
from edge_agent.sim.node import Drivers
from schemas.base import Message
from schemas.health import Retention, RetentionEntry
from schemas.recording import CaptureStage, ClockPoint, Recording
from schemas.registry import RETENTION
from schemas.topics import Address
from schemas.work import SlotPlan

Topics = Mapping[Address[Any], Message]


# --- 1: what is claimed is not safe, or is called covered before it is listed


def _claims_without_fsync(_name: str, drivers: Drivers) -> Drivers:
    if isinstance(drivers, CaptureDrivers):
        disk = drivers.disk

        def keep(path: str, copy: Copy) -> None:
            disk.write(path, copy, durable=False)

        drivers.keep = keep  # type: ignore[method-assign]
    return drivers


def _covers_early(agent: Agent[Any, Any]) -> Agent[Any, Any]:
    if not agent.name.startswith("camera_"):
        return agent

    def retained(state: Any) -> Topics:
        return {at: _two_seconds_on(message) for at, message in agent.retained(state).items()}

    return replace(agent, retained=retained)


def _two_seconds_on(message: Message) -> Message:
    if not isinstance(message, CaptureStage) or message.covered_until is None:
        return message
    until = message.covered_until
    later = ClockPoint(boot_id=until.boot_id, mono_ns=until.mono_ns + 2 * SECOND_NS)
    return message.replace(covered_until=later)


NO_FSYNC = Plant(drivers=_claims_without_fsync)
EARLY_COVER = Plant(agent=_covers_early)


# --- 2: pairs too far apart, plans that change


def _loose_rules(fps: int, camera_fps: Any = ()) -> Rules:
    rule = right_rules(fps, camera_fps)
    return replace(rule, tolerance_ns=3 * rule.tolerance_ns)


def _pairs_loosely(agent: Agent[Any, Any]) -> Agent[Any, Any]:
    if agent.name != "merger":
        return agent

    def decide(*args: Any) -> Any:
        merging.rules = _loose_rules  # type: ignore[attr-defined]
        try:
            return agent.decide(*args)
        finally:
            merging.rules = right_rules  # type: ignore[attr-defined]

    return replace(agent, decide=decide)


def _replans(_name: str, drivers: Drivers) -> Drivers:
    """The plans told are those asked for, not those on disk: another try made others."""
    if isinstance(drivers, PlanDrivers):
        write = drivers.write_plans

        def write_plans(effect: WritePlans) -> tuple[SlotPlan, ...]:
            return tuple(plan.replace(unpaired=plan.unpaired + 1) for plan in write(effect))

        drivers.write_plans = write_plans  # type: ignore[method-assign]
    return drivers


LOOSE_PAIRS = Plant(agent=_pairs_loosely)
REPLANNED = Plant(drivers=_replans)


# --- 3: verified before it was looked at, deleted before it was verified ------------------------------------


def _verifies_blindly(_name: str, drivers: Drivers) -> Drivers:
    if isinstance(drivers, UploadDrivers):

        def finish(effect: FinishUpload) -> Verified:
            record = drivers.ledger().get(effect.object_id)
            if record is None:
                raise EffectFailed("gone", "no upload")
            mark = composite(prints_of(drivers.disk.read(effect.path)))
            return Verified(record.key, effect.bytes, mark, len(record.parts), record.sent, 0, 0)

        drivers.finish = finish  # type: ignore[method-assign]
    return drivers


def _lists_early(agent: Agent[Any, Any]) -> Agent[Any, Any]:
    if agent.name != "health":
        return agent

    def retained(state: Any) -> Topics:
        topics = dict(agent.retained(state))
        finishing = [
            at["id"]
            for at, message in topics.items()
            if isinstance(message, Recording) and message.state == "finishing"
        ]
        if finishing and RETENTION.at() in topics:
            entries = tuple(RetentionEntry(id=booking, what="all", why="planted") for booking in finishing)
            topics[RETENTION.at()] = Retention(entries=entries)
        return topics

    return replace(agent, retained=retained)


BLIND_VERIFY = Plant(drivers=_verifies_blindly)
EARLY_RETENTION = Plant(agent=_lists_early)


# --- 4: the bridge believes an empty answer, says everything again after a crash, forgets the court


def _believes_nothing(agent: Agent[Any, Any]) -> Agent[Any, Any]:
    if agent.name != "bridge":
        return agent

    def decide(state: Any, event: Any, *more: Any) -> Any:
        state, acts = agent.decide(state, event, *more)
        news = event.result if isinstance(event, Done) else None
        if isinstance(news, Polled) and not news.count and state.rows:
            state = replace(state, rows={}, local={}, bookings={}, anew=None, unresolved=True)
        return state, acts

    return replace(agent, decide=decide)


def _forgets_what_is_stored(_name: str, drivers: Drivers) -> Drivers:
    if isinstance(drivers, BridgeDrivers):
        inventory = drivers.inventory

        def forgetful() -> BridgeInventory:
            found = inventory()
            return replace(found, outbox=replace(found.outbox, stored=(), queued=()))

        drivers.inventory = forgetful  # type: ignore[method-assign]
    return drivers


def _loses_the_court(_name: str, drivers: Drivers) -> Drivers:
    """A booking made at the court is written down only while the store is there."""
    if isinstance(drivers, BridgeDrivers):
        enqueue, store = drivers.outbox.enqueue, drivers.store

        def lossy(entries: tuple[Entry, ...]) -> Queued:
            lost = [isinstance(entry, BookingEntry) and store.trouble is not None for entry in entries]
            kept = enqueue(tuple(entry for entry, gone in zip(entries, lost, strict=True) if not gone))
            seqs = iter(kept.seqs)
            return Queued(tuple(0 if gone else next(seqs) for gone in lost))

        drivers.outbox.enqueue = lossy  # type: ignore[method-assign]
    return drivers


def _with(*faults: str, **more: Any) -> Callable[[Mood], Mood]:
    def mood(drawn: Mood) -> Mood:
        return replace(drawn, faults=frozenset(faults), **more)

    return mood


EMPTY_WITHDRAWS = Plant(agent=_believes_nothing, mood=_with("store", store=("empty",)))
TWICE_STORED = Plant(drivers=_forgets_what_is_stored, mood=_with("kill", "power"))
COURT_LOST = Plant(drivers=_loses_the_court, mood=_with("store", store=("away",), kinds=("manual",)))
