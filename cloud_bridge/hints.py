"""Realtime as a hint that asking the store now is worth it. Asking goes on without it; it never raises.

The client gives up for good after fifteen seconds without its server, and never looks whether its heartbeats
are answered. So a connection is a session of ours: it ends at the first sign of trouble, and another begins.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.message import Message, ServerMessage
from realtime.types import PHOENIX_CHANNEL, ChannelEvents, RealtimePostgresChangesListenEvent

from cloud_bridge.stores.supabase_client import Project, one_line
from edge_agent.core.agent import SECOND_NS
from edge_agent.core.backoff import delay_ns

TABLE = "device_changes"
GOODBYE_S = 1.0
"""How long the end of a connection may take; the thread is waited for five times as long."""

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """Seconds: between two heartbeats, for an answer of any kind, after which a session counts as steady;
    the first and the longest pause between two sessions.
    """

    beat_s: float = 25.0
    answer_s: float = 10.0
    steady_s: float = 60.0
    first_s: float = 1.0
    longest_s: float = 60.0


class RealtimeHints:
    """Listens for changes of one device in a thread of its own, from `start` until `close`."""

    def __init__(
        self,
        project: Project,
        device: str,
        told: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            project: where, and who listens.
            device: whose changes.
            told: called in the thread at every hint; also when a session begins, for what changed before.
            pace: of the sessions.
        """
        self._project = project
        self._device = device
        self._told = told
        self._pace = pace or Pace()
        self._rung = threading.Event()
        self._closed = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def wait(self) -> bool:
        """Wait until something changed since the last call, however long that takes; False once closed."""
        self._rung.wait()
        if not self._closed.is_set():
            self._rung.clear()
        return not self._closed.is_set()

    def close(self) -> None:
        """End the thread and everybody who waits. May be repeated."""
        with self._lock:
            self._closed.set()
            if self._loop is not None and self._main is not None:
                self._loop.call_soon_threadsafe(self._main.cancel)
        self._rung.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5 * GOODBYE_S)

    # --- the thread ---

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._supervise())

    async def _supervise(self) -> None:
        with self._lock:
            self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
            if self._closed.is_set():
                return
        try:
            attempt = 0
            while True:
                began = time.monotonic()
                why = await self._session()
                attempt = 1 if time.monotonic() - began > self._pace.steady_s else attempt + 1
                log.log(
                    logging.INFO if attempt == 1 else logging.DEBUG,
                    "no hints from the store (%s); it is asked at its interval meanwhile",
                    why,
                )
                pause_ns = delay_ns(
                    attempt,
                    self._device,
                    first_ns=int(self._pace.first_s * SECOND_NS),
                    ceiling_ns=int(self._pace.longest_s * SECOND_NS),
                )
                await asyncio.sleep(pause_ns / SECOND_NS)
        finally:
            with self._lock:
                self._loop = self._main = None

    async def _session(self) -> str:
        """One connection from its making to its end; why it ended."""
        client = self._client()
        try:
            return await self._listen(client)
        except Exception as error:  # noqa: BLE001 - whatever the line or the client do, it is only a hint
            return self._seen(error)
        finally:
            with suppress(Exception):
                async with asyncio.timeout(GOODBYE_S):
                    await client.close()

    def _client(self) -> AsyncRealtimeClient:
        return AsyncRealtimeClient(
            f"{self._project.url.rstrip('/')}/realtime/v1",
            self._project.public_key or self._project.key,
            auto_reconnect=False,
            max_retries=1,
            timeout=max(1, round(self._pace.answer_s)),
        )

    async def _listen(self, client: AsyncRealtimeClient) -> str:
        await client.set_auth(self._project.key)
        await client.connect()
        pulse = _Pulse(client, PHOENIX_CHANNEL)
        client.channels[PHOENIX_CHANNEL] = pulse
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def state(now: RealtimeSubscribeStates, error: Exception | None) -> None:
            if now is RealtimeSubscribeStates.SUBSCRIBED:
                log.info("the store hints at changes")
                self._hint()
            elif not ended.done():
                ended.set_result(f"{now.value.lower()} {self._seen(error or '')}".strip())

        channel = client.channel(f"ezrec-{self._device}")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All,
            lambda _change: self._hint(),
            table=TABLE,
            schema="public",
            filter=f"device_id=eq.{self._device}",
        )
        async with asyncio.timeout(2 * self._pace.answer_s):
            await channel.subscribe(state)
        return await self._keep(client, pulse, ended)

    async def _keep(self, client: AsyncRealtimeClient, pulse: "_Pulse", ended: asyncio.Future[str]) -> str:
        """Send heartbeats, see that they are answered, until the session is over."""
        while not ended.done():
            listening = _listening(client)
            if listening is None or listening.done():
                return "the line was closed"
            pulse.felt.clear()
            await client.send(Message(topic=PHOENIX_CHANNEL, event=ChannelEvents.heartbeat, payload={}))
            try:
                async with asyncio.timeout(self._pace.answer_s):
                    await pulse.felt.wait()
            except TimeoutError:
                return "heartbeats are not answered"
            over: set[asyncio.Future[Any]] = {listening, ended}
            await asyncio.wait(over, timeout=self._pace.beat_s, return_when=asyncio.FIRST_COMPLETED)
        return ended.result()

    def _hint(self) -> None:
        self._rung.set()
        try:
            self._told()
        except Exception:
            log.exception("a hint was not taken")

    def _seen(self, what: object) -> str:
        text = str(what) or type(what).__name__
        for key in (self._project.key, self._project.public_key):
            text = text.replace(key, "***") if key else text
        return one_line(text)


def _listening(client: AsyncRealtimeClient) -> "asyncio.Task[None] | None":
    """The client's reading task, which shows that it has ended; its error is taken, or asyncio complains."""
    task = cast("asyncio.Task[None] | None", vars(client)["_listen_task"])
    if task is not None and task.done() and not task.cancelled():
        task.exception()
    return task


class _Pulse(AsyncRealtimeChannel):
    """Hears the answers to heartbeats, which the client itself leaves aside."""

    def __init__(self, socket: AsyncRealtimeClient, topic: str) -> None:
        super().__init__(socket, topic)
        self.felt = asyncio.Event()

    def _handle_message(self, message: ServerMessage) -> None:  # noqa: ARG002 - any answer is one
        self.felt.set()
