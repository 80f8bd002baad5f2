from dataclasses import replace
from datetime import timedelta

import pytest

from edge_agent.core.receipt import due, receipt_of, with_delivery
from schemas.base import MAX_PAYLOAD_BYTES
from schemas.receipt import FilmAccount
from schemas.recording import Gap, Recording, RecordingState, WallMapping
from tests.support.recordings import at, capture, facts, process, share, upload


@pytest.mark.parametrize(
    ("state", "shared", "now_s", "closed"),
    [
        ("finishing", True, 99, False),
        ("ready", True, 23, True),
        ("ready", False, 32.9, False),
        ("partial", False, 33, True),
        ("cancelled", True, 99, False),
    ],
)
def test_an_account_waits_for_the_share_but_not_long(
    state: RecordingState, shared: bool, now_s: float, closed: bool
) -> None:
    one = facts(said=Recording(state=state), share=share() if shared else None)
    assert due(one, at(now_s)) == closed


def test_a_recording_without_a_film_is_accounted_for_at_once() -> None:
    assert due(facts(said=Recording(state="missed"), upload=None), at(60))


def test_the_account_says_what_the_stages_counted() -> None:
    one = replace(facts(share=share()), booked_at=at(-600), planned_at=at(21), shared_at=at(23.5))
    receipt = receipt_of(one, "ready", {"uploader": "1.2"})
    assert (receipt.recorded_start, receipt.recorded_end) == (at(0.01), at(19.98))
    assert (receipt.whistle_to_watchable_s, receipt.machine_s, receipt.uplink_s) == (3.0, 2.0, 1.0)
    assert receipt.whistle_to_delivered_s == 4.0
    assert receipt.film == FilmAccount(
        bytes=900,
        duration_s=23,
        frames=690,
        intro_frames=90,
        sha256="h-1",
        codec="h264",
        width=64,
        height=36,
        fps=30,
    )
    assert receipt.cameras["left"].mean_fps == round(599 / 19.96, 3)
    assert (receipt.clock.synced, receipt.clock.steps, receipt.clock.boots) == (True, 0, 1)
    assert [one.what for one in receipt.timeline] == [
        "booked",
        "planned start",
        "first frame",
        "last frame",
        "whistle",
        "planned",
        "film complete",
        "verified",
        "shared",
        "delivered",
    ]


def test_what_is_not_known_is_left_out() -> None:
    receipt = receipt_of(facts(merge=None, process=None, upload=None, captures={}), "failed", {})
    assert (receipt.film, receipt.upload, receipt.skew_ms, receipt.uplink_s) == (None, None, None, None)
    assert [one.what for one in receipt.timeline] == ["planned start", "whistle"]


def test_a_step_of_the_clock_and_a_reboot_are_seen() -> None:
    stepped = capture(
        mappings=(
            WallMapping(boot_id="b", wall_offset_ns=5 + 10**9),
            WallMapping(boot_id="c", wall_offset_ns=9, synced=False),
        )
    )
    clock = receipt_of(facts(captures={"left": capture(), "right": stepped}), "ready", {}).clock
    assert (clock.synced, clock.steps, clock.boots) == (False, 1, 2)


def test_the_longest_account_fits_a_message() -> None:
    gaps = tuple(Gap(begin=at(n), end=at(n + 1), reason="the camera was unplugged") for n in range(200))
    many = capture(gaps=gaps, gaps_count=999)
    receipt = receipt_of(facts(captures={"left": many, "right": many}), "partial", {})
    assert len(receipt.model_dump_json()) < MAX_PAYLOAD_BYTES
    assert receipt.cameras["left"].gaps_count == 999


def test_an_upload_under_way_has_no_delay() -> None:
    receipt = receipt_of(facts(upload=upload(None), process=process(completed_at=None)), "failed", {})
    assert receipt.whistle_to_watchable_s is None


def test_a_delivery_after_the_account_was_closed_is_added_once() -> None:
    known = facts()
    closed = receipt_of(replace(known, share=None, shared_at=None), "ready", {})
    assert closed.whistle_to_delivered_s is None
    blown = next(one.at for one in closed.timeline if one.what == "whistle")
    delivered = with_delivery(closed, blown + timedelta(seconds=90))
    assert delivered.whistle_to_delivered_s == 90.0
    assert [one.what for one in delivered.timeline][-1] == "delivered"
    assert with_delivery(delivered, blown + timedelta(seconds=99)) is delivered
