"""What a device key reaches in a Supabase project, through the real client."""

from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest

from cloud_bridge.stores import BookingQuery, BookingRow, NewBooking, Overlap, Store, StoreError
from cloud_bridge.stores.messages import Recipient
from cloud_bridge.stores.supabase import SupabaseStore
from cloud_bridge.stores.supabase_client import Project
from edge_agent.core.effects import Notice, ResultRow
from schemas.base import utc_text
from tests.cloud_bridge.served import NOON, HandClock, minutes
from tests.conformance.device import DeviceConformance
from tests.conformance.stores import StoreConformance
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import IMPATIENT, as_device, store_of

OF_A_DEVICE = frozenset(
    {
        "poll", "create_booking", "change_booking", "booking", "bookings", "automatic", "set_automatic",
        "save_result", "save_results", "results", "recordings", "make_share", "add_notices", "answer_command",
    }
)  # fmt: skip


class TwoKeys:
    """What a device may do goes by its key; what people and services do goes by theirs."""

    def __init__(self, project: SupabaseStandIn) -> None:
        self.device = store_of(project)
        self.cloud = store_of(project, service=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.device if name in OF_A_DEVICE else self.cloud, name)

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        return (self.cloud if new.owner or new.title else self.device).create_booking(new)

    def change_booking(
        self, booking_id: str, changes: dict[str, object], seen: int | None = None
    ) -> BookingRow:
        personal = {"title", "contacts", "owner"} & set(changes)
        return (self.cloud if personal else self.device).change_booking(booking_id, changes, seen)

    def booking(self, booking_id: str) -> BookingRow | None:
        """As the cloud has it, and the device the same but for what is personal."""
        seen, whole = self.device.booking(booking_id), self.cloud.booking(booking_id)
        assert whole is None or seen == replace(whole, title=None, contacts=())
        return whole

    def close(self) -> None:
        self.device.close()
        self.cloud.close()


class TestTwoKeys(StoreConformance, DeviceConformance):
    """The suites of a store, with a device's key wherever a device has to do it."""

    @pytest.fixture
    def store(self, project: SupabaseStandIn) -> Generator[Store]:
        project.database.now = HandClock().wall
        store = TwoKeys(project)
        yield cast("Store", store)
        store.close()


@pytest.fixture
def device(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project)
    yield store
    store.close()


@pytest.fixture
def cloud(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project, service=True)
    yield store
    store.close()


def new(booking_id: str, **more: Any) -> NewBooking:
    return NewBooking(booking_id, "booked", NOON, NOON + minutes(60), **more)


