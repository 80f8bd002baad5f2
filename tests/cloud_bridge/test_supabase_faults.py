"""Everything that can come back from a Supabase project, or not come back, against the real client."""

import json
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from cloud_bridge.stores import NewBooking, StoreError
from cloud_bridge.stores.supabase import SupabaseStore
from cloud_bridge.stores.supabase_client import Limits, Project
from edge_agent.core.effects import ResultRow
from tests.cloud_bridge.served import NOON, minutes
from tests.standins.supabase import HTML, Canned, Huge, SupabaseStandIn
from tests.support.supabase import IMPATIENT, as_device, store_of

PAGE = {"cursor": 7, "rows": [], "count": 0, "automatic": True, "complete": True}


@pytest.fixture
def store(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project)
    yield store
    store.close()


def trouble(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call()
    text = caught.value.text
    assert "\n" not in text
    assert "eyJ" not in text, "a key is in the text"
    assert len(text) < 400
    return caught.value


def body(**error: object) -> bytes:
    return json.dumps({"code": None, "details": None, "hint": None, "message": None, **error}).encode()


ANSWERS: dict[str, tuple[Canned | Huge, str, str]] = {
    "500": (Canned(500, body(code="XX000", message="boom")), "transient", "HTTP 500 (boom)"),
    "502 HTML": (Canned(502, HTML, "text/html"), "transient", "HTTP 502 (<!DOCTYPE html>"),
    "503": (Canned(503, body(code="PGRST002", message="schema cache")), "transient", "schema cache"),
    "504 empty": (Canned(504, b""), "transient", "an empty answer"),
    "429": (Canned(429, b"slow down", "text/plain"), "transient", "HTTP 429 (slow down)"),
    "302": (Canned(302, b"", "text/html"), "transient", "HTTP 302"),
    "200 HTML": (Canned(200, HTML, "text/html"), "transient", "HTML came back"),
    "200 HTML as JSON": (Canned(200, HTML), "transient", "HTML came back"),
    "200 empty": (Canned(200, b""), "transient", "an empty answer"),
    "204": (Canned(204, b""), "transient", "an empty answer"),
    "200 no rows": (Canned(200, b"[]"), "transient", "not what was asked for"),
    "200 null": (Canned(200, b"null"), "transient", "not what was asked for"),
    "200 half JSON": (Canned(200, b'{"cursor": 7, "rows": ['), "transient", "not what was asked for"),
    "200 deep": (Canned(200, b"[" * 200_000), "transient", ""),
    "200 no UTF-8": (Canned(200, b'{"cursor": "\xff\xfe"}'), "transient", ""),
    "200 not a number": (Canned(200, json.dumps({**PAGE, "cursor": "x"}).encode()), "transient", "cursor"),
    "200 negative": (Canned(200, json.dumps({**PAGE, "cursor": -1}).encode()), "transient", "cursor"),
    "200 standing": (
        Canned(200, json.dumps({**PAGE, "cursor": 0, "complete": False}).encode()),
        "transient",
        "stays there",
    ),
    "404 HTML": (Canned(404, HTML, "text/html"), "transient", "HTTP 404"),
    "401": (Canned(401, body(message="Invalid API key")), "denied", "does not know the key"),
    "403 and no rows": (Canned(403, b"[]"), "permanent", "HTTP 403, not allowed"),
    "403 RLS": (
        Canned(403, body(code="42501", message='permission denied for table "x"')),
        "permanent",
        "permission denied",
    ),
    "400": (Canned(400, body(code="22P02", message="invalid input syntax")), "input", "invalid input"),
    "409": (Canned(409, body(code="23505", message="duplicate key")), "input", "duplicate key"),
    "418": (Canned(418, body(code="PT418", message="teapot")), "permanent", "HTTP 418 PT418 (teapot)"),
    "half": (Canned(200, json.dumps(PAGE).encode(), cut=9), "transient", "cannot be reached"),
    "half error": (Canned(500, body(message="boom"), cut=4), "transient", "cannot be reached"),
    "long error": (Canned(400, body(code="X", message="x" * 90_000 + "\n")), "permanent", "x" * 50),
    "10 MB promised": (Huge(promised=True), "transient", "is refused, at most 5000000 are read"),
    "10 MB": (Huge(), "transient", "more than 5000000 bytes is refused"),
}  # fmt: skip


def test_every_answer_that_is_none_is_one_line_of_the_right_kind(
    project: SupabaseStandIn, store: SupabaseStore
) -> None:
    for name, (answer, kind, said) in ANSWERS.items():
        project.faults.answer = answer
        error = trouble(lambda: store.poll(0))
        assert (error.kind, said in error.text) == (kind, True), f"{name}: {error.kind} {error.text}"
        assert error.text.startswith("ezrec_poll: "), name
        project.faults.answer = None
        assert store.poll(0).count == 0, f"after {name} the store does not work"


def test_a_large_answer_is_not_read_to_its_end(project: SupabaseStandIn, store: SupabaseStore) -> None:
    project.faults.answer = Huge(size=200_000_000)
    trouble(lambda: store.poll(0))
    assert 5_000_000 < project.faults.sent < 100_000_000


def test_what_is_answered_without_a_function_being_there(
    project: SupabaseStandIn, store: SupabaseStore
) -> None:
    project.faults.hidden = frozenset({"ezrec_poll"})
    error = trouble(lambda: store.poll(0))
    assert (error.kind, "ezrec store migrate" in error.text) == ("permanent", True)
    assert "Could not find the function public.ezrec_poll" in error.text


def test_a_table_that_is_gone_is_for_somebody_to_mend(project: SupabaseStandIn) -> None:
    store = store_of(project, service=True)
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute("ALTER TABLE results RENAME TO mislaid")
        try:
            error = trouble(lambda: store.save_result("a", "recording", {}))
        finally:
            db.execute("ALTER TABLE mislaid RENAME TO results")
    assert (error.kind, "ezrec store migrate" in error.text) == ("permanent", True)
    assert store.save_result("a", "recording", {})
    store.close()


def test_a_store_that_is_away_and_comes_back(project: SupabaseStandIn, store: SupabaseStore) -> None:
    store.create_booking(NewBooking("a", "booked", NOON, NOON + minutes(60)))
    project.stop()
    for _ in range(2):
        error = trouble(lambda: store.poll(0))
        assert (error.kind, "cannot be reached" in error.text) == ("transient", True)
    assert trouble(lambda: store.save_results([ResultRow("a", "recording", 1, {})])).kind == "transient"
    project.start()
    assert [row.id for row in store.poll(0).rows] == ["a"]
    assert store.results("a") == {}


def test_a_name_that_does_not_resolve_is_a_passing_trouble() -> None:
    store = SupabaseStore(Project("https://no-such-host.invalid", "key"), "court-1", limits=IMPATIENT)
    assert trouble(lambda: store.poll(0)).kind == "transient"
    store.close()


def test_waiting_has_an_end(project: SupabaseStandIn) -> None:
    project.faults.held = threading.Event()
    store = SupabaseStore(as_device(project), "court-1", limits=Limits(connect_s=5, read_s=0.2))
    error = trouble(lambda: store.poll(0))
    project.faults.held.set()
    store.close()
    assert (error.kind, "no answer in time" in error.text) == ("transient", True)


def test_an_answer_in_drips_has_an_end_too(project: SupabaseStandIn) -> None:
    project.faults.answer = Huge()
    store = SupabaseStore(as_device(project), "court-1", limits=Limits(whole_s=0.0))
    error = trouble(lambda: store.poll(0))
    store.close()
    assert (error.kind, "not whole after 0 s" in error.text) == ("transient", True)


def test_a_line_that_breaks_after_the_work_was_done_changes_nothing_when_tried_again(
    project: SupabaseStandIn, store: SupabaseStore
) -> None:
    rows = [ResultRow("a", "recording", 1, {"state": "ready"})]
    new = NewBooking("a", "booked", NOON, NOON + minutes(60), title="T")
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.create_booking(new)[1],
        lambda: store.save_results(rows),
    )
    for call in calls:
        project.faults.answer = Canned(200, b'{"x": 1}', cut=3, done=True)
        assert trouble(call).kind == "transient"
        project.faults.answer = None
        assert not call(), "done twice"
    assert store.results("a")["recording"].body == {"state": "ready"}
    assert store.poll(0).count == 1


