"""What ffprobe said of a film, judged. Pure; standard library only: the worker runs it."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cloud_bridge.media.bounds import Bounds, Refused

_CODECS = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9", "av1"})
_TAKEN = "H.264, H.265, MPEG-4, VP8, VP9 or AV1"
_HDR = frozenset({"smpte2084", "arib-std-b67"})
_LEAST_SIDE = 16


@dataclass(frozen=True)
class Stream:
    """The pictures of a file. ``seconds``: 0 when it does not say; ``aspect``: of one pixel."""

    codec: str
    width: int
    height: int
    frames: int
    seconds: float
    aspect: float
    hdr: bool


def stream_of(probed: dict[str, Any]) -> Stream | None:
    """The first stream of pictures that is no cover; None when there is none."""
    for stream in probed.get("streams", []):
        if not stream.get("disposition", {}).get("attached_pic"):
            return Stream(
                codec=str(stream.get("codec_name", "unknown"))[:20],
                width=int(_number(stream.get("width"))),
                height=int(_number(stream.get("height"))),
                frames=int(_number(stream.get("nb_read_packets"))),
                seconds=max(
                    _number(stream.get("duration")), _number(probed.get("format", {}).get("duration"))
                ),
                aspect=_aspect(str(stream.get("sample_aspect_ratio", "1:1"))),
                hdr=stream.get("color_transfer") in _HDR,
            )
    return None


def judge(probed: dict[str, Any], bounds: Bounds) -> Stream:
    """The pictures of a film that may be decoded.

    Raises:
        Refused: it has none, is too long, too large, or of another codec.
    """
    if "format" not in probed:
        raise _no(f"This film cannot be read: it is damaged, or coded in another way than {_TAKEN}.")
    stream = stream_of(probed)
    if stream is None or not stream.frames:
        raise _no("There is no picture in this film.")
    if stream.codec not in _CODECS:
        raise _no(f"This film's pictures are coded as {stream.codec}; {_TAKEN} is taken.")
    if stream.width * stream.height > bounds.film_pixels:
        raise _no(f"This film has {stream.width} x {stream.height} pixels; at most 4096 x 2304 are taken.")
    if min(stream.width, stream.height) < _LEAST_SIDE:
        raise _no(f"This film's pictures are of less than {_LEAST_SIDE} pixels.")
    if not 0.25 <= stream.aspect <= 4:
        raise _no("This film's pixels are of a shape that no screen has.")
    if stream.seconds > bounds.film_s + 0.5:
        raise too_long(stream.seconds, bounds)
    return stream


def too_long(seconds: float | None, bounds: Bounds) -> Refused:
    """The refusal of a film that lasts too long; None: longer than it says."""
    said = "longer than that" if seconds is None or seconds > 1e7 else f"{_clock(round(seconds))} long"
    return _no(f"An intro may last {bounds.film_s:g} seconds; this film is {said}.")


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _no(why: str) -> Refused:
    return Refused("content", why)


def _aspect(text: str) -> float:
    try:
        return float(Fraction(text.replace(":", "/"))) or 1.0
    except (ValueError, ZeroDivisionError, OverflowError):
        return 1.0


def _number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e12 else 0.0