def sql(project: SupabaseStandIn, text: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        done = db.execute(text)
        return done.fetchall() if done.description else []


NOT_OF_A_DEVICE: dict[str, Callable[[SupabaseStore], object]] = {
    "issue_link": lambda store: store.issue_link("a", NOON),
    "share_of": lambda store: store.share_of("x" * 43),
    "revoke_share": lambda store: store.revoke_share("s1"),
    "count": lambda store: store.count("s1", "views"),
    "make_token": lambda store: store.make_token("admin", "anna"),
    "principal": lambda store: store.principal("x" * 43),
    "revoke_tokens": lambda store: store.revoke_tokens("anna"),
    "order_command": lambda store: store.order_command({"target": "merger", "name": "restart"}),
    "open_notices": lambda store: store.open_notices(5),
    "claim": lambda store: store.claim("me", 60, 5),
    "sent": lambda store: store.sent("m1", "me"),
    "told": lambda store: store.told("court-1", None, utc_text(NOON)),
    "recipients": lambda store: store.recipients("court-1"),
    "set_recipient": lambda store: store.set_recipient(Recipient("court-1", "email", "a@example.org")),
    "remove_recipient": lambda store: store.remove_recipient("court-1", "email", "a@example.org"),
    "kept_films": lambda store: store.kept_films(5, None),
    "order_removal": lambda store: store.order_removal("a", "taken down"),
    "prune": lambda store: store.prune(NOON),
}


def test_a_device_is_refused_what_is_not_its_own_to_do(device: SupabaseStore, cloud: SupabaseStore) -> None:
    cloud.create_booking(new("a", title="Anna", contacts=("anna@example.org",)))
    before = cloud.poll(0)
    for name, call in NOT_OF_A_DEVICE.items():
        with pytest.raises(StoreError) as caught:
            call(device)
        assert caught.value.kind == "permanent"
        assert f"ezrec_{name}: HTTP 403" in caught.value.text
    assert cloud.poll(0) == before


def test_a_device_sees_neither_titles_nor_contacts_nor_others(
    project: SupabaseStandIn, device: SupabaseStore, cloud: SupabaseStore
) -> None:
    neighbour, stranger = (store_of(project, service=True, device=name) for name in ("court-2", "court-9"))
    cloud.create_booking(new("a", title="Anna", contacts=("anna@example.org",)))
    neighbour.create_booking(new("a"))
    neighbour.create_booking(NewBooking("b2", "cut", NOON, NOON))
    stranger.create_booking(new("c9"))
    polled = device.poll(0)
    assert ([row.id for row in polled.rows], polled.count) == (["a"], 1)
    (row,) = device.bookings(BookingQuery())
    assert (row.title, row.contacts) == (None, ())
    assert device.booking("b2") is device.booking("c9") is None
    calls: tuple[Callable[[SupabaseStore], object], ...] = (
        lambda store: store.poll(0),
        lambda store: store.automatic(),
    )
    for other in ("court-2", "court-9"):
        with_other = SupabaseStore(as_device(project), other, limits=IMPATIENT)
        for call in calls:
            with pytest.raises(StoreError) as caught:
                call(with_other)
            assert (caught.value.kind, f"not of {other}" in caught.value.text) == ("denied", True)
        with_other.close()
    neighbour.close()
    stranger.close()


def test_a_device_makes_bookings_with_contacts_it_cannot_read_again(
    device: SupabaseStore, cloud: SupabaseStore
) -> None:
    made, fresh = device.create_booking(new("a", title="Anna", contacts=("anna@example.org",)))
    assert (fresh, made.title, made.contacts) == (True, None, ())
    whole = cloud.booking("a")
    assert whole is not None
    assert (whole.title, whole.contacts) == ("Anna", ("anna@example.org",))
    with pytest.raises(Overlap) as caught:
        device.create_booking(new("b"))
    assert caught.value.other == "a"
    assert "a (2026-03-01T12:00:00.000000Z to 2026-03-01T13:00:00.000000Z)" in caught.value.text


def refused(store: SupabaseStore) -> StoreError:
    with pytest.raises(StoreError) as caught:
        store.poll(0)
    return caught.value


def test_a_revoked_key_is_said_to_be_one_and_reads_nothing(
    project: SupabaseStandIn, device: SupabaseStore, cloud: SupabaseStore
) -> None:
    cloud.create_booking(new("a"))
    assert [row.id for row in device.poll(0).rows] == ["a"]
    sql(project, "UPDATE devices SET revoked_at = now() WHERE id = 'court-1'")
    error = refused(device)
    assert (error.kind, "was revoked" in error.text, "ezrec store device-key" in error.text) == (
        "denied",
        True,
        True,
    )
    for write in (
        lambda: device.save_results([ResultRow("a", "recording", 1, {"state": "ready"})]),
        lambda: device.add_notices([Notice("n1", "alarm", "x/y", utc_text(NOON), {})]),
        lambda: device.create_booking(new("b")),
        lambda: device.change_booking("a", {"status": "cancelled"}),
        lambda: device.set_automatic(on=False),
    ):
        with pytest.raises(StoreError, match="was revoked"):
            write()
    assert cloud.results("a") == {}
    assert cloud.automatic()
    sql(project, "UPDATE devices SET revoked_at = NULL WHERE id = 'court-1'")
    assert [row.id for row in device.poll(0).rows] == ["a"]


def test_keys_minted_before_a_moment_are_over_and_newer_ones_are_not(project: SupabaseStandIn) -> None:
    sql(project, "UPDATE devices SET keys_from = '2026-03-01T12:00:00Z' WHERE id = 'court-1'")
    noon = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
    outcomes: list[str] = []
    for iat in (noon - 1, noon + 1):
        key = project.device_key("court-1", "club", iat=iat)
        store = SupabaseStore(Project(project.url, key, project.anon_key), "court-1", limits=IMPATIENT)
        try:
            outcomes.append(str(store.poll(0).count))
        except StoreError as error:
            outcomes.append(error.kind)
        store.close()
    assert outcomes == ["denied", "0"]


def test_a_wrong_key_is_told_from_a_revoked_one(project: SupabaseStandIn) -> None:
    keys = {
        project.device_key(
            "court-1", "club", secret="another-project-and-its-secret-0123456789"
        ): "not know the key",
        project.device_key("court-1", "club", exp=1_000_000_000): "time of the key is over",
        project.device_key("court-1", "club", iat=32_000_000_000): "not know the key",
        "sb_publishable_not_a_token": "not know the key",
        project.anon_key: "not allowed with this key",
        project.device_key("court-1", "other"): "revoked",
        project.device_key("court-7", "club"): "revoked",
    }
    for key, said in keys.items():
        store = SupabaseStore(Project(project.url, key, project.anon_key), None, limits=IMPATIENT)
        error = refused(store)
        store.close()
        assert (error.kind, said in error.text, key in error.text) == ("denied", True, False), error.text


def test_the_gateway_wants_the_public_key_beside_a_device_key(project: SupabaseStandIn) -> None:
    store = SupabaseStore(
        Project(project.url, project.device_key("court-1", "club")), "court-1", limits=IMPATIENT
    )
    error = refused(store)
    store.close()
    assert (error.kind, "Invalid API key" in error.text) == ("denied", True)
