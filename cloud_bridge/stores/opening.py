"""Which store the settings name: the embedded file, or a Supabase project."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cloud_bridge.keys import is_service_role
from cloud_bridge.stores.base import Store, StoreError
from cloud_bridge.stores.keeping import KeepingStore
from cloud_bridge.stores.media import UserMediaStore
from cloud_bridge.stores.messages import MessageStore
from cloud_bridge.stores.sqlite import SqliteStore, sqlite_path
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from edge_agent.core.settings import Settings

if TYPE_CHECKING:
    from cloud_bridge.hints import RealtimeHints
    from cloud_bridge.stores.supabase import SupabaseStore


def open_store(settings: Settings) -> Store:
    """The rows of the settings' device.

    Raises:
        StoreError: they cannot be opened, or the settings do not say where they are.
    """
    if settings.bookings.kind == "supabase":
        return _supabase(settings, settings.device.id)
    return SqliteStore(sqlite_path(settings), device=settings.device)


def open_messages(settings: Settings, *, everywhere: bool = False) -> MessageStore:
    """Notices, messages and recipients of the device; ``everywhere``: of all devices a project's key may see.

    Raises:
        StoreError: as `open_store`.
    """
    device = settings.device
    if settings.bookings.kind == "supabase":
        return _supabase(settings, None if everywhere else device.id)
    return SqliteMessages(sqlite_path(settings), device.id, device.org)


def open_keeping(settings: Settings) -> KeepingStore:
    """What is kept in the bucket, by the rows; in a project of all devices that its key may see.

    Raises:
        StoreError: as `open_store`.
    """
    if settings.bookings.kind == "supabase":
        return _supabase(settings, None)
    return SqliteKeeping(sqlite_path(settings), settings.device.org, settings.device.id)


def open_media(settings: Settings) -> UserMediaStore | None:
    """Uploaded logos and intros; None beside a project of which we have a device's key: it only reads them.

    Raises:
        StoreError: as `open_store`.
    """
    if settings.bookings.kind == "supabase":
        key = settings.bookings.key
        return _supabase(settings, None) if key and is_service_role(key.get_secret_value()) else None
    return SqliteMediaStore(sqlite_path(settings))


def open_hints(settings: Settings, told: Callable[[], None] = lambda: None) -> "RealtimeHints | None":
    """Who says that the device's rows changed, not yet started; None where nobody does.

    Raises:
        StoreError: permanent, the settings do not say where the project is.
    """
    if settings.bookings.kind != "supabase" or not settings.bookings.realtime:
        return None
    _must_be_here()
    from cloud_bridge.hints import RealtimeHints  # noqa: PLC0415 - only who has a project pays for its client
    from cloud_bridge.stores.supabase_client import Project  # noqa: PLC0415 - the same

    project = Project(*_place(settings))
    project.check()
    return RealtimeHints(project, settings.device.id, told)


def _supabase(settings: Settings, device: str | None) -> "SupabaseStore":
    _must_be_here()
    from cloud_bridge.stores.supabase import SupabaseStore  # noqa: PLC0415 - as above
    from cloud_bridge.stores.supabase_client import Project  # noqa: PLC0415 - the same

    return SupabaseStore(Project(*_place(settings)), device, settings.device.timezone)


def _place(settings: Settings) -> tuple[str, str, str | None]:
    bookings = settings.bookings
    if not bookings.url or bookings.key is None:
        name = "key" if bookings.url else "url"
        raise StoreError("permanent", f"bookings.{name} is not set: kind 'supabase' needs the project's")
    return bookings.url, bookings.key.get_secret_value(), bookings.public_key


def _must_be_here() -> None:
    if find_spec("postgrest") is None:
        raise StoreError(
            "permanent",
            "bookings.kind is supabase, but its client is not installed: pip install 'ezrec[cloud]'",
        )
