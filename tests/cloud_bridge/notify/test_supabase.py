"""The same over a Supabase project (stand-in over real PostgreSQL), for all its devices, as in the cloud."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from cloud_bridge.stores import NewBooking, Store
from cloud_bridge.stores.base import token_hash
from cloud_bridge.stores.device import DeviceStore
from cloud_bridge.stores.messages import MessageStore, Recipient
from edge_agent.core.effects import Notice, ResultRow
from schemas.base import utc_text
from schemas.recording import UploadedObject, UploadStage
from tests.cloud_bridge.notify.club import Club
from tests.cloud_bridge.notify.servers import text_of
from tests.cloud_bridge.notify.test_delivery import BOTH, link_in
from tests.cloud_bridge.served import KEY, NOON, minutes
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import store_of


@dataclass
class Cloud(Club):
    project: SupabaseStandIn | None = None

    def of(self, device: str) -> Store:
        assert self.project is not None
        return self._kept(store_of(self.project, service=True, device=device))

    def post(self) -> MessageStore:
        assert self.project is not None
        return self._kept(store_of(self.project, service=True, device=None))

    def device(self, name: str = "court-1") -> DeviceStore:
        assert self.project is not None
        return self._kept(store_of(self.project, device=name))


@pytest.fixture
def cloud(project: SupabaseStandIn, tmp_path: Path) -> Generator[Cloud]:
    with Cloud(tmp_path, project=project) as cloud:
        project.database.now = cloud.clock.wall
        yield cloud


def test_everybody_in_the_booking_gets_the_film_once(cloud: Cloud) -> None:
    cloud.book(contacts=BOTH, title="Anna & Ben")
    cloud.film()
    for sender in (cloud.sender, cloud.new_sender(), cloud.new_sender()):
        cloud.run(sender)
    assert sorted(cloud.box.recipients) == list(BOTH)
    tokens = [link_in(mail).rpartition("/")[2] for mail in cloud.box.mails]
    assert all(cloud.store.share_of(token) for token in tokens)
    assert {one.delivered_at for one in cloud.store.poll(0).shares} == {utc_text(NOON)}
    assert cloud.project is not None
    with psycopg.connect(cloud.project.database.dsn) as db:
        rows = str(db.execute("SELECT * FROM share_tokens").fetchall())
    assert [token_hash(token) in rows for token in tokens] == [True, True]
    assert not [token for token in tokens if token in rows]


def test_two_courts_with_a_booking_of_the_same_name(cloud: Cloud) -> None:
    """A booking's id is its device's: each court's players get their own film."""
    cloud.book("b1", contacts=BOTH[:1], title="First court")
    cloud.film("b1")
    other, rows = cloud.of("court-2"), cloud.device("court-2")
    other.create_booking(
        NewBooking("b1", "booked", NOON - minutes(60), NOON, title="Second court", contacts=BOTH[1:])
    )
    film = UploadedObject(name="film", key=KEY, bytes=9, hash="h-2", verified_at=cloud.clock.now)
    rows.save_results(
        (ResultRow("b1", "upload", 1, UploadStage(status="succeeded", objects=(film,)).body()),)
    )
    rows.add_notices((Notice("court-2:film:b1", "film_ready", "b1", utc_text(NOON), {"kind": "booked"}),))
    cloud.run()
    by = dict(zip(cloud.box.recipients, cloud.box.mails, strict=True))
    assert {who: mail["Subject"] for who, mail in by.items()} == {
        BOTH[0]: "Your film is ready: First court",
        BOTH[1]: "Your film is ready: Second court",
    }
    for device, who in zip((cloud.of("court-1"), cloud.of("court-2")), BOTH, strict=True):
        opened = device.share_of(link_in(by[who]).rpartition("/")[2])
        assert (opened,) == device.shares(None, 9, None)


def test_trouble_goes_to_the_recipients_of_that_court(cloud: Cloud) -> None:
    cloud.messages.set_recipient(Recipient("court-1", "email", "otto@club.example"))
    cloud.messages.set_recipient(Recipient("court-2", "email", "olga@club.example", language="es"))
    begun = cloud.alarm(severity="critical")
    data = {"severity": "major", "text": "x", "mend": "y", "since": utc_text(NOON)}
    notice = Notice("court-2:alarm:x", "alarm", "uploader/x", utc_text(NOON), data)
    cloud.device("court-2").add_notices((notice,))
    cloud.run()
    cloud.later(1)
    cloud.over(begun)
    cloud.run()
    got = list(zip(cloud.box.recipients, cloud.subjects(), strict=True))
    assert sorted(got[:2]) == [
        ("olga@club.example", "court-2: alarma importante: x"),
        ("otto@club.example", "court-1: critical alarm: No pictures"),
    ]
    assert got[2:] == [("otto@club.example", "court-1: over: No pictures")]


def test_a_device_without_power_is_told_from_the_cloud(cloud: Cloud) -> None:
    assert cloud.project is not None
    with psycopg.connect(cloud.project.database.dsn) as db:
        db.execute("UPDATE devices SET timezone = 'Europe/Berlin' WHERE id = 'court-1'")
    cloud.messages.set_recipient(Recipient("court-1", "email", "otto@club.example"))
    cloud.book("b1", start=NOON + minutes(30), end=NOON + minutes(90))
    for device in ("court-1", "court-2"):
        cloud.device(device).save_results((ResultRow(device, "health", 1, {"broker": "up"}),))
    for _ in range(4):
        cloud.later(1)
        cloud.run()
    assert cloud.subjects() == ["court-1 is silent, a booking begins on Sunday 1 March 2026, 13:30"]
    assert "since Sunday 1 March 2026, 13:00." in text_of(cloud.box.mails[0])
    cloud.device().save_results((ResultRow("court-1", "health", 2, {"broker": "up"}),))
    cloud.run()
    assert cloud.subjects()[1:] == ["court-1 is back"]
