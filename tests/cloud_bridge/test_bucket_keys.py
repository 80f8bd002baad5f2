"""The keys of `docs/s3.md` on a real server: what each may and may not; `store init`; the keeper over S3.

One server for all of it: its start costs more than the tests.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr
from typer.testing import CliRunner

from cloud_bridge.keeper import Keeper
from cloud_bridge.objects.base import KeptBucket
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.kept_s3 import S3Kept
from cloud_bridge.objects.setup import Finding, set_up
from cloud_bridge.stores import SqliteStore
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from edge_agent.cli.main import app
from edge_agent.core.settings import Device, Settings
from edge_agent.core.settings import Store as StoreSettings
from edge_agent.demo.child import free_port
from edge_agent.demo.servers import SeaweedFS
from edge_agent.drivers.objects import ObjectStore, S3Store
from edge_agent.drivers.objects.s3 import S3Target
from tests.cloud_bridge.served import NOON, HandClock
from tests.conformance.keeping import key_of, uploaded
from tests.conformance.kept_bucket import KeptBucketConformance
from tests.conformance.objects import FULL, TAIL, VIDEO, put

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "s3.md").read_text()
BUCKET = "clips"
DAY = timedelta(days=1)
NUMBERS = itertools.count()


def policy(name: str) -> dict[str, Any]:
    """A policy as the page has it, for the club's court-1 and this bucket."""
    found = re.search(rf"^### {name}$.*?```json\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    text = found[1].replace("BUCKET", BUCKET).replace("ORG", "club").replace("DEVICE", "court-1")
    made: dict[str, Any] = json.loads(text)
    return made


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Generator[SeaweedFS]:
    policies = {"court": policy("Device"), "keeper": policy("Keeper")}
    with SeaweedFS(tmp_path_factory.mktemp("weed"), bucket=BUCKET, policies=policies) as server:
        yield server


@cache
def session() -> Any:
    return boto3.Session()


def client(target: S3Target) -> Any:
    return session().client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        aws_access_key_id=target.key,
        aws_secret_access_key=target.secret,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        ),
    )


def settings_of(target: S3Target) -> Settings:
    return Settings(
        device=Device(id="court-1", org="club"),
        store=StoreSettings(
            kind="s3",
            endpoint=target.endpoint,
            bucket=target.bucket,
            key=SecretStr(target.key),
            secret=SecretStr(target.secret),
        ),
    )


