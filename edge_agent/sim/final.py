"""The promises that can only be judged when the world has come to rest."""

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.bookings import Ticket
from edge_agent.sim.device import CAMERAS, Device
from edge_agent.sim.film import END, is_complete, log_of, slots_of
from schemas.agent import AgentStatus
from schemas.recording import MergeStage, Recording, Stage
from schemas.registry import FILM_OBJECT, MERGE, RECORDING, SEGMENTS, SLOTS
from schemas.work import CameraName

RESTING = frozenset({"capture", "watch", "measure", "poll"})
LATE_NS = 12 * SECOND_NS
KNOWN_NS = 75 * SECOND_NS
"""How long after its begin a booking may become known to a ring of 90 s."""


def at_rest(device: Device) -> bool:
    """Whether nothing is under way any more and every recording is over."""
    for node in device.nodes.values():
        if node.core is None or not node.connected or set(node.core.in_flight) - RESTING:
            return False
    if not device.rows.settled():
        return False
    return all(_is_over(device, ticket) for ticket in device.club.tickets.values()) and not _left_over(device)


def _is_over(device: Device, ticket: Ticket) -> bool:
    if not ticket.history:
        return True
    if device.judge.state(ticket.id) is not None:
        return True
    said = device.broker.topics.get(RECORDING.at(id=ticket.id))
    return _is_unwanted(device, ticket) and isinstance(said, Recording) and said.state == "cancelled"


def _is_unwanted(device: Device, ticket: Ticket) -> bool:
    """Cancelled, or taken back when it was dead: its media are gone, so it cannot be recorded any more."""
    return not ticket.wanted or (device.judge.state(ticket.id) is None and device.judge.is_dead(ticket))


def _left_over(device: Device) -> list[str]:
    """Work topics and media that should have gone with their recording."""
    kinds = (SEGMENTS, SLOTS, FILM_OBJECT)
    gone = {
        ticket.id
        for ticket in device.club.tickets.values()
        if device.judge.state(ticket.id) in ("ready", "partial")
    }
    gone |= {ticket.id for ticket in device.club.tickets.values() if _is_unwanted(device, ticket)}
    topics = [at.path for at in device.broker.topics if at.topic in kinds and at["id"] in gone]
    files = [path for path in device.disk.below("recordings/") if path.split("/")[1] in gone]
    return topics + files


def judge_end(device: Device) -> None:
    """Every promise about what is left.

    Raises:
        Violation: one does not hold.
    """
    for ticket in device.club.tickets.values():
        if ticket.history:
            _judge_recording(device, ticket)
    _judge_bucket(device)
    _judge_topics(device)
    device.rows.judge_end()


def _judge_recording(device: Device, ticket: Ticket) -> None:
    judge, state = device.judge, device.judge.state(ticket.id)
    if state is None and _is_unwanted(device, ticket):
        said = device.broker.topics.get(RECORDING.at(id=ticket.id))
        never = all(not booking.wanted for _, booking in ticket.history)
        told = said.state if isinstance(said, Recording) else None
        fine = told == "cancelled" or (never and told is None)
        judge.ensure(fine, f"{ticket.id} ({ticket.kind}) is not wanted and its recording is {told}")
        return
    judge.ensure(state is not None, f"{ticket.id} ({ticket.kind}) never came to a final state")
    captured = any(_has_frames(device, ticket, cam) for cam in CAMERAS)
    if state in ("missed", "failed"):
        judge.ensure(
            not captured, f"{ticket.id} ({ticket.kind}) is {state} although frames of it were claimed"
        )
    else:
        _judge_film(device, ticket, state or "")
    if ticket.always_wanted:
        _judge_frames(device, ticket, state or "")


def _has_frames(device: Device, ticket: Ticket, cam: CameraName) -> bool:
    """Whether a camera has frames of its time as it was said last (a button may have ended it at once).

    A film has the frames whose middle lies in its time: of less than half a frame no film can be made.
    """
    camera, end_ns = device.cameras[cam], device.judge.ends_ns(ticket)
    if 2 * device.fps * (end_ns - ticket.begin_ns) <= SECOND_NS:
        return False
    claimed = device.judge.claimed.get((ticket.id, cam), set())
    return any(ticket.begin_ns <= camera.time_ns(frame) < end_ns for frame in claimed)


def _judge_film(device: Device, ticket: Ticket, state: str) -> None:
    judge = device.judge
    stage = judge.merged(ticket.id)
    keys = [key for key in device.bucket.objects if key.endswith(f"/{ticket.id}/film.mp4")]
    judge.ensure(len(keys) == 1, f"{ticket.id} is {state} and has {len(keys)} films in the bucket")
    judge.ensure(stage is not None, f"{ticket.id} is {state} and was never merged to its end")
    if stage is None:
        return
    plans = judge.plans.get(ticket.id, [])
    planned = sum(plan.frames for plan in plans)
    judge.ensure(
        (len(plans), planned) == (stage.slots_total, stage.frames_total),
        f"{ticket.id}: {planned} frames planned, {stage.frames_total} stated",
    )
    _judge_counts(device, ticket, stage)
    _judge_end_time(device, ticket, planned)
    film = device.judge.films.get(ticket.id)
    judge.ensure(film is not None and is_complete(film), f"{ticket.id} has no complete film")
    slots, indexes = slots_of(film), [entry.index for entry in log_of(film) if entry.index >= 0]
    judge.ensure(indexes == list(range(len(plans))), f"the film of {ticket.id} has slots {indexes}")
    ends = sum(entry.index == END for entry in log_of(film))
    judge.ensure(ends == 1, f"the film of {ticket.id} ends {ends} times")
    for plan, slot in zip(plans, slots, strict=True):
        text = f"slot {plan.index} of {ticket.id} shows other frames than planned"
        shown = judge.shown[ticket.id][plan.first_frame : plan.first_frame + plan.frames]
        made = [(frame.picture, frame.left, frame.right) for frame in slot.frames]
        judge.ensure(len(made) == plan.frames and (slot.degraded or made == shown), text)


