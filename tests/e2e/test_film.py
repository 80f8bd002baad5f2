"""One device, three bookings and a button: the films, judged by what can be seen in them."""

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.court import Court, Kept, court, kept, recorded_once, shared_base, soon
from tests.judges import link
from tests.judges.media import Side, both, changed, composite_sha256, decode_errors, lumas, play_of, probe

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(300)]

FPS = 30
PERIOD_US = 1_000_000 / FPS
ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1280, 360
TOLERANCE_S = 0.001  # the wall clock may be slewed while the device runs


def record(folder: Path) -> None:
    with court(folder, store="s3") as device:
        begin = soon()
        single = device.book("single", begin, 12, title="Final")
        url = device.link(single)
        (folder / "early.txt").write_text(str(link.watch(f"{url}/video", folder / "early.bin").status))
        one = device.book("one", begin + timedelta(seconds=16), 8, deliver=("film", "cameras"))
        two = device.book("two", begin + timedelta(seconds=24), 8, deliver=("film", "cameras"))
        device.until_moment(begin + timedelta(seconds=33))
        button = press(device, 4)
        device.until_final(single, button)
        device.until_final(one, two, extra=("left", "right"))
        device.keep(single, one, two, button)
        watched = link.watch(f"{url}/video", folder / "watched.mp4")
        (folder / "watched.txt").write_text(f"{watched.status} {watched.total_bytes} {watched.media_type}")
        status, text = link.page(url)
        (folder / "page.html").write_text(f"{status}\n{text}", encoding="utf-8")
        offset_ns = time.time_ns() - time.monotonic_ns()
        (folder / "offset_ns").write_text(str(offset_ns))


def press(device: Court, seconds: float) -> str:
    """Start and stop as CONTRACT 3 prints it, from a shell with the account of the court's buttons."""
    message = ("-m", '{"args":{"minutes":10}}')
    started = device.ask_from_shell("cmd/booking/start", "res/bridge/start", *message)
    assert started["status"] == "ok", started
    again = device.ask_from_shell("cmd/booking/start", "res/bridge/start", *message)
    assert (again["status"], again["data"]["id"]) == ("ok", started["data"]["id"]), again
    time.sleep(seconds)  # the players play
    stopped = device.ask_from_shell("cmd/booking/stop", "res/bridge/stop", "-n")
    assert (stopped["status"], stopped["data"]["id"]) == ("ok", started["data"]["id"]), stopped
    return device.remember("button", str(started["data"]["id"]))


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_once(shared_base(tmp_path_factory), "film-day", record)


def wall_s(day: Path, mono_us: int) -> float:
    return mono_us / 1e6 + int((day / "offset_ns").read_text()) / 1e9


def sides(one: Kept) -> tuple[Side, Side]:
    return both(play_of(one.film, one.intro_frames))


def test_a_booking_becomes_a_film_of_exactly_its_time(day: Path) -> None:
    single = kept(day, "single")
    receipt = single.receipt
    assert single.said["recording"]["state"] == receipt["state"] == "ready"
    assert decode_errors(single.film) == ""
    seen = probe(single.film)
    assert (seen["width"], seen["height"]) == (WIDTH, HEIGHT)
    assert single.intro_frames > 0
    assert int(seen["nb_read_frames"]) == receipt["film"]["frames"] == single.intro_frames + 12 * FPS


def test_left_is_left_and_right_is_right_and_no_frame_is_missing(day: Path) -> None:
    left, right = sides(kept(day, "single"))
    assert set(left.steps) == set(right.steps) == {1}


def test_the_cut_is_within_one_frame_of_the_planned_times(day: Path) -> None:
    single = kept(day, "single")
    begin = datetime.fromisoformat(single.said["booking"]["from"]).timestamp()
    end = datetime.fromisoformat(single.said["booking"]["to"]).timestamp()
    for side in sides(single):
        assert abs(wall_s(day, side.mono_us[0]) - begin) <= PERIOD_US / 1e6 + TOLERANCE_S
        assert abs(wall_s(day, side.mono_us[-1]) + PERIOD_US / 1e6 - end) <= PERIOD_US / 1e6 + TOLERANCE_S
    for key in ("start_error_ms", "end_error_ms"):
        assert abs(single.receipt[key]) <= 1000 / FPS + TOLERANCE_S * 1000


def test_the_halves_are_never_more_than_half_a_frame_apart(day: Path) -> None:
    single = kept(day, "single")
    left, right = sides(single)
    skews = [abs(a - b) for a, b in zip(left.mono_us, right.mono_us, strict=True)]
    assert max(skews) <= PERIOD_US / 2
    assert abs(single.receipt["skew_ms"]["max_ms"] - max(skews) / 1000) < 0.11


def test_the_bucket_holds_what_the_receipt_says(day: Path) -> None:
    single = kept(day, "single")
    film = single.receipt["film"]
    assert single.film.stat().st_size == film["bytes"]
    assert composite_sha256(single.film) == film["sha256"]
    date = single.said["booking"]["from"][:10]
    prefix = f"demo-club/court-1/{date}/{single.id}"
    assert single.said["keys"] == [f"{prefix}/{name}" for name in ("film.mp4", "poster.jpg", "receipt.json")]
    filed = json.loads(single.file("receipt.json").read_text(encoding="utf-8"))
    assert filed["film"] == film
    assert filed["booking_id"] == single.id
    with Image.open(single.file("poster.jpg")) as poster:
        assert poster.size == (WIDTH, HEIGHT)
        assert max(high - low for low, high in poster.convert("RGB").getextrema()) > 60  # type: ignore[misc]


