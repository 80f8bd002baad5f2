"""What a camera agent shows of itself: alarms, its status, and when it wants to be woken. Pure."""

from collections.abc import Iterator, Mapping

from edge_agent.core.agent import SECOND_NS, Stamp, wall_ns
from edge_agent.core.child import ALARM_NS, Child, lost_alarm
from edge_agent.core.claiming import Claims
from edge_agent.core.settings import Settings
from edge_agent.core.take_plan import DAY_NS, PIN_NS, Clock, Facts, Takes
from edge_agent.core.takes import bounds
from schemas.agent import AgentStatus, Alarm

ARM_NS = 120 * SECOND_NS
Alarms = Mapping[str, Alarm]


def alarms_of(
    before: Alarms, stamp: Stamp, cam: str, child: Child, claims: Claims, takes: Takes, facts: Facts
) -> Alarms:
    """The alarms that stand now; one that stood keeps its ``since``, and its object when nothing changed."""
    busy = any(take.stage.status == "running" and not take.idle for take in takes.values())
    lost = lost_alarm(child, cam, stamp, before.get("capture_lost"), recording=busy)
    standing: dict[str, Alarm] = {"capture_lost": lost} if lost else {}
    for key, alarm in _others(stamp, cam, claims, takes, facts):
        old = before.get(key)
        kept = alarm.model_copy(update={"since": old.since}) if old else alarm
        standing[key] = old if old is not None and old == kept else kept
    return before if standing == before else standing


def _others(
    stamp: Stamp, cam: str, claims: Claims, takes: Takes, facts: Facts
) -> Iterator[tuple[str, Alarm]]:
    if claims.full is not None:
        yield (
            "disk_full",
            Alarm(
                severity="critical",
                text=f"camera {cam} cannot keep its recording: {claims.full}",
                since=stamp.wall,
                subject=cam,
                mend="Free space on the recorder's disk; what is still in the ring is kept by itself then.",
            ),
        )
    if claims.trouble is not None:
        yield (
            "claim_failed",
            Alarm(
                severity="major",
                text=f"camera {cam} cannot copy its recording: {claims.trouble}",
                since=stamp.wall,
                subject=cam,
                mend="Check the recorder's disk with 'ezrec doctor'; it is tried again by itself.",
            ),
        )
    crossing = sorted(
        take.id
        for take in takes.values()
        if not take.final and (not take.idle or take.refused)
        for one in take.taken
        if one.crossing
    )
    if crossing:
        by = next(one.by for one in takes[crossing[0]].taken if one.crossing)
        yield (
            "booking_crosses",
            Alarm(
                severity="major",
                text=f"booking {crossing[0]} reaches into the time of booking {by}, which it does not get",
                since=stamp.wall,
                subject=crossing[0],
                mend="Move one of the two bookings so that their times do not overlap.",
            ),
        )
    moved = sorted(take.id for take in takes.values() if _start_moved(take.id, takes, facts))
    if moved:
        yield (
            "start_frozen",
            Alarm(
                severity="minor",
                text=f"the start of booking {moved[0]} was changed after its recording had begun; it stays",
                since=stamp.wall,
                subject=moved[0],
                mend="Nothing to do; to record another time, make another booking.",
            ),
        )


def _start_moved(key: str, takes: Takes, facts: Facts) -> bool:
    take, booking = takes[key], facts.schedule.bookings.get(key)
    return booking is not None and take.begun and not take.idle and wall_ns(booking.from_) != take.begin_ns


def status_of_agent(child: Child, claims: Claims, takes: Takes, *, degraded: bool) -> AgentStatus:
    """What the agent does now."""
    current = next(
        (take.id for take in takes.values() if take.stage.status == "running" and not take.idle), None
    )
    return AgentStatus(
        state="degraded" if degraded else "busy" if current else "idle",
        backlog=len(claims.asked),
        current=current,
        last_error=child.text or None,
    )


def timers_of(
    clock: Clock, child: Child, claims: Claims, takes: Takes, settings: Settings, *, armed: bool
) -> dict[str, int]:
    """When (monotonic) something is due without news: tries, alarms, borders of takes, growing gaps."""
    now = clock.mono_ns
    timers: dict[str, int] = {}
    if armed and not child.running:
        timers["capture"] = child.retry_ns
    if child.silent_ns is not None:
        if now < child.silent_ns + ALARM_NS:
            timers["silent"] = child.silent_ns + ALARM_NS
        if any(take.stage.status == "running" for take in takes.values()):
            timers["cover"] = now + SECOND_NS
    later = [one.not_before_ns for one in claims.tries.values() if one.not_before_ns > now]
    if later:
        timers["claim"] = min(later)
    due = [at for at in _borders(clock, takes, settings.retention.topics_days) if at > now]
    if due:
        timers["plan"] = min(due)
    return timers


def _borders(clock: Clock, takes: Takes, topics_days: int) -> Iterator[int]:
    for take in takes.values():
        begin, end = bounds(take, clock.boot_id, clock.offset_ns)
        yield from (begin - ARM_NS, begin - PIN_NS, begin, end)
        yield take.end_ns - clock.offset_ns + topics_days * DAY_NS + 1
