"""Stages of a recording that went well, to be spoiled one by one."""

from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.core.recording import Facts
from schemas.booking import Booking
from schemas.recording import (
    CaptureStage,
    FilmFacts,
    MergeStage,
    ProcessStage,
    Share,
    Skew,
    UploadedObject,
    UploadStage,
    WallMapping,
)
from schemas.work import WorkObject

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def booking(start_s: float = 0, end_s: float = 20, **more: Any) -> Booking:
    times = {"start": at(start_s), "end": at(end_s), "from": at(start_s), "to": at(end_s)}
    return Booking.model_validate({"rev": 1, **times, **more})


def capture(**more: Any) -> CaptureStage:
    body: dict[str, Any] = {
        "status": "succeeded",
        "rev": 1,
        "segments": 10,
        "expected": 600,
        "frames": 600,
        "first_frame_at": at(0.01),
        "last_frame_at": at(19.97),
        "mappings": (WallMapping(boot_id="b", wall_offset_ns=5),),
    }
    return CaptureStage.model_validate({**body, **more})


def merge(**more: Any) -> MergeStage:
    body: dict[str, Any] = {
        "status": "succeeded",
        "begin": at(0),
        "end": at(20),
        "slots_planned": 6,
        "slots_total": 6,
        "frames_total": 600,
        "pictures": {"side_by_side": 600},
        "skew": Skew(median_ms=3, p99_ms=9, max_ms=12),
        "start_error_ms": 10.0,
        "end_error_ms": -20.0,
    }
    return MergeStage.model_validate({**body, **more})


def process(**more: Any) -> ProcessStage:
    film = FilmFacts(
        bytes=900, frames=690, intro_frames=90, duration_s=23, width=64, height=36, fps=30, hash="h-1"
    )
    body: dict[str, Any] = {
        "status": "succeeded",
        "slots_done": 6,
        "slots_total": 6,
        "rungs": {"full": 6},
        "film": film,
        "completed_at": at(22),
    }
    return ProcessStage.model_validate({**body, **more})


def upload(verified_s: float | None = 23, names: tuple[str, ...] = ("film",), **more: Any) -> UploadStage:
    moment = at(verified_s) if verified_s is not None else None
    objects = tuple(
        UploadedObject(
            name=name, key=name, bytes=900, hash="h-1", parts=1, bytes_sent=900, verified_at=moment
        )
        for name in names
    )
    done = 900 if moment else 300
    body: dict[str, Any] = {
        "status": "succeeded" if moment else "running",
        "objects": objects,
        "bytes_done": done,
        "bytes_known": 900,
    }
    return UploadStage.model_validate({**body, **more})


def film(**more: Any) -> WorkObject:
    body: dict[str, Any] = {
        "path": "recordings/b1/film/film.mp4",
        "bytes": 900,
        "bytes_durable": 900,
        "complete": True,
    }
    return WorkObject.model_validate({**body, **more})


def share() -> Share:
    return Share(state="active", share_id="s", delivered_at=at(24))


def facts(**more: Any) -> Facts:
    """A recording whose film is verified."""
    known: dict[str, Any] = {
        "id": "b1",
        "booking": booking(),
        "captures": {"left": capture(), "right": capture()},
        "merge": merge(),
        "process": process(),
        "upload": upload(),
        "film": film(),
        "seen": True,
    }
    return Facts(**{**known, **more})
