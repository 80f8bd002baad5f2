"""What a bucket is to the device: the protocol both stores keep, their one error, and S3's two hash rules."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MIB = 1024 * 1024
PART_BYTES = 5 * MIB
# S3 takes 10 000 parts: 5 MiB each reach 48.8 GiB. Above 45 GB parts grow, all of them (R2 wants them equal).
LARGE_OBJECT_BYTES = 45_000_000_000
PARTS_MAX = 9_000

StoreErrorKind = Literal["transient", "gone", "denied", "missing", "conflict"]


class StoreError(Exception):
    """Every failure of a store, mapped once at its edge.

    Kinds: ``transient`` may pass by itself (network, 5xx, throttling, time-outs, a clock not yet set);
    ``gone`` the upload id is no longer known: begin again; ``denied`` keys or rights are wrong; ``missing``
    no such bucket or key; ``conflict`` what is there is not what was said to be there. The text is one line
    for the operator and names endpoint, bucket and key, never a secret.
    """

    def __init__(self, kind: StoreErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind: StoreErrorKind = kind
        self.text = text


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What the store says of an object; `sha256` is composite ("BASE64-N") or None where it keeps none."""

    bytes: int
    etag: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ListedPart:
    """One part the store holds. SeaweedFS lists a number twice when it was sent twice: both are reported."""

    number: int
    etag: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PartRef:
    """One part named in Complete, by the ETag that was answered when it was put."""

    number: int
    etag: str
    sha256_b64: str


class ObjectStore(Protocol):
    """A bucket. Every call blocks, does network or disk I/O, raises StoreError only, and may be repeated.

    ETags are without quotes; part numbers start at 1; all hashes are SHA-256, in base64 where the name says
    so.
    """

    def create(self, key: str, content_type: str) -> str:
        """Open a multipart upload and return its id. Repeating opens another one."""
        ...

    def put_part(self, key: str, upload_id: str, number: int, data: bytes, sha256_b64: str) -> str:
        """Store one part, checked against its hash on arrival; returns its ETag. The last one put wins.

        Raises:
            StoreError: `gone` for an unknown upload id, `conflict` when the data does not have that hash.
        """
        ...

    def complete(self, key: str, upload_id: str, parts: Sequence[PartRef]) -> None:
        """Make the object of exactly these parts, atomically.

        Raises:
            StoreError: `conflict` for a part that is not there under that ETag; `gone` for an unknown upload
            id, also
                when an earlier try had succeeded and the store forgot (then `head` knows).
        """
        ...

    def head(self, key: str) -> ObjectHead | None:
        """Size and hashes of an object, None when there is none."""
        ...

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; an unknown id is already dropped."""
        ...

    def list_uploads(self, key: str) -> tuple[str, ...]:
        """Ids of the unfinished uploads of exactly this key."""
        ...

    def list_parts(self, key: str, upload_id: str) -> tuple[ListedPart, ...]:
        """Every part held for an upload; raises `gone` for an unknown id."""
        ...

    def get(self, key: str, path: Path, expected_sha256: str | None = None, *, max_bytes: int) -> None:
        """Fetch an object into `path` (temporary name, fsync, rename, fsync of the folder).

        `expected_sha256` is hex, of the whole content. Nothing is left behind on failure.

        Raises:
            StoreError: `missing` without such a key, `conflict` if larger than `max_bytes` or of another
            hash.
        """
        ...

    def put_small(self, key: str, data: bytes, content_type: str) -> ObjectHead:
        """Store a small object in one request, checked by hash on arrival; an earlier one is replaced."""
        ...

    def close(self) -> None:
        """Let go of connections; the store is not used after this."""
        ...


def part_bytes_for(total_bytes: int) -> int:
    """Part size for an object of at most this size: 5 MiB, more (whole MiB) only above 45 GB."""
    if total_bytes <= LARGE_OBJECT_BYTES:
        return PART_BYTES
    per_part = -(-total_bytes // PARTS_MAX)
    return -(-per_part // MIB) * MIB


def sha256_b64(data: bytes) -> str:
    """SHA-256 as S3 writes it in headers."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def composite_sha256(parts_b64: Sequence[str]) -> str:
    """S3's composite SHA-256 of a multipart object: hash of the parts' hashes, "-", number of parts."""
    digest = hashlib.sha256(b"".join(base64.b64decode(part) for part in parts_b64)).digest()
    return f"{base64.b64encode(digest).decode()}-{len(parts_b64)}"


def multipart_etag(md5s_hex: Iterable[str]) -> str:
    """S3's ETag of a multipart object: the md5 of the parts' md5s, "-", the number of parts."""
    md5s = [bytes.fromhex(md5) for md5 in md5s_hex]
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


def seen(store: ObjectStore, key: str) -> ObjectHead | None:
    """What the bucket has of a key, as far as it tells.

    Where nothing is, S3 refuses a key that may not list (docs/s3.md), as if the object were another's. A key
    that may nothing at all is refused again by what comes next.

    Raises:
        StoreError: as `ObjectStore.head`, but ``denied``.
    """
    try:
        return store.head(key)
    except StoreError as error:
        if error.kind != "denied":
            raise
        return None
