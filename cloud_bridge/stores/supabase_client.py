"""One project's functions over HTTP: bounded in time and bytes, its errors translated, no key in any text.

Of supabase-py only its REST client is loaded: the whole takes 16 MB more of a process that stays for years.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httpx
from postgrest import SyncPostgrestClient
from postgrest.exceptions import APIError
from pydantic import JsonValue

from cloud_bridge.stores.base import Conflict, Missing, Overlap, Stale, StoreError
from edge_agent.core.agent import FailureKind

MAX_ANSWER_BYTES = 5_000_000
SHOWN = 100
MAKE_KEY = "`ezrec store device-key DEVICE` makes one"
APPLY_SCHEMA = "apply the schema with `ezrec store migrate`"
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]*(\.[\w-]*)?|sb_secret_\w+")
_KEY = re.compile(r"[\x21-\x7e]+")
_PASSING = frozenset({408, 425, 429})
_NOT_THERE = frozenset({"PGRST202", "PGRST205", "42883", "42P01"})


class Limits(NamedTuple):
    """How long a call may take (to connect, between two bytes, as a whole), how large its answer may be."""

    connect_s: float = 5.0
    read_s: float = 15.0
    whole_s: float = 60.0
    answer_bytes: int = MAX_ANSWER_BYTES


@dataclass(frozen=True)
class Project:
    """Where a project is and who asks.

    Attributes:
        url: ``https://PROJECT.supabase.co``, or where it is hosted.
        key: who asks: a device key or the service-role key.
        public_key: the anon or publishable key, which the gateway wants beside a device key.
    """

    url: str
    key: str
    public_key: str | None = None

    def __repr__(self) -> str:
        return f"Project({self.url!r})"

    def check(self) -> None:
        """See whether it can be asked at all.

        Raises:
            StoreError: permanent, an address or a key that cannot be one.
        """
        if not _is_address(self.url):
            shown = one_line(self.url.rpartition("@")[2])
            raise StoreError(
                "permanent",
                f"bookings.url: {shown!r}, expected https://HOST without a name or password"
                " (http:// only to a machine of the same network: keys would be read on the way)",
            )
        for name, key in (("key", self.key), ("public_key", self.public_key)):
            if key is not None and not _KEY.fullmatch(key):
                raise StoreError("permanent", f"bookings.{name}: has blanks or is empty, expected one word")


class TooLarge(StoreError):
    """The answer had more bytes than are read; half as many rows may have fewer."""

    def __init__(self, text: str) -> None:
        super().__init__("transient", text)


class _Refused(Exception):
    """An answer that is no 2xx."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class _Unbounded(Exception):
    """An answer beyond its bounds in time or kind; the text says which."""


class _TooMuch(_Unbounded):
    """An answer of too many bytes."""


class Rpc:
    """Calls functions of one project. Any thread, several at once; no retries, connections are kept."""

    def __init__(self, project: Project, limits: Limits | None = None) -> None:
        """Prepare the client; nothing is sent.

        Raises:
            StoreError: permanent, the address or a key is none.
        """
        project.check()
        self._project = project
        limits = limits or Limits()
        self._limits = limits
        self._http = httpx.Client(
            transport=_Bounded(httpx.HTTPTransport(limits=httpx.Limits(keepalive_expiry=60)), limits),
            timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s),
            # Compressed, ten megabytes fit into ten kilobytes: what is bounded is what is read.
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_refuse]},
        )
        self._rest = SyncPostgrestClient(
            f"{project.url.rstrip('/')}/rest/v1",
            headers={
                "apikey": project.public_key or project.key,
                "Authorization": f"Bearer {project.key}",
            },
            http_client=self._http,
            retry_enabled=False,
        )

    def close(self) -> None:
        """Give the connections back. May be repeated."""
        self._http.close()

    def call(self, function: str, /, **arguments: object) -> JsonValue:
        """One function of ours, in one transaction; its answer as JSON, not yet looked at.

        Args:
            function: without its ``ezrec_``.
            arguments: without their ``p_``.

        Raises:
            StoreError: with what came back, or that nothing came, in one line.
        """
        name = f"ezrec_{function}"
        given = {f"p_{key}": value for key, value in arguments.items()}
        try:
            json.dumps(given, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError("input", f"{name}: cannot be written as JSON ({self._seen(error)})") from None
        try:
            answer = self._rest.rpc(name, cast("dict[str, str]", given)).execute()
        except _Refused as error:
            raise self._refused(name, error, given) from None
        except _TooMuch as error:
            raise TooLarge(f"{name}: {error}") from None
        except _Unbounded as error:
            raise StoreError("transient", f"{name}: {error}") from None
        except httpx.TimeoutException as error:
            raise StoreError("transient", f"{name}: no answer in time ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise StoreError(
                "transient", f"{name}: the store cannot be reached ({self._seen(error)})"
            ) from None
        except (APIError, RecursionError, ValueError, RuntimeError) as error:
            raise StoreError("transient", f"{name}: not understood ({self._seen(error)})") from None
        # The client hands on as text what is no JSON; ours answer with text in one case, an id.
        if isinstance(answer.data, str) and answer.data.lstrip().startswith("<"):
            raise StoreError("transient", f"{name}: HTML came back ({self._seen(answer.data)})")
        return cast("JsonValue", answer.data)

    def _seen(self, what: object) -> str:
        """The first characters of something that came back, in one line, without our keys."""
        text = str(what) or type(what).__name__
        for key in (self._project.key, self._project.public_key):
            text = text.replace(key, "***") if key else text
        return one_line(text)

    def _refused(self, name: str, refused: _Refused, given: Mapping[str, object]) -> StoreError:
        status, body = refused.status, refused.body
        error = _error_of(body)
        code, message = str(error.get("code") or ""), str(error.get("message") or "")
        seen = self._seen(message or body.decode("utf-8", "replace") or "an empty answer")
        if status >= 500 or status in _PASSING or status < 400:
            return StoreError("transient", f"{name}: HTTP {status} ({seen})")
        meant = _meant(code, self._seen(message), given, error)
        if meant is not None:
            return meant
        if code in _NOT_THERE:
            return StoreError("permanent", f"{name}: the project does not have it ({seen}); {APPLY_SCHEMA}")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return _not_allowed(name, status, seen, message)
        if not error:  # a page of somebody between us and the store, or of another server
            return StoreError("transient", f"{name}: HTTP {status} ({seen})")
        kind: FailureKind = "input" if code[:2] in {"22", "23"} else "permanent"
        return StoreError(kind, f"{name}: HTTP {status} {one_line(code)} ({seen})")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_near(host))


