"""Logos and intros that bookings name: fetched by hash, kept while somebody needs them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import DropAsset, FetchAsset
from schemas.booking import AssetRef, Booking
from schemas.health import Asset

KEPT = timedelta(days=7)
"""How long an asset stays after the last booking that named it."""

AssetKind = Literal["logo", "intro"]


@dataclass(frozen=True)
class AssetItem:
    """One asset. ``topic`` is None while no booking has said what it is for; ``needed_until`` is the end
    of the last booking that names it; ``doing``: fetched or dropped right now.
    """

    sha256: str
    needed_until: datetime
    ref: AssetRef | None = None
    kind: AssetKind | None = None
    path: str | None = None
    topic: Asset | None = None
    doing: bool = False
    attempts: int = 0
    retry_ns: int | None = None
    failure: FailureKind | None = None
    text: str | None = None


def found(paths: Mapping[str, str], wall: datetime) -> dict[str, AssetItem]:
    """The assets on disk; which booking wanted them is not known yet."""
    return {sha: AssetItem(sha, wall, path=path) for sha, path in paths.items()}


def named(items: Mapping[str, AssetItem], booking: Booking) -> dict[str, AssetItem]:
    """The assets after a wanted booking named some."""
    result = dict(items)
    if not booking.wanted:
        return result
    for ref, kind in _refs(booking):
        item = result.get(ref.sha256) or AssetItem(ref.sha256, booking.to)
        until = max(item.needed_until, booking.to)
        changed = replace(item, ref=item.ref or ref, kind=item.kind or kind, needed_until=until)
        result[ref.sha256] = _told(changed)
    return result


def _refs(booking: Booking) -> Iterator[tuple[AssetRef, AssetKind]]:
    for logo in booking.branding:
        yield logo, "logo"
    if booking.intro is not None:
        yield booking.intro, "intro"


def _told(item: AssetItem) -> AssetItem:
    """The item with its topic as it now is; the same message object when nothing changed."""
    if item.kind is None:
        return item
    if item.path is not None:
        topic = Asset(state="ready", kind=item.kind, path=item.path)
    elif item.failure in (None, "transient"):
        topic = Asset(state="fetching", kind=item.kind, error=item.text)
    else:
        topic = Asset(state="failed", kind=item.kind, error=item.text)
    return item if topic == item.topic else replace(item, topic=topic)


def wanted(item: AssetItem, wall: datetime, now_ns: int) -> FetchAsset | None:
    """What to fetch now: not here, its booking ahead or running, and not waiting after a failure."""
    ref = item.ref
    if item.path or item.doing or ref is None or item.needed_until <= wall:
        return None
    if item.retry_ns is not None and now_ns < item.retry_ns:
        return None
    return FetchAsset(f"fetch:{item.sha256}", ref.key, item.sha256, ref.bytes)


def outlived(item: AssetItem, wall: datetime, now_ns: int) -> DropAsset | None:
    """What to remove: nobody has needed it for a week, and it is not waiting after a failure."""
    if item.doing or item.needed_until + KEPT > wall:
        return None
    if item.retry_ns is not None and now_ns < item.retry_ns:
        return None
    return DropAsset(f"drop:{item.sha256}", item.sha256)


def after_fetch(item: AssetItem, path: str) -> AssetItem:
    """It is here."""
    return _told(
        replace(item, path=path, doing=False, attempts=0, retry_ns=None, failure=None, text=None),
    )


def after_failed_fetch(item: AssetItem, kind: FailureKind, text: str, now_ns: int) -> AssetItem:
    """It is tried again later; only what may pass by itself still counts as on its way."""
    attempts = item.attempts + 1
    retry_ns = now_ns + delay_ns(attempts, item.sha256)
    return _told(
        replace(item, doing=False, attempts=attempts, retry_ns=retry_ns, failure=kind, text=text[:300])
    )


def pursued(
    items: Mapping[str, AssetItem], wall: datetime, now_ns: int
) -> tuple[Mapping[str, AssetItem], tuple[Effect, ...]]:
    """Ask for everything still missing and drop what nobody needs."""
    effects: list[Effect] = []
    result = dict(items)
    for sha, item in items.items():
        effect = outlived(item, wall, now_ns) or wanted(item, wall, now_ns)
        if effect is not None:
            effects.append(effect)
            result[sha] = replace(item, doing=True, retry_ns=None)
    return (result, tuple(effects)) if effects else (items, ())


def unusable(items: Iterable[AssetItem], wall: datetime) -> tuple[AssetItem, ...]:
    """Assets a booking ahead will have to do without, as things are."""
    return tuple(
        item
        for item in items
        if item.topic is not None and item.topic.state == "failed" and item.needed_until > wall
    )
