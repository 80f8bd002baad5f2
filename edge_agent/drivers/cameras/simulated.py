"""The simulated camera: an instrument that delivers a known picture at known times, and fails when told to.

Every frame carries a code that a decoder reads from the finished film (layout: `court.code_bits`).
"""

from __future__ import annotations

import time

from edge_agent.drivers.cameras.base import NS_PER_S, CaptureError, CaptureSpec, FrameSink, Source, StopSign
from edge_agent.drivers.cameras.court import CourtPicture
from edge_agent.drivers.cameras.encoder import NAME, Coded, Encoder
from edge_agent.drivers.cameras.grid import wall_offset_ns
from edge_agent.drivers.cameras.scenario import FrameClock, Scenario

# A camera has few buffers: what is later than this is dropped, as a sensor would.
LATE_NS = NS_PER_S // 2


class SimulatedCamera:
    """`CameraBackend` that draws its frames in real time on the wall clock's grid."""

    def __init__(self, spec: CaptureSpec) -> None:
        """Check size and scenario. Raises CaptureError(format)."""
        if spec.width % 2 or spec.height % 2 or spec.width < 160 or spec.height < 90:
            raise CaptureError("format", f"simulated camera: no picture of {spec.width}x{spec.height}")
        self._spec = spec
        self._scenario = Scenario.parse(spec.scenario, spec.camera, time.monotonic_ns())

    def run(self, sink: FrameSink, stop: StopSign) -> None:
        """Deliver frames until stopped; raises CaptureError(absent) while the scenario says it vanished."""
        spec, scenario = self._spec, self._scenario
        self._vanish(time.monotonic_ns())
        offset_ns = wall_offset_ns()
        clock = FrameClock(scenario, spec.fps, offset_ns)
        picture = CourtPicture(spec.camera, spec.width, spec.height)
        if scenario.grain > 0:
            picture.gather_crowd(scenario.grain)
        encoder = Encoder(spec.width, spec.height, spec.fps, spec.bitrate_bps, spec.segment_s)
        started = False
        frame = clock.next_after(time.monotonic_ns())
        base_ns = clock.due_ns(frame)
        while not stop.is_set():
            due_ns = clock.due_ns(frame)
            self._vanish(due_ns)
            late_ns = time.monotonic_ns() - due_ns
            if late_ns < 0 and stop.wait(-late_ns / NS_PER_S):
                return
            if late_ns > LATE_NS or scenario.hits("drops", frame) or scenario.within(scenario.stalls, due_ns):
                frame += 1
                continue
            repeated = self._show(picture, frame, due_ns, due_ns + offset_ns, first=not started)
            key = sink.split_due(due_ns)
            coded = encoder.encode(picture.frame, (due_ns - base_ns) // 1000, key=key)
            if not started:
                sink.start(self._source(encoder, coded))
                started = True
            sink.write(coded.payload, due_ns, key=coded.key, repeated=repeated)
            frame += 1

    def _show(self, picture: CourtPicture, frame: int, due_ns: int, wall_ns: int, *, first: bool) -> bool:
        """Bring the picture to what this frame shows; True when it repeats the one before."""
        scenario = self._scenario
        if scenario.within(scenario.black, due_ns):
            picture.blacken()
            return False
        if not first and scenario.within(scenario.frozen, due_ns):
            return False  # a frozen sensor does not know it is frozen
        if not first and scenario.hits("duplicates", frame):
            return True
        picture.draw(frame, due_ns, wall_ns)
        return False

    def _source(self, encoder: Encoder, first: Coded) -> Source:
        spec = self._spec
        return Source(
            width=spec.width,
            height=spec.height,
            fps=float(spec.fps),
            encoder=NAME,
            device=f"simulated {spec.camera}",
            stamp="sensor",
            key_forced=True,
            template=encoder.template(first),
        )

    def _vanish(self, mono_ns: int) -> None:
        if self._scenario.within(self._scenario.vanish, mono_ns):
            raise CaptureError("absent", "simulated camera: unplugged by its scenario")
