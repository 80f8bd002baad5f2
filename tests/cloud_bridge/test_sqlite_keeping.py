from collections.abc import Generator
from pathlib import Path

import pytest

from cloud_bridge.stores import SqliteStore, Store
from cloud_bridge.stores.keeping import KeepingStore
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from tests.cloud_bridge.served import HandClock
from tests.conformance.keeping import KeepingConformance


class TestSqliteKeeping(KeepingConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Generator[Store]:
        store = SqliteStore(tmp_path / "store.sqlite", HandClock())
        yield store
        store.close()

    @pytest.fixture
    def keeping(self, tmp_path: Path) -> Generator[KeepingStore]:
        keeping = SqliteKeeping(tmp_path / "store.sqlite", "club", "court-1", HandClock())
        yield keeping
        keeping.close()
