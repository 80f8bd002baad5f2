from datetime import timedelta

from cloud_bridge import notices
from cloud_bridge.notices import Made
from schemas.agent import Alarm
from schemas.base import utc_text
from schemas.booking import Booking
from schemas.health import Preflight, PreflightCheck
from schemas.recording import (
    CaptureStage,
    FilmFacts,
    Gap,
    MergeStage,
    PoorSlots,
    ProcessStage,
    Recording,
    UploadedObject,
)
from tests.cloud_bridge.made import NOON, at

FILM = UploadedObject(name="film", key="k", bytes=9, hash="h", verified_at=at(61))
BOOKING = Booking.model_validate({"rev": 1, "start": at(0), "end": at(60), "from": at(0), "to": at(60)})
FACTS = FilmFacts(bytes=9, frames=1800, intro_frames=300, duration_s=60.0, width=640, height=180, fps=30)
WHOLE = MergeStage(
    status="succeeded", begin=at(0), end=at(60), frames_total=1500, pictures={"side_by_side": 1500}
)
DONE = ProcessStage(status="succeeded", film=FACTS)


def test_a_whole_film_is_ready() -> None:
    notice = notices.film("court-1", Made("a", BOOKING, {}, WHOLE, DONE), FILM, at(70))
    assert (notice.id, notice.kind, notice.subject) == ("court-1:film:a", "film_ready", "a")
    assert notice.at == utc_text(at(61))
    assert notice.data == {
        "kind": "booked",
        "start": utc_text(at(0)),
        "end": utc_text(at(60)),
        "duration_s": 60.0,
    }


def test_a_film_with_something_missing_says_what_and_where() -> None:
    merge = WHOLE.replace(pictures={"side_by_side": 1350, "left": 90, "card": 60})
    process = DONE.replace(poorer=(PoorSlots(first=3, slots=2, rung="one_camera", left=30, right=0),))
    captures = {
        "right": CaptureStage(
            gaps=(
                Gap(begin=at(1), end=at(1) + timedelta(seconds=3), reason="stalled"),
                Gap(begin=at(2), end=at(2) + timedelta(seconds=2), reason="stalled"),
            )
        ),
        "left": CaptureStage(gaps=(Gap(begin=at(2), end=at(2) + timedelta(seconds=2), reason="stalled"),)),
    }
    notice = notices.film("court-1", Made("a", BOOKING, captures, merge, process), FILM, at(70))
    assert (notice.id, notice.kind) == ("court-1:film:a", "film_partial")
    assert notice.data["lacks"] == {"left": 3.0, "right": 2.0, "card": 2.0}
    assert notice.data["missing"] == [
        {"at_s": 70.0, "for_s": 3.0, "cameras": ["right"]},
        {"at_s": 130.0, "for_s": 2.0, "cameras": ["left", "right"]},
    ]


def test_of_many_gaps_the_longest_are_told_in_order() -> None:
    gaps = tuple(
        Gap(begin=at(n), end=at(n) + timedelta(seconds=1 + n % 15), reason="stalled") for n in range(15)
    )
    merge = WHOLE.replace(pictures={"left": 1500})
    made = Made("a", BOOKING, {"right": CaptureStage(gaps=gaps)}, merge, DONE)
    missing = notices.film("court-1", made, FILM, at(70)).data["missing"]
    assert isinstance(missing, list)
    assert [gap["at_s"] for gap in missing if isinstance(gap, dict)] == [10.0 + 60 * n for n in range(5, 15)]


def test_without_its_booking_a_film_is_told_by_what_was_planned() -> None:
    notice = notices.film("court-1", Made("a", None, {}, WHOLE, None), FILM, at(70))
    assert (notice.kind, notice.data) == ("film_ready", {"start": utc_text(at(0)), "end": utc_text(at(60))})
    assert notices.film("court-1", Made("a"), FILM.replace(verified_at=None), at(70)).at == utc_text(at(70))


def test_a_film_that_will_not_be() -> None:
    recording = Recording(state="missed", why="camera left was offline")
    notice = notices.missed("court-1", Made("a", BOOKING), recording, at(61))
    assert (notice.id, notice.kind) == ("court-1:missed:a", "film_missed")
    assert notice.data["state"] == "missed"
    assert notice.data["why"] == "camera left was offline"


def test_an_alarm_and_its_end_are_one_cause() -> None:
    standing = Alarm(severity="major", text="t", since=NOON, subject="left", mend="m")
    told = notices.alarm("court-1", "camera_left", "capture_lost", standing)
    assert told.id == f"court-1:alarm:camera_left/capture_lost:{utc_text(NOON)}"
    again = notices.alarm("court-1", "camera_left", "capture_lost", standing.replace(text="worse"))
    later = notices.alarm("court-1", "camera_left", "capture_lost", standing.replace(since=at(1)))
    assert (again.id == told.id, later.id == told.id) == (True, False)
    over = notices.recovered(told, at(5))
    assert over.id == f"court-1:recovered:camera_left/capture_lost:{utc_text(NOON)}"
    assert (over.kind, over.subject, over.at) == ("recovered", "camera_left/capture_lost", utc_text(at(5)))
    assert over.data == {**told.data, "over_at": utc_text(at(5))}


def test_a_failed_preflight_is_told_by_what_fails() -> None:
    good = PreflightCheck(name="disk", ok=True, value="90 GB")
    bad = PreflightCheck(name="camera_left", ok=False, value="offline", mend="look at the cable")
    first = notices.preflight_failed(
        "court-1", "a", BOOKING, Preflight(ok=False, at=NOON, checks=(good, bad))
    )
    assert first.data["checks"] == [{"name": "camera_left", "value": "offline", "mend": "look at the cable"}]
    assert first.data["start"] == utc_text(at(0))
    same = notices.preflight_failed("court-1", "a", None, Preflight(ok=False, at=at(1), checks=(bad,)))
    worse = bad.replace(name="clock")
    other = notices.preflight_failed("court-1", "a", None, Preflight(ok=False, at=at(1), checks=(bad, worse)))
    assert (same.id == first.id, other.id == first.id) == (True, False)
