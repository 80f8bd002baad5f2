"""Running ffmpeg and reading what came of it."""

import errno
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
from av.error import FFmpegError

from edge_agent.core.agent import FailureKind
from edge_agent.core.errors import EffectFailed
from edge_agent.drivers import process
from edge_agent.drivers.disk import PathRefused
from edge_agent.drivers.process import Finished
from edge_agent.drivers.render.sources import READ_OPTIONS

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_INPUT = re.compile(r"Input stream #\d+:\d+ \(video\): (\d+) packets read .*; (\d+) frames decoded")
_NOISE = re.compile(r"^(Conversion failed|Exiting|\[AVIO|\s*Input|\s*Output|\s*Total|\s*\d+ packets|video:)")


@contextmanager
def as_failures(what: str) -> Generator[None]:
    """Turn errors of disk and media libraries into failures of the effect.

    Raises:
        EffectFailed: ``full`` where there is no space, ``transient`` for other trouble with files, ``denied``
            for a path that leaves its root, ``bug`` for values that contradict themselves.
    """
    try:
        yield
    except (OSError, FFmpegError) as error:
        kind: FailureKind = "full" if error.errno in _FULL else "transient"
        raise EffectFailed(kind, f"{what}: {error}") from error
    except PathRefused as error:
        raise EffectFailed("denied", f"{what}: {error}") from error
    except ValueError as error:
        raise EffectFailed("bug", f"{what}: {error}") from error


def run(argv: Sequence[str], deadline_s: float) -> Finished:
    """Run ffmpeg.

    Raises:
        EffectFailed: ``transient`` when it could not be started or was overdue, ``full`` without space.
    """
    try:
        done = process.run(argv, deadline_s=deadline_s)
    except OSError as error:
        raise EffectFailed("transient", f"ffmpeg cannot be started: {error}") from error
    if done.code and "No space left on device" in done.stderr:
        raise EffectFailed("full", "no space left on the disk")
    if done.overdue:
        raise EffectFailed("transient", f"ffmpeg was not done after {deadline_s:.0f} s")
    return done


def complaint(done: Finished) -> str:
    """The line of ffmpeg's that says most about its failure."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not _NOISE.match(line)]
    return lines[-1].strip()[:200] if lines else f"exit code {done.code}"


def decoded_all(done: Finished) -> bool:
    """Whether every packet that was read became a picture, as ffmpeg counts at its end."""
    return all(read == decoded for read, decoded in _INPUT.findall(done.stderr))


def count_frames(path: Path) -> int:
    """Frames in a film file, by reading all its packets; nothing is decoded.

    Raises:
        FFmpegError: it is no film.
    """
    with av.open(str(path), format="mp4", options=READ_OPTIONS) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
