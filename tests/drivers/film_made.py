"""Slot files made by ffmpeg, and the films an undisturbed run makes of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from edge_agent.drivers.film import (
    Film,
    FilmState,
    read_format,
)

FPS = 30
FRAMES = 60
SEED = 20260101


def render(
    path: Path, *, crf: int, noise: int = 0, frames: int = FRAMES, extra: str = "", size: str = "256x160"
) -> None:
    graph = f"testsrc2=s={size}:r={FPS},hue=h={crf * 20},noise=alls={noise}:allf=t,format=yuv420p,setsar=1"
    params = f"stitchable=1:bframes=0:keyint=24{extra}"
    argv = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-frames:v", str(frames)]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-crf", str(crf), "-x264-params", params]
    argv += ["-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709"]
    subprocess.run([*argv, "-color_trc", "bt709", str(path)], check=True)


@dataclass(frozen=True)
class Made:
    """Slot files, and the films that an undisturbed run makes of them."""

    slots: list[Path]
    open_folder: Path
    """All slots appended and durable, not closed."""
    whole: bytes
    state: FilmState

    def copy(self, folder: Path, *, with_slots: bool = True) -> Path:
        folder.parent.mkdir(exist_ok=True)
        for slot in self.slots if with_slots else []:
            if not (folder.parent / slot.name).exists():
                (folder.parent / slot.name).hardlink_to(slot)
        shutil.copytree(self.open_folder, folder)
        return folder


def make(root: Path) -> Made:
    slots: list[Path] = []
    for k, (crf, noise) in enumerate([(23, 0), (1, 100), (30, 20), (1, 100), (18, 60), (35, 0)]):
        slots.append(root / f"slot-{k}.mp4")
        render(slots[-1], crf=crf, noise=noise, frames=FRAMES if k < 5 else 17)
    open_folder = root / "open"
    film = Film.open(open_folder, fps=FPS)
    append_all(film, slots)
    film._sync()
    film.release()
    folder = root / "whole"
    film = Film.open(folder, fps=FPS)
    append_all(film, slots)
    state = film.close()
    film.release()
    return Made(slots, open_folder, (folder / "film.mp4").read_bytes(), state)


def append_all(film: Film, slots: list[Path]) -> None:
    for index in range(film.state.slots, len(slots)):
        frames = read_format(slots[index]).frames
        film.append(slots[index], index=index, frames=frames, intro=index == 0)


def finish(folder: Path, slots: list[Path]) -> FilmState:
    film = Film.open(folder, fps=FPS)
    append_all(film, slots)
    state = film.close()
    film.release()
    return state


def pictures(path: Path) -> Iterator[np.ndarray]:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray()


def boxes(data: bytes) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        found.append((data[position + 4 : position + 8].decode(), position, size))
        position += size
    assert position == len(data)
    return found
