"""The worker as it runs: its own process, real ffmpeg, every file that people may send."""

import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloud_bridge.media.bounds import Bounds, Refused, Wanted
from cloud_bridge.media.sandbox import Running, WorkerBroke, look_at
from tests.support import uploads

BOUNDS = Bounds()
Look = Callable[..., Mapping[str, Any]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def look(content: bytes, wanted: Wanted = "picture", bounds: Bounds = BOUNDS) -> Mapping[str, Any]:
        job = tmp_path / "job"
        job.mkdir(exist_ok=True)
        (job / "in").write_bytes(content)
        return look_at(job, wanted, bounds)

    return look


class Listener:
    """Counts whoever connects to a port of this machine; answers nobody."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/clip.mp4"
        self.callers = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.callers += 1
            caller.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Generator[Listener]:
    listener = Listener()
    with socket.create_connection(("127.0.0.1", int(listener.url.split(":")[2].split("/")[0]))) as probe:
        probe.recv(1)  # it does hear
    assert listener.callers == 1
    listener.callers = 0
    yield listener
    listener.close()


def refusal(result: Mapping[str, Any]) -> tuple[str, str]:
    assert "refused" in result, result
    return result["refused"]["code"], result["refused"]["why"]


def made(tmp_path: Path) -> Image.Image:
    image = Image.open(io.BytesIO((tmp_path / "job" / "out").read_bytes()))
    image.load()
    return image


def probed(path: Path) -> dict[str, Any]:
    text = subprocess.run(
        ("ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", path),
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found: dict[str, Any] = json.loads(text)
    return found


class Watched(Running):
    """Tells a test which process group was started."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell = tell

    def began(self, group: int) -> None:
        super().began(group)
        self._tell(group)


# --- pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "mode", "more"),
    [
        ("PNG", "RGBA", {}), ("PNG", "RGB", {}), ("PNG", "P", {}), ("PNG", "L", {}), ("PNG", "1", {}),
        ("JPEG", "RGB", {}), ("JPEG", "L", {}), ("JPEG", "RGB", {"progressive": True}),
        ("WEBP", "RGB", {}), ("WEBP", "RGBA", {}), ("WEBP", "RGBA", {"lossless": True}),
    ],
)  # fmt: skip
def test_a_picture_becomes_a_png_with_alpha(
    look: Look, tmp_path: Path, form: str, mode: str, more: dict[str, Any]
) -> None:
    result = look(uploads.picture(form, mode=mode, **more))
    assert result == {"open": {}, "made": {"width": 400, "height": 300, "seconds": None}}
    image = made(tmp_path)
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (400, 300))
    red, _, blue, alpha = image.getpixel((200, 150))  # type: ignore[misc]
    if mode in ("RGB", "RGBA", "P"):
        assert (red > 200, blue < 60) == (True, True)
    assert alpha == 255
    corner = image.getpixel((2, 2))
    assert corner[3] == (0 if mode == "RGBA" else 255)  # type: ignore[index]


def test_a_large_picture_is_made_smaller_and_keeps_its_shape(look: Look, tmp_path: Path) -> None:
    assert look(uploads.picture(size=(4000, 1000), mode="RGBA"))["made"] == {
        "width": 1024, "height": 256, "seconds": None,
    }  # fmt: skip
    image = made(tmp_path)
    assert image.size == (1024, 256)
    # Along the edge of the disc only red is seen through: nothing of the blue hidden under the transparent.
    pixels = np.asarray(image)
    edge = pixels[(pixels[..., 3] > 20) & (pixels[..., 3] < 235)]
    assert len(edge) > 100
    assert edge[:, 2].max() < 40


def test_a_thin_picture_keeps_a_pixel(look: Look) -> None:
    assert look(uploads.picture(size=(9000, 2)))["made"] == {"width": 1024, "height": 1, "seconds": None}


