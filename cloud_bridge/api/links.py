"""Making links to a film."""

from datetime import datetime, timedelta

from cloud_bridge.api.context import Context
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.story import Facts
from cloud_bridge.shares import expiry
from cloud_bridge.stores.base import ShareRow


def issue(ctx: Context, known: Facts, days: int | None = None) -> tuple[ShareRow, str]:
    """A new link's share and token; also before there is a film. Never longer than the film.

    Raises:
        Problem: 409, it is not recorded; 410, the film is gone.
    """
    booking = known.row.booking
    if booking.stored.status == "cancelled" or booking.stored.record == "no":
        raise Problem(409, f"{booking.id} is not recorded, there is nothing to share")
    expires_at = _expires(ctx, known, days)
    if expires_at <= ctx.now():
        raise Problem(410, f"the film of {booking.id} is no longer there")
    return ctx.store.issue_link(booking.id, expires_at)


def _expires(ctx: Context, known: Facts, days: int | None) -> datetime:
    now, film = ctx.now(), known.film
    verified_at = film.verified_at if film is not None else None
    if days is None:
        return expiry(now, known.end, verified_at, ctx.settings)
    wished = (max(now, known.end) if film is None else now) + timedelta(days=days)
    api = ctx.settings.api.model_copy(update={"share_days": days})
    return min(wished, expiry(now, known.end, verified_at, ctx.settings.model_copy(update={"api": api})))
