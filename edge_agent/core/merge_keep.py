"""How long the merger keeps what it has of a recording. Pure."""

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.merge_job import Job
from edge_agent.core.merging import Desk

DAY_NS = 86_400 * SECOND_NS
SETTLED = frozenset({"succeeded", "cancelled", "failed"})


def deletable(job: Job) -> bool:
    """Whether its plans may go now: they are listed, and of no more use here either."""
    settled = job.dead or job.final or (job.stage is not None and job.stage.status in SETTLED)
    held = bool(job.slots) or job.account.slots > 0
    return job.listed and settled and held and not (job.gone or job.writing)


def overtaken(job: Job, desk: Desk) -> bool:
    """Whether a cleared booking is over rather than withdrawn: final, or finished here a day ago."""
    if job.final or job.stage is None or job.stage.end is None:
        return job.final
    return job.stage.status == "succeeded" and desk.now.wall_ns > wall_ns(job.stage.end) + DAY_NS


def expiry_ns(job: Job, desk: Desk) -> int | None:
    """Monotonic time from which the stage need not be kept; None: it has come, or nothing is kept."""
    if job.stage is None or job.stage.end is None:
        return None
    keep_ns = (desk.settings.retention.topics_days + 1) * DAY_NS
    due_ns = desk.now.mono_ns + wall_ns(job.stage.end) + keep_ns - desk.now.wall_ns
    return due_ns if due_ns > desk.now.mono_ns else None


def over(job: Job, desk: Desk, *, present: bool) -> bool:
    """Whether nothing more is to be shown of a recording. ``present``: its booking is still there."""
    if present or job.writing:
        return False
    if job.stage is None:
        return job.booking is not None and not job.wanted and not job.feeds and not job.slots
    settled = job.final or job.stage.status in SETTLED
    return settled and not job.slots and expiry_ns(job, desk) is None