def test_a_picture_taken_upright_stands_upright(look: Look, tmp_path: Path) -> None:
    assert look(uploads.turned_jpeg())["made"] == {"width": 200, "height": 300, "seconds": None}
    image = made(tmp_path).convert("RGB")
    upper, lower = image.getpixel((100, 20)), image.getpixel((100, 280))
    assert (upper[0] > 200, upper[2] < 60) == (True, True)  # type: ignore[index]
    assert (lower[2] > 200, lower[0] < 60) == (True, True)  # type: ignore[index]


def test_nothing_else_of_a_picture_comes_along(look: Look, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    assert "made" in look(uploads.picture("JPEG", exif=exif, comment=b"secret"))
    written = (tmp_path / "job" / "out").read_bytes()
    assert b"taken at home" not in written
    assert b"secret" not in written
    assert "made" in look(uploads.png_of(8, 8, 8, 6, uploads.chunk(b"tEXt", b"k\0secret")))
    assert b"secret" not in (tmp_path / "job" / "out").read_bytes()


TWICE = uploads.picture()
CUT: dict[str, bytes] = {
    "png": TWICE[: len(TWICE) // 2],
    "png without its last chunk": TWICE[:-12],
    "jpeg": uploads.picture("JPEG", size=(2000, 1500))[:20_000],
    "jpeg without its picture": uploads.picture("JPEG")[:300],
    "webp": uploads.picture("WEBP", size=(800, 600))[:2_000],
}


@pytest.mark.parametrize("name", CUT)
def test_a_picture_that_is_cut_off_is_refused(look: Look, tmp_path: Path, name: str) -> None:
    code, why = refusal(look(CUT[name]))
    assert (code, "cut off" in why) == ("content", True)
    assert not (tmp_path / "job" / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (uploads.png_of(20_000, 20_000, rows=1), "20000 x 20000"),
        (uploads.png_of(20_000, 10), "20000 x 10"),
        (uploads.png_of(9_000, 9_000, rows=1), "9000 x 9000"),
        (uploads.png_of(2**31 - 1, 2**31 - 1, rows=1), "2147483647"),
        (uploads.png_of(0, 5, rows=1), "no pixels"),
        (uploads.moving("PNG"), "animated"),
        (uploads.moving("WEBP"), "animated"),
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\x89PNG\r\n\x1a\n" + uploads.chunk(b"IDAT", b"x") + uploads.chunk(b"IEND", b""), "damaged"),
        (TWICE[:60] + b"\xff" * 40 + TWICE[100:], "damaged"),
    ],
    ids=["bomb", "wide", "many", "absurd", "none", "apng", "webp", "empty", "head", "headless", "noise"],
)
def test_a_picture_that_is_not_taken_says_why(look: Look, content: bytes, words: str) -> None:
    code, why = refusal(look(content))
    assert (code, words in why) == ("content", True), why
    assert why.endswith((".", "again."))
    assert "\n" not in why


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (uploads.moving("GIF"), "a GIF"),
        (uploads.picture("BMP"), "a BMP"),
        (uploads.picture("TIFF"), "a TIFF"),
        (uploads.picture("ICO", size=(32, 32)), "an icon"),
        (uploads.picture("PDF"), "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"hello there", "a text"),
        (os.urandom(9).join([b"\0\1"] * 99), "another kind"),
    ],
)
def test_a_kind_that_is_not_taken_is_named(look: Look, content: bytes, words: str) -> None:
    code, why = refusal(look(content))
    assert (code, words in why, "PNG, JPEG or WebP" in why) == ("type", True, True), why


@pytest.mark.parametrize("wanted", ["picture", "film"])
def test_a_film_is_no_logo_and_a_picture_no_intro(look: Look, tmp_path: Path, wanted: Wanted) -> None:
    content = uploads.film(tmp_path, seconds=0.2) if wanted == "picture" else uploads.picture()
    code, why = refusal(look(content, wanted))
    assert (code, "this slot takes a" in why) == ("type", True)


