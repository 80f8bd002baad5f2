"""The simulated camera's picture: a court, drawn once; per frame only ball, clock and code change."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

Plane = npt.NDArray[np.uint8]

CODE_COLUMNS = 40
CODE_ROWS = 3
SYNC = 0b10110010
TAIL = 0b0101
CAMERA_IDS = {"left": 1, "right": 2}

# Seven rows of five cells each, top row first.
_GLYPHS = {
    "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c", ":": "000c0c000c0c00", ".": "00000000000c0c",
    "L": "1010101010101f", "E": "1f10101e10101f", "F": "1f10101e101010", "T": "1f040404040404",
    "R": "1e11111e141211", "I": "0e04040404040e", "G": "0e11101711110f", "H": "1111111f111111",
}  # fmt: skip
_BLANK = "00000000000000"


def code_bits(camera: str, frame: int, mono_ns: int) -> npt.NDArray[np.bool_]:
    """Make the frame code's cells, row by row, True is white.

    Forty columns and three rows lie in the middle half of the picture, from 80 % of its height on; a cell is
    1/80 of the width and 1/45 of the height (square in 16:9), edges rounded to even pixels; luma is 16 or
    235. The 120 bits, most significant first: sync 10110010; camera (4: left 1, right 2, others 3 to 15);
    frame number (32, modulo); capture time in microseconds of the monotonic clock (40, modulo); CRC-32 of the
    76 bits since the sync as ten big-endian bytes; 0101.
    """
    ident = CAMERA_IDS.get(camera) or 3 + zlib.crc32(camera.encode()) % 13
    value = ident << 72 | (frame & 0xFFFFFFFF) << 40 | (mono_ns // 1000 & 0xFFFFFFFFFF)
    whole = ((SYNC << 76 | value) << 32 | zlib.crc32(value.to_bytes(10, "big"))) << 4 | TAIL
    return np.unpackbits(np.frombuffer(whole.to_bytes(15, "big"), np.uint8)).astype(np.bool_)


def _even(value: float) -> int:
    return 2 * round(value / 2)


CROWD_PICTURES = 8


class CourtPicture:
    """One picture that is changed in place, frame by frame; hand it to the encoder between two changes."""

    def __init__(self, camera: str, width: int, height: int) -> None:
        """Draw the court; even sizes."""
        self.frame = VideoFrame(width, height, "yuv420p")
        self._width, self._height, self._camera = width, height, camera
        y, u, v = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            for plane in self.frame.planes
        )
        self._y: Plane = y
        self._chroma: tuple[Plane, Plane] = (u, v)
        self._cell_x = np.array([_even(width / 4 + i * width / 80) for i in range(CODE_COLUMNS + 1)])
        self._cell_y = np.array([_even(height * 0.8 + i * height / 45) for i in range(CODE_ROWS + 1)])
        self._columns = np.repeat(np.arange(CODE_COLUMNS), np.diff(self._cell_x))
        self._rows = np.repeat(np.arange(CODE_ROWS), np.diff(self._cell_y))
        self._text_scale = max(1, height // 180)
        self._glyphs = {text: _glyph(text, self._text_scale) for text in _GLYPHS}
        self._ball_at: tuple[int, int] | None = None
        self._black = False
        self._base = self._paint()
        self._crowd: tuple[Plane, ...] = ()

    def gather_crowd(self, grain: float) -> None:
        """From now on show a restless band of spectators, ``grain`` luma steps strong.

        It makes the picture as hard to compress as a real hall: without it a film has a tenth of the bits.
        """
        rows = slice(int(self._height * 0.375), int(self._height * 0.445))
        lots = np.random.default_rng(7)
        still = self._base[rows].astype(np.int16)
        noise = (lots.normal(0, grain, still.shape).astype(np.int16) for _ in range(CROWD_PICTURES))
        self._crowd = tuple(np.clip(still + one, 16, 235).astype(np.uint8) for one in noise)

    def draw(self, frame: int, mono_ns: int, wall_ns: int) -> None:
        """Show this frame's ball, clock (UTC) and code."""
        if self._black:
            self._base = self._paint()
            self._black = False
        self._ball(frame)
        if self._crowd:
            top = int(self._height * 0.375)
            crowd = self._crowd[frame % len(self._crowd)]
            self._y[top : top + crowd.shape[0]] = crowd
        seconds, centis = divmod(wall_ns // 10_000_000, 100)
        clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{centis:02}"
        patch = np.concatenate([self._glyphs[sign] for sign in clock], axis=1)
        self._put(patch, self._height // 12)
        cells = code_bits(self._camera, frame, mono_ns).reshape(CODE_ROWS, CODE_COLUMNS)
        top, left = self._cell_y[0], self._cell_x[0]
        pixels = np.where(cells[self._rows[:, None], self._columns[None, :]], 235, 16)
        self._y[top : top + len(self._rows), left : left + len(self._columns)] = pixels

    def blacken(self) -> None:
        """Show nothing, not even a code, until the next `draw`."""
        if not self._black:
            self._y[:] = 16
            for plane in self._chroma:
                plane[:] = 128
            self._black = True

    def _put(self, patch: Plane, top: int) -> None:
        height, width = patch.shape
        left = (self._width - width) // 2
        if left >= 0:
            self._y[top : top + height, left : left + width] = patch

    def _ball(self, frame: int) -> None:
        size = max(8, _even(self._height / 24))
        if self._ball_at is not None:
            x, y = self._ball_at
            self._y[y : y + size, x : x + size] = self._base[y : y + size, x : x + size]
        x = int(self._width * (0.5 + 0.38 * math.sin(frame / 23)) - size / 2)
        y = int(self._height * (0.62 + 0.12 * math.cos(frame / 13)) - size / 2)
        ring = (np.arange(size) - size / 2 + 0.5) ** 2
        inside = ring[:, None] + ring[None, :] < (size / 2) ** 2
        self._y[y : y + size, x : x + size][inside] = 230
        self._ball_at = (x, y)

    def _paint(self) -> Plane:
        y, height = self._y, self._height
        warm = self._camera == "right"
        y[:] = (70 + 40 * np.arange(height) / height).astype(np.uint8)[:, None]
        self._chroma[0][:], self._chroma[1][:] = (108, 158) if warm else (152, 106)
        line = self._line_drawer(max(1, height // 240))
        near, far = (0.04, 0.96, 0.97), (0.24, 0.76, 0.46)
        for share in (0.0, 0.12, 0.5, 0.88, 1.0):
            line(near[0] + share * (near[1] - near[0]), near[2], far[0] + share * (far[1] - far[0]), far[2])
        for depth in (0.0, 0.3, 0.62, 1.0):
            left, right = (near[i] + depth * (far[i] - near[i]) for i in (0, 1))
            row = near[2] + depth * (far[2] - near[2])
            line(left, row, right, row)
        scale = max(1, height // 48)
        self._put_label(scale)
        return y.copy()

    def _put_label(self, scale: int) -> None:
        letters = [_glyph(sign, scale) for sign in self._camera.upper()[:8]]
        patch = np.concatenate(letters, axis=1) if letters else np.zeros((0, 0), np.uint8)
        top, left = int(self._height * 0.2), (self._width - patch.shape[1]) // 2
        if left >= 0:
            area = self._y[top : top + patch.shape[0], left : left + patch.shape[1]]
            area[patch > 128] = 215

    def _line_drawer(self, thick: int) -> Callable[[float, float, float, float], None]:
        def line(x0: float, y0: float, x1: float, y1: float) -> None:
            steps = 2 * max(self._width, self._height)
            xs = np.linspace(x0, x1, steps) * (self._width - 1)
            ys = np.linspace(y0, y1, steps) * (self._height - 1)
            steep = abs(ys[-1] - ys[0]) > abs(xs[-1] - xs[0])
            for offset in range(-thick, thick + 1):
                rows = np.clip(ys + (0 if steep else offset), 0, self._height - 1)
                columns = np.clip(xs + (offset if steep else 0), 0, self._width - 1)
                self._y[rows.astype(int), columns.astype(int)] = 205

        return line


def _glyph(sign: str, scale: int) -> Plane:
    rows = bytes.fromhex(_GLYPHS.get(sign, _BLANK))
    cells = [[row >> (4 - column) & 1 if column < 5 else 0 for column in range(6)] for row in rows]
    bitmap = np.where(np.array(cells, np.uint8) > 0, 225, 40).astype(np.uint8)
    return np.repeat(np.repeat(bitmap, scale, axis=0), scale, axis=1)
