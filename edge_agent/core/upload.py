"""Getting one growing file into the bucket: which part may go when, and the account of what went."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import (
    AbortUpload,
    BeginUpload,
    Begun,
    FinishUpload,
    LedgerEntry,
    PartSent,
    PutPart,
    Verified,
)
from edge_agent.core.settings import Settings
from schemas.booking import Booking
from schemas.recording import StageError, UploadedObject, UploadStage
from schemas.work import WorkObject

PART_BYTES = 5 * 1024 * 1024
FILE_NAMES: Mapping[str, str] = {
    "film": "film.mp4",
    "poster": "poster.jpg",
    "receipt": "receipt.json",
    "left": "left.mp4",
    "right": "right.mp4",
}
NAME_ORDER: tuple[str, ...] = ("film", "poster", "left", "right", "receipt")


@dataclass(frozen=True)
class Item:
    """One object on its way.

    Attributes:
        account: what is published of it; None until its key is known.
        sent: parts that are in the bucket as they are in the file: number -> bytes.
        doing: keys of the effects in flight.
        void: what the bucket has of it belongs to another file; aborted before anything else.
        distrust: parts found in the bucket are compared with the file again, whatever is durable.
        gave_up: the bucket's copy differed from the file twice; only `retry` goes on.
        waiting_since_ns: monotonic time at which the file was seen complete.
    """

    booking_id: str
    name: str
    work: WorkObject | None = None
    account: UploadedObject | None = None
    begun: bool = False
    sent: Mapping[int, int] = field(default_factory=dict[int, int])
    doing: frozenset[str] = frozenset()
    void: bool = False
    distrust: bool = False
    mismatches: int = 0
    gave_up: bool = False
    attempts: int = 0
    retry_ns: int | None = None
    error: StageError | None = None
    waiting_since_ns: int | None = None

    @property
    def object_id(self) -> str:
        """Name of the object in ledger and effects."""
        return f"{self.booking_id}/{self.name}"

    @property
    def verified(self) -> bool:
        """Whether the bucket's object was compared and is ours."""
        return self.account is not None and self.account.verified_at is not None

    @property
    def whole(self) -> bool:
        """Whether every part of the complete file is in the bucket."""
        work = self.work
        return bool(
            work
            and work.complete
            and work.bytes > 0
            and all(
                self.sent.get(number) == part_length(number, work.bytes)
                for number in range(1, part_count(work.bytes) + 1)
            )
        )


