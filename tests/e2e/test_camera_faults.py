"""Cameras that drift, drop, vanish, freeze and go black, as the film shows it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.court import Kept, court, kept, recorded_once, shared_base
from tests.judges.media import Shown, decode_errors, play_of, probe, quantile, shown

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(500)]

FPS = 30
FIRST_S = 30  # of the device's life: by then it is ready, also on a busy machine
# Each booking: when it begins (seconds of the device's life), and for how long.
BOOKINGS = {"drift": (0, 20), "one": (22, 12), "none": (36, 12), "dark": (50, 8)}
VANISHED_S = 2.7


def scenarios() -> dict[str, dict[str, object]]:
    """Faults of both cameras, in seconds of the device's life."""
    alone, gone, dark = (FIRST_S + at for at in (22 + 4, 36 + 4, 50))
    everywhere = {"drops": 0.01}
    left = {
        "drift_ppm": 200.0,
        "vanish": [[alone, VANISHED_S], [gone, VANISHED_S]],
        "black": [[dark, dark + 99]],
    }
    right = {"vanish": [[gone, VANISHED_S]], "frozen": [[dark, dark + 99]], "seed": 5}
    return {"left": {**everywhere, **left}, "right": {**everywhere, **right}}


def record(folder: Path) -> None:
    born = datetime.now(UTC)
    with court(folder, scenarios=scenarios()) as device:
        ids = [
            device.book(name, born + timedelta(seconds=FIRST_S + at), seconds)
            for name, (at, seconds) in BOOKINGS.items()
        ]
        device.until_moment(born + timedelta(seconds=FIRST_S + 50))
        device.until_final(*ids)
        device.keep(*ids)


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_once(shared_base(tmp_path_factory), "faults-day", record)


def frames_of(one: Kept) -> list[Shown]:
    """Every frame of its film after the intro, as many as were planned."""
    name = next(name for name in BOOKINGS if kept(one.folder, name).id == one.id)
    assert decode_errors(one.film) == ""
    frames = shown(one.film, one.intro_frames)
    assert len(frames) == BOOKINGS[name][1] * FPS
    return frames


def pairs(frames: Sequence[Shown]) -> list[tuple[int, int]]:
    return [(frame.left.frame, frame.right.frame) for frame in frames if frame.left and frame.right]


def test_drift_and_drops_leave_the_halves_together(day: Path) -> None:
    one = kept(day, "drift")
    frames = frames_of(one)
    assert {frame.picture for frame in frames} == {"side_by_side"}
    skews_ms = [abs(f.left.mono_us - f.right.mono_us) / 1000 for f in frames if f.left and f.right]
    assert quantile(skews_ms, 0.99) <= 500 / FPS + 1
    # Two frames more than half a frame apart are never shown together.
    assert max(skews_ms) <= 500 / FPS + 0.001
    assert abs(one.receipt["skew_ms"]["max_ms"] - max(skews_ms)) < 0.11
    assert one.receipt["state"] == "ready"


def test_repeated_pairs_are_those_that_can_be_seen(day: Path) -> None:
    one = kept(day, "drift")
    shown_pairs = pairs(frames_of(one))
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(shown_pairs)]
    repeated = steps.count((0, 0))
    assert repeated == one.receipt["repeated"]
    assert 0 < repeated <= 0.05 * len(shown_pairs)
    assert all(left >= 0 and right >= 0 for left, right in steps), "the film never goes back"
    # Neither half is repeated without the other.
    assert all((left == 0) == (right == 0) for left, right in steps)
    # What cameras captured and the film does not show.
    captured = {cam: one.receipt["cameras"][cam]["captured"] for cam in ("left", "right")}
    used = {cam: len({pair[at] for pair in shown_pairs}) for at, cam in enumerate(("left", "right"))}
    assert all(used[cam] <= captured[cam] < BOOKINGS["drift"][1] * FPS for cam in captured)


def test_one_camera_gone_the_other_stands_alone_for_just_that_time(day: Path) -> None:
    one = kept(day, "one")
    frames = frames_of(one)
    seen = Counter(frame.picture for frame in frames)
    assert seen == {name: count for name, count in one.receipt["pictures"].items() if count}
    assert set(seen) == {"side_by_side", "right"}
    assert one.receipt["state"] == "partial"
    gaps = [gap for gap in one.receipt["cameras"]["left"]["gaps"] if gap["reason"] != "frames dropped"]
    assert len(gaps) == 1
    begin, end = (datetime.fromisoformat(gaps[0][key]) for key in ("begin", "end"))
    assert abs(seen["right"] - (end - begin).total_seconds() * FPS) <= 2
    assert (end - begin).total_seconds() >= VANISHED_S
    first = next(at for at, frame in enumerate(frames) if frame.picture == "right")
    assert [f.picture for f in frames[first : first + seen["right"]]] == ["right"] * seen["right"]
    planned = datetime.fromisoformat(one.said["booking"]["from"])
    assert abs(first - (begin - planned).total_seconds() * FPS) <= 2


def test_both_gone_a_card_fills_exactly_the_missing_time(day: Path) -> None:
    one = kept(day, "none")
    frames = frames_of(one)
    seen = Counter(frame.picture for frame in frames)
    assert seen == {name: count for name, count in one.receipt["pictures"].items() if count}
    assert seen["card"] >= int(VANISHED_S * FPS) - 1
    cards = [at for at, frame in enumerate(frames) if frame.picture == "card"]
    assert cards == list(range(cards[0], cards[0] + len(cards)))
    # Before and after, each frame stands where its capture time says: off by one frame where a dropped one
    # is bridged by the pair before, by another where the drift has the halves change partners.
    numbers = [(at, f.right.mono_us) for at, f in enumerate(frames) if f.right is not None]
    origin = numbers[0][1] - numbers[0][0] * 1e6 / FPS
    assert max(abs(us - origin - at * 1e6 / FPS) for at, us in numbers) <= 2e6 / FPS + 1
    assert one.receipt["state"] == "partial"


def test_black_and_frozen_cameras_still_give_a_film(day: Path) -> None:
    one = kept(day, "dark")
    assert decode_errors(one.film) == ""
    play = play_of(one.film, one.intro_frames)
    assert len(play) == BOOKINGS["dark"][1] * FPS
    assert int(probe(one.film)["nb_read_frames"]) == one.receipt["film"]["frames"]
    assert {codes[0] for codes in play} == {None}
    frozen = {codes[1].frame for codes in play if codes[1]}
    assert len(frozen) == 1
    assert one.receipt["state"] == "ready"