@pytest.mark.parametrize("ahead_s", [-86_400.0, 86_400.0])
def test_a_project_whose_clock_is_a_day_off_still_takes_a_device_key(
    project: SupabaseStandIn, store: SupabaseStore, ahead_s: float
) -> None:
    project.faults.ahead_s = ahead_s
    assert store.poll(0).count == 0


def test_nothing_is_tried_again_by_itself(project: SupabaseStandIn, store: SupabaseStore) -> None:
    project.faults.answer = Canned(503, body(message="away"))
    trouble(lambda: store.poll(0))
    trouble(store.automatic)
    assert project.faults.asked == ["ezrec_poll", "ezrec_automatic"]


def test_500_rows_are_a_page_and_the_rest_follows(project: SupabaseStandIn, store: SupabaseStore) -> None:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO court_bookings (device_id, id, kind, starts_at, ends_at)"
            " SELECT 'court-1', 'b' || n, 'cut', now() + n * interval '1 hour', now() + n * interval '1 hour'"
            " FROM generate_series(1, 1100) n"
        )
    sizes: list[int] = []
    seen: set[str] = set()
    cursor, complete = 0, False
    while not complete:
        page = store.poll(cursor)
        sizes.append(len(page.rows))
        seen |= {row.id for row in page.rows}
        cursor, complete = page.cursor, page.complete
    assert (sizes, len(seen), store.poll(cursor).rows) == ([500, 500, 100], 1100, ())


