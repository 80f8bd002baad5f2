"""The processor's decisions: one film a recording, every slot once and in order, whatever happens."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from edge_agent.core.agent import SECOND_NS, Asked, Done, Effect, FailureKind, wall_ns
from edge_agent.core.effects import (
    AppendCamera,
    AppendSlot,
    CloseFilm,
    DeleteMedia,
    MakePoster,
    Prepare,
    Render,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Camera, Settings
from edge_agent.core.settings import Film as FilmSettings
from edge_agent.runtime.codec import dumps, loads
from schemas.booking import Booking, ScheduleSync, schedule_digest
from schemas.commands import NoArgs
from schemas.health import Asset, Retention, RetentionEntry
from schemas.recording import CaptureStage, MergeStage, Recording, WallMapping
from schemas.registry import (
    AGENT_STATUS,
    ASSET,
    BOOKING,
    CAPTURE,
    MERGE,
    RECORDING,
    RETENTION,
    SCHEDULE_SYNC,
    SEGMENTS,
    SLOTS,
)
from schemas.work import Segment, SegmentsMinute, SlotsMinute
from tests.agents.processor_rig import FRAMES, INTRO, T0, Disk, OnDisk, Rig, booking, logo, plan

KINDS: tuple[FailureKind, ...] = ("transient", "input", "full")


def spoiled(kind: type[Effect], failure: str, times: int = 10**9, **more: Any) -> Callable[[Effect], None]:
    """Fails effects of a kind so many times."""
    left = [times]

    def spoil(effect: Effect) -> None:
        if isinstance(effect, kind) and left[0] > 0:
            left[0] -= 1
            raise EffectFailed(failure, "spoiled", **more)  # type: ignore[arg-type]

    return spoil


def made(slots: int = 3, **more: Any) -> Rig:
    """A film that is complete."""
    rig = Rig()
    rig.book(booking(**more))
    rig.plan(*range(slots))
    rig.merged(slots)
    rig.settle()
    return rig


# --- the plain way ---


def test_a_film_grows_with_its_plans_and_is_closed_when_the_number_of_slots_is_fixed() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0, 1)
    rig.settle()
    growing = rig.object()
    assert growing is not None
    assert (growing.bytes, growing.complete, growing.slots_done, growing.slots_total) == (
        2000,
        False,
        2,
        None,
    )
    assert rig.stage().status == "running"
    rig.plan(2)
    rig.merged(3)
    rig.settle()
    whole = rig.object()
    assert rig.film() == [0, 1, 2]
    assert whole is not None
    assert (whole.complete, whole.hash, whole.slots_total) == (True, "h-1", 3)
    assert whole.bytes_durable == whole.bytes
    stage = rig.stage()
    assert (stage.status, stage.slots_done, stage.rungs, stage.retries) == ("succeeded", 3, {"full": 3}, 0)
    assert stage.completed_at == T0
    assert stage.film is not None
    assert (stage.film.frames, stage.film.width, stage.film.height) == (3 * FRAMES, 2560, 720)
    assert rig.object("poster") is not None


def test_nothing_is_asked_for_before_the_world_is_known() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.start(connect=False)
    assert not rig.running
    rig.connect()
    assert rig.running


def test_a_finished_film_asks_for_nothing_and_publishes_nothing_more() -> None:
    rig = made()
    asked, said = len(rig.disk.ran), len(rig.published)
    rig.plan()
    rig.wait(60)
    assert (len(rig.disk.ran), len(rig.published)) == (asked, said)


def test_plans_out_of_order_and_twice_are_rendered_in_order_and_once() -> None:
    rig = Rig()
    rig.book()
    at = SLOTS.at(id="b1", minute="0")
    rig.put(at, SlotsMinute(plans=(plan(2), plan(1))))
    rig.merged(4)
    assert rig.film() == []
    rig.put(SLOTS.at(id="b1", minute="1"), SlotsMinute(plans=(plan(3),)))
    rig.put(at, SlotsMinute(plans=(plan(2), plan(1), plan(0), plan(0))))
    rig.put(at, SlotsMinute(plans=(plan(2), plan(1), plan(0))))
    rig.settle()
    assert rig.film() == [0, 1, 2, 3]
    assert [effect.plan.index for effect in rig.ran(Render)] == [0, 1, 2, 3]
    assert rig.stage().status == "succeeded"


def test_rendering_runs_ahead_of_a_film_that_cannot_grow_but_not_far() -> None:
    rig = Rig()
    rig.book()
    rig.disk.spoil = spoiled(AppendSlot, "transient")
    rig.plan(*range(9))
    rig.settle()
    assert [effect.plan.index for effect in rig.ran(Render)] == [0, 1, 2]
    assert len(rig.ran(AppendSlot)) == 1
    rig.disk.spoil = lambda _effect: None
    rig.merged(9)
    rig.wait(2)
    assert rig.film() == list(range(9))


def test_the_recording_that_began_first_is_rendered_first() -> None:
    rig = Rig()
    rig.book(booking(100, 200), "a-later")
    rig.book(booking(0, 100), "z-first")
    rig.core.state = rig.core.state.__class__(**{**rig.core.state.__dict__, "paused": True})
    rig.plan(0, 1, booking_id="a-later")
    rig.plan(0, 1, booking_id="z-first")
    rig.settle()
    rig.feed(Asked("processor", "resume", "c1", NoArgs()))
    rig.settle()
    assert [effect.booking_id for effect in rig.ran(Render)] == ["z-first"] * 2 + ["a-later"] * 2


def test_paused_renders_nothing_and_answers_each_command_once() -> None:
    rig = Rig()
    turn = rig.feed(Asked("processor", "pause", "c1", NoArgs()))
    assert [(reply.command_id, reply.answer.status) for reply in turn.replies] == [("c1", "ok")]
    rig.book()
    rig.plan(0)
    rig.settle()
    assert not rig.ran(Render)
    status = rig.core.state.status
    assert (status.state, status.backlog) == ("paused", 1)
    assert rig.shown[AGENT_STATUS.at(agent="processor")].state == "paused"  # type: ignore[attr-defined]
    turn = rig.feed(Asked("processor", "nonsense", "c2", NoArgs()))
    assert [reply.answer.status for reply in turn.replies] == ["rejected"]
    rig.feed(Asked("processor", "resume", "c3", NoArgs()))
    rig.settle()
    assert rig.film() == [0]


def test_a_longer_and_a_shorter_end_are_the_mergers_number_of_slots() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0, 1)
    rig.put(BOOKING.at(id="b1"), booking(0, 40, rev=2))
    rig.put(MERGE.at(id="b1"), MergeStage(status="running", slots_planned=2))
    rig.settle()
    assert rig.stage().status == "running"
    assert rig.stage().rev == 2
    assert not rig.ran(CloseFilm)
    rig.put(BOOKING.at(id="b1"), booking(0, 12, rev=3))
    rig.plan(2)
    rig.merged(3)
    rig.settle()
    assert (rig.film(), rig.stage().status, rig.stage().rev) == ([0, 1, 2], "succeeded", 3)


# --- the ladder ---


def rungs_until_done(rig: Rig) -> list[str]:
    rig.book()
    rig.plan(0)
    rig.merged(1)
    rig.settle()
    return [effect.rung for effect in rig.ran(Render)]


@pytest.mark.parametrize(
    ("failures", "rungs"),
    [
        (1, ["full", "full"]),
        (2, ["full", "full", "no_logos"]),
        (3, ["full", "full", "no_logos", "one_camera"]),
        (4, ["full", "full", "no_logos", "one_camera", "card"]),
    ],
)
def test_a_slot_goes_down_the_ladder_and_is_counted_once(failures: int, rungs: list[str]) -> None:
    rig = Rig(disk=Disk(spoil=spoiled(Render, "transient", failures)))
    assert rungs_until_done(rig) == rungs
    stage = rig.stage()
    assert (dict(stage.rungs), stage.retries) == ({rungs[-1]: 1}, failures)
    rig.start()
    rig.settle()
    assert dict(rig.stage().rungs) == {rungs[-1]: 1}


def test_a_try_has_what_is_left_of_20_s_and_then_there_is_a_card() -> None:
    rig = Rig()
    rig.book()

    def slow(effect: Effect) -> None:
        if isinstance(effect, Render) and effect.rung != "card":
            rig.now_ns += 8 * 10**9
            raise EffectFailed("transient", "slow")

    rig.disk.spoil = slow
    rig.plan(0)
    rig.settle()
    tries = [(effect.rung, effect.deadline_s) for effect in rig.ran(Render)]
    assert tries == [("full", 20.0), ("full", 12.0), ("card", 20.0)]


def test_sources_known_bad_are_left_out_of_the_next_try() -> None:
    bad = {"left": ["recordings/b1/left/s-0000.mp4"], "right": []}
    rig = Rig(disk=Disk(spoil=spoiled(Render, "input", 1, detail=bad)))
    assert rungs_until_done(rig) == ["full", "full"]
    assert [effect.bad for effect in rig.ran(Render)] == [(), ("recordings/b1/left/s-0000.mp4",)]


def test_a_full_disk_is_no_fault_of_the_slot() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(Render, "full")))
    rig.book()
    rig.plan(0)
    rig.settle()
    assert rig.alarms()["disk_full"].severity == "critical"
    rig.wait(60)
    assert 8 <= len(rig.ran(Render)) <= 20
    assert {effect.rung for effect in rig.ran(Render)} == {"full"}
    rig.disk.spoil = lambda _effect: None
    rig.wait(6)
    assert rig.film() == [0]
    assert rig.stage().retries == 0
    assert "disk_full" not in rig.alarms()


def test_a_renderer_that_can_do_nothing_is_not_asked_all_the_time() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(Render, "transient")))
    rig.book()
    rig.plan(0)
    rig.wait(100)
    assert 8 < len(rig.ran(Render)) < 40
    assert rig.alarms()["film_stuck"].subject == "b1"
    since = rig.alarms()["film_stuck"].since
    rig.wait(100)
    assert rig.alarms()["film_stuck"].since == since
    rig.disk.spoil = lambda _effect: None
    rig.wait(15)
    assert rig.film() == [0]
    assert "film_stuck" not in rig.alarms()


def test_a_slot_the_film_will_not_take_is_rendered_again() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(AppendSlot, "input", 1)))
    assert rungs_until_done(rig) == ["full", "full"]
    assert (rig.film(), rig.stage().retries) == ([0], 1)


def test_a_slot_the_film_never_takes_goes_down_the_ladder_without_haste() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(AppendSlot, "input")))
    rig.book()
    rig.plan(0)
    rig.wait(100)
    rungs = [effect.rung for effect in rig.ran(Render)]
    assert rungs[:6] == ["full", "full", "no_logos", "one_camera", "card", "card"]
    assert len(rungs) < 40
    assert "film_stuck" in rig.alarms()


def test_a_film_that_cannot_be_closed_is_closed_later() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(CloseFilm, "transient", 4)))
    rig.book()
    rig.plan(0)
    rig.merged(1)
    rig.settle()
    assert rig.stage().status == "running"
    rig.wait(30)
    assert rig.stage().status == "succeeded"
    assert len(rig.ran(CloseFilm)) == 5


# --- poster ---


@pytest.mark.parametrize(("failures", "tries", "there"), [(2, 3, True), (9, 3, False)])
def test_a_poster_that_failed_is_asked_for_twice_more(failures: int, tries: int, there: bool) -> None:
    rig = Rig(disk=Disk(spoil=spoiled(MakePoster, "gone", failures)))
    rig.book()
    rig.plan(0, 1)
    rig.settle()
    rig.plan(2, 3)
    rig.wait(5)
    rig.merged(4)
    rig.wait(60)
    assert len(rig.ran(MakePoster)) == tries
    assert (rig.object("poster") is not None) == there
    assert rig.object().bytes_durable == rig.object().bytes  # type: ignore[union-attr]


# --- logos and intro ---

DRESSED: dict[str, Any] = {
    "branding": [logo("club", "a"), logo("sponsor", "b")],
    "intro": {"key": "intro", "sha256": "c" * 64, "bytes": 9},
}


def asset(state: str = "ready", kind: str = "logo", sign: str = "a") -> Asset:
    path = f"assets/{sign * 64}" if state == "ready" else None
    return Asset.model_validate({"state": state, "kind": kind, "path": path, "error": None})


def with_assets(rig: Rig, signs: str, state: str = "ready") -> None:
    for sign in signs:
        rig.put(ASSET.at(sha256=sign * 64), asset(state, "intro" if sign == "c" else "logo", sign))


def test_slot_0_waits_for_assets_that_come_in_time() -> None:
    rig = Rig()
    rig.book(booking(**DRESSED))
    with_assets(rig, "abc", "fetching")
    rig.plan(0)
    rig.wait(5)
    assert not rig.ran(Render)
    with_assets(rig, "abc")
    rig.settle()
    assert rig.film() == [INTRO, 0]
    stage = rig.stage()
    assert [(item.slot, item.applied) for item in stage.branding] == [("club", True), ("sponsor", True)]
    assert stage.intro is not None
    assert stage.intro.applied
    assert stage.film is not None
    assert (stage.film.intro_frames, stage.film.frames) == (90, 90 + FRAMES)
    assert stage.slots_done == 1
    assert not rig.alarms()


def test_after_10_s_the_film_is_made_without_what_is_missing_and_it_is_never_added() -> None:
    rig = Rig()
    rig.book(booking(**DRESSED))
    with_assets(rig, "a")
    rig.plan(0)
    rig.wait(9.9)
    assert not rig.ran(Render)
    rig.wait(0.2)
    assert rig.film() == [0]
    with_assets(rig, "bc")
    rig.plan(1, 2)
    rig.settle()
    rig.start()
    rig.plan(3)
    rig.merged(4)
    rig.settle()
    assert rig.film() == [0, 1, 2, 3]
    assert {tuple(one.slot for one in effect.logos) for effect in rig.ran(Render)} == {("club",)}
    branding, intro = rig.stage().branding, rig.stage().intro
    assert [(item.slot, item.applied, item.why) for item in branding] == [
        ("club", True, None),
        ("sponsor", False, "was not there in time"),
    ]
    assert intro is not None
    assert (intro.applied, intro.why) == (False, "was not there in time")
    assert rig.alarms()["branding_skipped"].severity == "minor"
    rig.put(RECORDING.at(id="b1"), Recording(state="ready"))
    assert "branding_skipped" not in rig.alarms()


@pytest.mark.parametrize("warm", [True, False])
def test_an_intro_that_takes_too_long_to_prepare_is_left_out_and_stays_out(warm: bool) -> None:
    rig = Rig()
    rig.book(booking(100, 120, **DRESSED))
    if not warm:
        rig.plan(0)
    with_assets(rig, "abc")
    slow = rig.running.pop("warm:b1" if warm else "prepare:b1")  # the encoder takes its time
    assert isinstance(slow, Prepare)
    assert slow.intro is not None
    if warm:
        rig.plan(0)
        assert not rig.running
    rig.wait(10)
    assert rig.film() == [0]
    late = rig.ran(Prepare)[-1]
    assert (late.key, late.intro, [one.slot for one in late.logos]) == (
        "prepare:b1:late",
        None,
        ["club", "sponsor"],
    )
    rig.running[slow.key] = slow
    rig.end(slow.key)
    rig.plan(1)
    rig.settle()
    assert rig.film() == [0, 1]
    assert rig.stage().intro.applied is False  # type: ignore[union-attr]


def test_assets_are_prepared_ahead_of_the_booking_once() -> None:
    rig = Rig()
    rig.book(booking(3600, 3620, **DRESSED))
    with_assets(rig, "abc")
    assert not rig.ran(Prepare)
    rig.wait(3600 - 601)
    assert not rig.ran(Prepare)
    rig.wait(2)
    assert [effect.key for effect in rig.ran(Prepare)] == ["warm:b1"]
    rig.wait(599)
    assert len(rig.ran(Prepare)) == 1
    assert not rig.disk.dresses


@pytest.mark.parametrize("kind", ["transient", "full"])
def test_a_preparation_that_fails_costs_the_branding_but_not_the_film(kind: str) -> None:
    rig = Rig()

    def spoil(effect: Effect) -> None:
        if isinstance(effect, Prepare) and (effect.logos or effect.intro):
            raise EffectFailed(kind, "spoiled")  # type: ignore[arg-type]

    rig.disk.spoil = spoil
    rig.book(booking(**DRESSED))
    with_assets(rig, "abc")
    rig.plan(0)
    rig.wait(9)
    assert not rig.ran(Render)
    assert 2 <= len(rig.ran(Prepare)) <= 8
    rig.wait(6)
    assert rig.film() == [0]
    assert [item.applied for item in rig.stage().branding] == [False, False]


def test_an_intro_that_does_not_fit_the_first_slot_is_left_out() -> None:
    rig = Rig()

    def spoil(effect: Effect) -> None:
        if isinstance(effect, AppendSlot) and effect.index == INTRO:
            raise EffectFailed("input", "sps differs")

    rig.disk.spoil = spoil
    rig.book(booking(**DRESSED))
    with_assets(rig, "abc")
    rig.plan(0)
    rig.settle()
    assert rig.film() == [0]
    assert len(rig.ran(Render)) == 1
    assert rig.stage().intro.why == "it does not fit the film's format"  # type: ignore[union-attr]
    rig.disk.spoil = lambda _effect: None
    rig.disk.films.clear()
    rig.start()
    rig.settle()
    assert rig.film() == [0]


def test_the_booking_cannot_change_a_film_that_is_begun() -> None:
    rig = Rig()
    rig.book(booking(**DRESSED))
    with_assets(rig, "ab")
    with_assets(rig, "c", "failed")
    rig.plan(0)
    rig.settle()
    changed = booking(rev=2, layout="stacked", branding=[logo("other", "d")])
    rig.book(changed)
    with_assets(rig, "d")
    rig.plan(1)
    rig.settle()
    rig.start()
    rig.plan(2)
    rig.settle()
    assert len({(effect.format, effect.logos) for effect in rig.ran(Render)}) == 1
    assert [item.slot for item in rig.stage().branding] == ["club", "sponsor"]


def test_the_layout_is_the_one_the_plans_show() -> None:
    rig = Rig()
    rig.book(booking(layout="side_by_side"))
    rig.plan(0, picture="stacked")
    rig.settle()
    found = rig.ran(Render)[0].format
    assert (found.layout, found.width, found.height) == ("stacked", 1280, 1440)


def test_one_camera_is_a_film_of_its_own_size() -> None:
    rig = Rig(settings=Settings(camera=(Camera(name="left"),)))
    rig.book()
    rig.plan(0, picture="single")
    rig.settle()
    found = rig.ran(Render)[0].format
    assert (found.layout, found.width, found.height) == ("single", 1280, 720)


@pytest.mark.parametrize("lost", ["nothing", "dress", "memory"])
def test_new_settings_do_not_change_a_film_that_is_begun(lost: str) -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.settle()
    if lost == "dress":
        rig.disk.dresses.clear()
    if lost == "memory":
        rig.memory.clear()
    rig.settings = Settings(film=FilmSettings(width=640, height=360, fps=25, layout="stacked"))
    rig.start()
    rig.plan(1)
    rig.settle()
    first, second = (effect.format for effect in rig.ran(Render))
    if lost == "dress":  # what the stage knows stays; the rest does not matter to the decoder
        assert (second.width, second.height, second.fps) == (first.width, first.height, first.fps)
    else:
        assert first == second
    assert rig.film() == [0, 1]


# --- restarts ---


def test_slots_on_disk_that_are_not_in_the_film_are_appended_and_not_rendered_again() -> None:
    rig = Rig()
    rig.book()
    rig.disk.spoil = spoiled(AppendSlot, "transient")
    rig.plan(0, 1, 2)
    rig.merged(3)
    rig.settle()
    rig.disk.spoil = lambda _effect: None
    rig.start()
    rig.settle()
    assert rig.film() == [0, 1, 2]
    assert len(rig.ran(Render)) == 3


def test_a_film_that_is_complete_without_its_stage_saying_so() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.settle()
    rig.disk.films["b1", "film"] = OnDisk(((0, "full"),), 1, complete=True, settled=True)
    rig.wall += timedelta(seconds=5)
    rig.start()
    rig.settle()
    stage = rig.stage()
    assert (stage.status, stage.completed_at) == ("succeeded", T0 + timedelta(seconds=5))
    rig.wall += timedelta(seconds=5)
    rig.start()
    assert rig.stage() == stage
    assert not rig.ran(CloseFilm)


def test_a_film_closed_but_not_durable_is_closed_again_and_keeps_its_time() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.merged(1)
    while not rig.ran(CloseFilm):
        rig.end(next(iter(rig.running)))
    assert rig.stage().status == "succeeded"
    rig.disk.cut("b1", 1)
    rig.wall += timedelta(seconds=30)
    rig.start()
    rig.settle()
    assert (rig.stage().status, rig.stage().completed_at) == ("succeeded", T0)
    assert len(rig.ran(CloseFilm)) == 2


def test_slots_a_crash_took_are_made_again_and_counted_once() -> None:
    rig = Rig(disk=Disk(spoil=spoiled(Render, "transient", 2)))
    rig.book()
    rig.plan(0, 1, 2)
    rig.settle()
    assert dict(rig.stage().rungs) == {"no_logos": 1, "full": 2}
    rig.disk.slots.clear()
    rig.disk.cut("b1", 0)
    rig.start()
    assert rig.stage().slots_done == 0
    rig.plan(3)
    rig.merged(4)
    rig.settle()
    assert rig.film() == [0, 1, 2, 3]
    assert dict(rig.stage().rungs) == {"full": 4}
    assert rig.object().generation == 1  # type: ignore[union-attr]


def test_a_film_that_is_found_shorter_while_it_runs_is_filled_up() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0, 1, 2)
    rig.settle()
    rig.disk.slots.clear()
    rig.disk.cut("b1", 1)  # the driver had to open it again
    rig.plan(3)
    rig.merged(4)
    rig.settle()
    assert rig.film() == [0, 1, 2, 3]
    assert dict(rig.stage().rungs) == {"full": 4}


def test_frames_that_rendering_found_missing_are_counted() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    key = next(iter(rig.running))
    rig.end(key)
    result = rig.disk.run(rig.running.pop("render:b1:0"))
    rig.feed(Done("render:b1:0", replace(result, left_missing=7)))  # type: ignore[type-var]
    rig.settle()
    assert dict(rig.stage().missing) == {"left": 7}
    assert dict(rig.stage().rungs) == {"full": 1}
    rig.start()
    assert dict(rig.stage().missing) == {"left": 7}


# --- cancelled, verified, deleted ---


def test_cancelled_stops_and_taken_back_goes_on() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.settle()
    rig.book(booking(rev=2, status="cancelled"))
    assert rig.stage().status == "cancelled"
    assert rig.object() is None
    rig.plan(1)
    rig.settle()
    assert rig.film() == [0]
    rig.start()
    assert rig.stage().status == "cancelled"
    rig.wait(500)
    rig.book(booking(rev=3))
    rig.merged(2)
    rig.settle()
    assert (rig.film(), rig.stage().status) == ([0, 1], "succeeded")
    assert rig.object() is not None


def test_record_turned_to_no_counts_as_cancelled() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.settle()
    rig.book(booking(rev=2, record="no"))
    assert rig.stage().status == "cancelled"


def test_a_booking_that_vanished_is_withdrawn_only_with_a_schedule_that_proves_it() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0)
    rig.put(BOOKING.at(id="b1"), None)
    rig.settle()
    assert rig.film() == [0]
    digest = schedule_digest(())
    rig.put(SCHEDULE_SYNC.at(), ScheduleSync(generation=2, count=0, digest=digest, synced_at=T0))
    rig.plan(1)
    rig.settle()
    assert (rig.film(), rig.stage().status) == ([0], "cancelled")


def test_a_dead_recording_is_deleted_once_and_never_goes_on() -> None:
    rig = Rig()
    rig.book()
    rig.plan(0, 1)
    rig.end(next(iter(rig.running)))
    rig.book(booking(rev=2, status="cancelled"))
    working = list(rig.running)
    assert working
    entry = RetentionEntry(id="b1", what="all", why="cancelled", dead=True)
    rig.put(RETENTION.at(), Retention(entries=(entry,)))
    assert not [key for key in rig.running if key.startswith("delete:")]  # what works on it ends first
    rig.settle()
    assert len(rig.ran(DeleteMedia)) == 1
    assert (rig.disk.films, rig.disk.slots, rig.disk.dresses) == ({}, {}, {})
    rig.book(booking(rev=3))
    rig.plan(2)
    rig.wait(60)
    rig.start()
    rig.wait(60)
    assert (rig.film(), len(rig.ran(DeleteMedia))) == ([], 1)
    assert rig.stage().status == "cancelled"


def test_a_film_goes_only_when_listed_and_in_the_bucket_as_it_is_here() -> None:
    rig = made()
    entry = RetentionEntry(id="b1", what="all", why="in the bucket")
    rig.put(RETENTION.at(), Retention(entries=(entry,)))
    rig.settle()
    assert not rig.ran(DeleteMedia)
    rig.uploaded("film", "poster")
    rig.settle()
    assert len(rig.ran(DeleteMedia)) == 1
    assert rig.object() is None
    assert rig.stage().status == "succeeded"
    rig.start()
    rig.wait(60)
    assert (rig.film(), len(rig.ran(DeleteMedia)), len(rig.ran(Render))) == ([], 1, 3)
    assert rig.stage().status == "succeeded"
    rig.put(RECORDING.at(id="b1"), None)
    assert not [at for at in rig.shown if "id" in at.topic.holes]


def test_a_deletion_that_fails_is_tried_again_later() -> None:
    rig = made()
    rig.uploaded("film")
    rig.disk.spoil = spoiled(DeleteMedia, "transient", 3)
    rig.put(RETENTION.at(), Retention(entries=(RetentionEntry(id="b1", what="all", why="w"),)))
    rig.settle()
    assert len(rig.ran(DeleteMedia)) == 1
    rig.wait(60)
    assert len(rig.ran(DeleteMedia)) == 4
    assert not rig.disk.films


def test_cameras_listed_alone_touch_nothing_of_ours() -> None:
    rig = made()
    rig.uploaded("film")
    rig.put(RETENTION.at(), Retention(entries=(RetentionEntry(id="b1", what="cameras", why="w"),)))
    rig.settle()
    assert not rig.ran(DeleteMedia)


def test_an_objects_topic_is_cleared_when_it_is_verified_and_the_recording_is_final() -> None:
    rig = made()
    rig.uploaded("film")
    assert rig.object() is not None
    rig.put(RECORDING.at(id="b1"), Recording(state="ready"))
    assert rig.object() is None
    assert rig.object("poster") is not None
    rig.uploaded("film", "poster")
    assert rig.object("poster") is None


def test_a_cancellation_after_the_film_is_in_the_bucket_takes_back_no_poster() -> None:
    rig = made()
    rig.book(booking(rev=2, status="cancelled"))
    assert rig.object("poster") is None
    rig.book(booking(rev=3))
    rig.uploaded("film")
    rig.put(RECORDING.at(id="b1"), Recording(state="ready"))
    rig.book(booking(rev=4, status="cancelled"))
    assert rig.object("poster") is not None
    rig.uploaded("film", "poster")
    assert rig.object("poster") is None


def test_a_film_lost_after_it_was_verified_is_not_made_again() -> None:
    rig = made()
    rig.uploaded("film")
    rig.disk.films.clear()
    rig.start()
    rig.wait(60)
    assert (rig.film(), rig.stage().status) == ([], "succeeded")


def test_a_recording_nobody_cleared_is_forgotten_a_day_late() -> None:
    rig = made()
    rig.uploaded("film")
    rig.put(RETENTION.at(), Retention(entries=(RetentionEntry(id="b1", what="all", why="w"),)))
    rig.settle()
    rig.put(BOOKING.at(id="b1"), None)
    rig.wall += timedelta(days=7)
    rig.connect()
    assert rig.stage().status == "succeeded"
    rig.wall += timedelta(days=2)
    with_assets(rig, "a")
    assert not [at for at in rig.shown if at.topic.key == "process"]


# --- everything at once ---


def news_of(rig: Rig, total: int, dressed: Booking) -> list[Callable[[], None]]:
    """What the other agents say, each once or twice."""
    news: list[Callable[[], None]] = [lambda: rig.book(dressed), lambda: with_assets(rig, "abc")]
    for number, minute in enumerate((range(total // 2), range(total // 2, total))):
        plans = SlotsMinute(plans=tuple(plan(index) for index in minute))
        news += [partial(rig.put, SLOTS.at(id="b1", minute=str(number)), plans)] * 2
    return [*news, lambda: rig.merged(total), lambda: rig.book(booking(rev=2, status="cancelled"))]


def step(rig: Rig, luck: random.Random, news: list[Callable[[], None]], total: int) -> None:
    choice = luck.random()
    if choice < 0.55 and rig.running:
        rig.end(luck.choice(list(rig.running)))
    elif choice < 0.75 and news:
        news.pop()()
    elif choice < 0.82:
        rig.disk.sync("b1")
    elif choice < 0.88:
        rig.disk.cut("b1", luck.randint(0, total))
        rig.start(connect=luck.random() < 0.8)
        rig.connect()
    elif choice < 0.92:
        rig.connect()
    else:
        rig.wait(luck.choice([0.1, 1, 15]))


def storm(seed: int) -> None:
    """A recording whose events come in any order, with failures, crashes and restarts between them."""
    luck = random.Random(seed)
    total = luck.randint(1, 9)
    rig = Rig()
    troubles = [luck.randint(0, 12)]

    def spoil(effect: Effect) -> None:
        if troubles[0] and luck.random() < 0.3 and not isinstance(effect, MakePoster):
            troubles[0] -= 1
            raise EffectFailed(luck.choice(KINDS), "storm")

    rig.disk.spoil = spoil
    dressed = booking(**DRESSED) if luck.random() < 0.5 else booking()
    news = news_of(rig, total, dressed)
    luck.shuffle(news)
    for _ in range(200):
        step(rig, luck, news, total)
    while news:
        news.pop()()
    rig.book(dressed.replace(rev=3))
    rig.wait(200)
    film = rig.film()
    numbers = film[1:] if film[:1] == [INTRO] else film
    assert numbers == list(range(total)), seed
    stage = rig.stage()
    assert (stage.status, stage.slots_done, sum(stage.rungs.values())) == ("succeeded", total, total), seed
    assert rig.disk.films["b1", "film"].settled, seed
    said = Counter(rung for index, rung in rig.disk.films["b1", "film"].content if index != INTRO)
    assert said == Counter(stage.rungs), seed
    intro = stage.intro is not None and stage.intro.applied
    assert intro == (film[:1] == [INTRO]), seed


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_in_any_order_with_any_trouble_the_film_is_complete_and_in_order(first: int) -> None:
    for seed in range(first, first + 20):
        storm(seed)


# --- camera files ---


def segments(cam: str, *numbers: int) -> SegmentsMinute:
    found = tuple(
        Segment(
            path=f"recordings/b1/{cam}/aaaaaaaa-{number:08d}.mp4",
            name=f"aaaaaaaa-{number:08d}",
            boot_id="aaaaaaaa-1",
            stamp="sensor",
            t0_ns=number * 2 * SECOND_NS,
            end_ns=(number + 1) * 2 * SECOND_NS,
            offsets=(100_000, -18),
            frames=20,
            bytes=9,
            wall_offset_ns=0,
            width=64,
            height=32,
            fps=10,
        )
        for number in numbers
    )
    return SegmentsMinute(segments=found)


def with_cameras(rig: Rig, *numbers: int) -> None:
    """Both cameras have claimed segments, left is done with its part."""
    mappings = (WallMapping(boot_id="aaaaaaaa-1", wall_offset_ns=wall_ns(T0)),)
    for cam in ("left", "right"):
        rig.put(SEGMENTS.at(id="b1", cam=cam, minute="aaaaaaaa-0"), segments(cam, *numbers))
        stage = CaptureStage(status="succeeded" if cam == "left" else "running", mappings=mappings)
        rig.put(CAPTURE.at(id="b1", cam=cam), stage)


def test_camera_files_are_delivered_when_they_are_asked_for() -> None:
    rig = made(deliver=["film", "cameras"])
    with_cameras(rig, 0, 1, 2)
    rig.settle()
    left = rig.object("left")
    assert left is not None
    assert (left.complete, left.bytes_durable) == (True, left.bytes)
    assert [effect.index for effect in rig.ran(AppendCamera)] == [0, 1, 2]
    assert rig.object("right") is None
    rig.start()
    rig.settle()
    assert rig.object("left") == left
    assert len(rig.ran(AppendCamera)) == 3


def test_camera_files_are_not_made_unasked() -> None:
    rig = made()
    with_cameras(rig, 0, 1, 2)
    rig.settle()
    assert not rig.ran(AppendCamera)


def test_a_segment_left_out_of_a_camera_file_is_named_in_the_stage_over_restarts() -> None:
    rig = Rig()

    def spoil(effect: Effect) -> None:
        if isinstance(effect, AppendCamera) and effect.path.endswith("1.mp4"):
            raise EffectFailed("input", "cut short")

    rig.disk.spoil = spoil
    rig.book(booking(deliver=["film", "cameras"]))
    rig.plan(0)
    rig.merged(1)
    with_cameras(rig, 0, 1, 2)
    rig.settle()
    assert [effect.path[-5] for effect in rig.ran(AppendCamera)] == ["0", "1", "2"]
    assert rig.stage().skipped == {"left": ("aaaaaaaa-00000001",)}
    assert rig.object("left").complete  # type: ignore[union-attr]
    rig.start()
    rig.settle()
    assert rig.stage().skipped == {"left": ("aaaaaaaa-00000001",)}


def test_the_state_has_a_place_in_the_journal() -> None:
    rig = made(deliver=["film", "cameras"], **DRESSED)
    with_cameras(rig, 0)
    rig.wait(11)
    state = rig.core.state
    assert loads(dumps(state)) == state
    assert loads(dumps(tuple(rig.disk.ran))) == tuple(rig.disk.ran)
