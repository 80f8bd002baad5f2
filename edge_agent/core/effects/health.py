"""Effects of health. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import Effect
from schemas.receipt import Receipt


@dataclass(frozen=True)
class Measure(Effect):
    """Read the device's metrics. Result: `Measured`."""

    lane: str = field(default="measure", init=False)


@dataclass(frozen=True)
class Measured:
    """Metrics as read from the operating system; None where it has none."""

    cpu_pct: float | None
    load1: float | None
    temperature_c: float | None
    throttled: bool | None
    memory_used_pct: float | None
    disk_free_bytes: int
    disk_total_bytes: int
    network_up: bool | None
    clock_synced: bool
    media_bytes: int


@dataclass(frozen=True)
class WriteReceipt(Effect):
    """Write ``recordings/{id}/receipt/receipt.json`` durably. Result: `FilmFile` of it (complete)."""

    booking_id: str
    receipt: Receipt
    lane: str = field(default="disk", init=False)


@dataclass(frozen=True)
class HealthInventory:
    """Receipts on disk: booking id -> bytes."""

    receipts: Mapping[str, int] = field(default_factory=dict[str, int])