def test_the_link_gives_that_film_once_it_is_whole_and_nothing_before(day: Path) -> None:
    single = kept(day, "single")
    assert (day / "early.txt").read_text() == "409"
    size = single.film.stat().st_size
    assert (day / "watched.txt").read_text() == f"206 {size} video/mp4"
    assert (day / "watched.mp4").read_bytes() == single.film.read_bytes()
    status, _, text = (day / "page.html").read_text(encoding="utf-8").partition("\n")
    assert status == "200"
    assert "<video" in text


def test_neighbours_lose_nothing_and_share_nothing(day: Path) -> None:
    one, two = kept(day, "one"), kept(day, "two")
    for booking in (one, two):
        assert booking.receipt["state"] == "ready"
        assert decode_errors(booking.film) == ""
    for before, after in zip(sides(one), sides(two), strict=True):
        assert len(before.frames) == len(after.frames) == 8 * FPS
        assert set(before.steps) == set(after.steps) == {1}
        assert after.frames[0] == before.frames[-1] + 1


@pytest.mark.parametrize("camera", ["left", "right"])
def test_camera_files_hold_their_own_frames_only(day: Path, camera: str) -> None:
    at = ("left", "right").index(camera)
    files = {name: kept(day, name).file(f"{camera}.mp4") for name in ("one", "two")}
    found: dict[str, tuple[int, ...]] = {}
    for name, path in files.items():
        assert decode_errors(path) == ""
        codes = [codes[0] for codes in play_of(path, 0, "single")]
        assert all(code is not None and code.camera == camera for code in codes)
        found[name] = tuple(code.frame for code in codes if code)
        assert found[name] == sides(kept(day, name))[at].frames
    assert found["two"][0] == found["one"][-1] + 1


def test_logos_lie_over_the_corners_and_nowhere_else(day: Path) -> None:
    """The same frame from the film and from the plain camera file, place by place."""
    one = kept(day, "one")
    number = 45
    film = lumas(one.film, [one.intro_frames + number])[0]
    plain_left, plain_right = (lumas(one.file(f"{cam}.mp4"), [number])[0] for cam in ("left", "right"))
    plain = np.hstack([plain_left, plain_right])
    size = HEIGHT // 5  # logos are 12 to 14 hundredths of the film's height wide, a little away from the edge
    corners = {
        "top_left": (slice(0, size), slice(0, size)),
        "top_right": (slice(0, size), slice(-size, None)),
        "bottom_left": (slice(-size, None), slice(0, size)),
        "bottom_right": (slice(-size, None), slice(-size, None)),
    }
    for place, box in corners.items():
        assert changed(film[box], plain[box]) > 0.03, place
    middle = (slice(HEIGHT // 4, 3 * HEIGHT // 4), slice(WIDTH // 4, 3 * WIDTH // 4))
    assert changed(film[middle], plain[middle]) < 0.01
    assert all(item["applied"] for item in one.receipt["branding"])
    assert len(one.receipt["branding"]) == 4


def test_a_button_records_from_a_shell(day: Path) -> None:
    button = kept(day, "button")
    assert button.said["booking"]["kind"] == "manual"
    assert button.receipt["state"] == "ready"
    assert decode_errors(button.film) == ""
    left, right = sides(button)
    # A button is pressed between two frames: the film may need one frame more than the cameras had.
    assert set(left.steps) | set(right.steps) <= {0, 1}
    assert left.steps.count(0) == right.steps.count(0) == button.receipt["repeated"] <= 1
    spoken = [datetime.fromisoformat(button.said["booking"][key]) for key in ("from", "to")]
    asked_frames = (spoken[1] - spoken[0]).total_seconds() * FPS
    assert abs(len(left.frames) - asked_frames) <= 1
    assert asked_frames >= 4 * FPS


@pytest.mark.parametrize(
    "agent", ["camera_left", "camera_right", "merger", "processor", "uploader", "health", "bridge"]
)
def test_every_journal_replays_to_the_same_effects(day: Path, agent: str) -> None:
    journals = sorted((day / "device" / "data" / "state" / agent / "journal").glob("journal-*.jsonl"))
    assert journals
    for journal in journals:
        said = replay(day, agent, journal)
        assert said.returncode == 0, said.stderr[:2000]
        events = journal.read_text(encoding="utf-8").count("\n") - 1
        assert said.stdout.startswith(f"{events} events"), said.stdout
        assert events > 20


def replay(day: Path, agent: str, journal: Path) -> subprocess.CompletedProcess[str]:
    config = str(day / "device" / "ezrec.toml")
    argv = [sys.executable, "-P", "-m", "edge_agent", "replay", str(journal), "--agent", agent]
    return subprocess.run(
        [*argv, "--config", config], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
