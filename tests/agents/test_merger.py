from typing import Any

import pytest

from edge_agent.core.agent import SECOND_NS, Asked, Changed, Reply, Started, World
from edge_agent.core.effects import MergerInventory, WritePlans
from edge_agent.runtime.codec import dumps, loads
from schemas.base import Message
from schemas.booking import ScheduleSync, schedule_digest
from schemas.commands import NoArgs
from schemas.health import Retention, RetentionEntry
from schemas.recording import Gap, Recording
from schemas.registry import ALARM, BOOKING, HEALTH, MERGE, RECORDING, RETENTION, SCHEDULE_SYNC
from schemas.topics import Address
from tests.agents.merger_made import (
    FPS,
    ONE_CAMERA,
    T0_NS,
    Bench,
    Camera2s,
    at,
    booking,
    capture,
    ready,
    recorded,
    shown,
)


def lengths(bench: Bench, booking_id: str = "b1") -> list[int]:
    return [plan.frames for plan in bench.plans(booking_id)]


def sync_of(*ids: str) -> dict[Address[Any], Message]:
    digest = schedule_digest((key, 1) for key in ids)
    return {SCHEDULE_SYNC.at(): ScheduleSync(generation=1, count=len(ids), digest=digest, synced_at=at(0))}


# --- the ordinary recording ---------------------------------------------------------------------------


def test_a_recording_without_trouble_is_planned_slot_by_slot_to_its_end() -> None:
    bench, _ = recorded(0, 10)
    assert lengths(bench) == [120, 120, 60]
    stage = bench.stage()
    assert (stage.status, stage.slots_total, stage.frames_total) == ("succeeded", 3, 300)
    assert stage.pictures == {"side_by_side": 300}
    assert (stage.repeated, stage.unpaired, stage.missing) == (0, 0, {})
    assert (stage.begin, stage.end) == (at(0), at(10))
    assert stage.start_error_ms == 5.0
    assert stage.end_error_ms == pytest.approx(5.0, abs=0.01)
    assert stage.skew is not None
    assert stage.skew.max_ms == 0.0
    assert [m.wall_offset_ns for m in stage.mappings] == [T0_NS - 1000 * SECOND_NS]
    assert len(set(shown(bench, "left"))) == len(shown(bench, "right")) == 300


def test_slots_are_planned_while_the_match_is_played() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    assert lengths(bench) == [120, 120]
    assert bench.stage().status == "running"
    assert bench.stage().slots_total is None


def test_a_plan_is_published_only_when_it_is_on_the_disk() -> None:
    bench, cameras = ready(0, 20)
    bench.turn(4.5)
    for camera in cameras:
        bench.hear(camera.captures(0, 2) | camera.captures(2, 4))
    (effect,) = bench.pending.values()
    assert isinstance(effect, WritePlans)
    assert [plan.index for plan in effect.plans] == [0]
    assert bench.plans() == []
    bench.work()
    assert lengths(bench) == [120]


def test_nothing_happens_before_the_world_is_known() -> None:
    bench = Bench()
    bench.start()
    cameras = [Camera2s("b1", "left"), Camera2s("b1", "right")]
    bench.now_s = 5
    bench.book("b1", booking(0, 4))
    for camera in cameras:
        bench.hear(camera.captures(0, 4))
    assert not bench.pending
    bench.tell(World({}))
    assert len(bench.pending) == 1


