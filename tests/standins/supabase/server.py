"""A stand-in for a Supabase project: PostgREST and Realtime are ours, PostgreSQL behind them is real.

It proves what our client sends and understands, and what our SQL allows; it does not prove the platform's own
code: its gateway, its PostgREST, its Realtime from the write-ahead log.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.standins.supabase.database import Caller, Database
from tests.standins.supabase.errors import RestError
from tests.standins.supabase.faults import Canned, Faults, Huge
from tests.standins.supabase.keys import SECRET, BadKey, claims_of, mint
from tests.standins.supabase.realtime import Realtime, forever
from tests.standins.supabase.rest import Answer, Ask, Rest

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
WAIT_S = 30


class SupabaseStandIn:
    """A project on a free port of this machine, in a thread. `stop` and `start` keep the address."""

    def __init__(self, dsn: str, secret: str = SECRET) -> None:
        """Prepare it.

        Args:
            dsn: a superuser's, of a database whose migrations have run.
        """
        self.secret = secret
        self.faults = Faults()
        self.anon_key = mint(secret, {"role": "anon"})
        self.service_key = mint(secret, {"role": "service_role"})
        self.database = Database(dsn)
        self.realtime = Realtime(self.database, self.faults, self.caller)
        self._rest = Rest(self.database)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def device_key(self, device: str, org: str, secret: str | None = None, **more: object) -> str:
        """A key as `ezrec store device-key` mints it; with another secret, another project's."""
        return mint(secret or self.secret, {"role": "ezrec_device", "device": device, "org": org, **more})

    def caller(self, token: str, method: str = "GET", path: str = "/") -> Caller:
        """Who a token speaks for.

        Raises:
            BadKey: it is refused.
        """
        claims = claims_of(token, self.secret, self.faults.ahead_s)
        return Caller(str(claims.get("role", "anon")), claims, method, path)

    # --- life ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.database.close()

    def start(self) -> None:
        """Listen again, at the same address; changes are heard when it returns."""
        app = Starlette(
            routes=[
                Route("/rest/v1/rpc/{name}", self._call, methods=METHODS),
                Route("/rest/v1/{name}", self._table, methods=METHODS),
                WebSocketRoute("/realtime/v1/websocket", self._socket),
            ],
            lifespan=self._living,
        )
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            ws="websockets-sansio",
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()
        started = self._server.startup

        async def startup(sockets: Any = None) -> None:
            await started(sockets)
            ready.set()

        self._server.startup = startup  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.run, name="supabase", daemon=True)
        self._thread.start()
        if not ready.wait(WAIT_S):
            raise RuntimeError("the stand-in did not come up")
        self.realtime.settle()

    def stop(self) -> None:
        """Close every connection and refuse new ones. May be repeated."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.should_exit = True
            self._thread.join(WAIT_S)

    def heal(self) -> None:
        """Take every fault away, the clock included, and run again."""
        vars(self.faults).update(vars(Faults()))
        self.database.now = None
        if self._server is None:
            self.start()

    @asynccontextmanager
    async def _living(self, _app: Starlette) -> AsyncGenerator[None]:
        feed = asyncio.create_task(forever(self.realtime.listen))
        try:
            yield
        finally:
            feed.cancel()
            with suppress(asyncio.CancelledError):
                await feed

    # --- requests ---

    async def _call(self, request: Request) -> Response:
        return await self._answer(request, self._rest.call)

    async def _table(self, request: Request) -> Response:
        return await self._answer(request, self._rest.table)

    async def _answer(self, request: Request, work: Any) -> Response:
        name = str(request.path_params["name"])
        self.faults.asked.append(name)
        if self.faults.held is not None:
            await run_in_threadpool(self.faults.held.wait, WAIT_S)
        canned = self.faults.take()
        if isinstance(canned, Huge):
            return self._huge(canned)
        if canned is None or canned.done:
            answer = await self._real(request, name, work)
        else:
            answer = Answer(canned.status, canned.body)
        if canned is None:
            return Response(
                answer.body, answer.status, {"Content-Type": "application/json", **answer.headers}
            )
        return _replaced(canned)

    async def _real(self, request: Request, name: str, work: Any) -> Answer:
        try:
            caller = self._through_the_gate(request)
            ask = Ask(caller, request.query_params.multi_items(), request.headers, await request.body())
            answer: Answer = await run_in_threadpool(work, name, ask, self.faults.hidden)
        except RestError as error:
            return Answer(error.status, json.dumps(error.body()).encode())
        except ClientDisconnect:
            return Answer(499, b"")
        return answer

    def _through_the_gate(self, request: Request) -> Caller:
        """The gateway knows the project's two public keys only; who one is says the bearer token."""
        apikey = request.headers.get("apikey") or request.query_params.get("apikey") or ""
        if apikey not in {self.anon_key, self.service_key}:
            raise _gate(apikey)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            return self.caller(
                token if scheme.lower() == "bearer" else apikey, request.method, request.url.path
            )
        except BadKey as error:
            raise RestError(401, error.code, error.text) from None

    def _huge(self, huge: Huge) -> Response:
        def pieces() -> Iterator[bytes]:
            piece = b" " * 65536
            for _ in range(huge.size // len(piece)):
                self.faults.sent += len(piece)
                yield piece

        size = huge.size // 65536 * 65536
        headers = {"Content-Length": str(size)} if huge.promised else {}
        return StreamingResponse(pieces(), headers=headers, media_type="application/json")

    async def _socket(self, socket: WebSocket) -> None:
        apikey = socket.query_params.get("apikey") or ""
        if apikey not in {self.anon_key, self.service_key}:
            await socket.close(1008)
            return
        await self.realtime.serve(socket)


def _gate(apikey: str) -> RestError:
    if not apikey:
        return RestError(401, None, "No API key found in request")
    return RestError(
        401, None, "Invalid API key", None, "Double check your Supabase `anon` or `service_role` API key."
    )


def _replaced(canned: Canned) -> Response:
    if canned.cut is None:
        return Response(canned.body, canned.status, media_type=canned.content_type)

    def part() -> Iterator[bytes]:
        yield canned.body[: canned.cut]
        raise ConnectionAbortedError("cut on demand")

    length = {"Content-Length": str(len(canned.body))}
    return StreamingResponse(part(), canned.status, length, canned.content_type)
