"""Bookings that change while they run, on a whole device."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.base import utc_text
from schemas.registry import ALARM, RECORDING
from tests.e2e.court import Court, Kept, court, kept, recorded_once, shared_base, soon
from tests.judges.media import both, decode_errors, play_of, probe, shown

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(500)]

FPS = 30


def record(folder: Path) -> None:
    with court(folder, settings={"retention": {"cancelled_min": 1}}) as device:
        said: dict[str, object] = {}
        begin = soon()
        off = device.book("off", begin, 40)
        device.until_moment(begin + timedelta(seconds=7))
        said["off_at"] = utc_text(datetime.now(UTC))
        assert device.cancel(off).status == "ok"
        late = extend_in_its_last_second(device)
        early, now = end_early(device)
        back = cancel_and_take_back(device)
        device.until_final(late, early, now, back)
        device.keep(late, early, now, back)
        said["refused"] = device.extend(late, datetime.now(UTC) + timedelta(seconds=60)).body()
        said["moved_behind"] = move_behind(device, back)
        wait_dead(device, off)
        device.keep(off)
        device.keep(back)
        said["uploads"] = device.bucket.uploads()
        (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


def extend_in_its_last_second(device: Court) -> str:
    begin = soon()
    late = device.book("late", begin, 8)
    device.until_moment(begin + timedelta(seconds=7.3))
    answer = device.extend(late, begin + timedelta(seconds=12))
    assert answer.status == "ok", answer.message
    device.until_moment(begin + timedelta(seconds=12.5))
    return late


def end_early(device: Court) -> tuple[str, str]:
    begin = soon(1)
    early = device.book("early", begin, 30)
    device.until_moment(begin + timedelta(seconds=5))
    assert device.extend(early, begin + timedelta(seconds=8)).status == "ok"
    device.until_moment(begin + timedelta(seconds=8.5))
    begin = soon(1)
    now = device.book("now", begin, 30)
    device.until_moment(begin + timedelta(seconds=6))
    assert device.extend(now, begin + timedelta(seconds=2)).status == "ok"
    return early, now


def cancel_and_take_back(device: Court) -> str:
    begin = soon(1)
    back = device.book("back", begin, 16)
    device.until_moment(begin + timedelta(seconds=5))
    assert device.cancel(back).status == "ok"
    device.until(lambda topics: topics[RECORDING.at(id=back)].state == "cancelled", "the cancellation")
    device.until_moment(begin + timedelta(seconds=9))
    device.change_in_store(back, status="confirmed")
    device.until_moment(begin + timedelta(seconds=16.5))
    return back


def move_behind(device: Court, booking_id: str) -> dict[str, str]:
    """Extend a closed film behind the commands' back; the alarms that stand then."""
    before = set(device.alarms())
    device.change_in_store(booking_id, end=utc_text(datetime.now(UTC) + timedelta(seconds=60)))
    device.until(
        lambda topics: any(at.topic is ALARM and booking_id in str(topics[at]) for at in topics),
        "an alarm about the refused extension",
        20,
    )
    return {name: text for name, text in device.alarms().items() if name not in before}


def wait_dead(device: Court, booking_id: str) -> None:
    """Wait until the owners have deleted what a cancelled recording had."""
    root = device.lab.folder / "data" / "recordings" / booking_id

    def empty(_topics: object) -> bool:
        return not [path for path in root.rglob("*") if path.is_file()]

    for _ in range(90):
        if device.client.wait_for(empty, 1):
            return
    left = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    raise AssertionError(f"still there: {left}; {device.scene()}")


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_once(shared_base(tmp_path_factory), "changes-day", record)


def whole(one: Kept, frames: int) -> None:
    assert one.receipt["state"] == "ready", one.receipt
    assert decode_errors(one.film) == ""
    assert int(probe(one.film)["nb_read_frames"]) == one.receipt["film"]["frames"]
    left, right = both(play_of(one.film, one.intro_frames))
    assert set(left.steps) == set(right.steps) == {1}
    assert len(left.frames) == frames


@pytest.mark.parametrize(("name", "seconds"), [("late", 12), ("early", 8)])
def test_an_end_may_move_while_it_runs(day: Path, name: str, seconds: int) -> None:
    whole(kept(day, name), seconds * FPS)


def test_an_end_in_the_past_means_now(day: Path) -> None:
    one = kept(day, "now")
    begin, end = (datetime.fromisoformat(one.said["booking"][key]) for key in ("from", "to"))
    assert end - begin >= timedelta(seconds=6)
    frames = int(one.receipt["film"]["frames"]) - one.intro_frames
    # It ends now, or with the slot that was planned already.
    assert -1 < frames - (end - begin).total_seconds() * FPS <= 4 * FPS
    whole(one, frames)


def test_cancelled_and_taken_back_it_goes_on(day: Path) -> None:
    one = kept(day, "back")
    assert one.receipt["state"] in ("ready", "partial")
    assert decode_errors(one.film) == ""
    frames = shown(one.film, one.intro_frames)
    assert len(frames) == 16 * FPS
    seen = Counter(frame.picture for frame in frames)
    assert seen == {name: count for name, count in one.receipt["pictures"].items() if count}
    # What the court looked like while nothing was to be recorded is not in it; the rest is.
    assert [frame.picture for frame in frames[: 4 * FPS]] == ["side_by_side"] * 4 * FPS
    assert [frame.picture for frame in frames[-5 * FPS :]] == ["side_by_side"] * 5 * FPS
    numbers = [frame.left.frame for frame in frames if frame.left]
    assert [at - numbers[0] for at in numbers] == [at for at, frame in enumerate(frames) if frame.left]
    missing = 16 * FPS - seen["side_by_side"]
    assert (one.receipt["state"] == "partial") == (missing > 0)
    if missing:
        assert all(one.receipt["cameras"][cam]["gaps_count"] for cam in ("left", "right"))


def test_cancelled_for_good_leaves_nothing(day: Path) -> None:
    off = kept(day, "off")
    assert off.said["recording"]["state"] == "cancelled"
    for stage in ("merge", "capture_left", "capture_right"):
        assert off.said[stage]["status"] == "cancelled", stage
    assert off.said["keys"] == []
    assert json.loads((day / "said.json").read_text())["uploads"] == []


def test_a_closed_film_refuses_an_extension_in_words(day: Path) -> None:
    said = json.loads((day / "said.json").read_text())
    late = kept(day, "late")
    assert said["refused"]["status"] == "rejected"
    assert late.id in said["refused"]["message"]
    assert "closed" in said["refused"]["message"]
    assert said["moved_behind"], "nobody said that the extension was refused"
    back = kept(day, "back")
    assert back.said["recording"]["state"] == back.receipt["state"]
    assert back.said["merge"]["slots_total"] == back.said["process"]["slots_done"]
    assert back.said["merge"]["status"] == "succeeded"
