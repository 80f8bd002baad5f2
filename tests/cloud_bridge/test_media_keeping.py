"""Objects of logos and intros that nobody names any more: gone from the bucket, and no other."""

from collections.abc import Generator
from pathlib import Path

import pytest

from cloud_bridge.keeper import Keeper
from cloud_bridge.media.keeping import sweep_assets
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.kept_folder import FolderKept
from cloud_bridge.stores.media import ASSET_LINGER, MediaFile, Slot, Whose
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
from edge_agent.core.settings import Settings, Store
from tests.cloud_bridge.served import HandClock, minutes

UMA = Whose("user", "uma")


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bucket"
        self.clock = HandClock()
        self.store = SqliteMediaStore(folder / "store.sqlite", self.clock)
        self.bucket = FolderKept(self.folder)

    def wear(self, digit: str, slot: Slot = "logo") -> None:
        self.store.claim_asset(digit * 64)
        self.put(f"club/assets/{digit * 64}")
        self.store.set_media(UMA, slot, MediaFile(digit * 64, 3, "png", 4, 4, None), None)

    def put(self, key: str) -> None:
        place = self.folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"abc")

    def sweep(self, *, dry_run: bool = False) -> list[str]:
        gone = sweep_assets(self.store, self.bucket, "club", self.clock.wall(), dry_run=dry_run)
        return [key.removeprefix("club/assets/")[0] for key in gone]

    def there(self) -> set[str]:
        return {file.name[0] for file in (self.folder / "club" / "assets").glob("*")}


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


def test_what_nobody_names_goes_after_a_while_and_nothing_else(rig: Rig) -> None:
    for digit in "123":
        rig.wear(digit)  # each takes the place of the one before
    rig.put("club/assets/by-hand")
    assert rig.sweep() == []
    rig.clock.now += ASSET_LINGER + minutes(1)
    assert rig.sweep(dry_run=True) == ["1", "2"]
    assert rig.there() == {"1", "2", "3", "b"}
    assert (rig.sweep(), rig.sweep()) == (["1", "2"], [])
    assert rig.there() == {"3", "b"}


def test_what_is_gone_already_is_fine(rig: Rig) -> None:
    rig.wear("1")
    rig.store.remove_media(UMA, "logo")
    rig.bucket.remove(f"club/assets/{'1' * 64}")
    rig.clock.now += ASSET_LINGER + minutes(1)
    assert rig.sweep() == ["1"]


class Refusing(FolderKept):
    def remove(self, key: str) -> None:
        raise BucketError("denied", f"delete {key}: this key may not do that")


def test_a_key_that_may_not_delete_loses_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.wear("1")
    rig.store.remove_media(UMA, "logo")
    rig.clock.now += ASSET_LINGER + minutes(1)
    with pytest.raises(BucketError, match="may not"):
        sweep_assets(rig.store, Refusing(rig.folder), "club", rig.clock.wall())
    assert rig.there() == {"1"}
    rig.clock.now += minutes(11)
    assert rig.sweep() == ["1"]


def test_what_is_named_again_in_the_last_moment_stays(rig: Rig) -> None:
    rig.wear("1")
    rig.store.remove_media(UMA, "logo")
    rig.clock.now += ASSET_LINGER + minutes(1)
    due = rig.store.assets_due(rig.clock.wall() - ASSET_LINGER, 9)
    rig.wear("1")
    assert due == ("1" * 64,)
    assert (rig.sweep(), rig.there()) == ([], {"1"})


def test_the_keepers_round_takes_them_along(rig: Rig, tmp_path: Path) -> None:
    rig.wear("1")
    rig.wear("2")
    rig.clock.now += ASSET_LINGER + minutes(1)
    settings = Settings(store=Store(kind="dir", folder=str(rig.folder)))
    kept = SqliteKeeping(tmp_path / "store.sqlite", "club", "court-1", rig.clock)
    keeper = Keeper(kept, rig.bucket, settings, rig.clock, rig.store)
    assert keeper.round(dry_run=True).assets == (f"club/assets/{'1' * 64}",)
    assert (keeper.round().assets, keeper.round().assets) == ((f"club/assets/{'1' * 64}",), ())
    assert rig.there() == {"2"}
    rig.wear("3")
    rig.clock.now += ASSET_LINGER + minutes(1)
    done = Keeper(kept, Refusing(rig.folder), settings, rig.clock, rig.store).round()
    assert (done.assets, len(done.refused)) == ((), 1)
    kept.close()