def _is_near(host: str) -> bool:
    """Whether a host is this machine or one of the same network."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".localhost"))


def one_line(text: str) -> str:
    """The first characters of any text, in one line, without what looks like a key."""
    plain = _JWT.sub("***", text[: 40 * SHOWN])
    return " ".join("".join(char if char.isprintable() else " " for char in plain).split())[:SHOWN]


def _not_allowed(name: str, status: int, seen: str, message: str) -> StoreError:
    """The key itself is refused (``denied``: whatever it asks, until somebody mends it), or what it asked."""
    kind: FailureKind = "denied"
    if "revoked" in message:
        why = f"the key of this device was revoked ({seen})"
    elif "JWT expired" in message:
        why = "the time of the key is over"
    elif any(word in message for word in ("JWT", "JWS", "API key")):
        why = f"the project does not know the key ({seen})"
    else:
        why = f"HTTP {status}, not allowed with this key ({seen})"
        kind = (
            "denied"
            if status == HTTPStatus.UNAUTHORIZED or "this key is of device" in message
            else "permanent"
        )
    return StoreError(kind, f"{name}: {why}; bookings.key must be this device's: {MAKE_KEY}")


def _overlap(message: str, given: Mapping[str, object], error: Mapping[str, JsonValue]) -> StoreError:
    try:
        other = json.loads(str(error.get("hint")))
        return Overlap(_subject(given), Taken(str(other["id"]), str(other["start"]), str(other["end"])))
    except (ValueError, TypeError, KeyError):
        # Two at once: the constraint itself refused, and does not say whom.
        return StoreError("transient", f"the court was taken at the same moment ({message})")


def _subject(given: Mapping[str, object]) -> str:
    new = given.get("p_new")
    asked = cast("Mapping[str, object]", new).get("id") if isinstance(new, Mapping) else None
    return str(asked or given.get("p_booking_id") or "it")


def _meant(
    code: str, message: str, given: Mapping[str, object], error: Mapping[str, JsonValue]
) -> StoreError | None:
    """What our own functions say by a code (`cloud_bridge/migrations/README.md`)."""
    match code:
        case "23P01":
            return _overlap(message, given, error)
        case "PT404":
            return Missing(message)
        case "PT409":
            return Conflict(message)
        case "PT412":
            return Stale(message)
        case "PT400":
            return StoreError("input", message)
        case _:
            return None


class Taken(NamedTuple):
    """The booking in the way, as far as the store says."""

    id: str
    start: str
    end: str


def _error_of(body: bytes) -> Mapping[str, JsonValue]:
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, JsonValue]", error) if isinstance(error, dict) else {}


def _refuse(response: httpx.Response) -> None:
    # All our functions answer something. Nothing, which the client would hand on as no rows, is no answer.
    body = response.read()
    if not response.is_success or not body.strip():
        raise _Refused(response.status_code, body)


class _Bounded(httpx.BaseTransport):
    """Refuses answers that are too large or take too long, while they are read."""

    def __init__(self, inner: httpx.BaseTransport, limits: Limits) -> None:
        self._inner = inner
        self._limits = limits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + self._limits.whole_s
        response = self._inner.handle_request(request)
        stream = cast("httpx.SyncByteStream", response.stream)
        try:
            self._look_at(response)
        except _Unbounded:
            stream.close()
            raise
        response.stream = _Counted(stream, self._limits, until)
        return response

    def _look_at(self, response: httpx.Response) -> None:
        promised = response.headers.get("content-length", "")
        if promised.isdigit() and int(promised) > self._limits.answer_bytes:
            raise _TooMuch(
                f"an answer of {promised} bytes is refused, at most {self._limits.answer_bytes} are read"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Unbounded("a compressed answer came, though none was asked for")

    def close(self) -> None:
        self._inner.close()


class _Counted(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, limits: Limits, until: float) -> None:
        self._inner = inner
        self._limits = limits
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        for piece in self._inner:
            count += len(piece)
            if count > self._limits.answer_bytes:
                raise _TooMuch(f"an answer of more than {self._limits.answer_bytes} bytes is refused")
            if time.monotonic() > self._until:
                raise _Unbounded(f"the answer was not whole after {self._limits.whole_s:g} s")
            yield piece

    def close(self) -> None:
        self._inner.close()
