"""Addresses and keys of a Supabase project: what is refused at once, and that no key is ever shown."""

import json
import logging
from collections.abc import Generator

import pytest

from cloud_bridge.stores import StoreError
from cloud_bridge.stores.supabase import SupabaseStore
from cloud_bridge.stores.supabase_client import Project, Rpc, one_line
from tests.standins.supabase import Canned, SupabaseStandIn
from tests.support.supabase import IMPATIENT, as_device, store_of


@pytest.fixture
def store(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project)
    yield store
    store.close()


def trouble(store: SupabaseStore) -> str:
    with pytest.raises(StoreError) as caught:
        store.poll(0)
    return caught.value.text


@pytest.mark.parametrize(
    ("project_of", "said"),
    [
        (Project("ftp://x.example", "k"), "bookings.url"),
        (Project("x.supabase.co", "k"), "bookings.url"),
        (Project("https://anna:secret@x.example", "k"), "bookings.url"),
        (Project("http://x.supabase.co", "k"), "bookings.url"),
        (Project("http://8.8.8.8", "k"), "bookings.url"),
        (Project("https://[::1", "k"), "bookings.url"),
        (Project("https://x.example:99999", "k"), "bookings.url"),
        (Project("", "k"), "bookings.url"),
        (Project("https://x.example", ""), "bookings.key"),
        (Project("https://x.example", "to p\nsecret"), "bookings.key"),
        (Project("https://x.example", "k", "a\tb"), "bookings.public_key"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once_without_the_key(project_of: Project, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        SupabaseStore(project_of, "court-1")
    assert (caught.value.kind, said in caught.value.text) == ("permanent", True)
    assert "secret" not in caught.value.text
    assert project_of.key not in repr(project_of) or len(project_of.key) < 2


@pytest.mark.parametrize(
    "url",
    [
        "https://x.supabase.co/",
        "http://127.0.0.1:54321",
        "http://[::1]:80",
        "http://10.1.2.3",
        "http://pi.local",
    ],
)
def test_plain_http_is_for_the_same_network(url: str) -> None:
    SupabaseStore(Project(url, "k"), "court-1").close()


def test_no_key_is_logged_or_shown_even_where_it_comes_back(
    project: SupabaseStandIn, store: SupabaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    key = as_device(project).key
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for status in (200, 400, 401, 500):
        message = f"what is {key}"
        for canned in (
            Canned(status, json.dumps({"code": "X1", "message": message}).encode()),
            Canned(status, f"<p>{key}".encode(), "text/html"),
        ):
            project.faults.answer = canned
            said.append(trouble(store))
    project.faults.answer = None
    project.stop()
    said.append(trouble(store))
    shown = " ".join([*said, *(record.getMessage() for record in caplog.records)])
    assert (key in shown, project.anon_key in shown, "ezrec_poll" in shown) == (False, False, True)
    assert key[:40] not in shown


def test_lines_are_short_and_plain() -> None:
    assert one_line("a\n\tb\x1b[31m \N{RIGHT-TO-LEFT OVERRIDE}c") == "a b [31m c"
    assert len(one_line("x" * 10_000)) == 100
    assert one_line("Bearer eyJhbGciOi.eyJyb2xlIjo.abc-_1 and sb_secret_abc") == "Bearer *** and ***"


def test_nothing_but_a_function_is_asked(project: SupabaseStandIn) -> None:
    rpc = Rpc(as_device(project), IMPATIENT)
    assert rpc.call("automatic", device=None) is True
    assert project.faults.asked == ["ezrec_automatic"]
    rpc.close()
