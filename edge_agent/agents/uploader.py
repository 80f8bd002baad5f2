"""The uploader: gets every object into the bucket while it grows, and every logo and intro out of it.

Asks for what is still missing after every event. What is in the bucket is known from the ledger (in
`Started`) and from its own last messages; what should be there, from the ``work/{id}/object`` topics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from edge_agent.core import assets, upload
from edge_agent.core.agent import (
    SECOND_NS,
    Acts,
    Agent,
    Asked,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Reply,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.assets import AssetItem
from edge_agent.core.effects import AbortUpload, Begun, PartSent, PutPart, UploaderInventory, Verified
from edge_agent.core.settings import Settings
from edge_agent.core.upload import Item
from edge_agent.core.upload_alarms import Line, alarms, due_ns
from edge_agent.core.upload_order import Court, queue
from edge_agent.core.upload_view import stages_of, status_of
from schemas.agent import AgentStatus, Alarm
from schemas.base import Message
from schemas.booking import Booking
from schemas.commands import Answer
from schemas.health import Retention
from schemas.recording import MergeStage, ProcessStage, UploadStage
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    ASSET,
    BOOKING,
    FILM_OBJECT,
    MERGE,
    PROCESS,
    RECEIPT_OBJECT,
    RETENTION,
    UPLOAD,
)
from schemas.topics import Address
from schemas.work import WorkObject

NAME = "uploader"
WIDTH = 3
PAUSE_LOOK_NS = 5 * SECOND_NS
SWEEP_NS = 3600 * SECOND_NS


@dataclass(frozen=True)
class State:
    """Everything the uploader knows. Mappings are replaced, never changed."""

    ready: bool = False
    paused: bool = False
    items: Mapping[str, Item] = field(default_factory=dict[str, Item])
    bookings: Mapping[str, Booking] = field(default_factory=dict[str, Booking])
    planned: frozenset[str] = frozenset()
    hopeless: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    stages: Mapping[str, UploadStage] = field(default_factory=dict[str, UploadStage])
    assets: Mapping[str, AssetItem] = field(default_factory=dict[str, AssetItem])
    line: Line | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    status: AgentStatus = field(default_factory=lambda: AgentStatus(state="idle"))
    sweep_ns: int = 0
    turn_ns: int | None = None


def agent(settings: Settings) -> Agent[State, Settings]:  # noqa: ARG001 - all agents are made alike
    """The uploader as a value."""
    return Agent(
        name=NAME,
        subscribes=(BOOKING, MERGE, PROCESS, RETENTION, FILM_OBJECT, RECEIPT_OBJECT),
        initial=lambda _settings: State(),
        decide=decide,
        retained=retained,
        wakes=wakes,
        lanes={"put": WIDTH, "begin": WIDTH, "fetch": 2, "disk": 1},
        hurried=lambda state: any(item.doing for item in state.items.values()),
    )


def decide(state: State, event: Event, stamp: Stamp, settings: Settings) -> tuple[State, Acts]:
    """One step; see the module."""
    replies: Acts = ()
    match event:
        case Started(inventory, remembered):
            state = _started(state, inventory, remembered, stamp)
        case World(topics):
            for address, message in topics.items():
                state = _changed(state, address, message, stamp)
            state = replace(state, ready=True)
        case Changed(address, message):
            state = _changed(state, address, message, stamp)
        case Asked():
            state, replies = _asked(state, event)
        case Done(key, result):
            state = _done(state, key, result, stamp, settings)
        case Failed():
            state = _failed(state, event, stamp)
        case Tick():
            pass
    state, effects = _pursue(state, stamp, settings)
    return state, (*replies, *effects)


def retained(state: State) -> Mapping[Address[Any], Message]:
    """Stages, assets, alarms and status."""
    topics: dict[Address[Any], Message] = {AGENT_STATUS.at(agent=NAME): state.status}
    topics.update({UPLOAD.at(id=booking): stage for booking, stage in state.stages.items()})
    for sha, asset in state.assets.items():
        if asset.topic is not None:
            topics[ASSET.at(sha256=sha)] = asset.topic
    topics.update({ALARM.at(agent=NAME, alarm=name): alarm for name, alarm in state.alarms.items()})
    return topics


def wakes(state: State) -> Mapping[str, int]:
    """When something waits: tries after failures, alarms about to be due, a pause about to end."""
    times = {f"retry:{item.object_id}": item.retry_ns for item in state.items.values() if item.retry_ns}
    times |= {f"fetch:{sha}": asset.retry_ns for sha, asset in state.assets.items() if asset.retry_ns}
    if state.ready:
        times["sweep"] = state.sweep_ns
    if state.turn_ns is not None:
        times["turn"] = state.turn_ns
    return {**times, **due_ns(state.line, state.items.values())}


def _started(
    state: State, inventory: object, remembered: Mapping[Address[Any], Message], stamp: Stamp
) -> State:
    bookings = {at["id"]: message for at, message in remembered.items() if isinstance(message, Booking)}
    stages = {at["id"]: message for at, message in remembered.items() if isinstance(message, UploadStage)}
    held = inventory if isinstance(inventory, UploaderInventory) else UploaderInventory()
    return replace(
        state,
        items=upload.recovered(stages, held.uploads, stamp.wall),
        bookings=bookings,
        stages=stages,
        assets=assets.found(held.assets, stamp.wall),
        sweep_ns=stamp.mono_ns + SWEEP_NS,
    )


def _changed(state: State, address: Address[Any], message: Message | None, stamp: Stamp) -> State:
    match message:
        case Booking():
            bookings = {**state.bookings, address["id"]: message}
            return replace(state, bookings=bookings, assets=assets.named(state.assets, message))
        case MergeStage():
            return replace(
                state, planned=_marked(state.planned, address["id"], yes=message.status == "succeeded")
            )
        case ProcessStage():
            lost = message.status in ("failed", "cancelled")
            return replace(state, hopeless=_marked(state.hopeless, address["id"], yes=lost))
        case Retention():
            return replace(state, dead=frozenset(entry.id for entry in message.entries if entry.dead))
        case WorkObject():
            return _offered(state, address, message, stamp)
        case None:
            return _cleared(state, address)
        case _:
            return state


def _cleared(state: State, address: Address[Any]) -> State:
    """An owner took a topic away: a booking without objects is forgotten, a file is no longer offered."""
    if address.topic in (FILM_OBJECT, RECEIPT_OBJECT):
        item = state.items.get(_object_id(address))
        return _put_item(state, replace(item, work=None)) if item is not None else state
    booking = address["id"] if "id" in address.topic.holes else ""
    if address.topic in (MERGE, PROCESS):
        return replace(state, planned=state.planned - {booking}, hopeless=state.hopeless - {booking})
    if address.topic == BOOKING and all(item.booking_id != booking for item in state.items.values()):
        bookings = {key: other for key, other in state.bookings.items() if key != booking}
        return replace(state, bookings=bookings)
    return state


def _marked(ids: frozenset[str], booking: str, *, yes: bool) -> frozenset[str]:
    return ids | {booking} if yes else ids - {booking}


def _object_id(address: Address[Any]) -> str:
    name = address["name"] if address.topic == FILM_OBJECT else "receipt"
    return f"{address['id']}/{name}"


def _offered(state: State, address: Address[Any], work: WorkObject, stamp: Stamp) -> State:
    object_id = _object_id(address)
    booking, _, name = object_id.partition("/")
    if name not in upload.FILE_NAMES:
        return state
    item = state.items.get(object_id, Item(booking, name))
    return _put_item(state, upload.offered(item, work, stamp.mono_ns))


def _put_item(state: State, item: Item) -> State:
    return replace(state, items={**state.items, item.object_id: item})


def _asked(state: State, event: Asked) -> tuple[State, Acts]:
    status: Literal["ok", "rejected"] = "ok"
    match event.name:
        case "pause":
            state, text = replace(state, paused=True), "paused; parts under way still end"
        case "resume":
            state, text = replace(state, paused=False), "uploading"
        case "retry":
            state, text = _retried(state), "trying again now"
        case "log_level":
            text = "set"
        case _:
            status, text = "rejected", f"the uploader does not know {event.name!r}"
    return state, (Reply(event.id, Answer(id=event.id, status=status, message=text)),)


def _retried(state: State) -> State:
    items = {
        key: replace(item, retry_ns=None, gave_up=False, mismatches=0) for key, item in state.items.items()
    }
    again = {sha: replace(item, retry_ns=None) for sha, item in state.assets.items()}
    return replace(state, items=items, assets=again)


def _done(state: State, key: str, result: object, stamp: Stamp, settings: Settings) -> State:
    verb, _, rest = key.partition(":")
    if verb in ("fetch", "drop"):
        return _asset_done(state, verb, rest, result)
    item = state.items.get(rest.partition(":")[0])
    if item is None:
        return state
    match result:
        case Begun():
            item, proof = upload.after_begun(item, key, result), True
        case PartSent():
            item, proof = upload.after_part(item, key, result), result.sent > 0
        case Verified():
            item, proof = upload.after_verified(item, key, result, stamp.wall), True
        case _:
            item, proof = upload.after_abort(item, key), True
            if item.booking_id in _leaving(state, stamp, settings):
                return _without(state, item)
    state = _put_item(state, item)
    return _line_is_back(state) if proof and state.line is not None else state


def _asset_done(state: State, verb: str, sha: str, result: object) -> State:
    item = state.assets.get(sha)
    if item is None:
        return state
    if verb == "drop":
        return replace(state, assets={key: asset for key, asset in state.assets.items() if key != sha})
    return replace(state, assets={**state.assets, sha: assets.after_fetch(item, str(result))})


def _line_is_back(state: State) -> State:
    """Whoever waits after a failure of the line need not wait any longer."""
    items = {
        key: replace(item, retry_ns=None) if item.error and item.error.code == "transient" else item
        for key, item in state.items.items()
    }
    return replace(state, line=None, items=items)


def _without(state: State, item: Item) -> State:
    items = {key: other for key, other in state.items.items() if key != item.object_id}
    if any(other.booking_id == item.booking_id for other in items.values()):
        return replace(state, items=items)
    stages = {key: stage for key, stage in state.stages.items() if key != item.booking_id}
    bookings = {key: booking for key, booking in state.bookings.items() if key != item.booking_id}
    return replace(state, items=items, stages=stages, bookings=bookings)


def _failed(state: State, event: Failed, stamp: Stamp) -> State:
    verb, _, rest = event.key.partition(":")
    if verb in ("fetch", "drop"):
        asset = state.assets.get(rest)
        if asset is None:
            return state
        asset = assets.after_failed_fetch(asset, event.kind, event.text, stamp.mono_ns)
        return replace(state, assets={**state.assets, rest: asset})
    item = state.items.get(rest.partition(":")[0])
    if item is None:
        return state
    item = upload.after_failure(item, event.key, event.kind, event.text, stamp.mono_ns)
    state = _put_item(state, item)
    if event.kind in ("gone", "input"):
        return state
    kind: Literal["denied", "unreachable"] = "denied" if event.kind == "denied" else "unreachable"
    if state.line is None:
        return replace(state, line=Line(stamp.mono_ns, stamp.wall, kind, event.text))
    return replace(state, line=replace(state.line, kind=kind, text=event.text))


def _pursue(state: State, stamp: Stamp, settings: Settings) -> tuple[State, tuple[Effect, ...]]:
    """Ask for everything that is missing and not under way, and tell how things are."""
    if not state.ready:
        return state, ()
    leaving = _leaving(state, stamp, settings)
    state, farewells = _let_go(state, leaving, stamp)
    state = _with_keys(state, settings)
    state, uploads = (state, ()) if state.paused else _send(state, leaving, stamp)
    wanted, fetches = assets.pursued(state.assets, stamp.wall, stamp.mono_ns)
    sweep_ns = stamp.mono_ns + SWEEP_NS if stamp.mono_ns >= state.sweep_ns else state.sweep_ns
    state = replace(state, assets=wanted, sweep_ns=sweep_ns)
    return _told(state, leaving, stamp, settings), (*farewells, *uploads, *fetches)


def _leaving(state: State, stamp: Stamp, settings: Settings) -> frozenset[str]:
    """Recordings of which nothing is to be said any more: dead, or long in the bucket."""
    kept = timedelta(days=settings.retention.topics_days)
    last: dict[str, bool] = {}
    for item in state.items.values():
        at = item.account.verified_at if item.account else None
        past = at is not None and at + kept <= stamp.wall
        last[item.booking_id] = last.get(item.booking_id, True) and past
    return state.dead | {booking for booking, past in last.items() if past}


def _with_keys(state: State, settings: Settings) -> State:
    """Objects get their key from their booking, or from where their recording's objects are already."""
    items = dict(state.items)
    for key, item in state.items.items():
        if item.account is None and item.work is not None:
            folder = _folder(state, item.booking_id, settings)
            if folder is not None:
                items[key] = upload.keyed(item, folder)
    return replace(state, items=items)


