"""The journal: every event of an agent with the effects it gave, for diagnosis and replay.

Never used for recovery. A file begins with a snapshot of the state; at 32 MB the next file begins.
One line per event: ``{"s": stamp, "e": event, "a": [acts]}``.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from edge_agent.core.agent import SECOND_NS, Acts, Agent, Event, Stamp
from edge_agent.runtime.codec import dumps, unpack

ROTATE_BYTES = 32_000_000
KEEP_FILES = 8
DAY_S = 86_400
RETRY_AFTER = 1000

log = logging.getLogger(__name__)


class Journal:
    """Writes journal files ``journal-{n:06d}.jsonl`` into a folder.

    A new file begins with 32 MB, each day, and at every start; files beyond eight, or older than
    ``keep_days``, go. What will not be written (a full disk, a value without a place in a journal) stops
    the journal, never the agent: `dropped` counts, and a new file is tried after a while.
    """

    def __init__(self, folder: Path, keep_days: int = 7) -> None:
        self._folder = folder
        self._keep_s = keep_days * DAY_S
        self._file: TextIO | None = None
        self._bytes = 0
        self._began_ns: int | None = None
        self.dropped = 0

    def begin(self, state: object, now_s: float | None = None) -> None:
        """Start a new file with a snapshot of the state; old files go, by age when the wall time is given."""
        self.close()
        self._bytes, self._began_ns = 0, None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files = sorted(self._folder.glob("journal-*.jsonl"))
            number = int(files[-1].stem.split("-")[1]) + 1 if files else 1
            self._remove_old(files, now_s)
            self._file = (self._folder / f"journal-{number:06d}.jsonl").open("w", encoding="utf-8")
        except OSError as error:
            self._stop(error)
            return
        self._write(lambda: '{"state":' + dumps(state) + "}")
        self._bytes = 0  # a large state must not make every event begin a file

    def _remove_old(self, files: list[Path], now_s: float | None) -> None:
        surplus = files[: max(0, len(files) - KEEP_FILES + 1)]
        for path in files:
            aged = now_s is not None and now_s - path.stat().st_mtime > self._keep_s
            if aged or path in surplus:
                path.unlink(missing_ok=True)

    def record(self, stamp: Stamp, event: Event, acts: Acts, state: object) -> None:
        """Write one event; ``state`` is the one after it, with which a new file begins when it is time."""
        if self._file is None:
            self.dropped += 1
            if self.dropped % RETRY_AFTER == 0:
                self.begin(state, stamp.wall.timestamp())
            return
        if self._began_ns is None:
            self._began_ns = stamp.mono_ns
        self._write(lambda: line_of(stamp, event, acts))
        if self._bytes > ROTATE_BYTES or stamp.mono_ns - self._began_ns > DAY_S * SECOND_NS:
            self.begin(state, stamp.wall.timestamp())

    def _write(self, line: Callable[[], str]) -> None:
        if self._file is None:
            return
        try:
            text = line() + "\n"
            self._file.write(text)
            self._file.flush()
            self._bytes += len(text)
        except (OSError, TypeError, ValueError, RecursionError) as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        log.error("the journal stops for a while: %s: %s", type(error).__name__, error)
        self.dropped += 1
        self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written has been counted
                file.close()


def line_of(stamp: Stamp, event: Event, acts: Acts) -> str:
    """The journal's line for one event, without newline."""
    return f'{{"s":{dumps(stamp)},"e":{dumps(event)},"a":{dumps(acts)}}}'


def replay(path: Path, agent: Agent[Any, Any], settings: object) -> Iterator[tuple[int, str, str]]:
    """Run the events of a journal file through ``decide`` again.

    Yields:
        line number, the line as written, the line as it comes out now; equal when nothing differs.

    Raises:
        ValueError: the file does not begin with a snapshot.
    """
    with path.open(encoding="utf-8") as lines:
        head = json.loads(next(lines, "{}"))
        if "state" not in head:
            raise ValueError(f"{path.name}: the first line is not a snapshot of a state")
        state = unpack(head["state"])
        for number, line in enumerate(lines, start=2):
            if not line.endswith("\n"):
                return  # torn by a kill: never acted upon
            stamp, event = (unpack(json.loads(line)[part]) for part in ("s", "e"))
            state, acts = agent.decide(state, event, stamp, settings)
            yield number, line.rstrip("\n"), line_of(stamp, event, acts)
