"""What every handler works with."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Request

from cloud_bridge.api.feed import Feed
from cloud_bridge.api.limits import Limits
from cloud_bridge.api.live import Live
from cloud_bridge.api.tokens import TokenSource
from cloud_bridge.media.desk import Desk
from cloud_bridge.objects import Objects
from cloud_bridge.passwords import Passwords
from cloud_bridge.stores.audit import AuditStore
from cloud_bridge.stores.base import Principal, Store
from cloud_bridge.stores.claims import ClaimStore
from cloud_bridge.stores.media import UserMediaStore
from cloud_bridge.stores.people import PeopleStore
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock


@dataclass(frozen=True)
class MediaSide:
    """Uploaded logos and intros: their rows, and the way of a new one. The application closes the desk."""

    store: UserMediaStore
    desk: Desk


@dataclass(frozen=True)
class Beside:
    """What the application may have beside its store; everything stays its giver's.

    Attributes:
        people: who may log in; without, nobody.
        audit: where deeds are written; without, they are logged.
        live: the device's topics; without, it is known by its rows alone.
        uploads: logos and intros; without, none are taken.
        claims: codes for films; without, there are none.
        tokens: a Supabase project's users, by their tokens; without, none of them come in.
    """

    people: PeopleStore | None = None
    audit: AuditStore | None = None
    live: Live | None = None
    uploads: UserMediaStore | None = None
    claims: ClaimStore | None = None
    tokens: TokenSource | None = None


@dataclass(frozen=True)
class Context:
    """The application's parts, made once in `create_app`.

    Without ``people`` nobody logs in here; without ``audit`` deeds are only logged; without ``live`` the
    device is known by its rows alone. ``answered`` counts answers by status.
    """

    settings: Settings
    store: Store
    objects: Objects
    clock: Clock
    zone: tzinfo
    limits: Limits
    passwords: Passwords
    people: PeopleStore | None = None
    audit: AuditStore | None = None
    live: Live | None = None
    media: MediaSide | None = None
    claims: ClaimStore | None = None
    tokens: TokenSource | None = None
    feed: Feed = field(default_factory=Feed)
    answered: Counter[int] = field(default_factory=Counter[int])

    def now(self) -> datetime:
        """Aware UTC wall time."""
        return self.clock.wall()


def context(request: Request) -> Context:
    """The context of the application that got this request."""
    return cast("Context", request.app.state.context)


def principal(request: Request) -> Principal:
    """Who asks; the gate let nobody through without."""
    return cast("Principal", request.state.principal)


def zone_of(settings: Settings) -> tzinfo:
    """The device's time zone, for pages and names only; UTC when this machine does not know it."""
    try:
        return ZoneInfo(settings.device.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def share_base(settings: Settings, request: Request) -> str:
    """The prefix of links: as set, else the address this request came to."""
    return (settings.api.share_base_url or str(request.base_url)).rstrip("/")
