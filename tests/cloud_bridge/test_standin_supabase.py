"""The stand-in itself, asked by the whole of supabase-py as any program of a club would ask."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from postgrest import CountMethod
from postgrest.exceptions import APIError
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions

from tests.standins.supabase import SupabaseStandIn


@contextmanager
def asking(project: SupabaseStandIn, key: str, token: str | None = None) -> Generator[Client]:
    """supabase-py with a project's key, and a token of whoever asks."""
    headers = {"Authorization": f"Bearer {token or key}"}
    with httpx.Client() as http:
        yield create_client(project.url, key, SyncClientOptions(headers=headers, httpx_client=http))


@pytest.fixture
def club(project: SupabaseStandIn) -> Generator[Client]:
    with asking(project, project.service_key) as client:
        yield client


def refused(query: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        query.execute()
    return caught.value


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.data]


def names(answer: Any) -> list[tuple[str, str]]:
    return [(row["id"], row["name"]) for row in answer.data]


def test_rows_are_written_found_changed_and_removed(club: Client) -> None:
    rows = [{"org_id": "club", "id": f"d{n}", "name": f"Court {n}"} for n in range(4)]
    made = club.table("courts").insert(rows).execute()
    assert names(made) == [(f"d{n}", f"Court {n}") for n in range(4)]
    courts = club.table("courts").select("id,name").eq("org_id", "club")
    assert ids(courts.gte("id", "d0").lt("id", "d3").order("id", desc=True).limit(2).execute()) == [
        "d2",
        "d1",
    ]
    by_name = club.table("courts").select("id").like("name", "Court%").neq("id", "d0").order("id")
    assert ids(by_name.execute()) == ["d1", "d2", "d3"]
    some = club.table("courts").select("*", count=CountMethod.exact).in_("id", ["d0", "d3", "x,y"])
    assert some.execute().count == 2
    changed = club.table("courts").update({"name": "Centre"}).eq("id", "d1").execute()
    assert names(changed) == [("d1", "Centre")]
    merged = club.table("courts").upsert(
        [{"org_id": "club", "id": "d1", "name": "One"}, {"org_id": "club", "id": "d9", "name": "Nine"}],
        on_conflict="org_id,id",
    )
    assert ids(merged.execute()) == ["d1", "d9"]
    assert ids(club.table("courts").delete().in_("id", ["d2", "d3"]).execute()) == ["d2", "d3"]
    left = club.table("courts").select("id,name").eq("org_id", "club").like("id", "d%").order("id").execute()
    assert names(left) == [
        ("d0", "Court 0"),
        ("d1", "One"),
        ("d9", "Nine"),
    ]


def test_one_row_is_asked_for(club: Client) -> None:
    one = club.table("devices").select("id").eq("id", "court-1")
    assert one.single().execute().data == {"id": "court-1"}
    none = club.table("devices").select("id").eq("id", "court-7")
    assert none.maybe_single().execute() is None
    assert refused(none.single()).code == "PGRST116"
    assert refused(club.table("devices").select("id").single()).code == "PGRST116"


def test_refusals_are_worded_as_postgrest_words_them(club: Client) -> None:
    codes = {
        "42703": club.table("courts").select("nothing"),
        "PGRST205": club.table("nothing").select("*"),
        "PGRST204": club.table("courts").insert({"nothing": 1}),
        "PGRST202": club.rpc("nothing", {"a": 1}),
        "23505": club.table("courts").insert({"org_id": "club", "id": "c1", "name": "again"}),
        "23503": club.table("courts").insert({"org_id": "nowhere", "id": "c1", "name": "x"}),
        "23502": club.table("courts").insert({"org_id": "club", "id": "c7"}),
        "22P02": club.table("devices").select("id").eq("automatic", "perhaps"),
        "PT404": club.rpc("ezrec_automatic", {"p_device": "court-7"}),
    }
    assert {code: refused(query).code for code, query in codes.items()} == {code: code for code in codes}


def test_who_may_see_is_asked_of_the_database(project: SupabaseStandIn, club: Client) -> None:
    with asking(project, project.anon_key, project.device_key("court-1", "club")) as device:
        assert ids(device.table("devices").select("id").execute()) == ["court-1"]
    assert ids(club.table("devices").select("id").order("id").execute()) == ["court-1", "court-2", "court-9"]
    with asking(project, project.anon_key) as nobody:
        assert refused(nobody.table("devices").select("id")).code == "42501"