def answer(call: Callable[[], Any]) -> int:
    try:
        return int(call()["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


OWN = "club/court-1/2026-03-01/a/film.mp4"
NEIGHBOURS = ("club/court-2/2026-03-01/a/film.mp4", "other/court-1/2026-03-01/a/film.mp4")
LOGO = "club/assets/0f0f"


@pytest.fixture
def filled(weed: SeaweedFS) -> SeaweedFS:
    admin = client(weed.admin)
    for key in (OWN, *NEIGHBOURS, LOGO):
        admin.put_object(Bucket=BUCKET, Key=key, Body=b"film")
    admin.close()
    return weed


class TestDevicesKey:
    @pytest.fixture
    def court(self, filled: SeaweedFS) -> Generator[Any]:
        with closing(client(filled.target("court"))) as court:
            yield court

    def test_it_writes_and_reads_what_is_its_own(self, court: Any) -> None:
        assert answer(lambda: court.put_object(Bucket=BUCKET, Key=f"{OWN}.new", Body=b"x")) == 200
        assert answer(lambda: court.get_object(Bucket=BUCKET, Key=OWN)) == 200
        assert answer(lambda: court.head_object(Bucket=BUCKET, Key=OWN)) == 200
        assert answer(lambda: court.get_object(Bucket=BUCKET, Key=LOGO)) == 200

    @pytest.mark.parametrize("key", [*NEIGHBOURS, "club/court-10/film", "club/court-1", "film.mp4"])
    def test_it_neither_writes_nor_reads_elsewhere(self, court: Any, key: str) -> None:
        assert answer(lambda: court.put_object(Bucket=BUCKET, Key=key, Body=b"x")) == 403
        assert answer(lambda: court.get_object(Bucket=BUCKET, Key=key)) == 403
        assert answer(lambda: court.head_object(Bucket=BUCKET, Key=key)) == 403
        assert answer(lambda: court.create_multipart_upload(Bucket=BUCKET, Key=key)) == 403

    def test_it_changes_no_logo(self, court: Any) -> None:
        assert answer(lambda: court.put_object(Bucket=BUCKET, Key=LOGO, Body=b"x")) == 403

    @pytest.mark.parametrize("key", [OWN, LOGO, *NEIGHBOURS])
    def test_it_deletes_nothing(self, court: Any, filled: SeaweedFS, key: str) -> None:
        assert answer(lambda: court.delete_object(Bucket=BUCKET, Key=key)) == 403
        listed = court.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})
        assert [(one["Key"], one["Code"]) for one in listed["Errors"]] == [(key, "AccessDenied")]
        assert listed.get("Deleted", []) == []
        with closing(client(filled.admin)) as admin:
            assert admin.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"film"

    def test_it_lists_no_objects_and_touches_no_rules(self, court: Any) -> None:
        assert answer(lambda: court.list_objects_v2(Bucket=BUCKET)) == 403
        assert answer(lambda: court.list_objects_v2(Bucket=BUCKET, Prefix="club/court-2/")) == 403
        assert answer(lambda: court.delete_bucket(Bucket=BUCKET)) == 403
        assert answer(lambda: court.delete_bucket_lifecycle(Bucket=BUCKET)) == 403

    def test_it_aborts_its_own_upload_and_no_other(self, court: Any, filled: SeaweedFS) -> None:
        with closing(client(filled.admin)) as admin:
            other = admin.create_multipart_upload(Bucket=BUCKET, Key=NEIGHBOURS[0])["UploadId"]
            own = court.create_multipart_upload(Bucket=BUCKET, Key=OWN)["UploadId"]
            assert (
                answer(lambda: court.abort_multipart_upload(Bucket=BUCKET, Key=NEIGHBOURS[0], UploadId=other))
                == 403
            )
            assert answer(lambda: court.abort_multipart_upload(Bucket=BUCKET, Key=OWN, UploadId=own)) == 204
            left = admin.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
            assert [one["UploadId"] for one in left] == [other]
            admin.abort_multipart_upload(Bucket=BUCKET, Key=NEIGHBOURS[0], UploadId=other)

    def test_the_uploader_needs_no_more(self, filled: SeaweedFS, tmp_path: Path) -> None:
        key = "club/court-1/2026-03-01/whole/film.mp4"
        with S3Store(filled.target("court")) as store:
            assert store.head(key) is None
            abandoned = store.create(key, VIDEO)
            assert store.list_uploads(key) == (abandoned,)
            store.abort(key, abandoned)
            upload = store.create(key, VIDEO)
            parts = [put(store, key, upload, 1, FULL), put(store, key, upload, 2, TAIL)]
            assert [part.number for part in store.list_parts(key, upload)] == [1, 2]
            store.complete(key, upload, parts)
            head = store.head(key)
            assert head is not None
            assert head.bytes == len(FULL + TAIL)
            store.get(LOGO, tmp_path / "logo", max_bytes=100)
            assert (tmp_path / "logo").read_bytes() == b"film"

    def test_a_keeper_with_it_is_refused_and_writes_nothing(self, filled: SeaweedFS, tmp_path: Path) -> None:
        clock = HandClock(NOON)
        store = SqliteStore(tmp_path / "store.sqlite", clock)
        store.save_result("a", "upload", uploaded("a"))
        store.close()
        clock.now += 100 * DAY
        kept = SqliteKeeping(tmp_path / "store.sqlite", "club", "court-1", clock)
        settings = settings_of(filled.target("court"))
        with closing(S3Kept(settings)) as bucket:
            done = Keeper(kept, bucket, settings, clock).round()
        (line,) = done.refused
        assert f"delete {key_of('a')}" in line
        assert "AccessDenied" in line
        assert (done.removed, kept.removals(10, None)) == ((), ())
        kept.close()
        with S3Store(filled.admin) as admin:
            assert admin.head(OWN) is not None


