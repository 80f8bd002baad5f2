"""A device's disk with a film to upload, for the tests of uploads."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edge_agent.drivers.objects import (
    PART_BYTES,
    ObjectStore,
    UploadDriver,
    UploadLedger,
    Verified,
)

FILM = "recordings/b1/film/film.mp4"
OBJECT = "b1/film"
TAIL_BYTES = 700_001
TOTAL_BYTES = 2 * PART_BYTES + TAIL_BYTES


@dataclass
class Device:
    """A device's disk with one film on it, and its way to the bucket."""

    root: Path
    ledger_path: Path
    store: ObjectStore
    key: str
    ledgers: list[UploadLedger] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path, store: ObjectStore, key: str) -> Self:
        root = folder / "storage"
        (root / FILM).parent.mkdir(parents=True)
        device = cls(root, folder / "ledger.sqlite", store, key)
        device.write(TOTAL_BYTES, seed=1)
        return device

    @property
    def film(self) -> bytes:
        return (self.root / FILM).read_bytes()

    def write(self, total_bytes: int, seed: int) -> None:
        (self.root / FILM).write_bytes(random.Random(seed).randbytes(total_bytes))

    def started(self, store: ObjectStore | None = None) -> UploadDriver:
        """What a fresh process has: a driver over the ledger on disk."""
        self.ledgers.append(UploadLedger(self.ledger_path))
        return UploadDriver(store or self.store, self.ledgers[-1], self.root)

    def put(self, driver: UploadDriver, number: int) -> int:
        offset = (number - 1) * PART_BYTES
        length = min(PART_BYTES, len(self.film) - offset)
        return driver.put_part(OBJECT, number, FILM, offset, length).bytes_sent

    def send(self, driver: UploadDriver) -> Verified:
        """What the agent does: begin, whatever is left with part 1 last, finish."""
        begun = driver.begin(OBJECT, self.key, "video/mp4")
        there = {part.number for part in begun.parts_done}
        count = -(-len(self.film) // PART_BYTES)
        for number in [*range(2, count + 1), 1]:
            if number not in there:
                self.put(driver, number)
        return driver.finish(OBJECT, FILM, len(self.film))

    def fetched(self, folder: Path) -> bytes:
        self.store.get(self.key, folder / "fetched", max_bytes=10**9)
        return (folder / "fetched").read_bytes()
