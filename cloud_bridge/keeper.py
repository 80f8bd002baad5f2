"""The keeper: removes from the bucket what is due, writes the account, prunes rows.

It may be killed at any moment and repeated at any time, and several may run at once: an object that is gone
is fine, and the account knows each object once.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cloud_bridge.keeper_news import CAUSE, MEND, news
from cloud_bridge.keeping import DueObject, booking_of, due, elsewhere, left_behind, strangers
from cloud_bridge.media.keeping import sweep_assets
from cloud_bridge.objects.base import KeptBucket, OpenUpload
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.kept_folder import FolderKept
from cloud_bridge.objects.kept_s3 import S3Kept
from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.keeping import KeepingStore, KeptFilm, Removal
from cloud_bridge.stores.media import UserMediaStore
from cloud_bridge.stores.messages import MessageStore
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock, SystemClock, kernel_synced
from schemas.base import utc_text

FIRST_S = (60.0, 300.0)
EVERY_S = (3300.0, 3900.0)
SAY_AGAIN = 24
PAGE = 100
LONG_AGO = "2000-01-01T00:00:00.000000Z"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What one round came to; of a dry run: what it would have done.

    Attributes:
        denied: by device: the deletion this key may not make.
        later: what did not work and will be tried again.
        odd: rows that name something the keeper does not touch.
        pruned: rows removed, by table.
        assets: keys of logos and intros removed that nobody names any more.
    """

    removed: tuple[Removal, ...] = ()
    aborted: tuple[OpenUpload, ...] = ()
    denied: Mapping[str, str] = field(default_factory=dict[str, str])
    later: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    pruned: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def refused(self) -> tuple[str, ...]:
        """What this key may not, and what to do, a line each."""
        return tuple(f"{text}. {MEND}" for text in self.denied.values())

    assets: tuple[str, ...] = ()


@dataclass
class _Going:
    """A round while it goes."""

    dry_run: bool
    removed: list[Removal] = field(default_factory=list[Removal])
    aborted: list[OpenUpload] = field(default_factory=list[OpenUpload])
    refused: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    later: list[str] = field(default_factory=list[str])
    odd: list[str] = field(default_factory=list[str])
    assets: tuple[str, ...] = ()


class Keeper:
    """Owns neither stores nor bucket. Without ``media`` logos and intros are left alone."""

    def __init__(
        self,
        store: KeepingStore,
        bucket: KeptBucket,
        settings: Settings,
        clock: Clock | None = None,
        media: UserMediaStore | None = None,
    ) -> None:
        self._media = media
        self._store = store
        self._bucket = bucket
        self._settings = settings
        self._clock = clock or SystemClock()

    def round(self, *, dry_run: bool = False, stopping: Callable[[], bool] = lambda: False) -> Round:
        """Look once at everything that is kept. Between two bookings it asks whether to stop.

        Raises:
            StoreError: the rows cannot be read or written; what was removed until then is in the account, or
                is found gone by the next round.
            BucketError: ``missing`` when the bucket itself is not there, ``transient`` when it does not
                answer: nothing was done.
        """
        self._bucket.check()
        going = _Going(dry_run)
        after: str | None = None
        while films := self._store.kept_films(PAGE, after):
            for film in films:
                if stopping():
                    return _over(going)
                self._film(film, going)
            after = films[-1].booking_id
        for court in self._store.devices():
            if stopping():
                return _over(going)
            self._uploads(court, going)
        self._assets(going, stopping)
        before = self._clock.wall() - timedelta(days=self._settings.retention.receipt_days)
        return _over(going, {} if dry_run else self._store.prune(before))

    def now(self) -> datetime:
        """Aware wall time, by the keeper's clock."""
        return self._clock.wall()

    def devices(self) -> tuple[tuple[str, str], ...]:
        """Organisation and id of the devices that are looked after.

        Raises:
            StoreError: they cannot be read.
        """
        return self._store.devices()

    def _film(self, film: KeptFilm, going: _Going) -> None:
        other = elsewhere(film, self._settings.store.bucket)
        objects = due(film, self._clock.wall(), self._settings)
        going.odd += [
            f"{film.booking_id}: its upload names {key!r}, not a key of it" for key in strangers(film)
        ]
        if objects and other is not None:
            going.odd.append(f"{film.booking_id}: its objects are in bucket {other!r}, which is not ours")
        elif objects and (film.org, film.device) not in going.refused:
            removed = self._objects(film, objects, going)
            if removed and not going.dry_run:
                self._store.film_removed(removed)
            going.removed += removed

    def _objects(self, film: KeptFilm, objects: Sequence[DueObject], going: _Going) -> list[Removal]:
        """Those that are gone; at the first trouble the rest waits for the next round."""
        removed: list[Removal] = []
        for one in objects:
            try:
                removed.append(self._object(film, one, going))
            except BucketError as error:
                _went_wrong(error, (film.org, film.device), going)
                break
        return removed

    def _object(self, film: KeptFilm, one: DueObject, going: _Going) -> Removal:
        size = self._bucket.size(one.key)
        if size is not None and not going.dry_run:
            self._bucket.remove(one.key)
            if self._bucket.size(one.key) is not None:
                raise BucketError("transient", f"{one.key} is still there after it was deleted")
        return Removal(
            booking_id=film.booking_id,
            org=film.org,
            device=film.device,
            key=one.key,
            bytes=size,
            verified_at=one.verified_at,
            why=one.why,
            at=utc_text(self._clock.wall()),
        )

    def _uploads(self, court: tuple[str, str], going: _Going) -> None:
        if court in going.refused:
            return
        now = self._clock.wall()
        try:
            for upload in list(self._bucket.open_uploads(f"{court[0]}/{court[1]}/")):
                booking_id = booking_of(upload.key)
                if booking_id is None:
                    continue
                if not left_behind(upload, self._store.kept_film(booking_id, court[1]), now):
                    continue
                if not going.dry_run:
                    self._bucket.abort(upload)
                going.aborted.append(upload)
        except BucketError as error:
            _went_wrong(error, court, going)

    def _assets(self, going: _Going, stopping: Callable[[], bool]) -> None:
        org, now = self._settings.device.org, self._clock.wall()
        try:
            if self._media is not None:
                going.assets = sweep_assets(
                    self._media, self._bucket, org, now, dry_run=going.dry_run, stopping=stopping
                )
        except BucketError as error:
            _went_wrong(error, (org, "assets"), going)


