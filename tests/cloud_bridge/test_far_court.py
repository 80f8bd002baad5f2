"""What the court does on its own, told later to a Supabase project (stand-in over real PostgreSQL)."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.orders import booking_id_for
from cloud_bridge.stores import NewBooking
from cloud_bridge.stores.supabase import SupabaseStore
from edge_agent.core.agent import Changed
from schemas.base import utc_text
from schemas.commands import AutomaticArgs, BookArgs, BookingIdArgs, ExtendArgs, StartArgs
from schemas.health import Availability
from schemas.recording import Recording
from schemas.registry import AVAILABILITY, RECORDING
from tests.cloud_bridge.faulty import away
from tests.cloud_bridge.made import NOON, at
from tests.cloud_bridge.rig import Rig
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import store_of

pytestmark = pytest.mark.slow


@pytest.fixture
def cloud(project: SupabaseStandIn) -> Generator[SupabaseStore]:
    store = store_of(project, service=True)
    yield store
    store.close()


@pytest.fixture
def rig(tmp_path: Path, project: SupabaseStandIn) -> Generator[Rig]:
    rig = Rig(tmp_path, far=store_of(project))
    rig.poll(0)
    yield rig
    rig.close()
    rig.store.close()


def test_everything_works_without_the_project_and_it_is_told_later(rig: Rig, cloud: SupabaseStore) -> None:
    cloud.create_booking(NewBooking("b0", "booked", at(200), at(260)))
    rig.poll(0.5)
    rig.away(gone=True)
    rig.poll(1)
    assert rig.ask("start", StartArgs(minutes=30)).status == "ok"
    made = booking_id_for("k1")
    args = BookArgs(id="b1", start=at(60), end=at(120), title="Anna", contacts=("a@example.org",))
    assert rig.ask("book", args, "k3").status == "accepted"
    assert rig.ask("extend", ExtendArgs(id="b1", to=at(150)), "k4").status == "accepted"
    assert rig.ask("cancel", BookingIdArgs(id="b0"), "k5").status == "accepted"
    assert rig.ask("automatic", AutomaticArgs(on=False), "k6").status == "accepted"
    rig.minutes = 5
    assert rig.ask("stop", None, "k7").status == "ok"
    rig.feed(Changed(RECORDING.at(id=made), Recording(state="ready")))
    rig.feed(Changed(AVAILABILITY.at(), Availability(state="online")))
    rig.kill()
    rig.away(gone=False)
    rig.poll(6)
    rig.poll(7)
    assert (rig.state.pending, rig.alarms(), rig.state.out.queued) == ((), set(), {})
    found = {row.id: row for row in cloud.poll(0).rows}
    assert {name: (row.kind, row.end, row.status) for name, row in found.items()} == {
        made: ("manual", utc_text(at(5)), "confirmed"),
        "b0": ("booked", utc_text(at(260)), "cancelled"),
        "b1": ("booked", utc_text(at(150)), "confirmed"),
    }
    kept = cloud.booking("b1")
    assert kept is not None
    assert (kept.title, kept.contacts, cloud.automatic()) == ("Anna", ("a@example.org",), False)
    assert cloud.results(made)["recording"].body["state"] == "ready"
    (seen,) = [one for one in cloud.devices_seen() if one.device == "court-1"]
    assert seen.state == "online"


def test_an_answer_that_is_lost_changes_nothing_twice(rig: Rig, cloud: SupabaseStore) -> None:
    cloud.create_booking(NewBooking("b0", "booked", at(60), at(120)))
    rig.poll(0.5)
    rig.faulty.after = away
    assert rig.ask("extend", ExtendArgs(id="b0", to=at(150))).status == "accepted"
    assert rig.ask("book", BookArgs(id="b1", start=at(200), end=at(220)), "k2").status == "accepted"
    rig.faulty.after = None
    cloud.change_booking("b0", {"title": "Anna"})
    changed = {row.id: row.changed for row in cloud.poll(0).rows}
    rig.poll(1)
    rig.poll(2)
    assert rig.alarms() == set()
    rows = {row.id: row for row in cloud.poll(0).rows}
    assert {name: row.end for name, row in rows.items()} == {"b0": utc_text(at(150)), "b1": utc_text(at(220))}
    assert {name: row.changed for name, row in rows.items()} == changed


def test_a_late_refusal_is_an_alarm(rig: Rig, cloud: SupabaseStore) -> None:
    rig.away(gone=True)
    rig.poll(1)
    rig.ask("book", BookArgs(id="b1", start=at(60), end=at(120)))
    cloud.create_booking(NewBooking("cloud", "booked", at(90), at(150)))
    rig.away(gone=False)
    rig.poll(2)
    rig.poll(3)
    assert rig.alarms() == {"refused_b1"}
    assert set(rig.state.bookings) == {"cloud"}


def test_a_share_and_a_command_go_there_and_back(rig: Rig, cloud: SupabaseStore) -> None:
    cloud.create_booking(NewBooking("b0", "booked", at(0), at(60)))
    rig.poll(1)
    share = cloud.make_share("b0", datetime.now(UTC) + timedelta(days=3))
    deadline = utc_text(NOON + timedelta(hours=1))
    order: dict[str, Any] = {"device": "court-1", "target": "booking", "name": "stop", "deadline": deadline}
    command_id = cloud.order_command(order)
    rig.poll(2)
    assert rig.topic("recording/b0/share").share_id == share.share_id
    cloud.revoke_share(share.share_id)
    rig.poll(3)
    assert rig.topic("recording/b0/share").state == "expired"
    ended = cloud.booking("b0")
    assert ended is not None
    assert ended.stored.end == utc_text(at(2))
    assert command_id not in {command.id for command in cloud.poll(0).commands}
