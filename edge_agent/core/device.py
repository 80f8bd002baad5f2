"""What health says of the device as a whole: metrics, who runs, and what needs a person."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from edge_agent.core.agent import SECOND_NS, Stamp, wall_ns
from edge_agent.core.effects import Measured
from edge_agent.core.settings import Settings
from edge_agent.core.values import replace
from schemas.agent import Alarm
from schemas.booking import Booking
from schemas.health import Alarms, Clock, Disk, Health

GIB = 1024**3
AGENT_PATIENCE_NS = 15 * SECOND_NS
CLOCK_PATIENCE_NS = 600 * SECOND_NS
Severity = Literal["critical", "major", "minor"]
SEVERITIES: tuple[Severity, ...] = ("critical", "major", "minor")
_Row = tuple[str, Severity, str, str]


@dataclass(frozen=True)
class Device:
    """What is known of the device.

    Attributes:
        agents: agent -> state of its availability topic.
        absent_ns: expected agents that do not run -> monotonic time since which.
        unsynced_ns: monotonic time since which the clock is not synchronised.
        alarms: the alarms of the other agents, by ``agent/alarm``.
        own: our own standing alarms.
    """

    measured: Measured | None = None
    agents: Mapping[str, str] = field(default_factory=dict[str, str])
    absent_ns: Mapping[str, int] = field(default_factory=dict[str, int])
    unsynced_ns: int | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    own: Mapping[str, Alarm] = field(default_factory=dict[str, Alarm])
    message: Health = field(default_factory=Health)


def expected_agents(settings: Settings) -> tuple[str, ...]:
    """The agents that should run beside health."""
    cameras = tuple(f"camera_{name}" for name in settings.camera_names())
    return (*cameras, "merger", "processor", "uploader", "bridge")


def absences(device: Device, stamp: Stamp, settings: Settings) -> Mapping[str, int]:
    """Expected agents that do not run now, each with the moment since which."""
    gone = {
        name: device.absent_ns.get(name, stamp.mono_ns)
        for name in expected_agents(settings)
        if device.agents.get(name) != "online"
    }
    return device.absent_ns if gone == device.absent_ns else gone


def bytes_per_hour(settings: Settings) -> int:
    """What an hour of booking takes at most: the film and the claimed segments of every camera."""
    bits = settings.film.max_bitrate + sum(camera.bitrate for camera in settings.camera)
    return bits * 3600 // 8


def next_booking(bookings: Iterable[Booking], wall: datetime) -> Booking | None:
    """The wanted booking that starts next."""
    ahead = [booking for booking in bookings if booking.wanted and booking.from_ > wall]
    return min(ahead, key=lambda booking: booking.from_, default=None)


def health_of(device: Device, ahead: Booking | None, stamp: Stamp, settings: Settings) -> Health:
    """The device's message; the one before when equal."""
    measured = device.measured
    now = Health(
        agents=dict(sorted(device.agents.items())),
        alarms=_summary(device),
        next_booking=ahead.from_ if ahead else None,
    )
    if measured is not None:
        now = now.replace(
            cpu_pct=measured.cpu_pct,
            load1=measured.load1,
            temperature_c=measured.temperature_c,
            throttled=measured.throttled,
            memory_used_pct=measured.memory_used_pct,
            disk=Disk(
                free_bytes=measured.disk_free_bytes,
                total_bytes=measured.disk_total_bytes,
                booked_hours=round(measured.disk_free_bytes / bytes_per_hour(settings), 1),
            ),
            network=None if measured.network_up is None else "up" if measured.network_up else "down",
            clock=device.message.clock,
        )
        now = now.replace(clock=_clock(device, measured, stamp))
    return device.message if now == device.message else now


