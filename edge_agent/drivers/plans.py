"""The merger's I/O: slot plans as JSON lines in ``recordings/{id}/plan/plans.jsonl``, only ever appended."""

import errno
import os
from pathlib import Path

from pydantic import ValidationError

from edge_agent.core.agent import Effect, FailureKind
from edge_agent.core.effects import DeleteMedia, MergerInventory, WritePlans
from edge_agent.core.errors import EffectFailed
from edge_agent.drivers.disk import PathRefused, folder_beneath, sync_folder
from edge_agent.drivers.media import delete_media
from schemas.work import SlotPlan

FILE = "plans.jsonl"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class MergerDrivers:
    """Runs the merger's effects, one at a time (its lane has width 1)."""

    def __init__(self, root: Path) -> None:
        """``root`` is storage.root."""
        self._root = root
        self._known: dict[str, PlanFile] = {}

    def inventory(self) -> MergerInventory:
        """Reads every plan file; a torn last line counts as never written."""
        plans: dict[str, tuple[SlotPlan, ...]] = {}
        for path in sorted(self._root.glob(f"recordings/*/plan/{FILE}")):
            if path.is_symlink() or path.parent.is_symlink():
                continue
            found = PlanFile(path)
            plans[path.parent.parent.name] = tuple(found.plans[index] for index in sorted(found.plans))
        return MergerInventory(plans)

    def run(self, effect: Effect) -> object:
        """One effect.

        Raises:
            EffectFailed: ``full``, ``transient`` when the disk does not take it, ``permanent`` for a link
                in the way.
        """
        match effect:
            case WritePlans():
                return self._write(effect)
            case DeleteMedia():
                self._known.pop(effect.booking_id, None)
                delete_media(self._root, effect.booking_id, effect.parts)
                return None
            case _:
                raise EffectFailed("bug", f"the merger has no driver for {type(effect).__name__}")

    def close(self) -> None:
        """Nothing is kept open."""

    def _write(self, effect: WritePlans) -> tuple[SlotPlan, ...]:
        try:
            folder = folder_beneath(self._root, f"recordings/{effect.booking_id}/plan")
            held = self._known.get(effect.booking_id)
            if held is None or not held.fits():
                held = self._known[effect.booking_id] = PlanFile(folder / FILE)
            held.add(effect.plans)
        except PathRefused as error:
            raise EffectFailed("permanent", str(error)) from error
        except OSError as error:
            self._known.pop(effect.booking_id, None)
            kind: FailureKind = "full" if error.errno in FULL else "transient"
            raise EffectFailed(
                kind, f"writing slot plans of {effect.booking_id}: {error.strerror}"
            ) from error
        return tuple(held.plans[plan.index] for plan in effect.plans)


class PlanFile:
    """One plan file and what it holds.

    Attributes:
        plans: by index; of two lines with the same index the first counts.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file, if there is one.

        Raises:
            OSError: it cannot be read, or is a link.
        """
        self.plans: dict[int, SlotPlan] = {}
        self._path = path
        self._whole_bytes = 0
        self._bytes = 0
        self._read()

    def fits(self) -> bool:
        """Whether the file on disk still has the size known here."""
        try:
            return self._path.stat(follow_symlinks=False).st_size == self._bytes
        except FileNotFoundError:
            return self._bytes == 0

    def _read(self) -> None:
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with os.fdopen(file, "rb") as reader:
            content = reader.read()
        self._bytes = len(content)
        at = 0
        for line in content.splitlines(keepends=True):
            at += len(line)
            plan = _plan(line)
            if plan is not None:
                self.plans.setdefault(plan.index, plan)
                self._whole_bytes = at

    def add(self, plans: tuple[SlotPlan, ...]) -> None:
        """Append the plans whose indexes are not there yet, and fsync. A torn end is cut off first.

        Raises:
            OSError: nothing of these plans counts then.
        """
        fresh = {plan.index: plan for plan in plans if plan.index not in self.plans}
        if not fresh:
            return
        lines = b"".join(plan.model_dump_json().encode() + b"\n" for plan in fresh.values())
        made = not self._path.exists()
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o640)
        try:
            os.ftruncate(file, self._whole_bytes)
            _write_all(file, lines, self._whole_bytes)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, self._whole_bytes)
            raise
        finally:
            os.close(file)
        if made:
            sync_folder(self._path.parent)
        self.plans.update(fresh)
        self._whole_bytes += len(lines)
        self._bytes = self._whole_bytes


def _write_all(file: int, content: bytes, at: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(file, content[done:], at + done)


def _plan(line: bytes) -> SlotPlan | None:
    """The plan in a line, None when the line is torn or no plan."""
    if not line.endswith(b"\n"):
        return None
    try:
        return SlotPlan.model_validate_json(line)
    except ValidationError:
        return None
