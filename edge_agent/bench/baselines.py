"""The two ways the bench compares with, as ffmpeg commands over the same recorded files.

``single pass``: one ffmpeg run, both inputs decoded once, merged, four logos, encoded once. The physical
reference: nothing that merges and brands can take less with the same encoder settings.
``sequential``: a merge pass, a logo pass, an intro pass, each decoding and encoding everything; what the
predecessor did.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-pix_fmt", "yuv420p")
CORNERS = ("10:10", "W-w-10:10", "10:H-h-10", "W-w-10:H-h-10")


@dataclass(frozen=True)
class Cost:
    """What a way took: CPU seconds of all its processes, and wall seconds."""

    cpu_s: float
    wall_s: float


class BaselineFailed(Exception):
    """ffmpeg refused; its last words."""


def join(segments: Sequence[Path], target: Path) -> None:
    """One file of a camera's segments, by stream copy.

    Raises:
        BaselineFailed: ffmpeg refused.
    """
    listing = target.with_suffix(".txt")
    listing.write_text("".join(f"file '{path}'\n" for path in segments), encoding="utf-8")
    _ffmpeg("-f", "concat", "-safe", "0", "-i", str(listing), "-c", "copy", str(target))


def single_pass(left: Path, right: Path, logos: Sequence[Path], target: Path) -> Cost:
    """Merge and brand in one run."""
    graph = f"[0:v][1:v]hstack[m];{_overlays('m', 2)},format=yuv420p[v]"
    inputs = _inputs(left, right, *logos)
    return _timed([[*inputs, "-filter_complex", graph, "-map", "[v]", "-g", "60", *X264, str(target)]])


def sequential(
    left: Path, right: Path, intro: Path, logos: Sequence[Path], size: tuple[int, int], target: Path
) -> Cost:
    """Merge pass, logo pass, intro pass."""
    width, height = size
    merged, branded = target.with_name("merged.mp4"), target.with_name("branded.mp4")
    merge = f"[0:v]scale=-2:{height},setsar=1[a];[1:v]scale=-2:{height},setsar=1[b];[a][b]hstack"
    brand = _overlays("0:v", 1)
    lead = (
        f"[0:v]scale={width}:{height},setsar=1,format=yuv420p[i];"
        "[1:v]format=yuv420p,setsar=1[m];[i][m]concat=n=2:v=1:a=0"
    )
    return _timed(
        [
            [*_inputs(left, right), "-filter_complex", merge, *X264, str(merged)],
            [*_inputs(merged, *logos), "-filter_complex", brand, *X264, str(branded)],
            [
                *_inputs(intro, branded),
                "-filter_complex",
                lead,
                *X264,
                "-movflags",
                "+faststart",
                str(target),
            ],
        ]
    )


def _overlays(first: str, number: int) -> str:
    steps: list[str] = []
    label = first
    for index, corner in enumerate(CORNERS):
        steps.append(f"[{label}][{number + index}:v]overlay={corner}")
        label = f"o{index}"
    return "".join(f"{step}[o{index}];" for index, step in enumerate(steps[:-1])) + steps[-1]


def _inputs(*paths: Path) -> list[str]:
    return [word for path in paths for word in ("-i", str(path))]


def _timed(commands: Sequence[Sequence[str]]) -> Cost:
    before = os.times()
    began = time.monotonic()
    for arguments in commands:
        _ffmpeg(*arguments)
    after = os.times()
    cpu_s = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return Cost(cpu_s, time.monotonic() - began)


def _ffmpeg(*arguments: str) -> None:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BaselineFailed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "ffmpeg failed")
