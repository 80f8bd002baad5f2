"""systemd's watchdog: says that the agent is ready and that its loop still turns."""

import os

from sdnotify import SystemdNotifier  # pyright: ignore[reportMissingTypeStubs]


class Notifier:
    """Talks to the service manager when there is one (``NOTIFY_SOCKET``), else says nothing."""

    def __init__(self) -> None:
        self._socket = SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None

    def ready(self) -> None:
        """The agent knows its disk and works, with or without a broker."""
        self._say("READY=1")

    def beat(self) -> None:
        """The loop turns."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """The agent was asked to end; nothing more is said."""
        self._say("STOPPING=1")
        if self._socket is not None and self._socket.socket is not None:
            self._socket.socket.close()
        self._socket = None

    def _say(self, text: str) -> None:
        if self._socket is not None:
            self._socket.notify(text)  # pyright: ignore[reportUnknownMemberType]
