"""One suite for every camera backend: what the agents may rely on, whatever delivers the frames."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import pytest

from edge_agent.drivers.cameras.base import (
    NS_PER_S,
    Beat,
    CaptureEnd,
    CaptureSpec,
    ClaimTorn,
    Lost,
    Report,
    SegmentClosed,
    SegmentFile,
    Started,
)
from edge_agent.drivers.cameras.capture import Capture, claim

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
PATIENCE_S = 20.0


@dataclass
class Session:
    """A capture that runs in a thread, and all it has reported so far."""

    capture: Capture
    ring: Path
    reports: list[Report] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    ends: list[CaptureEnd] = field(default_factory=list)
    epoch_ns: int = 0

    def until(self, enough: "Callable[[Session], object]") -> None:
        """Read news until there is enough of it."""
        deadline = time.monotonic() + PATIENCE_S
        while not enough(self):
            assert time.monotonic() < deadline, (self.ends, self.reports[-5:], self.beats[-1:])
            self.fetch(0.5)

    def fetch(self, timeout_s: float) -> None:
        news = self.capture.news(timeout_s)
        self.reports += news.reports
        if news.beat is not None:
            self.beats.append(news.beat)

    @property
    def segments(self) -> list[SegmentFile]:
        return [report.segment for report in self.reports if isinstance(report, SegmentClosed)]

    @property
    def frames(self) -> int:
        return self.beats[-1].frames if self.beats else 0

    def child_pid(self) -> int:
        run = self.capture._run
        assert run is not None
        return run.process.pid


@contextmanager
def capturing(spec: CaptureSpec, ring: Path, session: Session | None = None) -> Generator[Session]:
    """Capture in the background; stopped and fetched to the last report at the end."""
    session = session or Session(Capture(spec.camera, ring, BOOT_ID), ring)
    session.beats.clear()
    thread = threading.Thread(target=lambda: session.ends.append(session.capture.run(spec)))
    thread.start()
    try:
        yield session
    finally:
        while thread.is_alive():
            session.capture.stop()
            thread.join(0.05)
        session.fetch(0)


def frames_in(path: Path) -> tuple[int, bool]:
    """Decode a film: how many pictures, and is the first one a key frame."""
    with av.open(str(path)) as film:
        pictures = [picture.key_frame for picture in film.decode(video=0)]
    return len(pictures), pictures[0]


class CameraConformance:
    """Subclasses give `spec`: short segments, small pictures, and whether key frames can be forced."""

    key_forced = True
    key_interval_ns = 0
    cut_ns = 0

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> CaptureSpec:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def session(cls, spec: CaptureSpec, tmp_path_factory: pytest.TempPathFactory) -> Session:
        """Record three whole segments and a cut."""
        with capturing(spec, tmp_path_factory.mktemp("ring")) as session:
            session.until(lambda s: s.beats)
            cls.cut_ns = session.beats[-1].mono_ns + round(1.3 * NS_PER_S)
            session.capture.set_cuts([cls.cut_ns])
            session.until(lambda s: len(s.segments) >= 4)
        return session

    def test_it_says_what_it_captures_and_that_it_goes_on(self, session: Session) -> None:
        started = [report for report in session.reports if isinstance(report, Started)]
        assert len(started) == 1
        assert {(s.width, s.height, s.fps) for s in session.segments} == {
            (started[0].width, started[0].height, started[0].fps)
        }
        assert session.ends == [CaptureEnd("stopped", "", session.ends[0].frames)]

    def test_segments_lose_and_repeat_no_frame_between_them(self, session: Session) -> None:
        segments = session.segments
        assert len(segments) >= 4
        for before, after in itertools.pairwise(segments):
            assert after.t0_ns == before.end_ns
            assert int(after.name[9:]) == int(before.name[9:]) + 1
        period_ns = NS_PER_S / segments[0].fps
        times = [time for segment in segments for time in segment.times_ns()]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert sum(gaps) / len(gaps) == pytest.approx(period_ns, rel=0.1)

    def test_times_rise_and_there_is_one_for_each_frame(self, session: Session) -> None:
        for segment in session.segments:
            times = segment.times_ns()
            assert len(times) == segment.frames == len(set(times))
            assert list(times) == sorted(times)
            assert segment.offsets_us[0] == 0
            assert segment.t0_ns <= times[-1] < segment.end_ns
            assert segment.boot_id == BOOT_ID
            assert not segment.open

    def test_each_segment_decodes_alone_and_begins_with_a_key_frame(self, session: Session) -> None:
        for segment in session.segments:
            assert frames_in(session.ring / f"{segment.name}.mp4") == (segment.frames, True)
            assert (session.ring / f"{segment.name}.mp4").stat().st_size == segment.bytes

    def test_the_description_on_disk_is_the_message(self, session: Session) -> None:
        for segment in session.segments:
            text = (session.ring / f"{segment.name}.json").read_text()
            assert SegmentFile.from_json(text) == segment
        assert session.capture.inventory() == tuple(session.segments)

    def test_a_cut_made_while_running_splits_within_a_frame(self, session: Session) -> None:
        period_ns = NS_PER_S / session.segments[0].fps
        splits = [segment.t0_ns for segment in session.segments]
        late_ns = min(split - self.cut_ns for split in splits if split >= self.cut_ns)
        if self.key_forced:
            assert late_ns < 1.5 * period_ns
        else:
            assert late_ns < self.key_interval_ns + 1.5 * period_ns

    def test_other_segments_begin_on_the_wall_grid(self, session: Session, spec: CaptureSpec) -> None:
        if not self.key_forced:
            return
        grid_ns, period_ns = round(spec.segment_s * NS_PER_S), NS_PER_S / session.segments[0].fps
        for segment in session.segments[1:]:
            if not self.cut_ns <= segment.t0_ns < self.cut_ns + 1.5 * period_ns:
                assert (segment.t0_ns + segment.wall_offset_ns) % grid_ns < 1.5 * period_ns

    def test_a_claim_is_a_whole_copy_and_may_be_made_twice(self, session: Session, tmp_path: Path) -> None:
        segment = session.segments[1]
        claimed = claim(segment, session.ring, tmp_path)
        assert claimed == segment
        copy = tmp_path / f"{segment.name}.mp4"
        assert copy.read_bytes() == (session.ring / copy.name).read_bytes()
        assert claim(segment, Path("nowhere"), tmp_path) == segment
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"{segment.name}.json", copy.name]

    def test_a_claim_that_is_torn_is_refused(self, session: Session, tmp_path: Path) -> None:
        segment = session.segments[1]
        torn = tmp_path / "torn"
        torn.mkdir()
        whole = (session.ring / f"{segment.name}.mp4").read_bytes()
        (torn / f"{segment.name}.mp4").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ClaimTorn):
            claim(segment, torn, tmp_path / "claims")
        assert not list((tmp_path / "claims").iterdir())

    def test_a_killed_child_keeps_what_it_flushed(self, spec: CaptureSpec, tmp_path: Path) -> None:
        with capturing(replace(spec, segment_s=30.0), tmp_path) as session:
            session.until(lambda s: s.frames > 20)
            beat = session.beats[-1]
            os.kill(session.child_pid(), signal.SIGKILL)
            session.until(lambda s: s.ends)
        assert session.ends[0].kind == "exit"
        kept = session.segments
        flushed = [time for segment in kept for time in segment.times_ns() if time <= beat.mono_ns]
        # The muxer holds the newest frame back until the next one comes.
        assert len(flushed) >= beat.frames - 1
        assert all(frames_in(tmp_path / f"{s.name}.mp4") == (s.frames, True) for s in kept)
        with capturing(spec, tmp_path, session):
            session.until(lambda s: len(s.segments) > len(kept))
        resumed = session.segments[len(kept)]
        assert int(resumed.name[9:]) == int(kept[-1].name[9:]) + 1
        lost = [report for report in session.reports if isinstance(report, Lost)]
        assert [(gap.from_ns, gap.to_ns) for gap in lost] == [(kept[-1].end_ns, resumed.t0_ns)]
        assert lost[0].reason.startswith("exit")

    def test_a_child_that_hangs_is_killed(self, spec: CaptureSpec, tmp_path: Path) -> None:
        with capturing(spec, tmp_path) as session:
            session.until(lambda s: s.beats)
            pid = session.child_pid()
            os.kill(pid, signal.SIGSTOP)
            session.until(lambda s: s.ends)
        assert session.ends[0].kind == "stall"
        assert not Path(f"/proc/{pid}").exists()

    def test_the_ring_stays_within_its_seconds(self, spec: CaptureSpec, tmp_path: Path) -> None:
        with capturing(replace(spec, segment_s=0.5, ring_s=1.0), tmp_path) as session:
            session.until(lambda s: len(s.segments) >= 6 - 2 * (not self.key_forced))
            names = {path.name.split(".")[0] for path in tmp_path.glob("*.mp4")}
        assert session.segments[0].name not in names
        assert len(session.capture.inventory()) < len(session.segments)
        # Nothing is deleted before its time: what remains reaches back as far as the ring does.
        assert session.segments[-1].end_ns - session.capture.inventory()[0].t0_ns >= NS_PER_S
