"""Counts, gaps and cover of one camera's part."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.agent import wall_ns
from edge_agent.core.capture import (
    MAX_GAPS,
    Cause,
    Item,
    Tally,
    View,
    add,
    advance,
    expected_frames,
    reason_of,
    trailing,
)
from schemas.work import Segment, pack_offsets
from tests.agents.camera_rig import BOOT, PERIOD_NS, START_NS, T0, at, mono, ring_file, segment_of

OFFSET_NS = wall_ns(T0) - START_NS


def view(begin: float, end: float, *causes: Cause) -> View:
    return View(wall_ns(at(begin)), wall_ns(at(end)), PERIOD_NS, causes)


def tally(seen: View, *segments: Segment) -> Tally:
    counted = Tally()
    for segment in segments:
        counted = add(counted, segment, OFFSET_NS, seen)
    return counted


def piece(seq: int, begin: float, end: float) -> Segment:
    return segment_of(ring_file(seq, begin, end), "b1")


def without(segment: Segment, *frames: int) -> Segment:
    """The segment with some frames dropped."""
    times = [t for n, t in enumerate(segment.times_ns()) if n not in frames]
    offsets = pack_offsets([(t - times[0]) // 1000 for t in times])
    return segment.replace(t0_ns=times[0], offsets=offsets, frames=len(times), dropped=len(frames))


def test_only_frames_within_the_planned_time_count() -> None:
    counted = tally(view(1, 5), piece(1, 0, 2), piece(2, 2, 4), piece(3, 4, 6))
    assert (counted.frames, counted.segments, counted.gaps_count) == (120, 3, 0)
    assert counted.first is not None
    assert counted.last is not None
    assert (counted.first.mono_ns, counted.last.mono_ns < mono(5)) == (mono(1), True)


def test_a_dropped_frame_is_a_gap_of_its_own_time() -> None:
    counted = tally(view(0, 2), without(piece(1, 0, 2), 10))
    (gap,) = counted.gaps
    assert (counted.frames, counted.dropped, gap.reason) == (59, 1, "frames dropped")
    assert abs((gap.end - gap.begin).total_seconds() - 1 / 30) < 1e-5


def test_frames_dropped_outside_the_planned_time_do_not_count() -> None:
    counted = tally(view(1, 2), without(piece(1, 0, 2), 10, 40))
    assert (counted.frames, counted.dropped, counted.gaps_count) == (29, 1, 1)


def test_gaps_take_the_closest_known_reason() -> None:
    seen = view(0, 8, Cause(BOOT, 0, None, "agent restarted"), Cause(BOOT, mono(4), mono(6), "camera absent"))
    counted = tally(seen, piece(1, 0, 2), piece(2, 3, 4), piece(3, 6, 8))
    assert [gap.reason for gap in counted.gaps] == ["agent restarted", "camera absent"]
    assert reason_of(seen.causes, "another boot", 0, mono(9)) is None


def test_the_list_of_gaps_ends_at_two_hundred_and_the_count_goes_on() -> None:
    seen = view(0, 20)
    pieces = [without(piece(n, n, n + 1), *range(1, 29, 2)) for n in range(20)]
    counted = tally(seen, *pieces)
    assert (len(counted.gaps), counted.gaps_count, counted.dropped) == (MAX_GAPS, 280, 280)


def test_the_tail_up_to_cover_is_a_gap() -> None:
    seen = view(0, 10, Cause(BOOT, mono(4), None, "camera absent"))
    counted = tally(seen, piece(1, 0, 2), piece(2, 2, 4))
    assert trailing(counted, BOOT, mono(4), OFFSET_NS, seen) is None
    gap = trailing(counted, BOOT, mono(7), OFFSET_NS, seen)
    assert gap is not None
    assert (gap.end, gap.reason) == (at(7), "camera absent")
    whole = trailing(Tally(), BOOT, mono(30), OFFSET_NS, seen)
    assert whole is not None
    assert (whole.begin, whole.end) == (at(0), at(10))


def test_expected_frames_are_those_of_the_nominal_rate() -> None:
    assert expected_frames(0, 20_000_000_000, 30) == 600


def test_cover_stops_at_what_is_not_settled_and_jumps_over_holes() -> None:
    items = [Item(0, 2, settled=True), Item(2, 4, settled=True), Item(7, 9, settled=False)]
    assert advance(0, 100, items, None) == 7
    assert advance(0, 100, items, 50) == 7
    assert advance(0, 3, items, 50) == 4
    assert advance(0, 100, items[:2], 50) == 50
    assert advance(0, 20, items[:2], 50) == 20
    assert advance(30, 100, items, None) == 30
    beyond = [Item(0, 2, settled=True), Item(4, 6, settled=True)]
    assert advance(0, 3, beyond, None) == 3  # what lies beyond the end is not passed: the end may move


ITEMS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.booleans()), max_size=12)


@given(ITEMS, st.integers(0, 40), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_cover_never_goes_back_nor_past_what_is_unsettled(
    steps: list[tuple[int, int, bool]], start: int, end: int, silent: int | None
) -> None:
    items: list[Item] = []
    at_ns = 0
    for hole, length, settled in steps:
        items.append(Item(at_ns + hole, at_ns + hole + length, settled))
        at_ns += hole + length
    covered = advance(start, end, items, silent)
    assert covered >= start
    for item in items:
        if not item.settled and start < item.end_ns and item.t0_ns < end:
            assert covered <= max(start, item.t0_ns)
            break