def _judge_counts(device: Device, ticket: Ticket, stage: MergeStage) -> None:
    shown = device.judge.shown[ticket.id]
    for place, cam in enumerate(CAMERAS, start=1):
        lacking = sum(entry[place] == -1 for entry in shown)
        counted = stage.missing.get(cam, 0)
        text = f"{ticket.id} lacks {lacking} frames of camera {cam} and counts {counted}"
        device.judge.ensure(lacking == counted, text)
    for picture, count in stage.pictures.items():
        seen = sum(entry[0] == picture for entry in shown)
        device.judge.ensure(seen == count, f"{ticket.id} shows {seen} frames {picture} and counts {count}")


def _judge_end_time(device: Device, ticket: Ticket, planned: int) -> None:
    """The film is as long as planned, but for changes that came too late to be obeyed."""
    judge, last = device.judge, ticket.last
    if last is None:
        return
    spans = [
        (at_ns, round((said.to - said.from_).total_seconds() * device.fps)) for at_ns, said in ticket.history
    ]
    if ticket.kind == "moved":
        spans = [(0, frames + 3 * device.fps * back) for _, frames in spans for back in (-1, 0, 1)]
    wanted = spans[-1][1]
    slot = device.settings.film.slot_s * device.fps
    # Of an end that was moved into the past the film keeps what was planned by then.
    passed = round((spans[-1][0] - judge.true_ns(last.from_)) / SECOND_NS * device.fps)
    shorter = len(spans) > 1 and wanted <= planned <= max(wanted, passed) + slot
    refused = len(spans) > 1 and any(abs(planned - frames) <= 1 for _, frames in spans[:-1])
    late = spans[-1][0] > judge.true_ns(last.to) - LATE_NS or spans[-1][0] == 0 or judge.changed_late(ticket)
    fine = abs(planned - wanted) <= 1 or (late and (shorter or refused))
    judge.ensure(fine, f"{ticket.id} ({ticket.kind}) has {planned} frames, {wanted} planned")


def _judge_frames(device: Device, ticket: Ticket, state: str) -> None:
    """A camera nothing was done to has lost nothing, whatever happened to the others."""
    judge, clean = device.judge, 0
    if ticket.kind == "moved" or judge.slack_ns or judge.changed_late(ticket):
        return
    begin_ns, end_ns = ticket.begin_ns, judge.ends_ns(ticket)
    lead_ns = -KNOWN_NS if device.mood.idle == "ring" else 8 * SECOND_NS
    early = ticket.history[0][0] <= begin_ns - lead_ns
    for cam in CAMERAS:
        if not early or not device.untouched(cam, begin_ns, end_ns + 5 * SECOND_NS):
            continue
        if begin_ns - 100 * SECOND_NS < 0:
            continue
        clean += 1
        expected = set(device.cameras[cam].frames(begin_ns, end_ns))
        lost = len(expected - judge.claimed.get((ticket.id, cam), set()))
        text = f"camera {cam} lost {lost} of {len(expected)} frames of {ticket.id} ({ticket.kind}) untouched"
        judge.ensure(lost == 0, text)
    if clean == len(CAMERAS):
        cards = [entry for entry in judge.shown.get(ticket.id, []) if -1 in (entry[1], entry[2])]
        text = f"{ticket.id} is {state}, {len(cards)} frames without a pair, and both cameras gave everything"
        judge.ensure(not cards, text)


def _judge_bucket(device: Device) -> None:
    judge = device.judge
    judge.ensure(
        not device.bucket.uploads, f"uploads are left open: {sorted(device.bucket.uploads.values())[:2]}"
    )
    for key, times in device.bucket.completed.items():
        judge.ensure(times == 1, f"{key} was completed {times} times")
    for key, prints in judge.verified.items():
        there = device.bucket.objects.get(key)
        same = there is not None and there.prints == prints
        judge.ensure(same, f"{key} is not any more what was verified")
    left = _left_over(device)
    judge.ensure(not left, f"{len(left)} topics or files are left of recordings that are over: {left[:3]}")


def _judge_topics(device: Device) -> None:
    wanted, held = device.wanted_topics(), device.broker.topics
    for address, message in wanted.items():
        there = held.get(address)
        if isinstance(there, AgentStatus):
            there = there.model_copy(update={"pid": None})  # the host fills it in
        same = there is not None and there.stable() == message.stable()
        device.judge.ensure(same, f"{address.path} is not retained as its owner wants it")
    ghosts = [at.path for at in held if at not in wanted]
    device.judge.ensure(not ghosts, f"topics nobody owns are retained: {ghosts[:3]}")
    stages = [at for at, m in held.items() if isinstance(m, Stage) and at.topic is MERGE]
    device.judge.ensure(all(at["id"] in device.judge.tickets for at in stages), "a stage of no booking")
