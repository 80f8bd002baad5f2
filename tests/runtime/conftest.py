from collections.abc import Generator
from pathlib import Path

import pytest

from edge_agent.demo.servers import Mosquitto
from tests.runtime.toys import Ear, broker_in, endpoint


@pytest.fixture
def broker(tmp_path: Path) -> Generator[Mosquitto]:
    with broker_in(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def ear(broker: Mosquitto) -> Generator[Ear]:
    with Ear(endpoint(broker, "cli")) as ear:
        yield ear


@pytest.fixture
def bridge(broker: Mosquitto) -> Generator[Ear]:
    with Ear(endpoint(broker, "bridge")) as bridge:
        yield bridge
