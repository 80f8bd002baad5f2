"""What the merger shows of a recording: its stage, the slot plans by minute, its alarms. Pure."""

from datetime import datetime

from edge_agent.core.capture import moment
from edge_agent.core.merge_job import Job, Slots
from edge_agent.core.merging import Desk
from schemas.agent import Alarm
from schemas.recording import MergeStage, StageError, StageStatus, WallMapping
from schemas.registry import SLOTS
from schemas.work import SlotPlan, SlotsMinute

MINUTE_BYTES = 80_000
MINUTE_PLANS = 60


def weight(plan: SlotPlan) -> int:
    """About the bytes a plan takes on the wire, never fewer: a minute must stay below the payload limit."""
    picks = sum(len(run.left) + len(run.right) for run in plan.runs)
    sources = len(plan.left_sources) + len(plan.right_sources)
    basis = 0 if plan.basis is None else 70 * len(plan.basis.mappings) + 12 * len(plan.basis.skew)
    return 600 + 52 * picks + 150 * sources + 90 * len(plan.runs) + 250 * len(plan.missing) + basis


def with_plan(slots: Slots, booking_id: str, fps: int, plan: SlotPlan) -> Slots:
    """The published minutes with the next plan.

    A minute that would become too large goes on under ``{minute}-1``, ``{minute}-2`` and so on.
    """
    minute, part = str(plan.first_frame // (60 * fps)), 0
    address = SLOTS.at(id=booking_id, minute=minute)
    while (after := SLOTS.at(id=booking_id, minute=f"{minute}-{part + 1}")) in slots:
        address, part = after, part + 1
    held = slots[address].plans if address in slots else ()
    full = len(held) >= MINUTE_PLANS or sum(map(weight, held)) + weight(plan) > MINUTE_BYTES
    if held and full:
        address, held = SLOTS.at(id=booking_id, minute=f"{minute}-{part + 1}"), ()
    return {**slots, address: SlotsMinute(plans=(*held, plan))}


def stage_of(job: Job, desk: Desk, error: StageError | None) -> MergeStage | None:
    """The stage as it is now; the very object published before when nothing changed.

    Once the number of slots is fixed, only the status and the revision obeyed change.
    """
    held, booking = job.stage, job.booking
    if booking is None or (held is None and (job.final or not job.wanted)):
        return held
    if held is not None and (job.fixed or not job.wanted):
        status: StageStatus = "succeeded" if job.wanted else "cancelled"
        rev = held.rev if job.refused is not None else booking.rev
        if (held.status, held.rev) == (status, rev):
            return held
        return held.model_copy(update={"status": status, "rev": rev, "error": None})
    if held is not None and job.final and held.status == "failed":
        return held  # what a recording that is over failed of stays to be read
    stage = _stage(job, desk, _status(job, desk, error), error)
    return held if stage == held else stage


def _status(job: Job, desk: Desk, error: StageError | None) -> StageStatus:
    if error is not None:
        return "failed"
    if not job.writing and 0 < job.account.frames >= desk.total(job):
        return "succeeded"
    return "running" if job.account.slots or job.writing else "pending"


def _stage(job: Job, desk: Desk, status: StageStatus, error: StageError | None) -> MergeStage:
    timeline, account = desk.timeline(job), job.account
    total, end_ns = desk.total(job), desk.end_ns(job)
    if timeline.frames_until(end_ns) != total:
        end_ns = timeline.start_ns(total)
    done = status == "succeeded"
    return MergeStage(
        status=status,
        rev=job.booking.rev if job.booking else 0,
        error=error,
        mappings=tuple(
            WallMapping(boot_id=boot, wall_offset_ns=offset, synced=synced)
            for boot, offset, synced in job.mappings
        ),
        begin=moment(timeline.begin_ns),
        end=moment(end_ns),
        slots_planned=account.slots,
        slots_total=account.slots if done else None,
        frames_planned=account.frames,
        frames_total=total,
        pictures=dict(account.pictures),
        repeated=account.repeated,
        unpaired=account.unpaired,
        skew=account.skew_stats() if _skew_known(job, desk) else None,
        missing=dict(account.missing),
        start_error_ms=account.start_error_ms(timeline.begin_ns),
        end_error_ms=account.end_error_ms(end_ns, timeline.fps) if done else None,
    )


def _skew_known(job: Job, desk: Desk) -> bool:
    """Arrival stamps say nothing of the skew before the camera's latency is set."""
    return not any(
        feed.stage is not None
        and feed.stage.stamp == "arrival"
        and desk.settings.camera_of(camera).latency_ms == 0
        for camera, feed in job.feeds.items()
        if camera in desk.cameras
    )


def refusal(job: Job, since: datetime) -> Alarm:
    """An extension that came after the film was finished."""
    return Alarm(
        severity="minor",
        text=f"Booking {job.id} was extended after its film was finished: the film keeps its end",
        since=since,
        subject=job.id,
        mend="Book the court again from now on: the new booking becomes a film of its own.",
    )


def unwritten(job_id: str, text: str, since: datetime) -> Alarm:
    """Slot plans that cannot be written."""
    return Alarm(
        severity="major",
        text=f"The plan of recording {job_id} cannot be written: {text}"[:300],
        since=since,
        subject=job_id,
        mend="Make room on the disk, or look whether it is still writable; recording goes on meanwhile.",
    )
