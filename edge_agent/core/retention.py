"""Which media may go: what is safe elsewhere first, oldest first, and never a film that is not."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from edge_agent.core.recording import Facts
from edge_agent.core.settings import Settings
from schemas.health import Retention, RetentionEntry

MAX_ENTRIES = 300
FAILED_DAYS = 14
"""A recording no film could be made of keeps what it has for somebody to look at, and not for ever."""


def retention(facts: Iterable[Facts], wall: datetime, settings: Settings, before: Retention) -> Retention:
    """The list owners delete by; the message before when equal.

    When there are more than fit, the newest stay: the oldest were listed, and deleted, long ago.
    """
    known = tuple(facts)
    entries = {one.id: entry for one in known if (entry := _entry(one, wall, settings)) is not None}
    entries |= {entry.id: entry for entry in _beyond_budget(known, entries.values(), settings)}
    listed = sorted((one for one in known if one.id in entries), key=lambda one: (_order(one), one.id))
    now = Retention(entries=tuple(entries[one.id] for one in listed[-MAX_ENTRIES:]))
    return before if now == before else now


def failed_ends(facts: Facts) -> datetime | None:
    """When what a failed recording left goes; None of any other."""
    if facts.said is None or facts.said.state != "failed" or facts.final_at is None:
        return None
    return facts.final_at + timedelta(days=FAILED_DAYS)


def _order(facts: Facts) -> datetime:
    verified = facts.verified
    at = verified.verified_at if verified is not None else facts.cancelled_at or facts.final_at
    return at or datetime.max.replace(tzinfo=UTC)


def _entry(facts: Facts, wall: datetime, settings: Settings) -> RetentionEntry | None:
    ends = failed_ends(facts)
    if ends is not None and ends <= wall:
        why = f"no film could be made, {FAILED_DAYS} days ago"
        return RetentionEntry(id=facts.id, what="all", why=why, dead=True)
    if facts.dead:
        minutes = settings.retention.cancelled_min
        why = f"cancelled, and not taken back within {minutes} minutes"
        return RetentionEntry(id=facts.id, what="all", why=why, dead=True)
    safe_at = _all_safe_at(facts, settings)
    if safe_at is not None and safe_at + timedelta(hours=settings.retention.film_local_h) <= wall:
        hours = settings.retention.film_local_h
        why = f"in the bucket, verified, for {hours} h"
        return RetentionEntry(id=facts.id, what="all", why=why)
    if _cameras_may_go(facts, settings):
        return RetentionEntry(id=facts.id, what="cameras", why="durable in the film")
    return None


def _beyond_budget(
    known: Sequence[Facts], listed: Iterable[RetentionEntry], settings: Settings
) -> Iterable[RetentionEntry]:
    """What goes before its time so that the rest keeps within ``storage.budget``: the oldest that is safe.

    Nothing that is not in the bucket ever goes for room.
    """
    budget = settings.storage.budget
    if budget is None:
        return
    what = {entry.id: entry.what for entry in listed}
    here = [one for one in known if what.get(one.id) != "all"]
    taken = sum(_local_bytes(one, cameras=one.id not in what) for one in here)
    safe = [(at, one.id, one) for one in here if (at := _all_safe_at(one, settings)) is not None]
    for _, _, one in sorted(safe, key=lambda row: row[:2]):
        if taken <= budget:
            return
        taken -= _local_bytes(one, cameras=one.id not in what)
        yield RetentionEntry(
            id=one.id, what="all", why="in the bucket, verified, and storage.budget is taken"
        )


def _local_bytes(facts: Facts, *, cameras: bool) -> int:
    """What a recording takes on the disk, as its owners count it. ``cameras``: its camera files are there."""
    sent = sum(one.bytes for one in facts.upload.objects) if facts.upload is not None else 0
    film = facts.film.bytes if facts.film is not None else 0
    claimed = sum(stage.bytes for stage in facts.captures.values()) if cameras else 0
    return max(sent, film) + claimed


def _all_safe_at(facts: Facts, settings: Settings) -> datetime | None:
    """When every object there is and every one that was asked for was verified; None: not all are."""
    if not facts.final or facts.upload is None:
        return None
    moments = {one.name: one.verified_at for one in facts.upload.objects}
    known = [moment for moment in moments.values() if moment is not None]
    if len(known) < len(moments) or not {"film", *_asked_for(facts, settings)} <= moments.keys():
        return None
    return max(known)


def _cameras_may_go(facts: Facts, settings: Settings) -> bool:
    """All slots are durable in the complete film; camera files that were asked for are verified, too."""
    film, merge = facts.film, facts.merge
    durable = film is not None and film.complete and film.bytes_durable >= film.bytes
    over = merge is not None and merge.status == "succeeded"
    captured = all(stage.status in ("succeeded", "failed", "cancelled") for stage in facts.captures.values())
    asked = _asked_for(facts, settings)
    sent = all(facts.upload is not None and facts.upload.verified(name) for name in asked)
    in_bucket = facts.verified is not None
    return (durable or in_bucket) and over and captured and sent


def _asked_for(facts: Facts, settings: Settings) -> tuple[str, ...]:
    """Camera files that were asked for; of a camera that gave no frame there is none to wait for."""
    if "cameras" not in facts.booking.deliver:
        return ()
    over = ("succeeded", "failed", "cancelled")
    barren = {name for name, stage in facts.captures.items() if stage.status in over and not stage.frames}
    return tuple(name for name in settings.camera_names() if name not in barren)