def test_two_bookings_back_to_back_share_no_frame_and_lose_none() -> None:
    bench = Bench()
    bench.begin()
    cameras = {}
    for key, begin, end in (("b1", 0, 6), ("b2", 6, 12)):
        bench.book(key, booking(begin, end))
        cameras[key] = [Camera2s(key, "left"), Camera2s(key, "right")]
    # The segment across the boundary is claimed by both, as it is.
    capture(bench, cameras["b1"], 0, 4)
    for key in ("b1", "b2"):
        for camera in cameras[key]:
            bench.hear(camera.captures(4, 8))
    bench.work()
    capture(bench, cameras["b2"], 8, 12)
    assert bench.stage("b1").frames_total == bench.stage("b2").frames_total == 180
    assert [frame for _, frame in shown(bench, "left", "b1")][-1] == 59
    assert shown(bench, "left", "b2")[0] == ("recordings/b2/left/b00710de-0.mp4", 60)
    for key in ("b1", "b2"):
        assert bench.stage(key).status == "succeeded"
        assert len(set(shown(bench, "left", key))) == 180


def test_one_camera_makes_a_single_picture_and_misses_nothing() -> None:
    bench, _ = recorded(0, 10, settings=ONE_CAMERA)
    stage = bench.stage()
    assert (stage.status, stage.pictures, stage.missing) == ("succeeded", {"single": 300}, {})
    assert stage.skew is None


def test_the_layout_of_the_booking_is_kept_even_when_it_changes() -> None:
    bench, cameras = ready(0, 12)
    bench.book("b1", booking(0, 12, 2, layout="stacked"))
    capture(bench, cameras, 0, 4)
    bench.book("b1", booking(0, 12, 3, layout="side_by_side"))
    capture(bench, cameras, 4, 12)
    assert bench.stage().pictures == {"stacked": 360}
    assert bench.stage().rev == 3


def test_an_open_segment_is_used_as_far_as_it_is_listed() -> None:
    bench, cameras = ready(0, 8)
    for end in (2, 4, 6, 8):
        bench.turn(end + 0.1)
        for camera in cameras:
            bench.hear({**camera.listing(camera.segment(0, end, is_open=end < 8)), **camera.stage(end)})
        bench.work()
    assert bench.stage().status == "succeeded"
    assert [plan.left_sources[0].frames for plan in bench.plans()] == [120, 180, 240]
    assert shown(bench, "left") == [(cameras[0].segment(0, 8).path, n) for n in range(240)]


def test_segments_that_arrive_after_their_stage_are_waited_for() -> None:
    bench, cameras = ready(0, 8)
    capture(bench, cameras, 0, 2)
    bench.turn(4.2)
    left, right = (camera.captures(2, 4) for camera in cameras)
    bench.hear(left)
    bench.hear(dict(reversed(right.items())))
    bench.work()
    assert bench.stage().pictures == {"side_by_side": 120}


# --- cameras that fail --------------------------------------------------------------------------------


def test_a_silent_camera_is_given_up_after_ten_seconds_of_play() -> None:
    bench, (left, right) = ready(0, 60)
    capture(bench, [left, right], 0, 8)
    capture(bench, [left], 8, 16)
    assert lengths(bench) == [120, 120]
    capture(bench, [left], 16, 20)
    assert lengths(bench) == [120] * 5
    stage = bench.stage()
    assert stage.pictures["left"] > 350
    assert stage.missing["right"] == stage.pictures["left"]
    assert {m.reason for plan in bench.plans() for m in plan.missing} == {"camera gave no sign"}


def test_a_camera_that_comes_back_is_waited_for_and_shown_again() -> None:
    bench, (left, right) = ready(0, 40)
    capture(bench, [left, right], 0, 8)
    capture(bench, [left], 8, 24)
    capture(bench, [left, right], 24, 40)
    stage = bench.stage()
    assert stage.status == "succeeded"
    assert stage.frames_total == 40 * FPS
    assert 15 * FPS <= stage.pictures["left"] <= 16 * FPS
    assert bench.plans()[-1].runs[-1].picture == "side_by_side"


def test_after_the_whistle_a_silent_camera_costs_two_seconds() -> None:
    bench, (left, right) = ready(0, 12)
    capture(bench, [left, right], 0, 8)
    capture(bench, [left], 8, 12)
    bench.turn(13.9)
    assert bench.stage().status == "running"
    bench.hear({HEALTH.at(): None})
    bench.turn(14.1)
    assert bench.stage().status == "succeeded"
    assert bench.stage().frames_total == 360


