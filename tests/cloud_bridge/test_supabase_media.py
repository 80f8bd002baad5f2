"""Uploaded logos and intros in a Supabase project (stand-in over real PostgreSQL)."""

from collections.abc import Generator

import psycopg
import pytest
from pydantic import SecretStr

from cloud_bridge.stores import Store, StoreError
from cloud_bridge.stores.media import UserMediaStore
from cloud_bridge.stores.opening import open_media
from edge_agent.core.settings import Bookings, Settings
from tests.cloud_bridge.served import HandClock
from tests.conformance.media import UMA, MediaConformance, picture
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import store_of


@pytest.fixture
def clock(project: SupabaseStandIn) -> HandClock:
    """The project's own clock."""
    clock = HandClock()
    project.database.now = clock.wall
    return clock


class TestSupabaseMedia(MediaConformance):
    @pytest.fixture
    def store(self, project: SupabaseStandIn, clock: HandClock) -> Generator[Store]:
        store = store_of(project, service=True)
        yield store
        store.close()

    @pytest.fixture
    def media(self, project: SupabaseStandIn, clock: HandClock) -> Generator[UserMediaStore]:
        media = store_of(project, service=True)
        yield media
        media.close()


def test_a_device_reads_what_its_bookings_wear_and_writes_nothing(
    project: SupabaseStandIn, clock: HandClock
) -> None:
    service, device = store_of(project, service=True), store_of(project)
    service.set_media(UMA, "logo", picture("1"), None)
    MediaConformance().book(service, clock, "hers", 60, owner="olga")
    MediaConformance().book(service, clock, "his", 120)
    rows = {row.id: [media.sha256[0] for media in row.dressing] for row in device.poll(0).rows}
    assert rows == {"hers": [], "his": ["1"]}
    for attempt in (
        lambda: device.set_media(UMA, "logo", picture("2"), None),
        lambda: device.remove_media(UMA, "logo"),
        lambda: device.claim_asset("2" * 64),
        lambda: device.media(UMA),
    ):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert caught.value.kind == "permanent"
    service.close()
    device.close()


def test_only_services_may_call_the_functions(project: SupabaseStandIn) -> None:
    with psycopg.connect(project.database.dsn) as db:
        found = db.execute(
            "SELECT r.rolname, count(*) FILTER (WHERE has_function_privilege(r.rolname, p.oid, 'execute')),"
            " count(*) FROM pg_proc p, pg_roles r WHERE p.pronamespace = 'public'::regnamespace"
            " AND p.proname ~ '^ezrec_(.*media|change_look|.*asset.*|begin_removal)$' AND r.rolname IN"
            " ('anon', 'authenticated', 'ezrec_device', 'service_role') GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert found == [("anon", 0, 9), ("authenticated", 0, 9), ("ezrec_device", 0, 9), ("service_role", 9, 9)]


def test_who_has_a_devices_key_takes_no_uploads(project: SupabaseStandIn) -> None:
    for key, there in ((project.service_key, True), (project.device_key("court-1", "club"), False)):
        bookings = Bookings(
            kind="supabase", url=project.url, key=SecretStr(key), public_key=project.anon_key
        )  # fmt: skip
        media = open_media(Settings(bookings=bookings))
        assert (media is not None) == there
        if media is not None:
            assert media.media(UMA) == ()
            media.close()
