"""The camera agent, by plain calls of decide."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.agent import SECOND_NS, Asked, Changed, Done, Reply, wall_ns
from edge_agent.core.effects import CameraInventory
from edge_agent.core.settings import Camera, Settings
from schemas.base import Message
from schemas.commands import Answer, LogLevelArgs, NoArgs
from schemas.health import Retention, RetentionEntry
from schemas.recording import CaptureStage, MergeStage, Recording, WallMapping
from schemas.registry import BOOKING, CAMERA_STATUS, CAPTURE, MERGE, RECORDING, RETENTION
from schemas.topics import Address
from tests.agents.camera_rig import (
    BOOT,
    PERIOD_NS,
    START_NS,
    T0,
    CaptureStart,
    CaptureStop,
    Claim,
    DeleteMedia,
    Rig,
    SetCuts,
    WatchCapture,
    at,
    booking,
    mono,
    retained,
    ring_file,
    segment_of,
)

OFFSET_NS = wall_ns(T0) - START_NS


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.running()
    return rig


def record(rig: Rig, begin: float, end: float, *, claim: bool = True) -> None:
    """Two-second segments of the ring from ``begin`` to ``end``, each claimed as it comes."""
    moment = begin
    while moment < end:
        after = min(moment + 2, end)
        rig.now = after + 0.05
        rig.news(ring_file(int(moment * 10), moment, after))
        if claim:
            rig.claim_all()
        moment = after


def gaps(rig: Rig, key: str) -> list[tuple[float, float, str]]:
    """Seconds after `T0`, to the millisecond."""
    return [
        (round((gap.begin - T0).total_seconds(), 3), round((gap.end - T0).total_seconds(), 3), gap.reason)
        for gap in rig.stage(key).gaps
    ]


# --- capture ------------------------------------------------------------------------------------------


def test_capture_starts_before_the_broker_is_there() -> None:
    assert Rig().start() == (
        CaptureStart("capture", spec={"camera": "left", "seq_floor": 0}),
        WatchCapture("watch"),
    )


def test_capture_is_restarted_after_a_fifth_of_a_second_doubling_to_ten(rig: Rig) -> None:
    waits = []
    for _ in range(8):
        assert not any(
            isinstance(act, CaptureStart) for act in rig.fail("capture", "transient", "exit: gone")
        )
        due = rig.state.timers["capture"]
        waits.append((due - mono(rig.now)) / SECOND_NS)
        rig.now = (due - START_NS) / SECOND_NS
        rig.news(frames=False)
        assert "capture" in rig.flying
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_a_minute_of_health_forgets_the_failures(rig: Rig) -> None:
    for _ in range(3):
        rig.fail("capture", "transient", "exit: gone")
        rig.now += 5
        rig.news(frames=False)
        rig.news()
    rig.now += 61
    rig.news()
    rig.fail("capture", "transient", "exit: gone")
    assert rig.state.timers["capture"] - mono(rig.now) == SECOND_NS // 5


def test_a_lost_camera_is_an_alarm_after_two_seconds_until_frames_come(rig: Rig) -> None:
    rig.fail("capture", "transient", "absent: no such camera")
    rig.now = 1.9
    rig.news(frames=False)
    assert rig.alarms() == {}
    rig.now = 2.0
    rig.news(frames=False)
    alarm = rig.alarms()["capture_lost"]
    assert (alarm.severity, alarm.subject, alarm.since) == ("major", "left", at(2.0))
    assert "cable" in alarm.mend
    rig.now = 9.0
    rig.news(frames=False)
    assert rig.alarms()["capture_lost"] is alarm
    rig.book("b1", booking(9, 20))
    assert rig.alarms()["capture_lost"].severity == "critical"
    assert rig.alarms()["capture_lost"].since == at(2.0)
    rig.news()
    assert rig.alarms() == {}


def test_armed_capture_runs_from_two_minutes_before_until_the_end() -> None:
    rig = Rig(Settings(camera=(Camera(name="left", idle="arm"),)))
    rig.bookings = {"b1": booking(300, 302)}
    assert not any(isinstance(act, CaptureStart) for act in (*rig.start(), *rig.world()))
    due = rig.state.timers["plan"]
    assert due == mono(180)
    rig.now = 180
    rig.news(frames=False)
    assert "capture" in rig.flying
    rig.news(started={"encoder": "x264"})
    record(rig, 298, 304)
    assert rig.stage("b1").status == "succeeded"
    assert isinstance(rig.flying["stop"], CaptureStop)
    rig.feed(Done("stop", None))
    rig.feed(Done("capture", None))
    rig.now += 5
    rig.news(frames=False)
    assert "capture" not in rig.flying
    assert rig.alarms() == {}


def test_commands_get_one_answer_each(rig: Rig) -> None:
    acts = rig.feed(Asked("camera_left", "snapshot", "c1", NoArgs()))
    assert acts == (Reply("c1", Answer(id="c1", status="rejected", message="not available yet")),)
    acts = rig.feed(Asked("camera_left", "log_level", "c2", LogLevelArgs(level="debug")))
    assert acts == (Reply("c2", Answer(id="c2", status="ok")),)
    acts = rig.feed(Asked("camera_left", "restart", "c3", NoArgs()))
    assert acts == (
        Reply("c3", Answer(id="c3", status="ok", message="capture restarts")),
        CaptureStop("stop"),
    )
    rig.feed(Done("capture", None))
    rig.now += 0.2
    rig.news(frames=False)
    assert "capture" in rig.flying


# --- a recording --------------------------------------------------------------------------------------


def test_a_booking_is_claimed_and_accounted_for(rig: Rig) -> None:
    rig.book("b1", booking(3, 8))
    assert rig.flying["cuts"] == SetCuts("cuts", cuts_ns=(mono(3), mono(8)))
    assert rig.stage("b1").status == "pending"
    record(rig, 0, 3)
    assert rig.listed("b1") == []
    record(rig, 3, 7)
    stage = rig.stage("b1")
    assert (stage.status, stage.frames, rig.covered("b1")) == ("running", 120, 7.0)
    camera = retained(rig.state)[CAMERA_STATUS.at(cam="left")]
    assert getattr(camera, "state", None) == "recording"
    record(rig, 7, 9, claim=False)
    assert rig.stage("b1").status == "running"  # the last claim is not on disk yet
    rig.claim_all()
    stage = rig.stage("b1")
    assert (stage.status, stage.frames, stage.expected) == ("succeeded", 150, 150)
    assert (stage.gaps_count, stage.restarts, stage.segments, stage.last_seq) == (0, 0, 3, 70)
    assert (stage.begin, stage.end, stage.first_frame_at) == (at(3), at(8), at(3))
    assert stage.mappings == (WallMapping(boot_id=BOOT, wall_offset_ns=OFFSET_NS, synced=True),)
    assert sum(one.frames for one in rig.listed("b1")) == 180  # the last file reaches beyond the end


def test_a_late_booking_gets_what_the_ring_still_has(rig: Rig) -> None:
    record(rig, 0, 10)
    rig.book("b1", booking(-20, 12))
    assert [claim.file.t0_ns for claim in rig.claims()] == [mono(2 * n) for n in range(5)]
    rig.claim_all()
    record(rig, 10, 12)
    rig.news(ring_file(999, 12, 14))
    stage = rig.stage("b1")
    assert (stage.status, stage.frames, stage.expected) == ("succeeded", 360, 960)
    assert gaps(rig, "b1") == [(-20.0, 0.0, "not in the ring")]


def test_neighbours_share_a_boundary_segment_and_a_mapping_but_no_frame(rig: Rig) -> None:
    rig.book("b1", booking(0, 5))
    rig.book("b2", booking(5, 9))
    record(rig, 0, 4)
    rig.step = 0.7  # somebody sets the clock between the two
    record(rig, 4, 12)
    first, second = rig.stage("b1"), rig.stage("b2")
    assert first.mappings == second.mappings
    assert (first.status, first.frames, second.status, second.frames) == ("succeeded", 150, "succeeded", 120)
    shared = {one.name for one in rig.listed("b1")} & {one.name for one in rig.listed("b2")}
    assert len(shared) == 1


def test_one_odd_reading_of_the_clocks_moves_nothing_a_step_does(rig: Rig) -> None:
    rig.book("b1", booking(100, 200))
    cuts = rig.flying["cuts"]
    rig.feed(Done("cuts", None))
    rig.step = 0.05
    rig.news()
    rig.step = 0.0
    rig.news()
    assert "cuts" not in rig.flying
    rig.step = 0.05
    rig.news()
    rig.news()
    assert rig.flying["cuts"] == SetCuts("cuts", cuts_ns=(mono(99.95), mono(199.95)))
    assert cuts == SetCuts("cuts", cuts_ns=(mono(100), mono(200)))


def test_claims_that_fail_are_tried_again_or_declared_lost(rig: Rig) -> None:
    rig.book("b1", booking(0, 8))
    record(rig, 0, 8, claim=False)
    first, second, third, fourth = (claim.key for claim in rig.claims())
    rig.fail(first, "gone", "not there")
    assert rig.covered("b1") == 2.0
    rig.fail(second, "input", "torn")
    assert second in rig.flying
    rig.fail(second, "input", "torn")
    assert second not in rig.flying
    assert rig.covered("b1") == 4.0
    rig.fail(third, "full", "no space left")
    assert rig.alarms()["disk_full"].severity == "critical"
    assert third not in rig.flying
    rig.claimed(next(claim for claim in rig.claims() if claim.key == fourth))
    assert rig.alarms() == {}
    assert rig.covered("b1") == 4.0
    rig.now = (rig.state.timers["claim"] - START_NS) / SECOND_NS
    rig.news()
    rig.claim_all()
    stage = rig.stage("b1")
    assert (stage.status, rig.covered("b1"), stage.frames) == ("succeeded", 8.0, 120)
    assert gaps(rig, "b1") == [(0.0, 4.0, "file unreadable")]  # two losses side by side are one gap


def test_while_capture_is_down_a_declared_gap_grows(rig: Rig) -> None:
    rig.book("b1", booking(0, 20))
    record(rig, 0, 4)
    rig.news(ring_file(41, 4, 5))
    rig.now = 5.05
    rig.fail("capture", "transient", "absent: unplugged")
    for second in (6, 7, 8):
        rig.now = float(second)
        rig.news(frames=False)
        rig.fail("capture", "transient", "absent: unplugged")
    rig.now = 9.0
    rig.news(frames=False)
    rig.fail("capture", "transient", "absent: unplugged")
    rig.now = 9.1
    rig.news(frames=False)
    rig.news(frames=False)
    assert rig.covered("b1") == 4.0  # the tail is still to be claimed
    rig.claim_all()
    assert rig.covered("b1") == 8.1
    assert gaps(rig, "b1") == [(5.0, 8.1, "camera absent")]
    rig.now = 12.0
    rig.news(started={"encoder": "x264"})
    record(rig, 9.5, 20)
    stage = rig.stage("b1")
    assert (stage.status, stage.restarts, stage.frames) == ("succeeded", 1, 600 - 135)
    assert gaps(rig, "b1") == [(5.0, 9.5, "camera absent")]


def test_a_camera_gone_to_the_end_leaves_a_gap_and_a_stage_that_ends(rig: Rig) -> None:
    rig.book("b1", booking(0, 6))
    record(rig, 0, 2)
    rig.fail("capture", "transient", "exit: killed")
    for second in range(3, 10):
        rig.now = float(second)
        rig.news(frames=False)
    stage = rig.stage("b1")
    assert (stage.status, stage.frames, rig.covered("b1")) == ("succeeded", 60, 6.0)
    assert [gap.reason for gap in stage.gaps] == ["camera process restarted"]


def test_open_segments_are_claimed_every_two_seconds_and_replaced_when_closed(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    for end in (2.0, 3.0, 4.0):
        rig.now = end
        rig.news(open_segment=ring_file(1, 0, end, open=True, key_forced=False))
        rig.claim_all()
    assert [one.open for one in rig.listed("b1")] == [True]
    assert (rig.stage("b1").frames, rig.covered("b1")) == (120, 4.0)
    rig.now = 6.0
    rig.news(ring_file(1, 0, 6, key_forced=False))
    assert [claim.key for claim in rig.claims()] == [f"claim:b1:{BOOT[:8]}-00000001"]
    rig.claim_all()
    assert [one.open for one in rig.listed("b1")] == [False]
    assert (rig.stage("b1").frames, rig.covered("b1")) == (180, 6.0)
    rig.now = 11.0
    rig.news(open_segment=ring_file(2, 6, 11, open=True, key_forced=False))
    rig.claim_all()
    assert (rig.stage("b1").status, rig.stage("b1").frames) == ("succeeded", 300)
    rig.news(ring_file(2, 6, 14, key_forced=False))
    assert rig.claims() == []
    assert [one.open for one in rig.listed("b1")] == [False, False]


# --- changes ------------------------------------------------------------------------------------------


def test_a_start_moved_after_the_first_claim_is_refused_and_the_end_obeyed(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    record(rig, 0, 2)
    rig.book("b1", booking(1, 6, rev=2))
    assert rig.alarms()["start_frozen"].severity == "minor"
    stage = rig.stage("b1")
    assert (stage.begin, stage.end, stage.rev) == (at(0), at(6), 2)
    record(rig, 2, 8)
    assert rig.stage("b1").frames == 180


def test_an_end_moved_into_the_past_closes_the_segment_now(rig: Rig) -> None:
    rig.book("b1", booking(0, 100))
    record(rig, 0, 4)
    rig.feed(Done("cuts", None))
    rig.feed(Done("cuts", None))
    rig.now = 5.0
    rig.book("b1", booking(0, 4.9, rev=2))
    assert rig.flying["cuts"] == SetCuts("cuts", cuts_ns=(mono(4.9), mono(5.2)))


def test_an_end_fixed_by_the_merger_is_not_moved_any_more(rig: Rig) -> None:
    rig.book("b1", booking(0, 4))
    record(rig, 0, 6)
    merged = MergeStage(status="succeeded", begin=at(0), end=at(4))
    rig.feed(Changed(MERGE.at(id="b1"), merged))
    rig.book("b1", booking(0, 60, rev=2))
    assert rig.stage("b1").end == at(4)
    assert rig.claims() == []


def test_cancelled_and_taken_back_goes_on_with_what_the_ring_has(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    record(rig, 0, 4)
    rig.book("b1", booking(0, 10, rev=2, status="cancelled"))
    assert rig.stage("b1").status == "cancelled"
    record(rig, 4, 6)
    assert len(rig.listed("b1")) == 2
    rig.book("b1", booking(0, 10, rev=3))
    rig.claim_all()
    record(rig, 6, 10)
    stage = rig.stage("b1")
    assert (stage.status, stage.frames, stage.gaps_count) == ("succeeded", 300, 0)


def test_a_cut_of_what_just_happened_closes_the_segment_now(rig: Rig) -> None:
    record(rig, 0, 10)
    rig.now = 11.0
    rig.book("c1", booking(5, 11, kind="cut"))
    assert rig.flying["cuts"] == SetCuts("cuts", cuts_ns=(mono(11), mono(11.2)))
    rig.now = 11.3
    rig.news(ring_file(100, 10, 11.2))
    rig.claim_all()
    assert (rig.stage("c1").status, rig.stage("c1").frames) == ("succeeded", 180)


def test_cancelled_before_a_restart_and_taken_back_after_it_goes_on() -> None:
    one = booking(0, 20)
    stopped = CaptureStage(status="cancelled", rev=1, begin=at(0), end=at(20))
    rig = Rig(now=5.0, bookings={"b1": one.replace(status="cancelled")})
    rig.start(
        CameraInventory((ring_file(1, 2, 4),)),
        {CAPTURE.at(id="b1", cam="left"): stopped, BOOKING.at(id="b1"): rig.bookings["b1"]},
    )
    rig.world()
    assert (rig.stage("b1").status, rig.claims()) == ("cancelled", [])
    rig.book("b1", one.replace(rev=2))
    assert rig.stage("b1").status == "running"
    assert len(rig.claims()) == 1


def test_dead_means_dead(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    record(rig, 0, 4)
    rig.book("b1", booking(0, 10, rev=2, status="cancelled"))
    entry = RetentionEntry(id="b1", what="all", why="cancelled", dead=True)
    acts = rig.feed(Changed(RETENTION.at(), Retention(entries=(entry,))))
    assert acts == (DeleteMedia("delete:b1", booking_id="b1", parts=("left",)),)
    assert len(rig.listed("b1")) == 2
    rig.feed(Done("delete:b1", None))
    assert rig.listed("b1") == []
    rig.book("b1", booking(0, 10, rev=3))
    record(rig, 4, 6)
    assert rig.stage("b1").status == "cancelled"
    assert not any(isinstance(act, Claim | DeleteMedia) for act in rig.flying.values())


def test_camera_files_go_when_listed_and_the_account_stays(rig: Rig) -> None:
    rig.book("b1", booking(0, 4))
    retention = Retention(entries=(RetentionEntry(id="b1", what="cameras", why="in the film"),))
    record(rig, 0, 2)
    assert rig.feed(Changed(RETENTION.at(), retention)) == ()  # it runs: still needed
    record(rig, 2, 4)
    rig.news(ring_file(99, 4, 6))
    assert rig.stage("b1").status == "succeeded"
    assert "delete:b1" in rig.flying
    rig.feed(Done("delete:b1", None))
    assert (rig.listed("b1"), rig.stage("b1").frames, rig.stage("b1").status) == ([], 120, "succeeded")
    assert "delete:b1" not in rig.flying


def test_an_empty_topic_withdraws_only_with_a_matching_marker(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    rig.book("b2", booking(20, 30))
    rig.now = 1.0
    rig.feed(Changed(BOOKING.at(id="b1"), None))
    assert rig.stage("b1").status == "running"
    del rig.bookings["b1"]
    rig.world()
    assert rig.stage("b1").status == "cancelled"


def test_a_final_recording_is_never_withdrawn(rig: Rig) -> None:
    rig.book("b1", booking(0, 2))
    record(rig, 0, 4)
    rig.feed(Changed(RECORDING.at(id="b1"), Recording(state="ready")))
    rig.book("b1", None)
    assert rig.stage("b1").status == "succeeded"
    rig.now = 8 * 86_400.0
    rig.news()
    assert CAPTURE.at(id="b1", cam="left") not in retained(rig.state)


def test_a_stage_ends_when_its_recording_is_over_without_it(rig: Rig) -> None:
    rig.book("b1", booking(0, 4))
    record(rig, 0, 4, claim=False)
    for claim in rig.claims():
        rig.fail(claim.key, "full", "no space")
    assert rig.stage("b1").status == "running"
    rig.feed(Changed(RECORDING.at(id="b1"), Recording(state="partial")))
    assert (rig.stage("b1").status, rig.claims()) == ("succeeded", [])


def test_what_reaches_into_anothers_time_is_refused(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    rig.book("m1", booking(5, 12, kind="manual"))
    record(rig, 0, 10)
    stage = rig.stage("m1")
    assert stage.status == "failed"
    assert stage.error is not None
    assert stage.error.code == "booking_crosses"
    assert rig.alarms()["booking_crosses"].severity == "major"
    assert rig.listed("m1") == []
    assert rig.stage("b1").status == "succeeded"
    rig.feed(Changed(RECORDING.at(id="m1"), Recording(state="failed")))
    assert "booking_crosses" not in rig.alarms()  # over is over


def test_a_running_post_roll_stops_where_another_booking_begins(rig: Rig) -> None:
    rig.book("b1", booking(0, 10, to=at(20)))
    record(rig, 0, 12)
    rig.book("b2", booking(12, 30))
    record(rig, 12, 22)
    stage = rig.stage("b1")
    assert (stage.frames, stage.status) == (360, "succeeded")
    assert gaps(rig, "b1") == [(12.0, 20.0, "another booking's time")]
    assert "booking_crosses" in rig.alarms()


def test_nothing_is_claimed_from_time_that_must_not_be_recorded(rig: Rig) -> None:
    rig.book("b1", booking(0, 10))
    rig.book("no", booking(4, 6, record="no"))
    assert set(rig.flying["cuts"].cuts_ns) == {mono(0), mono(10)}  # type: ignore[attr-defined]
    rig.feed(Done("cuts", None))
    assert rig.flying["cuts"].cuts_ns == (mono(0), mono(4), mono(6), mono(10))  # type: ignore[attr-defined]
    record(rig, 0, 10)
    rig.news(ring_file(999, 10, 12))
    assert [one.t0_ns for one in rig.listed("b1")] == [mono(0), mono(2), mono(6), mono(8)]
    assert [gap.reason for gap in rig.stage("b1").gaps] == ["time that must not be recorded"]
    assert rig.stage("b1").status == "succeeded"


# --- restarts -----------------------------------------------------------------------------------------


def restarted(rig: Rig, *ring: tuple[int, float, float], after: float = 1.0) -> Rig:
    """A new run of the agent on what the old one left on disk."""
    remembered: dict[Address[Message], Message] = {
        BOOKING.at(id=key): one for key, one in rig.bookings.items()
    }
    claimed: dict[str, tuple[object, ...]] = {}
    for address, message in retained(rig.state).items():
        if isinstance(message, CaptureStage):
            remembered[address] = message
            claimed[address["id"]] = tuple(rig.listed(address["id"]))
    new = Rig(settings=rig.settings, now=rig.now + after, bookings=dict(rig.bookings))
    files = tuple(ring_file(*one) for one in ring)
    new.start(CameraInventory(files, claimed, 50), remembered)  # type: ignore[arg-type]
    return new


def test_a_restart_lists_the_same_and_claims_what_the_ring_still_has(rig: Rig) -> None:
    rig.book("b1", booking(0, 20))
    record(rig, 0, 6)
    new = restarted(rig, (40, 4, 6), (60, 6, 7))
    assert new.listed("b1") == rig.listed("b1")
    assert [claim.file.seq for claim in new.claims()] == [60]  # before World
    assert new.flying["capture"] == CaptureStart("capture", spec={"camera": "left", "seq_floor": 51})
    assert new.covered("b1") == 6.0
    new.claim_all()
    new.world()
    new.news(started={"encoder": "x264"})
    record(new, 8.5, 22)
    stage = new.stage("b1")
    assert (stage.status, stage.frames, stage.restarts) == ("succeeded", 600 - 45, 1)
    assert gaps(new, "b1") == [(7.0, 8.5, "agent restarted")]
    assert stage.mappings == rig.stage("b1").mappings


def test_a_finished_account_survives_the_deletion_of_its_files(rig: Rig) -> None:
    rig.book("b1", booking(0, 4))
    record(rig, 0, 6)
    done = rig.stage("b1")
    new = Rig(now=30.0, bookings=dict(rig.bookings))
    new.start(
        CameraInventory(), {CAPTURE.at(id="b1", cam="left"): done, BOOKING.at(id="b1"): rig.bookings["b1"]}
    )
    new.world()
    assert new.stage("b1") == done


def test_after_a_boot_without_clock_a_recording_goes_on_and_is_bound_when_it_comes() -> None:
    old = "99999999-2222-3333-4444-555555555555"
    first = segment_of(ring_file(1, 0, 2, boot=old), "b1")
    mapped = WallMapping(boot_id=old, wall_offset_ns=OFFSET_NS)
    stage = CaptureStage(
        status="running", rev=1, mappings=(mapped,), begin=at(0), end=at(60), fps=30, segments=1
    )
    rig = Rig(now=10.0, step=-3600.0, synced=False, bookings={"b1": booking(0, 60)})
    rig.start(
        CameraInventory(claimed={"b1": (first,)}),
        {CAPTURE.at(id="b1", cam="left"): stage, BOOKING.at(id="b1"): rig.bookings["b1"]},
    )
    rig.world()
    rig.news(ring_file(2, 10, 12), started={"encoder": "x264"})
    rig.claim_all()
    assert len(rig.listed("b1")) == 2
    rig.step, rig.synced = 0.0, True
    rig.now = 13.0
    rig.news()
    done = rig.stage("b1")
    assert done.mappings[1] == WallMapping(boot_id=BOOT, wall_offset_ns=OFFSET_NS, synced=True)
    assert (done.frames, [gap.reason for gap in done.gaps]) == (120, ["device restarted"])


def test_messages_keep_their_identity_while_nothing_changes(rig: Rig) -> None:
    rig.book("b1", booking(0, 200))
    record(rig, 0, 70)
    before = dict(retained(rig.state))
    rig.feed(Done("cuts", None))
    after = retained(rig.state)
    assert after.keys() == before.keys()
    same = {at.topic.key for at in after if after[at] is before[at]}
    assert {"capture", "segments"} <= same


# --- whatever happens ---------------------------------------------------------------------------------

STEPS = st.sampled_from(
    ["record", "record", "record", "record", "down", "move", "cancel", "confirm", "lose", "late", "step"]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(STEPS, st.integers(1, 40)), min_size=10, max_size=30), st.integers(3, 10))
def test_cover_never_goes_back_and_bookings_never_mix(steps: list[tuple[str, int]], border: int) -> None:
    rig = Rig()
    rig.running()
    rig.book("a", booking(2, border))
    rig.book("b", booking(border, border + 15))
    covers: dict[str, int] = {}
    for step, number in steps:
        play(rig, step, number, border)
        for key in ("a", "b"):
            stage = rig.stage(key)
            point = stage.covered_until
            if point is not None:
                assert point.mono_ns >= covers.get(key, point.mono_ns)
                covers[key] = point.mono_ns
                assert_covered(rig, key, point.mono_ns)
            assert stage.frames <= stage.expected
    frames = {key: frames_of(rig, key) for key in ("a", "b")}
    assert not frames["a"] & frames["b"]
    for key in ("a", "b"):
        assert len(frames[key]) == rig.stage(key).frames


def frames_of(rig: Rig, key: str) -> set[int]:
    """The frames of a recording, as every reader of its messages has to count them."""
    stage = rig.stage(key)
    assert stage.begin is not None
    assert stage.end is not None
    begin, end = wall_ns(stage.begin), wall_ns(stage.end)
    offset = next((one.wall_offset_ns for one in stage.mappings), OFFSET_NS)
    times = [t for one in rig.listed(key) for t in one.times_ns()]
    return {t for t in times if begin <= t + offset < end}


def assert_covered(rig: Rig, key: str, until_ns: int) -> None:
    """Everything the ring ever gave before ``until_ns`` is listed, lost, or lies in a declared gap."""
    take = rig.state.takes[key]
    if take.idle:
        return
    listed = {one.name for one in rig.listed(key)}
    mapping = take.mapping(BOOT)
    offset = mapping.wall_offset_ns if mapping else OFFSET_NS
    for file in rig.state.ring:
        inside = [
            t
            for t in (file.t0_ns + us * 1000 for us in file.offsets_us)
            if take.begin_ns <= t + offset < take.end_ns and t < until_ns - PERIOD_NS
        ]
        assert not inside or file.name in listed | take.lost | rig.late


def play_record(rig: Rig, number: int) -> None:
    """Up to 4 s of pictures; two of three times they are claimed at once."""
    if "capture" not in rig.flying:
        rig.now += 10
        rig.news(frames=False)
    begin = rig.now
    rig.now = begin + number / 10
    rig.news(ring_file(int(begin * 100) + 100, begin, rig.now))
    if number % 3:
        rig.claim_all()


def play(rig: Rig, step: str, number: int, border: int) -> None:
    begin = rig.now
    match step:
        case "record":
            play_record(rig, number)
        case "down":
            rig.fail("capture", "transient", "exit: killed")
            rig.now += number / 5
            rig.news(frames=False)
            rig.now += 1
            rig.news(frames=False)
            if number % 2:  # what the child left is found only now
                late = ring_file(int(begin * 100) + 100, begin, begin + number / 20)
                rig.late.add(late.name)
                rig.news(late, frames=False)
        case "move":
            rev = rig.bookings["b"].rev + 1
            rig.book("b", booking(border, border + number, rev=rev, status=rig.bookings["b"].status))
        case "cancel":
            one = rig.bookings["a"]
            rig.book("a", one.replace(status="cancelled", rev=one.rev + 1))
        case "confirm":
            one = rig.bookings["a"]
            rig.book("a", one.replace(status="confirmed", rev=one.rev + 1))
        case "lose":
            for claim in rig.claims()[:1]:
                rig.fail(claim.key, "gone", "not there")
        case "late":
            rig.claim_all()
        case _:
            rig.step = number / 10
            rig.news(frames=False)
            rig.news(frames=False)