# --- what leads elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["picture", "film"])
def test_drawings_and_playlists_are_refused_and_nothing_is_fetched(
    look: Look, listener: Listener, wanted: Wanted
) -> None:
    files = {"svg": uploads.svg(listener.url), **uploads.playlists(listener.url)}
    for name, content in files.items():
        code, why = refusal(look(content, wanted))
        assert code == "type", name
        assert "root:" not in why
    assert "SVG" in refusal(look(files["svg"], wanted))[1]
    assert "playlist" in refusal(look(files["m3u8"], wanted))[1]
    assert listener.callers == 0


@pytest.mark.parametrize("place", ["http", "file"])
def test_a_film_whose_pictures_are_elsewhere_is_refused(
    look: Look, listener: Listener, tmp_path: Path, place: str
) -> None:
    whole = uploads.film(tmp_path, seconds=0.5)
    url = listener.url if place == "http" else "file:///etc/passwd"
    content = uploads.elsewhere(whole, url)
    assert url.encode() in content
    code, why = refusal(look(content, "film"))
    assert (code, "another file" in why) == ("content", True)
    assert listener.callers == 0


def test_what_gets_past_the_headers_meets_an_ffmpeg_that_reads_files_only(
    look: Look, listener: Listener, tmp_path: Path
) -> None:
    """A box that says film, and a playlist behind it: one demuxer is asked, and it knows no other places."""
    for content in uploads.playlists(listener.url).values():
        dressed = uploads.box(b"ftyp", b"isom\0\0\0\0isom") + content
        assert refusal(look(dressed, "film"))[0] == "content"
        hidden = b"\x1a\x45\xdf\xa3\x80webm" + content
        assert refusal(look(hidden, "film"))[0] == "content"
    assert listener.callers == 0


# --- films --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p")),
        ("a.mov", ("-c:v", "libx264", "-pix_fmt", "yuv444p")),
        ("a.mp4", ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le")),
        ("a.mp4", ("-c:v", "mpeg4")),
        ("a.mp4", ("-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov", "-pix_fmt", "yuv420p")),
        ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime")),
        ("a.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
    ],
)
def test_a_film_becomes_h264_at_a_steady_rate(
    look: Look, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    content = uploads.film(tmp_path, name, *options, size="322x242", seconds=1.2)
    result = look(content, "film")
    assert result["made"]["width"] == 322
    assert result["made"]["height"] == 242
    assert abs(result["made"]["seconds"] - 1.2) < 0.05
    found = probed(tmp_path / "job" / "out")
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["pix_fmt"], stream["r_frame_rate"]) == ("h264", "yuv420p", "30/1")
    assert int(stream["nb_read_frames"]) == round(result["made"]["seconds"] * 30)
    assert "tags" not in found["format"] or "title" not in found["format"]["tags"]


def test_sound_and_words_are_left_behind(look: Look, tmp_path: Path) -> None:
    source = uploads.TEST_PICTURE.format(size="320x240", rate=30, seconds=1)
    content = uploads.ffmpeg(
        *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine=d=1", "-shortest"),
        *(
            "-metadata",
            "title=at home",
            "-metadata",
            "location=+52.5+13.4/",
            "-c:v",
            "libx264",
            "-c:a",
            "aac",
        ),
        out=tmp_path / "a.mp4",
    )
    assert b"at home" in content
    assert look(content, "film")["made"]["seconds"] == 1.0
    found = probed(tmp_path / "job" / "out")
    assert [stream["codec_type"] for stream in found["streams"]] == ["video"]
    written = (tmp_path / "job" / "out").read_bytes()
    assert b"at home" not in written
    assert b"52.5" not in written


def test_a_large_film_is_made_smaller(look: Look, tmp_path: Path) -> None:
    content = uploads.film(tmp_path, "a.mp4", "-preset", "ultrafast", size="2560x1600", seconds=0.2)
    made = look(content, "film")["made"]
    assert (made["width"], made["height"]) == (1728, 1080)
    upright = uploads.film(tmp_path, "b.mp4", "-preset", "ultrafast", size="720x1280", seconds=0.2)
    made = look(upright, "film")["made"]
    assert (made["width"], made["height"]) == (606, 1080)


