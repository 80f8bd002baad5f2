"""What the ring lost and what nobody needs any more is forgotten, with its troubles."""

from dataclasses import replace

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.claiming import RING_SLACK_NS, Claims, Try, ask, name_of, prune
from edge_agent.core.effects import RingFile
from edge_agent.core.schedule import Schedule
from edge_agent.core.take_plan import DAY_NS, Clock, Facts, expire
from edge_agent.core.takes import Take
from schemas.recording import WallMapping
from tests.support.recordings import booking

KEEP_NS = 90 * SECOND_NS
TAKE = replace(
    Take("b1", "left", 0, 1000 * SECOND_NS, 1, 30), pinned=WallMapping(boot_id="now", wall_offset_ns=0)
)


def file(seq: int, boot_id: str = "now") -> RingFile:
    """Two seconds with one frame."""
    t0_ns = seq * 2 * SECOND_NS
    return RingFile(
        name=f"{boot_id}-{seq}",
        seq=seq,
        boot_id=boot_id,
        stamp="kernel",
        t0_ns=t0_ns,
        end_ns=t0_ns + 2 * SECOND_NS,
        offsets_us=(0,),
        dropped=0,
        duplicated=0,
        bytes=1,
        frames=1,
        wall_offset_ns=0,
        width=64,
        height=36,
        fps=30,
    )


def test_what_an_earlier_boot_left_does_not_keep_the_ring_from_being_forgotten() -> None:
    before = tuple(file(seq, "old") for seq in range(400_000, 400_003))  # ten days of uptime
    count = (KEEP_NS + RING_SLACK_NS) // (2 * SECOND_NS)
    ring = (*before, *(file(seq) for seq in range(count)))
    assert prune(ring, Claims(), {}, "now", KEEP_NS) == (ring, ())
    longer = (*ring, file(count), file(count + 1))
    kept, lost = prune(longer, Claims(), {}, "now", KEEP_NS)
    assert [one.name for one in kept] == [f"now-{seq}" for seq in range(1, count + 2)]
    assert lost == ()


def test_the_trouble_of_a_claim_ends_when_its_segment_is_gone_for_good() -> None:
    key = name_of("b1", file(1))
    stuck = Claims(tries={key: Try(3, 2**60)}, full="no space left", trouble="no space left")
    there, _, asked = ask(stuck, {"b1": TAKE}, (file(1),), 0)
    assert (there, asked) == (stuck, [])
    gone, _, _ = ask(stuck, {"b1": TAKE}, (file(2),), 0)
    assert (gone.tries, gone.full, gone.trouble) == ({}, None, None)


def test_a_booking_that_was_never_recorded_is_forgotten_after_its_topics() -> None:
    off = booking(record="no")
    clock = Clock(wall_ns=int(off.to.timestamp()) * SECOND_NS + 7 * DAY_NS)
    facts = Facts(schedule=Schedule(bookings={"b1": off}, withdrawn=frozenset({"b1"})))
    assert expire({}, facts, clock, 7)[1] is facts
    _, after = expire({}, facts, replace(clock, wall_ns=clock.wall_ns + 1), 7)
    assert not after.schedule.bookings
    assert not after.schedule.withdrawn
