"""Answers of an agent by command id, on the simulated disk."""

from typing import cast

from edge_agent.core.errors import EffectFailed
from edge_agent.sim.disk import Disk
from schemas.commands import Answer


class Answered:
    """See `edge_agent.runtime.desk.Answers`; on a full disk the answer is known to this run alone."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._answers = dict(cast("dict[str, Answer]", disk.read(path) or {}))

    def get(self, command_id: str) -> Answer | None:
        """The first answer to that id, when there is one."""
        return self._answers.get(command_id)

    def add(self, name: str, answer: Answer, now_ns: int) -> None:
        """Keep an answer durably."""
        del name, now_ns
        self._answers[answer.id] = answer
        try:
            self._disk.write(self._path, dict(self._answers), durable=True)
        except EffectFailed:
            return
