"""What must not disturb a device: wrong commands, broken logos, a wrong key, a taken port, a full disk."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.demo.lab import ASSETS
from schemas.registry import ALARM, BOOKING
from tests.e2e.court import Court, Kept, court, kept, recorded_once, shared_base, soon
from tests.judges.media import decode_errors, probe

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(300)]

FPS = 30
ROOT = Path(__file__).resolve().parents[2]


def args(**more: Any) -> str:
    begin = datetime.now(UTC) + timedelta(minutes=10)
    usual = {"start": begin.isoformat(), "end": (begin + timedelta(minutes=5)).isoformat()}
    return json.dumps({"args": {**usual, **more}})


def wrong_bookings() -> dict[str, str]:
    """Payloads of `booking/book` that must be refused, by what their answer has to name."""
    begin = datetime.now(UTC) + timedelta(minutes=10)
    return {
        "not after start": args(end=(begin - timedelta(minutes=5)).isoformat()),
        "at most 240": args(end=(begin + timedelta(days=3)).isoformat()),
        "start: ": args(start=begin.replace(tzinfo=None).isoformat()),
        "id: ": args(id="../../etc"),
        "layout: ": args(layout="round"),
        "deliver: ": args(deliver=["merged"]),
        "JSON": "{start: now",
        "object": "[1, 2]",
        "args": '{"args": 7}',
        "in the past": args(start="2020-01-01T10:00:00Z", end="2020-01-01T11:00:00Z"),
    }


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_base(tmp_path_factory)


def ready(one: Kept, seconds: int) -> None:
    assert one.receipt["state"] == "ready", one.receipt
    assert decode_errors(one.film) == ""
    assert int(probe(one.film)["nb_read_frames"]) == one.intro_frames + seconds * FPS


# --- commands ---


def record_commands(folder: Path) -> None:
    with court(folder) as device:
        lives = {agent: device.lab.pid(agent) for agent in ("bridge", "merger", "health")}
        answers = {
            name: device.ask_from_shell("cmd/booking/book", "res/bridge/book", "-m", body, account="cli")
            for name, body in wrong_bookings().items()
        }
        huge = folder / "huge"
        huge.write_text('{"args": {"title": "' + "x" * 1_000_000 + '"}}', encoding="utf-8")
        root = f"ezrec/v1/{device.lab.plan.device}"
        large = device.shell(
            "mosquitto_pub", "-t", f"{root}/cmd/booking/book", "-f", str(huge), account="cli"
        )
        subprocess.run(large, check=False)
        retained = device.shell("mosquitto_pub", "-r", "-t", f"{root}/cmd/booking/start", "-m", "{}")
        subprocess.run(retained, check=True)
        alarm = device.until_alarm("bridge", "retained_command", 20)
        forbidden = device.shell("mosquitto_pub", "-t", f"{root}/cmd/booking/book", "-m", args(id="not-mine"))
        subprocess.run(forbidden, check=False)
        begin = soon()
        good = device.book("good", begin, 4)
        device.until_final(good)
        device.keep(good)
        said = {
            "answers": answers,
            "alarm": alarm.body(),
            "bookings": [at.path for at in device.client.topics if at.topic is BOOKING],
            "same": lives == {agent: device.lab.pid(agent) for agent in lives},
            "api": second_api(device),
        }
        (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


def second_api(device: Court) -> tuple[int, str]:
    """The API once more, on its occupied port: exit code and what it says."""
    argv = [sys.executable, "-P", "-m", "edge_agent", "api", "--config", str(device.lab.config)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


@pytest.fixture
def commands(base: Path) -> Path:
    return recorded_once(base, "commands-day", record_commands)


def test_wrong_bookings_are_refused_in_one_clear_line(commands: Path) -> None:
    answers = json.loads((commands / "said.json").read_text())["answers"]
    for named, answer in answers.items():
        assert answer["status"] == "rejected", (named, answer)
        assert named in answer["message"], (named, answer)
        assert "\n" not in answer["message"]
        assert len(answer["message"]) <= 300


def test_a_retained_command_is_refused_with_an_alarm_and_its_mend(commands: Path) -> None:
    said = json.loads((commands / "said.json").read_text())
    assert "mosquitto_pub -r -n -t ezrec/v1/court-1/cmd/booking/start" in said["alarm"]["mend"]


def test_after_all_that_only_the_good_booking_is_there_and_recorded(commands: Path) -> None:
    said = json.loads((commands / "said.json").read_text())
    good = kept(commands, "good")
    assert said["bookings"] == [f"booking/{good.id}"]
    assert said["same"], "an agent was restarted"
    ready(good, 4)


def test_an_occupied_port_is_one_line(commands: Path) -> None:
    code, text = json.loads((commands / "said.json").read_text())["api"]
    assert code != 0
    assert len(text.strip().splitlines()) == 1, text
    assert "already in use" in text
    assert re.search(r"127\.0\.0\.1\D+\d{4,5}", text), text


# --- logos and intro ---


def record_branding(folder: Path) -> None:
    broken = {name: folder / name for name in ("logo.png", "intro.mp4")}
    broken["logo.png"].write_bytes(b"\x89PNG\r\n\x1a\n" + b"garbage" * 50)
    broken["intro.mp4"].write_bytes(b"this is no film" * 100)
    logos = [
        {"slot": "company", "file": str(broken["logo.png"]), "place": "top_left"},
        {"slot": "user", "file": str(ASSETS / "user.png"), "place": "top_right"},
        {"slot": "sponsor1", "file": str(folder / "nothing.png"), "place": "bottom_left"},
    ]
    branding = {"intro": str(broken["intro.mp4"]), "logos": logos}
    with court(folder, settings={"branding": branding}) as device:
        plain = device.book("plain", soon(), 6)
        device.until_final(plain)
        device.keep(plain)


def test_a_film_is_made_without_what_is_broken_and_the_receipt_says_why(base: Path) -> None:
    plain = kept(recorded_once(base, "branding-day", record_branding), "plain")
    ready(plain, 6)
    assert plain.intro_frames == 0
    intro = plain.receipt["intro"]
    assert not intro["applied"]
    assert intro["why"]
    logos = {item["slot"]: item for item in plain.receipt["branding"]}
    assert logos["user"]["applied"]
    assert not logos["company"]["applied"]
    assert logos["company"]["why"]


# --- the bucket's key ---


def record_denied(folder: Path) -> None:
    with court(folder, store="s3", settings={"store": {"secret": "not-the-secret"}}) as device:
        begin = soon()
        denied = device.book("denied", begin, 6)
        alarm = device.until_alarm("uploader", "bucket_denied")

        def complete(topics: Any) -> bool:
            found = {at.path: message for at, message in topics.items()}
            process = found.get(f"recording/{denied}/process")
            return process is not None and process.status == "succeeded"

        device.until(complete, "the film on the device")
        device.keep(denied)
        film = next((device.lab.folder / "data" / "recordings" / denied / "film").glob("*.mp4"))
        shutil.copy(film, folder / "film.mp4")
        (folder / "alarm.json").write_text(json.dumps(alarm.body()), encoding="utf-8")


def test_a_wrong_key_is_an_alarm_and_the_film_stays_here(base: Path) -> None:
    day = recorded_once(base, "denied-day", record_denied)
    alarm = json.loads((day / "alarm.json").read_text())
    assert alarm["severity"] == "critical"
    assert "store.secret" in alarm["mend"]
    denied = kept(day, "denied")
    assert denied.said["keys"] == []
    assert denied.said["recording"]["state"] == "finishing"
    assert decode_errors(day / "film.mp4") == ""
    intro = denied.said["process"]["film"]["intro_frames"]
    assert int(probe(day / "film.mp4")["nb_read_frames"]) == intro + 6 * FPS


# --- no ffmpeg ---


def test_without_ffmpeg_it_says_so_in_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    argv = [sys.executable, "-P", "-m", "edge_agent", "demo", "--seconds", "2", "--dir", str(tmp_path / "d")]
    env = {**os.environ, "PATH": str(empty)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "ffmpeg" in done.stderr


# --- a full disk ---


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int) -> Generator[Path]:
    """A file system of its own at ``folder``; skips where none may be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "ezrec-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)
    return filler


