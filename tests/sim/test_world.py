from collections.abc import Iterator
from random import Random

import pytest

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.errors import EffectFailed
from edge_agent.core.upload import PART_BYTES
from edge_agent.runtime.bus import Received
from edge_agent.sim.bookings import Ticket
from edge_agent.sim.broker import Broker
from edge_agent.sim.court import Camera, Fault
from edge_agent.sim.device import Device, Mood, Plant
from edge_agent.sim.disk import Disk
from edge_agent.sim.film import END, Entry, composite, hash_of, prints_of, slice_print
from edge_agent.sim.loop import Loop, Violation
from schemas.base import Message
from schemas.recording import MergeStage
from schemas.registry import MERGE
from schemas.topics import Address
from tests.support.recordings import booking


def cuts(log: bool) -> Iterator[object]:
    for seed in range(40):
        disk = Disk(Random(seed))
        disk.write("a", ("one",), durable=True, log=log)
        disk.write("a", ("one", "two", "three"), durable=False, log=log)
        disk.cut()
        yield disk.read("a")


def test_a_power_cut_leaves_the_old_or_the_new_file() -> None:
    assert set(cuts(log=False)) == {("one",), ("one", "two", "three")}


def test_a_power_cut_tears_what_was_appended_but_nothing_fsynced() -> None:
    assert set(cuts(log=True)) == {("one",), ("one", "two"), ("one", "two", "three")}


def test_a_full_disk_takes_nothing_and_loses_nothing() -> None:
    disk = Disk(Random(0))
    disk.write("a", "old", durable=True)
    disk.full = True
    with pytest.raises(EffectFailed):
        disk.write("a", "new", durable=True)
    assert disk.read("a") == "old"


class Listener:
    name = "listener"

    def __init__(self) -> None:
        self.got: list[tuple[str, Message | None]] = []
        self.gone = False

    def reads(self, address: Address[Message]) -> bool:
        return address.topic is MERGE

    def heard(self, address: Address[Message], message: Message | None) -> None:
        self.got.append((address.path, message))

    def ask(self, address: Address[Message], command: Received) -> None:
        del command
        self.got.append((address.path, None))

    def cut_off(self) -> None:
        self.gone = True


def made() -> tuple[Loop, Broker, Listener]:
    loop = Loop(1)
    broker, listener = Broker(loop, lambda _name, _address, _message: None), Listener()
    assert broker.connect(listener) == {}
    return loop, broker, listener


def test_the_broker_keeps_order_and_may_repeat() -> None:
    loop, broker, listener = made()
    broker.repeats = 1.0
    for rev in range(5):
        broker.publish("merger", MERGE.at(id="b"), MergeStage(rev=rev))
    loop.run(SECOND_NS)
    revs = [message.rev for _, message in listener.got if isinstance(message, MergeStage)]
    assert revs == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_topic_has_one_writer() -> None:
    _, broker, _ = made()
    with pytest.raises(Violation):
        broker.publish("processor", MERGE.at(id="b"), MergeStage())


@pytest.mark.parametrize(("memory", "left"), [("whole", 1), ("empty", 0)])
def test_a_broker_comes_back_with_its_memory_or_without(memory: str, left: int) -> None:
    loop, broker, listener = made()
    broker.publish("merger", MERGE.at(id="b"), MergeStage())
    broker.stop()
    broker.publish("merger", MERGE.at(id="c"), MergeStage())
    loop.run(SECOND_NS)
    broker.start(memory)
    assert listener.gone
    assert len(broker.topics) == left


def test_a_camera_gives_every_frame_once_and_none_while_it_hangs() -> None:
    camera = Camera("left", 10, 12_345_000, 100_010_000, 0, 0)
    whole = camera.frames(0, 60 * SECOND_NS)
    split = [frame for at in range(60) for frame in camera.frames(at * SECOND_NS, (at + 1) * SECOND_NS)]
    assert list(whole) == split == list(range(len(whole)))
    camera.faults.append(Fault(10 * SECOND_NS, 12 * SECOND_NS, "stall"))
    assert camera.frames(10 * SECOND_NS, 12 * SECOND_NS) == ()
    assert len(camera.frames(0, 60 * SECOND_NS)) == len(whole) - 20


def test_parts_of_a_growing_film_stay_but_the_first_and_the_last() -> None:
    film = tuple(Entry(index, 3 * 1024 * 1024, f"slot{index}") for index in range(6))
    closed = (*film, Entry(END, 1000, "index"))
    second = slice_print(film, PART_BYTES, PART_BYTES)
    assert second == slice_print(closed, PART_BYTES, PART_BYTES)
    assert slice_print(film, 0, PART_BYTES) != slice_print(closed, 0, PART_BYTES)
    assert slice_print(film, 3 * PART_BYTES, PART_BYTES) is None
    assert hash_of(film) is None
    assert hash_of(closed) == composite(prints_of(closed))


@pytest.mark.parametrize(
    ("cancelled_s", "back_s", "dead"),
    [
        (130, 720, False),  # within the 10 minutes
        (130, 731, True),
        (130, None, True),  # and never taken back
        (20, 760, True),
        (-900, 50, False),  # before it began: there is nothing to delete
    ],
)
def test_a_booking_may_be_taken_back_for_ten_minutes(
    cancelled_s: int, back_s: int | None, dead: bool
) -> None:
    device = Device(Loop(1), Mood(), Plant())
    ticket = Ticket("b", "taken_back", 100 * SECOND_NS, 160 * SECOND_NS, 160 * SECOND_NS)
    said = booking(100, 160)
    ticket.history = [(-1000 * SECOND_NS, said)]
    ticket.history.append((cancelled_s * SECOND_NS, said.replace(status="cancelled")))
    if back_s is not None:
        ticket.history.append((back_s * SECOND_NS, said))
    device.loop.now_ns = 800 * SECOND_NS
    assert device.judge.is_dead(ticket) == dead
