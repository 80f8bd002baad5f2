"""Which media may go: what is safe elsewhere first, oldest first, and never a film that is not."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from edge_agent.core.recording import Facts
from edge_agent.core.settings import Settings
from schemas.health import Retention, RetentionEntry

MAX_ENTRIES = 300


def retention(facts: Iterable[Facts], wall: datetime, settings: Settings, before: Retention) -> Retention:
    """The list owners delete by; the message before when equal.

    When there are more than fit, the newest stay: the oldest were listed, and deleted, long ago.
    """
    listed = [(_order(one), entry) for one in facts if (entry := _entry(one, wall, settings)) is not None]
    listed.sort(key=lambda pair: (pair[0], pair[1].id))
    now = Retention(entries=tuple(entry for _, entry in listed[-MAX_ENTRIES:]))
    return before if now == before else now


def _order(facts: Facts) -> datetime:
    verified = facts.verified
    at = verified.verified_at if verified is not None else facts.cancelled_at
    return at or datetime.max.replace(tzinfo=UTC)


def _entry(facts: Facts, wall: datetime, settings: Settings) -> RetentionEntry | None:
    if facts.dead:
        minutes = settings.retention.cancelled_min
        why = f"cancelled, and not taken back within {minutes} minutes"
        return RetentionEntry(id=facts.id, what="all", why=why, dead=True)
    if _all_may_go(facts, wall, settings):
        hours = settings.retention.film_local_h
        why = f"in the bucket, verified, for {hours} h"
        return RetentionEntry(id=facts.id, what="all", why=why)
    if _cameras_may_go(facts, settings):
        return RetentionEntry(id=facts.id, what="cameras", why="durable in the film")
    return None


def _all_may_go(facts: Facts, wall: datetime, settings: Settings) -> bool:
    """Every object there is and every one that was asked for is verified, and was so for a while."""
    if not facts.final or facts.upload is None:
        return False
    moments = {one.name: one.verified_at for one in facts.upload.objects}
    known = [moment for moment in moments.values() if moment is not None]
    if len(known) < len(moments) or not {"film", *_asked_for(facts, settings)} <= moments.keys():
        return False
    last = max(known)
    return last + timedelta(hours=settings.retention.film_local_h) <= wall


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
