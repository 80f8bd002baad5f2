"""Journals of every real agent, from a simulated device with faults, replay to the same bytes (Show 11)."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.agent import Agent, Event, Stamp, Started
from edge_agent.runtime.core import HostCore, Turn
from edge_agent.runtime.journal import Journal, replay
from edge_agent.sim import run

AGENTS = ("camera_left", "camera_right", "merger", "processor", "uploader", "health", "bridge")


class Recorder:
    """Keeps a journal for every run of every agent, as the host does."""

    def __init__(self, folder: Path) -> None:
        self.runs: list[tuple[Path, Agent[Any, Any], Any]] = []
        self.dropped = 0
        self._folder = folder
        self._journals: dict[int, Journal] = {}
        self._kept: list[HostCore[Any, Any]] = []  # so that no id is used twice

    def begin(self, core: HostCore[Any, Any]) -> None:
        self._kept.append(core)
        folder = self._folder / f"{core.agent.name}-{len(self._kept)}"
        self._journals[id(core)] = Journal(folder)
        self._journals[id(core)].begin(core.state)
        self.runs.append((folder / "journal-000001.jsonl", core.agent, core.settings))

    def record(self, core: HostCore[Any, Any], event: Event, stamp: Stamp, turn: Turn) -> None:
        self._journals[id(core)].record(stamp, event, turn.acts, core.state)

    def close(self) -> None:
        for journal in self._journals.values():
            journal.close()
            self.dropped += journal.dropped


@pytest.mark.slow
def test_journals_of_all_agents_replay_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, feed = Recorder(tmp_path), HostCore.feed

    def recorded(core: HostCore[Any, Any], event: Event, stamp: Stamp) -> Turn:
        if isinstance(event, Started):
            recorder.begin(core)
        turn = feed(core, event, stamp)
        recorder.record(core, event, stamp, turn)
        return turn

    monkeypatch.setattr(HostCore, "feed", recorded)
    report = run(4, 0.1)
    recorder.close()
    assert report.ok
    assert recorder.dropped == 0
    events: Counter[str] = Counter()
    acts: Counter[str] = Counter()
    for path, agent, settings in recorder.runs:
        for number, before, now in replay(path, agent, settings):
            assert before == now, f"{path.parent.name}:{number}"
            events[agent.name] += 1
            acts[agent.name] += not before.endswith('"a":[]}')
    assert set(events) == set(AGENTS)
    assert [name for name in AGENTS if not acts[name]] == []
    assert len(recorder.runs) > len(AGENTS)  # some were killed and began again