def test_a_camera_without_any_stage_counts_from_the_end_of_the_first_slot() -> None:
    bench, (left, _) = ready(0, 40)
    capture(bench, [left], 0, 12)
    assert lengths(bench) == []
    capture(bench, [left], 12, 16)
    assert lengths(bench) == [120] * 4
    assert bench.stage().pictures == {"left": 480}


def test_a_camera_that_told_of_its_beginning_long_before_is_not_given_up_at_once() -> None:
    bench, cameras = ready(0, 20)
    for camera in cameras:
        bench.hear(camera.stage(0, mappings=(), status="pending"))
    bench.turn(4.5)
    bench.hear(cameras[0].captures(0, 4))
    bench.turn(5.5)
    assert not bench.pending
    assert bench.plans() == []
    bench.hear(cameras[1].captures(0, 4))
    bench.work()
    assert bench.stage().pictures == {"side_by_side": 120}


def test_cameras_with_slightly_different_mappings_end_without_waiting() -> None:
    bench, (left, right) = ready(0, 8)
    right.offset_ns += 3_000_000
    capture(bench, [left, right], 0, 6)
    bench.hear(left.captures(6, 8, status="succeeded"))
    bench.hear(right.captures(6, 8, status="succeeded"))
    bench.work()
    assert bench.stage().status == "succeeded"
    assert bench.stage().pictures == {"side_by_side": 240}
    assert [m.wall_offset_ns for m in bench.stage().mappings] == [left.offset_ns]


def test_a_declared_gap_needs_no_waiting_and_names_its_reason() -> None:
    bench, (left, right) = ready(0, 16)
    capture(bench, [left, right], 0, 4)
    gap = Gap(begin=at(4), end=at(8), reason="camera unplugged")
    for start in (4, 6):
        bench.turn(start + 2.3)
        bench.hear(left.captures(start, start + 2))
        bench.hear(right.stage(start + 2, gaps=(gap,)))
        bench.work()
    bench.turn(9.5)
    assert lengths(bench) == [120, 120]
    assert {m.reason for m in bench.plans()[1].missing} == {"camera unplugged"}


def test_both_cameras_gone_make_a_card_for_that_time() -> None:
    bench, cameras = ready(0, 16)
    capture(bench, cameras, 0, 4)
    for start in (4, 6):
        for camera in cameras:
            bench.turn(start + 2.3)
            bench.hear(camera.stage(start + 2))
        bench.work()
    capture(bench, cameras, 8, 16)
    stage = bench.stage()
    assert stage.status == "succeeded"
    assert 110 <= stage.pictures["card"] <= 120
    assert stage.pictures["card"] + stage.pictures["side_by_side"] == 480


def test_a_silent_bus_is_no_dead_camera() -> None:
    bench, cameras = ready(0, 12)
    capture(bench, cameras, 0, 8)
    bench.turn(40)
    assert lengths(bench) == [120, 120]
    assert not bench.pending
    topics: dict[Address[Any], Message] = {BOOKING.at(id="b1"): booking(0, 12)}
    for camera in cameras:
        topics |= camera.captures(8, 10) | camera.captures(10, 12)
    bench.tell(World(topics))
    bench.work()
    assert bench.stage().status == "succeeded"
    assert bench.stage().pictures == {"side_by_side": 360}


def test_a_booking_of_which_no_camera_gave_a_frame_fails() -> None:
    bench, _ = ready(0, 10)
    bench.turn(11.9)
    bench.hear({HEALTH.at(): None})
    assert bench.stage().status == "pending"
    bench.turn(30)
    bench.hear({HEALTH.at(): None})
    bench.turn(31)
    stage = bench.stage()
    assert stage.status == "failed"
    assert stage.error is not None
    assert stage.error.code == "no_frames"
    assert bench.plans() == []
    bench.hear({RECORDING.at(id="b1"): Recording(state="missed")})
    assert bench.stage() == stage


