import random
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.pairing import Choice, Cursor, choose, choose_single, rules
from edge_agent.core.slot_plans import (
    Account,
    Chosen,
    Slot,
    cursor_after,
    layout_of,
    slot_plan,
)
from edge_agent.core.timeline import SegmentTimes, Timeline, Track
from schemas.work import SlotPlan

FPS = 30
PERIOD_NS = SECOND_NS // FPS
MS = 1_000_000
BEGIN_NS = 1_000 * SECOND_NS
LINE = Timeline(BEGIN_NS, FPS)
RULE = rules(FPS)


def frames(phase_ns: int, count: int, fps: int = FPS, begin_ns: int = BEGIN_NS) -> list[int]:
    return [begin_ns + phase_ns + n * SECOND_NS // fps for n in range(count)]


def targets(count: int, first: int = 0) -> list[int]:
    return [LINE.centre_ns(first + n) for n in range(count)]


def a_track(times: list[int], end_ns: int | None = None) -> Track:
    segment = SegmentTimes("recordings/b1/left/a-0.mp4", "a", tuple(times))
    places = tuple((0, n) for n in range(len(times)))
    return Track(tuple(times), end_ns if end_ns is not None else max(times, default=0), places, (segment,))


def chosen(
    left: list[int], right: list[int], count: int, end_ns: int | None = None
) -> tuple[list[Choice], Cursor]:
    end_ns = LINE.start_ns(count) if end_ns is None else end_ns
    return choose(targets(count), a_track(left, end_ns), a_track(right, end_ns), Cursor(), RULE, BEGIN_NS)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, PERIOD_NS - 1), st.integers(0, PERIOD_NS - 1), st.integers(2, 150), st.integers(2, 150))
def test_ideal_cameras_are_shown_frame_by_frame_across_two_neighbouring_bookings(
    left_phase: int, right_phase: int, first: int, second: int
) -> None:
    if abs(left_phase - right_phase) > RULE.tolerance_ns:
        right_phase = left_phase
    for begin, count in ((0, first), (first, second)):
        line = Timeline(LINE.start_ns(begin), FPS)
        begin_ns, end_ns = line.begin_ns, line.start_ns(count)
        left = [ns for ns in frames(left_phase, first + second) if begin_ns <= ns < end_ns]
        right = [ns for ns in frames(right_phase, first + second) if begin_ns <= ns < end_ns]
        picked, _ = choose(
            [line.centre_ns(n) for n in range(count)],
            a_track(left, end_ns),
            a_track(right, end_ns),
            Cursor(),
            RULE,
            begin_ns,
        )
        # A boundary and a frame at it are both rounded to whole ns: one frame may fall on either side.
        assert len(left) in (count - 1, count, count + 1)
        if len(left) == len(right) == count:
            assert picked == [Choice("pair", n, n) for n in range(count)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, PERIOD_NS - 1), st.lists(st.integers(1, 90), min_size=1, max_size=6))
