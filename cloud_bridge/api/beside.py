"""What the settings want beside the store: users, audit, codes, uploads, and a project's tokens."""

from cloud_bridge.api.context import Beside
from cloud_bridge.api.live import Live
from cloud_bridge.api.tokens import TokenSource
from cloud_bridge.stores.opening import open_media
from cloud_bridge.stores.sqlite import sqlite_path
from cloud_bridge.stores.sqlite_audit import SqliteAudit
from cloud_bridge.stores.sqlite_claims import SqliteClaims
from cloud_bridge.stores.sqlite_people import SqlitePeople
from edge_agent.core.settings import Settings


def open_beside(settings: Settings, live: Live | None) -> Beside:
    """Local users, audit and codes are in the SQLite file of this machine, whatever the bookings are in.

    Raises:
        StoreError: something cannot be opened.
    """
    path = sqlite_path(settings)
    return Beside(
        SqlitePeople(path),
        SqliteAudit(path),
        live,
        open_media(settings),
        SqliteClaims(path),
        _tokens(settings),
    )


def _tokens(settings: Settings) -> TokenSource | None:
    bookings = settings.bookings
    if bookings.kind != "supabase" or not bookings.url or bookings.key is None:
        return None
    from cloud_bridge.api.supabase_login import ProjectTokens  # noqa: PLC0415 - its client is not small
    from cloud_bridge.stores.supabase_client import Project  # noqa: PLC0415 - the same

    project = Project(bookings.url, bookings.key.get_secret_value(), bookings.public_key)
    return ProjectTokens(project, settings.device.org)
