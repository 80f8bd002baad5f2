"""Takes follow the bookings: which exist, what they obey, when they are bound to the clock and end. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.capture import Cause
from edge_agent.core.schedule import Schedule, Taken, forget, standing, taken_from, wanted
from edge_agent.core.takes import Take, bounds, covered_all, recount, resume
from edge_agent.core.values import replace
from schemas.booking import Booking
from schemas.health import RetentionEntry
from schemas.recording import FINAL_STATES, CaptureStage, RecordingState, StageStatus, WallMapping
from schemas.work import Segment

PIN_NS = 10 * SECOND_NS
HURRY_NS = SECOND_NS // 5
JUST_NS = 3 * SECOND_NS
OFFSET_STEP_NS = 2_000_000
DAY_NS = 86_400 * SECOND_NS

Takes = Mapping[str, Take]


@dataclass(frozen=True)
class Clock:
    """Both clocks at one event.

    ``offset_ns`` (wall minus monotonic) moves only by steps above 2 ms that two events in a row agree on:
    the clocks are read one after the other, and a pause between must not move every cut. ``seen_ns`` is the
    offset as read at this event.
    """

    boot_id: str = ""
    mono_ns: int = 0
    wall_ns: int = 0
    offset_ns: int = 0
    seen_ns: int = 0
    synced: bool = False

    def at(self, boot_id: str, mono_ns: int, wall: int, *, synced: bool) -> "Clock":
        """The clock at the next event."""
        seen = wall - mono_ns
        moved = abs(seen - self.offset_ns) > OFFSET_STEP_NS and abs(seen - self.seen_ns) <= OFFSET_STEP_NS
        anew = boot_id != self.boot_id or synced != self.synced
        return Clock(boot_id, mono_ns, wall, seen if anew or moved else self.offset_ns, seen, synced)


@dataclass(frozen=True)
class Facts:
    """What others said: bookings, states of recordings, ends the merger fixed, what may be deleted."""

    schedule: Schedule = field(default_factory=Schedule)
    states: Mapping[str, RecordingState] = field(default_factory=dict[str, RecordingState])
    fixed_ends: Mapping[str, int] = field(default_factory=dict[str, int])
    retention: Mapping[str, RetentionEntry] = field(default_factory=dict[str, RetentionEntry])
    dead: frozenset[str] = frozenset()


def is_final(facts: Facts, booking_id: str) -> bool:
    """Whether a recording is over for good. A cancelled one may be taken back until it is dead."""
    state = facts.states.get(booking_id)
    return state in FINAL_STATES and state != "cancelled"


def replan(takes: Takes, facts: Facts, fresh: Take, clock: Clock, causes: tuple[Cause, ...]) -> Takes:
    """Takes after the facts changed: new ones (made from ``fresh``), moved ends, withdrawals."""
    changed = dict(takes)
    stand = standing(facts.schedule)
    spans = {key: _span(booking) for key, booking in stand.items()}
    for key, booking in facts.schedule.bookings.items():
        take = takes.get(key) or _new(fresh, key, booking, facts, clock)
        if take is None:
            continue
        begin, end = _span(booking)
        near = {other: stand[other] for other, (b, e) in spans.items() if b < end and e > begin}
        taken = taken_from(key, booking, near) if key in stand else ()
        changed[key] = _obey(take, booking, taken, facts, clock, causes)
    return {key: _flags(take, facts) for key, take in changed.items()}


def _span(booking: Booking) -> tuple[int, int]:
    begin = min(wall_ns(booking.from_), wall_ns(booking.start))
    return begin, max(wall_ns(booking.to), wall_ns(booking.end))


def _new(fresh: Take, key: str, booking: Booking, facts: Facts, clock: Clock) -> Take | None:
    if not wanted(facts.schedule, key) or is_final(facts, key) or key in facts.dead:
        return None
    begin, end = wall_ns(booking.from_), wall_ns(booking.to)
    # A cut of what just happened: the segment it ends in need not grow to its full length first.
    just_over = -HURRY_NS <= clock.wall_ns - end <= JUST_NS
    hurry = clock.mono_ns + HURRY_NS if just_over else None
    return replace(fresh, id=key, begin_ns=begin, end_ns=end, rev=booking.rev, hurry_ns=hurry)


def _obey(
    take: Take,
    booking: Booking,
    taken: tuple[Taken, ...],
    facts: Facts,
    clock: Clock,
    causes: tuple[Cause, ...],
) -> Take:
    """Take over what a booking says now: the start until something is claimed, the end until it is fixed."""
    if is_final(facts, take.id) or take.dead or take.released:
        return take
    if take.taken != taken:
        take = replace(take, taken=taken)
    begin = take.begin_ns if take.begun else wall_ns(booking.from_)
    end = max(begin, facts.fixed_ends.get(take.id, wall_ns(booking.to)))
    take = replace(take, rev=booking.rev) if take.rev != booking.rev else take
    if (begin, end) == (take.begin_ns, take.end_ns):
        return take
    late = take.begun and end < take.end_ns and end <= clock.wall_ns + HURRY_NS
    hurry = clock.mono_ns + HURRY_NS if late else take.hurry_ns
    moved = replace(take, begin_ns=begin, end_ns=end, hurry_ns=hurry, kept=None)
    return recount(moved, causes)


def _flags(take: Take, facts: Facts) -> Take:
    known = take.id in facts.schedule.bookings
    stands = wanted(facts.schedule, take.id) if known else take.wanted
    dead = take.dead or take.id in facts.dead
    flags = (stands and not dead, is_final(facts, take.id), dead)
    if flags == (take.wanted, take.final, take.dead):
        return take
    back = flags[0] and take.kept is not None and take.kept.status != "succeeded"
    return replace(take, wanted=flags[0], final=flags[1], dead=flags[2], kept=None if back else take.kept)


def pin(takes: Takes, clock: Clock, causes: tuple[Cause, ...]) -> Takes:
    """Bind takes that are about to begin to this boot's clock, an adjacent one to its predecessor's mapping.

    A mapping from before the clock was synchronised is replaced, once, when it is.
    """
    changed = dict(takes)
    for take in sorted(takes.values(), key=lambda one: (one.begin_ns, one.id)):
        mapping = take.mapping(clock.boot_id)
        if take.idle or take.kept is not None:
            continue
        now = WallMapping(boot_id=clock.boot_id, wall_offset_ns=clock.offset_ns, synced=clock.synced)
        # What ran before a reboot goes on, whatever a clock says that is not synchronised yet.
        due = clock.wall_ns >= take.begin_ns - PIN_NS or (bool(take.mappings) and not clock.synced)
        if mapping is None and due:
            changed[take.id] = replace(take, pinned=_before(changed, take, clock) or now)
        elif mapping is not None and clock.synced and not mapping.synced:
            frozen = tuple(now if one.boot_id == clock.boot_id else one for one in take.mappings)
            changed[take.id] = recount(replace(take, mappings=frozen, pinned=now), causes)
    return changed if any(changed[key] is not takes[key] for key in changed) else takes


def _before(takes: Takes, take: Take, clock: Clock) -> WallMapping | None:
    neighbours = (one for one in takes.values() if one.end_ns == take.begin_ns and one.id != take.id)
    found = (one.mapping(clock.boot_id) for one in neighbours)
    return next(
        (mapping for mapping in found if mapping is not None and mapping.synced >= clock.synced), None
    )


def refuse(take: Take, clock: Clock) -> Take:
    """Refuse a take that crosses another's time when it would begin; one that runs goes on around it."""
    crossing = [one.by for one in take.taken if one.crossing]
    near = clock.wall_ns >= take.begin_ns - PIN_NS
    text = f"its time crosses booking {crossing[0]}" if crossing and near and not take.begun else None
    return take if text == take.refused else replace(take, refused=text)