def part_count(total_bytes: int) -> int:
    """Parts of a file of that size."""
    return -(-total_bytes // PART_BYTES)


def part_length(number: int, total_bytes: int) -> int:
    """Bytes of a part of a file of that size; not positive when the file does not reach it."""
    return min(PART_BYTES, total_bytes - (number - 1) * PART_BYTES)


def folder_key(settings: Settings, booking_id: str, booking: Booking) -> str:
    """A recording's folder in the bucket; its date is that of the planned start, in the device's zone."""
    try:
        zone = ZoneInfo(settings.device.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    day = booking.from_.astimezone(zone).strftime("%Y-%m-%d")
    return f"{settings.device.org}/{settings.device.id}/{day}/{booking_id}"


def key_for(folder: str, name: str) -> str:
    """The key of an object in its recording's folder."""
    return f"{folder}/{FILE_NAMES.get(name, name)}"


def folder_of(key: str) -> str:
    """The recording's folder of an object's key."""
    return str(PurePosixPath(key).parent)


def sendable(item: Item) -> Iterator[int]:
    """Parts that may be sent now and were not, in order: a part as soon as the file has grown past it,
    the last one and then part 1 (whose head still changes) when the file is complete.
    """
    work = item.work
    if work is None:
        return
    last = part_count(work.bytes) if work.complete else work.bytes // PART_BYTES
    first_late = work.head_open or work.complete
    order = [*range(2, last + 1), 1] if first_late else list(range(1, last + 1))
    for number in order:
        if number > last or (number == 1 and work.head_open and not work.complete):
            continue
        if item.sent.get(number) != part_length(number, work.bytes):
            yield number


def steps(item: Item, width: int) -> tuple[Effect, ...]:
    """What to do next for an object, at most ``width`` parts at a time; nothing that is under way already."""
    work, account = item.work, item.account
    if item.verified or work is None or account is None or item.gave_up:
        return ()
    if item.void:
        return () if item.doing else (AbortUpload(f"abort:{item.object_id}", item.object_id),)
    if not item.begun:
        if item.doing:
            return ()
        path = work.path if work.complete else None
        begin = BeginUpload(
            f"begin:{item.object_id}",
            item.object_id,
            account.key,
            work.content_type,
            work.generation,
            path,
        )
        return (begin,)
    if item.whole:
        return () if item.doing else (_finish(item, work),)
    free = [number for number in sendable(item) if _put_key(item, number) not in item.doing]
    return tuple(_put(item, work, number) for number in free[:width])


def _put_key(item: Item, number: int) -> str:
    generation = item.account.generation if item.account else 0
    return f"put:{item.object_id}:{generation}:{number}"


def _put(item: Item, work: WorkObject, number: int) -> PutPart:
    offset = (number - 1) * PART_BYTES
    length = part_length(number, work.bytes)
    return PutPart(_put_key(item, number), item.object_id, work.path, number, offset, length)


def _finish(item: Item, work: WorkObject) -> FinishUpload:
    return FinishUpload(f"finish:{item.object_id}", item.object_id, work.path, work.bytes, work.hash)


def offered(item: Item, work: WorkObject, now_ns: int) -> Item:
    """The object after its file grew, was cut back, was begun anew or became complete."""
    if item.verified:
        return replace(item, work=work)
    account = item.account
    if account is not None:
        if account.generation != work.generation:
            touched = item.begun or bool(item.doing) or account.bytes_sent > 0 or account.resumes > 0
            item = replace(item, begun=False, sent={}, void=item.void or touched, mismatches=0, gave_up=False)
            if not item.void:
                account = account.replace(generation=work.generation)
        account = account.replace(bytes=work.bytes, hash=work.hash)
    before = item.work
    if before is not None and work.bytes < before.bytes:
        kept = {number: size for number, size in item.sent.items() if _end(number, size) <= work.bytes}
        item = replace(item, sent=kept, distrust=True)
    if work.complete and item.waiting_since_ns is None:
        item = replace(item, waiting_since_ns=now_ns)
    return replace(item, work=work, account=account)


def _end(number: int, size: int) -> int:
    return (number - 1) * PART_BYTES + size


def keyed(item: Item, folder: str) -> Item:
    """The object once its key is known."""
    if item.account is not None or item.work is None:
        return item
    work = item.work
    account = UploadedObject(
        name=item.name,
        key=key_for(folder, item.name),
        bytes=work.bytes,
        hash=work.hash,
        generation=work.generation,
    )
    return replace(item, account=account)


def asked(item: Item, effects: Iterable[Effect]) -> Item:
    """The object once these effects are under way."""
    keys = frozenset(effect.key for effect in effects)
    return replace(item, doing=item.doing | keys, retry_ns=None) if keys else item


def _calm(item: Item, key: str) -> Item:
    return replace(item, doing=item.doing - {key}, attempts=0, retry_ns=None, error=None)


def after_begun(item: Item, key: str, result: Begun) -> Item:
    """The upload is open. Parts found in the bucket count when the file cannot have changed below them:
    whole, and durable on disk; others are asked for again, and the driver compares before it sends.
    """
    item = _calm(item, key)
    work, account = item.work, item.account
    if work is None or account is None or item.void:
        return item
    durable = 0 if item.distrust else work.bytes_durable
    trusted = {
        number: size
        for number, size in result.parts.items()
        if size == part_length(number, work.bytes)
        and _end(number, size) <= durable
        and (number > 1 or work.complete or not work.head_open)
    }
    resumes = account.resumes + (1 if result.parts and not item.sent else 0)
    account = account.replace(parts=len(trusted), resumes=resumes)
    return replace(item, begun=True, sent=trusted, account=account, distrust=False)


def after_part(item: Item, key: str, result: PartSent) -> Item:
    """A part is in the bucket; one of an earlier generation counts for nothing but its bytes."""
    current = key == _put_key(item, result.number) and not item.void and item.begun
    item = _calm(item, key)
    account = item.account
    if account is None:
        return item
    sent = {**item.sent, result.number: result.bytes} if current else item.sent
    account = account.replace(
        bytes_sent=account.bytes_sent + result.sent,
        bytes_resent=account.bytes_resent + result.resent,
        parts=len(sent),
    )
    return replace(item, sent=sent, account=account)


def after_verified(item: Item, key: str, result: Verified, wall: datetime) -> Item:
    """The bucket has it, whole."""
    account = UploadedObject(
        name=item.name,
        key=result.key,
        bytes=result.bytes,
        hash=result.hash,
        parts=result.parts,
        bytes_sent=result.bytes_sent,
        bytes_resent=result.bytes_resent,
        resumes=result.resumes,
        generation=item.account.generation if item.account else 0,
        verified_at=item.account.verified_at if item.account and item.account.verified_at else wall,
    )
    return replace(_calm(item, key), account=account, sent={}, begun=True, void=False, waiting_since_ns=None)


def after_abort(item: Item, key: str) -> Item:
    """Nothing of it is in the bucket: it begins anew with the file as it is now."""
    item = replace(_calm(item, key), void=False, begun=False, sent={})
    if item.account is None or item.work is None:
        return item
    account = item.account.replace(generation=item.work.generation, parts=0)
    return replace(item, account=account)


def after_failure(item: Item, key: str, kind: FailureKind, text: str, now_ns: int) -> Item:
    """The object after an effect failed: when it is tried again, and from where."""
    attempts = item.attempts + 1
    error = StageError(code=kind, message=text[:300], retryable=kind != "input")
    item = replace(
        item,
        doing=item.doing - {key},
        attempts=attempts,
        retry_ns=now_ns + delay_ns(attempts, item.object_id),
        error=error,
    )
    if kind == "gone":
        return replace(item, begun=False, sent={})
    if kind == "input" and key.startswith("finish:"):
        again = item.mismatches == 0
        return replace(
            item, begun=False, sent={}, distrust=True, mismatches=item.mismatches + 1, gave_up=not again
        )
    return item


def recovered(
    stages: Mapping[str, UploadStage], ledger: Iterable[LedgerEntry], wall: datetime
) -> dict[str, Item]:
    """The objects known at a start, from our own last messages and from the ledger; what either knows to be
    verified stays verified.
    """
    items: dict[str, Item] = {}
    for booking, stage in stages.items():
        for account in stage.objects:
            item = Item(booking, account.name, account=account, begun=account.verified_at is not None)
            items[item.object_id] = item
    for entry in ledger:
        if entry.object_id not in items and entry.verified is None and entry.state in ("aborted", "aborting"):
            continue
        booking, _, name = entry.object_id.partition("/")
        # Whose file the parts of an unknown upload came from is not on record: all are compared again.
        item = items.get(entry.object_id, Item(booking, name, distrust=True))
        if item.account is None:
            sent = sum(entry.parts.values())
            account = UploadedObject(name=name, key=entry.key, bytes=0, bytes_sent=sent)
            item = replace(item, account=account)
        if entry.verified is not None:
            item = after_verified(item, "", entry.verified, wall)
        items[entry.object_id] = item
    return items
