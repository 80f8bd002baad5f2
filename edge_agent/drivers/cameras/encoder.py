"""H.264 for sources that deliver pictures: no B frames, no lookahead, key frames wherever asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, cast

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from edge_agent.drivers.cameras.base import CaptureError

NAME = "libx264 ultrafast"
_TIME_BASE = Fraction(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class Coded:
    """One coded frame, Annex B."""

    payload: bytes
    key: bool


class _Packet(Protocol):
    is_keyframe: bool

    def __bytes__(self) -> bytes: ...


class _Coder(Protocol):
    """The part of PyAV's codec context used here; its own types are incomplete."""

    def encode(self, picture: VideoFrame) -> Sequence[_Packet]: ...


class Encoder:
    """x264, one frame in, one frame out at once. Constant quality, capped at the bit rate."""

    def __init__(self, width: int, height: int, fps: float, bitrate_bps: int, segment_s: float) -> None:
        """Open the encoder; even sizes only. Raises CaptureError(format)."""
        context: VideoCodecContext = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = _TIME_BASE
        context.framerate = Fraction(fps).limit_denominator(1001)
        context.gop_size = max(1, round(fps * segment_s))
        context.max_b_frames = 0
        context.thread_count = 1
        context.flags |= Flags.global_header
        kbps = max(64, bitrate_bps // 1000)
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "crf": "23",
            "maxrate": f"{kbps}k",
            "bufsize": f"{kbps}k",
            "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv",
        }
        try:
            context.open()
        except (OSError, ValueError) as error:
            raise CaptureError("format", f"no H.264 at {width}x{height}: {type(error).__name__}") from error
        self._context = context

    def encode(self, picture: VideoFrame, pts_us: int, *, key: bool) -> Coded:
        """Encode one picture. Its planes may be reused as soon as this returns."""
        picture.pts = pts_us
        picture.time_base = _TIME_BASE
        picture.pict_type = PictureType.I if key else PictureType.NONE
        packets = cast("_Coder", self._context).encode(picture)
        if len(packets) != 1:
            raise CaptureError("io", f"the encoder gave {len(packets)} frames for one")
        return Coded(bytes(packets[0]), packets[0].is_keyframe)

    def template(self, first: Coded) -> VideoStream:
        """Make a stream with this encoder's parameter sets out of its first key frame."""
        return template_of((self._context.extradata or b"") + first.payload)


def template_of(annexb: bytes) -> VideoStream:
    """Make a stream to copy the parameters of from Annex B bytes: parameter sets and one key frame."""
    try:
        return av.open(io.BytesIO(annexb), format="h264").streams.video[0]
    except (OSError, ValueError, IndexError) as error:
        raise CaptureError("format", "the encoder's output is no H.264") from error