# --- changes of a running booking ---------------------------------------------------------------------


def test_an_extension_in_the_last_second_is_obeyed() -> None:
    bench, cameras = ready(0, 10)
    capture(bench, cameras, 0, 8)
    bench.book("b1", booking(0, 14, 2))
    capture(bench, cameras, 8, 14)
    assert bench.stage().frames_total == 14 * FPS
    assert bench.stage().rev == 2
    assert bench.stage().end == at(14)


def test_an_earlier_end_below_what_is_planned_ends_with_that_slot() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    bench.book("b1", booking(0, 7, 2))
    stage = bench.stage()
    assert (stage.status, stage.frames_total, stage.slots_total, stage.rev) == ("succeeded", 240, 2, 2)
    assert stage.end == at(8)


def test_an_earlier_end_is_obeyed_to_the_frame() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 4)
    bench.book("b1", booking(0, 6.5, 2))
    capture(bench, cameras, 4, 8)
    assert bench.stage().status == "succeeded"
    assert bench.stage().frames_total == 195


def test_an_extension_after_success_is_refused_with_an_alarm_and_keeps_its_rev() -> None:
    bench, cameras = recorded(0, 10)
    bench.book("b1", booking(0, 20, 2))
    capture(bench, cameras, 10, 20)
    stage = bench.stage()
    assert (stage.status, stage.rev, stage.frames_total) == ("succeeded", 1, 300)
    alarm = bench.topics()[ALARM.at(agent="merger", alarm="extension_refused")]
    assert getattr(alarm, "severity", None) == "minor"
    bench.book("b1", booking(0, 10, 3))
    assert ALARM.at(agent="merger", alarm="extension_refused") not in bench.topics()
    assert bench.stage().rev == 3


def test_a_cancelled_booking_stops_and_taken_back_goes_on() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 4)
    bench.book("b1", booking(0, 20, 2, status="cancelled"))
    assert bench.stage().status == "cancelled"
    capture(bench, cameras, 4, 12)
    assert lengths(bench) == [120]
    bench.book("b1", booking(0, 20, 3))
    bench.work()
    assert lengths(bench) == [120, 120, 120]
    capture(bench, cameras, 12, 20)
    assert bench.stage().pictures == {"side_by_side": 600}


def test_taken_back_after_its_end_the_rings_are_waited_for() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 4)
    bench.book("b1", booking(0, 20, 2, status="cancelled"))
    bench.turn(60)
    bench.book("b1", booking(0, 20, 3))
    bench.work()
    bench.turn(61)
    assert lengths(bench) == [120]
    for camera in cameras:
        for begin in range(4, 20, 2):
            bench.hear(camera.captures(begin, begin + 2, rev=3))
    bench.work()
    bench.turn(65)
    assert bench.stage().pictures == {"side_by_side": 600}


def test_an_empty_booking_is_a_cancellation_only_with_a_matching_sync() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 4)
    bench.book("b1", None)
    capture(bench, cameras, 4, 8)
    assert (bench.stage().status, lengths(bench)) == ("running", [120, 120])
    bench.hear(sync_of("b1"))
    assert bench.stage().status == "running"
    bench.hear(sync_of())
    assert bench.stage().status == "cancelled"


def test_a_booking_cleared_when_all_is_over_stays_succeeded() -> None:
    bench, _ = recorded(0, 10)
    bench.hear({RECORDING.at(id="b1"): Recording(state="ready")})
    bench.book("b1", None)
    bench.hear(sync_of())
    assert bench.stage().status == "succeeded"


def test_a_booking_not_to_be_recorded_has_no_stage() -> None:
    bench = Bench()
    bench.begin({BOOKING.at(id="b1"): booking(0, 10, record="no")})
    assert MERGE.at(id="b1") not in bench.topics()


# --- restarts and trouble -----------------------------------------------------------------------------