def record_full(folder: Path) -> None:
    with small_disk(folder / "device" / "data", 96) as disk, court(folder) as device:
        begin = soon()
        full = device.book("full", begin, 10)
        device.until_moment(begin + timedelta(seconds=3))
        filler = fill(disk)
        device.until(
            lambda topics: any(
                at.topic is ALARM and "disk" in at.path.rpartition("/")[2] and "camera" in at.path
                for at in topics
            ),
            "a camera's alarm of the full disk",
            20,
        )
        alarms = device.alarms()
        filler.unlink()
        device.until_final(full)
        device.keep(full)
        (folder / "alarms.json").write_text(json.dumps(alarms), encoding="utf-8")


def test_a_disk_full_in_the_middle_is_an_alarm_and_the_film_comes_when_there_is_room(base: Path) -> None:
    day = recorded_once(base, "full-day", record_full)
    assert json.loads((day / "alarms.json").read_text())
    full = kept(day, "full")
    assert decode_errors(full.film) == ""
    assert int(probe(full.film)["nb_read_frames"]) == full.intro_frames + 10 * FPS
    # The ring kept what the disk did not take.
    assert full.receipt["state"] == "ready", full.receipt


def record_full_at_start(folder: Path) -> None:
    with small_disk(folder / "device" / "data", 96) as disk:
        filler = fill(disk)
        freed = [filler]

        def free(device: Court) -> None:
            log = device.lab.folder / "agents.log"
            device.until(
                lambda _topics: "No space left" in log.read_text(encoding="utf-8"), "a line of the log", 20
            )
            freed.pop().unlink()

        with court(folder, before_ready=free) as device:
            late = device.book("late", soon(), 6)
            device.until_final(late)
            device.keep(late)


def test_a_disk_full_at_start_is_said_and_room_mends_it(base: Path) -> None:
    ready(kept(recorded_once(base, "full-start-day", record_full_at_start), "late"), 6)
