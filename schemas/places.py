"""Whose place a path names: a message may speak of files of its own recording and owner only (CONTRACT 4)."""

from collections.abc import Iterator
from typing import Any

from schemas.base import Message, PayloadError
from schemas.health import Asset
from schemas.topics import Address
from schemas.work import SegmentsMinute, SlotsMinute, WorkObject


def check_places(address: Address[Any], message: Message) -> None:
    """Refuse a message whose paths lie elsewhere than its topic's recording and owner have theirs.

    Otherwise one wrong path would put a neighbour's pictures into this film, or his film behind this link.

    Raises:
        PayloadError: the first such path, and where it was expected.
    """
    for path, place in _places(address, message):
        if not (path == place or (place.endswith("/") and path.startswith(place))):
            raise PayloadError(f"path {path[:120]} is not of this topic: expected {place}")
        if ".." in path.split("/"):
            raise PayloadError(f"path {path[:120]} leads out of its folder")


def _places(address: Address[Any], message: Message) -> Iterator[tuple[str, str]]:
    match message:
        case SegmentsMinute(segments=segments):
            place = f"recordings/{address['id']}/{address['cam']}/"
            yield from ((segment.path, place) for segment in segments)
        case SlotsMinute(plans=plans):
            folder = f"recordings/{address['id']}"
            for plan in plans:
                yield from ((source.path, f"{folder}/left/") for source in plan.left_sources)
                yield from ((source.path, f"{folder}/right/") for source in plan.right_sources)
        case WorkObject(path=path):
            owner = "film" if "name" in address.topic.holes else "receipt"
            yield path, f"recordings/{address['id']}/{owner}/"
        case Asset(path=str(path)):
            yield path, f"assets/{address['sha256']}"
        case _:
            return
