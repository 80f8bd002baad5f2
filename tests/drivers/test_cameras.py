"""Camera backends against the conformance suite, and the faults each can be told to have."""

import itertools
import os
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.demo.child import free_port
from edge_agent.drivers.cameras.base import (
    NS_PER_S,
    CaptureSpec,
    Lost,
    SegmentClosed,
    SegmentOpen,
    Started,
    Warned,
)
from edge_agent.drivers.cameras.capture import Capture, claim
from tests.conformance.cameras import BOOT_ID, CameraConformance, Session, capturing, frames_in
from tests.framecode import FrameCode, read_film

SIMULATED = CaptureSpec(
    camera="left", backend="simulated", boot_id=BOOT_ID, width=320, height=180, segment_s=1.0
)


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


def stream_spec(url: object) -> CaptureSpec:
    return CaptureSpec(camera="left", backend="stream", boot_id=BOOT_ID, url=str(url), segment_s=1.0)


@pytest.mark.realtime
class TestSimulated(CameraConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> CaptureSpec:
        return SIMULATED


@pytest.mark.realtime
class TestCopiedFile(CameraConformance):
    """H.264 without B frames, half a second between key frames, 2 s long: it loops while it is tested."""

    key_forced = False
    key_interval_ns = NS_PER_S // 2

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> CaptureSpec:
        film = tmp_path_factory.mktemp("media") / "copied.mp4"
        picture = "testsrc2=size=320x180:rate=24"
        ffmpeg("-f", "lavfi", "-i", picture, "-t", "2", "-bf", "0", "-g", "12", str(film))
        return stream_spec(film)


@pytest.mark.realtime
class TestEncodedFile(CameraConformance):
    """An ordinary video: B frames and sound, odd size."""

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> CaptureSpec:
        film = tmp_path_factory.mktemp("media") / "ordinary.mp4"
        sources = ("-f", "lavfi", "-i", "testsrc2=size=322x182:rate=25", "-f", "lavfi", "-i", "sine")
        ffmpeg(*sources, "-t", "2", "-pix_fmt", "yuv420p", "-bf", "2", "-c:a", "aac", str(film))
        return stream_spec(film)


def codes_of(session: Session) -> list[FrameCode | None]:
    return [
        code
        for segment in session.segments
        for (code,) in read_film(session.ring / f"{segment.name}.mp4", "single")
    ]


def record(scenario: dict[str, object], ring: Path, past_s: float = 2.5) -> Session:
    """Capture until `past_s` after the scenario's epoch."""
    epoch_ns = time.monotonic_ns()
    with capturing(replace(SIMULATED, scenario={"epoch_ns": epoch_ns, **scenario}), ring) as session:
        session.until(lambda s: s.segments and s.segments[-1].end_ns > epoch_ns + past_s * NS_PER_S)
    session.epoch_ns = epoch_ns
    return session


@pytest.mark.realtime
class TestInstrument:
    """The simulated camera does what its scenario says, and its frames and segments agree on it."""

    def test_codes_count_on_and_carry_the_segments_times(self, tmp_path: Path) -> None:
        session = record({}, tmp_path)
        codes = codes_of(session)
        times = [time for segment in session.segments for time in segment.times_ns()]
        assert [code and code.camera for code in codes] == ["left"] * len(times)
        assert [code and code.mono_us * 1000 for code in codes] == times
        numbers = [code.frame for code in codes if code]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def test_dropped_frames_are_missing_and_counted(self, tmp_path: Path) -> None:
        session = record({"drops": 0.1, "seed": 7}, tmp_path)
        numbers = [code.frame for code in codes_of(session) if code]
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        assert missing > 0
        assert sum(segment.dropped for segment in session.segments) == missing

    def test_duplicated_frames_are_shown_twice_and_counted(self, tmp_path: Path) -> None:
        session = record({"duplicates": 0.1, "seed": 3}, tmp_path)
        numbers = [code.frame for code in codes_of(session) if code]
        repeats = sum(a == b for a, b in itertools.pairwise(numbers))
        assert repeats == sum(segment.duplicated for segment in session.segments) > 0
        assert sum(segment.dropped for segment in session.segments) == 0

    def test_drift_shortens_the_period(self, tmp_path: Path) -> None:
        session = record({"drift_ppm": 20_000}, tmp_path)
        times = [time for segment in session.segments for time in segment.times_ns()]
        assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(NS_PER_S / 30 * 0.98, rel=1e-4)

    def test_black_and_frozen_pictures_keep_their_times(self, tmp_path: Path) -> None:
        session = record({"black": [(1.6, 2.0)], "frozen": [(2.4, 2.8)]}, tmp_path, past_s=3.0)
        codes = codes_of(session)
        times = [time for segment in session.segments for time in segment.times_ns()]
        since_s = [(time - session.epoch_ns) / NS_PER_S for time in times]
        assert [code is None for code in codes] == [1.6 <= at < 2.0 for at in since_s]
        frozen = [code for code, at in zip(codes, since_s, strict=True) if 2.4 <= at < 2.8]
        before = [code for code, at in zip(codes, since_s, strict=True) if at < 2.4][-1]
        assert frozen == [before] * 12
        assert sum(segment.dropped + segment.duplicated for segment in session.segments) == 0

    def test_a_short_stall_is_a_declared_gap(self, tmp_path: Path) -> None:
        session = record({"stalls": [(2.0, 0.7)]}, tmp_path, past_s=2.8)
        lost = [report for report in session.reports if isinstance(report, Lost)]
        assert [round((gap.to_ns - gap.from_ns) / NS_PER_S, 1) for gap in lost] == [0.7]
        assert sum(segment.dropped for segment in session.segments) in {20, 21}

    def test_a_vanished_camera_is_absent_until_it_returns(self, tmp_path: Path) -> None:
        spec = replace(SIMULATED, scenario={"epoch_ns": time.monotonic_ns(), "vanish": [(2.0, 1.0)]})
        with capturing(spec, tmp_path) as session:
            session.until(lambda s: s.ends)
        assert session.ends[0].kind == "absent"
        kept = len(session.segments)
        while len(session.segments) == kept:
            runs = len(session.ends)
            with capturing(spec, tmp_path, session):
                session.until(lambda s: len(s.segments) > kept or len(s.ends) > runs)  # noqa: B023 used at once
        assert {end.kind for end in session.ends[:-1]} == {"absent"}
        numbers = [code.frame for code in codes_of(session) if code]
        jumps = [after - before for before, after in itertools.pairwise(numbers)]
        assert 30 <= max(jumps) < 90
        assert min(set(jumps)) == 1

    def test_a_bad_scenario_is_one_clear_line(self, tmp_path: Path) -> None:
        with capturing(replace(SIMULATED, scenario={"drop": 1}), tmp_path) as session:
            session.until(lambda s: s.ends)
        assert (session.ends[0].kind, session.ends[0].text) == ("format", "scenario: unknown key 'drop'")


@pytest.mark.realtime
def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from edge_agent.drivers.cameras.base import CaptureSpec
        from edge_agent.drivers.cameras.capture import Capture
        spec = CaptureSpec.from_json(sys.argv[2])
        capture = Capture("left", Path(sys.argv[1]), spec.boot_id)
        threading.Thread(target=capture.run, args=(spec,)).start()
        while capture.news(1).beat is None:
            pass
        print(capture._run.process.pid, flush=True)
    """)
    arguments = [sys.executable, "-c", program, str(tmp_path), SIMULATED.to_json()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([child], [], [], 10)[0]
    os.close(child)


@pytest.mark.realtime
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a small tmpfs of its own")
def test_a_full_ring_drops_the_oldest_and_goes_on(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(tmp_path)], check=True)
    try:
        with capturing(replace(SIMULATED, segment_s=0.5), tmp_path) as session:
            session.until(lambda s: len([r for r in s.reports if isinstance(r, Lost)]) >= 1)
            before = len(session.segments)
            session.until(lambda s: len(s.segments) >= before + 3)
        assert any(isinstance(report, Warned) and "No space" in report.text for report in session.reports)
        assert {r.reason for r in session.reports if isinstance(r, Lost)} == {"ring full"}
        there = session.capture.inventory()
        assert there
        assert all(frames_in(tmp_path / f"{s.name}.mp4") == (s.frames, True) for s in there)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.realtime
class TestLiveStream:
    @pytest.fixture
    def live(self) -> Generator[tuple[str, list[subprocess.Popen[bytes]]]]:
        """MPEG-TS over TCP at the speed of a camera, a key frame every 3 s, for whoever connects first."""
        picture = ("-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=20")
        coding = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "60")
        arguments = ["ffmpeg", "-v", "quiet", *picture, *coding, "-f", "mpegts", "pipe:1"]
        senders: list[subprocess.Popen[bytes]] = []
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    senders.append(subprocess.Popen(arguments, stdout=connection.fileno()))

            thread = threading.Thread(target=serve)
            thread.start()
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}", senders
            thread.join()
        for sender in senders:
            sender.kill()
            sender.wait()

    def test_it_is_copied_told_while_it_grows_and_absent_when_it_ends(
        self, live: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
    ) -> None:
        address, senders = live
        with capturing(replace(stream_spec(address), segment_s=0.8), tmp_path) as session:
            session.until(lambda s: any(isinstance(r, SegmentOpen) for r in s.reports) or s.ends)
            grown = [report.segment for report in session.reports if isinstance(report, SegmentOpen)]
            claimed = claim(grown[0], tmp_path, tmp_path / "claims")
            assert frames_in(tmp_path / "claims" / f"{claimed.name}.mp4") == (claimed.frames, True)
            session.until(lambda s: s.segments or s.ends)
            senders[0].kill()
            session.until(lambda s: s.ends)
        assert session.ends[0].kind in {"absent", "stall"}
        started = next(report for report in session.reports if isinstance(report, Started))
        assert (started.encoder, started.stamp) == ("copy", "arrival")
        closed = next(r.segment for r in session.reports if isinstance(r, SegmentClosed))
        assert closed.times_ns()[: claimed.frames] == claimed.times_ns()
        assert claim(closed, tmp_path, tmp_path / "claims") == closed


@pytest.mark.parametrize(
    "url", ["", "-i", "concat:a|b", "subfile:,,start,0,end,9,,:/etc/passwd", "data:x", "pipe:0"]
)
def test_tricky_addresses_are_refused(url: str, tmp_path: Path) -> None:
    end = Capture("left", tmp_path, BOOT_ID).run(stream_spec(url))
    assert end.kind == "format"
    assert "\n" not in end.text


def test_an_address_that_does_not_answer_is_absent_and_shows_no_login(tmp_path: Path) -> None:
    end = Capture("left", tmp_path, BOOT_ID).run(stream_spec(f"rtsp://user:secret@127.0.0.1:{free_port()}/"))
    assert end.kind == "absent"
    assert "secret" not in end.text


def test_a_file_that_is_no_film_is_a_format_error(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film" * 1000)
    end = Capture("left", tmp_path / "ring", BOOT_ID).run(stream_spec(tmp_path / "film.mp4"))
    assert end.kind == "format"
