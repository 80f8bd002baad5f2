"""Judges of files: do they decode, which codes do they show. Imports nothing from the product."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.framecode import FrameCode, boxes_of, luma_of, read_film

PART_BYTES = 5 * 1024 * 1024
Codes = list[FrameCode | None]


def decode_errors(path: Path) -> str:
    """What ffmpeg has to say while it decodes the whole file; empty when it is sound."""
    argv = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stderr


def probe(path: Path) -> dict[str, Any]:
    """ffprobe's view of the first picture stream, frames counted by decoding."""
    argv = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_streams"]
    out = subprocess.run([*argv, "-of", "json", str(path)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(out.stdout)["streams"][0]
    return found


def composite_sha256(path: Path) -> str:
    """S3's composite SHA-256 over parts of 5 MiB, as `base64-count`."""
    whole, parts = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(PART_BYTES):
            whole.update(hashlib.sha256(chunk).digest())
            parts += 1
    return f"{base64.b64encode(whole.digest()).decode()}-{parts}"


@dataclass(frozen=True)
class Side:
    """One camera's frames in the order in which a film shows them."""

    frames: tuple[int, ...]
    mono_us: tuple[int, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """How far each frame's number is from the one before: 1 is the next, 0 the same again."""
        return tuple(after - before for before, after in zip(self.frames, self.frames[1:], strict=False))


@cache
def play_of(
    path: Path, intro_frames: int, layout: str = "side_by_side"
) -> list[tuple[FrameCode | None, ...]]:
    """The codes of a film after its intro."""
    return read_film(path, layout)[intro_frames:]


@dataclass(frozen=True)
class Shown:
    """One frame of a film of two cameras: whom it shows, each in its place.

    ``picture`` is side_by_side, left or right (that camera alone) or card.
    """

    picture: str
    left: FrameCode | None
    right: FrameCode | None


@cache
def shown(path: Path, intro_frames: int) -> list[Shown]:
    """What every frame after the intro shows, in a film side by side with 16:9 cameras."""
    seen = probe(path)
    width, height = int(seen["width"]), int(seen["height"])
    boxes = (*boxes_of("side_by_side", width, height), *boxes_of("alone", width, height))
    return [_shown(*codes) for codes in read_film(path, boxes=boxes)[intro_frames:]]


def _shown(left: FrameCode | None, right: FrameCode | None, alone: FrameCode | None) -> Shown:
    if left and right and (left.camera, right.camera) == ("left", "right"):
        return Shown("side_by_side", left, right)
    if alone is not None:
        by_name = {alone.camera: alone}
        return Shown(alone.camera, by_name.get("left"), by_name.get("right"))
    return Shown("card", None, None)


def side_of(codes: Sequence[FrameCode | None], camera: str) -> Side:
    """One place's codes as a camera's frames; fails when one is unreadable or another camera's."""
    bad = [at for at, code in enumerate(codes) if code is None or code.camera != camera]
    assert not bad, f"{camera} is not readable in {len(bad)} frames, first at {bad[:5]}"
    return Side(tuple(c.frame for c in codes if c), tuple(c.mono_us for c in codes if c))


def both(play: Sequence[Sequence[FrameCode | None]]) -> tuple[Side, Side]:
    """Left and right of a film that shows both all the time, each in its own place."""
    return side_of([codes[0] for codes in play], "left"), side_of([codes[1] for codes in play], "right")


def lumas(path: Path, numbers: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """The luma planes of some frames, by number from 0, in the order asked for."""
    found: dict[int, npt.NDArray[np.uint8]] = {}
    with av.open(str(path)) as film:
        for number, picture in enumerate(film.decode(video=0)):
            if number in numbers:
                found[number] = luma_of(picture).copy()
            if len(found) == len(set(numbers)):
                break
    return [found[number] for number in numbers]


def changed(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], by: int = 20) -> float:
    """Share of the pixels of two pictures that differ by more than that many steps."""
    return float((np.abs(one.astype(np.int16) - other.astype(np.int16)) > by).mean())


def quantile(values: Sequence[float], share: float) -> float:
    """The value below or at which that share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
