"""Logos and intro in a film's format, made once and cached by content and format; the poster."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import av
from av.error import FFmpegError
from PIL import Image

from edge_agent.core.effects import FilmFile, FilmFormat, MakePoster, Prepare, Prepared, PreparedLogo
from edge_agent.core.errors import EffectFailed
from edge_agent.core.ffmpeg.argv import command, intro_input
from edge_agent.core.ffmpeg.graph import draw_intro
from edge_agent.core.ffmpeg.presets import encoder_options
from edge_agent.drivers.disk import PathRefused, folder_beneath, open_beneath, settle, write_durably
from edge_agent.drivers.objects.base import composite_sha256, sha256_b64
from edge_agent.drivers.render.ffmpeg_run import as_failures, complaint, count_frames, run
from edge_agent.drivers.render.filters import FfmpegFilters
from edge_agent.drivers.render.pictures import PictureUnreadable, read_logo, yuva420p
from schemas.booking import AssetRef, Logo

INTRO_MAX_S = 60
INTRO_DEADLINE_S = 120.0
LOGO_MAX_BYTES = 20_000_000
POSTER_WIDTH = 1280
# A logo as high as the film would hide the game.
_LOGO_MAX_SHARE = 0.4
_CACHE = "assets/prepared"


class _Skipped(Exception):
    """A logo or intro that cannot be used; the text says why in one line."""


def prepare(root: Path, effect: Prepare) -> Prepared:
    """Prepare logos and intro for a film format; what is in the cache is taken from there.

    Raises:
        EffectFailed: ``full`` or ``transient``; never for a logo or intro that is unusable: those are in
            ``skipped``, by slot (``intro`` for the intro), with why.
    """
    skipped: dict[str, str] = {}
    logos: list[PreparedLogo] = []
    intro: str | None = None
    intro_frames = 0
    with as_failures("prepare"):
        folder = folder_beneath(root, _CACHE)
        for logo in effect.logos:
            try:
                logos.append(_logo(root, folder, logo, effect.format, effect.paths))
            except _Skipped as why:
                skipped[logo.slot] = str(why)
        if effect.intro is not None:
            try:
                intro, intro_frames = _intro(root, folder, effect.intro, effect.format, effect.paths)
            except _Skipped as why:
                skipped["intro"] = str(why)
    return Prepared(tuple(logos), intro, intro_frames, skipped)


def _open(root: Path, asset: AssetRef, paths: Mapping[str, str]) -> int:
    path = paths.get(asset.sha256)
    if path is None:
        raise _Skipped("the file is not here")
    try:
        return open_beneath(root, path)
    except (FileNotFoundError, PathRefused) as error:
        raise _Skipped(f"the file is not here: {error}") from error


def _logo(root: Path, folder: Path, logo: Logo, film: FilmFormat, paths: Mapping[str, str]) -> PreparedLogo:
    """Cached as raw yuva420p with its size in the name: it costs a render nothing to decode or convert."""
    width = max(2, round(logo.size / 100 * film.height / 2) * 2)
    stem = f"{logo.sha256}-{width}-{round(logo.opacity * 1000)}"
    for cached in folder.glob(f"{stem}-*x*.yuva"):
        across, _, down = cached.stem.removeprefix(f"{stem}-").partition("x")
        if cached.stat().st_size == int(across) * int(down) * 5 // 2:
            return PreparedLogo(logo.slot, logo.place, f"{_CACHE}/{cached.name}", int(across), int(down))
    with os.fdopen(_open(root, logo, paths), "rb") as file:
        content = file.read(LOGO_MAX_BYTES + 1)
    if len(content) > LOGO_MAX_BYTES:
        raise _Skipped("the file is larger than 20 MB")
    try:
        picture = read_logo(content, width, int(film.height * _LOGO_MAX_SHARE))
    except PictureUnreadable as error:
        raise _Skipped(str(error)) from error
    name = f"{stem}-{picture.width}x{picture.height}.yuva"
    write_durably(folder / name, yuva420p(picture, logo.opacity))
    return PreparedLogo(logo.slot, logo.place, f"{_CACHE}/{name}", picture.width, picture.height)


def format_digest(film: FilmFormat) -> str:
    """Names a film format: what is prepared for one is right for no other."""
    return hashlib.sha256(json.dumps(asdict(film), sort_keys=True).encode()).hexdigest()[:16]


def _intro(
    root: Path, folder: Path, intro: AssetRef, film: FilmFormat, paths: Mapping[str, str]
) -> tuple[str, int]:
    name = f"{intro.sha256}-{format_digest(film)}.mp4"
    final = folder / name
    frames = _frames_or_none(final)
    if frames is None:
        descriptor = _open(root, intro, paths)
        try:
            _check_intro(descriptor)
            frames = _encode_intro(descriptor, final, film)
        finally:
            os.close(descriptor)
    return f"{_CACHE}/{name}", frames


def _frames_or_none(path: Path) -> int | None:
    if not path.exists():
        return None
    try:
        return count_frames(path) or None
    except FFmpegError:
        return None


def _check_intro(descriptor: int) -> None:
    try:
        with av.open(f"/proc/self/fd/{descriptor}", metadata_errors="ignore") as container:
            if not container.streams.video:
                raise _Skipped("it has no picture")
            if container.duration is not None and container.duration / av.time_base > INTRO_MAX_S:
                raise _Skipped(f"it is longer than {INTRO_MAX_S} s")
    except (FFmpegError, OSError) as error:
        raise _Skipped(f"not a readable film: {error}") from error


def _encode_intro(descriptor: int, final: Path, film: FilmFormat) -> int:
    """Fit, convert to the film's rate and encode with the film's settings."""
    filters = FfmpegFilters()
    # Our own descriptor's name, as this process sees it: what was checked is what is read.
    picture = filters.read(f"/proc/{os.getpid()}/fd/{descriptor}", intro_input(INTRO_MAX_S))
    temporary = final.with_name(f"{final.name}.tmp")
    options = {**encoder_options(film), "frames:v": INTRO_MAX_S * film.fps}
    try:
        arguments = filters.arguments(draw_intro(filters, picture, film), str(temporary), options)
        done = run(command(arguments), INTRO_DEADLINE_S)
        if done.code:
            raise _Skipped(f"it cannot be converted: {complaint(done)}")
        frames = count_frames(temporary)
        if not frames:
            raise _Skipped("it has no picture")
        settle(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
    return frames


def make_poster(root: Path, effect: MakePoster) -> FilmFile:
    """A JPEG, at most 1280 wide, of the middle frame of a slot, at ``recordings/{id}/film/poster.jpg``.

    Raises:
        EffectFailed: ``gone`` when the slot file is no longer there, ``input`` when it cannot be read,
            ``full``.
    """
    with as_failures("poster"):
        picture = _middle(root, effect.slot_path)
        if picture.width > POSTER_WIDTH:
            height = round(picture.height * POSTER_WIDTH / picture.width)
            picture = picture.resize((POSTER_WIDTH, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85, optimize=True, progressive=True)
        path = folder_beneath(root, f"recordings/{effect.booking_id}/film") / "poster.jpg"
        content = buffer.getvalue()
        write_durably(path, content)
        return FilmFile(
            path=str(path.relative_to(root)),
            bytes=len(content),
            bytes_durable=len(content),
            frames=1,
            slots=0,
            intro_frames=0,
            complete=True,
            sha256=composite_sha256([sha256_b64(content)]),
            duration_s=0.0,
            generation=0,
            width=picture.width,
            height=picture.height,
        )


def _middle(root: Path, slot_path: str) -> Image.Image:
    try:
        descriptor = open_beneath(root, slot_path)
    except (FileNotFoundError, PathRefused) as error:
        raise EffectFailed("gone", f"poster: {error}") from error
    try:
        with av.open(f"/proc/self/fd/{descriptor}") as container:
            wanted = container.streams.video[0].frames // 2
            for number, frame in enumerate(container.decode(video=0)):
                if number >= wanted:
                    return Image.fromarray(frame.to_ndarray(format="rgb24"))
    except (FFmpegError, IndexError) as error:
        raise EffectFailed("input", f"poster: {slot_path}: {error}") from error
    finally:
        os.close(descriptor)
    raise EffectFailed("input", f"poster: {slot_path}: has no frame")
