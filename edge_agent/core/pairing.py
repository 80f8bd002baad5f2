"""Which frames of the two cameras make each frame of the film: chosen jointly, by capture time.

Two frames more than half a frame apart are never shown together; the pair before is shown again instead,
and after half a second without one camera the other is shown alone. All times are wall nanoseconds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.timeline import Track
from schemas.work import CameraName

Shown = Literal["pair", "left", "right", "card"]
NONE = -1
ALONE: dict[Shown | None, CameraName] = {"left": "left", "right": "right"}


@dataclass(frozen=True)
class Rules:
    """What pairs are valid, and how far from its target a picture may be.

    Attributes:
        period_ns: one frame of the film.
        tolerance_ns: frames further apart are never a pair.
        follow_ns: the next pair after the last is taken while it is so near to the target: no flapping
            between two neighbours when the target lies halfway.
        patience_ns: a shorter lack is bridged by repeating.
    """

    period_ns: int
    tolerance_ns: int
    follow_ns: int
    patience_ns: int = SECOND_NS // 2


def rules(fps: int, camera_fps: Iterable[int] = ()) -> Rules:
    """The rules for a film of that rate from cameras of these rates (none given: the film's).

    Cameras slower than the film are paired within half a frame of theirs, or they might never be; one much
    faster than the film is not followed frame by frame, or it would run ahead and jump.
    """
    rates = [rate for rate in camera_fps if rate > 0] or [fps]
    period_ns = SECOND_NS // fps
    fastest = max(rates)
    follow_ns = period_ns * 3 // 4 if 4 * fastest <= 5 * fps else 0
    return Rules(period_ns, SECOND_NS // (2 * min(fps, fastest)), follow_ns)


class Choice(NamedTuple):
    """What one output frame shows: frame numbers in the two tracks, -1 for a camera it does not show."""

    shown: Shown
    left: int = NONE
    right: int = NONE


@dataclass(frozen=True)
class Cursor:
    """Where choosing stands: what was shown last, and the capture time of each camera's last used frame."""

    shown: Shown | None = None
    left_ns: int | None = None
    right_ns: int | None = None


def choose(
    targets_ns: Sequence[int], left: Track, right: Track, cursor: Cursor, rule: Rules, begin_ns: int
) -> tuple[list[Choice], Cursor]:
    """A choice for every target, never going back in either camera; and the cursor after the last.

    ``begin_ns`` is the film's beginning: where a lack at its start is counted from. The tracks should hold
    the cursor's frames, everything after them, and a second before the first target.
    """
    chooser = _Chooser(left, right, cursor, rule, begin_ns)
    choices = [chooser.step(target_ns) for target_ns in targets_ns]
    return choices, chooser.cursor()


def choose_single(
    targets_ns: Sequence[int], camera: CameraName, frames: Track, cursor: Cursor, rule: Rules, begin_ns: int
) -> tuple[list[Choice], Cursor]:
    """The same for a device with one camera: that camera's frame, or a card when it lacks too long."""
    nothing = Track()
    left, right = (frames, nothing) if camera == "left" else (nothing, frames)
    chooser = _Chooser(left, right, cursor, rule, begin_ns)
    choices = [chooser.step_single(target_ns, camera) for target_ns in targets_ns]
    return choices, chooser.cursor()


class _Side:
    """One camera while choosing: its times, and the number of the last frame used."""

    def __init__(self, track: Track, last_ns: int | None, begin_ns: int) -> None:
        self.times = track.times_ns
        self.end_ns = track.end_ns
        self.begin_ns = begin_ns
        self.last_ns = last_ns
        self.used = NONE if last_ns is None else bisect_right(self.times, last_ns) - 1

    def gap_ns(self, target_ns: int) -> int:
        """Time between the frames around a moment, or the film's beginning and the end of what is known."""
        after = bisect_right(self.times, target_ns)
        before_ns = self.times[after - 1] if after else self.begin_ns
        after_ns = self.times[after] if after < len(self.times) else max(self.end_ns, target_ns)
        return after_ns - before_ns

    def nearest(self, target_ns: int) -> int:
        """Number of the nearest frame that does not go back, NONE when there is none."""
        if not self.times:
            return NONE
        after = bisect_left(self.times, target_ns)
        around = [frame for frame in (after - 1, after) if 0 <= frame < len(self.times)]
        return max(self.used, min(around, key=lambda frame: (abs(self.times[frame] - target_ns), frame)))

    def use(self, frame: int) -> None:
        self.used = frame
        self.last_ns = self.times[frame]


class _Chooser:
    def __init__(self, left: Track, right: Track, cursor: Cursor, rule: Rules, begin_ns: int) -> None:
        self.rule = rule
        self.shown: Shown | None = cursor.shown
        self.sides = {
            "left": _Side(left, cursor.left_ns, begin_ns),
            "right": _Side(right, cursor.right_ns, begin_ns),
        }
        self.left, self.right = self.sides["left"], self.sides["right"]

    def cursor(self) -> Cursor:
        return Cursor(self.shown, self.left.last_ns, self.right.last_ns)

    def step(self, target_ns: int) -> Choice:
        choice = self._following(target_ns) or self._nearest_pair(target_ns) or self._without_pair(target_ns)
        return self._take(choice)

    def step_single(self, target_ns: int, camera: CameraName) -> Choice:
        side = self.sides[camera]
        frame = side.nearest(target_ns)
        near = frame != NONE and abs(side.times[frame] - target_ns) <= self._reach_ns()
        if not near and side.gap_ns(target_ns) >= self.rule.patience_ns:
            return self._take(Choice("card"))
        return self._take(self._alone(camera, target_ns))

    def _take(self, choice: Choice) -> Choice:
        self.shown = choice.shown
        if choice.left != NONE:
            self.left.use(choice.left)
        if choice.right != NONE:
            self.right.use(choice.right)
        return choice

    def _off_ns(self, left: int, right: int, target_ns: int) -> int:
        """Twice the distance of a pair's middle from the target."""
        return abs(self.left.times[left] + self.right.times[right] - 2 * target_ns)

    def _apart_ns(self, left: int, right: int) -> int:
        return abs(self.left.times[left] - self.right.times[right])

    def _following(self, target_ns: int) -> Choice | None:
        left, right = self.left.used + 1, self.right.used + 1
        if self.shown != "pair" or not left or not right:
            return None
        if left >= len(self.left.times) or right >= len(self.right.times):
            return None
        if self._apart_ns(left, right) > self.rule.tolerance_ns:
            return None
        near = self._off_ns(left, right, target_ns) <= 2 * self.rule.follow_ns
        return Choice("pair", left, right) if near else None

    def _reach_ns(self) -> int:
        """How far from the target a picture may be: one frame; half of it when it ends a lack.

        Otherwise the first picture after a lack would come early, and all that follow it.
        """
        return self.rule.period_ns if self.shown in (None, "pair") else self.rule.period_ns // 2

    def _partners(self, left: int) -> range:
        """The right frames that are a valid pair with a left one and do not go back."""
        times, middle_ns = self.right.times, self.left.times[left]
        first = bisect_left(times, middle_ns - self.rule.tolerance_ns, lo=max(self.right.used, 0))
        return range(first, bisect_right(times, middle_ns + self.rule.tolerance_ns, lo=first))

    def _lefts(self, begin_ns: int, end_ns: int) -> range:
        first = bisect_left(self.left.times, begin_ns, lo=max(self.left.used, 0))
        return range(first, bisect_right(self.left.times, end_ns, lo=first))

    def _nearest_pair(self, target_ns: int) -> Choice | None:
        """The valid pair nearest to the target, when it is near enough."""
        reach_ns = self.rule.period_ns + self.rule.tolerance_ns
        pairs = (
            (self._off_ns(left, right, target_ns), self._apart_ns(left, right), left, right)
            for left in self._lefts(target_ns - reach_ns, target_ns + reach_ns)
            for right in self._partners(left)
        )
        best = min(pairs, default=None)
        if best is None or best[0] > 2 * self._reach_ns():
            return None
        return Choice("pair", best[2], best[3])

    def _next_pair(self, target_ns: int) -> Choice | None:
        """The first valid pair after the target that is soon enough to begin with."""
        for left in self._lefts(target_ns, target_ns + self.rule.patience_ns):
            for right in self._partners(left):
                return Choice("pair", left, right)
        return None

    def _without_pair(self, target_ns: int) -> Choice:
        patience_ns = self.rule.patience_ns
        left_lacks = self.left.gap_ns(target_ns) >= patience_ns
        right_lacks = self.right.gap_ns(target_ns) >= patience_ns
        if left_lacks and right_lacks:
            return Choice("card")
        if left_lacks or right_lacks:
            return self._alone("right" if left_lacks else "left", target_ns)
        return self._bridge(target_ns)

    def _bridge(self, target_ns: int) -> Choice:
        """Both cameras are there, or gone for a moment only: repeat, begin early, or one of them alone."""
        left, right = self.left.used, self.right.used
        if self.shown == "pair" and NONE not in (left, right):
            recent = self._off_ns(left, right, target_ns) < 2 * self.rule.patience_ns
            return Choice("pair", left, right) if recent else self._alone("left", target_ns)
        if (camera := ALONE.get(self.shown)) is not None:
            return self._alone(camera, target_ns)
        found = self._next_pair(target_ns)
        return found or self._alone("left" if self.left.times else "right", target_ns)

    def _alone(self, camera: CameraName, target_ns: int) -> Choice:
        """A frame of one camera: the one after the last while that is near, else the nearest."""
        side = self.sides[camera]
        frame = side.nearest(target_ns)
        if frame == NONE:
            return Choice("card")
        follower = side.used + 1
        follows = self.shown in ("pair", camera) and 0 < follower < len(side.times)
        if follows and abs(side.times[follower] - target_ns) <= self.rule.follow_ns:
            frame = follower
        far = abs(side.times[frame] - target_ns) > self.rule.period_ns
        if far and side.used != NONE and abs(target_ns - side.times[side.used]) < self.rule.patience_ns:
            frame = side.used
        return Choice(camera, left=frame) if camera == "left" else Choice(camera, right=frame)
