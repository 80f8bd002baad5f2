"""Reading slot files: their format, and their packets as they are."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from edge_agent.drivers.film.errors import SlotUnreadable
from edge_agent.drivers.film.muxer import open_muxer

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

READ_BUFFER_BYTES = 1 << 20
_READ_OPTIONS = {"ignore_editlst": "1"}
_NAL_SPS, _NAL_PPS = 7, 8
# No btrt, no edit list, no dates and no library names: the same input gives the same bytes.
_INIT_OPTIONS = {
    "movflags": "empty_moov+frag_keyframe+default_base_moof",
    "write_btrt": "0",
    "use_editlist": "0",
    "fflags": "+bitexact",
}


@dataclass(frozen=True)
class FilmFormat:
    """What must be equal in all slots of a film, and the frames of this file (sizes in bytes)."""

    width: int
    height: int
    fps: Fraction
    """Exact where all frame times are equally spaced, else the mean; compares equal to an integer."""
    sps: bytes
    pps: bytes
    length_bytes: int
    """Width of the length prefix of each NAL unit, 1 to 4."""
    frames: int
    keys: tuple[bool, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class SlotMedia:
    """A slot file in memory; `init` is an MP4 without frames that describes its stream."""

    format: FilmFormat
    packets: tuple[bytes, ...] = field(repr=False)
    init: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hex digest over the data of all packets."""
        return packets_sha256(self.packets)

    def pick(self, picks: tuple[int, ...]) -> SlotMedia:
        """Only these frames."""
        whole = self.format
        found = replace(
            whole,
            frames=len(picks),
            keys=tuple(whole.keys[k] for k in picks),
            sizes=tuple(whole.sizes[k] for k in picks),
        )
        return replace(self, format=found, packets=tuple(self.packets[k] for k in picks))


def packets_sha256(packets: tuple[bytes, ...]) -> str:
    """Hex digest over the concatenated packets."""
    digest = hashlib.sha256()
    for data in packets:
        digest.update(data)
    return digest.hexdigest()


def read_format(path: Path) -> FilmFormat:
    """Read a slot file's format and frame list.

    Reads the whole file. Nothing is decoded.

    Raises:
        SlotUnreadable: missing, no MP4 with H.264 in avcC form, cut short, reordered, no key frame first.
    """
    return read_slot(path).format


def read_slot(path: Path) -> SlotMedia:
    """Read a slot file into memory; same errors as `read_format`."""
    try:
        # Through a file object: a path can then never be taken for a protocol (`concat:`, `http:`).
        with (
            path.open("rb") as file,
            av.open(
                file, "r", format="mp4", options=_READ_OPTIONS, buffer_size=READ_BUFFER_BYTES
            ) as container,
        ):
            if not container.streams.video:
                raise SlotUnreadable(f"{path.name}: no video stream")
            return _read_stream(container, container.streams.video[0], path.name)
    except (FFmpegError, OSError) as error:
        raise SlotUnreadable(f"{path.name}: {error}") from error


def _read_stream(container: InputContainer, stream: VideoStream, name: str) -> SlotMedia:
    context = stream.codec_context
    if context.name != "h264":
        raise SlotUnreadable(f"{name}: codec is {context.name}, not h264")
    sps, pps, length_bytes = _parse_avcc(context.extradata or b"", name)
    packets: list[bytes] = []
    keys: list[bool] = []
    pts: list[int] = []
    duration = 0
    for packet in container.demux(stream):
        if packet.dts is None or packet.pts is None:
            continue  # the empty packet that ends a demux
        if packet.is_corrupt or packet.dts != packet.pts or (pts and packet.pts <= pts[-1]):
            raise SlotUnreadable(f"{name}: frame {len(pts)} is damaged or out of order")
        data = bytes(packet)
        _check_nals(data, sps, pps, length_bytes, f"{name}: frame {len(pts)}")
        packets.append(data)
        keys.append(packet.is_keyframe)
        pts.append(packet.pts)
        duration = packet.duration or 0
    if not packets or not keys[0]:
        raise SlotUnreadable(f"{name}: no frames, or the first is no key frame")
    fps = _rate(pts, duration, stream.time_base or Fraction(1))
    sizes = tuple(len(data) for data in packets)
    found = FilmFormat(
        context.width, context.height, fps, sps, pps, length_bytes, len(packets), tuple(keys), sizes
    )
    return SlotMedia(found, tuple(packets), _init_segment(stream))


def _rate(pts: list[int], last_duration: int, time_base: Fraction) -> Fraction:
    """Frames per second; with a single frame its own duration decides."""
    ticks = Fraction(pts[-1] - pts[0], len(pts) - 1) if len(pts) > 1 else Fraction(last_duration)
    return 1 / (ticks * time_base) if ticks else Fraction(0)


def _parse_avcc(extradata: bytes, name: str) -> tuple[bytes, bytes, int]:
    """SPS and PPS (several are concatenated) and the width of the length prefix, from an avcC record."""
    if len(extradata) < 7 or extradata[0] != 1:
        raise SlotUnreadable(f"{name}: no avcC record (Annex B is not accepted)")
    position = 5
    sets: list[bytes] = []
    try:
        for mask in (0x1F, 0xFF):
            count = extradata[position] & mask
            position += 1
            joined = b""
            for _ in range(count):
                size = int.from_bytes(extradata[position : position + 2], "big")
                joined += extradata[position + 2 : position + 2 + size]
                position += 2 + size
            sets.append(joined)
    except IndexError as error:
        raise SlotUnreadable(f"{name}: avcC record is cut short") from error
    return sets[0], sets[1], (extradata[4] & 3) + 1


def _nals(data: bytes, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Start and end of each NAL unit; the last end tells whether the lengths add up."""
    position = 0
    while position < len(data):
        start = position + length_bytes
        position = start + int.from_bytes(data[position:start], "big")
        yield start, position


def _check_nals(data: bytes, sps: bytes, pps: bytes, length_bytes: int, where: str) -> None:
    end = 0
    for start, end in _nals(data, length_bytes):
        kind = data[start] & 0x1F if start < len(data) else 0
        known = {_NAL_SPS: sps, _NAL_PPS: pps}.get(kind)
        if known is not None and data[start:end] not in known:
            raise SlotUnreadable(f"{where}: carries a parameter set that its header does not have")
    if not data or end != len(data):
        raise SlotUnreadable(f"{where}: NAL lengths do not add up")


def _init_segment(stream: VideoStream) -> bytes:
    """An MP4 of this stream without frames: the ledger makes the same muxer from it, without a slot file."""
    buffer = io.BytesIO()
    output = open_muxer(buffer, _INIT_OPTIONS, READ_BUFFER_BYTES)
    output.add_stream_from_template(stream)
    output.start_encoding()
    init = buffer.getvalue()
    output.close()
    return init