def status_of(take: Take, clock: Clock, *, claiming: bool) -> StageStatus:
    """Where this camera's part of a recording stands."""
    if take.dead:
        return "cancelled"
    if take.final and take.stage.status in ("pending", "running"):
        return "succeeded"  # nobody waits for the rest: what is listed is all there will be
    if take.final or take.released:
        return take.stage.status
    if not take.wanted:
        return "cancelled"
    if take.refused is not None:
        return "failed"
    if take.kept is not None:
        return "succeeded"
    if clock.mono_ns < bounds(take, clock.boot_id, clock.offset_ns)[0]:
        return "pending"
    done = covered_all(take, clock.boot_id, clock.offset_ns) and not claiming
    return "succeeded" if done else "running"


def expire(takes: Takes, facts: Facts, clock: Clock, days: int) -> tuple[Takes, Facts]:
    """Drop takes whose messages have been kept long enough after their recording was over."""

    def over(take: Take) -> bool:
        ended = take.final or take.dead or not take.wanted
        return ended and clock.wall_ns > take.end_ns + days * DAY_NS

    gone = [take.id for take in takes.values() if over(take)]
    # Never recorded and no longer on the bus: nothing of it is left but the memory.
    known = facts.schedule.bookings
    past = [key for key in facts.schedule.withdrawn - takes.keys() if key in known]
    gone += [key for key in past if clock.wall_ns > wall_ns(known[key].to) + days * DAY_NS]
    if not gone:
        return takes, facts
    schedule = facts.schedule
    for key in gone:
        schedule = forget(schedule, key)
    return {key: take for key, take in takes.items() if key not in gone}, replace(facts, schedule=schedule)


def borders(takes: Takes, facts: Facts, clock: Clock) -> set[int]:
    """Every planned start and end (monotonic) at which segments have to split."""
    cuts: set[int] = set()
    planned: set[int] = set()
    for take in takes.values():
        if take.idle:
            continue
        cuts.update(bounds(take, clock.boot_id, clock.offset_ns))
        planned.update((take.begin_ns, take.end_ns))
        if take.hurry_ns is not None:
            cuts.add(take.hurry_ns)
    for booking in standing(facts.schedule).values():
        if booking.record == "no":
            walls = {wall_ns(booking.from_), wall_ns(booking.to)} - planned
            cuts.update(wall - clock.offset_ns for wall in walls)
    return cuts


def takes_at_start(
    fresh: Take,
    stages: Mapping[str, CaptureStage],
    claimed: Mapping[str, tuple[Segment, ...]],
    facts: Facts,
    clock: Clock,
) -> Takes:
    """Takes from the last messages and the claimed files of an earlier run (made from ``fresh``)."""
    takes: dict[str, Take] = {}
    bookings = facts.schedule.bookings
    for key in sorted(stages.keys() | (claimed.keys() & bookings.keys())):
        stage, booking = stages.get(key, CaptureStage()), bookings.get(key)
        begin, end = stage.begin or (booking and booking.from_), stage.end or (booking and booking.to)
        take = replace(
            fresh,
            id=key,
            begin_ns=wall_ns(begin) if begin else clock.wall_ns,
            end_ns=wall_ns(end) if end else clock.wall_ns,
            rev=stage.rev,
            fps=stage.fps or fresh.fps,
            wanted=wanted(facts.schedule, key) if booking else stage.status != "cancelled",
        )
        takes[key] = resume(take, stage, claimed.get(key, ()))
    return takes
