"""One real bucket for every test of a session: its start costs more than most tests."""

from collections.abc import Generator
from pathlib import Path

import pytest

from edge_agent.demo.servers import SeaweedFS
from edge_agent.drivers.objects import FolderStore, ObjectStore, S3Store
from tests.drivers.upload_made import Device


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Generator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(params=["s3", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[ObjectStore]:
    if request.param == "folder":
        (tmp_path / "bucket").mkdir()
        yield FolderStore(tmp_path / "bucket")
        return
    seaweed: SeaweedFS = request.getfixturevalue("seaweed")
    with S3Store(seaweed.device) as s3:
        yield s3


@pytest.fixture
def device(tmp_path: Path, store: ObjectStore) -> Generator[Device]:
    device = Device.make(tmp_path, store, f"club/court/{tmp_path.name}/film.mp4")
    yield device
    for ledger in device.ledgers:
        ledger.close()