class TestKeepersKey:
    def test_it_deletes_what_is_the_clubs_and_writes_its_logos_and_nothing_else(
        self, filled: SeaweedFS
    ) -> None:
        with closing(client(filled.target("keeper"))) as keeper:
            assert answer(partial(keeper.delete_object, Bucket=BUCKET, Key=NEIGHBOURS[1])) == 403
            for key in (OWN, NEIGHBOURS[1], "other/assets/0f0f"):
                assert answer(partial(keeper.put_object, Bucket=BUCKET, Key=key, Body=b"x")) == 403
            assert answer(lambda: keeper.put_object(Bucket=BUCKET, Key=LOGO, Body=b"x")) == 200
            assert answer(lambda: keeper.delete_object(Bucket=BUCKET, Key=LOGO)) == 204
            assert answer(lambda: keeper.get_object(Bucket=BUCKET, Key=OWN)) == 200
            for key in (OWN, NEIGHBOURS[0]):
                assert answer(partial(keeper.delete_object, Bucket=BUCKET, Key=key)) == 204
                assert answer(partial(keeper.head_object, Bucket=BUCKET, Key=key)) == 404

    def test_a_round_removes_the_film_and_the_upload_left_behind(
        self, filled: SeaweedFS, tmp_path: Path
    ) -> None:
        clock = HandClock(NOON)
        store = SqliteStore(tmp_path / "store.sqlite", clock)
        store.save_result("a", "upload", uploaded("a", "film.mp4", "poster.jpg"))
        store.save_result("b", "recording", {"state": "failed"})
        store.close()
        with S3Store(filled.target("court")) as device:
            device.create(key_of("b"), VIDEO)
        clock.now = clock.now.replace(year=2099)
        settings = settings_of(filled.target("keeper"))
        kept = SqliteKeeping(tmp_path / "store.sqlite", "club", "court-1", clock)
        with closing(S3Kept(settings)) as bucket:
            keeper = Keeper(kept, bucket, settings, clock)
            assert keeper.round(dry_run=True).removed != ()
            done = keeper.round()
            assert {(one.key, one.bytes) for one in done.removed} == {
                (OWN, 4),
                (key_of("a", "poster.jpg"), None),
            }
            assert (done.refused, done.later) == ((), ())
            assert key_of("b") in [one.key for one in done.aborted]
            again = keeper.round()
            assert (again.removed, again.aborted) == ((), ())
        assert len(kept.removals(10, None)) == 2
        kept.close()


@pytest.fixture(scope="module")
def target(weed: SeaweedFS) -> S3Target:
    return dataclasses.replace(weed.admin, bucket="kept")


@pytest.fixture(scope="module")
def device(target: S3Target) -> Generator[ObjectStore]:
    with S3Store(target) as device:
        device.make_bucket()
        yield device


@pytest.fixture(scope="module")
def bucket(target: S3Target, device: ObjectStore) -> Generator[KeptBucket]:
    with closing(S3Kept(settings_of(target))) as bucket:
        yield bucket


class TestS3Kept(KeptBucketConformance):
    def test_a_bucket_that_is_not_there_is_missing(self, target: S3Target) -> None:
        settings = settings_of(dataclasses.replace(target, bucket="nowhere"))
        with closing(S3Kept(settings)) as bucket, pytest.raises(BucketError) as caught:
            bucket.check()
        assert caught.value.kind == "missing"

    def test_nobody_there_is_transient(self, target: S3Target) -> None:
        nobody = dataclasses.replace(target, endpoint=f"http://127.0.0.1:{free_port()}")
        with closing(S3Kept(settings_of(nobody))) as bucket, pytest.raises(BucketError) as caught:
            bucket.check()
        assert caught.value.kind == "transient"
        assert target.secret not in caught.value.text

    @pytest.mark.parametrize(
        ("change", "names"), [({"secret": "x"}, "store.secret"), ({"key": "NOBODY"}, "store.key")]
    )
    def test_a_wrong_key_is_named(self, target: S3Target, change: dict[str, str], names: str) -> None:
        wrong = settings_of(dataclasses.replace(target, **change))
        with closing(S3Kept(wrong)) as bucket, pytest.raises(BucketError) as caught:
            list(bucket.open_uploads("club/"))
        assert (caught.value.kind, names in caught.value.text) == ("denied", True)


