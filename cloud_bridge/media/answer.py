"""What the worker says it did, checked: it is the word of a process that looked at a stranger's file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cloud_bridge.media.bounds import Bounds, RefusalCode, Refused, Wanted
from cloud_bridge.media.sandbox import WorkerBroke, open_plain
from cloud_bridge.stores.media import MediaFile, MediaKind

_HEADS: dict[Wanted, tuple[MediaKind, int, bytes]] = {
    "picture": ("png", 0, b"\x89PNG\r\n\x1a\n"),
    "film": ("mp4", 4, b"ftyp"),
}
# What people are told is shown to them: no line breaks, nothing endless.
_Words = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[\x20-\x7e]+$")]
_Side = Annotated[int, Field(ge=1, le=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Refusal(_Part):
    code: RefusalCode
    why: _Words


class _Made(_Part):
    width: _Side
    height: _Side
    seconds: Annotated[float, Field(gt=0, le=3600)] | None


class Answer(_Part):
    """The worker's answer. ``open``: measures of its confinement that were refused, with why."""

    open: Annotated[dict[_Words, _Words], Field(max_length=20)] = {}
    refused: _Refusal | None = None
    made: _Made | None = None


def answer_of(found: Mapping[str, Any]) -> Answer:
    """The answer in what the worker wrote.

    Raises:
        WorkerBroke: it makes no sense.
    """
    try:
        return Answer.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WorkerBroke(f"the media worker's answer makes no sense: {where}: {first['msg']}") from None


def file_of(answer: Answer, out: Path, wanted: Wanted, bounds: Bounds) -> MediaFile:
    """The file the worker made, by its own bytes.

    Raises:
        Refused: the worker refused the upload.
        WorkerBroke: there is no such file, or it is not what it should be.
    """
    if answer.refused is not None:
        raise Refused(answer.refused.code, answer.refused.why)
    made = answer.made
    kind, place, head = _HEADS[wanted]
    if made is None or (made.seconds is None) != (wanted == "picture"):
        raise WorkerBroke("the media worker's answer says nothing of a file")
    try:
        with open_plain(out) as file:
            begin = file.read(16)
            size = file.seek(0, 2)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WorkerBroke(f"the media worker left no file ({error.strerror or error})") from error
    if begin[place : place + len(head)] != head or size > bounds.out_bytes:
        raise WorkerBroke(f"what the media worker left is no {kind.upper()}")
    return MediaFile(digest, size, kind, made.width, made.height, made.seconds)
