"""What a camera agent says of its camera."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import OPERATIONAL, PUBLIC, VOLATILE, Message


class CameraStatus(Message):
    """State of one camera. ``fps`` and ``frame_age_ms`` alone cause no publication."""

    state: Annotated[Literal["online", "recording", "stalled", "offline"], PUBLIC]
    fps: Annotated[float | None, VOLATILE] = None
    frame_age_ms: Annotated[int | None, VOLATILE] = None
    dropped: Annotated[int, VOLATILE] = Field(default=0, ge=0)
    encoder: Annotated[str | None, OPERATIONAL] = None
    device: Annotated[str | None, OPERATIONAL] = None
    width: Annotated[int | None, PUBLIC] = None
    height: Annotated[int | None, PUBLIC] = None


class Snapshot(Message):
    """A still picture: JPEG as base64, at most 100 KB with its envelope. Never retained."""

    jpeg_base64: Annotated[str, OPERATIONAL]
    width: Annotated[int, PUBLIC]
    height: Annotated[int, PUBLIC]
