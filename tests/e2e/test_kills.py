"""Kill -9 of every agent in turn, and of the broker, each in the middle of a booking."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import AGENT_AVAILABILITY
from tests.e2e.court import Court, Kept, court, kept, recorded_once, shared_base, soon
from tests.judges.media import Shown, both, decode_errors, play_of, probe, shown

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(500)]

FPS, LENGTH_S = 30, 10
BRIDGED_S = 0.5
KILLED_AFTER_S = 5.5  # within a segment and within a slot
CAMERAS = ("camera_left", "camera_right")
OTHERS = ("merger", "processor", "uploader", "health", "bridge")


def record(folder: Path) -> None:
    with court(folder) as device:
        ids = []
        begin = soon()
        for victim in (*CAMERAS, *OTHERS, "broker"):
            booking_id = device.book(victim, begin, LENGTH_S)
            device.until_moment(begin + timedelta(seconds=KILLED_AFTER_S))
            strike(device, victim)
            listening(device)
            ids.append(booking_id)
            begin = max(begin + timedelta(seconds=LENGTH_S + 2), soon(1.5))
        device.until_final(*ids)
        device.keep(*ids)


def strike(device: Court, victim: str) -> None:
    """Kill it, and see it come back as another process."""
    before = pid_of(device, victim)
    assert before
    os.kill(before, signal.SIGKILL)
    for _ in range(600):
        if pid_of(device, victim) not in (before, 0):
            return
        time.sleep(0.05)
    raise AssertionError(f"{victim} did not come back")


def pid_of(device: Court, victim: str) -> int:
    """Its process id now; 0 while it is between two lives."""
    if victim != "broker":
        return device.lab.pid(victim)
    broker = device.lab.broker
    return broker.pid if broker is not None and broker.running else 0


def listening(device: Court) -> None:
    """Wait until the bridge that lives now takes commands: the next booking is one."""
    at = AGENT_AVAILABILITY.at(agent="bridge")

    def there(topics: Mapping[Any, Any]) -> bool:
        found = topics.get(at)
        return found is not None and found.state == "online" and found.pid == device.lab.pid("bridge")

    device.until(there, "the bridge")


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_once(shared_base(tmp_path_factory), "kills-day", record)


def whole(one: Kept) -> None:
    """One film: it decodes, has every frame of the planned time, and the receipt counts the same."""
    assert [key.rpartition("/")[2] for key in one.said["keys"]] == ["film.mp4", "poster.jpg", "receipt.json"]
    assert decode_errors(one.film) == ""
    frames = int(probe(one.film)["nb_read_frames"])
    assert frames == one.receipt["film"]["frames"] == one.intro_frames + LENGTH_S * FPS


@pytest.mark.parametrize("victim", [*OTHERS, "broker"])
def test_a_killed_agent_costs_no_frame(day: Path, victim: str) -> None:
    one = kept(day, victim)
    whole(one)
    left, right = both(play_of(one.film, one.intro_frames))
    assert set(left.steps) == set(right.steps) == {1}
    assert one.receipt["state"] == "ready", json.dumps(one.receipt, indent=1)
    assert one.receipt["pictures"] == {"side_by_side": LENGTH_S * FPS}


@pytest.mark.parametrize("victim", CAMERAS)
def test_a_killed_camera_costs_that_camera_alone_a_moment(day: Path, victim: str) -> None:
    one = kept(day, victim)
    lost = victim.removeprefix("camera_")
    other = {"left": "right", "right": "left"}[lost]
    whole(one)
    frames = shown(one.film, one.intro_frames)
    seen = Counter(frame.picture for frame in frames)
    assert seen == {name: count for name, count in one.receipt["pictures"].items() if count}
    account = one.receipt["cameras"][lost]
    assert account["gaps_count"] == 1
    assert account["restarts"] >= 1
    gap_s = moment(account["gaps"][0]["end"]) - moment(account["gaps"][0]["begin"])
    # The receipt counts what is lost, and the film shows it: up to half a second is bridged by repeating,
    # more of it by the other camera alone. How long a restart may take is judged by `ezrec soak kills`.
    missing = LENGTH_S * FPS - account["captured"]
    assert abs(missing - gap_s * FPS) <= 1
    if gap_s < BRIDGED_S - 1 / FPS:
        assert set(seen) == {"side_by_side"}
        assert missing - 1 <= one.receipt["repeated"] <= missing + 1
        assert one.receipt["state"] == "ready"
        partner = [code.frame for frame in frames if (code := getattr(frame, other)) is not None]
        assert partner == sorted(partner)
    elif gap_s > BRIDGED_S + 1 / FPS:
        assert set(seen) == {"side_by_side", other}
        assert abs(seen[other] - missing) <= 1
        assert one.receipt["state"] == "partial"
        first = numbers(frames, other)[0]
        assert numbers(frames, other) == list(range(first, first + LENGTH_S * FPS))
    assert numbers(frames, lost) == sorted(numbers(frames, lost))
    assert one.receipt["cameras"][other]["gaps_count"] == 0
    assert one.receipt["cameras"][other]["captured"] == LENGTH_S * FPS


def moment(text: str) -> float:
    """Unix seconds of an ISO time."""
    return datetime.fromisoformat(text).timestamp()


def numbers(frames: list[Shown], camera: str) -> list[int]:
    codes = [getattr(frame, camera) for frame in frames]
    return [code.frame for code in codes if code is not None]
