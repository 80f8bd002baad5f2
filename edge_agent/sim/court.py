"""The cameras of the simulated court: which frame is captured when, and when a camera gives none."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.loop import US_NS
from schemas.work import CameraName

Trouble = Literal["stall", "absent", "exit"]
_MIX = 2654435761


@dataclass(frozen=True)
class Fault:
    """True time in which a camera gives no frame: it hangs, is not there, or its child dies at once."""

    begin_ns: int
    end_ns: int
    kind: Trouble


@dataclass
class Camera:
    """One camera's frames: frame k is captured at ``phase + k * period``, unless it is dropped.

    ``drop``: share of the frames that are lost one by one, in 1/2**20.
    """

    name: CameraName
    fps: int
    phase_ns: int
    period_ns: int
    drop: int
    salt: int
    faults: list[Fault] = field(default_factory=list[Fault])

    def time_ns(self, frame: int) -> int:
        """True time at which a frame is captured, whole microseconds."""
        return (self.phase_ns + frame * self.period_ns) // US_NS * US_NS

    def frames(self, begin_ns: int, end_ns: int) -> tuple[int, ...]:
        """Frames captured in [begin, end) of true time."""
        first = max(0, -(-(begin_ns - self.phase_ns) // self.period_ns))
        while first > 0 and self.time_ns(first - 1) >= begin_ns:
            first -= 1
        while self.time_ns(first) < begin_ns:
            first += 1
        found: list[int] = []
        frame = first
        while self.time_ns(frame) < end_ns:
            if self._captured(frame):
                found.append(frame)
            frame += 1
        return tuple(found)

    def _captured(self, frame: int) -> bool:
        if self.drop and ((frame * _MIX + self.salt) >> 7) % (1 << 20) < self.drop:
            return False
        return not self.faults or self.fault_at(self.time_ns(frame)) is None

    def fault_at(self, moment_ns: int) -> Fault | None:
        """The trouble that stands at a moment."""
        place = bisect_right(self.faults, moment_ns, key=lambda fault: fault.begin_ns)
        if place and self.faults[place - 1].end_ns > moment_ns:
            return self.faults[place - 1]
        return None

    def healthy(self, begin_ns: int, end_ns: int) -> bool:
        """Whether nothing was the matter with the camera between two moments."""
        return not any(fault.begin_ns < end_ns and fault.end_ns > begin_ns for fault in self.faults)


def longer(fault: Fault) -> bool:
    """Whether a fault lasts long enough to end the capture child (frames missing for over a second)."""
    return fault.end_ns - fault.begin_ns > SECOND_NS * 5 // 4
