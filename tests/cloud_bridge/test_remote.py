"""Commands from afar: sent to their agent or obeyed here, answered once, over any restart."""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from cloud_bridge.orders import booking_id_for
from cloud_bridge.stores import StoreError
from edge_agent.core.agent import Changed, Tick
from edge_agent.core.effects import KeepSeen
from schemas.base import utc_text
from schemas.commands import Answer, Command
from schemas.registry import ANSWER, COMMAND
from tests.cloud_bridge.made import at
from tests.cloud_bridge.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    rig.poll(0)
    yield rig
    rig.close()


def order(rig: Rig, target: str, name: str, command_id: str = "c1", **more: Any) -> None:
    rig.store.order_command({"id": command_id, "target": target, "name": name, "by": "olga", **more})
    rig.poll()


def given(rig: Rig, command_id: str = "c1") -> Mapping[str, JsonValue] | None:
    """The answer as the store has it."""
    found = rig.store._db.row("SELECT answer FROM device_commands WHERE id = ?", (command_id,))
    return json.loads(found["answer"]) if found is not None and found["answer"] else None


def status(rig: Rig, command_id: str = "c1") -> JsonValue:
    answer = given(rig, command_id)
    return answer["status"] if answer is not None else None


def answered(rig: Rig, agent: str, name: str, command_id: str = "c1") -> None:
    rig.feed(Changed(ANSWER.at(agent=agent, name=name), Answer(id=command_id, status="ok", message="done")))


def test_a_command_is_sent_and_the_agents_answer_goes_back(rig: Rig) -> None:
    deadline = utc_text(at(5))
    order(rig, "camera_left", "restart", deadline=deadline)
    (said,) = rig.said
    assert said.address == COMMAND.at(target="camera_left", name="restart")
    assert said.message == Command(id="c1", deadline=at(5))
    assert given(rig) is None
    answered(rig, "camera_left", "restart")
    assert given(rig) == {"id": "c1", "status": "ok", "message": "done", "data": {}}
    rig.poll()
    assert (len(rig.said), rig.state.commands) == (1, {})
    answered(rig, "camera_left", "restart")
    assert rig.alarms() == set()


def test_arguments_go_with_it(rig: Rig) -> None:
    order(rig, "uploader", "log_level", args={"level": "debug"})
    (said,) = rig.said
    assert isinstance(said.message, Command)
    assert said.message.args == {"level": "debug"}


@pytest.mark.parametrize(
    ("target", "name", "more", "words"),
    [
        ("camera_left", "dance", {}, "camera_left knows no command 'dance'"),
        ("toaster", "log_level", {"args": {"level": "debug"}}, "toaster: expected one of camera_left"),
        ("uploader", "log_level", {"args": {"level": "loud"}}, "level: "),
        ("uploader", "log_level", {}, "level: "),
        ("booking", "cut", {"args": {"last_s": -1}}, "last_s: "),
        ("booking", "extend", {"args": {"id": "no such", "to": "soon"}}, "id: "),
        ("booking", "cancel", {"args": {"id": "b9"}}, "there is no booking b9"),
        ("camera_left", "restart", {"deadline": "tomorrow"}, "Invalid isoformat"),
        ("camera_left", "restart", {"deadline": "9999-12-31T00:00:00Z"}, "a year from 1970 to 2199"),
        ("../../x", "restart", {}, "knows no command"),
    ],
)
def test_what_makes_no_sense_is_rejected_in_one_line_and_not_sent(
    rig: Rig, target: str, name: str, more: dict[str, JsonValue], words: str
) -> None:
    order(rig, target, name, "c1", **more)
    found = given(rig)
    assert found is not None
    assert (found["status"], words in str(found["message"])) == ("rejected", True), found
    assert "\n" not in str(found["message"])
    assert rig.said == []


def test_a_command_too_late_is_not_sent(rig: Rig) -> None:
    order(rig, "camera_left", "restart", deadline=utc_text(at(-1)))
    assert (status(rig), rig.said) == ("expired", [])


@pytest.mark.parametrize(("deadline", "minutes"), [(None, 1.5), (at(30), 30.7)])
def test_no_answer_is_an_answer_in_the_end(rig: Rig, deadline: object, minutes: float) -> None:
    order(rig, "merger", "log_level", args={"level": "info"}, deadline=utc_text(at(30)) if deadline else None)
    rig.feed(Tick("poll"), minutes - 0.8)
    assert status(rig) is None
    rig.feed(Tick("answer:c1"), minutes + 0.2)
    found = given(rig)
    assert found is not None
    assert (found["status"], found["message"]) == ("error", "merger gave no answer")
    answered(rig, "merger", "log_level")
    rig.poll()
    assert status(rig) == "error"


def test_a_command_for_the_bridge_is_obeyed_here_and_never_on_the_bus(rig: Rig) -> None:
    order(rig, "booking", "start", args={"minutes": 10})
    made = booking_id_for("c1")
    assert (status(rig), rig.said) == ("ok", [])
    assert set(rig.state.bookings) == {made}
    args: dict[str, JsonValue] = {
        "id": "b1",
        "start": utc_text(at(60)),
        "end": utc_text(at(90)),
        "title": "Anna",
    }
    order(rig, "booking", "book", "c2", args=args)
    assert status(rig, "c2") == "ok"
    kept = rig.store.booking("b1")
    assert kept is not None
    assert kept.title == "Anna"
    order(rig, "booking", "stop", "c3")
    assert status(rig, "c3") == "ok"
    assert rig.state.bookings[made].to < at(10)


def test_a_command_is_obeyed_once_although_the_bridge_is_killed(rig: Rig) -> None:
    def no_answers(name: str, values: tuple[object, ...]) -> None:
        if name == "answer_command":
            raise StoreError("transient", "no route")

    rig.faulty.before = no_answers
    order(rig, "booking", "start", args={"minutes": 10})
    order(rig, "booking", "stop", "c2")
    order(rig, "camera_left", "restart", "c3")
    assert (status(rig), status(rig, "c2"), len(rig.said)) == (None, None, 1)
    made = rig.state.bookings[booking_id_for("c1")]
    rig.kill()
    assert len(rig.said) == 2  # agents know the ids they have answered
    answered(rig, "camera_left", "restart", "c3")
    rig.kill()
    rig.poll()
    assert len(rig.said) == 2
    rig.faulty.before = None
    rig.poll()
    rig.poll()
    assert [status(rig, one) for one in ("c1", "c2", "c3")] == ["ok", "ok", "ok"]
    assert rig.state.bookings[booking_id_for("c1")].to == made.to
    assert len(rig.store.poll(0).rows) == 1


def test_a_command_is_kept_with_the_cursor_that_passed_it(rig: Rig) -> None:
    order(rig, "camera_left", "restart")
    kept = [end for end in rig.ended if end.key.startswith("seen:")]
    assert kept
    found = rig.effects.inventory()
    assert [command.id for command in found.commands] == ["c1"]
    assert found.cursor == rig.state.cursor
    assert KeepSeen("k", 1, True).commands == ()


def test_while_the_store_is_away_answers_wait(rig: Rig) -> None:
    order(rig, "camera_left", "restart")
    rig.away(gone=True)
    answered(rig, "camera_left", "restart")
    rig.kill()
    assert len(rig.said) == 1
    rig.away(gone=False)
    rig.poll()
    assert status(rig) == "ok"
