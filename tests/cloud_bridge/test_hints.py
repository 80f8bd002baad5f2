"""Realtime against the stand-in: a hint comes, and nothing that happens to the line ends the hints."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator

import psycopg
import pytest

from cloud_bridge.hints import Pace, RealtimeHints
from cloud_bridge.stores.supabase_client import Project
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import as_device

QUICK = Pace(beat_s=0.2, answer_s=2.0, steady_s=60.0, first_s=0.05, longest_s=0.5)
LONG_S = 60


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


Listen = Callable[..., "queue.SimpleQueue[float]"]


@pytest.fixture
def listen(project: SupabaseStandIn) -> Generator[Listen]:
    """Begin to listen as court-1; the moments of its hints."""
    running: list[RealtimeHints] = []

    def begin(pace: Pace | None = QUICK, who: Project | None = None) -> "queue.SimpleQueue[float]":
        told: queue.SimpleQueue[float] = queue.SimpleQueue()
        hints = RealtimeHints(who or as_device(project), "court-1", lambda: told.put(time.monotonic()), pace)
        running.append(hints)
        hints.start()
        return told

    yield begin
    for hints in running:
        hints.close()


def change(project: SupabaseStandIn, device: str = "court-1") -> None:
    """A booking made by somebody."""
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO court_bookings (device_id, id, kind, starts_at, ends_at)"
            " SELECT %s, 'b' || count(*), 'cut', now(), now() FROM court_bookings",
            (device,),
        )


def test_a_change_is_hinted_at_and_others_are_none_of_our_business(
    project: SupabaseStandIn, listen: Listen
) -> None:
    told = listen(None)
    told.get(timeout=LONG_S)  # the session's own
    for device in ("court-2", "court-9", "court-1", "court-2", "court-1"):
        change(project, device)
    for _ in range(2):
        told.get(timeout=LONG_S)
    assert told.empty()


def test_a_device_that_may_not_see_a_change_hears_nothing_of_it(
    project: SupabaseStandIn, listen: Listen
) -> None:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute("UPDATE devices SET revoked_at = now() WHERE id = 'court-1'")
        told = listen(None)
        told.get(timeout=LONG_S)
        change(project)
        db.execute("UPDATE devices SET revoked_at = NULL WHERE id = 'court-1'")
    change(project)
    told.get(timeout=LONG_S)
    change(project)
    told.get(timeout=LONG_S)
    assert told.empty()


def test_a_server_that_goes_and_comes_is_found_again(project: SupabaseStandIn, listen: Listen) -> None:
    told = listen()
    for _ in range(3):
        told.get(timeout=LONG_S)
        project.stop()
        change(project)
        project.start()
    told.get(timeout=LONG_S)
    change(project)
    told.get(timeout=LONG_S)


def test_a_line_that_only_seems_to_be_there_is_made_anew(project: SupabaseStandIn, listen: Listen) -> None:
    project.faults.deaf = project.faults.mute = True
    told = listen(QUICK._replace(answer_s=1.0))
    for _ in range(2):  # the second is of another session: the first one's heartbeats were not answered
        told.get(timeout=LONG_S)
    project.faults.deaf = project.faults.mute = False
    while not told.empty():
        told.get()
    change(project)
    told.get(timeout=LONG_S)


@pytest.mark.parametrize(
    "what", ["wrong key", "endless key", "unknown public key", "no server", "no websocket"]
)
def test_what_never_works_is_tried_again_and_never_raises(
    project: SupabaseStandIn, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cloud_bridge.hints")
    good = as_device(project)
    who = {
        "wrong key": Project(good.url, "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", good.public_key),
        "endless key": Project(good.url, project.device_key("court-1", "club", exp=None), good.public_key),
        "unknown public key": Project(good.url, good.key, "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"),
        "no server": Project("http://127.0.0.1:1", good.key, good.public_key),
        "no websocket": Project(f"{good.url}/rest/v1/devices?", good.key, good.public_key),
    }[what]
    hints = RealtimeHints(who, "court-1", pace=QUICK)
    hints.start()

    def said() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "cloud_bridge.hints"]

    until(lambda: len(said()) >= 3)
    hints.close()
    texts = [record.getMessage() for record in said()]
    assert all(text.startswith("no hints from the store (") for text in texts), texts
    assert not any(key in text for text in texts for key in (who.key, who.public_key or "-"))
    assert [record.levelname for record in said()[:3]] == ["INFO", "DEBUG", "DEBUG"]


def test_whoever_waits_is_woken_once_for_many_changes_and_at_the_end(
    project: SupabaseStandIn, listen: Listen
) -> None:
    hints = RealtimeHints(as_device(project), "court-1", pace=QUICK)
    woken: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def wait() -> None:
        while hints.wait():
            woken.put(True)
        woken.put(False)

    waiting = threading.Thread(target=wait)
    waiting.start()
    hints.start()
    assert woken.get(timeout=LONG_S)
    change(project)
    assert woken.get(timeout=LONG_S)
    hints.close()
    hints.close()
    waiting.join(LONG_S)
    while woken.get(timeout=LONG_S):
        pass
    assert not hints.wait()


def test_it_may_be_closed_before_it_began_and_leaves_no_thread(project: SupabaseStandIn) -> None:
    hints = RealtimeHints(as_device(project), "court-1")
    hints.close()
    assert not hints.wait()
    hints = RealtimeHints(as_device(project), "court-1", pace=QUICK)
    hints.start()
    hints.close()
    assert [thread.name for thread in threading.enumerate() if thread.name == "hints"] == []


def test_a_hint_that_is_not_taken_ends_nothing(
    project: SupabaseStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def refuse() -> None:
        told.put(None)
        raise ValueError("not now")

    hints = RealtimeHints(as_device(project), "court-1", refuse)
    hints.start()
    told.get(timeout=LONG_S)
    change(project)
    told.get(timeout=LONG_S)
    hints.close()
    assert "a hint was not taken" in caplog.text


@pytest.mark.lane
def test_twenty_seconds_without_a_server_are_longer_than_the_client_would_try(
    project: SupabaseStandIn, listen: Listen
) -> None:
    told = listen(Pace(answer_s=2.0, first_s=1.0, longest_s=4.0))
    told.get(timeout=LONG_S)
    project.stop()
    time.sleep(20)
    assert told.empty()
    project.start()
    told.get(timeout=LONG_S)
    change(project)
    told.get(timeout=LONG_S)
