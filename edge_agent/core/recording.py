"""What health knows of one recording, and its state: a pure fold over booking and stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.settings import Settings
from schemas.base import Message
from schemas.booking import Booking
from schemas.receipt import Receipt
from schemas.recording import (
    FINAL_STATES,
    CaptureStage,
    MergeStage,
    ProcessStage,
    Recording,
    RecordingState,
    Share,
    UploadedObject,
    UploadStage,
)
from schemas.registry import FILM_OBJECT
from schemas.topics import Address
from schemas.work import Picture, WorkObject

FULL_PICTURES: frozenset[Picture] = frozenset({"side_by_side", "stacked", "single"})
MISSED_AFTER = timedelta(seconds=30)
MISSED_AT_LAST = timedelta(minutes=10)
STAGES_LATE = timedelta(seconds=60)
RECORDING_PCT = 90
"""Of the progress, this much is recording; the rest is finishing."""


@dataclass(frozen=True)
class Pace:
    """A sample of the work done when the recording began to finish, to estimate how fast it goes."""

    at: datetime
    slots: int
    bytes: int


@dataclass(frozen=True)
class Facts:
    """One recording as its owners tell it.

    Attributes:
        withdrawn: the booking vanished with a schedule that proves it.
        end_changed_at: wall time at which a change arrived that moved the end to an earlier moment.
        cancelled_at: since when it is not wanted; ``cancelled_ns``: the same on this run's monotonic clock.
        dead: cancelled for good; its media may go.
        seen: something was captured, as far as was ever known.
        booked_at, planned_at, shared_at: when we heard of the booking, of the last slot's plan, of the
            share; None when that was before this run.
        final_at: when the state became final.
        said: what is published.
        writing: the receipt is being written; ``receipt_object`` is its file; ``erased``: its deletion
            was asked for in this run.
    """

    id: str
    booking: Booking
    withdrawn: bool = False
    captures: Mapping[str, CaptureStage] = field(default_factory=dict[str, CaptureStage])
    merge: MergeStage | None = None
    process: ProcessStage | None = None
    upload: UploadStage | None = None
    share: Share | None = None
    film: WorkObject | None = None
    end_changed_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancelled_ns: int | None = None
    dead: bool = False
    seen: bool = False
    booked_at: datetime | None = None
    planned_at: datetime | None = None
    shared_at: datetime | None = None
    final_at: datetime | None = None
    pace: Pace | None = None
    said: Recording | None = None
    receipt: Receipt | None = None
    receipt_object: WorkObject | None = None
    writing: bool = False
    erased: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it is to be recorded now."""
        return self.booking.wanted and not self.withdrawn

    @property
    def final(self) -> bool:
        """Whether the state does not change any more (a cancelled one may be taken back while not dead)."""
        return self.said is not None and self.said.state in FINAL_STATES

    @property
    def verified(self) -> UploadedObject | None:
        """The film in the bucket, once it was compared."""
        return self.upload.verified("film") if self.upload else None


def planned_end(facts: Facts) -> datetime:
    """The planned end as obeyed: the merger's once it has fixed the slots."""
    merge = facts.merge
    if merge is not None and merge.status == "succeeded" and merge.end is not None:
        return merge.end
    return facts.booking.to


def whistle(facts: Facts) -> datetime:
    """The planned end, or the arrival of the change that made it the end; whichever is later."""
    end = planned_end(facts)
    return max(end, facts.end_changed_at) if facts.end_changed_at else end


def booked(facts: Facts, booking: Booking, wall: datetime) -> Facts:
    """The recording after a message of its booking; an end moved to an earlier moment is a whistle."""
    if booking.to < facts.booking.to:
        facts = replace(facts, end_changed_at=wall)
    elif booking.to > facts.booking.to:
        facts = replace(facts, end_changed_at=None)
    return replace(facts, booking=booking, withdrawn=False)


def captured(facts: Facts, cam: str, stage: CaptureStage) -> Facts:
    """The recording after a message of one camera's stage."""
    seen = facts.seen or stage.segments > 0 or stage.frames > 0
    return replace(facts, captures={**facts.captures, cam: stage}, seen=seen)


def told(facts: Facts, address: Address[Any], message: Message, at: datetime | None) -> Facts:
    """The recording after a message about it; ``at`` is the moment it arrived, None when it is old news."""
    match message:
        case CaptureStage():
            return captured(facts, address["cam"], message)
        case MergeStage():
            fixed = at if message.status == "succeeded" else None
            return replace(facts, merge=message, planned_at=facts.planned_at or fixed)
        case ProcessStage():
            return replace(facts, process=message)
        case UploadStage():
            return replace(facts, upload=message)
        case Share():
            active = at if message.state == "active" else None
            return replace(facts, share=message, shared_at=facts.shared_at or active)
        case WorkObject() if address.topic is FILM_OBJECT and address["name"] == "film":
            return replace(facts, film=message)
        case _:
            return facts


def aged(facts: Facts, wall: datetime, mono_ns: int, settings: Settings) -> Facts:
    """The recording's own clockwork: since when it is cancelled, and when it is dead.

    Patience is counted on the monotonic clock: after a boot the wall clock jumps when it is synchronised.
    What was not recorded and is not over has nothing to delete and may be taken back at any time: a booking
    cancelled a day ahead, or every one to come after `automatic` was off for an hour.
    """
    if facts.wanted:
        again = facts.cancelled_at is not None and not facts.dead
        return replace(facts, cancelled_at=None, cancelled_ns=None) if again else facts
    if facts.final and facts.said is not None and facts.said.state != "cancelled":
        return facts
    if facts.cancelled_ns is None:
        return replace(facts, cancelled_at=facts.cancelled_at or wall, cancelled_ns=mono_ns)
    patience_ns = settings.retention.cancelled_min * 60 * SECOND_NS
    begun = facts.seen or wall >= facts.booking.to
    if not facts.dead and begun and mono_ns - facts.cancelled_ns >= patience_ns:
        return replace(facts, dead=True)
    return facts


