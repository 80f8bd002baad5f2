from collections.abc import Generator
from pathlib import Path

import pytest

from cloud_bridge.stores import SqliteStore
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
from tests.cloud_bridge.served import HandClock
from tests.conformance.media import MediaConformance


class TestSqliteMedia(MediaConformance):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: HandClock) -> Generator[SqliteStore]:
        store = SqliteStore(tmp_path / "store.sqlite", clock)
        yield store
        store.close()

    @pytest.fixture
    def media(self, tmp_path: Path, clock: HandClock) -> Generator[SqliteMediaStore]:
        store = SqliteMediaStore(tmp_path / "store.sqlite", clock)
        yield store
        store.close()