def test_a_page_of_a_store_that_is_many_times_as_large_is_within_bounds(
    project: SupabaseStandIn, store: SupabaseStore
) -> None:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO device_commands (device_id, id, target, name, args, ordered_by)"
            " SELECT 'court-1', 'c' || n, 'merger', 'restart', json_build_object('x', repeat('y', 900)), 'o'"
            " FROM generate_series(1, 600) n"
        )
    page = store.poll(0)
    assert (len(page.commands), page.complete) == (500, False)
    assert len(store.poll(page.cursor).commands) == 100


def test_one_device_with_large_rows_keeps_no_other_from_being_told_of_or_kept(
    project: SupabaseStandIn,
) -> None:
    """What a device writes is bounded row by row; many of them are more than one answer may have."""
    store = store_of(project, service=True)
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO notices (device_id, id, kind, subject, at, data)"
            " SELECT 'court-1', 'n' || n, 'alarm', 'x', now(), json_build_object('text', repeat('y', 99900))"
            " FROM generate_series(1, 60) n"
        )
        db.execute(
            "INSERT INTO results (device_id, booking_id, kind, body, stored_at)"
            " SELECT 'court-1', 'f' || n, 'upload', json_build_object('x', repeat('y', 990000), 'objects',"
            " json_build_array(json_build_object('key', 'k' || n))), now() FROM generate_series(1, 8) n"
        )
        db.execute(
            "INSERT INTO notifications (id, device_id, subject, kind, channel, recipient, language,"
            " not_before, due_at, data)"
            " SELECT 'm' || n, 'court-1', 's' || n, 'alarm', 'email', 'a@example.org', 'en', now(), now(),"
            " json_build_object('text', repeat('y', 99900)) FROM generate_series(1, 60) n"
        )
    assert 0 < len(store.open_notices(60)) < 60
    assert [len(store.claim("s", 60, limit)) for limit in (50, 50, 50)] == [40, 20, 0]
    after, seen = None, list[str]()
    while films := store.kept_films(100, after):
        seen += [film.booking_id for film in films]
        after = films[-1].booking_id
    assert seen == [f"f{n}" for n in range(1, 9)]
    store.close()


