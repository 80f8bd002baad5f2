"""What a store can do for whoever removes what is past its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue


@dataclass(frozen=True)
class DueFilm:
    """A booking whose objects must go from the bucket.

    ``keys``: those its uploads named; ``why``: ``past its time``, ``cancelled``, ``taken down``, ``erased``.
    """

    booking_id: str
    device: str
    keys: tuple[str, ...]
    why: str


class KeepingStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`."""

    def due_films(self, verified_before: datetime, limit: int) -> tuple[DueFilm, ...]:
        """Films verified before then, and those of bookings cancelled or taken down; not yet removed."""
        ...

    def film_removed(self, booking_id: str, why: str, account: Mapping[str, JsonValue]) -> None:
        """Write that the objects are gone (keys, bytes, when): shares of it end, the account stays."""
        ...

    def prune(self, before: datetime) -> Mapping[str, int]:
        """Remove rows past their time (receipts, results, sent messages, answered commands, ended shares,
        cancelled or past bookings without a film), in one transaction; how many, by table. Audit rows stay.
        """
        ...