def test_a_restart_publishes_the_same_plans_and_goes_on_after_them() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    before = bench.topics()
    other = Bench(disk=bench.disk)
    other.now_s = 8.5
    other.start({MERGE.at(id="b1"): bench.stage()})
    topics: dict[Address[Any], Message] = {BOOKING.at(id="b1"): booking(0, 20)}
    for camera in cameras:
        topics |= camera.told(8)
    other.tell(World(topics))
    assert {a: m for a, m in other.topics().items() if a.path.startswith(("work", "recording"))} == {
        a: m for a, m in before.items() if a.path.startswith(("work", "recording"))
    }
    capture(other, cameras, 8, 20)
    straight, _ = recorded(0, 20)
    assert other.stage() == straight.stage()
    assert [p.runs for p in other.plans()] == [p.runs for p in straight.plans()]


def test_a_plan_that_was_on_disk_already_counts_instead_of_the_new_one() -> None:
    bench, cameras = ready(0, 12)
    straight, _ = recorded(0, 12)
    first = straight.plans()[0].model_copy(update={"repeated": 7})
    bench.disk["b1"] = {0: first}
    capture(bench, cameras, 0, 12)
    assert bench.plans()[0] is first
    assert bench.stage().repeated == 7


def test_a_disk_that_fails_is_tried_again_with_an_alarm() -> None:
    bench, cameras = ready(0, 20)
    bench.turn(4.3)
    for camera in cameras:
        bench.hear(camera.captures(0, 2) | camera.captures(2, 4))
    bench.fail()
    assert ALARM.at(agent="merger", alarm="plans_unwritten") in bench.topics()
    assert not bench.pending
    bench.turn(6)
    assert lengths(bench) == [120]
    assert ALARM.at(agent="merger", alarm="plans_unwritten") not in bench.topics()


def test_a_merger_that_starts_late_catches_up() -> None:
    cameras = [Camera2s("b1", "left"), Camera2s("b1", "right")]
    topics: dict[Address[Any], Message] = {BOOKING.at(id="b1"): booking(0, 120)}
    for start in range(0, 120, 2):
        for camera in cameras:
            topics |= camera.captures(start, start + 2)
    bench = Bench()
    bench.now_s = 121
    bench.begin(topics)
    assert len(bench.pending["plans:b1"].plans) <= 15
    bench.work()
    assert bench.stage().pictures == {"side_by_side": 3600}
    assert {a["minute"] for a in bench.topics() if a.topic.key == "slots"} == {"0", "1"}
    assert (
        all(not feed.minutes for feed in bench.state.jobs["b1"].feeds.values())
        or sum(
            len(minute) for feed in bench.state.jobs["b1"].feeds.values() for minute in feed.minutes.values()
        )
        <= 4
    )


def test_frames_long_planned_are_not_kept_even_when_told_again() -> None:
    bench, cameras = ready(0, 60)
    capture(bench, cameras, 0, 40)
    topics: dict[Address[Any], Message] = {BOOKING.at(id="b1"): booking(0, 60)}
    for camera in cameras:
        topics |= camera.told(40)
    bench.tell(World(topics))
    for feed in bench.state.jobs["b1"].feeds.values():
        assert sum(len(minute) for minute in feed.minutes.values()) <= 4
    assert not bench.pending


def test_a_boot_within_the_booking_waits_for_the_clock() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    bench.boot, bench.offset_ns = "b2", T0_NS + 8 * SECOND_NS
    fresh = [
        Camera2s("b1", name, boot="b2", offset_ns=bench.offset_ns, synced=False) for name in ("left", "right")
    ]
    old = bench.state.jobs["b1"].mappings
    for camera in fresh:
        bench.hear(camera.captures(10, 14))
    assert not bench.pending
    assert bench.agent.wakes(bench.state)["job:b1"] > 0
    for camera in fresh:
        camera.synced = True
        bench.hear(camera.stage(14))
    bench.turn(15)
    bench.work()
    assert len(bench.state.jobs["b1"].mappings) == len(old) + 1
    assert lengths(bench)[:3] == [120, 120, 120]


