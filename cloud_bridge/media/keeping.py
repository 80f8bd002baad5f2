"""Logos and intros that no row names any more, on their way out of the bucket."""

from collections.abc import Callable
from datetime import datetime

from cloud_bridge.objects.assets import asset_key
from cloud_bridge.objects.base import KeptBucket
from cloud_bridge.objects.client import BucketError
from cloud_bridge.stores.media import ASSET_LINGER, UserMediaStore

_AT_ONCE = 200


def sweep_assets(
    store: UserMediaStore,
    bucket: KeptBucket,
    org: str,
    now: datetime,
    *,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Remove what has had no row for `ASSET_LINGER`; the keys that are gone (or would be), at most 200.

    It may be killed anywhere, be repeated, and run twice at once. What somebody names again in between stays.

    Raises:
        StoreError: the rows cannot be read or written.
        BucketError: the bucket did not obey; what is left over is taken up again after a while.
    """
    before = now - ASSET_LINGER
    gone: list[str] = []
    for sha256 in store.assets_due(before, _AT_ONCE):
        if stopping():
            break
        key = asset_key(org, sha256)
        if not dry_run:
            if not store.begin_removal(sha256, before):
                continue
            bucket.remove(key)
            if bucket.size(key) is not None:
                raise BucketError("transient", f"{key} is still there after it was deleted")
            store.asset_removed(sha256)
        gone.append(key)
    return tuple(gone)
