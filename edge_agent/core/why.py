"""In plain words: where a recording stands, why its film is late or incomplete, and how long it may take."""

from collections.abc import Mapping
from datetime import datetime

from edge_agent.core.recording import Facts, delay, missing
from edge_agent.core.settings import Settings
from schemas.recording import RecordingState

DEFAULT_SLOT_S = 1.0
TAIL_S = 5.0
LATE_S = 10.0
PICTURES: Mapping[str, str] = {
    "left": "the right camera is missing",
    "right": "the left camera is missing",
    "card": "both cameras are missing",
    "one_camera": "one camera could not be used",
    "frames": "frames are missing",
}


def eta_s(facts: Facts, state: RecordingState, wall: datetime, settings: Settings) -> float | None:
    """Seconds until the film plays from its link, coarse on purpose; None when there will be none."""
    if state in ("scheduled", "recording"):
        return _coarse((facts.booking.to - wall).total_seconds() + TAIL_S)
    if state != "finishing":
        return None
    slots, size = _left(facts)
    slot_s, bps = _speed(facts, wall, settings)
    return _coarse(max(slots * slot_s, size * 8 / bps) + 1.0)


def _coarse(seconds: float) -> float:
    """So that an estimate is not a message every second: 5 s steps below two minutes, minutes above."""
    step = 5.0 if seconds < 120 else 60.0
    return max(step, -(-seconds // step) * step)


def _left(facts: Facts) -> tuple[int, int]:
    """Slots to render and bytes to send."""
    total = (facts.merge.slots_total or facts.merge.slots_planned) if facts.merge else 0
    done = facts.process.slots_done if facts.process else 0
    upload = facts.upload
    size = (
        max(0, upload.bytes_known - upload.bytes_done) if upload else (facts.film.bytes if facts.film else 0)
    )
    return max(0, total - done), size


def _speed(facts: Facts, wall: datetime, settings: Settings) -> tuple[float, float]:
    """Seconds per slot and bits per second, measured since the whistle where something moved."""
    slot_s, bps = DEFAULT_SLOT_S, float(settings.film.max_bitrate)
    pace = facts.pace
    if pace is None:
        return slot_s, bps
    elapsed_s = (wall - pace.at).total_seconds()
    slots = (facts.process.slots_done if facts.process else 0) - pace.slots
    sent = (facts.upload.bytes_done if facts.upload else 0) - pace.bytes
    if elapsed_s > 0 and slots > 0:
        slot_s = elapsed_s / slots
    if elapsed_s > 0 and sent > 0:
        bps = sent * 8 / elapsed_s
    return slot_s, bps


def why(facts: Facts, state: RecordingState, cameras: Mapping[str, str], settings: Settings) -> str:
    """One plain sentence on a state. ``cameras``: camera -> state of its status topic."""
    match state:
        case "scheduled":
            return f"planned to start at {facts.booking.from_:%Y-%m-%d %H:%M} UTC"
        case "recording":
            return _recording(facts, cameras, settings)
        case "finishing":
            return _finishing(facts, settings)
        case "ready":
            return _ready(facts)
        case "partial":
            return "the film is there, but not complete: " + _incomplete(facts, settings)
        case "failed":
            return "no film could be made: " + (_error(facts) or "see the alarms of this device")
        case "missed":
            return "nothing was recorded: " + _cameras_down(cameras, settings)
        case "cancelled":
            return _cancelled(facts, settings)


def _recording(facts: Facts, cameras: Mapping[str, str], settings: Settings) -> str:
    down = [name for name in settings.camera_names() if cameras.get(name) not in ("online", "recording")]
    if down:
        rest = "the other one goes on" if len(down) < len(settings.camera_names()) else "nothing is captured"
        return f"recording, but camera {' and '.join(down)} delivers no picture; {rest}"
    behind = _behind(facts)
    return f"recording; rendering is {behind} slots behind" if behind > 3 else "recording"


def _behind(facts: Facts) -> int:
    planned = facts.merge.slots_planned if facts.merge else 0
    return max(0, planned - (facts.process.slots_done if facts.process else 0))


def _finishing(facts: Facts, settings: Settings) -> str:
    error = _error(facts)
    tail = f"; last trouble: {error}" if error else ""
    merge, process, upload = facts.merge, facts.process, facts.upload
    if merge is None or merge.status != "succeeded":
        waiting = [name for name in settings.camera_names() if not _captured(facts, name)]
        who = f"camera {' and '.join(waiting)}" if waiting else "the last slots to be planned"
        return f"waiting for {who}{tail}"
    if process is None or not (facts.film and facts.film.complete):
        done = process.slots_done if process else 0
        return f"rendering: {done} of {merge.slots_total} slots done{tail}"
    if facts.verified is not None:
        return "in the bucket; the last accounts are outstanding"
    sent, known = (upload.bytes_done, upload.bytes_known) if upload else (0, facts.film.bytes)
    return f"sending: {_mb(sent)} of {_mb(known)} MB in the bucket{tail}"


def _captured(facts: Facts, name: str) -> bool:
    stage = facts.captures.get(name)
    return stage is not None and stage.status in ("succeeded", "failed", "cancelled")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _ready(facts: Facts) -> str:
    spent = delay(facts)
    if spent is None or spent.watchable_s <= LATE_S:
        return "complete"
    line = spent.uplink_s >= spent.machine_s
    reason = "the line needed" if line else "this device needed"
    part_s = spent.uplink_s if line else spent.machine_s
    return f"complete; watchable {spent.watchable_s:.0f} s after the end: {reason} {part_s:.0f} s of it"


def _incomplete(facts: Facts, settings: Settings) -> str:
    fps = settings.film_fps()
    parts = [
        f"{PICTURES.get(what, what)} for {count / fps:.1f} s"
        if what in ("left", "right", "card")
        else f"{PICTURES.get(what, what)} ({count})"
        for what, count in missing(facts).items()
    ]
    reasons = {gap.reason for stage in facts.captures.values() for gap in stage.gaps}
    because = f" ({', '.join(sorted(reasons)[:3])})" if reasons else ""
    return (", ".join(parts) or "something is missing") + because


def _cameras_down(cameras: Mapping[str, str], settings: Settings) -> str:
    told = [f"camera {name} was {cameras.get(name, 'not there')}" for name in settings.camera_names()]
    return ", ".join(told) + " when the time was over"


def _cancelled(facts: Facts, settings: Settings) -> str:
    minutes = settings.retention.cancelled_min
    if facts.dead and facts.wanted:
        return f"taken back too late: it had been cancelled for {minutes} minutes and its media is deleted"
    if facts.dead or facts.cancelled_at is None:
        return "cancelled; its media is deleted"
    return f"cancelled; its media is kept for {minutes} minutes, in case it is taken back"


def _error(facts: Facts) -> str | None:
    for stage in (facts.upload, facts.process, facts.merge, *facts.captures.values()):
        if stage is not None and stage.error is not None:
            return stage.error.message
    return None
