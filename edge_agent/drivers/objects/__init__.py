"""The bucket as the device sees it: one protocol, two stores, the ledger and the driver that obeys it."""

from edge_agent.drivers.objects.base import (
    PART_BYTES,
    ListedPart,
    ObjectHead,
    ObjectStore,
    PartRef,
    StoreError,
    StoreErrorKind,
    part_bytes_for,
)
from edge_agent.drivers.objects.folder import FolderStore
from edge_agent.drivers.objects.ledger import UploadLedger, UploadRecord
from edge_agent.drivers.objects.s3 import S3Store
from edge_agent.drivers.objects.upload import Begun, PartDone, UploadDriver, Verified

__all__ = [
    "PART_BYTES",
    "Begun",
    "FolderStore",
    "ListedPart",
    "ObjectHead",
    "ObjectStore",
    "PartDone",
    "PartRef",
    "S3Store",
    "StoreError",
    "StoreErrorKind",
    "UploadDriver",
    "UploadLedger",
    "UploadRecord",
    "Verified",
    "part_bytes_for",
]
