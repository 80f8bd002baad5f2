from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.timeline import (
    Placing,
    SegmentTimes,
    Timeline,
    next_slot,
    segment_times,
    slots_in,
    track,
)
from schemas.work import Segment, pack_offsets

FPS = st.sampled_from([24, 25, 30, 50, 60])
BEGIN_NS = 1_700_000_000 * SECOND_NS


def a_segment(path: str = "recordings/b1/left/aaaaaaaa-1.mp4", frames: int = 60) -> Segment:
    offsets = tuple(n * 33_333 for n in range(frames))
    return Segment(
        path=path,
        name="aaaaaaaa-1",
        boot_id="a",
        stamp="sensor",
        t0_ns=1000,
        end_ns=2 * SECOND_NS,
        offsets=pack_offsets(offsets),
        frames=frames,
        bytes=1,
        wall_offset_ns=0,
        width=64,
        height=64,
        fps=30,
    )


@given(FPS, st.integers(0, 4 * 3600))
def test_whole_seconds_have_exactly_their_frames(fps: int, seconds: int) -> None:
    assert Timeline(BEGIN_NS, fps).frames_until(BEGIN_NS + seconds * SECOND_NS) == seconds * fps


@given(FPS, st.integers(0, 10**13))
def test_every_frame_of_a_film_has_its_middle_before_the_end_and_the_next_has_not(
    fps: int, span_ns: int
) -> None:
    timeline = Timeline(BEGIN_NS, fps)
    count = timeline.frames_until(BEGIN_NS + span_ns)
    assert count == 0 or timeline.centre_ns(count - 1) < BEGIN_NS + span_ns
    assert timeline.centre_ns(count) >= BEGIN_NS + span_ns - 1


def test_an_end_before_the_beginning_has_no_frames() -> None:
    assert Timeline(BEGIN_NS, 30).frames_until(BEGIN_NS - SECOND_NS) == 0


@given(FPS, st.integers(0, 20_000), st.integers(1, 20))
def test_slots_fill_the_film_and_the_last_is_short(fps: int, frames: int, slot_s: int) -> None:
    left, slots = frames, []
    while left:
        slots.append(next_slot(left, fps, slot_s))
        left -= slots[-1]
    assert sum(slots) == frames
    assert slots_in(frames, fps, slot_s) == len(slots)
    assert all(0 < slot <= slot_s * fps for slot in slots)
    assert not slots or slots[-1] <= 2 * fps


def test_slots_of_ten_seconds() -> None:
    slots, left = [], 300
    while left:
        slots.append(next_slot(left, 30, 4))
        left -= slots[-1]
    assert slots == [120, 120, 60]


def test_minutes_count_from_the_film_s_beginning() -> None:
    timeline = Timeline(BEGIN_NS, 30)
    assert [timeline.minute(frame) for frame in (0, 1799, 1800)] == [0, 0, 1]


def test_a_segment_that_did_not_grow_is_not_decoded_again() -> None:
    segment = a_segment()
    first = segment_times(segment, {})
    assert first is not None
    assert segment_times(segment, {segment.path: first}) is first
    grown = segment_times(a_segment(frames=61), {segment.path: first})
    assert grown is not None
    assert grown.frames == 61


def test_a_segment_whose_offsets_do_not_fit_is_left_out() -> None:
    assert segment_times(a_segment().model_copy(update={"offsets": (-3,)}), {}) is None
    assert segment_times(a_segment().model_copy(update={"frames": 12}), {}) is None


def test_frames_come_to_the_wall_by_their_boot_less_the_latency() -> None:
    placing = Placing({"a": 1000, "b": 5000}, latency_ns=10)
    assert placing.wall_ns("a", 5) == 995
    assert placing.wall_ns("b", 5) == 4995
    assert placing.wall_ns("c", 5) is None


def test_a_track_holds_the_window_s_frames_of_all_boots_in_order() -> None:
    later = SegmentTimes("later", "b", (0, 10, 20))
    earlier = SegmentTimes("earlier", "a", (0, 10, 20))
    unplaced = SegmentTimes("unplaced", "c", (0, 10, 20))
    found = track([later, unplaced, earlier], Placing({"a": 100, "b": 200}), 110, 215, 300)
    assert found.times_ns == (110, 120, 200, 210)
    assert [found.segments[n].path for n, _ in found.places] == ["earlier", "earlier", "later", "later"]
    assert [frame for _, frame in found.places] == [1, 2, 0, 1]
    assert found.end_ns == 300


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 500), min_size=1, max_size=9, unique=True)),
        max_size=6,
    ),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_time_never_runs_backwards_in_a_track(
    raw: list[tuple[str, list[int]]], begin_ns: int, length_ns: int
) -> None:
    segments = [SegmentTimes(f"s{n}", boot, tuple(sorted(times))) for n, (boot, times) in enumerate(raw)]
    found = track(segments, Placing({"a": 0, "b": 7}), begin_ns, begin_ns + length_ns, 0)
    assert list(found.times_ns) == sorted(set(found.times_ns))
    assert all(begin_ns <= time_ns < begin_ns + length_ns for time_ns in found.times_ns)
    offsets = {"a": 0, "b": 7}
    for time_ns, (number, frame) in zip(found.times_ns, found.places, strict=True):
        segment = found.segments[number]
        assert segment.times_ns[frame] + offsets[segment.boot_id] == time_ns