def _clock(device: Device, measured: Measured, stamp: Stamp) -> Clock:
    """Wall minus monotonic, taken anew only when the clock's state changed or it moved by over 10 ms."""
    offset_ms = (wall_ns(stamp.wall) - stamp.mono_ns) / 1e6
    before = device.message.clock
    same = before is not None and before.synced == measured.clock_synced
    if same and before is not None and abs((before.offset_ms or 0.0) - offset_ms) < 10:
        return before
    return Clock(synced=measured.clock_synced, offset_ms=round(offset_ms, 3))


def _summary(device: Device) -> Alarms:
    standing = {**device.alarms, **{f"health/{name}": alarm for name, alarm in device.own.items()}}
    severities = {alarm.severity for alarm in standing.values()}
    worst: Severity | None = next((severity for severity in SEVERITIES if severity in severities), None)
    return Alarms(active=len(standing), worst=worst, ids=tuple(sorted(standing)))


def own_alarms(
    device: Device, ahead: Booking | None, stamp: Stamp, settings: Settings
) -> Mapping[str, Alarm]:
    """Our own alarms as they stand now; those that stood before keep their moment and identity."""
    rows = [*_disk(device, ahead, settings), *_clock_alarm(device, stamp), *_agents(device, stamp)]
    result: dict[str, Alarm] = {}
    for name, severity, text, mend in rows:
        stood = device.own.get(name)
        since = stood.since if stood is not None else stamp.wall
        alarm = Alarm(severity=severity, text=text, since=since, mend=mend)
        result[name] = stood if stood is not None and stood == alarm else alarm
    return device.own if result == device.own else result


def needed_bytes(ahead: Booking | None, settings: Settings) -> int:
    """What the next booking takes."""
    if ahead is None:
        return 0
    return int((ahead.to - ahead.from_).total_seconds() * bytes_per_hour(settings) / 3600)


def _disk(device: Device, ahead: Booking | None, settings: Settings) -> list[_Row]:
    measured = device.measured
    if measured is None:
        return []
    need = max(GIB, needed_bytes(ahead, settings))
    if measured.disk_free_bytes >= need:
        return []
    # Whole tenths of a GiB: a text that changes with every byte would be a message a minute.
    text = f"less than {need / GIB:.1f} GiB free on the disk: the next booking may not fit"
    mend = "make room below storage.root, check that uploads go through, or put in a larger disk"
    return [("disk_full_soon", "critical", text, mend)]


def _clock_alarm(device: Device, stamp: Stamp) -> list[_Row]:
    since = device.unsynced_ns
    if since is None or stamp.mono_ns < since + CLOCK_PATIENCE_NS:
        return []
    text = "the clock has not been synchronised for 10 minutes: recordings may be off by as much as it is"
    return [("clock_unsynced", "minor", text, "check the network and the time service (timedatectl)")]


def _agents(device: Device, stamp: Stamp) -> list[_Row]:
    rows: list[_Row] = []
    for name, since in device.absent_ns.items():
        if stamp.mono_ns >= since + AGENT_PATIENCE_NS:
            text = f"{name} does not run ({device.agents.get(name, 'never seen')})"
            rows.append((f"agent_down_{name}", "major", text, f"look at the log of {name}, or restart it"))
    return rows


def due_ns(device: Device) -> dict[str, int]:
    """When an alarm of ours becomes due: timer -> monotonic time."""
    times = {f"absent:{name}": since + AGENT_PATIENCE_NS for name, since in device.absent_ns.items()}
    if device.unsynced_ns is not None:
        times["unsynced"] = device.unsynced_ns + CLOCK_PATIENCE_NS
    return times


def looked_at(device: Device, ahead: Booking | None, stamp: Stamp, settings: Settings) -> Device:
    """The device after a look at it: who is absent, what is alarming, the message."""
    unsynced = device.measured is not None and not device.measured.clock_synced
    since = device.unsynced_ns if device.unsynced_ns is not None else stamp.mono_ns
    device = replace(
        device,
        absent_ns=absences(device, stamp, settings),
        unsynced_ns=since if unsynced else None,
    )
    device = replace(device, own=own_alarms(device, ahead, stamp, settings))
    return replace(device, message=health_of(device, ahead, stamp, settings))
