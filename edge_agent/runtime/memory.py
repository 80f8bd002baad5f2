"""What an agent keeps in ``state/{agent}/`` across restarts: messages seen or sent, commands answered."""

import json
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.base import Message, PayloadError, validate
from schemas.booking import Booking, ScheduleSync
from schemas.commands import Answer
from schemas.receipt import Receipt
from schemas.recording import FINAL_STATES, MergeStage, Recording
from schemas.registry import BOOKING, SCHEDULE_SYNC, find
from schemas.topics import Address

log = logging.getLogger(__name__)

ANSWERED_FOR_NS = 24 * 3600 * 1_000_000_000
MAX_ANSWERED = 20_000
LAST_SEEN = (BOOKING, SCHEDULE_SYNC)
"""Topics of the bridge that every agent remembers too: it records by them before it hears of anybody."""


def write_atomic(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace a file: temporary name, write, fsync, rename, fsync of the folder (the last two when durable).

    Raises:
        OSError: the disk will not; the old file is whole.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename in a folder last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def must_last(message: Message) -> bool:
    """Whether what is remembered has to outlive a power cut the moment it is said.

    Recording depends on bookings and their marker; a final state, an account and a fixed number of slots are
    never taken back.
    All else comes again from the disk's inventory or from the other agents.
    """
    match message:
        case Booking() | ScheduleSync() | Receipt():
            return True
        case Recording():
            return message.state in FINAL_STATES
        case MergeStage():
            return message.status == "succeeded"
        case _:
            return False


class Remembered:
    """Messages by address, a small JSON file each; those that `must_last` are fsynced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Address[Any], Message] = {}
        self._unkept: dict[Address[Any], Message | None] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[Address[Any], Message]:
        """Everything kept. A file that cannot be read is left out and named in the log."""
        found: dict[Address[Any], Message] = {}
        for path in sorted(self._folder.glob("*.json")):
            address = find(path.stem.replace("+", "/"))
            if address is None:
                continue
            try:
                found[address] = validate(address.topic.model, json.loads(path.read_bytes()))
            except (OSError, ValueError, PayloadError) as error:
                log.warning("remembered %s cannot be read: %s", path.name, error)
        self._known = dict(found)
        return found

    def keep(self, address: Address[Any], message: Message | None) -> None:
        """Keep a message, or forget it; one that is kept already costs nothing.

        A full disk is logged; the agent goes on without the memory, and `retry` tries again.
        """
        if message is not None and self._known.get(address) == message:
            self._unkept.pop(address, None)
            return
        path = self._folder / (address.path.replace("/", "+") + ".json")
        try:
            if message is None:
                path.unlink(missing_ok=True)
            else:
                body = json.dumps(message.body(), separators=(",", ":")).encode()
                write_atomic(path, body, durable=must_last(message))
        except OSError as error:
            if address not in self._unkept:
                log.error("cannot remember %s: %s", address.path, error)  # noqa: TRY400 - the disk's fault
            self._unkept[address] = message
            return
        self._unkept.pop(address, None)
        if message is None:
            self._known.pop(address, None)
        else:
            self._known[address] = message

    def retry(self) -> None:
        """Try again what the disk would not take; a final state that was said must not be forgotten."""
        for address, message in list(self._unkept.items()):
            self.keep(address, message)
            if address in self._unkept:
                return


class Answered:
    """Answers by command id for 24 hours, so that a repeated id gets the first answer and does nothing."""

    def __init__(self, path: Path, now_ns: int) -> None:
        self._path = path
        self._answers: dict[str, tuple[int, str, Answer]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._load(now_ns)

    def _load(self, now_ns: int) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            log.error("answered commands cannot be read: %s", error)  # noqa: TRY400 - the disk's fault
            return
        for line in lines[-MAX_ANSWERED:]:
            try:
                entry: Mapping[str, Any] = json.loads(line)
                at_ns = int(entry["at_ns"])
                answer = Answer.model_validate(entry["answer"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line may be torn by a kill
            if now_ns - at_ns < ANSWERED_FOR_NS:
                self._answers[answer.id] = (at_ns, str(entry["name"]), answer)
        if len(self._answers) == len(lines):
            return
        try:
            self._rewrite()
        except OSError as error:  # a full disk does not keep an agent from starting
            log.error("answered commands cannot be tidied: %s", error)  # noqa: TRY400 - the disk's fault

    def _rewrite(self) -> None:
        lines = [self._line(*entry) for entry in self._answers.values()]
        write_atomic(self._path, "".join(lines).encode(), durable=True)

    @staticmethod
    def _line(at_ns: int, name: str, answer: Answer) -> str:
        return json.dumps({"at_ns": at_ns, "name": name, "answer": answer.body()}) + "\n"

    def get(self, command_id: str) -> Answer | None:
        """The first answer to that id, when there is one."""
        found = self._answers.get(command_id)
        return found[2] if found else None

    def add(self, name: str, answer: Answer, now_ns: int) -> None:
        """Keep an answer durably (wall nanoseconds). A full disk is logged."""
        self._answers[answer.id] = (now_ns, name, answer)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(self._line(now_ns, name, answer))
                file.flush()
                os.fsync(file.fileno())
            if len(self._answers) > 2 * MAX_ANSWERED:
                keep = list(self._answers)[-MAX_ANSWERED:]
                self._answers = {key: self._answers[key] for key in keep}
                self._rewrite()
        except OSError as error:
            log.error("cannot remember an answer: %s", error)  # noqa: TRY400 - the disk's fault
