"""The retained load of long bookings arrives whole at a restarting subscriber (Show 8 of the issue)."""

from functools import partial
from pathlib import Path

import pytest

from edge_agent.core.agent import Changed, World
from edge_agent.demo.servers import Mosquitto
from schemas.base import Envelope, Message, encode
from schemas.registry import SEGMENTS, SLOTS
from schemas.topics import Address
from schemas.work import Pick, Run, Segment, SegmentsMinute, SlotPlan, SlotsMinute, Source, pack_offsets
from tests.runtime.toys import NOON, Ear, Running, State, endpoint, eventually, toy

MINUTES = 240
BOOKINGS = ("b1", "b2")
FPS = 60


def segments(cam: str, booking_id: str, minute: int) -> SegmentsMinute:
    """A minute whose frame times jitter, so that nothing of it packs well: about 20 KB."""
    found = []
    for number in range(30):
        t0_ns = (minute * 60 + number * 2) * 10**9
        offsets = [n * 1_000_000 // FPS + (n * 7919 % 300) * (n > 0) for n in range(FPS * 2)]
        found.append(
            Segment(
                path=f"recordings/{booking_id}/{cam}/abcdef01-{minute * 30 + number:06d}.mp4",
                name=f"abcdef01-{minute * 30 + number:06d}",
                boot_id="a" * 32,
                stamp="sensor",
                t0_ns=t0_ns,
                end_ns=t0_ns + 2 * 10**9,
                offsets=pack_offsets(offsets),
                frames=len(offsets),
                bytes=1_000_000,
                wall_offset_ns=1_700_000_000 * 10**9,
                width=1280,
                height=720,
                fps=FPS,
            )
        )
    return SegmentsMinute(segments=tuple(found))


def slots(booking_id: str, minute: int) -> SlotsMinute:
    run = Run(
        picture="side_by_side",
        frames=240,
        left=(Pick(source=0, first=0, count=240),),
        right=(Pick(source=0, first=0, count=240),),
    )
    left, right = (
        Source(path=f"recordings/{booking_id}/{cam}/abcdef01-000001.mp4", frames=240)
        for cam in ("left", "right")
    )
    plans = [
        SlotPlan(
            index=minute * 15 + n,
            first_frame=(minute * 15 + n) * 240,
            frames=240,
            runs=(run,) * 4,
            left_sources=(left,) * 3,
            right_sources=(right,) * 3,
        )
        for n in range(15)
    ]
    return SlotsMinute(plans=tuple(plans))


def counting(state: State, event: object, _stamp: object, _settings: object) -> tuple[State, tuple[()]]:
    match event:
        case World():
            paths = frozenset(address.path for address in event.topics)
            return {**state, "world": paths, "worlds": state["worlds"] + 1}, ()
        case Changed():
            return {**state, "changed": (*state.get("changed", ()), event.address.path)}, ()
        case _:
            return state, ()


def known(toys: Running) -> bool:
    return bool(toys.state["worlds"])


@pytest.mark.slow
@pytest.mark.lane
@pytest.mark.timeout(300)
def test_two_long_bookings_arrive_whole_at_a_restarting_subscriber(broker: Mosquitto, tmp_path: Path) -> None:
    envelope = Envelope(NOON, "camera_left", "s", 1)
    sent: set[str] = set()
    total = 0

    def publish(account: str, messages: list[tuple[Address[Message], Message]]) -> None:
        nonlocal total
        with Ear(endpoint(broker, account), filters=("none",)) as writer:
            for address, message in messages:
                payload = encode(message, envelope)
                total += len(payload)
                assert len(payload) < 100_000
                assert writer.bus.publish(address.full("court-1"), payload, retain=True)
                sent.add(address.path)
            writer.bus.flush(60)

    for cam in ("left", "right"):
        minute = {f"{b}{n % 4}": segments(cam, b, n) for b in BOOKINGS for n in range(4)}
        publish(
            f"camera_{cam}",
            [
                (SEGMENTS.at(id=b, cam=cam, minute=f"abcdef01-{n}"), minute[f"{b}{n % 4}"])
                for b in BOOKINGS
                for n in range(MINUTES)
            ],
        )
    publish(
        "merger", [(SLOTS.at(id=b, minute=str(n)), slots(b, 0)) for b in BOOKINGS for n in range(MINUTES)]
    )
    assert len(sent) == 3 * 2 * MINUTES
    assert total > 960 * 15_000
    agent = toy("processor", reads=(SEGMENTS, SLOTS), deciding=counting)
    for run in range(2):
        with Running(agent, endpoint(broker, "processor"), tmp_path / f"state{run}") as toys:
            eventually(partial(known, toys))
            assert toys.state["world"] == sent
            assert "changed" not in toys.state
            assert toys.host._complaints.dropped == 0
    # And when the broker is restarted under a running subscriber.
    with Running(agent, endpoint(broker, "processor"), tmp_path / "state") as toys:
        eventually(lambda: toys.state["worlds"] == 1)
        broker.restart()
        eventually(lambda: toys.state["worlds"] == 2)
        assert toys.state["world"] == sent
