"""The parent's side: starts the capture child, watches it, ends it, and passes on what it reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import edge_agent
from edge_agent.drivers.cameras.base import (
    NS_PER_S,
    BadValueError,
    Beat,
    CaptureEnd,
    CaptureNews,
    CaptureSpec,
    ClaimTorn,
    Failed,
    Lost,
    Report,
    SegmentClosed,
    SegmentFile,
    SegmentOpen,
    Started,
    Warned,
    report_from_json,
)
from edge_agent.drivers.cameras.claims import claim
from edge_agent.drivers.cameras.ring import list_ring, recover_ring

__all__ = ["Capture", "ClaimTorn", "claim"]

START_NS = 6 * NS_PER_S  # a source's own time-outs (5 s) come first: their text says more than a stall
BEAT_NS = NS_PER_S // 4
END_S = 1.0
KEPT_REPORTS = 1000
_SECRETS = ("EZREC_", "AWS_", "SUPABASE_")


class _Run:
    """One life of the child."""

    def __init__(self, process: subprocess.Popen[bytes], spec: CaptureSpec) -> None:
        self.process = process
        self.spec = spec
        self.over = threading.Event()  # it ended, or has to
        self.stopping = False
        self.frames = 0
        self.failed: Failed | None = None
        self.continues = False  # its first segment is known
        self.last_words: deque[str] = deque(maxlen=5)
        self.deadline_ns = time.monotonic_ns() + START_NS

    def heard(self, report: Report) -> None:
        """Move the deadline: a stall is the time without a new frame, wherever the child hangs."""
        match report:
            case Started():
                self.deadline_ns = time.monotonic_ns() + round(self.spec.first_frame_limit_s * NS_PER_S)
            case Beat(frames=frames) if frames > self.frames:
                self.frames = frames
                # The newest frame may have come just before the beat that is not here yet.
                self.deadline_ns = time.monotonic_ns() + round(self.spec.stall_s * NS_PER_S) + BEAT_NS
            case Failed():
                self.failed = report
            case _:
                pass


class Capture:
    """One camera's capture. `ring` is a folder of this camera alone; it is made when missing.

    `run` blocks and belongs into a thread that lives as long as the call; all else may be called from any
    thread.
    """

    def __init__(
        self, name: str, ring: Path, boot_id: str, on_stderr: Callable[[str], None] | None = None
    ) -> None:
        """`on_stderr` gets every line libraries in the child write, from a thread of its own."""
        self._name = name
        self._ring = ring
        self._boot_id = boot_id
        self._boot8 = boot_id.replace("-", "")[:8]
        self._on_stderr = on_stderr
        self._news = threading.Condition()
        self._reports: deque[Report] = deque(maxlen=KEPT_REPORTS)
        self._beat: Beat | None = None
        self._beat_given_ns = 0
        self._cuts: tuple[int, ...] = ()
        self._run: _Run | None = None
        self._control = threading.Lock()
        self._announced = -1
        self._listed = False
        self._ended: tuple[int, str] | None = None

    def inventory(self) -> tuple[SegmentFile, ...]:
        """Recover what an interrupted child left and list the ring's complete segments, oldest first.

        Reads and writes the ring. Call while no child runs; `news` tells of every later segment.
        """
        self._ring.mkdir(parents=True, exist_ok=True)
        recover_ring(self._ring)
        found = list_ring(self._ring, self._boot8)
        ours = [segment for segment in found if segment.name.startswith(self._boot8)]
        self._announced = max([self._announced, *(int(segment.name[9:]) for segment in ours)])
        self._listed = True
        if ours:
            self._ended = (ours[-1].end_ns, "capture restarted")
        return found

    def run(self, spec: CaptureSpec) -> CaptureEnd:
        """Start the child and stay until it ended, stalled (killed) or was stopped. Always reaps it.

        Raises RuntimeError when one runs already, OSError without a process or a ring.
        """
        if not self._listed:
            self.inventory()
        run = self._start(spec)
        readers = [
            threading.Thread(target=self._read_reports, args=(run,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(run,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            stalled = _watch(run)
        finally:
            self._end(run, readers)
        return self._settle(run, stalled=stalled)

    def news(self, timeout_s: float) -> CaptureNews:
        """Wait up to `timeout_s` for a report, or for a beat at most once a second; each is given once.

        Never raises, also while no child runs. Of reports nobody fetches the newest thousand are kept.
        """
        with self._news:
            self._news.wait_for(self._has_news, timeout_s)
            news = CaptureNews(tuple(self._reports), self._beat)
            self._reports.clear()
            if self._beat is not None:
                self._beat, self._beat_given_ns = None, time.monotonic_ns()
            return news

    def set_cuts(self, cuts_ns: Sequence[int]) -> None:
        """Replace the times (monotonic) at which segments must split; a later child gets them too."""
        with self._control:
            self._cuts = tuple(cuts_ns)
            if self._run is not None:
                self._send_cuts(self._run)

    def stop(self) -> None:
        """Ask the child to end; `run` returns within about a second. Does nothing when none runs."""
        run = self._run
        if run is not None:
            run.stopping = True
            run.over.set()

    def _start(self, spec: CaptureSpec) -> _Run:
        if self._run is not None:
            raise RuntimeError(f"camera {self._name}: capture runs already")
        floor = max(spec.seq_floor, self._announced + 1)
        self._ring.mkdir(parents=True, exist_ok=True)
        with self._news:
            self._beat, self._beat_given_ns = None, 0  # the first beat of a run is news at once
        arguments = ["-m", "edge_agent.drivers.cameras.child", str(os.getpid()), str(self._ring)]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a terminal's Ctrl-C is for the parent
        )
        run = _Run(process, spec)
        first = replace(spec, boot_id=self._boot_id, seq_floor=floor)
        with self._control:
            _write_line(process, first.to_json())
            self._send_cuts(run)
            self._run = run
        return run

    def _send_cuts(self, run: _Run) -> None:
        _write_line(run.process, json.dumps({"cuts": self._cuts}))

    def _end(self, run: _Run, readers: Sequence[threading.Thread]) -> None:
        """End the child: a hanging one at once, else within a second; then wait for its last output."""
        process = run.process
        with self._control:
            self._run = None
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        hangs = not run.over.is_set()
        try:
            process.wait(0 if hangs else END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()

    def _settle(self, run: _Run, *, stalled: bool) -> CaptureEnd:
        """Tell of segments the child could not tell of, and say how it ended."""
        end = _how_it_ended(run, stalled=stalled)
        recover_ring(self._ring)
        with self._news:
            for segment in list_ring(self._ring, self._boot8):
                if segment.name.startswith(self._boot8):
                    self._segment(run, SegmentClosed(segment))
            if self._ended is not None:
                self._ended = (self._ended[0], f"{end.kind}: {end.text}" if end.text else end.kind)
            self._news.notify_all()
        return end

    def _read_reports(self, run: _Run) -> None:
        for line in _lines(run.process.stdout):
            try:
                report = report_from_json(line)
            except BadValueError as error:
                report = Warned(f"the capture child said something odd: {error}")
            with self._news:
                run.heard(report)
                self._keep(run, report)
                self._news.notify_all()
        run.over.set()

    def _read_stderr(self, run: _Run) -> None:
        for line in _lines(run.process.stderr):
            run.last_words.append(line)
            if self._on_stderr is not None:
                self._on_stderr(line)

    def _keep(self, run: _Run, report: Report) -> None:
        match report:
            case Beat():
                self._beat = report
            case SegmentClosed() | SegmentOpen():
                self._segment(run, report)
            case _:
                self._reports.append(report)

    def _segment(self, run: _Run, report: SegmentClosed | SegmentOpen) -> None:
        segment = report.segment
        seq = int(segment.name[9:])
        if seq <= self._announced:
            return
        if not run.continues and self._ended is not None and segment.t0_ns > self._ended[0]:
            self._reports.append(Lost(self._ended[0], segment.t0_ns, self._ended[1]))
        run.continues = True
        older = [kept for kept in self._reports if isinstance(kept, SegmentOpen)]
        for kept in older:
            if kept.segment.name == segment.name:
                self._reports.remove(kept)
        self._reports.append(report)
        if isinstance(report, SegmentClosed):
            self._announced = seq
            self._ended = (segment.end_ns, "capture restarted")

    def _has_news(self) -> bool:
        fresh = self._beat is not None and time.monotonic_ns() - self._beat_given_ns >= NS_PER_S
        return bool(self._reports) or fresh


def _watch(run: _Run) -> bool:
    """Wait until the run is over; True when it is because frames stopped."""
    while True:
        left_ns = run.deadline_ns - time.monotonic_ns()
        if left_ns <= 0:
            return True
        # In short steps: a beat may bring the deadline nearer.
        if run.over.wait(min(left_ns, BEAT_NS) / NS_PER_S):
            return False


def _how_it_ended(run: _Run, *, stalled: bool) -> CaptureEnd:
    if run.stopping:
        return CaptureEnd("stopped", "", run.frames)
    if run.failed is not None:
        return CaptureEnd(run.failed.kind, run.failed.text, run.frames)
    if stalled:
        return CaptureEnd("stall", "frames stopped" if run.frames else "no first frame", run.frames)
    said = run.last_words[-1] if run.last_words else ""
    return CaptureEnd("exit", f"capture child ended with {run.process.returncode} {said}".strip(), run.frames)


def _environment() -> dict[str, str]:
    """The child's environment: this package importable, nobody's keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    root = str(Path(edge_agent.__file__).resolve().parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH")]))
    return kept


def _write_line(process: subprocess.Popen[bytes], line: str) -> None:
    """Write one control line. A child that just died is noticed by its end, not here."""
    if process.stdin is not None and not process.stdin.closed:
        with suppress(BrokenPipeError):
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()


def _lines(pipe: IO[bytes] | None) -> Iterator[str]:
    """Lines of a pipe up to its end; one without an end is cut at a megabyte."""
    if pipe is not None:
        with pipe:
            while line := pipe.readline(1 << 20):
                yield line.decode(errors="replace").rstrip("\n")
