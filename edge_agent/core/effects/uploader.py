"""Effects of the uploader. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import Effect


@dataclass(frozen=True)
class BeginUpload(Effect):
    """Create or resume a multipart upload. Result: `Begun`, or `Verified` when the bucket has it already.

    ``path`` names a complete file: without a record of it the driver looks first whether the bucket's
    object is that file (a lost ledger costs no second upload).
    """

    object_id: str
    object_key: str
    content_type: str
    generation: int
    path: str | None = None
    lane: str = field(default="begin", init=False)


@dataclass(frozen=True)
class Begun:
    """``parts`` are already in the bucket: number -> bytes."""

    parts: Mapping[int, int]


@dataclass(frozen=True)
class PutPart(Effect):
    """Send one part of a file. Result: `PartSent`."""

    object_id: str
    path: str
    number: int
    offset: int
    length: int
    lane: str = field(default="put", init=False)


@dataclass(frozen=True)
class PartSent:
    """A part is in the bucket. ``sent`` is 0 when it already was, ``resent`` counts bytes sent before."""

    number: int
    bytes: int
    sent: int
    resent: int


@dataclass(frozen=True)
class FinishUpload(Effect):
    """Complete the upload and verify the object by size and hash. Result: `Verified`.

    ``expected_hash`` is the writer's composite hash; a difference fails with kind ``input``.
    """

    object_id: str
    path: str
    bytes: int
    expected_hash: str | None
    lane: str = field(default="begin", init=False)


@dataclass(frozen=True)
class Verified:
    """The object is in the bucket, whole."""

    key: str
    bytes: int
    hash: str
    parts: int
    bytes_sent: int
    bytes_resent: int
    resumes: int


@dataclass(frozen=True)
class AbortUpload(Effect):
    """Give an upload up; nothing unfinished of it stays in the bucket, a verified object does. Idempotent.

    ``forget``: the ledger's record goes too. Result None.
    """

    object_id: str
    forget: bool = False
    lane: str = field(default="begin", init=False)


@dataclass(frozen=True)
class FetchAsset(Effect):
    """Bring an asset to ``assets/{sha256}`` (from the bucket, or a local file of the settings).

    Result: path below storage.root. Fails ``input`` when the hash differs, ``gone`` when it is nowhere.
    """

    key_in_bucket: str
    sha256: str
    bytes: int
    lane: str = field(default="fetch", init=False)


@dataclass(frozen=True)
class DropAsset(Effect):
    """Remove ``assets/{sha256}`` and what was prepared from it. Idempotent."""

    sha256: str
    lane: str = field(default="disk", init=False)


@dataclass(frozen=True)
class LedgerEntry:
    """An upload the ledger knows."""

    object_id: str
    key: str
    state: str
    parts: Mapping[int, int]
    verified: Verified | None = None


@dataclass(frozen=True)
class UploaderInventory:
    """The ledger, and the assets on disk (sha256 -> path)."""

    uploads: tuple[LedgerEntry, ...] = ()
    assets: Mapping[str, str] = field(default_factory=dict[str, str])
