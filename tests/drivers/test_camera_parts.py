"""What the cameras are made of, each part alone: grid, scenario, addresses, values, ring, frame code."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.cameras.address import check_address, masked
from edge_agent.drivers.cameras.base import (
    NS_PER_S,
    BadValueError,
    Beat,
    CaptureError,
    CaptureSpec,
    Failed,
    Lost,
    Report,
    SegmentClosed,
    SegmentFile,
    Source,
    Started,
    Warned,
    report_from_json,
    report_to_json,
)
from edge_agent.drivers.cameras.court import CourtPicture
from edge_agent.drivers.cameras.encoder import Encoder
from edge_agent.drivers.cameras.grid import SplitGrid
from edge_agent.drivers.cameras.ring import count_frames, recover_ring
from edge_agent.drivers.cameras.scenario import FrameClock, Scenario
from edge_agent.drivers.cameras.segmenter import Segmenter
from tests.framecode import FrameCode, decode, luma_of

BOOT = "0123abcd-0000-0000-0000-000000000000"
SEGMENT = SegmentFile(
    name="0123abcd-00000007",
    boot_id=BOOT,
    clock="monotonic",
    stamp="sensor",
    t0_ns=5,
    offsets_us=(0, 33, 66),
    end_ns=100_000,
    dropped=1,
    duplicated=0,
    bytes=9,
    frames=3,
    wall_offset_ns=-4,
    width=320,
    height=180,
    fps=29.97,
)


class TestGrid:
    @given(
        start_ns=st.integers(0, 10**15),
        offset_ns=st.integers(-(10**18), 10**18),
        late_ns=st.integers(0, 10**7),
    )
    def test_one_split_per_grid_point_whatever_the_phase(
        self, start_ns: int, offset_ns: int, late_ns: int
    ) -> None:
        grid = SplitGrid(2 * NS_PER_S, lambda: offset_ns)
        times = [start_ns + frame * NS_PER_S // 30 + late_ns for frame in range(300)]
        splits = [time for time in times if grid.passes(time)]
        points = {(time + offset_ns) // (2 * NS_PER_S) for time in times}
        assert len(splits) == len(points)
        assert all((split + offset_ns) % (2 * NS_PER_S) < NS_PER_S / 29 for split in splits[1:])

    def test_an_offset_measured_again_does_not_split_twice(self) -> None:
        offsets = iter([0, -100, -100])
        grid = SplitGrid(2 * NS_PER_S, lambda: next(offsets))
        times = [NS_PER_S, 2 * NS_PER_S, 2 * NS_PER_S + 33_333_333, 4 * NS_PER_S + 100]
        assert [grid.passes(time) for time in times] == [True, True, False, True]

    def test_cuts_split_once_may_be_replaced_and_are_void_when_late(self) -> None:
        grid = SplitGrid(1000 * NS_PER_S, lambda: 0)
        assert grid.passes(100)
        grid.set_cuts([250, 50])
        assert [grid.passes(time) for time in (200, 250, 300)] == [False, True, False]
        grid.set_cuts([400, 299])
        assert [grid.passes(time) for time in (350, 450, 500)] == [False, True, False]


class TestScenario:
    def test_numbers_and_times_survive_a_restart(self) -> None:
        scenario = Scenario.parse({"epoch_ns": 10**12, "drift_ppm": 200}, "left", 0)
        clock = FrameClock(scenario, 30, 1_700_000_000_123_456_789)
        first = clock.next_after(10**12)
        assert first == 0
        later = clock.next_after(clock.due_ns(1000) - 500)
        assert later == 1000
        assert (clock.due_ns(30_000) - clock.due_ns(0)) == pytest.approx(
            1000 * NS_PER_S * (1 - 2e-4), abs=2000
        )

    def test_frames_are_due_on_the_wall_grid(self) -> None:
        offset_ns = 1_700_000_000_123_456_789
        clock = FrameClock(Scenario.parse({"epoch_ns": 10**12}, "right", 0), 25, offset_ns)
        for frame in (0, 1, 99):
            assert abs((clock.due_ns(frame) + offset_ns - 8_000_000) % (NS_PER_S // 25)) in {
                *range(2),
                *range(NS_PER_S // 25 - 1001, NS_PER_S // 25),
            }

    def test_rates_choose_about_that_many_and_always_the_same(self) -> None:
        scenario = Scenario.parse({"drops": 0.01, "seed": 4}, "left", 1)
        chosen = [frame for frame in range(20_000) if scenario.hits("drops", frame)]
        assert 140 < len(chosen) < 260
        assert not any(scenario.hits("duplicates", frame) for frame in chosen)
        assert Scenario.parse({"drops": [3, 5]}, "left", 1).drops == frozenset({3, 5})

    @pytest.mark.parametrize(
        "raw", [{"nope": 1}, {"stalls": [1]}, {"stalls": "ab"}, {"drops": "x"}, {"drift_ppm": True}]
    )
    def test_what_it_cannot_read_is_a_format_error(self, raw: dict[str, object]) -> None:
        with pytest.raises(CaptureError) as caught:
            Scenario.parse(raw, "left", 1)
        assert caught.value.kind == "format"


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "opened", "protocols"),
        [
            ("rtsp://u:p@cam/1", "rtsp://u:p@cam/1", "rtsp,rtp,udp,tcp"),
            ("films/a:b.mp4", "file:films/a:b.mp4", "file"),
            ("file:///films/a.mp4", "file:/films/a.mp4", "file"),
            ("file:a.mp4", "file:a.mp4", "file"),
            ("udp://127.0.0.1:9", "udp://127.0.0.1:9", "udp"),
        ],
    )
    def test_what_is_allowed(self, url: str, opened: str, protocols: str) -> None:
        address = check_address(url)
        assert (address.url, address.protocols) == (opened, protocols)

    @pytest.mark.parametrize(
        "url", ["", "-x", "concat:a|b", "http:x", "crypto:http://a", "a\nb", "subfile,,:x"]
    )
    def test_what_is_not(self, url: str) -> None:
        with pytest.raises(CaptureError):
            check_address(url)

    def test_logins_and_queries_are_not_shown(self) -> None:
        assert masked("rtsp://me:secret@cam:554/a?token=t") == "rtsp://***@cam:554/a"


class TestValues:
    @pytest.mark.parametrize(
        "report",
        [
            Started(1, 2, 30.0, "x264", "left", "sensor"),
            Beat(3, 4, 5, 29.9),
            SegmentClosed(SEGMENT),
            Lost(1, 2, "why"),
            Warned("text"),
            Failed("busy", "text"),
        ],
    )
    def test_reports_come_back_equal(self, report: Report) -> None:
        assert report_from_json(report_to_json(report)) == report

    def test_a_spec_comes_back_equal(self) -> None:
        spec = CaptureSpec("left", "simulated", BOOT, scenario={"drops": [1], "seed": 2})
        assert CaptureSpec.from_json(spec.to_json()) == spec
        assert spec.boot8 == "0123abcd"

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"report":"beat"}', '{"report":"beat","frames":"1"}', '{"report":"x"}']
    )
    def test_what_is_no_report_is_refused(self, text: str) -> None:
        with pytest.raises(BadValueError):
            report_from_json(text)


def write_ring(ring: Path, frames: int) -> list[SegmentFile]:
    """Let the child's writing side make one segment of known pictures; it is never closed."""
    reports: list[Report] = []
    spec = CaptureSpec("left", "simulated", BOOT, width=320, height=180)
    segmenter = Segmenter(spec, ring, SplitGrid(1000 * NS_PER_S, lambda: 0), reports.append)
    picture, encoder = CourtPicture("left", 320, 180), Encoder(320, 180, 30, 1_000_000, 2)
    for frame in range(frames):
        time_ns = NS_PER_S + frame * 33_333_000
        picture.draw(frame, time_ns, time_ns)
        coded = encoder.encode(picture.frame, frame * 33_333, key=segmenter.split_due(time_ns))
        if not frame:
            template = encoder.template(coded)
            segmenter.start(Source(320, 180, 30.0, "x264", "left", "sensor", True, template))
        segmenter.write(coded.payload, time_ns, key=coded.key)
    opened = segmenter._open
    assert opened is not None
    known = opened.so_far()
    return [known] if known else []


