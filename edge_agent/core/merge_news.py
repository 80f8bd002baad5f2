"""What changes a recording in the eyes of the merger: its cameras, and plans that reached the disk. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from edge_agent.core.agent import wall_ns
from edge_agent.core.merge_job import Feed, Job, Now
from edge_agent.core.merge_view import with_plan
from edge_agent.core.merging import Desk
from edge_agent.core.slot_plans import cursor_after, layout_of
from edge_agent.core.timeline import Placing, SegmentTimes, segment_times
from schemas.recording import CaptureStage, MergeStage
from schemas.work import CameraName, SegmentsMinute, SlotPlan


def heard_stage(job: Job, camera: CameraName, stage: CaptureStage | None, now: Now) -> Job:
    """A camera's stage changed; a cleared one (its recording is over) is kept as it was."""
    if stage is None:
        return job
    feed = job.feeds.get(camera, Feed(moved_ns=now.mono_ns))
    moved = feed.stage is None or feed.stage.covered_until != stage.covered_until
    feed = replace(feed, stage=stage, moved_ns=now.mono_ns if moved else feed.moved_ns)
    job = replace(job, feeds={**job.feeds, camera: feed})
    if job.begin_ns is None and job.booking is not None and stage.mappings:
        job = replace(job, begin_ns=wall_ns(job.booking.from_))
    return job


def heard_segments(
    job: Job, camera: CameraName, minute: str, message: SegmentsMinute | None, desk: Desk
) -> Job:
    """A camera-minute changed: what lies behind the last planned slot is not even decoded."""
    feed = job.feeds.get(camera, Feed(moved_ns=desk.now.mono_ns))
    minutes = {key: value for key, value in feed.minutes.items() if key != minute}
    if message is not None:
        known = {segment.path: segment for segment in feed.minutes.get(minute, ())}
        placing, behind_ns = desk.placing(job, camera), desk.behind_ns(job)
        kept: list[SegmentTimes | None] = []
        for segment in message.segments:
            end_ns = placing.wall_ns(segment.boot_id, segment.end_ns)
            if end_ns is None or end_ns > behind_ns or segment.open:
                kept.append(segment_times(segment, known))
        if found := tuple(item for item in kept if item is not None and item.frames):
            minutes[minute] = found
        listed = dict(feed.listed_ns)
        for segment in message.segments:
            listed[segment.boot_id] = max(listed.get(segment.boot_id, 0), segment.end_ns)
        feed = replace(feed, listed_ns=listed)
    return replace(job, feeds={**job.feeds, camera: replace(feed, minutes=minutes)})


def adopt(job: Job, plans: Iterable[SlotPlan]) -> Job:
    """Plans that are on disk, in order: the account, the cursor and what is frozen go on from them."""
    account, cursor, mappings, layout = job.account, job.cursor, job.mappings, job.layout
    for plan in plans:
        if plan.index != account.slots or plan.first_frame != account.frames:
            continue
        account, cursor = account.plus(plan), cursor_after(plan)
        mappings = plan.basis.mappings if plan.basis else mappings
    return replace(job, account=account, cursor=cursor, mappings=mappings, layout=layout)


def without_behind(job: Job, desk: Desk) -> Job:
    """The recording without the frames that lie behind its last planned slot."""
    behind_ns = desk.behind_ns(job)
    feeds: dict[CameraName, Feed] = {}
    for camera, feed in job.feeds.items():
        placing = desk.placing(job, camera)
        minutes: dict[str, tuple[SegmentTimes, ...]] = {}
        for minute, segments in feed.minutes.items():
            kept = tuple(one for one in segments if not _is_behind(one, placing, behind_ns))
            if kept:
                minutes[minute] = segments if len(kept) == len(segments) else kept
        feeds[camera] = replace(feed, minutes=minutes)
    return replace(job, feeds=feeds)


def _is_behind(segment: SegmentTimes, placing: Placing, behind_ns: int) -> bool:
    last_ns = placing.wall_ns(segment.boot_id, segment.times_ns[-1])
    return last_ns is not None and last_ns < behind_ns


def restored(booking_id: str, plans: tuple[SlotPlan, ...], stage: MergeStage | None, desk: Desk) -> Job:
    """A recording as disk and last message have it: what is planned never changes."""
    job = Job(booking_id, stage=stage, since_ns=desk.now.mono_ns, asked_ns=desk.now.mono_ns)
    if stage is not None and stage.begin is not None and (plans or stage.mappings):
        job = replace(job, begin_ns=wall_ns(stage.begin))
    if stage is not None:
        told = tuple((one.boot_id, one.wall_offset_ns, one.synced) for one in stage.mappings)
        job = replace(job, mappings=told)
    return published(adopt(replace(job, layout=layout_of(plans)), plans), plans, desk)


def published(job: Job, plans: Iterable[SlotPlan], desk: Desk) -> Job:
    """The recording with these plans, all of them adopted, among its published minutes."""
    slots, fps = job.slots, desk.settings.film_fps()
    for plan in plans:
        slots = with_plan(slots, job.id, fps, plan)
    return replace(job, slots=slots)
