"""The sender as a process, and who sends at all."""

import logging
import signal
import threading
from collections import OrderedDict
from urllib.parse import urlsplit

from cloud_bridge.notify.post import Transports
from cloud_bridge.notify.sender import Sender
from cloud_bridge.notify.smtp import Mailer
from cloud_bridge.notify.webhook import Poster
from cloud_bridge.shares import link_base
from cloud_bridge.stores import open_messages, open_store
from cloud_bridge.stores.base import Store, StoreError
from edge_agent.core.addresses import is_loopback
from edge_agent.core.settings import Settings
from edge_agent.runtime import log as logs

EXIT_CONFIG = 78
EXIT_SOFTWARE = 70
SQLITE_POLL_S = 1.0
OPEN_STORES = 64

log = logging.getLogger(__name__)


def sends_here(settings: Settings) -> bool:
    """Whether messages are sent beside the bridge; else a cloud side does it."""
    return settings.bookings.kind == "sqlite" or settings.notify.send


def transports_of(settings: Settings) -> Transports:
    """What carries messages out."""
    return Transports(Mailer(settings.smtp), Poster())


class Stores:
    """The rows of one device after another, those used last kept open. For one thread or several."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: OrderedDict[str, Store] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, device: str) -> Store:
        """The rows of a device.

        Raises:
            StoreError: they cannot be opened.
        """
        with self._lock:
            store = self._open.get(device)
            if store is None:
                own = self._settings.device.model_copy(update={"id": device})
                store = open_store(self._settings.model_copy(update={"device": own}))
                self._open[device] = store
            self._open.move_to_end(device)
            # One that falls out may be in use by another thread: it goes with its last user.
            while len(self._open) > OPEN_STORES:
                self._open.popitem(last=False)
            return store

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for store in self._open.values():
                store.close()
            self._open.clear()


def run_notify(settings: Settings, *, everywhere: bool = False) -> int:
    """Send messages until SIGTERM. Returns the process's exit code.

    Args:
        settings: of the device, or of the cloud side.
        everywhere: for all devices of the project, not only the settings' own.
    """
    logs.set_up("notify", settings.log.level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        messages = open_messages(settings, everywhere=everywhere)
    except StoreError as error:
        log.error("notify cannot start: %s", error.text)  # noqa: TRY400 - one line, no trace
        return EXIT_CONFIG if settings.bookings.kind == "supabase" else EXIT_SOFTWARE
    if settings.smtp.host is None:
        log.warning("no mail is sent: smtp.host is not set")
    elif is_loopback(urlsplit(link_base(settings)).hostname or ""):
        log.warning("links in mails lead to this machine only: api.share_base_url is not set")
    stores = Stores(settings)
    every_s = SQLITE_POLL_S if settings.bookings.kind == "sqlite" else settings.bookings.poll_s
    Sender(settings, stores.of, messages, transports_of(settings)).run(stop, every_s)
    stores.close()
    messages.close()
    return 0
