"""Where a share's link leads, and how long it lives: never longer than its film."""

import socket
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

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


def link_base(settings: Settings) -> str:
    """The beginning of links that are made without a request: as set, else where the API listens."""
    if settings.api.share_base_url:
        return settings.api.share_base_url.rstrip("/")
    host = settings.api.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - everywhere: under this machine's own name then
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api.port}"


def only_here(base: str) -> bool:
    """Whether links with this prefix lead nowhere from outside this network."""
    host = urlsplit(base).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".home.arpa"))