def test_a_film_taken_upright_stands_upright(look: Look, tmp_path: Path) -> None:
    uploads.film(tmp_path, "a.mp4", seconds=0.4)
    turned = uploads.ffmpeg(
        "-i", str(tmp_path / "a.mp4"),
        *("-c", "copy", "-metadata:s:v:0", "rotate=90"), out=tmp_path / "b.mp4",
    )  # fmt: skip
    made = look(turned, "film")["made"]
    assert (made["width"], made["height"]) == (240, 320)


def test_a_bright_film_is_brought_to_plain_colours(look: Look, tmp_path: Path) -> None:
    content = uploads.film(
        tmp_path, "a.mp4",
        *("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params",
          "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"),
        *("-color_trc", "smpte2084", "-color_primaries", "bt2020", "-colorspace", "bt2020nc"),
        seconds=0.4,
    )  # fmt: skip
    assert probed(tmp_path / "a.mp4")["streams"][0]["color_transfer"] == "smpte2084"
    assert "made" in look(content, "film")
    stream = probed(tmp_path / "job" / "out")["streams"][0]
    assert (stream["color_transfer"], stream["pix_fmt"]) == ("bt709", "yuv420p")


def test_films_that_are_not_taken_say_why(look: Look, tmp_path: Path) -> None:
    whole = uploads.film(tmp_path, "whole.mp4", "-movflags", "+faststart", seconds=1)
    late_index = uploads.film(tmp_path, "late.mp4", seconds=1)
    cases: dict[str, tuple[bytes, str]] = {
        "4 hours": (
            uploads.film(tmp_path, "4h.mp4", "-g", "1", size="32x32", rate=1, seconds=14_400),
            "4:00:00 long",
        ),
        "20 s": (uploads.film(tmp_path, "20s.mp4", size="32x32", rate=5, seconds=20), "0:20 long"),
        "cut off": (whole[: len(whole) * 2 // 3], "cut off"),
        "without its index": (late_index[: len(late_index) // 2], "cut off"),
        "no film at all": (uploads.box(b"ftyp", b"isom\0\0\0\0isom"), "no index"),
        "sound alone": (
            uploads.ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", out=tmp_path / "sound.mp4"),
            "no picture",
        ),
        "0 frames": (
            uploads.ffmpeg(
                *("-f", "lavfi", "-i", "testsrc2=s=64x64:d=1", "-frames:v", "0", "-movflags", "empty_moov"),
                out=tmp_path / "none.mp4",
            ),
            "no picture",
        ),
        "another codec": (
            uploads.film(tmp_path, "prores.mov", "-c:v", "prores_ks", seconds=0.2), "coded in another way",
        ),
        "a row of pictures": (
            uploads.film(tmp_path, "mjpeg.mov", "-c:v", "mjpeg", seconds=0.2), "coded as mjpeg",
        ),
        "tiny": (uploads.film(tmp_path, "tiny.mp4", size="8x8", seconds=0.2), "less than 16"),
        "huge": (
            uploads.film(tmp_path, "huge.mp4", "-preset", "ultrafast", size="4320x4320", seconds=0.04),
            "4320 x 4320",
        ),
        "an odd shape": (
            uploads.film(tmp_path, "odd.mp4", "-vf", "setsar=20/1", seconds=0.2), "shape",
        ),
        "matroska": (uploads.film(tmp_path, "a.mkv", seconds=0.2), "Matroska"),
    }  # fmt: skip
    said = {name: refusal(look(content, "film")) for name, (content, _) in cases.items()}
    assert {name: why for name, (_, why) in said.items() if cases[name][1] not in why} == {}
    assert not (tmp_path / "job" / "out").exists()


def test_a_film_that_hides_its_length_is_found_out(look: Look, tmp_path: Path) -> None:
    content = uploads.film(
        tmp_path, "40s.mp4", "-movflags", "frag_keyframe+empty_moov", size="64x64", rate=5, seconds=40
    )
    code, why = refusal(look(content, "film"))
    assert (code, "15 seconds" in why) == ("content", True), why


def test_noise_in_the_middle_of_a_film_is_no_end_of_the_worker(look: Look, tmp_path: Path) -> None:
    whole = bytearray(uploads.film(tmp_path, "a.mp4", "-movflags", "+faststart", seconds=2))
    middle = len(whole) // 2
    for at in range(middle, middle + 4000):
        whole[at] = (at * 97) % 256
    result = look(bytes(whole), "film")
    assert ("made" in result) or refusal(result)[0] == "content"


# --- bounds -------------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_by_its_header(look: Look, tmp_path: Path) -> None:
    bomb = uploads.png_of(20_000, 20_000)
    assert len(bomb) < 100_000
    assert "20000 x 20000" in refusal(look(bomb))[1]
    assert not (tmp_path / "job" / "out").exists()


def test_a_bomb_within_the_headers_bounds_stays_within_the_memory(look: Look) -> None:
    bomb = uploads.png_of(5000, 5000, 16, 6)
    assert len(bomb) < 2_000_000
    result = look(bomb)
    assert result.get("made", {}).get("width") == 1024 or refusal(result)[0] == "content"
    small = replace(BOUNDS, memory_bytes=400 * 1024 * 1024)
    code, why = refusal(look(bomb, bounds=small))
    assert (code, "cannot be read" in why) == ("content", True)


def test_a_packed_note_in_a_picture_is_bounded(look: Look) -> None:
    note = uploads.chunk(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 100_000_000, 1))
    result = look(uploads.png_of(8, 8, 8, 6, note), bounds=replace(BOUNDS, memory_bytes=450 * 1024 * 1024))
    assert ("made" in result) or refusal(result)[0] == "content"


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "in").write_bytes(uploads.picture())
    frozen = Watched(lambda group: os.killpg(group, signal.SIGSTOP))
    with pytest.raises(Refused, match=r"more than 0\.2 seconds"):
        look_at(job, "picture", replace(BOUNDS, wall_s=0.2), frozen)
    assert_nobody_left(job)


def assert_nobody_left(job: Path) -> None:
    """What was killed takes a moment to be gone."""
    deadline = time.monotonic() + 30
    while (left := left_behind(job)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def left_behind(job: Path) -> list[str]:
    """Processes whose working folder is the job's."""
    found: list[str] = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cwd").resolve() == job.resolve():
                found.append((place / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_killed_worker_is_no_verdict_and_takes_its_programs_along(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "in").write_bytes(
        uploads.film(tmp_path, "a.mp4", "-preset", "ultrafast", size="1280x720", seconds=6)
    )
    seen: list[str] = []

    def kill(worker: int) -> None:
        while not seen and Path(f"/proc/{worker}").exists():
            seen.extend(command for command in left_behind(job) if "libx264" in command)
            time.sleep(0.002)
        os.kill(worker, signal.SIGKILL)

    killers: list[threading.Thread] = []

    def started(worker: int) -> None:
        killers.append(threading.Thread(target=kill, args=(worker,)))
        killers[0].start()

    with pytest.raises(WorkerBroke, match="-9"):
        look_at(job, "film", BOUNDS, Watched(started))
    killers[0].join(30)
    assert len(seen) == 1
    assert_nobody_left(job)


def test_too_much_is_not_written(look: Look, tmp_path: Path) -> None:
    result = look(uploads.film(tmp_path, seconds=2), "film", replace(BOUNDS, out_bytes=20_000))
    assert refusal(result)[0] == "content"
    assert (tmp_path / "job" / "out").stat().st_size <= 20_000
