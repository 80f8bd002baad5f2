"""One recording as the merger knows it: how far its cameras are, and which slots can be planned now. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edge_agent.core.agent import SECOND_NS, wall_ns
from edge_agent.core.merge_job import Feed, Job, Now
from edge_agent.core.pairing import Cursor, choose, choose_single, rules
from edge_agent.core.settings import Settings
from edge_agent.core.slot_plans import Chosen, Slot, slot_plan
from edge_agent.core.timeline import (
    Placing,
    SegmentTimes,
    Timeline,
    Track,
    next_slot,
    slots_in,
    track,
)
from schemas.booking import Layout
from schemas.work import CameraName, SlotPlan

GIVE_UP_PLAYING_NS = 10 * SECOND_NS
GIVE_UP_ENDED_NS = 2 * SECOND_NS
LISTING_NS = SECOND_NS // 5
"""``covered_until`` may arrive before the segments it speaks of: so long they are waited for."""
DEAF_NS = 5 * SECOND_NS // 2
UNSYNCED_NS = 600 * SECOND_NS
BACK_NS = SECOND_NS
BACK_MOST_NS = 5 * SECOND_NS
AHEAD_NS = SECOND_NS
BATCH = 15
"""Slots planned at once at most: a merger that catches up answers other events in between."""


@dataclass(frozen=True)
class Desk:
    """What the merger's rules look at besides the recording itself.

    ``heard_ns``: monotonic time at which anything was last heard on the bus.
    """

    settings: Settings
    now: Now
    heard_ns: int

    @property
    def cameras(self) -> tuple[CameraName, ...]:
        """The configured cameras, left first."""
        return self.settings.camera_names()

    # --- time ---

    def mappings(self, job: Job) -> dict[str, tuple[int, bool]]:
        """Per boot, offset and synced: what was planned with, else the first camera's, synced ones first."""
        told = [
            mapping
            for camera in self.cameras
            if (feed := job.feeds.get(camera)) and feed.stage
            for mapping in feed.stage.mappings
        ]
        found = {boot: (offset_ns, synced) for boot, offset_ns, synced in job.mappings}
        for mapping in sorted(told, key=lambda one: not one.synced):
            found.setdefault(mapping.boot_id, (mapping.wall_offset_ns, mapping.synced))
        return found

    def placing(self, job: Job, camera: CameraName) -> Placing:
        """How that camera's frames come to the wall."""
        latency_ns = self.settings.camera_of(camera).latency_ms * 1_000_000
        return Placing({boot: offset for boot, (offset, _) in self.mappings(job).items()}, latency_ns)

    def wall_ns(self, job: Job) -> int:
        """The wall time now by the recording's frozen mapping: steps of the clock do not count."""
        mapping = self.mappings(job).get(self.now.boot_id)
        return self.now.wall_ns if mapping is None else self.now.mono_ns + mapping[0]

    def mono_ns(self, job: Job, moment_ns: int) -> int:
        """Monotonic time of a wall moment."""
        return self.now.mono_ns + moment_ns - self.wall_ns(job)

    def timeline(self, job: Job) -> Timeline:
        """The film's timeline; ``from`` may still move until it is frozen."""
        begin_ns = job.begin_ns
        if begin_ns is None:
            begin_ns = wall_ns(job.booking.from_) if job.booking else 0
        return Timeline(begin_ns, self.settings.film_fps())

    def end_ns(self, job: Job) -> int:
        """The planned end as the booking says now."""
        return wall_ns(job.booking.to) if job.booking else 0

    def total(self, job: Job) -> int:
        """Frames the film is to have: never fewer than are planned."""
        return max(self.timeline(job).frames_until(self.end_ns(job)), job.account.frames)

    def whistle_ns(self, job: Job) -> int:
        """Monotonic time of the whistle: the planned end, or the arrival of the change that made it so."""
        return max(self.mono_ns(job, self.end_ns(job)), job.asked_ns)

    def behind_ns(self, job: Job) -> int:
        """Frames captured before this wall time are of no more use."""
        return self._since_ns(job.cursor, self.timeline(job), job.account.frames)

    def _since_ns(self, cursor: Cursor, timeline: Timeline, frame: int) -> int:
        start_ns = timeline.start_ns(frame)
        used = [ns for ns in (cursor.left_ns, cursor.right_ns) if ns is not None]
        back_ns = max(start_ns - BACK_MOST_NS, min([start_ns - BACK_NS, *used]))
        return max(timeline.begin_ns, back_ns)

    # --- waiting ---

    def unsynced_ns(self, job: Job) -> int | None:
        """Monotonic time until which planning waits for the clock after a boot within the booking."""
        mappings, begin_ns = self.mappings(job), self.timeline(job).begin_ns
        fresh = any(
            not synced and (len(mappings) > 1 or offset_ns > begin_ns)
            for offset_ns, synced in mappings.values()
        )
        until_ns = self.mono_ns(job, self.end_ns(job) + UNSYNCED_NS)
        return until_ns if fresh and until_ns > self.now.mono_ns else None

    def covered_ns(self, job: Job, camera: CameraName) -> int | None:
        """Wall time before which a camera has listed everything or declared it lost."""
        feed = job.feeds.get(camera)
        stage = feed.stage if feed else None
        if stage is None or stage.covered_until is None:
            return None
        if stage.status == "succeeded" and job.booking and stage.rev >= job.booking.rev:
            return max(self.end_ns(job), self.timeline(job).start_ns(self.total(job)))
        until = stage.covered_until
        return self.placing(job, camera).wall_ns(until.boot_id, until.mono_ns)

    def waits_ns(self, job: Job, camera: CameraName, end_ns: int) -> int | None:
        """Monotonic time until which a slot that ends then waits for a camera; None: no longer."""
        covered_ns = self.covered_ns(job, camera)
        covered = covered_ns is not None and covered_ns >= end_ns
        until_ns = self._listing_ns(job, camera, end_ns) if covered else self.give_up_ns(job, camera, end_ns)
        if until_ns > self.now.mono_ns:
            return until_ns
        # A broker that is away silences every camera: nobody is given up before something is heard again.
        deaf = not covered and self.heard_ns < until_ns - DEAF_NS
        return self.now.mono_ns + DEAF_NS if deaf else None

    def _listing_ns(self, job: Job, camera: CameraName, end_ns: int) -> int:
        feed = job.feeds[camera]
        placing = self.placing(job, camera)
        ends = [placing.wall_ns(boot_id, listed_ns) for boot_id, listed_ns in feed.listed_ns.items()]
        # A camera cuts by its own mapping, which may differ from the one planned with by a little.
        slack_ns = placing.latency_ns + SECOND_NS // self.settings.film_fps()
        whole = any(ns is not None and ns + slack_ns >= end_ns for ns in ends)
        return self.now.mono_ns if whole else feed.moved_ns + LISTING_NS

    def give_up_ns(self, job: Job, camera: CameraName, end_ns: int) -> int:
        """Monotonic time at which a camera that does not move is given up for a slot that ends then."""
        feed = job.feeds.get(camera)
        if feed is not None and feed.stage is not None and feed.stage.covered_until is not None:
            still_ns = max(feed.moved_ns, job.since_ns, self.mono_ns(job, self.timeline(job).begin_ns))
        else:
            first = min(self.total(job), self.settings.film.slot_s * self.settings.film_fps())
            still_ns = max(job.since_ns, self.mono_ns(job, self.timeline(job).start_ns(first)))
        ended_ns = max(still_ns, self.whistle_ns(job)) + GIVE_UP_ENDED_NS
        return max(min(still_ns + GIVE_UP_PLAYING_NS, ended_ns), self.mono_ns(job, end_ns))

    def wait_for_all_ns(self, job: Job, end_ns: int) -> int | None:
        """The first moment at which a camera waited for may be given up; None: no camera is waited for."""
        waits = [ns for camera in self.cameras if (ns := self.waits_ns(job, camera, end_ns)) is not None]
        return min(waits, default=None)

    def has_frames(self, job: Job) -> bool:
        """Whether any camera ever listed a segment of it."""
        return job.account.frames > 0 or any(feed.listed_ns for feed in job.feeds.values())

    def backlog(self, job: Job) -> int:
        """Whole slots that every camera has covered and that are not planned."""
        covered = [self.covered_ns(job, camera) for camera in self.cameras]
        known = [ns for ns in covered if ns is not None]
        if not known or len(known) < len(covered):
            return 0
        timeline, film = self.timeline(job), self.settings.film
        frames = min(self.total(job), timeline.frames_until(min(known))) - job.account.frames
        if frames + job.account.frames == self.total(job):
            return slots_in(max(0, frames), timeline.fps, film.slot_s)
        return max(0, frames) // (film.slot_s * timeline.fps)

    # --- planning ---

    def slot_end_ns(self, job: Job, first_frame: int) -> tuple[int, int]:
        """Frames of the slot that begins with a frame, and the wall time at which it ends."""
        timeline = self.timeline(job)
        frames = next_slot(self.total(job) - first_frame, timeline.fps, self.settings.film.slot_s)
        end_ns = timeline.start_ns(first_frame + frames)
        return frames, min(end_ns, max(self.end_ns(job), timeline.begin_ns))

    def plan(self, job: Job) -> tuple[tuple[SlotPlan, ...], int | None]:
        """The slots that can be planned now, in order, and when to look again (monotonic)."""
        plans: list[SlotPlan] = []
        nearby: dict[CameraName, tuple[SegmentTimes, ...]] | None = None
        while len(plans) < BATCH and job.account.frames < self.total(job):
            frames, end_ns = self.slot_end_ns(job, job.account.frames)
            wait_ns = self.wait_for_all_ns(job, end_ns)
            if wait_ns is not None:
                return tuple(plans), wait_ns
            nearby = nearby or self._nearby(job)
            plan, cursor = self._slot(job, frames, end_ns, nearby)
            plans.append(plan)
            job = replace(job, account=job.account.plus(plan), cursor=cursor)
        return tuple(plans), None

    def _nearby(self, job: Job) -> dict[CameraName, tuple[SegmentTimes, ...]]:
        """Each camera's segments from here to the end of a batch."""
        batch_ns = BATCH * self.settings.film.slot_s * SECOND_NS
        until_ns = self.timeline(job).start_ns(job.account.frames) + batch_ns + AHEAD_NS
        return {
            camera: tuple(_within(job.feeds.get(camera, Feed()), self.placing(job, camera), until_ns))
            for camera in self.cameras
        }

    def _slot(
        self, job: Job, frames: int, end_ns: int, nearby: Mapping[CameraName, tuple[SegmentTimes, ...]]
    ) -> tuple[SlotPlan, Cursor]:
        timeline, first = self.timeline(job), job.account.frames
        since_ns = self._since_ns(job.cursor, timeline, first)
        stop_ns = min(self.end_ns(job), end_ns + AHEAD_NS)
        tracks: dict[CameraName, Track] = {"left": Track(), "right": Track()}
        for camera in self.cameras:
            known_ns = max(end_ns, min(self.covered_ns(job, camera) or 0, stop_ns))
            placing = self.placing(job, camera)
            tracks[camera] = track(nearby[camera], placing, since_ns, stop_ns, known_ns)
        targets = [timeline.centre_ns(first + number) for number in range(frames)]
        rule = rules(timeline.fps, [self._fps(job, camera) for camera in self.cameras])
        left, right = tracks["left"], tracks["right"]
        if len(self.cameras) == 1:
            camera = self.cameras[0]
            choices, after = choose_single(
                targets, camera, tracks[camera], job.cursor, rule, timeline.begin_ns
            )
        else:
            choices, after = choose(targets, left, right, job.cursor, rule, timeline.begin_ns)
        told = tuple((boot, offset, synced) for boot, (offset, synced) in self.mappings(job).items())
        slot = Slot(job.account.slots, first, frames, self.layout(job), self.cameras, told)

        def reason(camera: CameraName, at: int, count: int) -> str:
            return self._reason(job, camera, timeline.start_ns(at), timeline.start_ns(at + count))

        plan = slot_plan(slot, Chosen(choices, left, right, job.cursor, after), reason)
        return plan, after

    def _fps(self, job: Job, camera: CameraName) -> int:
        feed = job.feeds.get(camera)
        told = feed.stage.fps if feed and feed.stage else None
        return told or self.settings.camera_of(camera).fps

    def layout(self, job: Job) -> Layout:
        """How pairs are laid out: fixed by the first plans."""
        return job.layout or (job.booking.layout if job.booking else None) or self.settings.film.layout

    def _reason(self, job: Job, camera: CameraName, begin_ns: int, end_ns: int) -> str:
        feed = job.feeds.get(camera)
        for gap in feed.stage.gaps if feed and feed.stage else ():
            if wall_ns(gap.begin) < end_ns and begin_ns < wall_ns(gap.end):
                return gap.reason
        covered_ns = self.covered_ns(job, camera)
        return "no frames" if covered_ns is not None and covered_ns >= end_ns else "camera gave no sign"


def _within(feed: Feed, placing: Placing, until_ns: int) -> Iterable[SegmentTimes]:
    for segments in feed.minutes.values():
        for segment in segments:
            start_ns = placing.wall_ns(segment.boot_id, segment.times_ns[0])
            if start_ns is not None and start_ns < until_ns:
                yield segment
