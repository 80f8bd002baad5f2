"""The command line around a graph."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

GLOBAL: tuple[str, ...] = (
    *("-nostdin", "-hide_banner", "-nostats", "-y"),
    # Verbose: at its end it says how many packets each input had and how many pictures came of them.
    *("-v", "verbose"),
    # A picture that cannot be decoded ends the run, instead of being shown as a smear.
    "-xerror",
    # Time stamps are frame numbers: nothing is subtracted from them.
    "-copyts",
    *("-filter_complex_threads", "1"),
)

_FILE: Mapping[str, str | int] = MappingProxyType({"protocol_whitelist": "file"})

CAMERA_INPUT: Mapping[str, str | int] = MappingProxyType(
    {**_FILE, "f": "mp4", "ignore_editlist": 1, "threads": 1, "probesize": 32, "analyzeduration": 0}
)


def raw_input(width: int, height: int, pixels: str) -> Mapping[str, str | int]:
    """Options of a single picture, its bytes as ffmpeg keeps them: nothing to decode or convert."""
    return {**_FILE, "f": "rawvideo", "pixel_format": pixels, "s": f"{width}x{height}"}


def intro_input(seconds: int) -> Mapping[str, str | int]:
    """Options of a film somebody uploaded: one of the usual containers, read no longer than that."""
    containers = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,gif"
    return {**_FILE, "format_whitelist": containers, "t": seconds}


def command(graph: Sequence[str]) -> tuple[str, ...]:
    """Ffmpeg with what every run has, then inputs, graph and output."""
    return ("ffmpeg", *GLOBAL, *graph)
