"""The bucket, and the uploader's drivers with their ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import cast

from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    AbortUpload,
    BeginUpload,
    Begun,
    DropAsset,
    FetchAsset,
    FinishUpload,
    LedgerEntry,
    PartSent,
    PutPart,
    UploaderInventory,
    Verified,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.sim.disk import Disk
from edge_agent.sim.film import composite, is_complete, prints_of, size_of, slice_print
from edge_agent.sim.loop import MS_NS, Loop
from edge_agent.sim.work import FakeDrivers

LEDGER = "state/uploader/ledger"


@dataclass(frozen=True)
class Stored:
    """An object: the identities of its parts."""

    prints: tuple[str, ...]
    bytes: int


@dataclass
class Bucket:
    """Objects and open uploads by id. ``completed`` counts completions per key."""

    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])
    uploads: dict[str, tuple[str, dict[int, tuple[str, int]]]] = field(
        default_factory=dict[str, tuple[str, dict[int, tuple[str, int]]]]
    )
    completed: dict[str, int] = field(default_factory=dict[str, int])
    trouble: str | None = None
    slow: int = 1
    made: int = 0

    def reach(self) -> None:
        """Fail as the line or the bucket does now.

        Raises:
            EffectFailed: down or denied.
        """
        if self.trouble == "denied":
            raise EffectFailed("denied", "403 SignatureDoesNotMatch")
        if self.trouble is not None:
            raise EffectFailed("transient", "the bucket cannot be reached")

    def create(self, key: str) -> str:
        """A new multipart upload."""
        self.made += 1
        upload = f"u{self.made}"
        self.uploads[upload] = (key, {})
        return upload

    def abort_all(self, key: str) -> None:
        """End every open upload of a key."""
        for upload, (other, _) in list(self.uploads.items()):
            if other == key:
                del self.uploads[upload]


@dataclass(frozen=True)
class Record:
    """The ledger's record of an object; parts by number: identity and size."""

    key: str
    state: str
    upload: str
    parts: Mapping[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    sent: int = 0
    resumes: int = 0
    bytes: int = 0


class UploadDrivers(FakeDrivers):
    """See `FakeDrivers`."""

    def __init__(self, loop: Loop, disk: Disk, lots: Random, trouble: float, bucket: Bucket) -> None:
        super().__init__(loop, disk, lots, trouble)
        self.bucket = bucket

    def latency_ns(self, effect: Effect) -> tuple[int, int]:
        """See `FakeDrivers`; a part takes as long as the line is slow."""
        if isinstance(effect, PutPart):
            return self.lots.randint(80, 900) * self.bucket.slow * MS_NS, self.lots.randint(0, 60) * MS_NS
        if isinstance(effect, FetchAsset):
            return self.lots.randint(100, 9000) * self.bucket.slow * MS_NS, 0
        return super().latency_ns(effect)

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        match effect:
            case BeginUpload():
                return self._begin(effect)
            case PutPart():
                return self._put(effect)
            case FinishUpload():
                return self.finish(effect)
            case AbortUpload():
                self._abort(effect)
                return None
            case FetchAsset():
                self.bucket.reach()
                if self.lots.random() < self.trouble:
                    raise EffectFailed(self.lots.choice(("input", "gone")), "the asset is not to be had")
                self.disk.write(f"assets/{effect.sha256}", effect.sha256, durable=True)
                return f"assets/{effect.sha256}"
            case DropAsset():
                self.disk.delete(f"assets/{effect.sha256}")
                return None
            case _:
                return super().perform(effect)

    def inventory(self) -> UploaderInventory:
        """See `Drivers`."""
        entries = tuple(
            LedgerEntry(
                object_id,
                record.key,
                record.state,
                {number: size for number, (_, size) in record.parts.items()},
                self._verified(record) if record.state == "verified" else None,
            )
            for object_id, record in sorted(self.ledger().items())
        )
        assets = {path.removeprefix("assets/"): path for path in self.disk.below("assets/")}
        return UploaderInventory(entries, assets)

    def ledger(self) -> dict[str, Record]:
        """The records as they are on disk."""
        value = self.disk.read(LEDGER)
        return dict(cast("dict[str, Record]", value)) if isinstance(value, dict) else {}

    def _keep(self, object_id: str, record: Record | None) -> None:
        ledger = self.ledger()
        if record is None:
            ledger.pop(object_id, None)
        else:
            ledger[object_id] = record
        self.disk.write(LEDGER, ledger, durable=True)

    def _begin(self, effect: BeginUpload) -> Begun | Verified:
        self.bucket.reach()
        record = self.ledger().get(effect.object_id)
        if record is not None and record.state == "verified":
            return self._verified(record)
        if record is None and effect.path is not None:
            adopted = self._adopt(effect, self.disk.read(effect.path))
            if adopted is not None:
                return adopted
        if record is not None and record.state == "open" and record.upload in self.bucket.uploads:
            there = self.bucket.uploads[record.upload][1]
            kept = {number: part for number, part in record.parts.items() if there.get(number) == part}
            self._keep(effect.object_id, replace(record, parts=kept, resumes=record.resumes + 1))
            return Begun({number: size for number, (_, size) in kept.items()})
        key = record.key if record is not None else effect.object_key
        self.bucket.abort_all(key)
        sent = record.sent if record is not None else 0
        self._keep(effect.object_id, Record(key, "open", self.bucket.create(key), sent=sent))
        return Begun({})

    def _adopt(self, effect: BeginUpload, value: object) -> Verified | None:
        there = self.bucket.objects.get(effect.object_key)
        if there is None or not is_complete(value) or there.prints != prints_of(value):
            return None
        parts = {n + 1: (mark, 0) for n, mark in enumerate(there.prints)}
        record = Record(effect.object_key, "verified", "", parts, bytes=there.bytes)
        self._keep(effect.object_id, record)
        return self._verified(record)

    def _open(self, object_id: str) -> Record:
        record = self.ledger().get(object_id)
        if record is None or record.state != "open":
            raise EffectFailed("gone", f"{object_id} has no open upload")
        if record.upload not in self.bucket.uploads:
            raise EffectFailed("gone", f"{object_id}: NoSuchUpload")
        return record

    def _put(self, effect: PutPart) -> PartSent:
        self.bucket.reach()
        record = self._open(effect.object_id)
        mark = slice_print(self.disk.read(effect.path), effect.offset, effect.length)
        if mark is None:
            raise EffectFailed("gone", f"{effect.path} has no such slice")
        part = (mark, effect.length)
        if record.parts.get(effect.number) == part:
            return PartSent(effect.number, effect.length, 0, 0)
        self.bucket.uploads[record.upload][1][effect.number] = part
        sent = record.sent + effect.length
        self._keep(effect.object_id, replace(record, parts={**record.parts, effect.number: part}, sent=sent))
        again = effect.length if effect.number in record.parts else 0
        return PartSent(effect.number, effect.length, effect.length, again)

    def finish(self, effect: FinishUpload) -> Verified:
        """Complete, look, compare."""
        self.bucket.reach()
        record = self.ledger().get(effect.object_id)
        if record is not None and record.state == "verified" and record.bytes == effect.bytes:
            return self._verified(record)
        record = self._open(effect.object_id)
        value = self.disk.read(effect.path)
        numbers = range(1, len(prints_of(value)) + 1)
        if size_of(value) != effect.bytes or any(number not in record.parts for number in numbers):
            raise EffectFailed("gone", f"{effect.object_id}: parts are missing")
        parts = {number: record.parts[number] for number in numbers}
        prints = tuple(mark for mark, _ in parts.values())
        if effect.expected_hash is not None and composite(prints) != effect.expected_hash:
            raise EffectFailed("input", f"{effect.object_id}: what was sent is not the file")
        self.bucket.objects[record.key] = Stored(prints, effect.bytes)
        self.bucket.completed[record.key] = self.bucket.completed.get(record.key, 0) + 1
        del self.bucket.uploads[record.upload]
        record = replace(record, state="verified", parts=parts, bytes=effect.bytes)
        self._keep(effect.object_id, record)
        return self._verified(record)

    def _verified(self, record: Record) -> Verified:
        prints = tuple(mark for mark, _ in record.parts.values())
        return Verified(
            key=record.key,
            bytes=record.bytes,
            hash=composite(prints),
            parts=len(prints),
            bytes_sent=record.sent,
            bytes_resent=max(0, record.sent - record.bytes),
            resumes=record.resumes,
        )

    def _abort(self, effect: AbortUpload) -> None:
        self.bucket.reach()
        record = self.ledger().get(effect.object_id)
        if record is None:
            return
        self.bucket.abort_all(record.key)
        if effect.forget:
            self._keep(effect.object_id, None)
        elif record.state != "verified":
            self._keep(effect.object_id, replace(record, state="aborted", parts={}))
