"""What the merger knows of one recording: booking, what its cameras told, what is planned. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from edge_agent.core.pairing import Cursor
from edge_agent.core.slot_plans import Account, Mappings
from edge_agent.core.timeline import SegmentTimes
from schemas.booking import Booking, Layout
from schemas.recording import CaptureStage, MergeStage
from schemas.topics import Address
from schemas.work import CameraName, SlotsMinute

Times = tuple[SegmentTimes, ...]
Slots = Mapping[Address[SlotsMinute], SlotsMinute]


@dataclass(frozen=True)
class Now:
    """The moment of an event."""

    mono_ns: int
    wall_ns: int
    boot_id: str


@dataclass(frozen=True)
class Feed:
    """One camera's part of a recording, as it has told.

    Attributes:
        stage: its stage, None while it has none.
        moved_ns: monotonic time at which its ``covered_until`` last moved, as seen here.
        minutes: segments listed and still needed, per minute topic.
        listed_ns: per boot, monotonic end of the last segment listed.
    """

    stage: CaptureStage | None = None
    moved_ns: int = 0
    minutes: Mapping[str, tuple[SegmentTimes, ...]] = field(
        default_factory=dict[str, tuple[SegmentTimes, ...]]
    )
    listed_ns: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Job:
    """One recording.

    Attributes:
        since_ns: monotonic time since which this run of the merger knows it.
        asked_ns: monotonic time at which its present end became known here.
        begin_ns: wall time of frame 0 once frozen: by the first claimed segment, or the first plan.
        layout, mappings: frozen by the first plans that used them.
        slots: the published slot plans.
        writing: plans are on their way to the disk.
        attempt, retry_ns: failed tries of the last effect, and when the next may be.
        stage: as published.
        dead: it will never be wanted again.
        gone: its plans were deleted.
        refused: when an extension was refused, and which revision.
        wake_ns: when to look again.
    """

    id: str
    booking: Booking | None = None
    wanted: bool = False
    final: bool = False
    since_ns: int = 0
    asked_ns: int = 0
    begin_ns: int | None = None
    layout: Layout | None = None
    mappings: Mappings = ()
    feeds: Mapping[CameraName, Feed] = field(default_factory=dict[CameraName, Feed])
    account: Account = field(default_factory=Account)
    cursor: Cursor = field(default_factory=Cursor)
    slots: Slots = field(default_factory=dict[Address[SlotsMinute], SlotsMinute])
    writing: bool = False
    attempt: int = 0
    retry_ns: int | None = None
    stage: MergeStage | None = None
    listed: bool = False
    dead: bool = False
    gone: bool = False
    refused: datetime | None = None
    backlog: int = 0
    wake_ns: int | None = None

    @property
    def fixed(self) -> bool:
        """Whether the number of slots is fixed: it succeeded once."""
        return self.stage is not None and self.stage.slots_total is not None
