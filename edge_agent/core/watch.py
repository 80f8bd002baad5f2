"""One look at a recording: its state, what is said of it, its receipt, and whether people are told."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_agent.core.agent import SECOND_NS, Effect, Say, Stamp, wall_ns
from edge_agent.core.effects import DeleteMedia, FilmFile, WriteReceipt
from edge_agent.core.receipt import due, receipt_of, with_delivery
from edge_agent.core.recording import Facts, aged, delay, paced, progress, state_of
from edge_agent.core.retention import failed_ends
from edge_agent.core.settings import Settings
from edge_agent.core.values import replace
from edge_agent.core.why import eta_s, why
from schemas.agent import Event
from schemas.booking import Booking
from schemas.health import Retention
from schemas.receipt import Receipt
from schemas.recording import FINAL_STATES, Recording, RecordingState
from schemas.registry import EVENT
from schemas.work import WorkObject

LOOK_NS = 5 * SECOND_NS
RESTLESS_NS = 1 * SECOND_NS
TOLD: frozenset[RecordingState] = frozenset({"missed", "partial", "failed"})


@dataclass(frozen=True)
class View:
    """What a look needs besides the recording. ``settled``: all owners had time to say what they know."""

    wall: datetime
    mono_ns: int
    settled: bool
    cameras: Mapping[str, str]
    versions: Mapping[str, str]
    settings: Settings


def looked_at(facts: Facts, view: View) -> Facts:
    """The recording after a look; the message objects are kept where nothing changed."""
    facts = aged(facts, view.wall, view.mono_ns, view.settings)
    state = state_of(facts, view.wall)
    if state == "missed" and not view.settled and not facts.final:
        state = "finishing"
    facts = paced(facts, state, view.wall)
    before = facts.said
    over = before is not None and before.state == state and state in FINAL_STATES
    if over and state != "cancelled":
        return _accounted(facts, view)
    spent = delay(facts)
    said = Recording(
        state=state,
        progress_pct=progress(facts, state, view.wall),
        eta_s=eta_s(facts, state, view.wall, view.settings),
        why=why(facts, state, view.cameras, view.settings)[:500],
        whistle_to_watchable_s=spent.watchable_s if spent else None,
    )
    if said != before:
        final = state in FINAL_STATES
        final_at = (facts.final_at or view.wall) if final else None
        facts = replace(facts, said=said, final_at=final_at)
    return _accounted(facts, view)


def _accounted(facts: Facts, view: View) -> Facts:
    """The account is closed once, when the recording is over; delivery alone may come after that."""
    delivered_at = facts.share.delivered_at if facts.share is not None else None
    if facts.receipt is not None and delivered_at is not None:
        receipt = with_delivery(facts.receipt, delivered_at)
        return facts if receipt is facts.receipt else replace(facts, receipt=receipt)
    if facts.said is None or facts.receipt is not None or not due(facts, view.wall):
        return facts
    return replace(facts, receipt=receipt_of(facts, facts.said.state, view.versions))


def told(before: Facts, after: Facts) -> tuple[Say, ...]:
    """The event for people, when a recording has just ended as it should not."""
    if after.said is None or after.said.state not in TOLD:
        return ()
    if before.said is not None and before.said.state == after.said.state:
        return ()
    address = EVENT.at(agent="health", type=f"recording_{after.said.state}")
    return (Say(address, Event(text=after.said.why, subject=after.id)),)


def over(facts: Facts) -> bool:
    """Whether nothing more is to be said or done of it but to forget it: final, accounted for, and erased."""
    final = facts.said is not None and facts.said.state in FINAL_STATES and facts.said.state != "cancelled"
    return final and facts.final and facts.receipt is not None and facts.erased and not facts.writing


def expired(facts: Facts, wall: datetime, settings: Settings, *, booked: bool) -> bool:
    """Whether nothing is to be said of it any more.

    Never while its booking stands on the bus; of a failed one not before its owners had a day to delete it.
    """
    if booked or not facts.final or facts.final_at is None:
        return False
    ends = failed_ends(facts)
    kept = facts.final_at + timedelta(days=settings.retention.topics_days)
    return (kept if ends is None else max(kept, ends + timedelta(days=1))) <= wall


def restless(facts: Facts) -> bool:
    """Whether its account waits for the share."""
    return (
        facts.final and facts.receipt is None and facts.said is not None and facts.said.state != "cancelled"
    )


def busy(recordings: Iterable[Facts]) -> bool:
    """Whether any recording runs, or is being finished."""
    return any(one.said is not None and one.said.state in ("recording", "finishing") for one in recordings)


def next_look_ns(
    recordings: Collection[Facts], ahead: Booking | None, pending_ns: int | None, stamp: Stamp
) -> int | None:
    """When time alone changes something: soon while recordings run, else at the next planned start.

    ``pending_ns`` is the look waited for already: it is never put off.
    """
    if any(restless(one) for one in recordings):
        at_ns = stamp.mono_ns + RESTLESS_NS
    elif busy(recordings):
        at_ns = stamp.mono_ns + LOOK_NS
    elif ahead is None:
        return None
    else:
        at_ns = stamp.mono_ns + max(0, wall_ns(ahead.from_) - wall_ns(stamp.wall))
    return min(at_ns, pending_ns) if pending_ns is not None and pending_ns > stamp.mono_ns else at_ns


def stored(facts: Facts) -> bool:
    """Whether the receipt is in the bucket."""
    return facts.upload is not None and facts.upload.verified("receipt") is not None


def filed(facts: Facts, list_: Retention, *, rested: bool) -> tuple[Facts, tuple[Effect, ...]]:
    """The receipt as a file until it is in the bucket; when it is listed, the file goes.

    ``rested``: it is not waiting after a failure.
    """
    if facts.writing:
        return facts, ()
    listed = next((entry for entry in list_.entries if entry.id == facts.id and entry.what == "all"), None)
    if listed and rested and not facts.erased and (facts.dead or listed.dead or stored(facts)):
        return replace(facts, erased=True), (DeleteMedia(f"delete:{facts.id}", facts.id, ("receipt",)),)
    if facts.receipt is None or facts.receipt_object is not None or facts.dead or stored(facts) or not rested:
        return facts, ()
    return replace(facts, writing=True), (WriteReceipt(f"receipt:{facts.id}", facts.id, facts.receipt),)


def receipt_object(result: FilmFile) -> WorkObject:
    """The receipt's file as an object for the bucket."""
    return WorkObject(
        path=result.path,
        bytes=result.bytes,
        bytes_durable=result.bytes_durable,
        complete=True,
        hash=result.sha256,
        head_open=False,
        content_type="application/json",
    )


def stand_in(receipt: Receipt | None, said: Recording | None, wall: datetime) -> Booking | None:
    """A booking for a recording that is over and whose own was cleared; None when it is not over."""
    if receipt is not None:
        begin, end, status = receipt.planned_start, receipt.planned_end, "confirmed"
    elif said is not None and said.state in FINAL_STATES:
        begin, end, status = wall, wall, "cancelled"
    else:
        return None
    body = {"rev": 1, "start": begin, "end": end, "from": begin, "to": end, "status": status}
    return Booking.model_validate(body)
