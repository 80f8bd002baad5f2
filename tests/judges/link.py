"""A player's client: what does a link give? Imports nothing from the product."""

import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Watched:
    """An answer to `Range: bytes=0-`."""

    status: int
    total_bytes: int
    media_type: str


def watch(url: str, path: Path) -> Watched:
    """Ask as a player does and keep what comes."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-"})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            path.write_bytes(answer.read())
            said = re.fullmatch(r"bytes 0-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            return Watched(answer.status, int(said[1]) if said else 0, answer.headers.get_content_type())
    except urllib.error.HTTPError as error:
        with error:
            return Watched(error.code, 0, "")


def page(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the same
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
