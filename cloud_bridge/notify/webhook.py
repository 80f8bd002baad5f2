"""Telling a program by HTTP: a signed body, sent where it may be sent, and no longer than ten seconds."""

import hashlib
import hmac
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from pydantic import JsonValue

from cloud_bridge.notify.cutoff import Cutoff
from cloud_bridge.notify.mail import plain
from cloud_bridge.notify.outcome import Delayed, Refused
from cloud_bridge.notify.text import Letter, Way, harmless
from cloud_bridge.stores.messages import ClaimedMessage
from edge_agent.core.addresses import bad_url
from schemas.base import utc_text

WHOLE_S = 10.0
TYPES: Mapping[str, str] = {
    "film_ready": "recording.ready",
    "film_partial": "recording.partial",
    "film_missed": "recording.missed",
    "alarm": "alarm.raised",
    "recovered": "alarm.cleared",
    "preflight_failed": "preflight.failed",
    "silent": "device.silent",
    "back": "device.back",
    "test": "test",
}
"""What a body calls each kind of notice."""
LATER_STATUS = (408, 425, 429)
_FACTS = (
    "severity", "text", "mend", "since", "subject", "over_at", "seen_at", "stage", "start", "end", "kind",
    "duration_s", "lacks", "missing", "state", "why", "checks",
)  # fmt: skip
_NAT64 = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Sequence[str]]
"""Addresses of a host, in order of preference; raises OSError when it has none."""


def body_of(claimed: ClaimedMessage, letter: Letter, way: Way | None) -> bytes:
    """The JSON body: facts, words for people, and the link where there is one. Nobody's name or address."""
    message = claimed.message
    body: dict[str, JsonValue] = {
        "id": claimed.id,
        "type": TYPES.get(message.kind, message.kind),
        "created": message.data.get("at"),
        "device": message.device,
        "booking_id": message.data.get("booking_id"),
        "text": f"{letter.subject}\n\n{plain(letter)}",
        "data": {key: message.data[key] for key in _FACTS if key in message.data},
    }
    if way is not None and way.kind == "link":
        body["share_url"] = way.url
        body["share_expires_at"] = utc_text(way.expires_at) if way.expires_at else None
    return json.dumps(body, ensure_ascii=False).encode()


def signature(secret: str, body: bytes, at_s: int) -> str:
    """The header ``EZREC-Signature``: moment (Unix seconds) and HMAC-SHA256 of ``{moment}.{body}``."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Addresses of a host as this machine's resolver knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address is on the open internet, also when an IPv4 one is wrapped into IPv6."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return ip.is_global and not ip.is_multicast and all(inner.is_global for inner in _wrapped(ip))


def _wrapped(ip: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    if isinstance(ip, IPv4Address):
        return ()
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        inner.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return tuple(one for one in inner if one is not None)


class Poster:
    """Posts signed bodies. May be used from several threads."""

    def __init__(
        self,
        resolve: Resolve = system_addresses,
        trust: ssl.SSLContext | None = None,
        whole_s: float = WHOLE_S,
    ) -> None:
        """Nothing is connected yet.

        Args:
            resolve: asked for a host's addresses.
            trust: whose certificates are trusted; None: the system's.
            whole_s: longest time a post may take.
        """
        self._resolve = resolve
        self._trust = trust
        self._whole_s = whole_s

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, known: bool) -> None:
        """Post once; it was taken when this returns. No redirect is followed, the answer's body not read.

        Args:
            url: where to.
            body: what.
            headers: beside those every post has.
            known: the address is from the settings file: it may be in a private network. One from a row may
                not: whoever wrote the row would reach what only this machine can.

        Raises:
            Refused: it may not be sent there, or the other side will not take it for good.
            Delayed: not now.
        """
        wrong = bad_url(url)
        if wrong is not None:
            raise Refused(f"webhook: {wrong}")
        with Cutoff(self._whole_s) as cutoff:
            try:
                status = self._ask(urlsplit(url), body, headers, cutoff, known=known)
            except ssl.SSLCertVerificationError as error:
                reason = harmless(error.verify_message, 120)
                raise Delayed("webhook: its certificate is not trusted", reason, everybody=True) from None
            except (OSError, http.client.HTTPException) as error:
                late = cutoff.over or isinstance(error, TimeoutError)
                text = f"no answer within {self._whole_s:.0f} s" if late else "cannot be reached"
                raise Delayed(f"webhook: {text}", harmless(error, 120), everybody=True) from None
        _judge(status)

    def _ask(
        self, parts: SplitResult, body: bytes, headers: Mapping[str, str], cutoff: Cutoff, *, known: bool
    ) -> int:
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        sock = _connected(self._allowed(host, port, known=known), port, cutoff)
        try:
            cutoff.watch(sock)
            if secure:
                context = self._trust or ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=host)
            maker = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = maker(host, port)
            connection.sock = sock
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, {**headers, "Connection": "close"})
            with connection.getresponse() as answer:
                return answer.status
        finally:
            sock.close()

    def _allowed(self, host: str, port: int, *, known: bool) -> Sequence[str]:
        addresses = self._resolve(host, port)
        if known:
            return addresses
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise Refused(
                "webhook: it leads into a private network; only the settings file may name one there"
            )
        return public


def _connected(addresses: Sequence[str], port: int, cutoff: Cutoff) -> socket.socket:
    """A connection to one of these very addresses: asking for the name again could bring another."""
    last: OSError = OSError("the host has no address")
    for address in addresses:
        if cutoff.over:
            raise TimeoutError
        try:
            return socket.create_connection((address, port), timeout=cutoff.left_s or 0.001)
        except OSError as error:
            last = error
    raise last


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if status in LATER_STATUS or status >= 500:
        raise Delayed(f"webhook: answers {status}", everybody=True)
    if 300 <= status < 400:
        raise Refused(f"webhook: answers with a redirect ({status}); none is followed")
    raise Refused(f"webhook: answers {status}")