def _went_wrong(error: BucketError, court: tuple[str, str], going: _Going) -> None:
    if error.kind == "denied":
        going.refused[court] = error.text
    elif error.kind != "unknown":
        going.later.append(error.text)


def _over(going: _Going, pruned: Mapping[str, int] | None = None) -> Round:
    return Round(
        removed=tuple(going.removed),
        aborted=tuple(going.aborted),
        denied={device: line for (_, device), line in going.refused.items()},
        later=tuple(going.later),
        odd=tuple(going.odd),
        pruned=pruned or {},
        assets=going.assets,
    )


def kept_bucket(settings: Settings) -> KeptBucket:
    """The bucket that the settings name. Makes no request.

    Raises:
        BucketError: ``denied`` when the endpoint is no address.
    """
    if settings.store.kind == "s3":
        return S3Kept(settings)
    folder = settings.store.folder
    return FolderKept(Path(folder) if folder else Path(settings.storage.root) / "bucket")


class Rounds:
    """Rounds about every hour, the first after a few minutes, until told to stop.

    While the machine's clock is not disciplined the first comes only after an hour: a Pi without a battery
    begins with a wrong one, and by a clock that is years ahead every film is past its time.

    What is new is said in the log; a line that stands (a key that may not delete) then once a day.
    """

    def __init__(
        self,
        keeper: Keeper,
        messages: MessageStore | None = None,
        draw: random.Random | None = None,
        synced: Callable[[], bool] = kernel_synced,
    ) -> None:
        """``messages``: where notices to people go. ``synced``: whether the clock is right. Owns neither."""
        self._keeper = keeper
        self._messages = messages
        self._draw = draw or random.Random()  # noqa: S311 - spreads requests, keeps no secret
        self._synced = synced
        self._said: dict[str, int] = {}

    def first_s(self) -> float:
        """Seconds until the first round."""
        return self._draw.uniform(*(FIRST_S if self._synced() else EVERY_S))

    def run(self, stop: threading.Event) -> None:
        """Go on until ``stop`` is set. Blocks."""
        wait_s = self.first_s()
        while not stop.wait(wait_s):
            self.once(stop.is_set)
            wait_s = self._draw.uniform(*EVERY_S)

    def once(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """One round, and what is to be said of it; raises nothing that may pass by itself."""
        try:
            done = self._keeper.round(stopping=stopping)
        except (StoreError, BucketError) as error:
            self._say((error.text,))
            return
        for one in done.removed:
            log.info("removed %s (%s): %s", one.key, one.why, _bytes(one.bytes))
        for key in done.assets:
            log.info("removed %s: nobody names it any more", key)
        for upload in done.aborted:
            log.info("aborted an upload of %s, begun %s", upload.key, utc_text(upload.started))
        self._say((*done.refused, *done.later, *done.odd))
        self._tell(done)

    def _tell(self, done: Round) -> None:
        """People hear once that a device's films stay, and once that it is over."""
        if self._messages is None:
            return
        now = self._keeper.now()
        try:
            for _, device in self._keeper.devices():
                told = self._messages.told(device, CAUSE, LONG_AGO)
                notice = news(device, done.denied.get(device), told, now)
                if notice is not None and (device in done.denied or not done.later):
                    self._messages.add_notice(device, notice)
        except StoreError as error:
            log.warning("nobody can be told that films stay: %s", error.text)

    def _say(self, lines: tuple[str, ...]) -> None:
        self._said = {line: self._said.get(line, -1) + 1 for line in lines}
        for line, times in self._said.items():
            if times % SAY_AGAIN == 0:
                log.error("not removed from the bucket: %s", line)


def _bytes(count: int | None) -> str:
    return "was gone already" if count is None else f"{count} bytes"