def test_an_unsynced_clock_since_before_the_booking_does_not_hold_up_planning() -> None:
    bench, cameras = ready(0, 10)
    for camera in cameras:
        camera.synced = False
    capture(bench, cameras, 0, 10)
    assert bench.stage().status == "succeeded"
    assert bench.stage().mappings[0].synced is False


# --- keeping and forgetting ---------------------------------------------------------------------------


def test_what_retention_lists_is_deleted_and_its_slots_cleared_but_the_stage_stays() -> None:
    bench, _ = recorded(0, 10)
    bench.hear({RETENTION.at(): Retention(entries=(RetentionEntry(id="b1", what="cameras", why="durable"),))})
    assert not bench.pending
    bench.hear({RETENTION.at(): Retention(entries=(RetentionEntry(id="b1", what="all", why="verified"),))})
    bench.work()
    assert bench.deleted == ["b1"]
    assert bench.plans() == []
    assert bench.stage().status == "succeeded"
    bench.hear({HEALTH.at(): None})
    assert not bench.pending


def test_what_is_still_being_planned_is_not_deleted_though_listed() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    bench.hear({RETENTION.at(): Retention(entries=(RetentionEntry(id="b1", what="all", why="odd"),))})
    bench.work()
    assert bench.deleted == []


def test_a_dead_booking_never_goes_on() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 4)
    bench.book("b1", booking(0, 20, 2, status="cancelled"))
    entry = RetentionEntry(id="b1", what="all", why="cancelled", dead=True)
    bench.hear({RETENTION.at(): Retention(entries=(entry,))})
    bench.work()
    assert bench.deleted == ["b1"]
    bench.book("b1", booking(0, 20, 3))
    capture(bench, cameras, 4, 12)
    assert bench.stage().status == "cancelled"
    assert bench.plans() == []


def test_a_stage_is_forgotten_a_week_after_its_end_once_the_booking_is_gone() -> None:
    bench, _ = recorded(0, 10)
    bench.hear({RECORDING.at(id="b1"): Recording(state="ready")})
    bench.hear({RETENTION.at(): Retention(entries=(RetentionEntry(id="b1", what="all", why="verified"),))})
    bench.work()
    bench.book("b1", None)
    bench.turn(7 * 86_400)
    assert MERGE.at(id="b1") in bench.topics()
    bench.turn(9 * 86_400)
    assert MERGE.at(id="b1") not in bench.topics()
    assert "b1" not in bench.state.jobs


# --- the shape of an agent ----------------------------------------------------------------------------


def test_what_did_not_change_keeps_its_identity() -> None:
    bench, cameras = ready(0, 20)
    capture(bench, cameras, 0, 8)
    before = dict(bench.topics())
    bench.hear(cameras[0].stage(8))
    bench.hear({HEALTH.at(): None})
    after = bench.topics()
    assert before.keys() == after.keys()
    assert all(before[address] is after[address] for address in before)


def test_every_command_gets_its_one_answer() -> None:
    bench, _ = ready()
    bench.tell(Asked("merger", "dance", "c1", NoArgs()))
    (reply,) = bench.said
    assert isinstance(reply, Reply)
    assert (reply.command_id, reply.answer.status) == ("c1", "rejected")


def test_a_state_goes_through_the_journal() -> None:
    bench, _ = recorded(0, 10)
    line = dumps(bench.state)
    assert dumps(loads(line)) == line


def test_events_of_before_a_restart_change_nothing() -> None:
    bench, cameras = recorded(0, 10)
    before = bench.topics()
    bench.tell(Started(MergerInventory({}), {}))
    bench.tell(Changed(BOOKING.at(id="b1"), booking(0, 10)))
    assert not bench.pending
    assert before != bench.topics()
    assert cameras
