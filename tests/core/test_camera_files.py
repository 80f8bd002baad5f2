"""Delivered camera files: which frames of which segments, in what order, and when it is over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent.core import camera_files
from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.camera_files import SKIP, CameraFile, next_effects
from edge_agent.core.effects import AppendCamera, CloseCamera, FilmFile, SettleFile
from edge_agent.core.filming import Film
from schemas.booking import Booking
from schemas.recording import CaptureStage, ClockPoint, MergeStage, WallMapping
from schemas.work import Segment, SegmentsMinute, pack_offsets

T0 = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
BOOTS = {"a": "aaaaaaaa-1", "b": "bbbbbbbb-2"}
OFFSETS = {BOOTS["a"]: wall_ns(T0) - 1_000 * SECOND_NS, BOOTS["b"]: wall_ns(T0) - 5 * SECOND_NS}
MAPPINGS = tuple(WallMapping(boot_id=boot, wall_offset_ns=offset) for boot, offset in OFFSETS.items())


def booking(end_s: float = 20, **more: Any) -> Booking:
    times = {"start": T0, "end": T0, "from": T0, "to": T0 + timedelta(seconds=end_s)}
    return Booking.model_validate({"rev": 1, "deliver": ["film", "cameras"], **times, **more})


def segment(number: int, begin_s: float, boot: str = "a", fps: int = 10, **more: Any) -> Segment:
    """2 s that begin so long after the recording."""
    t0_ns = wall_ns(T0) + round(begin_s * SECOND_NS) - OFFSETS[BOOTS[boot]]
    name = f"{BOOTS[boot][:8]}-{number:08d}"
    plain = {
        "path": f"recordings/b1/left/{name}.mp4",
        "name": name,
        "boot_id": BOOTS[boot],
        "stamp": "sensor",
        "t0_ns": t0_ns,
        "end_ns": t0_ns + 2 * SECOND_NS,
        "offsets": pack_offsets([k * 1_000_000 // fps for k in range(2 * fps)]),
        "frames": 2 * fps,
        "bytes": 9,
        "wall_offset_ns": 77,
        "width": 64,
        "height": 32,
        "fps": fps,
    }
    return Segment.model_validate({**plain, **more})


def stage(covered_s: float, status: Any = "running", boot: str = "a") -> CaptureStage:
    mono_ns = wall_ns(T0) + round(covered_s * SECOND_NS) - OFFSETS[BOOTS[boot]]
    point = ClockPoint(boot_id=BOOTS[boot], mono_ns=mono_ns)
    return CaptureStage(status=status, covered_until=point, mappings=MAPPINGS, fps=10)


def film(end_s: float = 20, *, over: bool = False, **more: Any) -> Film:
    end = T0 + timedelta(seconds=end_s)
    merge = MergeStage(status="succeeded" if over else "running", mappings=MAPPINGS, begin=T0, end=end)
    return Film("b1", booking=booking(end_s, **more), merge=merge)


def camera(*segments: Segment, covered_s: float = 100, status: Any = "running") -> CameraFile:
    item = CameraFile("b1", "left", stage=stage(covered_s, status))
    return camera_files.listed(item, "a-0", SegmentsMinute(segments=segments))


def on_disk(item: CameraFile, name: str | None, slots: int = 1, **more: Any) -> CameraFile:
    plain: dict[str, Any] = {
        "path": "recordings/b1/film/left.mp4",
        "bytes": 9 * slots,
        "bytes_durable": 0,
        "frames": 20 * slots,
        "slots": slots,
        "intro_frames": 0,
        "complete": False,
        "sha256": None,
        "duration_s": 2.0,
        "generation": 0,
        "last": name,
    }
    return camera_files.grown(item, FilmFile(**{**plain, **more}))


def asked(item: CameraFile, of: Film) -> list[tuple[str, int]]:
    return [
        (effect.path[-6:-4], effect.index)
        for effect in next_effects(item, of, 0)
        if isinstance(effect, AppendCamera)
    ]


def everything(item: CameraFile, of: Film) -> list[AppendCamera]:
    """All segments, appended as the driver would."""
    found: list[AppendCamera] = []
    while effects := [one for one in next_effects(item, of, 0) if isinstance(one, AppendCamera)]:
        found += effects
        item = on_disk(item, effects[0].path.rpartition("/")[2][:-4], len(found))
    return found


def test_segments_are_copied_in_order_of_time_over_boots() -> None:
    item = camera(segment(12, 4), segment(11, 2), segment(10, 0), status="succeeded")
    second = SegmentsMinute(segments=(segment(2, 10, "b"), segment(3, 12, "b")))
    item = camera_files.listed(item, "b-0", second)
    names = [effect.path.rpartition("/")[2][:-4] for effect in everything(item, film(over=True))]
    assert names[:3] == ["aaaaaaaa-00000010", "aaaaaaaa-00000011", "aaaaaaaa-00000012"]
    assert names[3:] == ["bbbbbbbb-00000002", "bbbbbbbb-00000003"]


def test_only_frames_of_the_recordings_time_are_copied() -> None:
    item = camera(segment(9, -2), segment(10, -1), segment(11, 1), segment(12, 3), status="succeeded")
    first, second, third = everything(item, film(4, over=True))
    assert first.times_us == (SKIP,) * 10 + tuple(range(0, 1_000_000, 100_000))
    assert second.times_us == tuple(range(1_000_000, 3_000_000, 100_000))
    assert third.times_us == tuple(range(3_000_000, 4_000_000, 100_000)) + (SKIP,) * 10


def test_a_segment_waits_until_no_change_of_the_end_reaches_it() -> None:
    item = camera(segment(10, 0), covered_s=7.9)
    assert not asked(item, film())
    assert asked(replace(item, stage=stage(8)), film()) == [("10", 0)]


def test_what_crosses_the_end_waits_until_the_end_is_fixed() -> None:
    item = on_disk(camera(segment(10, 0), segment(11, 2), covered_s=100), "aaaaaaaa-00000010")
    assert not asked(item, film(3))
    assert not asked(item, film(3, over=True))  # the camera may have more
    done = replace(item, stage=stage(3, "succeeded"))
    assert not asked(done, film(3))
    assert asked(done, film(3, over=True)) == [("11", 1)]
    assert asked(item, film(20)) == [("11", 1)]  # extended


def test_an_open_segment_is_not_copied() -> None:
    assert not asked(camera(segment(10, 0, open=True)), film())


def test_it_is_closed_when_camera_and_merger_are_done_and_every_segment_is_in() -> None:
    item = on_disk(camera(segment(10, 0), status="succeeded"), "aaaaaaaa-00000010")
    assert next_effects(item, film(2, over=True), 0) == (
        CloseCamera("camera_close:b1:left", "b1", "left", 10),
    )
    assert not next_effects(item, film(2), 0)
    assert not next_effects(replace(item, stage=stage(9)), film(2, over=True), 0)
    closed = on_disk(item, "aaaaaaaa-00000010", complete=True)
    assert next_effects(closed, film(2, over=True), 0) == (SettleFile("camera_settle:b1:left", "b1", "left"),)
    durable = on_disk(item, "aaaaaaaa-00000010", complete=True, bytes_durable=9)
    assert not next_effects(durable, film(2, over=True), 0)
    assert not durable.minutes


def test_a_camera_that_gave_nothing_makes_no_file() -> None:
    assert not next_effects(camera(status="succeeded"), film(over=True), 0)
    unusable = on_disk(camera(segment(10, 0), status="succeeded"), "aaaaaaaa-00000010", frames=0)
    assert unusable.object is None
    assert not next_effects(unusable, film(over=True), 0)


def test_a_segment_that_cannot_be_copied_is_skipped_and_named() -> None:
    item = camera(segment(10, 0), segment(11, 2), status="succeeded")
    item = camera_files.failed(item, "aaaaaaaa-00000010", "input", 0)
    assert asked(item, film(over=True)) == [("11", 0)]
    assert camera_files.failed(item, "aaaaaaaa-00000010", "input", 0).skipped == ("aaaaaaaa-00000010",)


def test_trouble_with_the_disk_is_waited_out() -> None:
    item = camera_files.failed(camera(segment(10, 0)), "aaaaaaaa-00000010", "full", 0)
    assert not next_effects(item, film(), 0)
    assert len(next_effects(item, film(), SECOND_NS)) == 1
    for _ in range(20):
        item = camera_files.failed(item, "aaaaaaaa-00000010", "full", 0)
    assert 5 * SECOND_NS <= item.not_before_ns <= 10 * SECOND_NS


def test_a_file_found_shorter_goes_on_from_where_it_ends() -> None:
    item = camera(segment(10, 0), segment(11, 2), segment(12, 4))
    item = on_disk(item, "aaaaaaaa-00000012", 3)
    assert asked(on_disk(item, "aaaaaaaa-00000010", 1), film()) == [("11", 1)]


def test_an_answer_that_says_what_is_known_does_not_bring_back_what_was_skipped() -> None:
    item = on_disk(camera(segment(10, 0), segment(11, 2), segment(12, 4)), "aaaaaaaa-00000010")
    item = camera_files.failed(item, "aaaaaaaa-00000011", "input", 0)
    assert asked(on_disk(item, "aaaaaaaa-00000010"), film()) == [("12", 1)]


@pytest.mark.parametrize(
    "change",
    [{"deliver": ["film"]}, {"status": "cancelled"}, {"record": "no"}],
)
def test_nothing_is_copied_that_is_not_asked_for(change: dict[str, Any]) -> None:
    assert not next_effects(camera(segment(10, 0)), film(**change), 0)
    assert not next_effects(camera(segment(10, 0)), replace(film(), listed=True), 0)


def test_the_mapping_the_merger_plans_with_decides() -> None:
    own = camera(segment(10, 0), status="succeeded")
    late = tuple(replace_offset(one, -SECOND_NS) for one in MAPPINGS)
    merge = MergeStage(status="succeeded", mappings=late, begin=T0, end=T0 + timedelta(seconds=20))
    (effect,) = next_effects(own, replace(film(over=True), merge=merge), 0)
    assert isinstance(effect, AppendCamera)
    assert effect.times_us == (SKIP,) * 10 + tuple(range(0, 1_000_000, 100_000))


def replace_offset(one: WallMapping, by_ns: int) -> WallMapping:
    return one.replace(wall_offset_ns=one.wall_offset_ns + by_ns)
