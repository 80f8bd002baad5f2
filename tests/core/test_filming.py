"""The ladder's account, the film's view of itself, and what is kept how long."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent.core import filming
from edge_agent.core.agent import SECOND_NS
from edge_agent.core.effects import FilmFile, Rendered
from edge_agent.core.film_keep import deletion, outlived
from edge_agent.core.filming import Film, Trying
from edge_agent.core.poor_slots import MAX_POOR, missing, noted, rungs
from edge_agent.core.processor_view import told
from schemas.base import MAX_PAYLOAD_BYTES
from schemas.booking import Booking
from schemas.recording import MergeStage, PoorSlots, ProcessStage, Rung, UploadedObject, UploadStage

T0 = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
BOOKING = Booking.model_validate({"rev": 4, "start": T0, "end": T0, "from": T0, "to": T0})


def file(slots: int, **more: Any) -> FilmFile:
    plain: dict[str, Any] = {
        "path": "recordings/b1/film/film.mp4",
        "bytes": 100 * slots,
        "bytes_durable": 0,
        "frames": 120 * slots,
        "slots": slots,
        "intro_frames": 0,
        "complete": False,
        "sha256": None,
        "duration_s": 4.0 * slots,
        "generation": 0,
    }
    return FilmFile(**{**plain, **more})


def account(*slots: tuple[int, Rung, int]) -> tuple[PoorSlots, ...]:
    found: tuple[PoorSlots, ...] = ()
    for index, rung, left in slots:
        found = noted(found, PoorSlots(first=index, rung=rung, left=left))
    return found


def test_alike_slots_in_a_row_are_one_line_of_the_account() -> None:
    found = account((5, "card", 0), (6, "card", 0), (7, "card", 0), (9, "card", 0), (10, "full", 3))
    assert [(run.first, run.slots, run.rung, run.left) for run in found] == [
        (5, 3, "card", 0),
        (9, 1, "card", 0),
        (10, 1, "full", 3),
    ]


def test_a_slot_made_again_replaces_what_was_said_of_it() -> None:
    found = account((5, "card", 0), (6, "card", 0), (7, "card", 0), (6, "no_logos", 0))
    assert [(run.first, run.slots, run.rung) for run in found] == [
        (5, 1, "card"),
        (6, 1, "no_logos"),
        (7, 1, "card"),
    ]
    assert account((5, "card", 0), (5, "full", 0)) == ()


@pytest.mark.parametrize(
    ("slots", "expected", "lost"),
    [
        (0, {}, {}),
        (6, {"full": 5, "card": 1}, {}),
        (8, {"full": 5, "card": 3}, {}),
        (11, {"full": 8, "card": 3}, {"left": 3}),
    ],
)
def test_only_slots_in_the_film_count(slots: int, expected: dict[str, int], lost: dict[str, int]) -> None:
    poorer = account((5, "card", 0), (6, "card", 0), (7, "card", 0), (10, "full", 3))
    assert rungs(poorer, slots) == expected
    assert missing(poorer, slots) == lost


def test_the_worst_account_fits_a_message() -> None:
    poorer: tuple[PoorSlots, ...] = ()
    for index in range(2 * MAX_POOR):
        poorer = noted(poorer, PoorSlots(first=index, rung="one_camera", left=index % 2, right=119))
    assert len(poorer) == MAX_POOR
    stage = ProcessStage(poorer=poorer, skipped={"left": ("12345678-00000001",) * 100})
    assert len(stage.model_dump_json()) < MAX_PAYLOAD_BYTES


def test_a_try_keeps_its_rung_while_it_is_under_way() -> None:
    trying = Trying(0, 0, failures=1, asked="full")
    assert trying.rung(19 * SECOND_NS) == "full"
    assert replace(trying, asked=None).rung(19 * SECOND_NS) == "card"
    assert replace(trying, asked=None).rung(14 * SECOND_NS) == "full"
    assert Trying(0, 0).rung(60 * SECOND_NS) == "full"  # it has waited, not failed


def test_a_failure_of_another_slot_changes_nothing() -> None:
    film = Film("b1", trying=Trying(3, 0))
    assert filming.render_failed(film, 4, "transient", None, 1) is film


def test_a_slot_that_comes_late_for_a_film_that_has_it_is_dropped() -> None:
    film = Film("b1", file=file(4))
    assert filming.rendered(film, 3, Rendered("p", 120, 9, 1.0, rung="card")) == film


def test_the_time_of_completion_is_that_of_the_first() -> None:
    film = filming.appended(Film("b1"), file(2, complete=True), T0)
    again = filming.appended(film, file(2, complete=True), T0 + timedelta(seconds=9))
    assert again.stage.completed_at == T0
    shorter = filming.appended(again, file(1), T0)
    assert shorter.stage.completed_at is None


def test_what_is_told_stays_the_same_object_when_nothing_changed() -> None:
    film = told(Film("b1", booking=BOOKING, file=file(1)))
    assert (film.stage.rev, film.stage.status) == (4, "running")
    again = told(film)
    assert again.stage is film.stage
    assert again.objects["film"] is film.objects["film"]
    merged = told(replace(film, merge=MergeStage(status="succeeded", slots_total=1)))
    assert merged.objects["film"].slots_total == 1


def test_an_empty_film_is_no_object() -> None:
    assert not told(Film("b1", booking=BOOKING, file=file(0))).objects


def uploaded(size: int) -> UploadStage:
    return UploadStage(objects=(UploadedObject(name="film", key="k", bytes=size, verified_at=T0),))


@pytest.mark.parametrize(
    ("more", "goes"),
    [
        ({}, False),
        ({"listed": True}, False),
        ({"listed": True, "upload": uploaded(200)}, True),
        ({"upload": uploaded(200)}, False),
        ({"listed": True, "upload": uploaded(100)}, False),
        ({"listed": True, "upload": uploaded(200), "deleted": True}, False),
        ({"listed": True, "upload": uploaded(200), "delete_ns": 9}, False),
        ({"listed": True, "dead": True}, True),
    ],
)
def test_what_may_be_deleted(more: dict[str, Any], goes: bool) -> None:
    film = Film("b1", file=file(2), **more)
    assert bool(deletion(film, 5, busy=False)) == goes
    assert not deletion(film, 5, busy=True)


def test_topics_are_kept_while_there_is_a_file() -> None:
    late = T0 + timedelta(days=30)
    film = Film("b1", booking=BOOKING)
    assert outlived(film, late, 7)
    assert not outlived(replace(film, file=file(1)), late, 7)
    assert not outlived(film, T0 + timedelta(days=8), 7)
    assert not outlived(Film("b1"), late, 7)
