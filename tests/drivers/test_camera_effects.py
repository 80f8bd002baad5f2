"""The camera agent's drivers with a real capture child: from the ring to a claimed copy."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.core.effects import (
    CameraInventory,
    CaptureNews,
    CaptureStart,
    CaptureStop,
    Claim,
    DeleteMedia,
    RingFile,
    SetCuts,
    WatchCapture,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Camera, Settings, Storage
from edge_agent.drivers.camera_effects import CameraEffects
from edge_agent.drivers.media import delete_media
from edge_agent.runtime.clock import read_boot_id
from schemas.work import Segment


def drivers_on(folder: Path, **camera: object) -> CameraEffects:
    one = Camera.model_validate({"name": "left", "width": 320, "height": 180, **camera})
    storage = Storage(root=str(folder / "root"), ring=str(folder / "ring"), ring_s=30)
    return CameraEffects(Settings(camera=(one,), storage=storage), "left", read_boot_id())


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[CameraEffects]:
    made = drivers_on(tmp_path)
    yield made
    made.close()


def capture_until(drivers: CameraEffects, cut_ns: int) -> tuple[list[RingFile], list[CaptureNews]]:
    """Capture in a thread of its own until a segment ends at the cut; then stop."""
    ended: list[object] = []
    runner = threading.Thread(
        target=lambda: ended.append(drivers.run(CaptureStart("capture", spec={"seq_floor": 7})))
    )
    runner.start()
    files: list[RingFile] = []
    heard: list[CaptureNews] = []
    while not any(file.t0_ns >= cut_ns for file in files) and runner.is_alive():
        news = drivers.run(WatchCapture("watch"))
        assert isinstance(news, CaptureNews)
        heard.append(news)
        files.extend(news.segments)
    drivers.run(CaptureStop("stop"))
    runner.join()
    assert ended == [None]
    return files, heard


@pytest.mark.realtime
def test_what_is_captured_is_cut_claimed_found_again_and_deleted(
    drivers: CameraEffects, tmp_path: Path
) -> None:
    assert drivers.inventory() == CameraInventory()
    cut_ns = time.monotonic_ns() + 2_500_000_000
    drivers.run(SetCuts("cuts", cuts_ns=(cut_ns,)))
    files, heard = capture_until(drivers, cut_ns)
    assert files[0].seq == 7
    assert any(cut_ns <= file.t0_ns < cut_ns + 40_000_000 for file in files)
    assert any(news.last_frame_ns for news in heard)
    assert next(news.started for news in heard if news.started)["width"] == 320

    first = drivers.run(Claim("claim:b1:x", booking_id="b1", cam="left", file=files[0]))
    assert isinstance(first, Segment)
    assert (first.frames, first.times_ns()[0], first.end_ns) == (
        files[0].frames,
        files[0].t0_ns,
        files[0].end_ns,
    )
    assert (tmp_path / "root" / first.path).stat().st_size == first.bytes

    again = drivers_on(tmp_path).inventory()
    assert again.claimed == {"b1": (first,)}
    assert {file.name for file in files} <= {file.name for file in again.ring}
    assert again.seq_floor == max(file.seq for file in again.ring)

    (tmp_path / "ring" / "left" / f"{files[1].name}.mp4").unlink()
    with pytest.raises(EffectFailed) as gone:
        drivers.run(Claim("claim:b1:y", booking_id="b1", cam="left", file=files[1]))
    assert gone.value.kind == "gone"

    drivers.run(DeleteMedia("delete:b1", booking_id="b1", parts=("left",)))
    drivers.run(DeleteMedia("delete:b1", booking_id="b1", parts=("left",)))
    assert not (tmp_path / "root" / "recordings" / "b1").exists()


def test_a_camera_that_cannot_be_says_how_it_ended(tmp_path: Path) -> None:
    broken = drivers_on(tmp_path, backend="stream", url=f"file:{tmp_path}/missing.mp4")
    broken.inventory()
    with pytest.raises(EffectFailed) as failed:
        broken.run(CaptureStart("capture", spec={}))
    assert failed.value.detail in {"absent", "format", "io", "exit"}
    assert failed.value.text.startswith(f"{failed.value.detail}: ")
    broken.close()


def test_deletion_follows_no_link_and_takes_no_odd_name(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    recording = tmp_path / "recordings" / "b1"
    recording.mkdir(parents=True)
    (recording / "left").symlink_to(precious)
    for booking_id, part in (("b1", "left"), ("..", "left"), ("b1", "../..")):
        with pytest.raises(EffectFailed) as refused:
            delete_media(tmp_path, booking_id, (part,))
        assert refused.value.kind == "permanent"
    assert (precious / "file").read_text() == "x"
