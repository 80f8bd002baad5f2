from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cloud_bridge.notify.club import Club


@pytest.fixture
def club(tmp_path: Path) -> Generator[Club]:
    with Club(tmp_path) as club:
        yield club
