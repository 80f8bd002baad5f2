from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.plans import Taken, degrade, frames_of, frames_shown, on_rung, pack, shorten, unroll
from schemas.work import Missing, Pick, Run, SlotPlan, Source

TAKEN = st.lists(st.builds(Taken, st.integers(0, 2), st.integers(0, 9)), max_size=40)


def sources(camera: str) -> tuple[Source, ...]:
    return tuple(Source(path=f"recordings/b1/{camera}/{n}.mp4", frames=60) for n in range(3))


def plan(*runs: Run) -> SlotPlan:
    return SlotPlan(
        index=2,
        first_frame=240,
        frames=sum(run.frames for run in runs),
        runs=runs,
        left_sources=sources("left"),
        right_sources=sources("right"),
    )


def picks(first: int = 0) -> tuple[Pick, ...]:
    return (Pick(source=0, first=first, count=60 - first), Pick(source=1, first=0, count=60 + first))


FULL = plan(Run(picture="side_by_side", frames=120, left=picks(), right=picks()))
SHORT = plan(
    Run(
        picture="side_by_side",
        frames=120,
        left=picks(),
        right=(Pick(source=0, first=0, count=60), Pick(source=2, first=0, count=60)),
    )
)


@given(TAKEN)
def test_packing_and_unrolling(taken: list[Taken]) -> None:
    assert list(unroll(pack(taken))) == taken


def test_packing_is_short() -> None:
    assert pack(Taken(0, k) for k in range(60)) == (Pick(source=0, first=0, count=60),)
    assert pack([Taken(0, 5)] * 9) == (Pick(source=0, first=5, count=9, step=0),)


def test_nothing_bad_is_the_same_plan() -> None:
    assert degrade(FULL, ()) is FULL
    assert degrade(FULL, ("recordings/b1/left/2.mp4", "recordings/b9/left/0.mp4")) is FULL


def test_a_bad_source_leaves_the_other_camera_alone_for_its_time_only() -> None:
    poorer = degrade(FULL, ("recordings/b1/left/1.mp4",))
    assert poorer.runs == (
        Run(picture="side_by_side", frames=60, left=picks()[:1], right=picks()[:1]),
        Run(picture="right", frames=60, right=picks()[1:]),
    )
    assert [(m.camera, m.first_frame, m.frames) for m in poorer.missing] == [("left", 300, 60)]
    assert (frames_shown(poorer, "left"), frames_shown(poorer, "right")) == (60, 120)


def test_where_both_are_bad_there_is_the_card() -> None:
    poorer = degrade(SHORT, ("recordings/b1/left/0.mp4", "recordings/b1/right/0.mp4"))
    assert [(run.picture, run.frames) for run in poorer.runs] == [("card", 60), ("side_by_side", 60)]
    single = plan(Run(picture="single", frames=60, left=picks()[:1]))
    assert [run.picture for run in degrade(single, ("recordings/b1/left/0.mp4",)).runs] == ["card"]


def test_degrading_twice_changes_nothing_more() -> None:
    once = degrade(FULL, ("recordings/b1/left/1.mp4",))
    assert degrade(once, ("recordings/b1/left/1.mp4",)) is once


def test_a_source_cut_short_keeps_its_first_frames() -> None:
    poorer = shorten(FULL, {"recordings/b1/right/0.mp4": 47}, "torn")
    assert [(run.picture, run.frames) for run in poorer.runs] == [
        ("side_by_side", 47),
        ("left", 13),
        ("side_by_side", 60),
    ]
    assert poorer.missing == (Missing(camera="right", first_frame=287, frames=13, reason="torn"),)


@given(
    st.lists(st.integers(0, 2), max_size=3),
    st.lists(st.integers(0, 2), max_size=3),
    st.sampled_from(["full", "no_logos", "one_camera", "card"]),
)
def test_no_frame_is_ever_lost_or_moved(left: list[int], right: list[int], rung: str) -> None:
    bad = [FULL.left_sources[n].path for n in left] + [FULL.right_sources[n].path for n in right]
    poorer = on_rung(degrade(SHORT, bad), rung)  # type: ignore[arg-type]
    before, after = frames_of(SHORT), frames_of(poorer)
    assert len(after) == poorer.frames == 120
    for was, now in zip(before, after, strict=True):
        assert now.left in (None, was.left)
        assert now.right in (None, was.right)
        expected = {(True, True): "side_by_side", (True, False): "left", (False, True): "right"}
        assert now.picture == expected.get((now.left is not None, now.right is not None), "card")


def test_one_camera_keeps_the_one_with_more_frames() -> None:
    poorer = on_rung(degrade(FULL, ("recordings/b1/left/1.mp4",)), "one_camera")
    assert [(run.picture, run.frames) for run in poorer.runs] == [("right", 120)]
    assert [(run.picture, run.frames) for run in on_rung(FULL, "one_camera").runs] == [("left", 120)]


def test_the_last_rung_needs_nothing() -> None:
    assert on_rung(FULL, "card").runs == (Run(picture="card", frames=120),)
