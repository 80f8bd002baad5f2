"""The few calls of PyAV's output side that the film uses, typed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream


class Muxer(Protocol):
    """PyAV's OutputContainer, whose stubs leave these partly untyped."""

    def add_stream_from_template(self, template: VideoStream) -> VideoStream:
        """A stream with the same codec parameters."""
        ...

    def start_encoding(self) -> None:
        """Write the header."""
        ...

    def mux_one(self, packet: Packet[Stream]) -> None:
        """Write one packet; it must have a stream, times and a time base."""
        ...

    def close(self) -> None:
        """Write the trailer."""
        ...


def open_muxer(file: object, options: dict[str, str], buffer_bytes: int) -> Muxer:
    """An MP4 muxer that writes through a file object; nothing is written yet."""
    return cast("Muxer", av.open(file, "w", format="mp4", options=options, buffer_size=buffer_bytes))


def new_packet(
    content: int | bytes, stream: VideoStream, time: int, duration: int, time_base: Fraction, *, key: bool
) -> Packet[Stream]:
    """A packet in presentation order; an integer as content makes one of that size with any data."""
    packet: Packet[Any] = Packet(content)
    packet.stream = stream
    packet.time_base = time_base
    packet.pts = packet.dts = time
    packet.duration = duration
    packet.is_keyframe = key
    return packet
