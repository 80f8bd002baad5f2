"""What the simulated camera is told to do wrong, and when its frames are due. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from edge_agent.drivers.cameras.base import NS_PER_S, CaptureError

Spans = tuple[tuple[float, float], ...]
DEFAULT_OFFSET_MS: Mapping[str, float] = {"left": 5.0, "right": 8.0}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults of one simulated camera; seconds count from `epoch_ns` (monotonic), so they survive restarts.

    `drops` and `duplicates` are a rate (0.01) or frame numbers. A dropped frame is never delivered; a
    duplicated one comes at its own time with the picture before it. `stalls` and `vanish` are (at, for) in
    seconds, `black` and `frozen` are (from, to). `grain` (luma steps) makes the picture as hard to compress
    as a real hall.
    """

    epoch_ns: int
    offset_ms: float
    drift_ppm: float = 0.0
    drops: float | frozenset[int] = 0.0
    duplicates: float | frozenset[int] = 0.0
    stalls: Spans = ()
    vanish: Spans = ()
    black: Spans = ()
    frozen: Spans = ()
    grain: float = 0.0
    seed: int = 0
    camera: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, object], camera: str, now_ns: int) -> Scenario:
        """Read the settings' table; a missing `epoch_ns` is now.

        Raises CaptureError(format) with one clear line.
        """
        known = set(cls.__dataclass_fields__) - {"camera"}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise CaptureError("format", f"scenario: unknown key {unknown[0]!r}")
        lengths = {name: _spans(name, raw.get(name, ())) for name in ("stalls", "vanish", "black", "frozen")}
        return cls(
            epoch_ns=int(_number("epoch_ns", raw.get("epoch_ns") or now_ns)),
            offset_ms=_number("offset_ms", raw.get("offset_ms", DEFAULT_OFFSET_MS.get(camera, 5.0))),
            drift_ppm=_number("drift_ppm", raw.get("drift_ppm", 0.0)),
            drops=_chosen("drops", raw.get("drops", 0.0)),
            duplicates=_chosen("duplicates", raw.get("duplicates", 0.0)),
            stalls=tuple((at, at + length) for at, length in lengths["stalls"]),
            vanish=tuple((at, at + length) for at, length in lengths["vanish"]),
            black=lengths["black"],
            frozen=lengths["frozen"],
            grain=_number("grain", raw.get("grain", 0.0)),
            seed=int(_number("seed", raw.get("seed", 0))),
            camera=camera,
        )

    def within(self, spans: Spans, mono_ns: int) -> bool:
        """Say whether a moment lies in one of the spans."""
        at_s = (mono_ns - self.epoch_ns) / NS_PER_S
        return any(start <= at_s < end for start, end in spans)

    def hits(self, which: str, frame: int) -> bool:
        """Say whether `drops` or `duplicates` choose this frame; the same in every run of the same seed."""
        chosen = self.drops if which == "drops" else self.duplicates
        if isinstance(chosen, frozenset):
            return frame in chosen
        return (
            chosen > 0 and zlib.crc32(f"{self.seed}:{self.camera}:{which}:{frame}".encode()) < chosen * 2**32
        )


class FrameClock:
    """When each frame is due.

    Frame 0 is due at the first multiple of the period of wall time after the epoch.

    Numbers come from the grid alone, so a restarted camera goes on counting where real time is.
    """

    def __init__(self, scenario: Scenario, fps: int, wall_offset_ns: int) -> None:
        """Fix the grid for one run with the wall offset of its start."""
        wall = scenario.epoch_ns + wall_offset_ns
        number = -(-wall * fps // NS_PER_S)
        first_wall = -(-number * NS_PER_S // fps)
        self._first_ns = first_wall - wall_offset_ns + round(scenario.offset_ms * 1_000_000)
        self._step_ns = NS_PER_S / fps * (1 - scenario.drift_ppm / 1_000_000)

    def due_ns(self, frame: int) -> int:
        """Monotonic time of a frame, to the microsecond: what its code and its segment say."""
        return (self._first_ns + round(frame * self._step_ns)) // 1000 * 1000

    def next_after(self, mono_ns: int) -> int:
        """Number of the first frame due at or after a moment."""
        frame = max(0, int((mono_ns - self._first_ns) / self._step_ns) - 1)
        while self.due_ns(frame) < mono_ns:
            frame += 1
        return frame


def _number(name: str, raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise CaptureError("format", f"scenario: {name} = {raw!r}: expected a number")
    return raw


def _chosen(name: str, raw: object) -> float | frozenset[int]:
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return frozenset(int(_number(name, item)) for item in cast("Sequence[object]", raw))
    return _number(name, raw)


def _spans(name: str, raw: object) -> Spans:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise CaptureError("format", f"scenario: {name} = {raw!r}: expected pairs of seconds")
    spans: list[tuple[float, float]] = []
    for item in cast("Sequence[object]", raw):
        if (
            not isinstance(item, Sequence)
            or isinstance(item, str)
            or len(cast("Sequence[object]", item)) != 2
        ):
            raise CaptureError("format", f"scenario: {name}: {item!r} is no pair of seconds")
        first, second = cast("Sequence[object]", item)
        spans.append((_number(name, first), _number(name, second)))
    return tuple(spans)
