"""What the host decides, without any I/O."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.agent import Agent, Asked, Done, Started, World
from edge_agent.core.effects import DeleteMedia, PollStore
from edge_agent.runtime.core import HostCore, Identity, Turn
from schemas.agent import AgentStatus
from schemas.base import Message
from schemas.camera import CameraStatus
from schemas.commands import NoArgs
from schemas.recording import MergeStage
from schemas.registry import AGENT_STATUS, CAMERA_STATUS, MERGE
from schemas.topics import Address
from tests.runtime.toys import stamp, toy

CAMERA = CAMERA_STATUS.at(cam="left")
ME = Identity("s1", 7, "test")


def viewing(views: dict[Address[Any], Message], *, hurried: bool = False, name: str = "camera_left") -> Any:
    """An agent whose view is whatever the test put into ``views``; each event makes a new state."""
    agent: Agent[Any, Any] = Agent(
        name=name,
        subscribes=(),
        initial=lambda _settings: object(),
        decide=lambda _state, _event, _stamp, _settings: (object(), ()),
        retained=lambda _state: dict(views),
        wakes=lambda _state: {},
        hurried=lambda _state: hurried,
    )
    return HostCore(agent, None, ME)


def published(turn: Turn) -> dict[str, Message | None]:
    return {address.path: message for address, message in turn.publish}


@pytest.mark.parametrize(("hurried", "period_s"), [(False, 60), (True, 10)])
def test_volatile_fields_alone_wait_for_their_period(hurried: bool, period_s: int) -> None:
    views: dict[Address[Any], Message] = {CAMERA: CameraStatus(state="online", fps=30.0)}
    core = viewing(views, hurried=hurried)
    assert CAMERA.path in published(core.connected({}, {}, stamp(mono_s=0)))
    for second in range(1, period_s):
        views[CAMERA] = CameraStatus(state="online", fps=30.0 + second)
        assert published(core.feed(Done("x", None), stamp(mono_s=second))) == {}
    assert core.next_wake_ns() == period_s * 10**9
    told = published(core.refresh(stamp(mono_s=period_s)))
    assert told == {CAMERA.path: views[CAMERA]}
    assert published(core.refresh(stamp(mono_s=2 * period_s))) == {}


def test_change_takes_the_volatile_fields_along_and_begins_a_new_period() -> None:
    views: dict[Address[Any], Message] = {CAMERA: CameraStatus(state="online", fps=30.0)}
    core = viewing(views)
    core.connected({}, {}, stamp(mono_s=0))
    views[CAMERA] = CameraStatus(state="stalled", fps=0.0)
    assert published(core.feed(Done("x", None), stamp(mono_s=50))) == {CAMERA.path: views[CAMERA]}
    views[CAMERA] = CameraStatus(state="stalled", fps=1.0)
    assert published(core.feed(Done("x", None), stamp(mono_s=70))) == {}
    assert published(core.refresh(stamp(mono_s=110))) == {CAMERA.path: views[CAMERA]}


def test_volatile_change_taken_back_is_never_published() -> None:
    views: dict[Address[Any], Message] = {CAMERA: CameraStatus(state="online", fps=30.0)}
    core = viewing(views)
    core.connected({}, {}, stamp(mono_s=0))
    views[CAMERA] = CameraStatus(state="online", fps=29.0)
    core.feed(Done("x", None), stamp(mono_s=1))
    views[CAMERA] = CameraStatus(state="online", fps=30.0)
    core.feed(Done("x", None), stamp(mono_s=2))
    assert published(core.refresh(stamp(mono_s=100))) == {}
    assert core.next_wake_ns() is None


def test_status_has_a_heartbeat_of_its_own() -> None:
    status = AGENT_STATUS.at(agent="camera_left")
    core = viewing({status: AgentStatus(state="idle")})
    first = published(core.connected({}, {}, stamp(mono_s=0)))[status.path]
    assert isinstance(first, AgentStatus)
    assert (first.pid, first.heartbeat) == (7, stamp(mono_s=0).wall)
    assert published(core.refresh(stamp(mono_s=59))) == {}
    beat = published(core.refresh(stamp(mono_s=60)))[status.path]
    assert isinstance(beat, AgentStatus)
    assert beat.heartbeat == stamp(mono_s=60).wall


def test_same_objects_are_not_even_compared() -> None:
    compared: list[object] = []

    class Touchy(MergeStage):
        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return False

        __hash__ = None  # type: ignore[assignment]

    views: dict[Address[Any], Message] = {MERGE.at(id=f"b{n}"): Touchy() for n in range(5)}
    core = viewing(views, name="camera_left")
    assert len(core.connected({}, {}, stamp()).publish) == 5 + 2
    compared.clear()
    assert core.feed(Done("x", None), stamp(2)).publish == []
    assert compared == []


Ids = st.sets(st.integers(0, 6))


@given(
    broker=st.dictionaries(st.integers(0, 6), st.integers(0, 3)),
    rounds=st.lists(st.dictionaries(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=5),
)
def test_broker_always_ends_up_holding_the_view(broker: dict[int, int], rounds: list[dict[int, int]]) -> None:
    def stages(revs: dict[int, int]) -> dict[Address[Any], Message]:
        return {MERGE.at(id=f"b{n}"): MergeStage(rev=rev) for n, rev in revs.items()}

    views: dict[Address[Any], Message] = {}
    core = viewing(views, name="merger")
    held: dict[Address[Any], Message] = dict(stages(broker))
    for number, revs in enumerate(rounds):
        views.clear()
        views.update(stages(revs))
        when = stamp(number, number)
        turn = core.connected(held, {}, when) if number == 0 else core.feed(Done("x", None), when)
        addresses = [address for address, _ in turn.publish]
        assert len(addresses) == len(set(addresses))
        for address, message in turn.publish:
            assert held.get(address) != message  # nothing is said twice
            held.pop(address, None)
            if message is not None:
                held[address] = message
        assert {at: m for at, m in held.items() if at.topic is MERGE} == views


def test_nothing_is_published_while_disconnected_and_all_of_it_after() -> None:
    views: dict[Address[Any], Message] = {CAMERA: CameraStatus(state="online")}
    core = viewing(views)
    assert core.feed(Started(None, {}), stamp()).publish == []
    core.connected({}, {}, stamp())
    core.disconnected()
    views[CAMERA] = CameraStatus(state="offline")
    assert core.feed(Done("x", None), stamp()).publish == []
    assert published(core.connected({}, {}, stamp()))[CAMERA.path] == views[CAMERA]


# --- effects and wakes ---


def asking(*effects: Any, lanes: dict[str, int] | None = None) -> HostCore[Any, Any]:
    agent = toy(deciding=lambda state, _e, _s, _c: (state, effects), lanes=lanes or {})
    return HostCore(agent, None, ME)


def test_lane_has_its_width_and_a_key_in_flight_is_not_started_again() -> None:
    work = [DeleteMedia(f"d{n}", f"b{n}", ()) for n in range(4)]
    other = PollStore("poll", 0)
    core = asking(*work, other, lanes={"disk": 2})
    assert [e.key for e in core.feed(World({}), stamp()).start] == ["d0", "d1", "poll"]
    assert core.feed(World({}), stamp()).start == []
    core.agent = asking(lanes={"disk": 2}).agent
    assert [e.key for e in core.feed(Done("d1", None), stamp()).start] == ["d2"]
    assert core.feed(Done("d1", None), stamp()).start == []  # a second end of the same is nothing
    assert [e.key for e in core.feed(Done("d0", None), stamp()).start] == ["d3"]
    assert set(core.in_flight) == {"d2", "d3", "poll"}


def test_waiting_effect_is_replaced_by_the_newer_asking() -> None:
    core = asking(
        DeleteMedia("a", "b1", ()), DeleteMedia("b", "b1", ("old",)), DeleteMedia("b", "b1", ("new",))
    )
    core.feed(World({}), stamp())
    core.agent = asking().agent
    assert core.feed(Done("a", None), stamp()).start == [DeleteMedia("b", "b1", ("new",))]


def test_wake_fires_once_for_its_time() -> None:
    wakes = {"a": 5, "b": 7}
    core = HostCore(toy(wakes=lambda _state: dict(wakes)), None, ME)
    assert core.next_wake_ns() == 5
    assert core.due(4) == []
    assert core.due(7) == ["a", "b"]
    assert core.due(8) == []
    assert core.next_wake_ns() is None
    wakes["a"] = 9
    core.state = {**core.state}
    assert (core.due(8), core.next_wake_ns(), core.due(9)) == ([], 9, ["a"])


# --- faults ---


def test_fault_in_decide_is_alarmed_once_answered_and_the_state_stays() -> None:
    def faulty(state: Any, event: object, _stamp: object, _settings: object) -> Any:
        if isinstance(event, Asked):
            raise KeyError("x")
        return state, ()

    core: HostCore[Any, Any] = HostCore(toy(deciding=faulty), None, ME)
    core.connected({}, {}, stamp(1, 1))
    before = core.state
    turn = core.feed(Asked("merger", "log_level", "c1", NoArgs()), stamp(2, 2))
    assert [(reply.command_id, reply.answer.status) for reply in turn.replies] == [("c1", "error")]
    assert "alarm/merger/agent_fault" in published(turn)
    assert core.state is before
    again = core.feed(Asked("merger", "log_level", "c2", NoArgs()), stamp(3, 3))
    assert (core.faults, published(again)) == (2, {})  # it stands since the first


def test_fault_on_start_is_raised_and_forgets_nothing() -> None:
    def faulty(*_args: object) -> Any:
        raise ValueError("disk")

    core: HostCore[Any, Any] = HostCore(toy(deciding=faulty), None, ME)
    core.adopt_remembered({MERGE.at(id="b1"): MergeStage()})
    with pytest.raises(ValueError, match="disk"):
        core.feed(Started(None, {}), stamp())


def test_remembered_are_written_when_they_change_and_forgotten_when_unwanted() -> None:
    one, two = MERGE.at(id="b1"), MERGE.at(id="b2")
    views: dict[Address[Any], Message] = {one: MergeStage(rev=1)}
    core = viewing(views, name="merger")
    core.adopt_remembered({one: MergeStage(rev=1), two: MergeStage(rev=2)})
    assert core.feed(Started(None, {}), stamp()).remember == [(two, None)]
    views[one] = MergeStage(rev=2)
    assert core.feed(Done("x", None), stamp()).remember == [(one, views[one])]
    views.clear()
    assert core.feed(Done("x", None), stamp()).remember == [(one, None)]
    assert core.feed(Done("x", None), stamp()).remember == []
