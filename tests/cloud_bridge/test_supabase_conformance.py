"""The suites every store passes, over a Supabase project (stand-in over real PostgreSQL)."""

from collections.abc import Generator

import pytest

from cloud_bridge.stores import Store
from cloud_bridge.stores.keeping import KeepingStore
from cloud_bridge.stores.messages import MessageStore
from tests.cloud_bridge.served import HandClock
from tests.conformance.device import DeviceConformance
from tests.conformance.keeping import KeepingConformance
from tests.conformance.messages import MessagesConformance
from tests.conformance.stores import StoreConformance
from tests.standins.supabase import SupabaseStandIn
from tests.support.supabase import store_of


@pytest.fixture
def clock(project: SupabaseStandIn) -> HandClock:
    """The project's own clock."""
    clock = HandClock()
    project.database.now = clock.wall
    return clock


class InProject:
    """Every suite's bookings: by the service-role key."""

    @pytest.fixture
    def store(self, project: SupabaseStandIn, clock: HandClock) -> Generator[Store]:
        store = store_of(project, service=True)
        yield store
        store.close()


class TestAsService(InProject, StoreConformance, DeviceConformance):
    """By the service-role key: everything."""


class TestMessages(InProject, MessagesConformance):
    @pytest.fixture
    def messages(self, project: SupabaseStandIn, clock: HandClock) -> Generator[MessageStore]:
        messages = store_of(project, service=True)
        yield messages
        messages.close()


class TestKeeping(InProject, KeepingConformance):
    @pytest.fixture
    def keeping(self, project: SupabaseStandIn, clock: HandClock) -> Generator[KeepingStore]:
        keeping = store_of(project, service=True)
        yield keeping
        keeping.close()
