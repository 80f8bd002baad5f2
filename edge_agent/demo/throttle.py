"""A slow and faulty line: a TCP proxy on loopback, to stand in front of the bucket in tests and bench."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self, cast

from edge_agent.demo.child import HOST
from edge_agent.drivers.objects.rate import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

CHUNK_BYTES = 16 * 1024


class ThrottleProxy:
    """Passes bytes on to `target_port`, at most `up_bytes_per_s` upstream, all connections together.

    Faults are switched from any thread and hold until switched off. Downstream is never slowed.
    """

    def __init__(self, target_port: int, *, up_bytes_per_s: float | None = None, port: int = 0) -> None:
        """Nothing listens before `start`; `port` 0 takes any free one."""
        self.port = port
        self._target_port = target_port
        self._rate = TokenBucket(up_bytes_per_s) if up_bytes_per_s else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="throttle", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._cut_in_bytes: int | None = None
        self._cut_happened = threading.Event()
        self.bytes_up = 0
        self.connections = 0

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Listen. Raises OSError when the port is occupied."""
        self._thread.start()
        self._flowing.set()
        self._call(self._listen())

    def stop(self) -> None:
        """Reset every connection and stop listening. May be repeated."""
        if not self._thread.is_alive():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def refuse(self) -> None:
        """From now on nobody listens, and connections that were open are reset."""
        self._call(self._close())

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._call(self._listen())

    def stall(self) -> None:
        """Connections stay, nothing moves upstream."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """End a stall."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut_after(self, up_bytes: int) -> None:
        """Once this many more bytes have gone upstream, reset the connection that carried the last one."""
        self._cut_happened.clear()
        self._cut_in_bytes = up_bytes

    def wait_for_cut(self, timeout_s: float) -> bool:
        """Whether the cut asked for has happened, waiting up to `timeout_s`."""
        return self._cut_happened.wait(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self.port, limit=4 * CHUNK_BYTES)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        self.connections += 1
        server_out: asyncio.StreamWriter | None = None
        try:
            server_in, server_out = await asyncio.open_connection(HOST, self._target_port)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_up(client_in, server_out))
                pumps.create_task(_pump_down(server_in, client_out))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # One side is gone, a cut was asked for, or we close: both ends learn it as a reset.
            _reset(client_out)
            if server_out is not None:
                _reset(server_out)
        finally:
            for writer in (client_out, server_out):
                if writer is not None:
                    writer.close()
            self._tasks.discard(task)

    async def _pump_up(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            await self._flowing.wait()
            if self._rate is not None:
                await asyncio.sleep(self._rate.reserve(len(chunk)))
            passing = self._until_cut(chunk)
            sink.write(passing)
            await sink.drain()
            self.bytes_up += len(passing)
            if self._cut_in_bytes == 0:
                self._cut_in_bytes = None
                self._cut_happened.set()
                raise ConnectionResetError("cut as asked for")
        sink.write_eof()

    def _until_cut(self, chunk: bytes) -> bytes:
        if self._cut_in_bytes is None:
            return chunk
        passing = chunk[: self._cut_in_bytes]
        self._cut_in_bytes -= len(passing)
        return passing


async def _pump_down(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES * 4):
        sink.write(chunk)
        await sink.drain()
    with contextlib.suppress(OSError):  # the client may have closed its side already
        sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Make closing send RST instead of FIN, as a line that breaks does."""
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