def test_rows_too_large_for_one_answer_come_in_smaller_ones(project: SupabaseStandIn) -> None:
    store = store_of(project, service=True)
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO device_commands (device_id, id, target, name, args)"
            " SELECT 'court-1', 'c' || n, 'x', 'y', json_build_object('x', repeat('y', 90000))"
            " FROM generate_series(1, 70) n"
        )
    pages = [store.poll(0)]
    while not pages[-1].complete:
        pages.append(store.poll(pages[-1].cursor))
    assert [len(page.commands) for page in pages] == [31, 39]
    new = [NewBooking(f"b{n}", "cut", NOON + minutes(n), NOON + minutes(n)) for n in range(9)]
    for one in new:
        store.create_booking(one)
        store.save_result(one.id, "recording", {"x": "y" * 900_000})
    assert [row.booking.id for row in store.recordings(None, 50, None)] == [f"b{n}" for n in range(8, -1, -1)]
    store.close()


@pytest.mark.parametrize("body", [{"x": float("nan")}, {"x": "\ud800"}, {"x": object()}])
def test_what_is_no_json_is_the_inputs_fault_and_not_sent(
    project: SupabaseStandIn, store: SupabaseStore, body: Any
) -> None:
    assert trouble(lambda: store.save_results([ResultRow("a", "recording", 1, body)])).kind == "input"
    assert project.faults.asked == []


def test_a_text_that_the_database_cannot_keep_is_the_inputs_fault(store: SupabaseStore) -> None:
    error = trouble(lambda: store.save_results([ResultRow("a", "recording", 1, {"x": "a\0b"})]))
    assert (error.kind, "22P05" in error.text) == ("input", True)


def test_who_polls_while_others_write_misses_nothing(project: SupabaseStandIn) -> None:
    store, clouds = store_of(project), [store_of(project, service=True) for _ in range(3)]
    writing = threading.Event()

    def write(which: int) -> None:
        cloud = clouds[which]
        for number in range(20):
            name = f"b{which}-{number}"
            cloud.create_booking(NewBooking(name, "cut", NOON, NOON + minutes(number)))
            cloud.order_command({"id": f"c{which}-{number}", "target": "merger", "name": "restart"})
            cloud.change_booking(name, {"status": "cancelled"})

    def read() -> tuple[dict[str, str], set[str]]:
        rows: dict[str, str] = {}
        commands: set[str] = set()
        cursor, last = 0, False
        while not last:
            last = writing.is_set()
            page = store.poll(cursor)
            assert page.cursor >= cursor
            rows |= {row.id: row.status for row in page.rows}
            commands |= {command.id for command in page.commands}
            cursor = page.cursor
        return rows, commands

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        list(pool.map(write, range(3)))
        writing.set()
        rows, commands = reading.result()
    names = {f"{which}-{number}" for which in range(3) for number in range(20)}
    assert rows == {f"b{name}": "cancelled" for name in names}
    assert commands == {f"c{name}" for name in names}
    for one in (store, *clouds):
        one.close()


def test_two_stores_and_many_threads_at_once_lose_nothing(project: SupabaseStandIn) -> None:
    stores = [store_of(project), store_of(project)]

    def write(number: int) -> int:
        kind = "recording" if number < 40 else "receipt"
        return stores[number % 2].save_results(
            [ResultRow(f"b{number % 40}", kind, number + 1, {"n": number})]
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(80))) == 80
        assert sum(pool.map(write, range(80))) == 0
    found = {(number, kind) for number in range(40) for kind in stores[0].results(f"b{number}")}
    assert len(found) == 80
    for store in stores:
        store.close()
        store.close()
    assert trouble(lambda: stores[0].poll(0)).kind == "transient"


def rows_of(*rows: Any) -> Canned:
    return Canned(200, json.dumps({**PAGE, "rows": rows, "count": len(rows)}).encode())


def test_a_row_that_is_none_is_left_out_and_named(project: SupabaseStandIn, store: SupabaseStore) -> None:
    good = {"id": "a", "start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z", "changed": 1}
    project.faults.answer = rows_of(
        good, {**good, "id": "b", "end": None}, {**good, "id": "c", "end": "2026-03-01T11:00:00Z"}, None
    )
    polled = store.poll(0)
    assert [row.id for row in polled.rows] == ["a"]
    assert [(one.id, one.why) for one in polled.unreadable] == [
        ("b", "end: Field required"),
        ("c", "end 2026-03-01T11:00:00.000000Z is before start 2026-03-01T12:00:00.000000Z"),
        ("booking 4", "an object expected"),
    ]
    assert polled.cursor == 7
