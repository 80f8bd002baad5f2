"""A camera agent's drivers: capture into a ring in memory, claiming onto the disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from edge_agent.core.agent import SECOND_NS, Effect
from edge_agent.core.effects import (
    CameraInventory,
    CaptureNews,
    CaptureStart,
    CaptureStop,
    Claim,
    DeleteMedia,
    RingFile,
    SetCuts,
    WatchCapture,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.take_plan import Clock
from edge_agent.sim.court import Camera, Fault, longer
from edge_agent.sim.disk import Disk
from edge_agent.sim.loop import MS_NS, US_NS, Loop
from edge_agent.sim.node import Finish
from edge_agent.sim.work import FakeDrivers
from schemas.work import CameraName, Segment, pack_offsets

STALL_NS = SECOND_NS * 5 // 4
BYTES_PER_FRAME = 20_000
FRAMES = "frames"


class Device(Protocol):
    """What capture needs of the device."""

    def clock(self) -> Clock:
        """Both clocks now."""
        ...

    def true_of(self, mono_ns: int) -> int:
        """True time of a moment of this boot's monotonic clock."""
        ...

    def quiet(self) -> bool:
        """Whether no booking is near: news may come in larger lots."""
        ...

    def deleting(self, who: str, effect: DeleteMedia) -> None:
        """Media are about to go."""
        ...

    def torn(self, cam: CameraName) -> None:
        """A ring file could not be read."""
        ...

    def claimed(self, cam: str, booking_id: str, frames: tuple[int, ...]) -> None:
        """Frames of a camera have their lasting copy."""
        ...


@dataclass
class Ring:
    """What lies in the memory of the machine: it outlives the process, not the power.

    Attributes:
        files: closed segments by name, oldest first; shown: the camera's frames in each.
        open_ns: true time from which the open segment has frames, None when nothing is captured.
    """

    files: dict[str, RingFile] = field(default_factory=dict[str, RingFile])
    shown: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    open_ns: int | None = None
    next_seq: int = 0

    def add(self, file: RingFile, shown: tuple[int, ...], ring_ns: int) -> None:
        """A segment more; what is too old goes."""
        self.files[file.name] = file
        self.shown[file.name] = shown
        for name, old in list(self.files.items()):
            if old.end_ns >= file.end_ns - ring_ns:
                break
            del self.files[name], self.shown[name]


