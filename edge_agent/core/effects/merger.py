"""Effects of the merger. See `edge_agent.core.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import Effect
from schemas.work import SlotPlan


@dataclass(frozen=True)
class WritePlans(Effect):
    """Append slot plans to ``recordings/{id}/plan/plans.jsonl`` and fsync. A plan never changes: an index
    already there is left as it is. Result: the plans of those indexes as they are on disk (tuple).
    """

    booking_id: str
    plans: tuple[SlotPlan, ...]
    lane: str = field(default="disk", init=False)


@dataclass(frozen=True)
class MergerInventory:
    """Slot plans on disk per booking, in order of index."""

    plans: Mapping[str, tuple[SlotPlan, ...]] = field(default_factory=dict[str, tuple[SlotPlan, ...]])
