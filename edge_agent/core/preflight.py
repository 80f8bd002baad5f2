"""Will a booking record? What health sees, as checks with values, and when they are due. Pure.

A check that fails means: the booking does not become a film as things are. One that warns: it does, and
somebody should look all the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_agent.core.device import GIB, Device, bytes_per_hour
from edge_agent.core.recording import Facts
from edge_agent.core.settings import Camera, Settings
from schemas.agent import AgentStatus, Alarm
from schemas.booking import Booking, ScheduleSync
from schemas.camera import CameraStatus
from schemas.commands import Answer, PreflightArgs
from schemas.health import Preflight, PreflightCheck

AHEAD = (timedelta(hours=24), timedelta(hours=1), timedelta(minutes=10))
FRESH_MS = 5000
WARM_C, HOT_C = 75.0, 83.0
"""A Raspberry Pi slows down from 80 degrees on, and hard at 85."""
MANY_FILES = 9
"""Three recordings with poster and receipt."""
NEEDED = ("merger", "processor", "uploader")
_SEEN_TO = ("capture_lost", "bucket_denied", "bucket_unreachable", "store_unreachable")
"""Alarms whose trouble has a check of its own."""


@dataclass(frozen=True)
class Seen:
    """What health sees of the device. ``bookings``: those that are to be recorded."""

    wall: datetime
    settings: Settings
    device: Device
    cameras: Mapping[str, CameraStatus]
    uploader: AgentStatus | None
    sync: ScheduleSync | None
    bookings: tuple[Booking, ...]


def due(booking: Booking, last: Preflight | None, wall: datetime) -> bool:
    """Whether a moment to look at a booking ahead has come since the last look at it."""
    if not booking.wanted or wall >= booking.from_:
        return False
    come = [booking.from_ - ahead for ahead in AHEAD if booking.from_ - ahead <= wall]
    return bool(come) and (last is None or last.at < max(come))


def preflight(booking: Booking | None, seen: Seen) -> Preflight:
    """All checks for a booking; without one, for recording at all."""
    checks = (
        *_cameras(seen),
        *_agents(seen.device),
        _disk(booking, seen),
        _clock(seen.device),
        _heat(seen.device),
        _uploads(seen),
        _bookings(seen),
        _broker(seen.device),
        _alarms(seen.device),
    )
    return Preflight(ok=all(check.ok for check in checks), at=seen.wall, checks=checks)


def words(result: Preflight) -> str:
    """The result in one line: what fails, else what is near to failing."""
    failed = [f"{check.name}: {check.value}" for check in result.checks if not check.ok]
    warned = [f"{check.name}: {check.value}" for check in result.checks if check.ok and check.warn]
    if failed:
        return f"will not record as it is: {'; '.join(failed)}"
    return f"will record; look at {'; '.join(warned)}" if warned else "will record"


def _good(name: str, value: str) -> PreflightCheck:
    return PreflightCheck(name=name, ok=True, value=value)


def _warns(name: str, value: str, mend: str) -> PreflightCheck:
    return PreflightCheck(name=name, ok=True, value=value, mend=mend, warn=True)


def _fails(name: str, value: str, mend: str) -> PreflightCheck:
    return PreflightCheck(name=name, ok=False, value=value, mend=mend)


def _cameras(seen: Seen) -> Iterator[PreflightCheck]:
    for name in seen.settings.camera_names():
        runs = seen.device.agents.get(f"camera_{name}") == "online"
        status = seen.cameras.get(name) if runs else None
        yield _camera(seen.settings.camera_of(name), status)


def _camera(camera: Camera, status: CameraStatus | None) -> PreflightCheck:
    name = f"camera_{camera.name}"
    if status is None:
        return _fails(name, "its agent does not run", f"start it, or look at the log of {name}")
    if status.state in ("offline", "stalled"):
        return _fails(name, status.state, "check its cable, power and address; it is used again by itself")
    if status.frame_age_ms is None and camera.idle == "arm":
        return _warns(
            name, "waits until two minutes before", "set camera.idle to ring to have it tried earlier"
        )
    if status.frame_age_ms is None:
        return _fails(name, "no frame yet", "check its cable, power and address")
    if status.frame_age_ms > FRESH_MS and camera.idle == "ring":
        value = f"last frame {status.frame_age_ms / 1000:.0f} s ago"
        return _fails(name, value, "check its cable, power and address")
    wanted, size = (camera.width, camera.height), (status.width, status.height)
    if None not in size and size != wanted:
        value = f"{status.width}x{status.height} instead of {camera.width}x{camera.height}"
        return _warns(
            name, value, "set camera.width and camera.height to what it sends, or change the camera"
        )
    return _good(name, f"{status.state}, {status.width}x{status.height}, {status.fps or 0:.0f} frames/s")


def _agents(device: Device) -> Iterator[PreflightCheck]:
    away = [name for name in NEEDED if device.agents.get(name) != "online"]
    if away:
        yield _fails(
            "agents", f"{', '.join(away)} away", "restart them, or look at their logs ('ezrec doctor')"
        )
    else:
        yield _good("agents", f"{', '.join(NEEDED)} run")


def booked_bytes(booking: Booking | None, seen: Seen) -> int:
    """What everything takes that is still to be recorded until a booking ends, itself included."""
    ahead: Iterable[Booking] = seen.bookings if booking is not None else ()
    spans = [
        (max(one.from_, seen.wall), one.to)
        for one in ahead
        if booking is not None and one.to > seen.wall and one.from_ < booking.to
    ]
    hours = sum((end - begin).total_seconds() for begin, end in spans) / 3600
    return int(hours * bytes_per_hour(seen.settings))


def _disk(booking: Booking | None, seen: Seen) -> PreflightCheck:
    measured = seen.device.measured
    if measured is None:
        return _warns("disk", "not measured yet", "ask again in a minute")
    need = max(GIB, booked_bytes(booking, seen))
    value = f"{measured.disk_free_bytes / GIB:.1f} GiB free, {need / GIB:.1f} GiB needed until it is over"
    cure = "make room below storage.root, check that uploads go through, or put in a larger disk"
    if measured.disk_free_bytes < need:
        return _fails("disk", value, cure)
    if measured.disk_free_bytes < need + need // 2:
        return _warns("disk", value, cure)
    return _good("disk", value)


def _clock(device: Device) -> PreflightCheck:
    measured = device.measured
    if measured is None or not measured.clock_synced:
        value = "not synchronised" if measured is not None else "not measured yet"
        return _warns("clock", value, "check the network and the time service (timedatectl)")
    return _good("clock", "synchronised")


def _heat(device: Device) -> PreflightCheck:
    measured = device.measured
    if measured is None:
        return _warns("heat", "not measured yet", "ask again in a minute")
    degrees = measured.temperature_c
    value = "no sensor" if degrees is None else f"{degrees:.0f} degrees"
    cure = "give it air, a cooler or shade, and a power supply made for it"
    if degrees is not None and degrees >= HOT_C:
        return _fails("heat", value, cure)
    if measured.throttled:
        return _warns("heat", f"{value}, slowed down", cure)
    if degrees is not None and degrees >= WARM_C:
        return _warns("heat", value, cure)
    return _good("heat", value)


def _uploads(seen: Seen) -> PreflightCheck:
    standing = {key.partition("/")[2]: alarm for key, alarm in seen.device.alarms.items()}
    denied, away = standing.get("bucket_denied"), standing.get("bucket_unreachable")
    if denied is not None:
        return _fails("uploads", denied.text, denied.mend)
    if away is not None:
        return _warns("uploads", away.text, away.mend)
    status = seen.uploader
    if status is None:
        return _warns(
            "uploads", "nothing heard of the uploader", "look at the log of uploader, or restart it"
        )
    value = f"{status.backlog} files wait"
    if status.state == "paused":
        return _warns("uploads", f"paused, {value}", "send the command uploader/resume")
    if status.backlog > MANY_FILES:
        return _warns("uploads", value, "check this device's line, and store.bandwidth")
    return _good("uploads", value)


def _bookings(seen: Seen) -> PreflightCheck:
    cure = "look at the booking system; recording goes on with the bookings last seen"
    if seen.sync is None:
        return _warns("bookings", "no complete schedule was ever read", cure)
    if seen.device.agents.get("bridge") != "online":
        return _warns("bookings", "the bridge does not run", "restart it, or look at its log")
    if seen.sync.source != "ok":
        return _warns("bookings", f"the booking system's answer: {seen.sync.source}", cure)
    return _good("bookings", f"{seen.sync.count} read")


def _broker(device: Device) -> PreflightCheck:
    refused = [alarm for key, alarm in device.alarms.items() if key.endswith("/not_published")]
    if refused:
        return _fails("broker", refused[0].text, refused[0].mend)
    return _good("broker", "takes and brings messages")


def _alarms(device: Device) -> PreflightCheck:
    """Standing alarms of the other agents that no check above speaks of."""
    others: dict[str, Alarm] = {
        key: alarm
        for key, alarm in sorted(device.alarms.items())
        if key.partition("/")[2] not in (*_SEEN_TO, "not_published")
    }
    for severity, say in (("critical", _fails), ("major", _warns)):
        found = [(key, alarm) for key, alarm in others.items() if alarm.severity == severity]
        if found:
            key, alarm = found[0]
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            return say("alarms", f"{key}: {alarm.text}{more}", alarm.mend)
    return _good("alarms", "none that matters")


def looked_ahead(
    before: Mapping[str, Preflight], facts: Mapping[str, Facts], seen: Seen, *, settled: bool
) -> Mapping[str, Preflight]:
    """The results as they stand: those whose moment came anew, none of what is over or not wanted.

    ``settled``: all agents had time to come up; the device must have been measured, too.
    """
    now = {key: last for key, last in before.items() if key in facts and _open(facts[key])}
    if settled and seen.device.measured is not None:
        for key, one in facts.items():
            if _open(one) and due(one.booking, now.get(key), seen.wall):
                now[key] = preflight(one.booking, seen)
    return before if now == before else now


def _open(facts: Facts) -> bool:
    return facts.wanted and not facts.final


def asked(
    command: str,
    args: PreflightArgs,
    before: Mapping[str, Preflight],
    facts: Mapping[str, Facts],
    seen: Seen,
) -> tuple[Mapping[str, Preflight], Answer]:
    """A look on command: the results after it, and the answer with its ``checks`` as data.

    Without a booking ahead it is looked whether one made now would record, and nothing is published.
    """
    ahead = {key: one.booking for key, one in facts.items() if _open(one)}
    if args.id is not None and (args.id not in ahead or ahead[args.id].to <= seen.wall):
        text = f"{args.id}: no booking ahead that is to be recorded"
        return before, Answer(id=command, status="rejected", message=text)
    coming = {key: booking for key, booking in ahead.items() if booking.from_ > seen.wall}
    chosen = args.id or min(coming, key=lambda key: coming[key].from_, default=None)
    result = preflight(ahead[chosen] if chosen is not None else None, seen)
    name = chosen or "no booking ahead; one made now"
    answer = Answer(
        id=command, status="ok", message=f"{name} {words(result)}", data={"id": chosen, **result.body()}
    )
    return ({**before, chosen: result} if chosen is not None else before), answer
