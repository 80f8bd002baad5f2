"""The capture child: `python -m edge_agent.drivers.cameras.child PARENT_PID RING`.

Standard input: the CaptureSpec as one line, then control lines (`{"cuts": [monotonic ns, ...]}`); its end
means stop. Standard output: one report per line (`base.Report`). Standard error is for libraries.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.drivers.cameras.lifeline import die_with_parent

if TYPE_CHECKING:
    from edge_agent.drivers.cameras.base import CameraBackend, CaptureSpec, Report
    from edge_agent.drivers.cameras.grid import SplitGrid


class Reporter:
    """Writes report lines, whole, from any thread. A parent that is gone ends the process."""

    def __init__(self, descriptor: int) -> None:
        """Write to this file descriptor."""
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, report: Report) -> None:
        """Write one line, blocking until the parent has room for it."""
        from edge_agent.drivers.cameras.base import report_to_json  # noqa: PLC0415 after the lifeline

        line = memoryview(report_to_json(report).encode() + b"\n")
        with self._lock:
            while line:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except BrokenPipeError:
                    os._exit(1)


def backend_for(spec: CaptureSpec) -> CameraBackend:
    """Make the backend the spec names. Imports only that one. Raises CaptureError.

    `picamera2` gets its module here (`picamera.py`): `FrameSink.split_due` answers `force_key_frame()`, its
    encoder's access units and SensorTimestamp go to `FrameSink.write`, `encoder.template_of` makes the
    template.
    """
    from edge_agent.drivers.cameras.base import CaptureError  # noqa: PLC0415 start time

    if spec.backend == "simulated":
        from edge_agent.drivers.cameras.simulated import SimulatedCamera  # noqa: PLC0415 start time

        return SimulatedCamera(spec)
    if spec.backend == "stream":
        from edge_agent.drivers.cameras.stream import StreamCamera  # noqa: PLC0415 start time

        return StreamCamera(spec)
    raise CaptureError("format", f"no camera backend named {spec.backend!r} on this device")


def obey(line: str, grid: SplitGrid) -> None:
    """Carry out one control line. Raises BadValueError."""
    from edge_agent.drivers.cameras.base import parse_object, whole_numbers  # noqa: PLC0415 start time

    grid.set_cuts(whole_numbers(parse_object(line).get("cuts"), "cuts"))


def _listen(grid: SplitGrid, stop: threading.Event, report: Reporter) -> None:
    from edge_agent.drivers.cameras.base import BadValueError, Warned  # noqa: PLC0415 start time

    for line in sys.stdin:
        try:
            obey(line, grid)
        except BadValueError as error:
            report(Warned(f"control line refused: {error}"))
    stop.set()


def capture(spec: CaptureSpec, ring: Path, grid: SplitGrid, stop: threading.Event, report: Reporter) -> int:
    """Run the backend until it ends or `stop` is set. Returns the exit code."""
    from edge_agent.drivers.cameras.base import CaptureError, Failed, Warned  # noqa: PLC0415 start time
    from edge_agent.drivers.cameras.segmenter import Segmenter  # noqa: PLC0415 start time

    try:
        sink = Segmenter(spec, ring, grid, report)
    except OSError as error:
        report(Failed("io", f"ring folder: {error.strerror}"))
        return 1
    if spec.rotation:
        report(Warned(f"rotation {spec.rotation}: not applied by the {spec.backend} backend"))
    try:
        backend_for(spec).run(sink, stop)
    except CaptureError as error:
        sink.close()
        report(Failed(error.kind, error.text))
        return 1
    sink.close()
    return 0


def main(argv: Sequence[str]) -> int:
    """Entry point; see the module's text."""
    die_with_parent(int(argv[1]))
    from edge_agent.drivers.cameras.base import NS_PER_S, BadValueError, CaptureSpec, Failed  # noqa: PLC0415 as above
    from edge_agent.drivers.cameras.grid import SplitGrid  # noqa: PLC0415 as above

    report = Reporter(sys.stdout.fileno())
    try:
        spec = CaptureSpec.from_json(sys.stdin.readline())
    except BadValueError as error:
        report(Failed("format", f"capture spec: {error}"))
        return 1
    grid = SplitGrid(round(spec.segment_s * NS_PER_S))
    stop = threading.Event()
    threading.Thread(target=_listen, args=(grid, stop, report), daemon=True).start()
    code = capture(spec, Path(argv[2]), grid, stop, report)
    sys.stderr.flush()
    # The listening thread holds a lock on standard input that a normal exit would wait for.
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv)
