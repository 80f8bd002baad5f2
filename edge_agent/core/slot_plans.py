"""From choices to slot plans, and from slot plans to the account of a film. Pure arithmetic on messages."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.pairing import NONE, Choice, Cursor, Shown
from edge_agent.core.timeline import Track
from schemas.booking import Layout
from schemas.recording import Skew
from schemas.work import Basis, CameraName, Missing, Pick, Picture, Run, SlotPlan, Source

SKEW_BIN_NS = 100_000
BINS_PER_MS = 10
CAMERAS: tuple[CameraName, CameraName] = ("left", "right")

Mappings = tuple[tuple[str, int, bool], ...]
Reason = Callable[[CameraName, int, int], str]
"""Why a camera lacks frames from one frame of the timeline (first, count) on, in words."""


@dataclass(frozen=True)
class Slot:
    """What is to be planned: a slot's number, first frame and frames; how a pair is laid out; the cameras."""

    index: int
    first_frame: int
    frames: int
    layout: Layout
    cameras: tuple[CameraName, ...]
    mappings: Mappings = ()

    def picture(self, shown: Shown) -> Picture:
        """The picture that shows a choice."""
        if shown == "pair":
            return self.layout
        return "single" if len(self.cameras) == 1 and shown != "card" else shown


@dataclass(frozen=True)
class Chosen:
    """The choices of one slot, the tracks their numbers mean, the cursor before and after them."""

    choices: Sequence[Choice]
    left: Track
    right: Track
    before: Cursor
    after: Cursor

    def track(self, camera: CameraName) -> Track:
        """The frames of one camera."""
        return self.left if camera == "left" else self.right

    def numbers(self, camera: CameraName) -> list[int]:
        """Frame number of that camera for every output frame, NONE where it is not shown."""
        return [choice.left if camera == "left" else choice.right for choice in self.choices]

    def moments_ns(self) -> list[tuple[int, ...]]:
        """Capture times of what each output frame shows."""
        return [
            tuple(
                times[number]
                for times, number in ((self.left.times_ns, c.left), (self.right.times_ns, c.right))
                if number != NONE
            )
            for c in self.choices
        ]


def slot_plan(slot: Slot, chosen: Chosen, reason: Reason) -> SlotPlan:
    """The plan that shows these choices."""
    sources: dict[CameraName, dict[int, int]] = {camera: {} for camera in CAMERAS}
    runs: list[Run] = []
    at = 0
    for shown, group in groupby(chosen.choices, key=_shown):
        count = len(list(group))
        left, right = (
            _picks(chosen.numbers(camera)[at : at + count], chosen.track(camera), sources[camera])
            for camera in CAMERAS
        )
        runs.append(Run(picture=slot.picture(shown), frames=count, left=left, right=right))
        at += count
    return SlotPlan(
        index=slot.index,
        first_frame=slot.first_frame,
        frames=slot.frames,
        runs=tuple(runs),
        left_sources=_sources(chosen.left, sources["left"]),
        right_sources=_sources(chosen.right, sources["right"]),
        missing=tuple(_missing(slot, chosen, reason)),
        repeated=_repeated(chosen),
        unpaired=sum(_unpaired(chosen, camera) for camera in slot.cameras),
        basis=_basis(slot, chosen),
    )


def _shown(choice: Choice) -> Shown:
    return choice.shown


def _sources(track: Track, numbers: Mapping[int, int]) -> tuple[Source, ...]:
    return tuple(Source(path=track.segments[n].path, frames=track.segments[n].frames) for n in numbers)


def _picks(numbers: Iterable[int], track: Track, sources: dict[int, int]) -> tuple[Pick, ...]:
    """Frames of one run, run-length coded; ``sources`` numbers the segments by first use."""
    picks: list[Pick] = []
    for number in numbers:
        if number == NONE:
            continue
        segment, frame = track.places[number]
        source = sources.setdefault(segment, len(sources))
        longer = _lengthened(picks[-1], source, frame) if picks else None
        if longer is not None:
            picks[-1] = longer
        else:
            picks.append(Pick(source=source, first=frame, count=1))
    return tuple(picks)


def _lengthened(pick: Pick, source: int, frame: int) -> Pick | None:
    """The pick with one more frame, when it goes on as it does; one of a single frame goes on either way."""
    if pick.source != source:
        return None
    if frame == pick.first + pick.count * pick.step:
        return pick.model_copy(update={"count": pick.count + 1})
    if pick.count == 1 and frame == pick.first:
        return pick.model_copy(update={"count": 2, "step": 0})
    return None


def _missing(slot: Slot, chosen: Chosen, reason: Reason) -> Iterable[Missing]:
    for camera in slot.cameras:
        at = 0
        for lacking, group in groupby(number == NONE for number in chosen.numbers(camera)):
            count = len(list(group))
            if lacking:
                first = slot.first_frame + at
                why = reason(camera, first, count)
                yield Missing(camera=camera, first_frame=first, frames=count, reason=why)
            at += count


