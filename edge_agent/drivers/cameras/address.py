"""Which addresses a stream camera may open, with which protocols, and how they may be shown. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_agent.drivers.cameras.base import CaptureError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.,-]*):")
_LOGIN = re.compile(r"//[^/@]*@")
# What ffmpeg may open for each: an address inside a playlist or a redirect is held to the same list.
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,udp,tcp,tls",
    "http": "http,tcp",
    "https": "https,http,tcp,tls",
    "tcp": "tcp",
    "udp": "udp",
    "file": "file",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address: what PyAV gets, the protocols it may use, what people may read."""

    url: str
    scheme: str
    protocols: str
    shown: str


def check_address(url: str) -> Address:
    """Accept rtsp(s), http(s), tcp, udp, file and plain paths.

    Raises CaptureError(format) with one clear line.
    """
    if not url or url.startswith("-") or any(ord(sign) < 32 or ord(sign) == 127 for sign in url):
        raise CaptureError("format", f"camera address {masked(url)!r}: expected an address or a file")
    found = _SCHEME.match(url)
    if found is None:
        return Address(f"file:{url}", "file", "file", masked(url))
    scheme = found.group(1).lower()
    rest = url[found.end() :]
    if scheme not in _PROTOCOLS or not (rest.startswith("//") or (scheme == "file" and rest)):
        allowed = ", ".join(sorted(_PROTOCOLS))
        raise CaptureError("format", f"camera address {masked(url)!r}: expected one of {allowed}, or a file")
    if scheme == "file":
        path = rest.removeprefix("//") if rest.startswith("///") else rest
        return Address(f"file:{path}", "file", "file", masked(path))
    return Address(url, scheme, _PROTOCOLS[scheme], masked(url))


def masked(url: str) -> str:
    """The address without its login and query, for messages."""
    return _LOGIN.sub("//***@", url.split("?", 1)[0])[:200]
