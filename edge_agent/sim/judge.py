"""The promises, held while the device runs: who may say what when, what is planned, what may be deleted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from edge_agent.core.agent import SECOND_NS
from edge_agent.core.effects import DeleteMedia
from edge_agent.core.plans import frames_of, sources
from edge_agent.core.settings import Settings
from edge_agent.sim.bookings import Ticket
from edge_agent.sim.bucket import Bucket
from edge_agent.sim.capture import Copy
from edge_agent.sim.court import Camera
from edge_agent.sim.disk import Disk
from edge_agent.sim.film import END, log_of, prints_of
from edge_agent.sim.loop import Loop, Violation
from schemas.base import MAX_PAYLOAD_BYTES, Envelope, Message, encode
from schemas.recording import CaptureStage, ClockPoint, MergeStage, Recording, UploadStage
from schemas.topics import Address
from schemas.work import CameraName, SegmentsMinute, SlotPlan, SlotsMinute

SIZED_EVERY = 40
BUSY_NS = 5 * SECOND_NS
LATE_NS = 4 * SECOND_NS


class Judge:
    """Watches publications, plans, claims and deletions.

    Attributes:
        slack_ns: how far wall times may be off because the clock was stepped.
        claimed: frames that have a lasting copy, by recording and camera.
        plans: every plan as it was first on disk.
        closed_ns: true time at which the number of a film's slots was fixed, or that there is none.
    """

    def __init__(
        self,
        loop: Loop,
        disk: Disk,
        bucket: Bucket,
        cameras: dict[CameraName, Camera],
        settings: Settings,
        wall: Callable[[int], datetime],
    ) -> None:
        self.loop = loop
        self.disk = disk
        self.bucket = bucket
        self.cameras = cameras
        self.settings = settings
        self.wall = wall
        self.tickets: dict[str, Ticket] = {}
        self.slack_ns = 0
        self.claimed: dict[tuple[str, str], set[int]] = {}
        self.plans: dict[str, list[SlotPlan]] = {}
        self.shown: dict[str, list[tuple[str, int, int]]] = {}
        self.verified: dict[str, tuple[str, ...]] = {}
        self.films: dict[str, object] = {}
        self._covered: dict[tuple[str, str], ClockPoint] = {}
        self._listed: set[tuple[str, str, str]] = set()
        self.closed_ns: dict[str, int] = {}
        self._merged: dict[str, MergeStage] = {}
        self._final: dict[str, str] = {}
        self._seen = 0

    def ensure(self, fine: bool, text: str) -> None:  # noqa: FBT001 - reads like a sentence
        """A promise.

        Raises:
            Violation: it does not hold.
        """
        if not fine:
            raise Violation(text)

    # --- publications ---

    def published(self, name: str, address: Address[Any], message: Message | None) -> None:
        """One retained topic is about to change."""
        del name
        match message:
            case CaptureStage():
                self._capture(address["id"], address["cam"], message)
            case SegmentsMinute():
                self._segments(address["id"], address["cam"], message)
            case SlotsMinute():
                self._slots(address["id"], message)
            case MergeStage():
                self._merge(address["id"], message)
            case UploadStage():
                self._upload(address["id"], message)
            case Recording():
                self._recording(address["id"], message)
            case _:
                pass
        self._seen += 1
        if message is not None and self._seen % SIZED_EVERY == 0:
            size = len(encode(message, Envelope(self.wall(self.loop.now_ns), "x" * 12, "x" * 12, 10**6)))
            self.ensure(size <= MAX_PAYLOAD_BYTES, f"{address.path} has {size} bytes, over the bus's bound")

    def _capture(self, booking_id: str, cam: str, stage: CaptureStage) -> None:
        now, before = stage.covered_until, self._covered.get((booking_id, cam))
        if now is None:
            return
        if before is not None and before.boot_id == now.boot_id:
            back = before.mono_ns - now.mono_ns
            self.ensure(back <= 0, f"covered_until of {booking_id}/{cam} went back by {back / 1e9:.3f} s")
        self._covered[booking_id, cam] = now

    def _segments(self, booking_id: str, cam: str, minute: SegmentsMinute) -> None:
        covered, ticket = self._covered.get((booking_id, cam)), self.tickets[booking_id]
        for segment in minute.segments:
            key = (booking_id, cam, segment.name)
            if key in self._listed:
                continue
            self._listed.add(key)
            copy = self.disk.read(segment.path)
            lasting = isinstance(copy, Copy) and self.disk.is_durable(segment.path)
            self.ensure(lasting, f"segment {segment.path} was listed without a lasting copy on disk")
            if not isinstance(copy, Copy) or covered is None or covered.boot_id != segment.boot_id:
                continue
            last_ns = max(segment.times_ns())
            first_ns = self.cameras["left" if cam == "left" else "right"].time_ns(copy.shown[-1])
            inside = ticket.begin_ns <= first_ns < self.ends_ns(ticket)
            self.ensure(
                not inside or last_ns >= covered.mono_ns,
                f"covered_until of {booking_id}/{cam} had passed segment {segment.name} before it was listed",
            )

    def _slots(self, booking_id: str, minute: SlotsMinute) -> None:
        plans = self.plans.get(booking_id, [])
        for plan in minute.plans:
            there = plans[plan.index] if plan.index < len(plans) else None
            same = there is plan or there == plan
            self.ensure(same, f"slot {plan.index} of {booking_id} was published otherwise than it is on disk")

    def _merge(self, booking_id: str, stage: MergeStage) -> None:
        if stage.status in ("succeeded", "failed"):
            self.closed_ns.setdefault(booking_id, self.loop.now_ns)
        before = self._merged.get(booking_id)
        if before is not None and stage.status == "succeeded":
            fixed = (before.slots_total, before.frames_total) == (stage.slots_total, stage.frames_total)
            self.ensure(fixed, f"the number of slots of {booking_id} changed after it was fixed")
        if stage.status == "succeeded":
            self._merged[booking_id] = stage

    def merged(self, booking_id: str) -> MergeStage | None:
        """The merge stage once it had succeeded."""
        return self._merged.get(booking_id)

    def _upload(self, booking_id: str, stage: UploadStage) -> None:
        for item in stage.objects:
            if item.verified_at is None or item.key in self.verified:
                continue
            there = self.bucket.objects.get(item.key)
            self.ensure(there is not None, f"{item.key} was called verified and is not in the bucket")
            if there is None:
                continue
            self.verified[item.key] = there.prints
            if item.name != "film":
                continue
            value = self.disk.read(f"recordings/{booking_id}/film/film.mp4")
            self.films[booking_id] = value if value is not None else self.films.get(booking_id)
            same = value is None or prints_of(value) == there.prints
            self.ensure(same, f"{item.key} was called verified and is not the film")

    def _recording(self, booking_id: str, said: Recording) -> None:
        before = self._final.get(booking_id)
        if before is not None:
            self.ensure(said.state == before, f"{booking_id} was {before} and became {said.state}")
        elif said.state in ("ready", "partial", "failed", "missed"):
            self._final[booking_id] = said.state

    def state(self, booking_id: str) -> str | None:
        """The final state of a recording, None while it has none (cancelled may be taken back)."""
        return self._final.get(booking_id)

    # --- the making ---

    def claim(self, cam: str, booking_id: str, frames: tuple[int, ...]) -> None:
        """Frames have their lasting copy; what comes when all is over (the disk was full) is nobody's."""
        if booking_id in self._final:
            return
        self.claimed.setdefault((booking_id, cam), set()).update(frames)

    def plan(self, booking_id: str, plans: tuple[SlotPlan, ...]) -> None:
        """Plans are on disk: judge what every frame of them shows."""
        known = self.plans.setdefault(booking_id, [])
        shown = self.shown.setdefault(booking_id, [])
        for plan in plans:
            if plan.index < len(known):
                same = known[plan.index] == plan
                self.ensure(same, f"slot {plan.index} of {booking_id} changed on disk")
                continue
            self.ensure(plan.index == len(known), f"{booking_id} has a slot {plan.index} after {len(known)}")
            self.ensure(plan.first_frame == len(shown), f"slot {plan.index} of {booking_id} begins elsewhere")
            known.append(plan)
            self._judge_slot(booking_id, plan, shown)

    def _judge_slot(self, booking_id: str, plan: SlotPlan, shown: list[tuple[str, int, int]]) -> None:
        repeated, span = 0, self.span(self.tickets[booking_id])
        for frame in frames_of(plan):
            left = self._frame(plan, "left", frame.left and (frame.left.source, frame.left.frame))
            right = self._frame(plan, "right", frame.right and (frame.right.source, frame.right.frame))
            now = (frame.picture, left, right)
            if shown and now == shown[-1] and frame.picture != "card":
                repeated += 1
            shown.append(now)
            self._judge_frame(booking_id, span, left, right)
        self._judge_order(booking_id, plan, shown)
        text = f"slot {plan.index} of {booking_id} repeats {repeated} pictures and counts {plan.repeated}"
        self.ensure(repeated == plan.repeated, text)

    def _frame(self, plan: SlotPlan, cam: CameraName, taken: tuple[int, int] | None) -> int:
        if taken is None:
            return -1
        path = sources(plan, cam)[taken[0]].path
        copy = self.disk.read(path)
        self.ensure(isinstance(copy, Copy), f"slot {plan.index} is planned from {path}, which is not on disk")
        return copy.shown[taken[1]] if isinstance(copy, Copy) else -1

    def span(self, ticket: Ticket) -> tuple[int, int]:
        """The widest time a booking ever had, true."""
        said = [booking for _, booking in ticket.history]
        begins = [_ns(self.wall, booking.from_) for booking in said]
        return min(begins), max(_ns(self.wall, booking.to) for booking in said)

    def _judge_frame(self, booking_id: str, span: tuple[int, int], left: int, right: int) -> None:
        times = [self.cameras[cam].time_ns(frame) for cam, frame in self._both(left, right) if frame >= 0]
        for time_ns in times:
            fine = span[0] - self.slack_ns <= time_ns < span[1] + self.slack_ns
            self.ensure(
                fine, f"a frame captured at {time_ns / 1e9:.3f} is shown in {booking_id}, not its time"
            )
        if len(times) == 2:
            half_ns = SECOND_NS // (2 * self.settings.film_fps())
            apart = abs(times[0] - times[1])
            self.ensure(
                apart <= half_ns + 1000,
                f"a pair of {booking_id} is {apart / 1e6:.1f} ms apart: over half a frame",
            )

    @staticmethod
    def _both(left: int, right: int) -> tuple[tuple[CameraName, int], tuple[CameraName, int]]:
        return ("left", left), ("right", right)

    def _judge_order(self, booking_id: str, plan: SlotPlan, shown: list[tuple[str, int, int]]) -> None:
        for place in (1, 2):
            seen = [entry[place] for entry in shown[max(0, plan.first_frame - 60) :]]
            numbers = [number for number in seen if isinstance(number, int) and number >= 0]
            self.ensure(numbers == sorted(numbers), f"slot {plan.index} of {booking_id} goes back in time")

    def true_ns(self, moment: datetime) -> int:
        """True time of a wall moment."""
        return _ns(self.wall, moment)

    def ends_ns(self, ticket: Ticket) -> int:
        """True time at which a booking ends as it was said last."""
        return _ns(self.wall, ticket.last.to) if ticket.last is not None else ticket.end_ns

    def changed_late(self, ticket: Ticket) -> bool:
        """Whether it was changed when its film was closed, or about to be: that may have been refused."""
        closed_ns = self.closed_ns.get(ticket.id)
        return closed_ns is not None and ticket.history[-1][0] > closed_ns - LATE_NS

    def latest_on_disk(self, cam: CameraName, booking_id: str) -> int:
        """True time of the latest frame with a copy that is on the disk now."""
        latest = 0
        for path in self.disk.below(f"recordings/{booking_id}/{cam}/"):
            copy = self.disk.read(path)
            if isinstance(copy, Copy):
                latest = max(latest, self.cameras[cam].time_ns(copy.shown[-1]))
        return latest

    def lacking(self, path: str) -> None:
        """A render or an append wants a source that is not there: a dead or delivered one may have lost it.

        A processor that has just started may begin a film anew that it has not yet heard is in the bucket.
        """
        ticket = self.tickets[path.split("/")[1]]
        lost = ticket.wanted and not self.is_dead(ticket) and not self._in_bucket(ticket, "film.mp4")
        self.ensure(not lost, f"{path} is needed for a film and was deleted or lost")

    # --- deletion ---

    def deleting(self, who: str, effect: DeleteMedia) -> None:
        """Media are about to go: only what is safe elsewhere, or 10 minutes cancelled."""
        ticket = self.tickets[effect.booking_id]
        if self.is_dead(ticket):
            return
        film = f"recordings/{ticket.id}/film/film.mp4"
        safe = self._in_bucket(ticket, "film.mp4")
        if who.startswith("camera_"):
            log = log_of(self.disk.durable(film))
            safe = safe or bool(log and log[-1].index == END)
        last = ticket.last
        if last is not None and "cameras" in last.deliver:
            # A camera that gave nothing has no file to wait for.
            gave = [cam for cam in self.cameras if self.latest_on_disk(cam, ticket.id)]
            wanted = gave if who == "processor" else ()
            safe = safe and all(self._in_bucket(ticket, f"{cam}.mp4") for cam in wanted)
        self.ensure(safe, f"{who} deletes {effect.parts} of {ticket.id} before it is safe elsewhere")

    def _in_bucket(self, ticket: Ticket, name: str) -> bool:
        return any(key.endswith(f"/{ticket.id}/{name}") for key in self.bucket.objects)

    def is_dead(self, ticket: Ticket) -> bool:
        """Whether it was cancelled for 10 minutes once it had begun: taken back later, it stays cancelled."""
        patience_ns = self.settings.retention.cancelled_min * 60 * SECOND_NS - BUSY_NS - self.slack_ns
        since, now_ns = None, self.loop.now_ns
        for at_ns, wanted in (*((at_ns, said.wanted) for at_ns, said in ticket.history), (now_ns, True)):
            if since is not None and at_ns - since >= patience_ns and self._has_begun(ticket, since, at_ns):
                return True
            if wanted:
                since = None
            elif since is None:
                since = at_ns
        return False

    def _has_begun(self, ticket: Ticket, since_ns: int, until_ns: int) -> bool:
        """Whether something was recorded before a cancellation, or its time was over before the end of it."""
        near_ns = BUSY_NS + self.slack_ns
        return since_ns >= ticket.begin_ns - near_ns or until_ns >= ticket.end_ns - near_ns


def _ns(wall: Callable[[int], datetime], moment: datetime) -> int:
    """True time of a wall moment."""
    return (moment - wall(0)) // timedelta(microseconds=1) * 1000