def test_planning_slot_by_slot_chooses_as_planning_at_once(phase: int, slots: list[int]) -> None:
    count = sum(slots)
    left, right = frames(phase, count), frames(phase // 2, count)
    whole, _ = chosen(left, right, count)
    pieces: list[Choice] = []
    cursor, at = Cursor(), 0
    for slot in slots:
        end_ns = LINE.start_ns(at + slot)
        tracks = [a_track([ns for ns in side if ns < end_ns], end_ns) for side in (left, right)]
        more, cursor = choose(targets(slot, at), tracks[0], tracks[1], cursor, RULE, BEGIN_NS)
        pieces += more
        at += slot
    assert pieces == whole


def drifting(ppm: int, count: int, drop: float, seed: int, phase_ns: int = 0) -> list[int]:
    lots = random.Random(seed)
    step = Fraction(SECOND_NS, FPS) * (1_000_000 + ppm) / 1_000_000
    return [BEGIN_NS + phase_ns + int(n * step) for n in range(count) if lots.random() >= drop]


def test_ten_minutes_of_drift_and_drops_keep_the_halves_together() -> None:
    count = 600 * FPS
    left = drifting(100, count, 0.01, 1, 3 * MS)
    right = drifting(-100, count + 10, 0.01, 2, 9 * MS)
    picked, _ = chosen(left, right, count)
    assert len(picked) == count
    assert {choice.shown for choice in picked} == {"pair"}
    skews = sorted(abs(left[c.left] - right[c.right]) for c in picked)
    assert skews[-1] <= PERIOD_NS / 2
    repeated = sum(a == b for a, b in pairwise(picked))
    assert 0 < repeated <= count * 0.05
    off = [abs((left[c.left] + right[c.right]) // 2 - t) for c, t in zip(picked, targets(count), strict=True)]
    assert sorted(off)[count * 99 // 100] <= 1.5 * PERIOD_NS
    assert max(off) < RULE.patience_ns
    assert picked == sorted(picked, key=lambda c: (c.left, c.right))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, PERIOD_NS - 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_whatever_comes_the_film_is_whole_never_goes_back_and_never_shows_what_is_not_together(
    seed: int, phase: int, left_drop: float, right_drop: float
) -> None:
    lots, count = random.Random(seed), 200
    hole = range(lots.randrange(200), lots.randrange(200, 260))

    def camera(drop: float, shift_ns: int, dead: range) -> list[int]:
        kept = [n for n in range(count) if lots.random() >= drop and n not in dead]
        return sorted(
            {ns + lots.randrange(-8 * MS, 8 * MS) for n in kept for ns in [frames(shift_ns, count)[n]]}
        )

    left, right = camera(left_drop, phase, hole), camera(right_drop, phase // 3, range(lots.randrange(120)))
    picked, _ = chosen(left, right, count)
    assert len(picked) == count
    for side, times in (("left", left), ("right", right)):
        numbers = [n for c in picked if (n := getattr(c, side)) >= 0]
        assert numbers == sorted(numbers)
        assert all(n < len(times) for n in numbers)
    for choice in picked:
        assert (choice.left >= 0, choice.right >= 0) == {
            "pair": (True, True),
            "left": (True, False),
            "right": (False, True),
            "card": (False, False),
        }[choice.shown]
        if choice.shown == "pair":
            assert abs(left[choice.left] - right[choice.right]) <= RULE.tolerance_ns


def test_jitter_at_the_boundary_neither_doubles_nor_drops() -> None:
    lots = random.Random(7)
    count = 600
    # The middles of the pairs lie just between two targets: the nearest flaps with every microsecond.
    left = [ns + lots.randrange(-MS, MS) for ns in frames(PERIOD_NS - MS // 2, count)]
    picked, _ = chosen(left, left, count)
    steps = [b.left - a.left for a, b in pairwise(picked)]
    assert steps.count(1) >= count - 2


def test_a_dropped_frame_costs_one_repeated_pair_and_one_unpaired_frame() -> None:
    left = frames(5 * MS, 120)
    right = [ns for n, ns in enumerate(frames(5 * MS, 120)) if n != 50]
    picked, _ = chosen(left, right, 120)
    assert {c.shown for c in picked} == {"pair"}
    assert sum(a == b for a, b in pairwise(picked)) == 1
    assert all(left[c.left] == right[c.right] for c in picked)


def test_a_short_lack_repeats_and_a_long_one_shows_the_other_camera_alone() -> None:
    left = frames(5 * MS, 120)
    short = [ns for n, ns in enumerate(frames(5 * MS, 120)) if not 40 <= n < 50]
    picked, _ = chosen(left, short, 120)
    assert {c.shown for c in picked} == {"pair"}
    long = [ns for n, ns in enumerate(frames(5 * MS, 120)) if not 40 <= n < 80]
    picked, _ = chosen(left, long, 120)
    assert [c.shown for c in picked[:40]] == ["pair"] * 40
    assert [c.shown for c in picked[41:79]] == ["left"] * 38
    assert [c.left for c in picked[42:79]] == list(range(42, 79))
    assert [c.shown for c in picked[81:]] == ["pair"] * 39


def test_a_lack_that_lasts_to_the_known_end_counts_up_to_there() -> None:
    left, right = frames(5 * MS, 60), frames(5 * MS, 50)
    picked, cursor = chosen(left, right, 60)
    assert {c.shown for c in picked} == {"pair"}
    end_ns = LINE.start_ns(120)
    more, _ = choose(
        targets(60, 60), a_track(frames(5 * MS, 120), end_ns), a_track(right, end_ns), cursor, RULE, BEGIN_NS
    )
    assert {c.shown for c in more} == {"left"}


def test_without_both_cameras_there_is_a_card_for_just_that_time() -> None:
    left = [ns for n, ns in enumerate(frames(5 * MS, 120)) if not 30 <= n < 90]
    picked, _ = chosen(left, left, 120)
    shown = [c.shown for c in picked]
    assert shown[:30] == ["pair"] * 30
    assert shown[31:89] == ["card"] * 58
    assert shown[90:] == ["pair"] * 30
    nothing, _ = chosen([], [], 30)
    assert [c.shown for c in nothing] == ["card"] * 30


def test_a_late_first_pair_is_shown_from_the_beginning_when_it_comes_within_half_a_second() -> None:
    late = frames(0, 120)[9:]
    picked, _ = chosen(frames(0, 120), late, 120)
    assert picked[0].shown == "pair"
    assert picked[0].right == 0
    later = frames(0, 120)[30:]
    picked, _ = chosen(frames(0, 120), later, 120)
    assert [c.shown for c in picked[:28]] == ["left"] * 28
    assert picked[40].shown == "pair"


def test_cameras_slower_than_the_film_still_find_their_pairs() -> None:
    left, right = frames(0, 100, fps=25), frames(18 * MS, 100, fps=25)
    rule = rules(FPS, (25, 25))
    end_ns = LINE.start_ns(120)
    picked, _ = choose(targets(120), a_track(left, end_ns), a_track(right, end_ns), Cursor(), rule, BEGIN_NS)
    assert {c.shown for c in picked} == {"pair"}
    assert len(set(picked)) >= 98


def test_a_camera_faster_than_the_film_is_sampled_evenly() -> None:
    left = frames(1 * MS, 240, fps=60)
    rule = rules(FPS, (60, 60))
    end_ns = LINE.start_ns(120)
    picked, _ = choose(targets(120), a_track(left, end_ns), a_track(left, end_ns), Cursor(), rule, BEGIN_NS)
    assert {b.left - a.left for a, b in pairwise(picked)} == {2}


def test_one_camera_alone_is_a_film_of_its_own_with_a_card_where_it_lacks() -> None:
    times = [ns for n, ns in enumerate(frames(5 * MS, 120)) if not 60 <= n < 90]
    end_ns = LINE.start_ns(120)
    picked, _ = choose_single(targets(120), "right", a_track(times, end_ns), Cursor(), RULE, BEGIN_NS)
    assert [c.right for c in picked[:60]] == list(range(60))
    assert {c.shown for c in picked[61:89]} == {"card"}
    assert [c.right for c in picked[90:]] == list(range(60, 90))
    assert {c.left for c in picked} == {-1}


# --- from choices to plans ----------------------------------------------------------------------------


def a_plan(
    left: list[int], right: list[int], count: int, first: int = 0, before: Cursor | None = None
) -> SlotPlan:
    before = before or Cursor()
    end_ns = LINE.start_ns(first + count)
    tracks = a_track(left, end_ns), a_track(right, end_ns)
    choices, after = choose(targets(count, first), *tracks, before, RULE, BEGIN_NS)
    slot = Slot(0, first, count, "side_by_side", ("left", "right"), (("a", 5, True),))
    return slot_plan(slot, Chosen(choices, *tracks, before, after), lambda *_: "no frames")


def unrolled(plan: SlotPlan, side: str) -> list[int]:
    picks = [pick for run in plan.runs for pick in getattr(run, side)]
    return [pick.first + n * pick.step for pick in picks for n in range(pick.count)]


def test_an_undisturbed_slot_is_one_run_of_one_pick() -> None:
    plan = a_plan(frames(0, 120), frames(0, 120), 120)
    assert [(run.picture, run.frames) for run in plan.runs] == [("side_by_side", 120)]
    assert [(p.first, p.count, p.step) for p in plan.runs[0].left] == [(0, 120, 1)]
    assert (plan.repeated, plan.unpaired, plan.missing) == (0, 0, ())
    assert [source.frames for source in plan.left_sources] == [120]
    assert plan.basis is not None
    assert plan.basis.skew == ((0, 120),)
    assert plan.basis.mappings == (("a", 5, True),)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.6))
def test_picks_unroll_to_what_was_chosen(seed: int, drop: float) -> None:
    lots = random.Random(seed)
    left = [ns for ns in frames(0, 120) if lots.random() >= drop]
    right = [ns for ns in frames(2 * MS, 120) if lots.random() >= drop]
    plan = a_plan(left, right, 120)
    choices, _ = chosen(left, right, 120)
    assert unrolled(plan, "left") == [c.left for c in choices if c.left >= 0]
    assert unrolled(plan, "right") == [c.right for c in choices if c.right >= 0]
    assert sum(run.frames for run in plan.runs) == 120
    for run in plan.runs:
        for picks, camera in ((run.left, "left"), (run.right, "right")):
            shows = run.picture in ("side_by_side", camera)
            assert sum(pick.count for pick in picks) == (run.frames if shows else 0)
    missing = {name: sum(m.frames for m in plan.missing if m.camera == name) for name in ("left", "right")}
    assert missing == {
        "left": sum(c.left < 0 for c in choices),
        "right": sum(c.right < 0 for c in choices),
    }


def test_counts_of_a_slot_are_right_and_go_on_over_its_border() -> None:
    left = frames(5 * MS, 240)
    right = [ns for n, ns in enumerate(frames(5 * MS, 240)) if n not in (50, 119, 120)]
    first = a_plan(left, [ns for ns in right if ns < LINE.start_ns(120)], 120)
    second = a_plan(left, right, 120, 120, cursor_after(first))
    assert (first.repeated, second.repeated) == (2, 1)
    account = Account().plus(first).plus(second.model_copy(update={"index": 1}))
    assert (account.slots, account.frames) == (2, 240)
    assert account.repeated == 3
    assert account.unpaired == 3  # the left frames whose right ones were dropped
    assert account.pictures == {"side_by_side": 240}


def test_the_account_knows_skew_and_the_errors_of_begin_and_end() -> None:
    plan = a_plan(frames(10 * MS, 60), frames(16 * MS, 60), 60)
    account = Account().plus(plan)
    skew = account.skew_stats()
    assert skew is not None
    assert (skew.median_ms, skew.p99_ms, skew.max_ms) == (6.0, 6.0, 6.0)
    assert account.start_error_ms(BEGIN_NS) == 13.0
    assert account.end_error_ms(LINE.start_ns(60), FPS) is not None
    assert abs((account.end_error_ms(LINE.start_ns(60), FPS) or 0) - 13.0) < 0.001
    assert Account().skew_stats() is None
    assert Account().start_error_ms(0) is None


def test_a_camera_missing_is_named_with_its_reason() -> None:
    plan = a_plan(frames(0, 60), [], 60)
    assert [(run.picture, run.frames, run.right) for run in plan.runs] == [("left", 60, ())]
    assert [(m.camera, m.first_frame, m.frames, m.reason) for m in plan.missing] == [
        ("right", 0, 60, "no frames")
    ]
    assert plan.right_sources == ()
    assert layout_of([plan]) is None
    assert cursor_after(plan).shown == "left"
    assert layout_of([a_plan(frames(0, 60), frames(0, 60), 60)]) == "side_by_side"
