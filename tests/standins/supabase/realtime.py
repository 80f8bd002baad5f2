"""Realtime: Phoenix channels (vsn 1.0.0); changes come from NOTIFY, to each subscriber by its own rights."""

import asyncio
import json
import logging
import queue
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tests.standins.supabase.database import LISTENING, Caller, Database
from tests.standins.supabase.errors import RestError
from tests.standins.supabase.faults import Faults
from tests.standins.supabase.keys import BadKey

PATIENCE_S = 30

log = logging.getLogger(__name__)


@dataclass
class Channel:
    """What one joined channel wants to hear, as whom."""

    topic: str
    caller: Caller
    wanted: list[dict[str, Any]]


@dataclass(eq=False)
class Peer:
    """One socket."""

    socket: WebSocket
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])

    async def send(self, event: str, topic: str, payload: Mapping[str, Any], ref: str | None) -> None:
        """One message; nothing when the other side is gone."""
        with suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.send_json({"event": event, "topic": topic, "payload": payload, "ref": ref})


class Realtime:
    """The sockets of one server, and its one listening connection."""

    def __init__(self, database: Database, faults: Faults, caller_of: Callable[[str], Caller]) -> None:
        self._database = database
        self._faults = faults
        self._caller_of = caller_of
        self._peers: set[Peer] = set()
        self._ids = 0
        self._marks: queue.SimpleQueue[str] = queue.SimpleQueue()

    def settle(self) -> None:
        """Wait until everything committed so far was heard, and passed on to who listens.

        Raises:
            queue.Empty: the feed does not hear.
        """
        mark = uuid.uuid4().hex
        deadline = time.monotonic() + PATIENCE_S
        with psycopg.connect(self._database.dsn, autocommit=True) as db:
            while time.monotonic() < deadline:
                # Again and again: a feed that only begins to listen has missed the first.
                db.execute("SELECT pg_notify(%s, %s)", (LISTENING, json.dumps({"mark": mark})))
                with suppress(queue.Empty):
                    while self._marks.get(timeout=0.2) != mark:
                        pass
                    return
        raise queue.Empty

    @property
    def joined(self) -> int:
        """Channels joined now."""
        return sum(len(peer.channels) for peer in self._peers)

    async def listen(self) -> None:
        """Pass changes on until cancelled."""
        db = await psycopg.AsyncConnection.connect(self._database.dsn, autocommit=True)
        async with db:
            await db.execute(sql.SQL("LISTEN {}").format(sql.Identifier(LISTENING)))
            async for notice in db.notifies():
                change = json.loads(notice.payload)
                if "mark" in change:
                    self._marks.put(change["mark"])
                elif not self._faults.mute:
                    await self._tell(change)

    async def serve(self, socket: WebSocket) -> None:
        """One socket until it ends."""
        await socket.accept()
        peer = Peer(socket)
        self._peers.add(peer)
        try:
            while socket.client_state is WebSocketState.CONNECTED:
                await self._message(peer, await socket.receive_json())
        except (WebSocketDisconnect, json.JSONDecodeError):
            pass
        finally:
            self._peers.discard(peer)

    async def hang_up(self) -> None:
        """Close every socket, as a deployment does."""
        for peer in tuple(self._peers):
            with suppress(RuntimeError):
                await peer.socket.close(1012)

    async def _message(self, peer: Peer, message: Mapping[str, Any]) -> None:
        event, topic, ref = message["event"], message["topic"], message.get("ref")
        if event == "heartbeat":
            if not self._faults.deaf:
                await peer.send("phx_reply", topic, {"status": "ok", "response": {}}, ref)
        elif event == "phx_join":
            await self._join(peer, topic, ref, message.get("payload") or {})
        elif event == "phx_leave":
            peer.channels.pop(topic, None)
            await peer.send("phx_reply", topic, {"status": "ok", "response": {}}, ref)
        elif event == "access_token" and topic in peer.channels:
            with suppress(BadKey):
                peer.channels[topic].caller = self._caller_of(message["payload"]["access_token"])

    async def _join(self, peer: Peer, topic: str, ref: str | None, payload: Mapping[str, Any]) -> None:
        try:
            caller = self._subscriber(str(payload.get("access_token") or ""))
        except BadKey as error:
            reason = {"reason": f"Unauthorized: {error.text}"}
            await peer.send("phx_reply", topic, {"status": "error", "response": reason}, ref)
            return
        wanted: list[dict[str, Any]] = []
        for asked in payload.get("config", {}).get("postgres_changes", []):
            self._ids += 1
            wanted.append({**asked, "id": self._ids})
        peer.channels[topic] = Channel(topic, caller, wanted)
        response = {"status": "ok", "response": {"postgres_changes": wanted}}
        await peer.send("phx_reply", topic, response, ref)
        ready = {
            "channel": topic.removeprefix("realtime:"),
            "extension": "postgres_changes",
            "message": "Subscribed to PostgreSQL",
            "status": "ok",
        }
        await peer.send("system", topic, ready, None)

    def _subscriber(self, token: str) -> Caller:
        caller = self._caller_of(token)
        if not {"role", "exp"} <= set(caller.claims):
            raise BadKey("MissingClaims", "Fields `role` and `exp` are required in JWT")
        return caller

    async def _tell(self, change: Mapping[str, Any]) -> None:
        for peer in tuple(self._peers):
            for channel in tuple(peer.channels.values()):
                ids = [want["id"] for want in channel.wanted if _concerns(want, change)]
                if ids:
                    await self._change(peer, channel, ids, change)

    async def _change(self, peer: Peer, channel: Channel, ids: list[int], change: Mapping[str, Any]) -> None:
        row = await run_in_threadpool(self._row, channel.caller, change)
        if row is None and change["type"] != "DELETE":
            return
        wants = [want for want in channel.wanted if want["id"] in ids and _passes(want.get("filter"), row)]
        if not wants:
            return
        data: dict[str, Any] = {
            "schema": change["schema"],
            "table": change["table"],
            "type": change["type"],
            "commit_timestamp": "2026-03-01T12:00:00.000Z",
            "columns": [{"name": name, "type": "text"} for name in row or change["key"]],
            "errors": None,
            "record": row or {},
            "old_record": change["key"],
        }
        payload = {"ids": [want["id"] for want in wants], "data": data}
        await peer.send("postgres_changes", channel.topic, payload, None)

    def _row(self, caller: Caller, change: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row as the subscriber may see it; None when it may not."""
        conditions = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(str(value)))
            for name, value in change["key"].items()
        )
        asked = sql.SQL("SELECT to_jsonb(t) FROM {} t WHERE {}").format(
            sql.Identifier(change["schema"], change["table"]), conditions
        )
        try:
            with self._database.request(caller) as db:
                found = db.execute(asked).fetchone()
        except RestError as error:
            log.info("a subscriber may not see %s: %s", change["table"], error.message)
            return None
        return found[0] if found else None


def _concerns(want: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    return (
        want.get("schema") in {"*", change["schema"]}
        and want.get("table") in {None, "*", change["table"]}
        and want.get("event") in {"*", change["type"]}
    )


def _passes(condition: str | None, row: Mapping[str, Any] | None) -> bool:
    """Whether a row passes a filter ``column=eq.value``; a deleted one always does."""
    if not condition or row is None:
        return True
    column, _, rest = condition.partition("=")
    operator, _, value = rest.partition(".")
    return operator == "eq" and str(row.get(column)) == value


async def forever(work: Callable[[], Any]) -> None:
    """Keep a listening connection through restarts of the database."""
    while True:
        try:
            await work()
        except (psycopg.Error, OSError) as error:
            log.info("the feed ended: %s", error)
        await asyncio.sleep(0.1)
