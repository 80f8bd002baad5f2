"""The child's writing side: coded frames in, segments in the ring out, every one of them reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol, cast

import av
from av.stream import Stream
from av.video.stream import VideoStream

from edge_agent.drivers.cameras.base import (
    NS_PER_S,
    Beat,
    CaptureSpec,
    Lost,
    Report,
    SegmentClosed,
    SegmentFile,
    SegmentOpen,
    Source,
    Started,
    Warned,
)
from edge_agent.drivers.cameras.grid import SplitGrid
from edge_agent.drivers.cameras.ring import (
    FrameTime,
    RingBound,
    describe,
    next_seq,
    recover_segment,
    remove_segment,
    stem_of,
    write_segment,
)

BEAT_NS = NS_PER_S // 4
GAP_NS = NS_PER_S // 2
_TIME_BASE = Fraction(1, 1_000_000)
_MUXER = {
    "movflags": "empty_moov+default_base_moof+frag_every_frame+skip_trailer",
    "flush_packets": "1",
    "video_track_timescale": "1000000",
    "use_editlist": "0",
    "write_btrt": "0",
}


class _Film:
    """An unbuffered file that knows how much is written; PyAV writes through one."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self.bytes = 0

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            done = os.write(self._descriptor, view)
            self.bytes += done
            view = view[done:]
        return len(data)

    def close(self) -> None:
        """Idempotent: a number closed twice might be another file's by then."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Muxer(Protocol):
    """The part of PyAV's output container used here; its own types are incomplete."""

    def add_stream_from_template(self, template: VideoStream, *, opaque: bool) -> VideoStream: ...
    def mux_one(self, packet: av.Packet[Stream]) -> None: ...
    def close(self) -> None: ...


class OpenSegment:
    """One segment while it grows. Every method raises OSError when the ring is full."""

    def __init__(self, ring: Path, head: SegmentFile, template: VideoStream) -> None:
        """Create the film and its `.times`."""
        self.head = head
        self.times: list[FrameTime] = []
        self._period_us = round(1_000_000 / head.fps)
        self._flushed_bytes = 0
        self._film = _Film(ring / f"{head.name}.mp4")
        try:
            self._times = _Film(ring / f"{head.name}.times")
        except OSError:
            self._film.close()
            raise
        self._muxer = cast("_Muxer", av.open(self._film, "w", format="mp4", options=_MUXER))
        self._stream = self._muxer.add_stream_from_template(template, opaque=True)
        self._stream.time_base = _TIME_BASE
        try:
            self._times.write(head.to_json().encode() + b"\n")
        except OSError:
            self.release()
            raise

    def add(self, payload: bytes, frame: FrameTime, *, key: bool) -> None:
        """Append one frame, its time first. The muxer flushes each frame when it is given the next."""
        self._times.write(frame.line())
        packet = av.Packet(payload)
        packet.stream = self._stream
        packet.time_base = _TIME_BASE
        packet.pts = packet.dts = (frame.mono_ns - (self.times or [frame])[0].mono_ns) // 1000
        packet.duration = self._period_us
        packet.is_keyframe = key
        self._muxer.mux_one(packet)
        self._flushed_bytes = self._film.bytes
        self.times.append(frame)

    def so_far(self) -> SegmentFile | None:
        """Describe what is flushed: every frame but the newest, which is where it goes on.

        None below two frames.
        """
        if len(self.times) < 2:
            return None
        newest = self.times[-1]
        known = describe(self.head, self.times[:-1], self._flushed_bytes, newest.mono_ns, newest.missing)
        return replace(known, open=True)

    def close(self, end_ns: int | None, missing_after: int) -> SegmentFile:
        """Finish the film and describe it."""
        self._muxer.close()
        segment = describe(self.head, self.times, self._film.bytes, end_ns, missing_after)
        self.release()
        return segment

    def release(self) -> None:
        """Give the files back, whatever state they are in. Idempotent."""
        with suppress(OSError, ValueError):
            self._muxer.close()
        self._film.close()
        self._times.close()