class TestRecovery:
    def test_all_flushed_frames_survive_and_nothing_is_recovered_twice(self, tmp_path: Path) -> None:
        (known,) = write_ring(tmp_path, 12)
        (recovered,) = recover_ring(tmp_path)
        assert recovered == replace(known, open=False, end_ns=recovered.end_ns)
        assert recovered.frames == count_frames(tmp_path / f"{recovered.name}.mp4") == 11
        assert recovered.end_ns == recovered.times_ns()[-1] + 33_333_333
        assert recover_ring(tmp_path) == ()

    def test_a_film_cut_anywhere_keeps_exactly_its_whole_frames(self, tmp_path: Path) -> None:
        whole = tmp_path / "whole"
        whole.mkdir()
        (known,) = write_ring(whole, 8)
        film = (whole / f"{known.name}.mp4").read_bytes()
        times = (whole / f"{known.name}.times").read_bytes()
        kept: list[int] = []
        for size in (*range(0, len(film), 61), len(film)):
            ring = tmp_path / str(size)
            ring.mkdir()
            (ring / f"{known.name}.mp4").write_bytes(film[:size])
            (ring / f"{known.name}.times").write_bytes(times)
            recovered = recover_ring(ring)
            kept.append(sum(segment.frames for segment in recovered))
            for segment in recovered:
                assert count_frames(ring / f"{segment.name}.mp4") == segment.frames
                assert segment.offsets_us == known.offsets_us[: segment.frames]
            assert recovered or not list(ring.iterdir())
        assert kept == sorted(kept)
        assert set(kept) == set(range(8))
        assert all(after - before <= 1 for before, after in pairwise(kept))

    def test_times_that_are_torn_bound_the_frames(self, tmp_path: Path) -> None:
        (known,) = write_ring(tmp_path, 8)
        path = tmp_path / f"{known.name}.times"
        path.write_bytes(path.read_bytes()[:-30])
        (recovered,) = recover_ring(tmp_path)
        assert recovered.frames == count_frames(tmp_path / f"{known.name}.mp4") == 6


