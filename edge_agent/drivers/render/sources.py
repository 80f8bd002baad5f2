"""A plan's sources as one file per camera in which a picture's time stamp is its number: by stream copy."""

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from edge_agent.drivers.disk import PathRefused, open_beneath
from schemas.work import Source

# Segments have a whole header: while opening nothing is probed and (skip_frame) no picture decoded, which
# would take longer than copying all packets.
READ_OPTIONS = {"probesize": "32", "analyzeduration": "0", "skip_frame": "all", "ignore_editlist": "1"}
VideoPacket: TypeAlias = "Packet[VideoStream]"
_Kind = tuple[str, bytes, int, int]


@dataclass(frozen=True)
class Gathered:
    """One camera's files.

    Attributes:
        files: path, width and height of each; more than one only when a camera changed its coding.
        places: source number -> (number of its file, number of its first picture there).
        usable: path of a source -> pictures it really has; only of those that have fewer than stated.
    """

    files: tuple[tuple[Path, int, int], ...]
    places: Mapping[int, tuple[int, int]]
    usable: Mapping[str, int]


class _Muxer(Protocol):
    """PyAV's OutputContainer, whose stubs leave these partly untyped."""

    def add_stream_from_template(self, template: VideoStream) -> VideoStream: ...

    def mux_one(self, packet: VideoPacket) -> None: ...

    def close(self) -> None: ...


@dataclass
class _Writer:
    number: int
    path: Path
    muxer: _Muxer
    stream: VideoStream
    following: int = 0


@dataclass
class _Files:
    folder: Path
    camera: str
    fps: int
    stack: ExitStack
    by_kind: dict[_Kind, _Writer] = field(default_factory=dict[_Kind, _Writer])

    def of(self, stream: VideoStream) -> _Writer:
        """The file for pictures coded like those of a stream."""
        context = stream.codec_context
        kind = (context.name, context.extradata or b"", context.width, context.height)
        if kind not in self.by_kind:
            number = len(self.by_kind)
            path = self.folder / f"{self.camera}{number}.mp4"
            options = {"video_track_timescale": str(self.fps), "use_editlist": "0"}
            output = cast("_Muxer", av.open(str(path), "w", format="mp4", options=options))
            self.stack.callback(output.close)
            copy = output.add_stream_from_template(stream)
            copy.time_base = Fraction(1, self.fps)
            self.by_kind[kind] = _Writer(number, path, output, copy)
        return self.by_kind[kind]


@contextmanager
def opened(root: Path, relative: str) -> Generator[InputContainer]:
    """A media file below the root, opened without following links.

    Raises:
        PathRefused, OSError, FFmpegError.
    """
    descriptor = open_beneath(root, relative)
    try:
        # The descriptor's own name: nothing can be put in its place meanwhile, and libav reads it itself.
        with av.open(f"/proc/self/fd/{descriptor}", format="mp4", options=READ_OPTIONS) as container:
            yield container
    finally:
        os.close(descriptor)


def gather(
    root: Path, sources: Sequence[Source], last: Mapping[int, int], folder: Path, camera: str, fps: int
) -> Gathered:
    """Copy the packets of the sources that are needed into files of their own in ``folder``.

    ``last`` names the needed sources and the last picture wanted of each. What cannot be opened or ends early
    has so many usable pictures and no error: a torn segment costs only its own time.

    Raises:
        OSError: the folder is full.
    """
    places: dict[int, tuple[int, int]] = {}
    usable: dict[str, int] = {}
    with ExitStack() as stack:
        files = _Files(folder, camera, fps, stack)
        for number in sorted(last):
            source = sources[number]
            wanted = min(last[number] + 1, source.frames)
            packets, writer, whole = _read(root, source, wanted, files)
            if whole < wanted:
                usable[source.path] = whole
            if writer is not None:
                places[number] = (writer.number, _write(writer, packets, fps))
    sizes = [(writer.path, kind[2], kind[3]) for kind, writer in files.by_kind.items()]
    return Gathered(tuple(sizes), places, usable)


def _read(
    root: Path, source: Source, wanted: int, files: _Files
) -> tuple[list[VideoPacket], _Writer | None, int]:
    """The packets for the first ``wanted`` pictures of a source, and how many of those there are."""
    packets: list[VideoPacket] = []
    writer: _Writer | None = None
    try:
        with opened(root, source.path) as container:
            for packet in _packets(container):
                if writer is None:
                    writer = files.of(container.streams.video[0])
                packets.append(packet)
                if len(packets) >= source.frames or (len(packets) >= wanted and not _reordered(packets)):
                    break
    except (FFmpegError, OSError, PathRefused, IndexError):
        pass  # what was read until here counts; the caller reports the rest as missing
    return packets, writer, min(wanted, len(packets))


def _packets(container: InputContainer) -> Iterator[VideoPacket]:
    for packet in container.demux(container.streams.video[0]):
        if packet.is_corrupt:
            return  # the file ends within it
        if packet.size:
            yield packet


def _reordered(packets: Sequence[VideoPacket]) -> bool:
    """Whether pictures are coded in another order than they are shown (B-frames)."""
    return any(
        packet.pts is not None and packet.dts is not None and packet.pts > packet.dts for packet in packets
    )


def display_ranks(packets: Sequence[VideoPacket]) -> list[int]:
    """The number of the picture in each packet.

    The order of a file's own time stamps is believed only with B-frames; else packets are pictures in order.
    """
    stamps = [packet.pts for packet in packets if packet.pts is not None]
    if not _reordered(packets) or len(set(stamps)) != len(packets):
        return list(range(len(packets)))
    order = {stamp: rank for rank, stamp in enumerate(sorted(stamps))}
    return [order[stamp] for stamp in stamps]


def _write(writer: _Writer, packets: Sequence[VideoPacket], fps: int) -> int:
    """Append packets; returns the number of the first picture."""
    ranks = display_ranks(packets)
    delay = max((position - rank for position, rank in enumerate(ranks)), default=0)
    begin = writer.following
    for position, (packet, rank) in enumerate(zip(packets, ranks, strict=True)):
        packet.stream = writer.stream
        packet.time_base = Fraction(1, fps)
        packet.dts = begin + position
        packet.pts = begin + delay + rank
        packet.duration = 1
        writer.muxer.mux_one(packet)
    writer.following = begin + len(packets) + delay
    return begin + delay


def undecodable(root: Path, sources: Sequence[Source], last: Mapping[int, int]) -> list[str]:
    """Paths of the needed sources that do not decode up to the last picture wanted. Decodes them all."""
    return [
        sources[number].path
        for number in sorted(last)
        if not _decodes(root, sources[number], min(last[number] + 1, sources[number].frames))
    ]


def _decodes(root: Path, source: Source, wanted: int) -> bool:
    found = 0
    try:
        with opened(root, source.path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return False
                found += 1
                if found >= wanted:
                    return True
    except (FFmpegError, OSError, PathRefused, IndexError):
        return False
    return found >= wanted
