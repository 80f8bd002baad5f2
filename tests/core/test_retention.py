from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.recording import Facts
from edge_agent.core.retention import MAX_ENTRIES, retention
from edge_agent.core.settings import Settings, Storage
from edge_agent.core.watch import expired
from schemas.health import Retention, RetentionEntry
from schemas.recording import MergeStage, Recording
from tests.support.recordings import at, booking, capture, facts, film, merge, upload

SETTINGS = Settings()
HOUR = 3600
READY = Recording(state="ready")


def listed(*known: Facts, now_s: float) -> list[tuple[str, str, bool]]:
    entries = retention(known, at(now_s), SETTINGS, Retention()).entries
    return [(entry.id, entry.what, entry.dead) for entry in entries]


def test_camera_files_go_when_their_slots_are_durable_in_the_film() -> None:
    unsent = facts(upload=upload(None))
    assert listed(unsent, now_s=23) == [("b1", "cameras", False)]
    assert listed(replace(unsent, film=film(bytes_durable=899)), now_s=23) == []
    assert listed(replace(unsent, film=film(complete=False)), now_s=23) == []
    assert listed(replace(unsent, merge=merge(status="running")), now_s=23) == []


def test_camera_files_asked_for_stay_until_they_are_in_the_bucket() -> None:
    asked = booking(deliver=("film", "cameras"))
    assert listed(facts(booking=asked), now_s=23) == []
    all_sent = facts(booking=asked, upload=upload(23, ("film", "left", "right")))
    assert listed(all_sent, now_s=23) == [("b1", "cameras", False)]


def test_everything_goes_a_day_after_it_was_verified() -> None:
    one = facts(said=READY)
    assert listed(one, now_s=23 + 24 * HOUR - 1) == [("b1", "cameras", False)]
    assert listed(one, now_s=23 + 24 * HOUR) == [("b1", "all", False)]


def test_a_camera_that_gave_no_frame_has_no_file_to_wait_for() -> None:
    asked = booking(deliver=("film", "cameras"))
    blind = facts(
        said=READY,
        booking=asked,
        captures={"left": capture(), "right": capture(frames=0, segments=0)},
        upload=upload(23, ("film", "left"), status="running"),
    )
    assert listed(blind, now_s=23 + 24 * HOUR) == [("b1", "all", False)]
    unsent = replace(blind, captures={"left": capture(), "right": capture()})
    assert listed(unsent, now_s=23 + 24 * HOUR) == []


def test_a_dead_booking_goes_whatever_it_has() -> None:
    one = Facts("b1", booking(status="cancelled"), cancelled_at=at(0), dead=True)
    assert listed(one, now_s=600) == [("b1", "all", True)]


def test_the_oldest_stand_first_and_the_list_is_bounded() -> None:
    known = [facts(id=f"b{n}", said=READY, upload=upload(1000 - n)) for n in range(MAX_ENTRIES + 50)]
    ids = [entry[0] for entry in listed(*known, now_s=30 * 24 * HOUR)]
    assert ids == [f"b{n}" for n in reversed(range(MAX_ENTRIES))]


def test_the_message_is_kept_while_it_says_the_same() -> None:
    before = retention([facts()], at(23), SETTINGS, Retention())
    assert retention([facts()], at(24), SETTINGS, before) is before


FAILED = Recording(state="failed")
DAY = 24 * HOUR


def test_what_a_failed_recording_left_goes_after_two_weeks() -> None:
    one = facts(said=FAILED, final_at=at(0), upload=None, film=None, merge=merge(status="failed"))
    assert listed(one, now_s=14 * DAY - 1) == []
    assert listed(one, now_s=14 * DAY) == [("b1", "all", True)]
    (entry,) = retention([replace(one, dead=True)], at(14 * DAY), SETTINGS, Retention()).entries
    assert entry.why == "no film could be made, 14 days ago"
    assert listed(replace(one, final_at=None), now_s=99 * DAY) == []


def test_a_failed_recording_is_remembered_until_it_is_deleted() -> None:
    one = facts(said=FAILED, final_at=at(0))
    for days, gone in ((7, False), (14, False), (15, True)):
        assert expired(one, at(days * DAY), SETTINGS, booked=False) == gone
    assert not expired(one, at(99 * DAY), SETTINGS, booked=True)
    ready = replace(one, said=READY)
    assert expired(ready, at(7 * DAY), SETTINGS, booked=False)


def budgeted(*known: Facts, budget: int, now_s: float = 2 * HOUR) -> list[tuple[str, str]]:
    settings = Settings(storage=Storage(budget=budget))
    entries = retention(known, at(now_s), settings, Retention()).entries
    return [(entry.id, entry.what) for entry in entries]


def big(name: str, verified_s: int | None, size: int = 200_000_000) -> Facts:
    """A recording whose film takes so many bytes; the camera files are durable in it."""
    sent = upload(verified_s)
    sent = sent.replace(objects=tuple(one.replace(bytes=size) for one in sent.objects))
    said = READY if verified_s is not None else None
    return facts(id=name, said=said, upload=sent, film=film(bytes=size, bytes_durable=size))


def test_beyond_the_budget_the_oldest_that_is_safe_goes_first() -> None:
    known = [big(f"b{n}", 1000 - n) for n in range(4)]
    assert budgeted(*known, budget=800_000_000) == [(f"b{n}", "cameras") for n in (3, 2, 1, 0)]
    assert budgeted(*known, budget=500_000_000) == [
        ("b3", "all"), ("b2", "all"), ("b1", "cameras"), ("b0", "cameras"),
    ]  # fmt: skip


def test_what_is_not_in_the_bucket_never_goes_for_room() -> None:
    known = [big("unsent", None), big("sent", 100)]
    assert dict(budgeted(*known, budget=100_000_000)) == {"unsent": "cameras", "sent": "all"}
    assert budgeted(big("unsent", None), budget=100_000_000) == [("unsent", "cameras")]


def test_what_has_gone_by_its_age_takes_no_room() -> None:
    old, new = big("old", 0), big("new", 30 * HOUR)
    assert budgeted(old, new, budget=300_000_000, now_s=31 * HOUR) == [("old", "all"), ("new", "cameras")]


def test_camera_files_count_while_they_are_there() -> None:
    claimed = {"left": capture(status="running", bytes=900_000_000)}
    recording = facts(id="now", captures=claimed, merge=None, upload=None, film=None)
    assert budgeted(big("sent", 100), recording, budget=1_000_000_000) == [("sent", "all")]


ANY = st.builds(
    facts,
    booking=st.sampled_from([booking(), booking(status="cancelled"), booking(deliver=("film", "cameras"))]),
    merge=st.sampled_from([None, MergeStage(), merge()]),
    upload=st.sampled_from([None, upload(None), upload(), upload(23, ("left", "right"))]),
    film=st.sampled_from([None, film(complete=False), film(bytes_durable=1), film()]),
    dead=st.booleans(),
    said=st.sampled_from([None, READY, Recording(state="missed"), Recording(state="cancelled")]),
)


TIGHT = Settings(storage=Storage(budget=100_000_000))


@given(ANY, st.integers(0, 60 * 24 * HOUR), st.sampled_from([SETTINGS, TIGHT]))
def test_no_films_last_copy_is_ever_listed(one: Facts, now_s: int, settings: Settings) -> None:
    for entry in retention([one], at(now_s), settings, Retention()).entries:
        assert isinstance(entry, RetentionEntry)
        if entry.what == "all":
            assert one.dead or one.verified is not None
        else:
            assert one.verified is not None or (one.film is not None and one.film.bytes_durable == 900)
