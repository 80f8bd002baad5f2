"""Which slots of a film are not as planned: run-length coded, each slot once, over restarts. Pure."""

from collections.abc import Iterable

from schemas.recording import PoorSlots, Rung
from schemas.work import CameraName

MAX_POOR = 500


def noted(before: tuple[PoorSlots, ...], slot: PoorSlots) -> tuple[PoorSlots, ...]:
    """The account after one slot was rendered; what was known of that slot is replaced."""
    index = slot.first
    kept = [piece for run in before for piece in _without(run, index)]
    if (slot.rung, slot.left, slot.right) != ("full", 0, 0):
        kept.append(slot)
        kept.sort(key=lambda run: run.first)
    merged: list[PoorSlots] = []
    for run in kept:
        last = merged[-1] if merged else None
        alike = last is not None and (last.rung, last.left, last.right) == (run.rung, run.left, run.right)
        # A message has a size: a film that is poor in more ways than this is described less exactly.
        if last is not None and ((alike and last.first + last.slots == run.first) or len(merged) >= MAX_POOR):
            merged[-1] = last.replace(slots=last.slots + run.slots)
        else:
            merged.append(run)
    return tuple(merged)


def _without(run: PoorSlots, index: int) -> tuple[PoorSlots, ...]:
    if not run.first <= index < run.first + run.slots:
        return (run,)
    pieces = ((run.first, index - run.first), (index + 1, run.first + run.slots - index - 1))
    return tuple(run.replace(first=first, slots=slots) for first, slots in pieces if slots)


def rungs(poorer: Iterable[PoorSlots], slots: int) -> dict[Rung, int]:
    """Slots per rung among the first ``slots`` of a film."""
    counts: dict[Rung, int] = {"full": slots}
    for run in poorer:
        number = _within(run, slots)
        counts["full"] -= number
        counts[run.rung] = counts.get(run.rung, 0) + number
    return {rung: number for rung, number in counts.items() if number}


def missing(poorer: Iterable[PoorSlots], slots: int) -> dict[CameraName, int]:
    """Frames of each camera that the first ``slots`` of a film should show and do not."""
    counts: dict[CameraName, int] = {"left": 0, "right": 0}
    for run in poorer:
        counts["left"] += run.left * _within(run, slots)
        counts["right"] += run.right * _within(run, slots)
    return {camera: number for camera, number in counts.items() if number}


def _within(run: PoorSlots, slots: int) -> int:
    return max(0, min(run.first + run.slots, slots) - run.first)
