"""Making a bucket ready, and saying what is wrong with it: `ezrec store init`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from cloud_bridge.objects.client import BucketError, mapped, s3_client, unsigned
from cloud_bridge.objects.lifecycle import SPARE_DAYS, Rule, merged, rules_of, same
from edge_agent.core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import PublicAccessBlockConfigurationTypeDef

State = Literal["ok", "done", "would", "look", "wrong"]
CHECK = "ezrec-check.txt"
CONTENT = b"ezrec store init was here\n"
PRIVATE: "PublicAccessBlockConfigurationTypeDef" = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    ``ok``: as it should be; ``done``: mended; ``would``: a dry run left it; ``look``: at this yourself;
    ``wrong``: films will not go in, or not out, or not only to those who should have them.
    """

    what: str
    state: State
    text: str


def set_up(settings: Settings, *, dry_run: bool) -> Iterator[Finding]:
    """Check and mend, one finding after the other. Repeating it changes nothing more.

    The bucket's rules are those of this one device's prefix; other devices' and people's own rules stay.
    """
    if settings.store.kind == "dir":
        yield _folder(settings, dry_run=dry_run)
        return
    try:
        yield from _S3Setup(settings, dry_run=dry_run).findings()
    except BucketError as error:
        yield Finding("bucket", "wrong", error.text)


def _folder(settings: Settings, *, dry_run: bool) -> Finding:
    folder = Path(settings.store.folder or Path(settings.storage.root) / "bucket")
    if folder.is_dir():
        return Finding("folder", "ok", f"{folder} is there; the keeper removes what is past its time")
    if dry_run:
        return Finding("folder", "would", f"{folder} would be made")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        return Finding("folder", "wrong", f"{folder} cannot be made ({error.strerror})")
    return Finding("folder", "done", f"{folder} was made")


