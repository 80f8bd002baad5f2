"""Slot plans changed by what turned out: sources that cannot be decoded, a lower rung of the ladder.

Pure. A plan on disk never changes; these give the plan that is rendered in its place. Every output frame
stays, only its picture may become poorer.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from schemas.recording import Rung
from schemas.work import CameraName, Missing, Pick, Picture, Run, SlotPlan, Source

CAMERAS: tuple[CameraName, CameraName] = ("left", "right")
_BOTH: frozenset[Picture] = frozenset({"side_by_side", "stacked"})


class Taken(NamedTuple):
    """A frame of a source: the source's number in its camera's list, the frame's number in the file."""

    source: int
    frame: int


class Shown(NamedTuple):
    """One output frame: its picture and what it shows of each camera."""

    picture: Picture
    left: Taken | None
    right: Taken | None


def unroll(picks: Iterable[Pick]) -> Iterator[Taken]:
    """The source frames of consecutive picks, one per output frame."""
    for pick in picks:
        for number in range(pick.count):
            yield Taken(pick.source, pick.first + number * pick.step)


def pack(taken: Iterable[Taken]) -> tuple[Pick, ...]:
    """The inverse of `unroll`, in as few picks as a greedy reading gives."""
    picks: list[Pick] = []
    for source, frame in taken:
        last = picks[-1] if picks else None
        if last is not None and last.source == source:
            if (last.count == 1 or last.step == 1) and frame == last.first + last.count:
                picks[-1] = Pick(source=source, first=last.first, count=last.count + 1)
                continue
            if (last.count == 1 or last.step == 0) and frame == last.first:
                picks[-1] = Pick(source=source, first=last.first, count=last.count + 1, step=0)
                continue
        picks.append(Pick(source=source, first=frame, count=1))
    return tuple(picks)


def frames_of(plan: SlotPlan) -> list[Shown]:
    """Every output frame of a plan.

    Raises:
        ValueError: the runs do not give the plan's number of frames, or a run's picks not the run's.
    """
    shown: list[Shown] = []
    for run in plan.runs:
        nothing: list[Taken | None] = [None] * run.frames
        sides = [[*unroll(picks)] or nothing for picks in (run.left, run.right)]
        if any(len(side) != run.frames for side in sides):
            raise ValueError(f"slot {plan.index}: picks do not fill a run of {run.frames} frames")
        shown += [Shown(run.picture, left, right) for left, right in zip(*sides, strict=True)]
    if len(shown) != plan.frames:
        raise ValueError(f"slot {plan.index}: runs give {len(shown)} frames, {plan.frames} stated")
    return shown


def degrade(plan: SlotPlan, bad: Iterable[str]) -> SlotPlan:
    """The plan without the sources of these paths: their frames count as missing.

    Where both cameras were shown the other stays alone; where none is left there is the card. All other
    frames stay as they are.
    """
    return shorten(plan, dict.fromkeys(bad, 0), "cannot be decoded")


def shorten(plan: SlotPlan, usable: Mapping[str, int], reason: str) -> SlotPlan:
    """The plan when only the first ``usable[path]`` frames of a source can be used; others are whole."""
    if not usable:
        return plan

    def kept(camera: CameraName, taken: Taken | None) -> Taken | None:
        if taken is None:
            return None
        path = sources(plan, camera)[taken.source].path
        return taken if taken.frame < usable.get(path, taken.frame + 1) else None

    before = frames_of(plan)
    after = [_poorer(frame, kept("left", frame.left), kept("right", frame.right)) for frame in before]
    return plan if after == before else _rebuilt(plan, after, reason)


def on_rung(plan: SlotPlan, rung: Rung) -> SlotPlan:
    """The plan as a rung of the ladder renders it: as it is, one camera alone, or only the card."""
    if rung == "card":
        after = [Shown("card", None, None)] * plan.frames
    elif rung == "one_camera":
        keep = max(CAMERAS, key=lambda camera: frames_shown(plan, camera))
        after = [
            _poorer(frame, frame.left if keep == "left" else None, frame.right if keep == "right" else None)
            for frame in frames_of(plan)
        ]
    else:
        return plan
    return _rebuilt(plan, after, "left out after failed tries")


def sources(plan: SlotPlan, camera: CameraName) -> tuple[Source, ...]:
    """What the picks of a camera count in."""
    return plan.left_sources if camera == "left" else plan.right_sources


def frames_shown(plan: SlotPlan, camera: CameraName) -> int:
    """Output frames that show a camera."""
    return sum(pick.count for run in plan.runs for pick in (run.left if camera == "left" else run.right))


def _poorer(frame: Shown, left: Taken | None, right: Taken | None) -> Shown:
    picture: Picture = frame.picture
    if left is None and right is None:
        picture = "card"
    elif picture in _BOTH and right is None:
        picture = "left"
    elif picture in _BOTH and left is None:
        picture = "right"
    return Shown(picture, left, right)


def _rebuilt(plan: SlotPlan, after: list[Shown], reason: str) -> SlotPlan:
    runs: list[Run] = []
    for _, group in groupby(after, key=lambda frame: frame.picture):
        frames = list(group)
        left = pack(frame.left for frame in frames if frame.left)
        right = pack(frame.right for frame in frames if frame.right)
        runs.append(Run(picture=frames[0].picture, frames=len(frames), left=left, right=right))
    missing = (*plan.missing, *_newly_missing(plan, after, reason))
    return plan.model_copy(update={"runs": tuple(runs), "missing": missing})


def _newly_missing(plan: SlotPlan, after: list[Shown], reason: str) -> Iterator[Missing]:
    before = frames_of(plan)
    for camera in CAMERAS:
        lost = [
            getattr(was, camera) is not None and getattr(now, camera) is None
            for was, now in zip(before, after, strict=True)
        ]
        index = 0
        for gone, group in groupby(lost):
            count = len(list(group))
            if gone:
                first = plan.first_frame + index
                yield Missing(camera=camera, first_frame=first, frames=count, reason=reason)
            index += count
