import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.core.effects import (
    AbortUpload,
    BeginUpload,
    Begun,
    DropAsset,
    FetchAsset,
    FinishUpload,
    PartSent,
    PutPart,
    Verified,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Branding, BrandingLogo, Settings, Storage
from edge_agent.drivers.upload_effects import UploaderDrivers, uploader_drivers

CONTENT = b"a film" * 99
PATH = "recordings/b1/film/film.mp4"
KEY = "club/court-1/2026-03-01/b1/film.mp4"
BEGIN = BeginUpload("begin:b1/film", "b1/film", KEY, "video/mp4", 0)
PUT = PutPart("put:b1/film:0:1", "b1/film", PATH, 1, 0, len(CONTENT))


def composite(content: bytes) -> str:
    inner = hashlib.sha256(content).digest()
    return f"{base64.b64encode(hashlib.sha256(inner).digest()).decode()}-1"


def finish(expected: str | None) -> FinishUpload:
    return FinishUpload("finish:b1/film", "b1/film", PATH, len(CONTENT), expected)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    logo = tmp_path / "logo.png"
    logo.write_bytes(b"a logo")
    film = tmp_path / "root" / PATH
    film.parent.mkdir(parents=True)
    film.write_bytes(CONTENT)
    branding = Branding(logos=(BrandingLogo(slot="company", file=str(logo)),))
    return Settings(storage=Storage(root=str(tmp_path / "root")), branding=branding)


@pytest.fixture
def drivers(settings: Settings) -> Iterator[UploaderDrivers]:
    made = uploader_drivers(settings)
    yield made
    made.close()


def test_an_object_gets_into_the_bucket_and_is_verified(drivers: UploaderDrivers, tmp_path: Path) -> None:
    assert drivers.run(BEGIN) == Begun({})
    assert drivers.run(PUT) == PartSent(1, len(CONTENT), len(CONTENT), 0)
    assert drivers.run(PUT) == PartSent(1, len(CONTENT), 0, 0)
    verified = Verified(KEY, len(CONTENT), composite(CONTENT), 1, len(CONTENT), 0, 0)
    assert drivers.run(finish(composite(CONTENT))) == verified
    assert (tmp_path / "root" / "bucket" / KEY).read_bytes() == CONTENT
    (entry,) = drivers.inventory().uploads
    assert (entry.object_id, entry.state, entry.verified) == ("b1/film", "verified", verified)
    assert drivers.run(finish(composite(CONTENT))) == verified


def test_another_hash_than_the_writers_never_becomes_an_object(
    drivers: UploaderDrivers, tmp_path: Path
) -> None:
    drivers.run(BEGIN)
    drivers.run(PUT)
    with pytest.raises(EffectFailed, match="has hash") as failure:
        drivers.run(finish(composite(b"another film")))
    assert failure.value.kind == "input"
    assert not (tmp_path / "root" / "bucket" / KEY).exists()


def test_without_a_ledger_the_buckets_own_object_is_adopted(
    drivers: UploaderDrivers, settings: Settings
) -> None:
    for effect in (BEGIN, PUT, finish(None)):
        drivers.run(effect)
    drivers.run(AbortUpload("abort:b1/film", "b1/film", forget=True))
    assert drivers.inventory().uploads == ()
    again = drivers.run(BeginUpload("begin:b1/film", "b1/film", KEY, "video/mp4", 0, PATH))
    assert isinstance(again, Verified)
    assert (again.bytes_sent, again.hash) == (0, composite(CONTENT))


def test_a_part_without_an_open_upload_says_begin_again(drivers: UploaderDrivers) -> None:
    with pytest.raises(EffectFailed) as failure:
        drivers.run(PUT)
    assert failure.value.kind == "gone"


def test_a_bucket_that_is_not_there_is_told_as_denied(drivers: UploaderDrivers, tmp_path: Path) -> None:
    (tmp_path / "root" / "bucket").rmdir()
    with pytest.raises(EffectFailed) as failure:
        drivers.run(BEGIN)
    assert failure.value.kind == "denied"


def test_assets_come_from_local_files_or_the_bucket_and_go_with_what_was_made_of_them(
    drivers: UploaderDrivers, tmp_path: Path
) -> None:
    assets = tmp_path / "root" / "assets"
    local = hashlib.sha256(b"a logo").hexdigest()
    assert drivers.run(FetchAsset(f"fetch:{local}", "nowhere", local, 6)) == f"assets/{local}"
    remote = hashlib.sha256(b"an intro").hexdigest()
    source = tmp_path / "root" / "bucket" / "club" / "assets"
    source.mkdir(parents=True)
    (source / remote).write_bytes(b"an intro")
    fetch = FetchAsset(f"fetch:{remote}", f"club/assets/{remote}", remote, 8)
    assert drivers.run(fetch) == f"assets/{remote}"
    assert drivers.inventory().assets == {name: f"assets/{name}" for name in (local, remote)}
    (assets / f"{remote[:16]}-320x180.mp4").write_bytes(b"prepared")
    drivers.run(DropAsset(f"drop:{remote}", remote))
    assert [place.name for place in assets.iterdir()] == [local]


@pytest.mark.parametrize(("content", "kind"), [(None, "gone"), (b"something else", "input")])
def test_an_asset_that_is_not_what_its_hash_says_is_refused(
    drivers: UploaderDrivers, tmp_path: Path, content: bytes | None, kind: str
) -> None:
    sha = hashlib.sha256(b"wanted").hexdigest()
    if content is not None:
        (tmp_path / "root" / "bucket" / "x").write_bytes(content)
    with pytest.raises(EffectFailed) as failure:
        drivers.run(FetchAsset(f"fetch:{sha}", "x", sha, 100))
    assert failure.value.kind == kind
    assert not (tmp_path / "root" / "assets" / sha).exists()
