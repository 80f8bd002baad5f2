from pathlib import Path

import pytest
from pydantic import SecretStr

from cloud_bridge.objects import LINK_S, FolderObjects, S3Objects, Wanted, objects_of
from edge_agent.core.settings import Settings, Storage, Store
from edge_agent.demo.servers import SeaweedFS
from edge_agent.drivers.objects import S3Store
from tests.cloud_bridge.served import fetch


@pytest.mark.slow
def test_an_address_opens_this_object_alone(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path / "weed") as server, S3Store(server.device) as bucket:
        for name in ("film.mp4", "other.mp4"):
            bucket.put_small(f"club/{name}", name.encode() * 100, "video/mp4")
        target = server.device
        objects = objects_of(
            Settings(
                store=Store(
                    kind="s3",
                    endpoint=target.endpoint,
                    bucket=target.bucket,
                    key=SecretStr(target.key),
                    secret=SecretStr(target.secret),
                )
            )
        )
        assert isinstance(objects, S3Objects)
        assert objects.origins == (target.endpoint,)
        objects.warm()
        address = objects.address(Wanted("club/film.mp4", "video/mp4", "court-1.mp4", attachment=True))
        assert f"X-Amz-Expires={LINK_S}" in address
        piece = fetch(address, headers={"Range": "bytes=4-11"})
        assert (piece.status, piece.body) == (206, b".mp4film")
        assert piece.headers["content-disposition"] == 'attachment; filename="court-1.mp4"'
        assert piece.headers["content-type"] == "video/mp4"
        head = objects.address(Wanted("club/film.mp4", "video/mp4", "c.mp4", method="HEAD"))
        assert fetch(head, "HEAD").headers["content-length"] == "800"
        assert fetch(address.replace("film.mp4?", "other.mp4?")).status == 403
        assert fetch(address.split("?", maxsplit=1)[0]).status == 403


@pytest.mark.parametrize(
    ("store", "origins"),
    [
        (Store(kind="s3", endpoint="https://x.r2.example:444/y"), ("https://x.r2.example:444",)),
        (
            Store(kind="s3", region="eu-central-1"),
            ("https://s3.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"),
        ),
    ],
)
def test_origins_are_where_addresses_lead(store: Store, origins: tuple[str, ...]) -> None:
    settings = Settings(
        store=store.model_copy(update={"key": SecretStr("k"), "secret": SecretStr("s")}),
    )
    objects = objects_of(settings)
    assert isinstance(objects, S3Objects)
    assert objects.origins == origins
    address = objects.address(Wanted("club/film.mp4", "video/mp4", "c.mp4"))
    assert address.startswith(origins)


def test_the_folder_gives_plain_files_beneath_it_and_nothing_else(tmp_path: Path) -> None:
    objects = objects_of(Settings(storage=Storage(root=str(tmp_path))))
    assert isinstance(objects, FolderObjects)
    film = tmp_path / "bucket" / "club" / "film.mp4"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"film")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (film.parent / "link.mp4").symlink_to(secret)
    (tmp_path / "bucket" / "linked").symlink_to(film.parent)
    assert objects.file("club/film.mp4") == film
    for key in ("club", "club/none", "../secret", "club/../../secret", "/etc/passwd", "club/link.mp4",
                "linked/film.mp4", "club//film.mp4", ".ezrec/x", "", "club/film.mp4\0"):  # fmt: skip
        assert objects.file(key) is None, key


def test_the_folder_may_be_named(tmp_path: Path) -> None:
    objects = objects_of(Settings(store=Store(folder=str(tmp_path))))
    (tmp_path / "film").write_bytes(b"")
    assert isinstance(objects, FolderObjects)
    assert objects.file("film") == tmp_path / "film"
