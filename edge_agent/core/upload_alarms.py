"""What the uploader tells people when the bucket does not take what it should."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge_agent.core.agent import SECOND_NS, Stamp
from edge_agent.core.assets import AssetItem, unusable
from edge_agent.core.upload import Item
from schemas.agent import Alarm

UNREACHABLE_NS = 60 * SECOND_NS
WAITING_NS = 600 * SECOND_NS
Severity = Literal["critical", "major", "minor"]


@dataclass(frozen=True)
class Line:
    """The bucket has failed us without a break since then."""

    since_ns: int
    since: datetime
    kind: Literal["denied", "unreachable"]
    text: str


def waiting_ns(items: Iterable[Item]) -> int | None:
    """Monotonic time since which a complete recording has been waiting, or None."""
    since = [item.waiting_since_ns for item in items if item.name == "film" and not item.verified]
    return min((moment for moment in since if moment is not None), default=None)


def due_ns(line: Line | None, items: Iterable[Item]) -> dict[str, int]:
    """When an alarm becomes due, or worse: timer -> monotonic time."""
    if line is None:
        return {}
    waiting = waiting_ns(items)
    times = {"unreachable": line.since_ns + UNREACHABLE_NS}
    if waiting is not None:
        times["waiting"] = waiting + WAITING_NS
    return times


def alarms(
    before: Mapping[str, Alarm],
    line: Line | None,
    items: Iterable[Item],
    assets: Iterable[AssetItem],
    stamp: Stamp,
) -> Mapping[str, Alarm]:
    """The alarms that stand now; those that stood before keep their moment, and the object when equal."""
    known = tuple(items)
    now = [*_line_alarms(line, known, stamp), *_item_alarms(known), *_asset_alarms(assets, stamp)]
    result: dict[str, Alarm] = {}
    for name, severity, text, subject, mend in now:
        stood = before.get(name)
        since = stood.since if stood else (line.since if line and name.startswith("bucket_") else stamp.wall)
        alarm = Alarm(severity=severity, text=text, since=since, subject=subject, mend=mend)
        result[name] = stood if stood is not None and stood == alarm else alarm
    return before if result == before else result


_Row = tuple[str, Severity, str, str | None, str]


def _line_alarms(line: Line | None, items: tuple[Item, ...], stamp: Stamp) -> list[_Row]:
    if line is None:
        return []
    if line.kind == "denied":
        mend = "check store.bucket, store.key and store.secret, and the rights of that key"
        return [("bucket_denied", "critical", line.text, None, mend)]
    if stamp.mono_ns < line.since_ns + UNREACHABLE_NS:
        return []
    waiting = waiting_ns(items)
    worse = waiting is not None and stamp.mono_ns >= waiting + WAITING_NS
    mend = "check this device's internet connection and store.endpoint; nothing is lost, it goes on by itself"
    return [("bucket_unreachable", "critical" if worse else "major", line.text, None, mend)]


def _item_alarms(items: tuple[Item, ...]) -> list[_Row]:
    lost = next((item for item in items if item.gave_up), None)
    if lost is None:
        return []
    why = lost.error.message if lost.error else ""
    text = f"{lost.object_id} arrived twice as something else than its file: {why}"
    mend = "the file is still on the device: check its disk, then send the command uploader/retry"
    return [("upload_mismatch", "critical", text, lost.booking_id, mend)]


def _asset_alarms(assets: Iterable[AssetItem], stamp: Stamp) -> list[_Row]:
    missing = unusable(assets, stamp.wall)
    if not missing:
        return []
    first = missing[0]
    text = f"{len(missing)} logo or intro cannot be had, first {first.sha256[:12]}: {first.text}"
    mend = "upload the file again, or take it out of the booking; films are made without it"
    return [("asset_missing", "minor", text, None, mend)]
