"""The receipt: a pure fold over everything the stages counted."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from edge_agent.core.recording import Facts, delay, planned_end, whistle
from schemas.receipt import CameraAccount, ClockAccount, FilmAccount, Milestone, Receipt, UploadAccount
from schemas.recording import CaptureStage, RecordingState, WallMapping

SHARE_PATIENCE = timedelta(seconds=10)
STEP_NS = 500_000_000
"""Wall mappings of one boot that differ by more tell of a step of the clock."""


def due(facts: Facts, wall: datetime) -> bool:
    """Whether the account may be closed: final, and the share is there or was waited for."""
    if facts.said is None or facts.said.state not in ("ready", "partial", "failed", "missed"):
        return False
    verified = facts.verified
    if verified is None or verified.verified_at is None:
        return True
    shared = facts.share is not None and facts.share.state == "active"
    return shared or verified.verified_at + SHARE_PATIENCE <= wall


def receipt_of(facts: Facts, state: RecordingState, versions: Mapping[str, str]) -> Receipt:
    """The account of a recording that is over."""
    merge, process = facts.merge, facts.process
    spent = delay(facts)
    start, end = facts.booking.from_, planned_end(facts)
    return Receipt(
        booking_id=facts.id,
        kind=facts.booking.kind,
        state=state,
        planned_start=start,
        planned_end=end,
        recorded_start=_moved(start, merge.start_error_ms if merge else None),
        recorded_end=_moved(end, merge.end_error_ms if merge else None),
        start_error_ms=merge.start_error_ms if merge else None,
        end_error_ms=merge.end_error_ms if merge else None,
        cameras={name: _camera(stage) for name, stage in sorted(facts.captures.items())},
        skew_ms=merge.skew if merge else None,
        repeated=merge.repeated if merge else 0,
        unpaired=merge.unpaired if merge else 0,
        pictures=merge.pictures if merge else {},
        rungs=process.rungs if process else {},
        branding=process.branding if process else (),
        intro=process.intro if process else None,
        clock=_clock(facts),
        film=_film(facts),
        upload=_upload(facts),
        whistle_to_watchable_s=spent.watchable_s if spent else None,
        machine_s=spent.machine_s if spent else None,
        uplink_s=spent.uplink_s if spent else None,
        whistle_to_delivered_s=_delivered_s(facts),
        timeline=_timeline(facts),
        versions=dict(versions),
    )


def with_delivery(receipt: Receipt, delivered_at: datetime) -> Receipt:
    """The account when the film was delivered, perhaps long after it was closed; the first time counts."""
    if receipt.whistle_to_delivered_s is not None:
        return receipt
    blown = next((one.at for one in receipt.timeline if one.what == "whistle"), receipt.planned_end)
    known = [one for one in receipt.timeline if one.what != "delivered"]
    return receipt.replace(
        whistle_to_delivered_s=round((delivered_at - blown).total_seconds(), 3),
        timeline=tuple(
            sorted([*known, Milestone(at=delivered_at, what="delivered")], key=lambda one: one.at)
        ),
    )


def _moved(moment: datetime, error_ms: float | None) -> datetime | None:
    return moment + timedelta(milliseconds=error_ms) if error_ms is not None else None


def _camera(stage: CaptureStage) -> CameraAccount:
    first, last = stage.first_frame_at, stage.last_frame_at
    span_s = (last - first).total_seconds() if first and last else 0.0
    return CameraAccount(
        expected=stage.expected,
        captured=stage.frames,
        dropped=stage.dropped,
        duplicated=stage.duplicated,
        restarts=stage.restarts,
        mean_fps=round((stage.frames - 1) / span_s, 3) if span_s > 0 and stage.frames > 1 else None,
        gaps=stage.gaps,
        gaps_count=stage.gaps_count,
        stamp=stage.stamp,
        encoder=stage.encoder,
    )


def _clock(facts: Facts) -> ClockAccount:
    mappings = [mapping for stage in facts.captures.values() for mapping in stage.mappings]
    mappings += facts.merge.mappings if facts.merge else ()
    boots = {mapping.boot_id for mapping in mappings}
    return ClockAccount(
        synced=all(mapping.synced for mapping in mappings),
        steps=sum(_stepped(mapping for mapping in mappings if mapping.boot_id == boot) for boot in boots),
        boots=max(1, len(boots)),
    )


def _stepped(mappings: Iterable[WallMapping]) -> bool:
    offsets = [mapping.wall_offset_ns for mapping in mappings]
    return max(offsets) - min(offsets) > STEP_NS


def _film(facts: Facts) -> FilmAccount | None:
    film = facts.process.film if facts.process else None
    if film is None:
        return None
    verified = facts.verified
    return FilmAccount(
        bytes=verified.bytes if verified else film.bytes,
        duration_s=film.duration_s,
        frames=film.frames,
        intro_frames=film.intro_frames,
        sha256=(verified.hash if verified else None) or film.hash,
        codec=film.codec,
        width=film.width,
        height=film.height,
        fps=film.fps,
    )


def _upload(facts: Facts) -> UploadAccount | None:
    film = next((one for one in facts.upload.objects if one.name == "film"), None) if facts.upload else None
    if film is None:
        return None
    return UploadAccount(
        parts=film.parts,
        bytes_sent=film.bytes_sent,
        bytes_resent=film.bytes_resent,
        resumes=film.resumes,
        verified_at=film.verified_at,
    )


def _delivered_s(facts: Facts) -> float | None:
    delivered = facts.share.delivered_at if facts.share else None
    return round((delivered - whistle(facts)).total_seconds(), 3) if delivered else None


def _timeline(facts: Facts) -> tuple[Milestone, ...]:
    """What is known, in order of time."""
    firsts = [stage.first_frame_at for stage in facts.captures.values() if stage.first_frame_at]
    lasts = [stage.last_frame_at for stage in facts.captures.values() if stage.last_frame_at]
    verified = facts.verified
    moments: list[tuple[datetime | None, str]] = [
        (facts.booked_at, "booked"),
        (facts.booking.from_, "planned start"),
        (min(firsts, default=None), "first frame"),
        (max(lasts, default=None), "last frame"),
        (whistle(facts), "whistle"),
        (facts.planned_at, "planned"),
        (facts.process.completed_at if facts.process else None, "film complete"),
        (verified.verified_at if verified else None, "verified"),
        (facts.shared_at, "shared"),
        (facts.share.delivered_at if facts.share else None, "delivered"),
    ]
    known = [Milestone(at=at, what=what) for at, what in moments if at is not None]
    return tuple(sorted(known, key=lambda one: one.at))
