import pytest

from edge_agent.sim import Plant, Report, run
from tests.sim import plants

HOURS = 0.12
SEEDS = 50


def first_red(plant: Plant) -> Report | None:
    for seed in range(SEEDS):
        report = run(seed, HOURS, plant=plant)
        if not report.ok:
            return report
    return None


@pytest.mark.parametrize("seed", range(4))
def test_every_promise_holds(seed: int) -> None:
    report = run(seed, HOURS)
    assert report.ok, "\n".join((report.violation or "", report.fault or "", *report.trace))
    assert report.bookings


def test_a_seed_is_the_same_world_again() -> None:
    assert run(3, HOURS) == run(3, HOURS)


@pytest.mark.slow
@pytest.mark.lane
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_holds_for_long(seed: int) -> None:
    report = run(seed, 1.0)
    assert report.ok, "\n".join((report.violation or "", report.fault or "", *report.trace))


@pytest.mark.parametrize(
    ("plant", "promise"),
    [
        (plants.NO_FSYNC, "without a lasting copy"),
        (plants.EARLY_COVER, "had passed segment"),
        (plants.LOOSE_PAIRS, "over half a frame"),
        (plants.REPLANNED, "otherwise than it is on disk"),
        (plants.BLIND_VERIFY, "is not in the bucket"),
        (plants.EARLY_RETENTION, "before it is safe elsewhere"),
        (plants.EMPTY_WITHDRAWS, "was withdrawn and nobody said so"),
        (plants.TWICE_STORED, "was stored twice"),
        (plants.COURT_LOST, "published otherwise than anybody ever said"),
    ],
    ids=[
        *("no_fsync", "early_cover", "loose_pairs", "replanned", "blind_verify", "early_retention"),
        *("empty_withdraws", "twice_stored", "court_lost"),
    ],
)
def test_a_planted_bug_is_seen(plant: Plant, promise: str) -> None:
    report = first_red(plant)
    assert report is not None, "no seed showed it"
    assert promise in (report.violation or "")
    assert report.trace


def test_a_plant_may_be_named() -> None:
    assert not run(0, HOURS, plant="tests.sim.plants:NO_FSYNC").ok
