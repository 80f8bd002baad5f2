from collections.abc import Generator
from pathlib import Path

import pytest

from edge_agent.core.settings import Api, Device, Settings, Store
from tests.cloud_bridge.served import KEY, Served
from tests.support.postgres import database, postgres
from tests.support.supabase import project, running

__all__ = ["database", "postgres", "project", "running"]

FILM = bytes(range(256)) * 400


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    """The HTTP side over a folder bucket with one film and its poster in it."""
    film = tmp_path / "bucket" / KEY
    film.parent.mkdir(parents=True)
    film.write_bytes(FILM)
    film.with_name("poster.jpg").write_bytes(b"poster")
    settings = Settings(
        store=Store(kind="dir", folder=str(tmp_path / "bucket")),
        device=Device(timezone="Europe/Berlin"),
        api=Api(share_base_url="https://films.example.org/"),
    )
    with Served(settings, tmp_path / "cloud") as served:
        yield served
