"""What the uploader says of its work: stages and status, as pure views of the objects."""

from collections.abc import Iterable, Mapping

from edge_agent.core.settings import Settings
from edge_agent.core.upload import NAME_ORDER, Item
from schemas.agent import AgentStatus
from schemas.booking import Booking
from schemas.recording import StageStatus, UploadStage


def required(booking: Booking | None, settings: Settings) -> frozenset[str]:
    """Objects that must be in the bucket before the stage has succeeded; the receipt never is one."""
    cameras = settings.camera_names() if booking is not None and "cameras" in booking.deliver else ()
    return frozenset({"film", *cameras})


def stages_of(
    before: Mapping[str, UploadStage],
    items: Iterable[Item],
    bookings: Mapping[str, Booking],
    leaving: frozenset[str],
    settings: Settings,
) -> dict[str, UploadStage]:
    """The upload stages; of a recording that is leaving there is none. Equal ones keep their identity."""
    by_booking: dict[str, list[Item]] = {}
    for item in items:
        by_booking.setdefault(item.booking_id, []).append(item)
    stages = {booking_id: stage for booking_id, stage in before.items() if booking_id not in leaving}
    for booking_id, group in by_booking.items():
        if booking_id in leaving:
            continue
        booking, old = bookings.get(booking_id), stages.get(booking_id)
        rev = booking.rev if booking is not None else (old.rev if old else 0)
        stage = stage_of(group, rev, required(booking, settings), settings.store.bucket, old)
        if stage is not None:
            stages[booking_id] = stage
    return stages


def stage_of(
    items: Iterable[Item], rev: int, required: frozenset[str], bucket: str, before: UploadStage | None
) -> UploadStage | None:
    """The upload stage of a recording, or None while no object of it is known. The one before when equal."""
    known = sorted(
        (item for item in items if item.account is not None),
        key=lambda item: NAME_ORDER.index(item.name) if item.name in NAME_ORDER else len(NAME_ORDER),
    )
    if not known:
        return before
    verified = {item.name for item in known if item.verified}
    status: StageStatus = "succeeded" if required <= verified else "running"
    stage = UploadStage(
        status=status,
        rev=rev,
        error=next((item.error for item in known if item.error and not item.verified), None),
        objects=tuple(item.account for item in known if item.account is not None),
        bytes_done=sum(_bytes_done(item) for item in known),
        bytes_known=sum(item.account.bytes for item in known if item.account is not None),
        bucket=bucket,
    )
    return before if stage == before else stage


def _bytes_done(item: Item) -> int:
    if item.verified and item.account is not None:
        return item.account.bytes
    return sum(item.sent.values())


def status_of(
    before: AgentStatus, items: Iterable[Item], *, paused: bool, trouble: str | None
) -> AgentStatus:
    """The agent's status; ``trouble`` is what the bucket last answered, when it fails."""
    pending = [item for item in items if not item.verified and item.work is not None]
    busy = next((item for item in pending if item.doing), None)
    status = AgentStatus(
        state="paused" if paused else "degraded" if trouble else "busy" if busy else "idle",
        backlog=len(pending),
        current=busy.object_id if busy else None,
        last_error=trouble,
    )
    return before if status == before else status
