"""Rendering a slot plan: one ffmpeg run that decodes, merges, brands and encodes."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from edge_agent.core.effects import FilmFormat, PreparedLogo, Render, Rendered
from edge_agent.core.errors import EffectFailed
from edge_agent.core.ffmpeg.argv import command
from edge_agent.core.ffmpeg.graph import Feed, Frame, Slot, Still, draw_slot, stretches
from edge_agent.core.ffmpeg.presets import encoder_options
from edge_agent.core.plans import CAMERAS, degrade, frames_of, frames_shown, on_rung, shorten, sources
from edge_agent.drivers.disk import PathRefused, folder_beneath, open_beneath, settle
from edge_agent.drivers.process import Finished
from edge_agent.drivers.render.ffmpeg_run import as_failures, complaint, count_frames, decoded_all, run
from edge_agent.drivers.render.filters import FfmpegFilters
from edge_agent.drivers.render.pictures import card, yuv420p
from edge_agent.drivers.render.sources import Gathered, gather, undecodable
from schemas.work import CameraName, SlotPlan

DEADLINE_S = 20.0


@dataclass(frozen=True)
class _Work:
    """One try: the plan as it can be rendered, and what was gathered for it."""

    plan: SlotPlan
    gathered: Mapping[CameraName, Gathered]


def render_slot(root: Path, effect: Render, deadline_s: float = DEADLINE_S) -> Rendered:
    """Render one slot into ``recordings/{id}/film/slot-{index:06d}.mp4``, durably. Repeating replaces it.

    Reads the plan's sources, writes to a temporary folder and beside the slot, runs ffmpeg.

    Raises:
        EffectFailed: ``input`` with detail ``{"left": [path, ...], "right": [...]}`` when sources do not
            decode; ``full``; ``transient`` for everything else.
    """
    begun_s = time.thread_time()
    with as_failures(f"slot {effect.plan.index}"), tempfile.TemporaryDirectory(prefix="ezrec-slot-") as name:
        folder = Path(name)
        work = _gather(
            root, on_rung(degrade(effect.plan, effect.bad), effect.rung), effect.format.fps, folder
        )
        final = (
            folder_beneath(root, f"recordings/{effect.booking_id}/film") / f"slot-{effect.plan.index:06d}.mp4"
        )
        temporary = final.with_name(f"{final.name}.tmp")
        try:
            done = run(_command(root, effect, work, folder, temporary), deadline_s)
            frames = _judge(root, effect.plan.index, work, done, temporary)
            settle(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        lost = {c: frames_shown(effect.plan, c) - frames_shown(work.plan, c) for c in CAMERAS}
        return Rendered(
            path=str(final.relative_to(root)),
            frames=frames,
            bytes=final.stat().st_size,
            cpu_s=done.cpu_s + time.thread_time() - begun_s,
            left_missing=lost["left"],
            right_missing=lost["right"],
        )


def _wanted(plan: SlotPlan, camera: CameraName) -> dict[int, int]:
    """Source number -> last picture of it that the plan shows."""
    last: dict[int, int] = {}
    for frame in frames_of(plan):
        taken = frame.left if camera == "left" else frame.right
        if taken is not None:
            last[taken.source] = max(taken.frame, last.get(taken.source, 0))
    return last


def _gather(root: Path, plan: SlotPlan, fps: int, folder: Path) -> _Work:
    gathered: dict[CameraName, Gathered] = {
        camera: gather(root, sources(plan, camera), last, folder, camera, fps)
        for camera in CAMERAS
        if (last := _wanted(plan, camera))
    }
    usable = {path: count for one in gathered.values() for path, count in one.usable.items()}
    return _Work(shorten(plan, usable, "segment cut short or unreadable"), gathered)


def _feeds(work: _Work, camera: CameraName) -> tuple[Feed, ...]:
    gathered = work.gathered.get(camera)
    if gathered is None:
        return ()
    frames: list[Frame] = []
    for index, shown in enumerate(frames_of(work.plan)):
        taken = shown.left if camera == "left" else shown.right
        if taken is not None:
            file, first = gathered.places[taken.source]
            frames.append(Frame(index, file, first + taken.frame))
    feeds = [
        Feed(str(path), width, height, stretches(frames, number))
        for number, (path, width, height) in enumerate(gathered.files)
    ]
    return tuple(feed for feed in feeds if feed.stretches)


def _command(root: Path, effect: Render, work: _Work, folder: Path, output: Path) -> Sequence[str]:
    wants_logos = effect.rung in {"full", "one_camera"}
    slot = Slot(
        film=effect.format,
        plan=work.plan,
        feeds={camera: _feeds(work, camera) for camera in CAMERAS},
        card=_card(work.plan, effect.format, folder),
        logos=_logos(root, effect.logos, folder) if wants_logos else (),
    )
    filters = FfmpegFilters()
    options = {**encoder_options(effect.format, effect.crf_boost), "frames:v": work.plan.frames}
    return command(filters.arguments(draw_slot(filters, slot), str(output), options))


def _card(plan: SlotPlan, film: FilmFormat, folder: Path) -> Still | None:
    """The card's text; without it the card is a plain colour: this rung must not fail for a font."""
    if not any(picture.picture == "card" for picture in plan.runs):
        return None
    path = folder / "card.yuv"
    try:
        path.write_bytes(_card_bytes(film.width, film.height))
    except (OSError, ValueError):
        return None
    return Still(str(path))


@lru_cache(maxsize=2)
def _card_bytes(width: int, height: int) -> bytes:
    return yuv420p(card(width, height))


def _logos(root: Path, logos: Sequence[PreparedLogo], folder: Path) -> tuple[PreparedLogo, ...]:
    """The prepared logos as files of our own, so that ffmpeg opens nothing by a path from a message."""
    copies: list[PreparedLogo] = []
    for number, logo in enumerate(logos):
        path = folder / f"logo{number}.yuva"
        try:
            with os.fdopen(open_beneath(root, logo.path), "rb") as file:
                path.write_bytes(file.read())
        except (FileNotFoundError, PathRefused) as error:
            raise EffectFailed("transient", f"logo {logo.slot}: {error}") from error
        copies.append(replace(logo, path=str(path)))
    return tuple(copies)


def _judge(root: Path, index: int, work: _Work, done: Finished, output: Path) -> int:
    """The slot's frames, read back; raises `EffectFailed` when it is not what was planned."""
    frames = 0
    if done.code == 0:
        frames = count_frames(output)
        if frames == work.plan.frames and decoded_all(done):
            return frames
    bad = {
        camera: undecodable(root, sources(work.plan, camera), _wanted(work.plan, camera))
        for camera in CAMERAS
    }
    count = sum(len(paths) for paths in bad.values())
    if count:
        raise EffectFailed("input", f"slot {index}: {count} segments cannot be decoded", bad)
    if done.code == 0 and frames == work.plan.frames:
        return frames
    why = complaint(done) if done.code else f"{frames} of {work.plan.frames} frames"
    raise EffectFailed("transient", f"slot {index}: ffmpeg failed: {why}")
