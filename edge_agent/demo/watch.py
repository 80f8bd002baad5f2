"""The client at the other end of the link: when does it give a whole film?

Runs in a thread of its own from before the whistle on and knows nothing but the link.
"""

import http.client
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

POLL_S = 0.05
CHUNK_BYTES = 1 << 20


class LinkWatcher:
    """Asks the link for ``bytes=0-`` until it answers 206 with a whole object.

    Attributes:
        watchable_at: wall moment of that answer, None before.
        total_bytes: the object's size as the answer said.
    """

    def __init__(self, url: str, whistle: datetime) -> None:
        self._url = url
        self._whistle = whistle
        self._stop = threading.Event()
        self._seen = threading.Event()
        self.watchable_at: datetime | None = None
        self.total_bytes = 0
        self.last_status = 0
        self._thread = threading.Thread(target=self._run, name="link-watch", daemon=True)

    def start(self) -> None:
        """Begin; before the whistle it sleeps."""
        self._thread.start()

    def move_whistle(self, whistle: datetime) -> None:
        """The end was changed."""
        self._whistle = whistle

    def wait(self, timeout_s: float) -> bool:
        """Whether the link has given a whole film within the time."""
        return self._seen.wait(timeout_s)

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            ahead_s = (self._whistle - datetime.now(UTC)).total_seconds()
            if ahead_s > 0:
                self._stop.wait(min(ahead_s, 0.5))
            elif self._try():
                self._seen.set()
                return
            else:
                self._stop.wait(POLL_S)

    def _try(self) -> bool:
        request = urllib.request.Request(self._url, headers={"Range": "bytes=0-"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.last_status = answer.status
                if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                    return False
                self.total_bytes = int(answer.headers["Content-Range"].rpartition("/")[2])
                answer.read(1)
        except urllib.error.HTTPError as error:
            self.last_status = error.code
            return False
        except (OSError, ValueError, http.client.HTTPException):
            self.last_status = 0
            return False
        self.watchable_at = datetime.now(UTC)
        return True


def download(url: str, path: Path, timeout_s: float = 60) -> int:
    """Fetch a link into a file; bytes written.

    Raises:
        OSError: it cannot be fetched.
    """
    end = time.monotonic() + timeout_s
    with urllib.request.urlopen(url, timeout=30) as answer, path.open("wb") as file:
        written = 0
        while chunk := answer.read(CHUNK_BYTES):
            written += file.write(chunk)
            if time.monotonic() > end:
                raise TimeoutError(f"{url.partition('/s/')[0]}: not fetched within {timeout_s:.0f} s")
    return written