class _S3Setup:
    def __init__(self, settings: Settings, *, dry_run: bool) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._bucket = settings.store.bucket
        self._prefix = f"{settings.device.org}/{settings.device.id}/"
        self._client = s3_client(settings)
        self._versions = False

    def findings(self) -> Iterator[Finding]:
        """The bucket first; without it there is nothing else to look at."""
        found = self._there()
        yield found
        if found.state in ("ok", "done"):
            steps: tuple[Callable[[], Iterator[Finding]], ...] = (
                self._key,
                self._private,
                self._versioning,
                self._lifecycle,
            )
            for step in steps:
                yield from self._guarded(step)
        self._client.close()

    @staticmethod
    def _guarded(step: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        name = step.__name__.strip("_")
        try:
            yield from step()
        except BucketError as error:
            yield Finding(name, "wrong", error.text)

    def _there(self) -> Finding:
        try:
            with mapped(f"bucket {self._bucket}"):
                self._client.head_bucket(Bucket=self._bucket)
        except BucketError as error:
            if error.kind == "missing":
                return self._make()
            if error.kind != "denied":
                raise
            text = f"{error.text}: either the key is wrong, or it may not look; what follows tells"
            return Finding("bucket", "ok", text)
        return Finding("bucket", "ok", f"{self._bucket} is there")

    def _make(self) -> Finding:
        if self._dry_run:
            return Finding("bucket", "would", f"{self._bucket} is not there and would be made")
        region = self._settings.store.region
        with mapped(f"make bucket {self._bucket}"):
            if self._settings.store.endpoint is None and region != "us-east-1":
                place = cast("Any", {"LocationConstraint": region})
                self._client.create_bucket(Bucket=self._bucket, CreateBucketConfiguration=place)
            else:
                self._client.create_bucket(Bucket=self._bucket)
        return Finding("bucket", "done", f"{self._bucket} was made")

    def _key(self) -> Iterator[Finding]:
        if self._dry_run:
            yield Finding("key", "would", f"a small object under {self._prefix} would be written and read")
            return
        key = f"{self._prefix}{CHECK}"
        with mapped(f"write {key}"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=CONTENT, ContentType="text/plain")
        with mapped(f"read {key}"):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            read = b"".join(cast("Iterator[bytes]", answer["Body"].iter_chunks()))
        if read != CONTENT:
            yield Finding("key", "wrong", f"{key} does not come back as it was written")
            return
        yield Finding("key", "ok", f"writes and reads under {self._prefix}")
        yield self._stranger(key)
        try:
            with mapped(f"delete {key}"):
                self._client.delete_object(Bucket=self._bucket, Key=key)
        except BucketError as error:
            if error.kind != "denied":
                raise
            yield Finding("deletion", "ok", "this key may not delete: right for a device, not for a keeper")
            return
        yield Finding("deletion", "look", "this key may delete: right for a keeper, too much for a device")

    def _stranger(self, key: str) -> Finding:
        """Whether somebody without a key gets the object."""
        try:
            with unsigned(self._client), mapped("read without a key"):
                self._client.get_object(Bucket=self._bucket, Key=key)
        except BucketError as error:
            if error.kind in ("denied", "missing", "refused"):
                return Finding("strangers", "ok", "without a key nothing can be read")
            raise
        return Finding("strangers", "wrong", "anybody can read this bucket: every film in it is public")

    def _private(self) -> Iterator[Finding]:
        try:
            with mapped("read the block of public access"):
                answer = self._client.get_public_access_block(Bucket=self._bucket)
            blocked = cast("dict[str, object]", answer).get("PublicAccessBlockConfiguration") == PRIVATE
        except BucketError as error:
            if error.kind in ("unknown", "denied"):
                text = f"{error.text}: see for yourself that the bucket has no public address"
                yield Finding("public access", "look", text)
                return
            if error.kind != "missing":
                raise
            blocked = False
        if blocked:
            yield Finding("public access", "ok", "blocked")
        elif self._dry_run:
            yield Finding("public access", "would", "would be blocked")
        else:
            with mapped("block public access"):
                self._client.put_public_access_block(
                    Bucket=self._bucket, PublicAccessBlockConfiguration=PRIVATE
                )
            yield Finding("public access", "done", "is blocked now")

    def _versioning(self) -> Iterator[Finding]:
        try:
            with mapped("read the bucket's versioning"):
                answer = self._client.get_bucket_versioning(Bucket=self._bucket)
        except BucketError as error:
            if error.kind not in ("unknown", "denied"):
                raise
            return
        status = cast("dict[str, object]", answer).get("Status")  # none, if it never was versioned
        self._versions = status is not None
        if self._versions:
            text = f"{status}: a deleted film stays as an old version until a rule removes it, a day later"
            yield Finding("versioning", "look", text)

    def _lifecycle(self) -> Iterator[Finding]:
        there = self._rules()
        wanted = [
            merged(
                there,
                rules_of(self._prefix, self._settings, sizes=sizes, versions=self._versions),
                self._prefix,
            )
            for sizes in (True, False)
        ]
        days = self._settings.retention.film_bucket_days + SPARE_DAYS
        text = f"what is left under {self._prefix} after {days} days goes by itself"
        if any(same(there, one) for one in wanted):
            yield Finding("lifecycle", "ok", text)
        elif self._dry_run:
            yield Finding("lifecycle", "would", f"a rule would be written: {text}")
        elif any(self._written(one) for one in wanted):
            yield Finding("lifecycle", "done", f"a rule was written: {text}")
        else:
            yield Finding(
                "lifecycle", "wrong", "the server does not keep the rule; without a keeper films stay"
            )

    def _rules(self) -> list[Rule]:
        try:
            with mapped("read the lifecycle rules"):
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except BucketError as error:
            if error.kind != "missing":
                raise
            return []
        return cast("list[Rule]", cast("dict[str, object]", answer).get("Rules") or [])

    def _written(self, rules: list[Rule]) -> bool:
        """Whether the server has these rules now; a server may refuse or forget what it does not know."""
        configuration = cast("Any", {"Rules": rules})
        try:
            with mapped("write the lifecycle rules"):
                self._client.put_bucket_lifecycle_configuration(
                    Bucket=self._bucket, LifecycleConfiguration=configuration
                )
        except BucketError as error:
            if error.kind not in ("refused", "unknown"):
                raise
            return False
        return same(self._rules(), rules)
