"""The muxer behind one film: packets in, whole fragments out, and the same bytes every time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import av
from av.error import FFmpegError

from edge_agent.drivers.film.errors import ReplayMismatch
from edge_agent.drivers.film.muxer import new_packet, open_muxer
from edge_agent.drivers.film.sink import FilmSink

LIBRARIES = f"av {av.__version__}, libavformat {'.'.join(map(str, av.library_versions['libavformat']))}"
"""The muxer's bytes are only the same again with the same libraries."""

_OPTIONS = {
    "movflags": "hybrid_fragmented+empty_moov+frag_keyframe+default_base_moof",
    "flush_packets": "1",
    "write_btrt": "0",
    "use_editlist": "0",
    "fflags": "+bitexact",
}
_BUFFER_BYTES = 1 << 20
_US = 1_000_000


class Frame(NamedTuple):
    """A frame as the muxer sees it: `time` and `duration` in frames, or in microseconds in a timed film."""

    size: int
    key: bool
    time: int
    duration: int
    data: bytes | None = None
    """None repeats a frame that the film has already: only its size counts."""


class FilmWriter:
    """One muxer on one sink. Writes the header at once. Every method may raise the sink's OSError."""

    def __init__(self, sink: FilmSink, init: bytes, *, fps: int, timed: bool) -> None:
        self.sink = sink
        self._template = av.open(io.BytesIO(init), "r", format="mp4")
        self._output = open_muxer(sink, _OPTIONS, _BUFFER_BYTES)
        self._stream = self._output.add_stream_from_template(self._template.streams.video[0])
        unit = Fraction(1, _US) if timed else Fraction(1, fps)
        self._stream.time_base = unit
        sink.armed = True
        self._output.start_encoding()
        sink.armed = False
        self._time_base = self._stream.time_base or unit
        ticks = unit / self._time_base
        if ticks.denominator != 1:
            raise ReplayMismatch(f"the muxer's time base {self._time_base} does not hold {unit} exactly")
        self._ticks = ticks.numerator
        self.frames = 0
        self.head_bytes = sink.end_bytes

    def mux(self, frame: Frame) -> int | None:
        """Hand over one frame; its offset if that ended a fragment, as each key frame but the first does."""
        packet = new_packet(
            frame.size if frame.data is None else frame.data,
            self._stream,
            frame.time * self._ticks,
            frame.duration * self._ticks,
            self._time_base,
            key=frame.key,
        )
        before = self.sink.end_bytes
        self.sink.armed = True
        try:
            self._output.mux_one(packet)
        finally:
            self.sink.armed = False
        ends = frame.key and self.frames > 0
        if ends != (self.sink.end_bytes > before):
            raise ReplayMismatch(f"a fragment ended at the wrong frame: {self.frames}")
        self.frames += 1
        return self.sink.end_bytes if ends else None

    def finish(self) -> int:
        """Write the last fragment and the index; the film's size. The writer is spent."""
        self.sink.armed = True
        try:
            self._output.close()
        finally:
            self.sink.armed = False
        self._template.close()
        return self.sink.end_bytes

    def discard(self) -> None:
        """Throw the muxer away; nothing reaches the film."""
        with contextlib.suppress(FFmpegError):  # a muxer that met a disk error says so again
            self._output.close()
        self._template.close()


def frames_of(
    sizes: tuple[int, ...],
    keys: tuple[int, ...],
    times_us: tuple[int, ...] | None,
    *,
    first: int,
    fps: int,
) -> Iterator[Frame]:
    """The frames of a slot, without data: frame `first + k` at exactly its number, or at its own time."""
    key_set = set(keys)
    for k, size in enumerate(sizes):
        if times_us is None:
            yield Frame(size, k in key_set, first + k, 1)
        else:
            last = k + 1 == len(times_us)
            duration = round(_US / fps) if last else times_us[k + 1] - times_us[k]
            yield Frame(size, k in key_set, times_us[k], duration)


def pick_frames(times_us: Sequence[int | None], keys: Sequence[bool]) -> list[tuple[int, int]]:
    """Index and time of the frames to keep: after one without a valid time none before the next key frame."""
    kept: list[tuple[int, int]] = []
    decodable = True
    for k, (time_us, key) in enumerate(zip(times_us, keys, strict=True)):
        if time_us is None or time_us < 0:
            decodable = False
        elif decodable or key:
            decodable = True
            kept.append((k, time_us))
    return kept