class Segmenter:
    """The `FrameSink` of the child."""

    def __init__(
        self, spec: CaptureSpec, ring: Path, grid: SplitGrid, emit: Callable[[Report], None]
    ) -> None:
        """Find the next number from the folder. Reads the ring."""
        self._spec = spec
        self._ring = ring
        self._grid = grid
        self._emit = emit
        self._bound = RingBound(ring, spec.boot8, round(spec.ring_s * NS_PER_S), spec.ring_bytes)
        self._seq = next_seq(ring, spec.boot8, spec.seq_floor)
        self._source: Source | None = None
        self._open: OpenSegment | None = None
        self._split = True
        self._need_key = True
        self._last_ns: int | None = None
        self._lost_from: int | None = None
        self._frames = 0
        self._dropped = 0
        self._beat_ns = 0
        self._beat_frames = 0
        self._open_said_ns = 0

    def start(self, source: Source) -> None:
        """Report the source; a second call (after a change of mode) begins a new segment."""
        self.close()
        self._source = source
        self._split = True
        self._emit(
            Started(source.width, source.height, source.fps, source.encoder, source.device, source.stamp)
        )

    def warn(self, text: str) -> None:
        """Report something a person should know."""
        self._emit(Warned(text))

    def split_due(self, mono_ns: int) -> bool:
        """Ask the grid; remembered until a key frame comes."""
        self._split = self._grid.passes(mono_ns) or self._split
        return self._split or self._need_key

    def write(
        self, payload: bytes, mono_ns: int, *, key: bool, missing: int | None = None, repeated: bool = False
    ) -> None:
        """Store one frame; see `FrameSink.write`."""
        source = self._source
        if source is None:
            raise RuntimeError("a frame before the source")
        frame = FrameTime(mono_ns, self._missing(mono_ns, missing, source), repeated)
        self._say_gap(mono_ns, source)
        self._last_ns = mono_ns
        if self._need_key and not key:
            return
        try:
            self._store(payload, frame, source, key=key)
        except OSError as error:
            self._make_room(mono_ns, error)
            return
        self._stored(mono_ns)

    def close(self) -> None:
        """End the open segment where it is. Idempotent."""
        if self._open is not None:
            try:
                self._finish(None, 0)
            except OSError as error:
                self._make_room(self._last_ns or 0, error)
        self._need_key = True

    def _store(self, payload: bytes, frame: FrameTime, source: Source, *, key: bool) -> None:
        if key and (self._split or self._need_key):
            if self._open is not None:
                self._finish(frame.mono_ns, frame.missing)
            self._open = self._begin(source)
            self._split = self._need_key = False
            self._open_said_ns = frame.mono_ns
        if self._open is None:
            raise RuntimeError("no key frame yet")
        self._open.add(payload, frame, key=key)

    def _stored(self, mono_ns: int) -> None:
        self._frames += 1
        if self._lost_from is not None:
            self._emit(Lost(self._lost_from, mono_ns, "ring full"))
            self._lost_from = None
        if mono_ns - self._beat_ns >= BEAT_NS:
            since_ns, frames = mono_ns - self._beat_ns, self._frames - self._beat_frames
            fps = frames * NS_PER_S / since_ns if self._beat_ns else 0.0
            self._beat_ns, self._beat_frames = mono_ns, self._frames
            self._emit(Beat(self._frames, mono_ns, self._dropped, round(fps, 2)))
        self._say_open(mono_ns)

    def _say_open(self, mono_ns: int) -> None:
        if self._open is None or self._open.head.key_forced:
            return
        if mono_ns - self._open_said_ns >= self._spec.segment_s * NS_PER_S:
            self._open_said_ns = mono_ns
            known = self._open.so_far()
            if known is not None:
                self._emit(SegmentOpen(known))

    def _begin(self, source: Source) -> OpenSegment:
        head = SegmentFile(
            name=stem_of(self._spec.boot8, self._seq),
            boot_id=self._spec.boot_id,
            clock="monotonic",
            stamp=source.stamp,
            t0_ns=0,
            offsets_us=(),
            end_ns=0,
            dropped=0,
            duplicated=0,
            bytes=0,
            frames=0,
            wall_offset_ns=self._grid.wall_offset_ns,
            width=source.width,
            height=source.height,
            fps=source.fps,
            open=True,
            key_forced=source.key_forced,
        )
        self._seq += 1
        try:
            return OpenSegment(self._ring, head, source.template)
        except OSError:
            remove_segment(self._ring, head.name)
            raise

    def _finish(self, end_ns: int | None, missing_after: int) -> None:
        segment_file = self._open
        if segment_file is None:
            return
        segment = segment_file.close(end_ns, missing_after)
        write_segment(self._ring, segment)
        self._open = None
        self._bound.add(segment)
        self._emit(SegmentClosed(segment))

    def _make_room(self, mono_ns: int, error: OSError) -> None:
        """The ring is full: keep what is whole, drop the two oldest segments, go on with a key frame."""
        if self._lost_from is None:
            self._lost_from = mono_ns
            self._emit(Warned(f"ring: {error.strerror or 'write failed'}; dropping oldest segments"))
        broken, self._open = self._open, None
        self._need_key = True
        self._bound.drop_oldest()
        self._bound.drop_oldest()
        if broken is None:
            return
        broken.release()
        with suppress(OSError):  # found again by recover_ring, or gone with the ring
            segment = recover_segment(self._ring, broken.head.name)
            if segment is not None:
                self._lost_from = min(self._lost_from, segment.end_ns)
                self._bound.add(segment)
                self._emit(SegmentClosed(segment))

    def _missing(self, mono_ns: int, told: int | None, source: Source) -> int:
        missing = told or 0
        if told is None and self._last_ns is not None and source.stamp != "arrival":
            missing = max(0, round((mono_ns - self._last_ns) * source.fps / NS_PER_S) - 1)
        self._dropped += missing
        return missing

    def _say_gap(self, mono_ns: int, source: Source) -> None:
        least_ns = max(GAP_NS, round(3 * NS_PER_S / source.fps))
        if self._last_ns is not None and mono_ns - self._last_ns >= least_ns:
            self._emit(Lost(self._last_ns, mono_ns, "no frames came"))