class TestStoreInit:
    @pytest.fixture
    def fresh(self, weed: SeaweedFS) -> S3Target:
        """A bucket nobody has made."""
        return dataclasses.replace(weed.admin, bucket=f"made-{next(NUMBERS)}")

    @staticmethod
    def states(settings: Settings, *, dry_run: bool = False) -> dict[str, str]:
        return {one.what: one.state for one in set_up(settings, dry_run=dry_run)}

    def test_a_new_bucket_is_made_ready_and_then_left_alone(self, fresh: S3Target) -> None:
        settings = settings_of(fresh)
        assert self.states(settings, dry_run=True) == {"bucket": "would"}
        assert self.states(settings) == {
            "bucket": "done",
            "key": "ok",
            "strangers": "ok",
            "deletion": "look",
            "public access": "look",
            "lifecycle": "done",
        }
        again = self.states(settings)
        assert (again["bucket"], again["lifecycle"]) == ("ok", "ok")
        with closing(client(fresh)) as admin:
            rules = admin.get_bucket_lifecycle_configuration(Bucket=fresh.bucket)["Rules"]
            assert admin.list_objects_v2(Bucket=fresh.bucket)["KeyCount"] == 0
        assert {rule["ID"] for rule in rules} == {
            f"ezrec-club-court-1-{name}" for name in ("films", "rest", "uploads")
        }
        assert all("club/court-1/" in json.dumps(rule["Filter"]) for rule in rules)

    def test_rules_of_others_stay_and_a_change_of_days_is_written(self, fresh: S3Target) -> None:
        with S3Store(fresh) as admin:
            admin.make_bucket()
        theirs = {
            "ID": "theirs",
            "Status": "Enabled",
            "Filter": {"Prefix": "club/assets/old/"},
            "Expiration": {"Days": 5},
        }
        with closing(client(fresh)) as admin:
            admin.put_bucket_lifecycle_configuration(
                Bucket=fresh.bucket, LifecycleConfiguration={"Rules": [theirs]}
            )
            settings = settings_of(fresh)
            other = settings.model_copy(update={"device": Device(id="court-2", org="club")})
            longer = settings.model_copy(
                update={"retention": settings.retention.model_copy(update={"film_bucket_days": 30})}
            )
            assert self.states(settings, dry_run=True)["lifecycle"] == "would"
            assert [self.states(one)["lifecycle"] for one in (settings, other)] == ["done", "done"]
            assert [self.states(longer)["lifecycle"] for _ in range(2)] == ["done", "ok"]
            rules = admin.get_bucket_lifecycle_configuration(Bucket=fresh.bucket)["Rules"]
        days = {rule["ID"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}
        assert days == {
            "theirs": 5,
            "ezrec-club-court-1-films": 33,
            "ezrec-club-court-1-rest": 93,
            "ezrec-club-court-2-films": 17,
            "ezrec-club-court-2-rest": 93,
        }

    def test_a_devices_key_is_told_from_a_keepers(self, weed: SeaweedFS) -> None:
        found = {one.what: one for one in set_up(settings_of(weed.target("court")), dry_run=False)}
        assert (found["key"].state, found["deletion"].state) == ("ok", "ok")
        assert "right for a device" in found["deletion"].text
        neighbour = settings_of(weed.target("court")).model_copy(
            update={"device": Device(id="court-2", org="club")}
        )
        (wrong,) = [one for one in set_up(neighbour, dry_run=False) if one.what == "key"]
        assert (wrong.state, "club/court-2/" in wrong.text) == ("wrong", True)

    def test_a_public_bucket_is_wrong(self, fresh: S3Target) -> None:
        with S3Store(fresh) as admin:
            admin.make_bucket()
        everybody = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": f"arn:aws:s3:::{fresh.bucket}/*",
                }
            ],
        }
        with closing(client(fresh)) as admin:
            admin.put_bucket_policy(Bucket=fresh.bucket, Policy=json.dumps(everybody))
        assert self.states(settings_of(fresh))["strangers"] == "wrong"

    def test_wrong_keys_and_nobody_there_are_one_line(self, fresh: S3Target) -> None:
        for change in (
            {"secret": "x"},
            {"endpoint": f"http://127.0.0.1:{free_port()}"},
            {"endpoint": "bucket.example"},
            {"bucket": "not a bucket"},
        ):
            found = list(set_up(settings_of(dataclasses.replace(fresh, **change)), dry_run=False))
            assert "wrong" in {one.state for one in found}, change
            assert not any("\n" in one.text or fresh.secret in one.text for one in found)

    def test_as_people_type_it(self, fresh: S3Target, tmp_path: Path) -> None:
        config = tmp_path / "ezrec.toml"
        config.write_text(
            f'[device]\nid = "court-1"\norg = "club"\n[store]\nkind = "s3"\nendpoint = "{fresh.endpoint}"\n'
            f'bucket = "{fresh.bucket}"\nkey = "{fresh.key}"\nsecret = "{fresh.secret}"\n'
        )
        run = CliRunner().invoke
        first = run(app, ["store", "init", "--config", str(config), "--dry-run"])
        assert (first.exit_code, first.output) == (
            0,
            f"would bucket: {fresh.bucket} is not there and would be made\n",
        )
        second = run(app, ["store", "init", "--config", str(config), "--json"])
        body = json.loads(second.output)
        assert (second.exit_code, body["dry_run"], body["findings"][0]["state"]) == (0, False, "done")
        config.write_text(config.read_text().replace(fresh.secret, "wrong"))
        third = run(app, ["store", "init", "--config", str(config)])
        assert third.exit_code == 1
        assert "WRONG key:" in third.output


def test_a_folder_is_made_and_a_file_in_its_place_is_wrong(tmp_path: Path) -> None:
    settings = Settings(store=StoreSettings(kind="dir", folder=str(tmp_path / "films")))
    states = [next(iter(set_up(settings, dry_run=dry))).state for dry in (True, False, False)]
    assert states == ["would", "done", "ok"]
    (tmp_path / "file").write_text("")
    blocked = Settings(store=StoreSettings(kind="dir", folder=str(tmp_path / "file" / "films")))
    (found,) = set_up(blocked, dry_run=False)
    assert isinstance(found, Finding)
    assert (found.state, "cannot be made" in found.text) == ("wrong", True)
