from dataclasses import replace
from datetime import timedelta

from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.device import (
    GIB,
    Device,
    bytes_per_hour,
    due_ns,
    expected_agents,
    looked_at,
    next_booking,
)
from edge_agent.core.effects import Measured
from edge_agent.core.settings import Settings
from schemas.agent import Alarm
from tests.support.recordings import T0, at, booking

SETTINGS = Settings()
FINE = Measured(12.0, 0.5, 50.0, None, 30.0, 100 * GIB, 200 * GIB, True, True, 0)
ALL_UP = dict.fromkeys(expected_agents(SETTINGS), "online")


def stamp(now_s: float) -> Stamp:
    return Stamp(0, round(now_s * SECOND_NS), T0 + timedelta(seconds=now_s), True, "boot")


def test_a_device_that_is_well_has_no_alarms_and_says_how_much_fits() -> None:
    device = looked_at(Device(FINE, ALL_UP), booking(60, 120), stamp(0), SETTINGS)
    assert dict(device.own) == {}
    assert device.message.disk is not None
    assert device.message.disk.booked_hours == round(100 * GIB / bytes_per_hour(SETTINGS), 1)
    assert (device.message.network, device.message.next_booking) == ("up", at(60))
    assert looked_at(device, booking(60, 120), stamp(1), SETTINGS).message is device.message


def test_an_agent_that_is_away_for_15_seconds_is_told() -> None:
    agents = {**ALL_UP, "merger": "offline"}
    device = looked_at(Device(FINE, agents), None, stamp(0), SETTINGS)
    assert (dict(device.own), due_ns(device)) == ({}, {"absent:merger": 15 * SECOND_NS})
    late = looked_at(device, None, stamp(15), SETTINGS)
    alarm = late.own["agent_down_merger"]
    assert (alarm.severity, alarm.since) == ("major", at(15))
    assert looked_at(late, None, stamp(99), SETTINGS).own["agent_down_merger"] is alarm
    assert dict(looked_at(replace(late, agents=ALL_UP), None, stamp(100), SETTINGS).own) == {}


def test_a_disk_that_does_not_hold_the_next_booking_is_told() -> None:
    tight = replace(FINE, disk_free_bytes=3 * GIB)
    assert dict(looked_at(Device(tight, ALL_UP), booking(60, 600), stamp(0), SETTINGS).own) == {}
    full = looked_at(Device(tight, ALL_UP), booking(60, 60 + 2 * 3600), stamp(0), SETTINGS)
    assert full.own["disk_full_soon"].severity == "critical"
    nearly = replace(FINE, disk_free_bytes=GIB - 1)
    assert "disk_full_soon" in looked_at(Device(nearly, ALL_UP), None, stamp(0), SETTINGS).own


def test_a_clock_that_stays_unsynchronised_is_told_after_ten_minutes() -> None:
    device = looked_at(Device(replace(FINE, clock_synced=False), ALL_UP), None, stamp(0), SETTINGS)
    assert dict(device.own) == {}
    device = looked_at(device, None, stamp(600), SETTINGS)
    assert device.own["clock_unsynced"].severity == "minor"
    assert dict(looked_at(replace(device, measured=FINE), None, stamp(601), SETTINGS).own) == {}


def test_the_summary_names_every_alarm_and_the_worst() -> None:
    alarm = Alarm(severity="minor", text="t", since=T0, mend="m")
    device = Device(replace(FINE, disk_free_bytes=1), ALL_UP, alarms={"uploader/asset_missing": alarm})
    summary = looked_at(device, None, stamp(0), SETTINGS).message.alarms
    assert (summary.active, summary.worst) == (2, "critical")
    assert summary.ids == ("health/disk_full_soon", "uploader/asset_missing")


def test_the_next_booking_is_one_that_will_be_recorded() -> None:
    bookings = [booking(50, 90), booking(10, 90, record="no"), booking(30, 90), booking(-5, 90)]
    assert next_booking(bookings, at(0)) == bookings[2]
