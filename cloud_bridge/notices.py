"""What the device has to say to people, made from its topics. Pure; nothing personal, no link.

What ``data`` has of each kind is in `cloud_bridge.notify`. The same cause always gives the same id.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import JsonValue

from edge_agent.core.effects import Notice
from edge_agent.core.recording import missing_of
from schemas.agent import Alarm
from schemas.base import utc_text
from schemas.booking import Booking
from schemas.health import Preflight
from schemas.recording import CaptureStage, Gap, MergeStage, ProcessStage, Recording, UploadedObject

MAX_GAPS = 10


@dataclass(frozen=True)
class Made:
    """A recording as its stages tell it; ``booking`` is None when its topic was cleared already."""

    booking_id: str
    booking: Booking | None = None
    captures: Mapping[str, CaptureStage] = field(default_factory=dict[str, CaptureStage])
    merge: MergeStage | None = None
    process: ProcessStage | None = None


def film(device: str, made: Made, verified: UploadedObject, now: datetime) -> Notice:
    """The film is in the bucket: whole (film_ready), or with something missing (film_partial)."""
    at = verified.verified_at or now
    data = _booked(made)
    facts = made.process.film if made.process else None
    if facts is not None:
        data["duration_s"] = facts.duration_s
    kind = "film_ready"
    if missing_of(made.merge, made.process):
        kind = "film_partial"
        fps = facts.fps if facts is not None else 30
        data["lacks"] = {name: round(frames / fps, 1) for name, frames in _lacks(made).items()}
        intro_s = facts.intro_frames / facts.fps if facts is not None else 0.0
        data["missing"] = list(_gaps(made, intro_s))
    return Notice(f"{device}:film:{made.booking_id}", kind, made.booking_id, utc_text(at), data)


def missed(device: str, made: Made, recording: Recording, now: datetime) -> Notice:
    """There is no film of a booking, and there will be none."""
    data = {**_booked(made), "state": recording.state, "why": recording.why}
    return Notice(f"{device}:missed:{made.booking_id}", "film_missed", made.booking_id, utc_text(now), data)


def alarm(device: str, agent: str, name: str, standing: Alarm) -> Notice:
    """A trouble that stands."""
    since, subject = utc_text(standing.since), f"{agent}/{name}"
    data: dict[str, JsonValue] = {
        "severity": standing.severity,
        "text": standing.text,
        "mend": standing.mend,
        "since": since,
        "subject": standing.subject,
    }
    return Notice(f"{device}:alarm:{subject}:{since}", "alarm", subject, since, data)


def recovered(told: Notice, now: datetime) -> Notice:
    """The end of a trouble that was told of by ``told``."""
    over_at = utc_text(now)
    data = {**told.data, "over_at": over_at}
    return replace(
        told, id=told.id.replace(":alarm:", ":recovered:", 1), kind="recovered", at=over_at, data=data
    )


def preflight_failed(device: str, booking_id: str, booking: Booking | None, result: Preflight) -> Notice:
    """A booking ahead will not record; told again only when something else fails."""
    failed = [check for check in result.checks if not check.ok]
    names = hashlib.blake2b("\n".join(sorted(c.name for c in failed)).encode(), digest_size=4).hexdigest()
    data: dict[str, JsonValue] = {
        "at": utc_text(result.at),
        "checks": [{"name": c.name, "value": c.value, "mend": c.mend} for c in failed],
    }
    if booking is not None:
        data["start"] = utc_text(booking.from_)
    notice_id = f"{device}:preflight:{booking_id}:{names}"
    return Notice(notice_id, "preflight_failed", booking_id, utc_text(result.at), data)


def _booked(made: Made) -> dict[str, JsonValue]:
    if made.booking is not None:
        booking = made.booking
        return {"kind": booking.kind, "start": utc_text(booking.from_), "end": utc_text(booking.to)}
    merge = made.merge
    if merge is None or merge.begin is None or merge.end is None:
        return {}
    return {"start": utc_text(merge.begin), "end": utc_text(merge.end)}


def _lacks(made: Made) -> dict[str, int]:
    """Frames of the film by the only picture they have: one camera's, or none at all."""
    found = {"left": 0, "right": 0, "card": 0}
    if made.merge is not None:
        for picture, frames in made.merge.pictures.items():
            if picture in found:
                found[picture] += frames
    for poor in made.process.poorer if made.process else ():
        both = min(poor.left, poor.right)
        found["card"] += both * poor.slots
        found["left"] += (poor.right - both) * poor.slots
        found["right"] += (poor.left - both) * poor.slots
    return {picture: frames for picture, frames in found.items() if frames}


def _gaps(made: Made, intro_s: float) -> Iterable[dict[str, JsonValue]]:
    """Time without a camera's frames, by its place in the film; the longest when there are many."""
    begin = made.merge.begin if made.merge and made.merge.begin else None
    if begin is None and made.booking is not None:
        begin = made.booking.from_
    if begin is None:
        return []
    gaps: dict[tuple[datetime, datetime], list[str]] = {}
    for camera, stage in sorted(made.captures.items()):
        for gap in stage.gaps:
            gaps.setdefault(_span(gap, begin), []).append(camera)
    longest = sorted(gaps, key=lambda span: span[0] - span[1])[:MAX_GAPS]
    return [
        {
            "at_s": round((first - begin).total_seconds() + intro_s, 1),
            "for_s": round((last - first).total_seconds(), 1),
            "cameras": list[JsonValue](gaps[first, last]),
        }
        for first, last in sorted(longest)
    ]


def _span(gap: Gap, begin: datetime) -> tuple[datetime, datetime]:
    return max(gap.begin, begin), max(gap.end, begin)
