"""ffmpeg-python behind types: the only place that imports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ffmpeg as untyped

from edge_agent.core.ffmpeg.graph import Option

_ffmpeg: Any = untyped


@dataclass(frozen=True)
class Stream:
    """A stream of a graph; what is inside is ffmpeg-python's."""

    node: Any


class FfmpegFilters:
    """Builds a graph and gives ffmpeg's arguments for it. No I/O."""

    def read(self, path: str, options: Mapping[str, Option]) -> Stream:
        """The video of an input."""
        return Stream(_ffmpeg.input(path, **options)["v"])

    def apply(self, streams: Sequence[Stream], name: str, /, *args: Option, **options: Option) -> Stream:
        """One filter with one output."""
        return Stream(_ffmpeg.filter([stream.node for stream in streams], name, *args, **options))

    def split(self, stream: Stream, count: int) -> Sequence[Stream]:
        """The same pictures ``count`` times."""
        node = stream.node.filter_multi_output("split", count)
        return [Stream(node[number]) for number in range(count)]

    def arguments(self, stream: Stream, path: str, options: Mapping[str, Option]) -> tuple[str, ...]:
        """Inputs, filter graph and output, as ffmpeg takes them."""
        arguments: list[str] = stream.node.output(path, **options).get_args()
        return tuple(arguments)
