"""How long a share lives: never longer than its film. Pure."""

from datetime import datetime, timedelta

from edge_agent.core.settings import Settings


def expiry(now: datetime, ends: datetime, verified_at: datetime | None, settings: Settings) -> datetime:
    """When a share made now ends.

    Args:
        now: the moment it is made.
        ends: the booking's end: of a film yet to come the days count from there.
        verified_at: when the film was complete in the bucket, None before.
        settings: days of shares and films.
    """
    days = timedelta(days=min(settings.api.share_days, settings.retention.film_bucket_days))
    if verified_at is None:
        return max(now, ends) + days
    return min(now + days, film_ends(verified_at, settings))


def film_ends(verified_at: datetime, settings: Settings) -> datetime:
    """When the film goes from the bucket."""
    return verified_at + timedelta(days=settings.retention.film_bucket_days)
