"""What the health agent says of the device."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import OPERATIONAL, PUBLIC, VOLATILE, Id, Message, Moment
from schemas.work import MediaPath


class Availability(Message):
    """Whether the device is there. ``stopped`` was said goodbye, ``offline`` is its will."""

    state: Annotated[Literal["online", "stopped", "offline"], PUBLIC]
    version: Annotated[str | None, PUBLIC] = None
    boot_id: Annotated[str | None, OPERATIONAL] = None
    session: Annotated[str | None, OPERATIONAL] = None


class Disk(Message):
    """Space below ``storage.root``. ``booked_hours`` is how many booked hours still fit."""

    free_bytes: Annotated[int, VOLATILE]
    total_bytes: Annotated[int, PUBLIC]
    booked_hours: Annotated[float | None, VOLATILE] = None


class Clock(Message):
    """Whether the wall clock is synchronised, and wall minus monotonic."""

    synced: Annotated[bool, PUBLIC]
    offset_ms: Annotated[float | None, VOLATILE] = None


class Alarms(Message):
    """Summary of the standing alarms."""

    active: Annotated[int, PUBLIC] = 0
    worst: Annotated[Literal["critical", "major", "minor"] | None, PUBLIC] = None
    ids: Annotated[tuple[str, ...], PUBLIC] = ()


class Health(Message):
    """Metrics of the device. The measured numbers alone cause no publication."""

    cpu_pct: Annotated[float | None, VOLATILE] = None
    load1: Annotated[float | None, VOLATILE] = None
    temperature_c: Annotated[float | None, VOLATILE] = None
    throttled: Annotated[bool | None, PUBLIC] = None
    memory_used_pct: Annotated[float | None, VOLATILE] = None
    disk: Annotated[Disk | None, VOLATILE] = None
    network: Annotated[Literal["up", "down"] | None, PUBLIC] = None
    clock: Annotated[Clock | None, VOLATILE] = None
    broker: Annotated[Literal["up", "down"], PUBLIC] = "up"
    agents: Annotated[dict[str, str], PUBLIC] = {}
    alarms: Annotated[Alarms, PUBLIC] = Alarms()
    next_booking: Annotated[Moment | None, PUBLIC] = None


class RetentionEntry(Message):
    """One recording whose media may go. A cancelled id is dead from its entry on.

    ``what``: ``cameras`` (the camera files, durable in the film), ``all`` (everything local).
    """

    id: Id
    what: Literal["cameras", "all"]
    why: str
    dead: bool = False


class Retention(Message):
    """Recordings whose media may go, in order."""

    entries: tuple[RetentionEntry, ...] = Field(default=(), max_length=300)


class PreflightCheck(Message):
    """One thing that was looked at, its value, and whether it will do.

    ``warn``: it will do, and somebody should look at it; ``mend`` says what to do whenever all is not well.
    """

    name: Annotated[str, PUBLIC]
    ok: Annotated[bool, PUBLIC]
    value: Annotated[str, PUBLIC]
    mend: Annotated[str | None, PUBLIC] = None
    warn: Annotated[bool, PUBLIC] = False


class Preflight(Message):
    """Will this booking record?"""

    ok: Annotated[bool, PUBLIC]
    at: Annotated[Moment, PUBLIC]
    checks: Annotated[tuple[PreflightCheck, ...], PUBLIC] = ()


class Asset(Message):
    """A logo or intro named by a booking: on its way, here (``path``), or not to be had."""

    state: Annotated[Literal["fetching", "ready", "failed"], PUBLIC]
    kind: Annotated[Literal["logo", "intro"], PUBLIC]
    path: Annotated[MediaPath | None, OPERATIONAL] = None
    error: Annotated[str | None, PUBLIC] = None
