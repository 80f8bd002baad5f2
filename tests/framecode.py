"""The judge: reads the simulated cameras' frame codes out of any film. Imports nothing from the product.

A picture carries 40 x 3 cells in its middle half, from 80 % of its height on; a cell is 1/80 of the picture's
width and 1/45 of its height; white is 1. The 120 bits, row by row, most significant first: sync 10110010,
camera (4; left 1, right 2), frame number (32), capture time in microseconds of the monotonic clock (40),
CRC-32 of those 76 bits as ten big-endian bytes, 0101.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Luma = npt.NDArray[np.uint8]

COLUMNS, ROWS = 40, 3
SYNC, TAIL = 0b10110010, 0b0101
CAMERAS = {1: "left", 2: "right"}
LEAST_CONTRAST = 60


@dataclass(frozen=True)
class FrameCode:
    camera: str
    frame: int
    mono_us: int


def decode(luma: Luma, box: Box) -> FrameCode | None:
    """Read the code of the picture that fills `box` (x, y, w, h in pixels); None without a valid one."""
    x, y, w, h = box
    cells = np.empty(COLUMNS * ROWS)
    for row in range(ROWS):
        top, bottom = y + h * (0.8 + (row + 0.25) / 45), y + h * (0.8 + (row + 0.75) / 45)
        band = luma[int(top) : max(int(top) + 1, round(bottom))].mean(axis=0)
        for column in range(COLUMNS):
            left, right = x + w * (0.25 + (column + 0.25) / 80), x + w * (0.25 + (column + 0.75) / 80)
            part = band[int(left) : max(int(left) + 1, round(right))]
            if not part.size:
                return None
            cells[row * COLUMNS + column] = part.mean()
    low, high = cells.min(), cells.max()
    if not high - low >= LEAST_CONTRAST:
        return None
    bits = "".join("1" if cell > (low + high) / 2 else "0" for cell in cells)
    return parse(int(bits, 2))


def parse(whole: int) -> FrameCode | None:
    tail, crc, value, sync = whole & 0xF, whole >> 4 & 0xFFFFFFFF, whole >> 36 & (1 << 76) - 1, whole >> 112
    if sync != SYNC or tail != TAIL or crc != zlib.crc32(value.to_bytes(10, "big")):
        return None
    ident = value >> 72
    return FrameCode(CAMERAS.get(ident, str(ident)), value >> 40 & 0xFFFFFFFF, value & 0xFFFFFFFFFF)


def boxes_of(layout: str, width: int, height: int) -> tuple[Box, ...]:
    """Where a layout has its pictures; `alone` is one 16:9 picture fitted into the middle of the film."""
    if layout == "side_by_side":
        return (0, 0, width / 2, height), (width / 2, 0, width / 2, height)
    if layout == "stacked":
        return (0, 0, width, height / 2), (0, height / 2, width, height / 2)
    if layout == "alone":
        w, h = min(width, height * 16 / 9), min(height, width * 9 / 16)
        return (((width - w) / 2, (height - h) / 2, w, h),)
    if layout == "single":
        return ((0, 0, width, height),)
    raise ValueError(layout)


def read_film(
    path: str | Path, layout: str = "side_by_side", boxes: Sequence[Box] | None = None
) -> list[tuple[FrameCode | None, ...]]:
    """Decode every frame of a film: per frame the codes of the layout's pictures (or of `boxes`)."""
    found: list[tuple[FrameCode | None, ...]] = []
    with av.open(str(path)) as film:
        film.streams.video[0].thread_type = "AUTO"
        for picture in film.decode(video=0):
            luma = luma_of(picture)
            places = boxes or boxes_of(layout, picture.width, picture.height)
            found.append(tuple(decode(luma, place) for place in places))
    return found


def luma_of(picture: av.VideoFrame) -> Luma:
    """The luma plane as it was coded, without a change of range."""
    plane = picture.planes[0]
    rows: Luma = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : picture.width]