def _folder(state: State, booking_id: str, settings: Settings) -> str | None:
    for item in state.items.values():
        if item.booking_id == booking_id and item.account is not None:
            return upload.folder_of(item.account.key)
    booking = state.bookings.get(booking_id)
    return upload.folder_key(settings, booking_id, booking) if booking is not None else None


def _let_go(state: State, leaving: frozenset[str], stamp: Stamp) -> tuple[State, tuple[Effect, ...]]:
    effects: list[Effect] = []
    for item in state.items.values():
        if item.booking_id not in leaving or item.doing:
            continue
        if item.account is None:
            state = _without(state, item)
        elif item.retry_ns is None or stamp.mono_ns >= item.retry_ns:
            effect = AbortUpload(f"abort:{item.object_id}", item.object_id, forget=True)
            effects.append(effect)
            state = _put_item(state, upload.asked(item, (effect,)))
    return state, tuple(effects)


def _send(state: State, leaving: frozenset[str], stamp: Stamp) -> tuple[State, tuple[Effect, ...]]:
    court = Court(state.bookings, state.planned, state.hopeless, stamp.wall)
    staying = (item for item in state.items.values() if item.booking_id not in leaving)
    turn, held_back = queue(staying, court)
    under_way = (key for item in state.items.values() for key in item.doing)
    free = WIDTH - sum(key.startswith("put:") for key in under_way)
    effects: list[Effect] = []
    for item in turn:
        if item.retry_ns is not None and stamp.mono_ns < item.retry_ns:
            continue
        found = upload.steps(item, max(free, 0))
        free -= sum(isinstance(effect, PutPart) for effect in found)
        effects.extend(found)
        state = _put_item(state, upload.asked(item, found)) if found else state
    turn_ns = (
        state.turn_ns if state.turn_ns and state.turn_ns > stamp.mono_ns else stamp.mono_ns + PAUSE_LOOK_NS
    )
    return replace(state, turn_ns=turn_ns if held_back else None), tuple(effects)


def _told(state: State, leaving: frozenset[str], stamp: Stamp, settings: Settings) -> State:
    """The retained view, message objects kept where nothing changed."""
    items = state.items.values()
    trouble = state.line.text if state.line else None
    return replace(
        state,
        stages=stages_of(state.stages, items, state.bookings, leaving, settings),
        alarms=alarms(state.alarms, state.line, items, state.assets.values(), stamp),
        status=status_of(state.status, items, paused=state.paused, trouble=trouble),
    )
