"""Every check of a preflight turned red by the fault it claims to find, on a device that is well else."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from edge_agent.core.device import Device
from edge_agent.core.effects import Measured
from edge_agent.core.preflight import Seen, due, preflight, words
from edge_agent.core.settings import Camera, Settings
from schemas.agent import AgentStatus, Alarm
from schemas.booking import ScheduleSync
from schemas.camera import CameraStatus
from schemas.health import Preflight, PreflightCheck
from tests.support.recordings import T0, at, booking

GIB = 1024**3
HOUR = booking(3600, 7200)
PICTURE = CameraStatus(state="online", fps=30.0, frame_age_ms=20, width=1280, height=720)
MEASURED = Measured(1.0, 0.1, 50.0, False, 9.0, 100 * GIB, 200 * GIB, True, True, 0)
AGENTS = ("camera_left", "camera_right", "merger", "processor", "uploader", "bridge")
DEVICE = Device(measured=MEASURED, agents=dict.fromkeys(AGENTS, "online"))
WELL = Seen(
    wall=T0,
    settings=Settings(),
    device=DEVICE,
    cameras={"left": PICTURE, "right": PICTURE},
    uploader=AgentStatus(state="idle"),
    sync=ScheduleSync(generation=1, count=1, digest="d", synced_at=T0),
    bookings=(HOUR,),
)


def measured(**more: Any) -> Seen:
    return replace(WELL, device=replace(DEVICE, measured=replace(MEASURED, **more)))


def away(agent: str) -> Seen:
    return replace(WELL, device=replace(DEVICE, agents={**DEVICE.agents, agent: "offline"}))


def alarmed(key: str, severity: str = "critical") -> Seen:
    alarm = Alarm.model_validate({"severity": severity, "text": "broken", "since": T0, "mend": "mend it"})
    return replace(WELL, device=replace(DEVICE, alarms={key: alarm}))


def left(**more: Any) -> Seen:
    return replace(WELL, cameras={**WELL.cameras, "left": PICTURE.replace(**more)})


def uploading(**more: Any) -> Seen:
    return replace(WELL, uploader=AgentStatus.model_validate({"state": "idle", **more}))


def checks(result: Preflight) -> Mapping[str, PreflightCheck]:
    found = {check.name: check for check in result.checks}
    assert len(found) == len(result.checks)
    return found


def test_a_device_that_is_well() -> None:
    result = preflight(HOUR, WELL)
    assert [check for check in result.checks if not check.ok or check.warn or check.mend] == []
    assert (result.ok, result.at, words(result)) == (True, T0, "will record")
    names = "camera_left camera_right agents disk clock heat uploads bookings broker alarms"
    assert list(checks(result)) == names.split()


ARMED = Settings(camera=(Camera(name="left", idle="arm"), Camera(name="right")))
FAILS: Mapping[str, tuple[str, Seen, str]] = {
    "camera agent away": ("camera_left", away("camera_left"), "its agent does not run"),
    "camera never seen": ("camera_left", replace(WELL, cameras={"right": PICTURE}), "its agent does not run"),
    "camera offline": ("camera_left", left(state="offline"), "offline"),
    "camera stalled": ("camera_left", left(state="stalled"), "stalled"),
    "no frame yet": ("camera_left", left(frame_age_ms=None), "no frame yet"),
    "old frames": ("camera_left", left(frame_age_ms=9000), "last frame 9 s ago"),
    "merger away": ("agents", away("merger"), "merger away"),
    "processor away": ("agents", away("processor"), "processor away"),
    "uploader away": ("agents", away("uploader"), "uploader away"),
    "disk": ("disk", measured(disk_free_bytes=5 * GIB), "5.0 GiB free, 5.9 GiB needed until it is over"),
    "heat": ("heat", measured(temperature_c=84.0), "84 degrees"),
    "bucket denied": ("uploads", alarmed("uploader/bucket_denied"), "broken"),
    "not published": ("broker", alarmed("merger/not_published", "major"), "broken"),
    "another alarm": ("alarms", alarmed("processor/film_stuck"), "processor/film_stuck: broken"),
}
WARNS: Mapping[str, tuple[str, Seen, str]] = {
    "size": ("camera_left", left(width=640, height=360), "640x360 instead of 1280x720"),
    "armed": (
        "camera_left",
        replace(left(frame_age_ms=None), settings=ARMED),
        "waits until two minutes before",
    ),
    "disk": ("disk", measured(disk_free_bytes=7 * GIB), "7.0 GiB free, 5.9 GiB needed until it is over"),
    "disk unknown": ("disk", replace(WELL, device=replace(DEVICE, measured=None)), "not measured yet"),
    "clock": ("clock", measured(clock_synced=False), "not synchronised"),
    "warm": ("heat", measured(temperature_c=76.0), "76 degrees"),
    "throttled": ("heat", measured(throttled=True), "50 degrees, slowed down"),
    "bucket away": ("uploads", alarmed("uploader/bucket_unreachable", "major"), "broken"),
    "uploads paused": ("uploads", uploading(state="paused", backlog=2), "paused, 2 files wait"),
    "uploads many": ("uploads", uploading(backlog=10), "10 files wait"),
    "uploads unknown": ("uploads", replace(WELL, uploader=None), "nothing heard of the uploader"),
    "no schedule": ("bookings", replace(WELL, sync=None), "no complete schedule was ever read"),
    "bridge away": ("bookings", away("bridge"), "the bridge does not run"),
    "store away": (
        "bookings",
        replace(WELL, sync=WELL.sync.replace(source="stale") if WELL.sync else None),
        "the booking system's answer: stale",
    ),
    "a major alarm": ("alarms", alarmed("merger/plans_unwritten", "major"), "merger/plans_unwritten: broken"),
}


@pytest.mark.parametrize("fault", FAILS)
def test_what_keeps_a_booking_from_being_recorded(fault: str) -> None:
    name, seen, value = FAILS[fault]
    result = preflight(HOUR, seen)
    assert [check.name for check in result.checks if not check.ok] == [name]
    assert checks(result)[name].value == value
    assert checks(result)[name].mend
    assert (result.ok, words(result)) == (False, f"will not record as it is: {name}: {value}")


@pytest.mark.parametrize("fault", WARNS)
def test_what_somebody_should_look_at(fault: str) -> None:
    name, seen, value = WARNS[fault]
    result = preflight(HOUR, seen)
    assert result.ok
    check = checks(result)[name]
    assert (check.ok, check.warn, check.value, bool(check.mend)) == (True, True, value, True)
    assert f"{name}: {value}" in words(result)


def test_alarms_with_a_check_of_their_own_and_minor_ones_are_not_counted_twice() -> None:
    for key in ("camera_left/capture_lost", "bridge/store_unreachable"):
        assert checks(preflight(HOUR, alarmed(key)))["alarms"].value == "none that matters"
    assert preflight(HOUR, alarmed("processor/branding_skipped", "minor")) == preflight(HOUR, WELL)


def test_the_disk_has_to_take_all_that_comes_before() -> None:
    more = replace(WELL, bookings=(booking(-1800, 1800), HOUR, booking(9000, 99000)))
    value = checks(preflight(HOUR, more))["disk"].value
    assert value.endswith("8.8 GiB needed until it is over")  # the half hour left of the first, and its own
    assert checks(preflight(None, more))["disk"].value.endswith("1.0 GiB needed until it is over")


def test_one_camera_is_asked_for_alone() -> None:
    one = Settings(camera=(Camera(name="left"),))
    names = [
        check.name for check in preflight(HOUR, replace(WELL, settings=one, cameras={"left": PICTURE})).checks
    ]
    assert names[:2] == ["camera_left", "agents"]


@pytest.mark.parametrize(
    ("before_s", "last_s", "expected"),
    [
        (86401, None, False),
        (86400, None, True),
        (3601, 86400, False),
        (3600, 86400, True),
        (601, 3600, False),
        (600, 3600, True),
        (1, 600, False),
        (1, None, True),
        (0, None, False),
        (-5, None, False),
    ],
)
def test_when_it_is_time(before_s: float, last_s: float | None, *, expected: bool) -> None:
    last = None if last_s is None else Preflight(ok=True, at=at(-last_s))
    assert due(booking(0, 20), last, T0 - timedelta(seconds=before_s)) is expected


def test_what_is_not_recorded_is_never_due() -> None:
    assert not due(booking(0, 20, record="no"), None, at(-60))
    assert not due(booking(0, 20, status="cancelled"), None, at(-60))