def _repeated(chosen: Chosen) -> int:
    """Output frames that show just what the frame before showed, cards apart."""
    before = chosen.before
    repeated = 0
    last: tuple[Shown, tuple[int, ...]] | None = None
    if before.shown is not None:
        wanted = CAMERAS if before.shown == "pair" else (before.shown,)
        used = {"left": before.left_ns, "right": before.right_ns}
        last = (before.shown, tuple(ns for camera in wanted if (ns := used.get(camera)) is not None))
    for choice, moments_ns in zip(chosen.choices, chosen.moments_ns(), strict=True):
        now = (choice.shown, moments_ns)
        repeated += now == last and choice.shown != "card"
        last = now
    return repeated


def _unpaired(chosen: Chosen, camera: CameraName) -> int:
    """Frames of a camera that were passed over since its last used one."""
    times_ns = chosen.track(camera).times_ns
    last_ns = chosen.before.left_ns if camera == "left" else chosen.before.right_ns
    last = times_ns.index(last_ns) if last_ns in times_ns else None
    skipped = 0
    for number in chosen.numbers(camera):
        if number == NONE:
            continue
        skipped += max(0, number - last - 1) if last is not None else 0
        last = number
    return skipped


def _basis(slot: Slot, chosen: Chosen) -> Basis:
    moments = [sum(ns) // len(ns) for ns in chosen.moments_ns() if ns]
    skew = Counter(abs(ns[0] - ns[1]) // SKEW_BIN_NS for ns in chosen.moments_ns() if len(ns) == len(CAMERAS))
    return Basis(
        mappings=slot.mappings,
        first_ns=moments[0] if moments else None,
        last_ns=moments[-1] if moments else None,
        left_ns=chosen.after.left_ns,
        right_ns=chosen.after.right_ns,
        skew=tuple(sorted(skew.items())),
    )


def cursor_after(plan: SlotPlan) -> Cursor:
    """Where choosing stands after a plan: what a restart goes on from."""
    last = plan.runs[-1]
    basis = plan.basis or Basis()
    shown: Shown
    match last.picture:
        case "side_by_side" | "stacked":
            shown = "pair"
        case "single":
            shown = "left" if last.left else "right"
        case "left" | "right" | "card":
            shown = last.picture
    return Cursor(shown, basis.left_ns, basis.right_ns)


def layout_of(plans: Iterable[SlotPlan]) -> Layout | None:
    """How these plans lay a pair out, None when none shows one."""
    for plan in plans:
        for run in plan.runs:
            match run.picture:
                case "side_by_side" | "stacked":
                    return run.picture
                case _:
                    continue
    return None


@dataclass(frozen=True)
class Account:
    """The sums over a film's plans, kept as they come; ``skew`` counts frames per 0.1 ms."""

    slots: int = 0
    frames: int = 0
    pictures: Mapping[Picture, int] = field(default_factory=dict[Picture, int])
    repeated: int = 0
    unpaired: int = 0
    missing: Mapping[CameraName, int] = field(default_factory=dict[CameraName, int])
    skew: Mapping[int, int] = field(default_factory=dict[int, int])
    first_ns: int | None = None
    last_ns: int | None = None

    def plus(self, plan: SlotPlan) -> "Account":
        """The account with the next plan."""
        basis = plan.basis or Basis()
        pictures: Counter[Picture] = Counter(self.pictures)
        missing: Counter[CameraName] = Counter(self.missing)
        skew: Counter[int] = Counter(self.skew)
        for run in plan.runs:
            pictures[run.picture] += run.frames
        for lack in plan.missing:
            missing[lack.camera] += lack.frames
        for bin_number, frames in basis.skew:
            skew[bin_number] += frames
        return replace(
            self,
            slots=plan.index + 1,
            frames=plan.first_frame + plan.frames,
            pictures=dict(pictures),
            repeated=self.repeated + plan.repeated,
            unpaired=self.unpaired + plan.unpaired,
            missing=dict(missing),
            skew=dict(skew),
            first_ns=basis.first_ns if self.first_ns is None else self.first_ns,
            last_ns=self.last_ns if basis.last_ns is None else basis.last_ns,
        )

    def skew_stats(self) -> Skew | None:
        """Median, p99 and maximum, each rounded down to 0.1 ms; None when no frame shows a pair."""
        bins = sorted(self.skew.items())
        total = sum(frames for _, frames in bins)
        if total == 0:
            return None

        def at(rank: int) -> float:
            seen = 0
            for number, frames in bins:
                seen += frames
                if seen >= rank:
                    return number / BINS_PER_MS
            return bins[-1][0] / BINS_PER_MS

        return Skew(
            median_ms=at(-(-total // 2)), p99_ms=at(-(-total * 99 // 100)), max_ms=bins[-1][0] / BINS_PER_MS
        )

    def start_error_ms(self, begin_ns: int) -> float | None:
        """Capture time of the first picture shown after the planned begin."""
        return None if self.first_ns is None else (self.first_ns - begin_ns) / 1e6

    def end_error_ms(self, end_ns: int, fps: int) -> float | None:
        """Capture time of the last picture shown, plus its one period, after the planned end."""
        return None if self.last_ns is None else (self.last_ns + SECOND_NS // fps - end_ns) / 1e6
