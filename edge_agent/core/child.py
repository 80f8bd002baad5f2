"""The capture child as its agent sees it: running, silent, ended, and when to try again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.effects import CaptureNews
from edge_agent.core.values import replace
from schemas.agent import Alarm
from schemas.camera import CameraStatus

FIRST_RETRY_NS = SECOND_NS // 5
MAX_RETRY_NS = 10 * SECOND_NS
HEALTHY_NS = 60 * SECOND_NS
ALARM_NS = 2 * SECOND_NS
STALL_NS = SECOND_NS
STARTING_NS = 3 * SECOND_NS
FIRST_START_NS = 4 * SECOND_NS
"""A child that starts for the first time may need this long before missing frames count as silence."""

REASONS: Mapping[str, str] = {
    "absent": "camera absent",
    "busy": "camera busy",
    "format": "camera format refused",
    "stall": "camera stalled",
    "exit": "camera process restarted",
    "io": "ring not writable",
    "stopped": "camera process restarted",
}
"""What a gap is called after the way the child ended."""

MENDS: Mapping[str, str] = {
    "absent": "Check the camera's cable and power; it is used again by itself as soon as it answers.",
    "busy": "Another program holds the camera: close it, or restart the device.",
    "format": "Set the camera's size, rate or address in the settings to what it offers.",
    "stall": "The camera stopped sending: unplug it for ten seconds; if it happens again, change the cable.",
    "io": "The memory for the ring is full or not writable: see 'ezrec doctor'.",
}
MEND_ELSE = "The camera program is restarted by itself; if this stays, restart the device."


@dataclass(frozen=True)
class Child:
    """One camera's capture.

    Attributes:
        running: a `CaptureStart` is in flight; stopping: a `CaptureStop` was asked for.
        runs: number of starts; info: what the child said of its camera.
        last_frame_ns: latest frame of any run; first_frame_ns: the first news of frames of this run.
        silent_ns: since when frames are missing although wanted, None while they come.
        attempts: starts that failed in a row; retry_ns: not before.
        drain: news to be heard after an end before all its segments are known.
        kind, text: how the last run ended.
    """

    running: bool = False
    stopping: bool = False
    runs: int = 0
    info: Mapping[str, Any] | None = None
    last_frame_ns: int | None = None
    first_frame_ns: int | None = None
    silent_ns: int | None = None
    attempts: int = 0
    retry_ns: int = 0
    drain: int = 0
    kind: str = ""
    text: str = ""
    fps: float | None = None
    dropped: int = 0


def launched(child: Child, now_ns: int) -> Child:
    """A run was asked for."""
    return replace(
        child,
        running=True,
        stopping=False,
        runs=child.runs + 1,
        first_frame_ns=None,
        silent_ns=now_ns + (0 if child.runs else FIRST_START_NS)
        if child.silent_ns is None
        else child.silent_ns,
    )


def ended(child: Child, kind: str, text: str, now_ns: int) -> Child:
    """The run ended; tried again after 0.2 s, doubling to 10 s, from the start again after 60 s of health."""
    healthy = child.first_frame_ns is not None and now_ns - child.first_frame_ns >= HEALTHY_NS
    attempts = 1 if healthy or kind == "stopped" else child.attempts + 1
    wait_ns = min(MAX_RETRY_NS, FIRST_RETRY_NS * 2 ** min(attempts - 1, 10))
    return replace(
        child,
        running=False,
        stopping=False,
        attempts=attempts,
        retry_ns=now_ns + wait_ns,
        drain=2,
        kind=kind,
        text=text,
        silent_ns=now_ns if child.silent_ns is None else min(now_ns, child.silent_ns),
        first_frame_ns=None,
        fps=None,
    )


def kind_of(text: str, detail: object) -> str:
    """How a run ended, from the failure's detail or the first word of its text."""
    named = detail if isinstance(detail, str) else text.split(":", 1)[0].strip()
    return named if named in REASONS else "exit"


def told(child: Child, news: CaptureNews, now_ns: int) -> Child:
    """News of the child: frames end the silence."""
    child = replace(child, drain=max(0, child.drain - 1), info=news.started or child.info)
    if news.fps is not None:
        child = replace(child, fps=news.fps)
    if news.dropped:
        child = replace(child, dropped=news.dropped)
    newest = news.last_frame_ns
    if newest is None or newest <= (child.last_frame_ns or 0):
        if child.running and child.last_frame_ns is not None and now_ns - child.last_frame_ns > STALL_NS:
            return replace(child, silent_ns=child.silent_ns or child.last_frame_ns)
        return child
    if not child.running:
        return replace(child, last_frame_ns=newest)
    return replace(
        child,
        last_frame_ns=newest,
        first_frame_ns=child.first_frame_ns or newest,
        silent_ns=None,
        kind="",
        text="",
    )


def silent_until(child: Child, now_ns: int) -> int | None:
    """Up to when (monotonic) no frame can come any more, or None while frames come or are on their way.

    A run without a first frame yet is believed 3 s after; an ended one 1 s after its last news.
    """
    if child.running:
        if child.first_frame_ns is None and child.drain == 0:
            return now_ns - STARTING_NS
        return None
    newest = child.last_frame_ns
    if child.drain or (newest is not None and now_ns - newest <= SECOND_NS):
        return None
    return now_ns - SECOND_NS


def camera_status(child: Child, stamp: Stamp, *, wanted: bool, recording: bool) -> CameraStatus:
    """The camera's own topic."""
    info = child.info or {}
    age_ms = None
    if child.last_frame_ns is not None:
        age_ms = max(0, (stamp.mono_ns - child.last_frame_ns) // 1_000_000)
    state: Literal["online", "recording", "stalled", "offline"] = "offline"
    if child.running and child.first_frame_ns is not None:
        state = "stalled" if child.silent_ns is not None else "recording" if recording else "online"
    elif not wanted and not child.kind:
        state = "online"
    return CameraStatus(
        state=state,
        fps=child.fps,
        frame_age_ms=age_ms,
        dropped=child.dropped,
        encoder=info.get("encoder"),
        device=info.get("device"),
        width=info.get("width"),
        height=info.get("height"),
    )


def lost_alarm(
    child: Child, cam: str, stamp: Stamp, standing: Alarm | None, *, recording: bool
) -> Alarm | None:
    """The alarm while no frames come for 2 s; its ``since`` stays while it stands."""
    if child.silent_ns is None or stamp.mono_ns - child.silent_ns < ALARM_NS:
        return None
    kind = child.kind or ("stall" if child.first_frame_ns is not None else "exit")
    alarm = Alarm(
        severity="critical" if recording else "major",
        text=f"camera {cam} gives no pictures: {child.text or REASONS[kind]}",
        since=standing.since if standing else stamp.wall,
        subject=cam,
        mend=MENDS.get(kind, MEND_ELSE),
    )
    return standing if alarm == standing else alarm
