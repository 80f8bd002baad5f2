"""Other sources and layouts: ordinary video files as cameras, stacked films, a court with one camera."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.demo.lab import Lab
from tests.e2e.court import Kept, court, kept, recorded_once, shared_base, soon
from tests.judges.media import decode_errors, lumas, play_of, probe, side_of

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(300)]

FPS = 30
# A still white square in the middle tells of stretching, a ball that wanders above it of stopping.
SQUARE = {"left": 120, "right": 90}
FILES: dict[str, dict[str, Any]] = {
    "left": {"size": (480, 360), "fps": 25, "ending": "mp4", "codec": ["libx264", "-bf", "3", "-g", "50"]},
    "right": {"size": (854, 480), "fps": 30, "ending": "mkv", "codec": ["mpeg4", "-bf", "2", "-g", "30"]},
}


def make_file(folder: Path, camera: str) -> Path:
    """An ordinary video file of 7 s; the left one has sound."""
    made = FILES[camera]
    (width, height), edge, rate = made["size"], SQUARE[camera], made["fps"]
    path = folder / f"{camera}-ordinary.{made['ending']}"
    pictures = (
        f"color=0x203040:s={width}x{height}:r={rate}:d=7[back];"
        f"color=white:s=24x24:r={rate}:d=7[ball];"
        f"[back]drawbox=x=(iw-{edge})/2:y=(ih-{edge})/2:w={edge}:h={edge}:c=white:t=fill[still];"
        f"[still][ball]overlay=x='mod(t*{width // 7},{width - 24})':y=8,format=yuv420p[out]"
    )
    sound = ["-f", "lavfi", "-i", "sine=440:d=7"] if camera == "left" else []
    codec = [*(["-c:a", "aac"] if sound else []), "-c:v", *made["codec"], "-b:v", "2M"]
    argv = ["ffmpeg", "-v", "error", "-y", *sound, "-filter_complex", pictures, "-map", "[out]"]
    subprocess.run([*argv, *(["-map", "0:a"] if sound else []), *codec, str(path)], check=True)
    return path


def record_files(folder: Path) -> None:
    cameras = {camera: str(make_file(folder, camera)) for camera in FILES}
    with court(folder, cameras=cameras) as device:
        begin = soon()
        film = device.book("files", begin, 10)
        device.until_moment(begin + timedelta(seconds=10))
        device.until_final(film)
        device.keep(film)


def record_layouts(folder: Path) -> None:
    with court(folder, settings={"film": {"layout": "stacked"}}) as device:
        begin = soon()
        usual = device.book("usual", begin, 6)
        chosen = device.book("chosen", begin + timedelta(seconds=6), 6, layout="side_by_side")
        device.until_moment(begin + timedelta(seconds=12))
        device.until_final(usual, chosen)
        device.keep(usual, chosen)


class OneCamera(Lab):
    """A court with one camera only."""

    def _cameras(self) -> list[dict[str, Any]]:
        return super()._cameras()[:1]


def record_single(folder: Path) -> None:
    with court(folder, kind=OneCamera) as device:
        begin = soon()
        single = device.book("single", begin, 6)
        device.until_moment(begin + timedelta(seconds=6))
        device.until_final(single)
        device.keep(single)


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_base(tmp_path_factory)


def sound_film(one: Kept, seconds: int, size: tuple[int, int]) -> None:
    assert one.receipt["state"] == "ready", one.receipt
    assert decode_errors(one.film) == ""
    seen = probe(one.film)
    assert (seen["width"], seen["height"]) == size
    assert int(seen["nb_read_frames"]) == one.intro_frames + seconds * FPS == one.receipt["film"]["frames"]


def white_box(luma: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the white square below the ball."""
    rows, columns = np.nonzero(luma > 150)
    return (
        int(columns.min()),
        int(rows.min()),
        int(np.ptp(columns)) + 1,
        int(np.ptp(rows)) + 1,
    )


def test_two_ordinary_files_make_a_right_film(base: Path) -> None:
    one = kept(recorded_once(base, "files-day", record_files), "files")
    sound_film(one, 10, (1280, 360))
    moments = [one.intro_frames + at for at in range(20, 240, 8)]
    pictures = lumas(one.film, moments)
    for at, camera in enumerate(("left", "right")):
        halves = [picture[:, at * 640 : (at + 1) * 640] for picture in pictures]
        width, height = FILES[camera]["size"]
        scale = min(640 / width, 360 / height)
        # Logos lie in the corners, the ball above: the square is looked for in the middle.
        middle = halves[0][80:300, 150:490]
        x, y, w, h = white_box(middle)
        assert abs(w - h) <= 3, camera
        assert abs(w - SQUARE[camera] * scale) <= 4, camera
        assert abs(x + 150 + w / 2 - 320) <= 3, camera
        assert abs(y + 80 + h / 2 - 180) <= 3, camera
        balls = {int(np.nonzero((half[5:40, 70:570] > 150).any(axis=0))[0].max(initial=0)) for half in halves}
        assert len(balls) > 15, f"{camera} stands still"
    # A 4:3 picture in a 16:9 half has bars beside it.
    assert pictures[0][100:260, 5:60].max() < 40
    assert pictures[0][100:260, 100:160].min() > 45


def test_stacked_by_settings_and_side_by_side_by_booking(base: Path) -> None:
    day = recorded_once(base, "layouts-day", record_layouts)
    usual, chosen = kept(day, "usual"), kept(day, "chosen")
    sound_film(usual, 6, (640, 720))
    sound_film(chosen, 6, (1280, 360))
    for one, layout in ((usual, "stacked"), (chosen, "side_by_side")):
        play = play_of(one.film, one.intro_frames, layout)
        for at, camera in enumerate(("left", "right")):
            assert set(side_of([codes[at] for codes in play], camera).steps) == {1}
        assert one.receipt["pictures"] == {layout: 6 * FPS}


def test_a_court_with_one_camera_misses_nothing(base: Path) -> None:
    one = kept(recorded_once(base, "single-day", record_single), "single")
    sound_film(one, 6, (640, 360))
    play = play_of(one.film, one.intro_frames, "single")
    assert set(side_of([codes[0] for codes in play], "left").steps) == {1}
    assert one.receipt["pictures"] == {"single": 6 * FPS}
    assert set(one.receipt["cameras"]) == {"left"}
