"""The HTTP side as it runs: the real server in a thread, and a client that follows nothing."""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import uvicorn

from cloud_bridge.api import create_app
from cloud_bridge.api.context import Beside
from cloud_bridge.api.live import Live
from cloud_bridge.api.serve import config_of
from cloud_bridge.api.tokens import TokenSource
from cloud_bridge.api.visits import csrf_token
from cloud_bridge.stores import NewBooking, Role, SqliteStore
from cloud_bridge.stores.media import MediaFile, Slot, Whose
from cloud_bridge.stores.sqlite_audit import SqliteAudit
from cloud_bridge.stores.sqlite_claims import SqliteClaims
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
from cloud_bridge.stores.sqlite_people import SqlitePeople
from edge_agent.core.settings import Settings, Storage
from schemas.receipt import ClockAccount, FilmAccount, Receipt
from schemas.recording import Recording, UploadedObject, UploadStage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "club/court-1/2026-03-01/match/film.mp4"


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


class HandClock:
    """A clock whose wall is set by hand."""

    def __init__(self, wall: datetime = NOON) -> None:
        self.now = wall

    def mono_ns(self) -> int:
        return int(self.now.timestamp() * 1e9)

    def wall(self) -> datetime:
        return self.now

    def synced(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "0" * 32


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fetch(
    url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request over plain HTTP; redirects are answers like any other."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


@dataclass
class Served:
    """An application over a store in a folder, with a key of each role."""

    settings: Settings
    folder: Path
    clock: HandClock = field(default_factory=HandClock)
    keys: dict[str, str] = field(default_factory=dict)
    port: int = 0
    live: Live | None = None
    tokens: TokenSource | None = None

    def __enter__(self) -> Self:
        if self.settings.storage == Storage():  # uploads go into a test's folder, not into a real device's
            storage = Storage(root=str(self.folder / "device"))
            self.settings = self.settings.model_copy(update={"storage": storage})
        self.store = SqliteStore(self.folder / "store.sqlite", self.clock)
        self.keys = {
            "admin": self.store.make_token("admin", "anna"),
            "operator": self.store.make_token("operator", "otto"),
            "user": self.store.make_token("user", "uma"),
            "other": self.store.make_token("user", "olga"),
        }
        self.people = SqlitePeople(self.folder / "store.sqlite", self.clock)
        self.audit = SqliteAudit(self.folder / "store.sqlite", self.clock)
        self.media = SqliteMediaStore(self.folder / "store.sqlite", self.clock)
        self.claims = SqliteClaims(self.folder / "store.sqlite", self.clock)
        beside = Beside(self.people, self.audit, self.live, self.media, self.claims, self.tokens)
        self.app = create_app(self.settings, self.store, self.clock, beside)
        proxies = self.settings.api.trusted_proxies
        self._server = uvicorn.Server(config_of(self.app, "127.0.0.1", 0, proxies))
        ready = threading.Event()
        started = self._server.startup

        async def startup(sockets: Any = None) -> None:
            await started(sockets)
            ready.set()

        self._server.startup = startup  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert ready.wait(30)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        for one in (self.store, self.people, self.audit, self.media, self.claims):
            one.close()

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. ``key`` is a role's name; bytes are sent as they are."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {self.keys[key]}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        return fetch(f"http://127.0.0.1:{self.port}{path}", method, sent, data)

    def head_of(self, path: str, headers: Mapping[str, str]) -> Answer:
        """The beginning of an answer that does not end; the connection is closed then."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, None, dict(headers))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.readline())
        finally:
            connection.close()

    def visit(self, user: str, role: Role = "user", org: str | None = None) -> dict[str, str]:
        """A new user's session, as the headers of their browser, CSRF token included."""
        self.people.add(user, role, org)
        _, token = self.people.open_session(user, "a browser", 86_400)
        return {"Cookie": f"ezrec={token}", "X-CSRF-Token": csrf_token(token)}

    def book(self, booking_id: str = "match", owner: str | None = "uma", **more: Any) -> None:
        start, end = more.pop("start", NOON), more.pop("end", NOON + minutes(60))
        self.store.create_booking(NewBooking(booking_id, "booked", start, end, owner=owner, **more))

    def tell(self, kind: str, message: Any, booking_id: str = "match") -> None:
        self.store.save_result(booking_id, kind, message.body())

    def film(self, booking_id: str = "match", *, size: int = 1000, poster: bool = False) -> None:
        """The device says that the film is complete in the bucket."""
        objects = [("film", KEY), *([("poster", KEY.replace("film.mp4", "poster.jpg"))] if poster else [])]
        self.tell(
            "upload",
            UploadStage(
                status="succeeded",
                objects=tuple(
                    UploadedObject(name=name, key=key, bytes=size, hash="h-1", verified_at=self.clock.now)
                    for name, key in objects
                ),
            ),
            booking_id,
        )
        self.tell("recording", Recording(state="ready", progress_pct=100), booking_id)

    def wear(self, whose: Whose, slot: Slot = "logo") -> str:
        """A logo in a slot, its file (some bytes) in the bucket's folder; its hash."""
        content = f"{whose} {slot}".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        place = Path(self.settings.store.folder or "") / "club" / "assets" / sha256
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.media.set_media(whose, slot, MediaFile(sha256, len(content), "png", 40, 30, None), None)
        return sha256

    def link(self, booking_id: str = "match") -> str:
        """A new link's path."""
        url: str = self.ask("POST", f"/api/v1/recordings/{booking_id}/shares", "admin").json["url"]
        return url[url.index("/s/") :]


def receipt(**more: Any) -> Receipt:
    """The account of a whole film."""
    film = FilmAccount(
        bytes=1000, duration_s=3600, frames=108_000, intro_frames=0, sha256="h-1", codec="h264",
        width=2560, height=720, fps=30,
    )  # fmt: skip
    base: dict[str, Any] = {
        "booking_id": "match", "kind": "booked", "state": "ready", "film": film, "planned_start": NOON,
        "planned_end": NOON + minutes(60), "clock": ClockAccount(synced=True),
        "pictures": {"side_by_side": 108_000},
    }  # fmt: skip
    return Receipt(**{**base, **more})
