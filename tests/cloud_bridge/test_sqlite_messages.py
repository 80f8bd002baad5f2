from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloud_bridge.stores import SqliteStore, Store
from cloud_bridge.stores.messages import MessageStore
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from tests.cloud_bridge.served import HandClock
from tests.conformance.messages import DEVICE, MessagesConformance, message, told_of


class TestSqlite(MessagesConformance):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: HandClock) -> Generator[Store]:
        store = SqliteStore(tmp_path / "store.sqlite", clock)
        yield store
        store.close()

    @pytest.fixture
    def messages(self, tmp_path: Path, clock: HandClock) -> Generator[MessageStore]:
        messages = SqliteMessages(tmp_path / "store.sqlite", DEVICE, "club", clock)
        yield messages
        messages.close()


def test_senders_at_once_share_the_messages_without_taking_any_twice(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.sqlite", HandClock()
    stores = [SqliteMessages(path, DEVICE, "club", clock) for _ in range(4)]
    told_of(stores[0], *(message(f"{number}@example.org") for number in range(60)))

    def take_all(number: int) -> list[str]:
        taken: list[str] = []
        while claimed := stores[number].claim(f"sender-{number}", 600, 7):
            taken += [one.id for one in claimed]
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [one for lot in pool.map(take_all, range(4)) for one in lot]
    assert (len(taken), len(set(taken))) == (60, 60)
    for store in stores:
        store.close()
