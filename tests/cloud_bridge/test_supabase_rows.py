"""Rows as people and other programs write them, and the store the settings name."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter

from cloud_bridge.hints import RealtimeHints
from cloud_bridge.stores import (
    SqliteStore,
    StoreError,
    open_hints,
    open_keeping,
    open_messages,
    open_store,
)
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from cloud_bridge.stores.supabase import SupabaseStore
from cloud_bridge.stores.supabase_rows import fitting, polled
from edge_agent.core.effects import Polled, StoredBooking
from edge_agent.core.settings import Bookings, Settings, Storage
from tests.standins.supabase import SupabaseStandIn

BERLIN = ZoneInfo("Europe/Berlin")
NOON, ONE = "2026-03-01T12:00:00.000000Z", "2026-03-01T13:00:00.000000Z"
ROW: dict[str, Any] = {"id": "a", "start": NOON, "end": ONE, "changed": 3}
PLAIN = StoredBooking(
    id="a", kind="booked", start=NOON, end=ONE, status="confirmed", record="yes", audience="link",
    layout=None, deliver=("film",), owner=None, of=None, changed=3, created_at=NOON,
)  # fmt: skip


def page(*rows: Any, **more: Any) -> Polled:
    answer = {"cursor": 9, "count": len(rows), "automatic": True, "rows": list(rows), **more}
    return polled(answer, 0, BERLIN)


def read(**more: Any) -> StoredBooking | str:
    """The booking, or why it is none."""
    found = page({**ROW, **more})
    return found.rows[0] if found.rows else found.unreadable[0].why


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T13:00:00+00:00"),
        ("2026-03-01T13:00:00+01:00", "2026-03-01T08:00:00-05:00"),
        ("2026-03-01 12:00:00+00", "2026-03-01 13:00:00.000+00"),
        ("2026-03-01T13:00:00", "2026-03-01 14:00"),
        (" 2026-03-01T12:00:00.000000Z ", "2026-03-01T18:30:00+05:30"),
    ],
)
def test_times_in_any_zone_or_form_are_the_same_moment(start: str, end: str) -> None:
    assert read(start=start, end=end) == replace(PLAIN, created_at=NOON)


def test_the_predecessors_columns_are_understood() -> None:
    old = {"id": "a", "changed": 3, "date": "2026-03-01", "start_time": "13:00", "end_time": "14:00:00"}
    assert page(old).rows == (PLAIN,)
    whole = {
        "id": "a",
        "changed": 3,
        "start_time": "2026-03-01T12:00:00+00:00",
        "end_time": ONE,
        "date": None,
    }
    assert page(whole).rows == (PLAIN,)
    summer = page({**old, "date": "2026-07-01"}).rows[0]
    assert (summer.start, summer.end) == ("2026-07-01T11:00:00.000000Z", "2026-07-01T12:00:00.000000Z")


def test_nulls_have_their_meaning_and_unknown_columns_none() -> None:
    nulls = dict.fromkeys(
        ("kind", "status", "record", "audience", "layout", "deliver", "owner", "of", "created_at", "dressing")
    )
    assert read(**nulls, email="anna@example.org", recording_id=[1, {}]) == PLAIN


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"start": None}, "start: Field required"),
        ({"end": None}, "end: Field required"),
        ({"changed": None}, "changed: Field required"),
        ({"end": "2026-03-01T11:59:59Z"}, f"end 2026-03-01T11:59:59.000000Z is before start {NOON}"),
        ({"start": "now()"}, "start: no time with a date: 'now()'"),
        ({"start": "13:00"}, "start: no time with a date: '13:00'"),
        ({"start": "2026-02-30T12:00:00Z"}, "start: no time with a date: '2026-02-30T12:00:00Z'"),
        ({"start": ""}, "start: no time with a date: ''"),
        ({"end": "9999-12-31T23:59:59Z"}, "end: no time with a date: '9999-12-31T23:59:59Z'"),
        ({"start": "1969-12-31T23:59:59Z"}, "start: no time with a date: '1969-12-31T23:59:59Z'"),
        ({"end": "9999-12-31T23:59:59-10:00"}, "end: no time with a date: '9999-12-31T23:59:59-10:00'"),
        ({"start": 1772366400}, "start: Input should be a valid string, got 1772366400"),
        ({"status": "completed"}, "status: Input should be 'confirmed' or 'cancelled', got 'completed'"),
        ({"kind": {}}, "kind: Input should be 'booked', 'manual' or 'cut'"),
        ({"deliver": ["film", "vhs"]}, "deliver.1: Input should be 'film', 'merged' or 'cameras', got 'vhs'"),
        ({"id": "../../etc"}, "id: String should match pattern '^[a-z0-9_-]{1,64}$', got '../../etc'"),
        ({"changed": -1}, "changed: Input should be greater than or equal to 0, got -1"),
    ],
)
def test_what_is_no_booking_says_why(more: dict[str, Any], why: str) -> None:
    assert read(**more) == why


def test_the_others_are_read_beside_it_and_it_is_named() -> None:
    found = page(
        {**ROW, "id": "x y"}, ROW, {"start": NOON}, 7, {**ROW, "id": "b", "end": "soon"},
        shares=[{"share_id": "s1", "booking_id": "a", "expires_at": "never", "changed": 4}, None],
        commands=[{"id": "c1"}],
    )  # fmt: skip
    assert found.rows == (PLAIN,)
    assert [one.id for one in found.unreadable] == [
        "x y",
        "booking 3",
        "booking 4",
        "b",
        "s1",
        "share 2",
        "c1",
    ]
    assert (found.cursor, found.count, found.complete) == (9, 5, True)


def test_a_logo_that_is_none_costs_the_logo_alone() -> None:
    logo = {
        "of": "user", "slot": "logo", "sha256": "0" * 64, "bytes": 5, "place": "top_left", "size": 16,
        "opacity": 1,
    }  # fmt: skip
    found = read(dressing=[logo, {**logo, "bytes": None}, None, "x"])
    assert isinstance(found, StoredBooking)
    assert [(one.slot, one.bytes) for one in found.dressing] == [("logo", 5)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        [*ROW, "date", "deliver", "dressing", "created_at", "rows", "shares", "commands", "cursor"]
    ),
)
def test_whatever_comes_is_a_page_or_one_line(value: Any, name: str) -> None:
    for answer in (value, {"cursor": 1, "count": 1, "automatic": True, "rows": [{**ROW, name: value}]}):
        whole = {**answer, name: value} if isinstance(answer, dict) and name in {"rows", "cursor"} else answer
        try:
            found = polled(whole, 0, BERLIN)
        except StoreError as error:
            lines = [error.text]
        else:
            lines = [one.id + one.why for one in found.unreadable]
        assert not any("\n" in line for line in lines)


def test_what_does_not_fit_is_said_without_what_is_personal() -> None:
    with pytest.raises(StoreError) as caught:
        fitting("x", TypeAdapter(dict[str, dict[str, int]]), {"title": {"name": "Anna Beispiel"}})
    assert "Anna" not in caught.value.text
    with pytest.raises(StoreError) as caught:
        fitting("x", TypeAdapter(dict[str, int]), {"count": "many"})
    assert caught.value.text.startswith(
        "ezrec_x: not what was asked for: count: Input should be a valid integer"
    )
    assert caught.value.text.endswith("got 'many'")


# --- which store ---


def settings_of(tmp_path: Path, **more: Any) -> Settings:
    return Settings(storage=Storage(root=str(tmp_path)), bookings=Bookings(**more))


def test_without_a_word_everything_is_in_the_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    opened = (open_store(settings), open_messages(settings), open_keeping(settings))
    assert [type(one) for one in opened] == [SqliteStore, SqliteMessages, SqliteKeeping]
    assert open_hints(settings) is None
    for one in opened:
        one.close()


def test_a_project_is_opened_by_the_settings_and_asked_by_their_key(
    tmp_path: Path, project: SupabaseStandIn
) -> None:
    settings = settings_of(
        tmp_path,
        kind="supabase",
        url=project.url,
        key=SecretStr(project.device_key("court-1", "club")),
        public_key=project.anon_key,
    )
    store = open_store(settings)
    assert isinstance(store, SupabaseStore)
    assert store.poll(0).count == 0
    hints = open_hints(settings)
    assert isinstance(hints, RealtimeHints)
    hints.start()
    assert hints.wait()
    hints.close()
    store.close()
    quiet = settings.bookings.model_copy(update={"realtime": False})
    assert open_hints(settings.model_copy(update={"bookings": quiet})) is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "bookings.url is not set"),
        ({"url": "https://x.example"}, "bookings.key is not set"),
        ({"url": "x.example", "key": "k"}, "expected https://"),
        ({"url": "https://x.example", "key": "two words"}, "bookings.key"),
    ],
)
def test_half_a_project_is_said_in_one_line(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    for opening in (open_store, open_messages, open_keeping, open_hints):
        with pytest.raises(StoreError) as caught:
            opening(settings_of(tmp_path, kind="supabase", **more))
        assert (caught.value.kind, said in caught.value.text) == ("permanent", True)


def test_a_missing_client_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_bridge.stores.opening.find_spec", lambda _name: None)
    with pytest.raises(StoreError, match=r"ezrec\[cloud\]"):
        open_store(settings_of(tmp_path, kind="supabase", url="https://x.example", key="k"))


def test_who_has_no_project_pays_nothing_for_its_client(tmp_path: Path) -> None:
    program = (
        "import sys; from cloud_bridge.stores import open_store; from edge_agent.core.settings import *;"
        f"open_store(Settings(storage=Storage(root={str(tmp_path)!r}))).close();"
        "print({'supabase', 'postgrest', 'realtime', 'httpx', 'websockets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