class CaptureDrivers(FakeDrivers):
    """See `FakeDrivers`. One capture child at a time."""

    def __init__(
        self, loop: Loop, disk: Disk, lots: Random, trouble: float, camera: Camera, ring: Ring, device: Device
    ) -> None:
        super().__init__(loop, disk, lots, trouble)
        self.camera = camera
        self.ring = ring
        self.device = device
        self.ring_ns = 90 * SECOND_NS
        self._child: Finish | None = None
        self._run = 0
        self._cuts: tuple[int, ...] = ()
        self._watch: Finish | None = None
        self._segments: list[RingFile] = []
        self._said: Mapping[str, Any] | None = None
        self._boundary = 0

    # --- effects ---

    def start(self, effect: Effect, finish: Finish) -> None:
        """See `Drivers`."""
        match effect:
            case CaptureStart():
                self._start_child(effect, finish)
            case WatchCapture():
                self._begin_watch(finish)
            case _:
                super().start(effect, finish)

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        match effect:
            case Claim():
                return self.claim(effect)
            case SetCuts():
                self._cuts = effect.cuts_ns
                self._plan_boundary()
                return None
            case CaptureStop():
                self._end_child(None)
                return None
            case DeleteMedia():
                self.device.deleting(f"camera_{self.camera.name}", effect)
                for path in self.disk.below(f"recordings/{effect.booking_id}/{self.camera.name}/"):
                    self.disk.delete(path)
                return None
            case _:
                return super().perform(effect)

    def inventory(self) -> CameraInventory:
        """What an interrupted child left is made whole."""
        boot = self.device.clock().boot_id
        claimed: dict[str, list[Segment]] = {}
        for path in self.disk.below("recordings/"):
            value = self.disk.read(path)
            parts = path.split("/")
            if parts[2] == self.camera.name and isinstance(value, Copy):
                claimed.setdefault(parts[1], []).append(value.segment)
        names = [segment.name for segments in claimed.values() for segment in segments]
        seqs = [int(name[9:]) for name in (*names, *self.ring.files) if name.startswith(boot[:8])]
        return CameraInventory(
            ring=tuple(self.ring.files.values()),
            claimed={key: tuple(segments) for key, segments in claimed.items()},
            seq_floor=max(seqs, default=-1),
        )

    def killed(self) -> None:
        """The child dies with its parent; what it had written stays in the ring."""
        super().killed()
        self._run += 1
        self._child = None
        self._close(self.loop.now_ns, ends=True)
        self.ring.open_ns = None

    # --- claiming ---

    def claim(self, effect: Claim) -> Segment:
        """Copy a ring file, durably."""
        file = effect.file
        path = f"recordings/{effect.booking_id}/{effect.cam}/{file.name}.mp4"
        there = self.disk.read(path)
        if isinstance(there, Copy):
            return there.segment
        shown = self.ring.shown.get(file.name)
        if shown is None:
            raise EffectFailed("gone", f"{file.name} fell off the ring")
        if Random(f"{self.loop.seed}/torn/{self.camera.name}/{file.name}").random() < self.trouble / 8:
            self.device.torn(self.camera.name)
            raise EffectFailed("input", f"{file.name} is torn")
        segment = Segment(
            path=path,
            name=file.name,
            boot_id=file.boot_id,
            stamp="sensor",
            t0_ns=file.t0_ns,
            end_ns=file.end_ns,
            offsets=pack_offsets(file.offsets_us),
            frames=file.frames,
            dropped=file.dropped,
            bytes=file.bytes,
            wall_offset_ns=file.wall_offset_ns,
            width=file.width,
            height=file.height,
            fps=file.fps,
        )
        self.keep(path, Copy(segment, shown))
        self.device.claimed(self.camera.name, effect.booking_id, shown)
        return segment

    def keep(self, path: str, copy: "Copy") -> None:
        """Write a copy and fsync it."""
        self.disk.write(path, copy, durable=True)

    # --- the child ---

    def _start_child(self, effect: CaptureStart, finish: Finish) -> None:
        self._run += 1
        run = self._run
        floor = effect.spec.get("seq_floor", 0)
        self.ring.next_seq = max(self.ring.next_seq, floor)

        def opened() -> None:
            if run != self._run or not self.alive:
                return
            fault = self.camera.fault_at(self.loop.now_ns)
            if fault is not None and fault.kind == "absent":
                finish(EffectFailed("transient", "absent: no camera answers"))
                return
            self._child = finish
            self._said = {
                "width": 1280,
                "height": 720,
                "fps": self.camera.fps,
                "encoder": "sim",
                "device": "sim",
            }
            self.ring.open_ns = self.loop.now_ns
            self._plan_boundary()
            self._tell()
            if fault is not None:
                self.loop.after(6 * SECOND_NS, lambda: self._no_first_frame(run))

        self.loop.after(self.lots.randint(200, 900) * MS_NS, opened)

    def _no_first_frame(self, run: int) -> None:
        begin_ns = self.loop.now_ns - 6 * SECOND_NS
        if run == self._run and self._child and not self.camera.frames(begin_ns, self.loop.now_ns):
            self._end_child(EffectFailed("transient", "stall: no first frame"))

    def fault(self, fault: Fault) -> None:
        """Trouble with the camera has just begun; a child that sees it ends."""
        run = self._run
        if fault.kind == "exit":
            self._end_child(EffectFailed("transient", "exit: capture child ended with 1"))
        elif longer(fault):
            self.loop.after(STALL_NS, lambda: self._stalled(run))

    def _stalled(self, run: int) -> None:
        now_ns = self.loop.now_ns
        if run == self._run and self._child and not self.camera.frames(now_ns - SECOND_NS, now_ns):
            self._end_child(EffectFailed("transient", "stall: frames stopped"))

    def _end_child(self, why: EffectFailed | None) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        self._run += 1
        self._close(self.loop.now_ns, ends=True)
        self.ring.open_ns = None
        self.loop.after(self.lots.randint(1, 40) * MS_NS, lambda: child(why))
        self._tell()

    # --- segments ---

    def _plan_boundary(self) -> None:
        """The next split: the wall grid of 2 s, or a planned start or end."""
        if self._child is None:
            return
        clock = self.device.clock()
        grid_ns = 2 * SECOND_NS
        next_grid = (clock.wall_ns // grid_ns + 1) * grid_ns - (clock.wall_ns - clock.mono_ns)
        cuts = [cut for cut in self._cuts if cut > clock.mono_ns]
        boundary_ns = self.device.true_of(min([next_grid, *cuts]))
        boundary_ns = -(-boundary_ns // US_NS) * US_NS
        self._boundary += 1
        number, run = self._boundary, self._run

        def reached() -> None:
            if number == self._boundary and run == self._run and self.alive:
                self._close(boundary_ns, ends=False)
                self._plan_boundary()
                if not self.device.quiet():
                    self._tell()

        self.loop.at(boundary_ns + self.camera.period_ns + 5 * MS_NS, reached)

    def _close(self, end_ns: int, *, ends: bool) -> None:
        """Close the open segment at a moment; one without a frame leaves no file."""
        begin_ns = self.ring.open_ns
        if begin_ns is None or end_ns <= begin_ns:
            return
        self.ring.open_ns = end_ns
        frames = self.camera.frames(begin_ns, end_ns)
        if not frames:
            return
        clock = self.device.clock()
        shift_ns = clock.mono_ns - self.loop.now_ns
        times = [self.camera.time_ns(frame) + shift_ns for frame in frames]
        following = () if ends else self.camera.frames(end_ns, self.loop.now_ns)
        last_ns = (
            self.camera.time_ns(following[0]) + shift_ns if following else times[-1] + self.camera.period_ns
        )
        missing = frames[-1] - frames[0] + 1 - len(frames)
        name = f"{clock.boot_id[:8]}-{self.ring.next_seq:08d}"
        file = RingFile(
            name=name,
            seq=self.ring.next_seq,
            boot_id=clock.boot_id,
            stamp="sensor",
            t0_ns=times[0],
            end_ns=last_ns,
            offsets_us=tuple((time_ns - times[0]) // 1000 for time_ns in times),
            dropped=missing,
            duplicated=0,
            bytes=len(frames) * BYTES_PER_FRAME,
            frames=len(frames),
            wall_offset_ns=clock.wall_ns - clock.mono_ns,
            width=1280,
            height=720,
            fps=self.camera.fps,
        )
        self.ring.next_seq += 1
        self.ring.add(file, frames, self.ring_ns)
        self._segments.append(file)

    # --- news ---

    def _begin_watch(self, finish: Finish) -> None:
        self._watch = finish
        if self._segments or self._said:
            self._tell()
            return
        wait_ns = (10 if self.device.quiet() else 1) * SECOND_NS
        run = self._run

        def enough() -> None:
            if self._watch is finish:
                self._answer(run)

        self.loop.after(wait_ns, enough)

    def _tell(self) -> None:
        watch = self._watch
        if watch is None:
            return

        def soon() -> None:
            if self._watch is watch:
                self._answer(self._run)

        self.loop.after(self.lots.randint(1, 15) * MS_NS, soon)

    def _answer(self, run: int) -> None:
        del run
        watch, self._watch = self._watch, None
        if watch is None or not self.alive:
            return
        clock = self.device.clock()
        shift_ns = clock.mono_ns - self.loop.now_ns
        newest = max((file.t0_ns + file.offsets_us[-1] * 1000 for file in self._segments), default=None)
        if self._child is not None and self.ring.open_ns is not None:
            begun_ns = max(self.ring.open_ns, self.loop.now_ns - 2 * SECOND_NS)
            growing = self.camera.frames(begun_ns, self.loop.now_ns)
            newest = self.camera.time_ns(growing[-1]) + shift_ns if growing else newest
        news = CaptureNews(
            segments=tuple(self._segments),
            started=self._said,
            last_frame_ns=newest,
            fps=float(self.camera.fps),
        )
        self._segments, self._said = [], None
        watch(news)


@dataclass(frozen=True)
class Copy:
    """A claimed segment on the disk: its description, and which frames of the camera it shows."""

    segment: Segment
    shown: tuple[int, ...]
