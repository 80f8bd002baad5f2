"""The journal: what it holds replays to the same bytes, and a full disk stops no agent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.agent import Asked, Changed, Done, Event, Started, World
from edge_agent.core.effects import DeleteMedia
from edge_agent.runtime import journal as module
from edge_agent.runtime.journal import KEEP_FILES, Journal, replay
from schemas.commands import BookArgs
from schemas.registry import BOOKING
from tests.runtime.toys import NOON, Ear, Running, booking, endpoint, eventually, stamp, toy

AGENT = toy("bridge", at_start=(DeleteMedia("d", "b1", ("plan",)),))


def written(folder: Path, events: list[Event], agent: Any = AGENT) -> list[Path]:
    """A journal of these events as the host writes it; its files."""
    journal = Journal(folder)
    state = agent.initial(None)
    journal.begin(state)
    for number, event in enumerate(events):
        when = stamp(number, number)
        state, acts = agent.decide(state, event, when, None)
        journal.record(when, event, acts, state)
    journal.close()
    return sorted(folder.glob("journal-*.jsonl"))


def some_events(count: int = 20) -> list[Event]:
    secret = BookArgs(start=NOON, end=NOON, title="Ann's birthday", contacts=("ann@club.example",))
    changes: list[Event] = [Changed(BOOKING.at(id=f"b{n}"), booking(n + 1)) for n in range(count)]
    return [
        Started(None, {}),
        World({BOOKING.at(id="b1"): booking()}),
        *changes,
        Asked("booking", "book", "c1", secret),
        Done("d", None),
        Changed(BOOKING.at(id="b1"), None),
    ]


def test_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    [path] = written(tmp_path, some_events())
    lines = list(replay(path, AGENT, None))
    assert len(lines) == len(some_events())
    assert [now for _, _, now in lines] == [before for _, before, _ in lines]


def test_replay_tells_an_agent_that_decides_otherwise(tmp_path: Path) -> None:
    [path] = written(tmp_path, some_events())
    other = toy("bridge", deciding=lambda state, *_rest: (state, ()))
    assert [number for number, before, now in replay(path, other, None) if before != now] == [2, 24]


def test_personal_fields_are_in_no_file(tmp_path: Path) -> None:
    [path] = written(tmp_path, some_events())
    text = path.read_text()
    assert '"BookArgs' in text or "BookArgs" in text
    assert "Ann" not in text
    assert "club.example" not in text


def test_each_file_begins_with_the_state_and_replays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROTATE_BYTES", 3000)
    files = written(tmp_path, some_events())
    assert len(files) > 2
    count = 0
    for path in files:
        assert "state" in json.loads(path.read_text().splitlines()[0])
        for _, before, now in replay(path, AGENT, None):
            assert before == now
            count += 1
    assert count == len(some_events())


def test_large_state_does_not_begin_a_file_with_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROTATE_BYTES", 10_000)
    large: Event = World({BOOKING.at(id=f"b{n}"): booking() for n in range(50)})
    files = written(tmp_path, [large, *(Done(f"k{n}", None) for n in range(10))])
    assert len(files) == 2


def test_oldest_files_go_by_number_and_by_age(tmp_path: Path) -> None:
    for _ in range(KEEP_FILES + 3):
        journal = Journal(tmp_path)
        journal.begin({}, NOON.timestamp())
        journal.close()
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == [f"journal-{n:06d}.jsonl" for n in range(4, KEEP_FILES + 4)]
    old = NOON.timestamp() - 8 * 86_400
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    journal = Journal(tmp_path, keep_days=7)
    journal.begin({}, NOON.timestamp())
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"journal-{KEEP_FILES + 4:06d}.jsonl"]


def test_file_begins_anew_each_day(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({})
    for hour in range(50):
        journal.record(stamp(hour, hour * 3600.0), Done("k", None), (), {})
    journal.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_torn_last_line_is_no_event(tmp_path: Path) -> None:
    [path] = written(tmp_path, some_events())
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert len(list(replay(path, AGENT, None))) == len(some_events()) - 1


def test_file_without_a_snapshot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="not a snapshot"):
        list(replay(tmp_path / "x.jsonl", AGENT, None))


def test_full_disk_stops_the_journal_not_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_AFTER", 5)
    journal = Journal(tmp_path)
    journal.begin({})
    assert journal._file is not None
    journal._file.close()
    journal._file = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - the journal closes it
    for number in range(7):
        journal.record(stamp(number, number), Done(f"k{number}", None), (), {"n": number})
    journal.close()
    assert journal.dropped == 5
    second = (tmp_path / "journal-000002.jsonl").read_text().splitlines()
    assert json.loads(second[0])["state"]["i"] == [["n", 4]]
    assert len(second) == 3


def test_value_without_a_place_stops_the_journal_not_the_agent(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({})
    journal.record(stamp(), Done("k", object()), (), {})
    journal.record(stamp(), Done("k", "\ud800"), (), {})
    journal.close()
    assert journal.dropped == 2


def test_hosts_journal_replays(broker: Any, bridge: Ear, ear: Ear, tmp_path: Path) -> None:
    agent = toy()
    with Running(agent, endpoint(broker, "merger"), tmp_path / "state") as toys:
        ear.until(lambda: "agent/merger/availability" in ear.retained())
        for rev in range(1, 6):
            bridge.say(BOOKING.at(id="b1"), booking(rev))
        eventually(lambda: any(stage.rev == 5 for stage in toys.state["stages"].values()))
        ear.say_raw("cmd/merger/log_level", b'{"args":{"level":"warning"}}')
        ear.until(lambda: bool(ear.payloads("res/merger/log_level")))
    [path] = (tmp_path / "state" / "journal").iterdir()
    lines = list(replay(path, agent, None))
    assert len(lines) == 8  # start, world, five bookings, one command
    assert all(before == now for _, before, now in lines)