def state_of(facts: Facts, wall: datetime) -> RecordingState:
    """The state now. A final one stays, but a cancelled recording may be taken back while it is not dead."""
    said = facts.said.state if facts.said is not None else None
    if said is not None and said in FINAL_STATES and (said != "cancelled" or facts.dead):
        return said
    if facts.dead or not facts.wanted:
        return "cancelled"
    return _outcome(facts, wall) or _progress_state(facts, wall)


def _outcome(facts: Facts, wall: datetime) -> RecordingState | None:
    verified = facts.verified
    if verified is not None and verified.verified_at is not None:
        if accounted(facts.merge, facts.process) or verified.verified_at + STAGES_LATE <= wall:
            return "partial" if missing(facts) else "ready"
        return None
    stages = (facts.merge, facts.process)
    if any(stage is not None and stage.status == "failed" for stage in stages):
        return "failed"
    return "missed" if _missed(facts, wall) else None


def accounted(merge: MergeStage | None, process: ProcessStage | None) -> bool:
    """Whether both stages have said their last; a restarted broker may have one from before the upload's."""
    return all(stage is not None and stage.status == "succeeded" for stage in (merge, process))


def _missed(facts: Facts, wall: datetime) -> bool:
    """The time is past and no camera claimed anything, nor says that it still might."""
    if facts.seen or facts.film is not None or wall < facts.booking.to + MISSED_AFTER:
        return False
    stages = facts.captures.values()
    settled = ("succeeded", "failed", "cancelled")
    # A stage of an earlier revision says nothing yet: a booking taken back may still be in the ring.
    over = bool(stages) and all(s.status in settled and s.rev >= facts.booking.rev for s in stages)
    return over or wall >= facts.booking.to + MISSED_AT_LAST


def _progress_state(facts: Facts, wall: datetime) -> RecordingState:
    merged = facts.merge is not None and facts.merge.status == "succeeded"
    if merged or wall >= facts.booking.to:
        return "finishing"
    return "recording" if wall >= facts.booking.from_ else "scheduled"


def missing(facts: Facts) -> dict[str, int]:
    """Frames that are not as they should be, by what is wrong with them; empty when nothing is."""
    return missing_of(facts.merge, facts.process)


def missing_of(merge: MergeStage | None, process: ProcessStage | None) -> dict[str, int]:
    """The same, from the two stages it hangs on."""
    found: dict[str, int] = {}
    if merge is not None:
        found = {name: count for name, count in merge.pictures.items() if count and name not in FULL_PICTURES}
    if process is not None:
        for rung in ("one_camera", "card"):
            slots = process.rungs.get(rung, 0)
            if slots and not found:
                found[rung] = slots
    if accounted(merge, process):
        found |= _frames_off(merge, process)
    return found


def _frames_off(merge: MergeStage | None, process: ProcessStage | None) -> dict[str, int]:
    if merge is None or process is None or merge.frames_total is None or process.film is None:
        return {}
    off = merge.frames_total - (process.film.frames - process.film.intro_frames)
    return {"frames": abs(off)} if off else {}


def progress(facts: Facts, state: RecordingState, wall: datetime) -> int:
    """Per cent of the way to the link; never less than was said before of the same attempt."""
    before = facts.said.progress_pct if facts.said is not None else 0
    if state in ("ready", "partial"):
        return 100
    if state == "recording":
        planned_s = (facts.booking.to - facts.booking.from_).total_seconds()
        share = (wall - facts.booking.from_).total_seconds() / planned_s if planned_s > 0 else 1.0
        return max(before, min(RECORDING_PCT, int(share * RECORDING_PCT)))
    if state == "finishing":
        share = (_share_of_slots(facts) + _share_of_bytes(facts)) / 2
        return max(before, min(99, RECORDING_PCT + int(share * (99 - RECORDING_PCT))))
    return before


def _share_of_slots(facts: Facts) -> float:
    total = facts.merge.slots_total if facts.merge else None
    return min(1.0, facts.process.slots_done / total) if total and facts.process else 0.0


def _share_of_bytes(facts: Facts) -> float:
    upload = facts.upload
    return min(1.0, upload.bytes_done / upload.bytes_known) if upload and upload.bytes_known else 0.0


def paced(facts: Facts, state: RecordingState, wall: datetime) -> Facts:
    """The recording with a sample of its work taken once it began to finish."""
    if state != "finishing" or facts.pace is not None:
        return facts
    slots = facts.process.slots_done if facts.process else 0
    return replace(facts, pace=Pace(wall, slots, facts.upload.bytes_done if facts.upload else 0))


@dataclass(frozen=True)
class Delay:
    """From the whistle to a film that plays, in seconds: the line's share and the machine's."""

    watchable_s: float
    uplink_s: float
    machine_s: float


def delay(facts: Facts) -> Delay | None:
    """How long it took, once the film is verified."""
    verified = facts.verified
    if verified is None or verified.verified_at is None:
        return None
    watchable_s = max(0.0, (verified.verified_at - whistle(facts)).total_seconds())
    completed = facts.process.completed_at if facts.process else None
    uplink_s = max(0.0, (verified.verified_at - completed).total_seconds()) if completed else 0.0
    uplink_s = min(uplink_s, watchable_s)
    return Delay(round(watchable_s, 3), round(uplink_s, 3), round(watchable_s - uplink_s, 3))
