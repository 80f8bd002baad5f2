from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.recording import Facts
from edge_agent.core.retention import MAX_ENTRIES, retention
from edge_agent.core.settings import Settings
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


ANY = st.builds(
    facts,
    booking=st.sampled_from([booking(), booking(status="cancelled"), booking(deliver=("film", "cameras"))]),
    merge=st.sampled_from([None, MergeStage(), merge()]),
    upload=st.sampled_from([None, upload(None), upload(), upload(23, ("left", "right"))]),
    film=st.sampled_from([None, film(complete=False), film(bytes_durable=1), film()]),
    dead=st.booleans(),
    said=st.sampled_from([None, READY, Recording(state="missed"), Recording(state="cancelled")]),
)


@given(ANY, st.integers(0, 60 * 24 * HOUR))
def test_no_films_last_copy_is_ever_listed(one: Facts, now_s: int) -> None:
    for entry in retention([one], at(now_s), SETTINGS, Retention()).entries:
        assert isinstance(entry, RetentionEntry)
        if entry.what == "all":
            assert one.dead or one.verified is not None
        else:
            assert one.verified is not None or (one.film is not None and one.film.bytes_durable == 900)
