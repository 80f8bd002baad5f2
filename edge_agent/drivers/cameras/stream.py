"""The stream camera: any address or file that ffmpeg reads.

H.264 without B frames is copied, all else encoded once.

Frames are stamped with their arrival on the monotonic clock. A file is paced by its own times and begins
again at its end; its frames are stamped with the moment they are due. Sound is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import av
from av.container.input import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge_agent.drivers.cameras.address import Address, check_address
from edge_agent.drivers.cameras.base import NS_PER_S, CaptureError, CaptureSpec, FrameSink, Source, StopSign
from edge_agent.drivers.cameras.encoder import NAME, Encoder

_T = TypeVar("_T")

TIMEOUT_S = 5.0
LATE_NS = NS_PER_S // 2
_SCRIPTS = {"concat", "lavfi", "image2", "sdp"}


class _NeedsEncodingError(Exception):
    """The packets cannot be copied after all: pictures arrive out of order."""


class Pacer:
    """Gives every frame its capture time: now, or for files the moment it is due, slept until."""

    def __init__(self, stop: StopSign, *, paced: bool, period_ns: int) -> None:
        """`period_ns` is used where a frame has no time of its own."""
        self._stop = stop
        self._paced = paced
        self._period_ns = period_ns
        self._last_ns = 0
        self._shift_ns: int | None = None
        self._last_media_ns: int = 0
        self._resume_ns: int | None = None

    def rewind(self) -> None:
        """The file begins again: its next frame is due one period after the last one."""
        self._shift_ns = None
        self._resume_ns = self._last_ns + self._period_ns

    def stamp(self, media_ns: int | None) -> int:
        """Return the capture time of the frame with this time of its own; always rising."""
        now = time.monotonic_ns()
        if not self._paced:
            self._last_ns = max(now, self._last_ns + 1000)
            return self._last_ns
        if media_ns is None:
            media_ns = self._last_media_ns + self._period_ns
        self._last_media_ns = media_ns
        if self._shift_ns is None:
            start = self._resume_ns if self._resume_ns is not None else now
            self._shift_ns = start - media_ns
        due = media_ns + self._shift_ns
        if now - due > LATE_NS or due - now > 2 * NS_PER_S:  # fell behind, or a hole in the file's times
            self._shift_ns += now - due
            due = now
        if due > now:
            self._stop.wait((due - now) / NS_PER_S)
        self._last_ns = max(due, self._last_ns + 1000)
        return self._last_ns


class StreamCamera:
    """`CameraBackend` over PyAV.

    An address that ends or fails ends the run; the parent decides when to try again.
    """

    def __init__(self, spec: CaptureSpec) -> None:
        """Check the address. Raises CaptureError(format)."""
        self._spec = spec
        self._address = check_address(spec.url)

    def run(self, sink: FrameSink, stop: StopSign) -> None:
        """Capture until stopped; see `CameraBackend.run`."""
        with _open(self._address) as source:
            stream = _video_of(source, self._address)
            paced = self._address.scheme == "file" or (
                self._address.scheme in {"http", "https"} and (source.duration or 0) > 0
            )
            fps = float(stream.average_rate or stream.guessed_rate or self._spec.fps)
            pacer = Pacer(stop, paced=paced, period_ns=round(NS_PER_S / fps))
            context = stream.codec_context
            copies = context.name == "h264" and not context.has_b_frames and bool(context.extradata)
            feed = _Feed(source, stream, self._address, stop, pacer, loops=paced)
            try:
                if copies:
                    self._copy(feed, sink, fps)
                    return
            except _NeedsEncodingError:
                sink.warn("pictures arrive out of order: encoding instead of copying")
            self._encode(feed, sink, fps)

    def _copy(self, feed: _Feed, sink: FrameSink, fps: float) -> None:
        stream = feed.stream
        sink.start(self._source(stream, fps, "copy", stream))
        newest: int | None = None
        for packet in feed.packets():
            if packet.dts is not None and packet.pts is not None and packet.pts != packet.dts:
                raise _NeedsEncodingError
            missing = 0
            media_ns = feed.media_ns(packet.pts)
            if newest is not None and media_ns is not None and media_ns > newest:
                missing = max(0, min(1000, round((media_ns - newest) * fps / NS_PER_S) - 1))
            newest = media_ns
            stamp_ns = feed.pacer.stamp(media_ns)
            sink.split_due(stamp_ns)
            sink.write(bytes(packet), stamp_ns, key=packet.is_keyframe, missing=missing)

    def _encode(self, feed: _Feed, sink: FrameSink, fps: float) -> None:
        spec, stream = self._spec, feed.stream
        width, height = stream.width // 2 * 2, stream.height // 2 * 2
        encoder = Encoder(width, height, fps, spec.bitrate_bps, spec.segment_s)
        first_ns: int | None = None
        for picture in feed.pictures():
            stamp_ns = feed.pacer.stamp(feed.media_ns(picture.pts))
            # The decoder hands out times and types of its own: the encoder gets a picture without them.
            plain = picture.reformat(width=width, height=height, format="yuv420p")
            started = first_ns is not None
            first_ns = stamp_ns if first_ns is None else first_ns
            coded = encoder.encode(plain, (stamp_ns - first_ns) // 1000, key=sink.split_due(stamp_ns))
            if not started:
                sink.start(self._source(stream, fps, NAME, encoder.template(coded)))
            sink.write(coded.payload, stamp_ns, key=coded.key, missing=0)

    def _source(self, stream: VideoStream, fps: float, encoder: str, template: VideoStream) -> Source:
        return Source(
            width=stream.width // 2 * 2,
            height=stream.height // 2 * 2,
            fps=fps,
            encoder=encoder,
            device=self._address.shown,
            stamp="arrival",
            key_forced=encoder != "copy",
            template=template,
        )


class _Feed:
    """Reads one video stream, again and again when it loops."""

    def __init__(
        self,
        source: InputContainer,
        stream: VideoStream,
        address: Address,
        stop: StopSign,
        pacer: Pacer,
        *,
        loops: bool,
    ) -> None:
        self.stream = stream
        self.pacer = pacer
        self._source = source
        self._address = address
        self._stop = stop
        self._loops = loops

    def media_ns(self, pts: int | None) -> int | None:
        """A time of the stream in nanoseconds."""
        base = self.stream.time_base
        return None if pts is None or base is None else int(pts * base * NS_PER_S)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Whole packets, in coding order."""
        return self._again(self._packets_once)

    def pictures(self) -> Iterator[VideoFrame]:
        """Decoded pictures, in showing order."""
        self.stream.thread_type = "SLICE"
        return self._again(self._pictures_once)

    def _packets_once(self) -> Iterator[Packet[VideoStream]]:
        return (packet for packet in self._source.demux(self.stream) if packet.size)

    def _pictures_once(self) -> Iterator[VideoFrame]:
        for packet in self._source.demux(self.stream):
            try:
                yield from packet.decode()
            except InvalidDataError:
                continue  # a damaged picture; the next key frame heals it

    def _again(self, once: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        while not self._stop.is_set():
            came = False
            try:
                for item in once():
                    if self._stop.is_set():
                        return
                    came = True
                    yield item
            except (OSError, ValueError) as error:
                raise failure(error, self._address) from error
            if not self._loops:
                raise CaptureError("absent", f"{self._address.shown}: the stream ended")
            if not came:
                raise CaptureError("format", f"{self._address.shown}: no picture in it")
            self._source.seek(0)
            self.stream.codec_context.flush_buffers()
            self.pacer.rewind()


def _open(address: Address) -> InputContainer:
    options = {"protocol_whitelist": address.protocols}
    if address.scheme != "file":
        # Packets kept from probing would all be stamped with the moment they are handed out.
        options |= {"fflags": "nobuffer", "analyzeduration": "1000000"}
    if address.scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        return av.open(address.url, options=options, timeout=(TIMEOUT_S, TIMEOUT_S))
    except (OSError, ValueError) as error:
        raise failure(error, address) from error


def _video_of(source: InputContainer, address: Address) -> VideoStream:
    if source.format.name in _SCRIPTS or not source.streams.video:
        raise CaptureError("format", f"{address.shown}: no video in it ({source.format.name})")
    stream = source.streams.video[0]
    if stream.width < 16 or stream.height < 16:
        raise CaptureError("format", f"{address.shown}: a picture of {stream.width}x{stream.height}")
    return stream


def failure(error: Exception, address: Address) -> CaptureError:
    """Say in one line what went wrong with an address; libraries' own texts may hold its login."""
    said = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    text = f"{address.shown}: {said}"
    if isinstance(error, InvalidDataError | ValueError):
        return CaptureError("format", text)
    if isinstance(error, PermissionError | BlockingIOError):
        return CaptureError("busy", text)
    if address.scheme == "file" and not isinstance(error, FileNotFoundError):
        return CaptureError("io", text)
    return CaptureError("absent", text)
