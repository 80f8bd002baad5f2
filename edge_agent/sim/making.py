"""Drivers of merger, processor and health: plans, slots, films, receipts on the fake disk."""

from pathlib import PurePosixPath
from random import Random
from typing import Protocol, cast

from edge_agent.core.agent import SECOND_NS, Effect
from edge_agent.core.effects import (
    AppendCamera,
    AppendSlot,
    CloseCamera,
    CloseFilm,
    DeleteMedia,
    Dress,
    FilmFile,
    HealthInventory,
    MakePoster,
    Measure,
    Measured,
    MergerInventory,
    Prepare,
    Prepared,
    PreparedLogo,
    ProcessorInventory,
    Render,
    Rendered,
    SettleFile,
    WritePlans,
    WriteReceipt,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.plans import Shown as Planned
from edge_agent.core.plans import degrade, frames_of, on_rung, sources
from edge_agent.sim.capture import Copy
from edge_agent.sim.disk import Disk
from edge_agent.sim.film import (
    END,
    INTRO,
    Blob,
    Entry,
    Shown,
    SlotFile,
    hash_of,
    is_complete,
    log_of,
    size_of,
)
from edge_agent.sim.loop import MS_NS, Loop
from edge_agent.sim.work import FakeDrivers
from schemas.work import CameraName, SlotPlan

CAMERAS: tuple[CameraName, ...] = ("left", "right")
INTRO_FRAMES = 20
DRESS = "/film/dress.json"


class Device(Protocol):
    """What these drivers need of the device."""

    def deleting(self, who: str, effect: DeleteMedia) -> None:
        """Media are about to go."""
        ...

    def planned(self, booking_id: str, plans: tuple[SlotPlan, ...]) -> None:
        """Plans are on disk."""
        ...

    def lacking(self, path: str) -> None:
        """A planned source is not on the disk."""
        ...

    def clock_synced(self) -> bool:
        """Whether the wall clock is synchronised."""
        ...


class MakingDrivers(FakeDrivers):
    """See `FakeDrivers`; of merger, processor and health, each in its own process."""

    who = ""

    def __init__(self, loop: Loop, disk: Disk, lots: Random, trouble: float, device: Device) -> None:
        super().__init__(loop, disk, lots, trouble)
        self.device = device

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        if not isinstance(effect, DeleteMedia):
            return super().perform(effect)
        self.device.deleting(self.who, effect)
        for part in effect.parts:
            for path in self.disk.below(f"recordings/{effect.booking_id}/{part}/"):
                self.disk.delete(path)
        return None

    def files(self, part: str) -> list[str]:
        """Everything in that folder of any recording."""
        return [path for path in self.disk.below("recordings/") if path.split("/")[2] == part]

    def small(self, path: str, size: int) -> FilmFile:
        """Write a small file once, durably."""
        there = self.disk.read(path)
        if isinstance(there, Blob):
            return _whole(path, there)
        blob = Blob(size, f"{path}.{self.lots.getrandbits(40):x}")
        self.disk.write(path, blob, durable=True)
        return _whole(path, blob)


class HealthDrivers(MakingDrivers):
    """Metrics and receipts."""

    who = "health"

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        match effect:
            case WriteReceipt():
                return self.small(f"recordings/{effect.booking_id}/receipt/receipt.json", 9_000)
            case Measure():
                return self._measured()
            case _:
                return super().perform(effect)

    def inventory(self) -> HealthInventory:
        """See `Drivers`."""
        found = {path.split("/")[1]: size_of(self.disk.read(path)) for path in self.files("receipt")}
        return HealthInventory(found)

    def _measured(self) -> Measured:
        return Measured(
            cpu_pct=10.0,
            load1=0.5,
            temperature_c=50.0,
            throttled=False,
            memory_used_pct=30.0,
            disk_free_bytes=0 if self.disk.full else 200 * 10**9,
            disk_total_bytes=256 * 10**9,
            network_up=True,
            clock_synced=self.device.clock_synced(),
            media_bytes=SECOND_NS,
        )


class PlanDrivers(MakingDrivers):
    """Slot plans."""

    who = "merger"

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        return self.write_plans(effect) if isinstance(effect, WritePlans) else super().perform(effect)

    def inventory(self) -> MergerInventory:
        """See `Drivers`."""
        return MergerInventory({path.split("/")[1]: self.plans(path) for path in self.files("plan")})

    def plans(self, path: str) -> tuple[SlotPlan, ...]:
        """The plans in a file."""
        value = self.disk.read(path)
        return cast("tuple[SlotPlan, ...]", value) if isinstance(value, tuple) else ()

    def write_plans(self, effect: WritePlans) -> tuple[SlotPlan, ...]:
        """Append what is not there, durably; a plan there never changes."""
        path = f"recordings/{effect.booking_id}/plan/plans.jsonl"
        there = {plan.index: plan for plan in self.plans(path)}
        for plan in effect.plans:
            there.setdefault(plan.index, plan)
        kept = tuple(there[index] for index in sorted(there))
        if [plan.index for plan in kept] != list(range(len(kept))):
            raise EffectFailed("bug", f"slot plans of {effect.booking_id} have a hole")
        self.disk.write(path, kept, durable=True, log=True)
        result = tuple(there[plan.index] for plan in effect.plans)
        self.device.planned(effect.booking_id, result)
        return result


class FilmDrivers(MakingDrivers):
    """Slots and films.

    Attributes:
        rotten: share of the segments that no decoder can read, 0 to 1.
    """

    who = "processor"

    def __init__(
        self, loop: Loop, disk: Disk, lots: Random, trouble: float, device: Device, rotten: float
    ) -> None:
        super().__init__(loop, disk, lots, trouble, device)
        self.rotten = rotten

    def perform(self, effect: Effect) -> object:
        """See `FakeDrivers`."""
        match effect:
            case Render():
                return self.render(effect)
            case AppendSlot():
                return self._append(effect)
            case AppendCamera():
                return self._append_camera(effect)
            case CloseFilm() | CloseCamera():
                name = effect.cam if isinstance(effect, CloseCamera) else "film"
                return self._close(_film_path(effect.booking_id, name))
            case SettleFile():
                return self._settle(effect)
            case Prepare():
                return self._prepare(effect)
            case MakePoster():
                return self.small(f"recordings/{effect.booking_id}/film/poster.jpg", 60_000)
            case _:
                return super().perform(effect)

    def latency_ns(self, effect: Effect) -> tuple[int, int]:
        """See `FakeDrivers`; rendering takes a good part of real time."""
        if isinstance(effect, Render):
            frames = effect.plan.frames
            return frames * self.lots.randint(8, 55) * MS_NS, self.lots.randint(0, 20) * MS_NS
        return super().latency_ns(effect)

    # --- slots ---

    def render(self, effect: Render) -> Rendered:
        """A slot as the plan and the rung say, from the sources on the disk."""
        if self.lots.random() < self.trouble / 2:
            raise EffectFailed("transient", "ffmpeg ended with 137")
        plan = on_rung(degrade(effect.plan, effect.bad), effect.rung)
        bad: dict[str, list[str]] = {"left": [], "right": []}
        shown = tuple(self._shown(plan, frame, bad) for frame in frames_of(plan))
        if bad["left"] or bad["right"]:
            raise EffectFailed("input", "a source cannot be decoded", bad)
        path = f"recordings/{effect.booking_id}/film/slot-{effect.plan.index:06d}.mp4"
        size = effect.plan.frames * self.lots.randint(20_000, 90_000)
        name = f"{effect.booking_id}#{effect.plan.index}.{self.lots.getrandbits(40):x}"
        same = not effect.bad and effect.rung in ("full", "no_logos")
        self.disk.write(path, SlotFile(shown, size, name, effect.rung, not same), durable=True)
        return Rendered(path, len(shown), size, 0.1, rung=effect.rung)

    def _shown(self, plan: SlotPlan, frame: Planned, bad: dict[str, list[str]]) -> Shown:
        numbers = {"left": -1, "right": -1}
        for camera, taken in (("left", frame.left), ("right", frame.right)):
            if taken is None:
                continue
            path = sources(plan, "left" if camera == "left" else "right")[taken.source].path
            copy = self.disk.read(path)
            if not isinstance(copy, Copy):
                self.device.lacking(path)
            elif taken.frame < len(copy.shown) and not self._is_rotten(path):
                numbers[camera] = copy.shown[taken.frame]
                continue
            if path not in bad[camera]:
                bad[camera].append(path)
        return Shown(frame.picture, numbers["left"], numbers["right"])

    def _is_rotten(self, path: str) -> bool:
        return self.rotten > 0 and Random(f"{self.loop.seed}/{path}").random() < self.rotten

    # --- films ---

    def _append(self, effect: AppendSlot) -> FilmFile:
        path = _film_path(effect.booking_id, "film")
        log = log_of(self.disk.read(path))
        slots = sum(entry.index >= 0 for entry in log)
        if effect.index == INTRO:
            if not log:
                self._grow(path, log, Entry(INTRO, INTRO_FRAMES * 40_000, effect.path))
            return self.film_file(path)
        if effect.index != slots:
            return self.film_file(path)
        if is_complete(log):
            raise EffectFailed("bug", f"slot {effect.index} cannot follow: the film is complete")
        slot = self.disk.read(effect.path)
        if not isinstance(slot, SlotFile) or self.lots.random() < self.trouble / 8:
            raise EffectFailed("input", "the slot's parameter sets differ")
        if len(slot.frames) != effect.frames:
            raise EffectFailed(
                "bug", f"slot {effect.index} has {len(slot.frames)} frames, not {effect.frames}"
            )
        self._grow(path, log, Entry(effect.index, slot.bytes, slot.print, slot))
        self._drop_covered(effect.booking_id, path)
        return self.film_file(path)

    def _grow(self, path: str, log: tuple[Entry, ...], entry: Entry) -> None:
        grown = (*log, entry)
        self.disk.write(path, grown, durable=False, log=True)

        def synced() -> None:
            value = log_of(self.disk.read(path))
            if (
                self.alive
                and value[: len(grown)] == grown
                and len(log_of(self.disk.durable(path))) < len(grown)
            ):
                self.disk.keep(path, grown)

        self.loop.after(self.lots.randint(20, 1500) * MS_NS, synced)

    def _drop_covered(self, booking_id: str, path: str) -> None:
        durable = [entry.index for entry in log_of(self.disk.durable(path))]
        for index in durable:
            self.disk.delete(f"recordings/{booking_id}/film/slot-{index:06d}.mp4")

    def _append_camera(self, effect: AppendCamera) -> FilmFile:
        path = _film_path(effect.booking_id, effect.cam)
        log = log_of(self.disk.read(path))
        if effect.index != len(log):
            return self.film_file(path)
        copy = self.disk.read(effect.path)
        if not isinstance(copy, Copy):
            self.device.lacking(effect.path)
            raise EffectFailed("input", "no such segment")
        kept = tuple(
            Shown("left" if effect.cam == "left" else "right", frame, frame)
            for frame, time_us in zip(copy.shown, effect.times_us, strict=True)
            if time_us >= 0
        )
        slot = SlotFile(kept, max(1, len(kept) * 20_000), f"{effect.path}", "copy", degraded=False)
        self._grow(path, log, Entry(effect.index, slot.bytes, slot.print, slot))
        return self.film_file(path)

    def _close(self, path: str) -> FilmFile:
        log = log_of(self.disk.read(path))
        if not log:
            raise EffectFailed("input", f"there is no film {path}")
        if not is_complete(log):
            self._grow(path, log, Entry(END, 40_000, f"index:{len(log)}"))
        return self.film_file(path)

    def _settle(self, effect: SettleFile) -> FilmFile:
        path = _film_path(effect.booking_id, effect.name)
        if not is_complete(self.disk.read(path)):
            raise EffectFailed("input", f"{path} is not complete")
        self.disk.sync(path)
        if effect.name == "film":
            self._drop_covered(effect.booking_id, path)
        return self.film_file(path)

    def film_file(self, path: str) -> FilmFile:
        """A growing file as its driver tells of it."""
        value = self.disk.read(path)
        log = log_of(value)
        slots = [entry.slot for entry in log if entry.slot is not None]
        intro = INTRO_FRAMES if log and log[0].index == INTRO else 0
        frames = sum(len(slot.frames) for slot in slots) + intro
        return FilmFile(
            path=path,
            bytes=size_of(value),
            bytes_durable=size_of(self.disk.durable(path)),
            frames=frames,
            slots=len(slots),
            intro_frames=intro,
            complete=is_complete(value),
            sha256=hash_of(value),
            duration_s=float(frames),
            generation=0,
            last=PurePosixPath(slots[-1].print).stem if slots and slots[-1].rung == "copy" else None,
        )

    def inventory(self) -> ProcessorInventory:
        """See `Drivers`."""
        films: dict[str, dict[str, FilmFile]] = {}
        slots: dict[str, dict[int, str]] = {}
        for path in self.files("film"):
            booking_id, stem = path.split("/")[1], path.split("/")[3].partition(".")[0]
            value = self.disk.read(path)
            if isinstance(value, SlotFile):
                slots.setdefault(booking_id, {})[int(stem[5:])] = path
            elif isinstance(value, Blob):
                films.setdefault(booking_id, {})[stem] = _whole(path, value)
            elif isinstance(value, tuple):
                films.setdefault(booking_id, {})[stem] = self.film_file(path)
        return ProcessorInventory(films, slots, self._dresses())

    def _dresses(self) -> dict[str, Dress]:
        found = {
            path.split("/")[1]: self.disk.read(path) for path in self.files("film") if path.endswith(DRESS)
        }
        return {key: dress for key, dress in found.items() if isinstance(dress, Dress)}

    def _prepare(self, effect: Prepare) -> Prepared:
        logos = tuple(
            PreparedLogo(logo.slot, logo.place, f"assets/{logo.sha256}", 10, 10) for logo in effect.logos
        )
        has = effect.intro is not None
        result = Prepared(logos, "assets/intro.mp4" if has else None, INTRO_FRAMES if has else 0, {})
        path = f"recordings/{effect.booking_id}{DRESS}"
        fixed = self.disk.read(path)
        if isinstance(fixed, Dress):
            return fixed.prepared
        if effect.fix:
            self.disk.write(path, Dress(effect.format, result), durable=True)
        return result


def _film_path(booking_id: str, name: str) -> str:
    return f"recordings/{booking_id}/film/{name}.mp4"


def _whole(path: str, blob: Blob) -> FilmFile:
    return FilmFile(path, blob.bytes, blob.bytes, 0, 0, 0, is_complete(blob), hash_of(blob), 0.0, 0)