class TestFrameCode:
    def coded(self, width: int, height: int, frame: int, crf: int) -> av.VideoFrame:
        """Draw one frame after another, code them hard and return what is left of the last."""
        picture = CourtPicture("right", width, height)
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, 30)
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf)}
        decoder = av.CodecContext.create("h264", "r")
        shown: list[av.VideoFrame] = []
        for number in range(frame - 5, frame + 1):
            picture.draw(number, number * 1_000_000, number * 1_000_000)
            picture.frame.pts = number
            for packet in context.encode(picture.frame):
                shown += decoder.decode(packet)
        shown += decoder.decode(None)
        return shown[-1]

    @pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 360), (1920, 1080), (322, 182)])
    def test_it_is_read_back_through_x264(self, width: int, height: int) -> None:
        luma = luma_of(self.coded(width, height, 70_000, 28))
        assert decode(luma, (0, 0, width, height)) == FrameCode("right", 70_000, 70_000_000)

    def test_it_is_read_back_from_half_of_a_scaled_film(self) -> None:
        picture = self.coded(1280, 720, 2**32 + 9, 28).reformat(width=640, height=360)
        film = np.zeros((360, 1280), np.uint8)
        film[:, 640:] = luma_of(picture)
        assert decode(film, (0, 0, 640, 360)) is None
        assert decode(film, (640, 0, 640, 360)) == FrameCode("right", 9, (2**32 + 9) * 1000 % 2**40)

    def test_a_damaged_code_is_none(self) -> None:
        luma = luma_of(self.coded(1280, 720, 100, 20)).copy()
        luma[580:590, 560:576] = 255 - luma[580:590, 560:576]
        assert decode(luma, (0, 0, 1280, 720)) is None
