"""What a stored recording means in words: for the share page and for `why`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal, TypeVar

from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import RecordingRow
from schemas.base import Message, PayloadError, validate
from schemas.receipt import Receipt
from schemas.recording import FINAL_STATES, Recording, UploadedObject, UploadStage
from schemas.registry import RECEIPT, RECORDING, UPLOAD
from schemas.work import Picture

M = TypeVar("M", bound=Message)
Phase = Literal["ready", "coming", "never"]


_LACKS: Mapping[Picture, str] = {
    "left": "Only the left camera's picture for {}.",
    "right": "Only the right camera's picture for {}.",
    "card": "No picture at all for {}.",
}


@dataclass(frozen=True)
class Facts:
    """One recording, read from its rows; what is not stored yet, or not readable, is None."""

    row: RecordingRow
    start: datetime
    end: datetime
    recording: Recording | None
    receipt: Receipt | None
    upload: UploadStage | None

    @property
    def film(self) -> UploadedObject | None:
        """The film, once it is complete in the bucket."""
        return self.upload.verified("film") if self.upload else None

    @property
    def state(self) -> str:
        """The recording's state, also before the device has spoken of it."""
        stored = self.row.booking.stored
        if self.recording is not None:
            return self.recording.state
        return "scheduled" if stored.status == "confirmed" and stored.record == "yes" else "cancelled"


@dataclass(frozen=True)
class Story:
    """What the share page says. ``refresh_s``: when to look again. ``complete`` None: not known yet."""

    phase: Phase
    title: str
    when: str
    sentence: str
    progress_pct: int | None = None
    refresh_s: int | None = None
    complete: bool | None = None
    missing: tuple[str, ...] = ()


def facts(row: RecordingRow) -> Facts:
    """Read the rows of a recording."""
    stored = row.booking.stored
    return Facts(
        row,
        moment(stored.start),
        moment(stored.end),
        _read(row, RECORDING.key, Recording),
        _read(row, RECEIPT.key, Receipt),
        _read(row, UPLOAD.key, UploadStage),
    )


def _read(row: RecordingRow, kind: str, model: type[M]) -> M | None:
    stored = row.results.get(kind)
    if stored is None:
        return None
    try:
        return validate(model, stored.body)
    except PayloadError:
        return None  # written by another version: the page goes on with what it can read


def tell(known: Facts, now: datetime, zone: tzinfo) -> Story:
    """The share page's words."""
    title = known.row.booking.title or (
        "Highlight" if known.row.booking.stored.kind == "cut" else "Your match"
    )
    when = spoken_time(known.start, known.end, zone)
    if known.film is not None:
        missing = tuple(gaps(known))
        complete = not missing if known.receipt is not None else None
        return Story("ready", title, when, "", complete=complete, missing=missing)
    never = _never(known)
    if never is not None:
        return Story("never", title, when, never)
    return _coming(known, title, when, now, zone)


def _never(known: Facts) -> str | None:
    stored = known.row.booking.stored
    if stored.record == "no" and stored.status == "confirmed":
        return "This booking is not recorded, as was asked for."
    if known.state == "cancelled" or stored.status == "cancelled":
        return "This booking was cancelled, so there is no film of it."
    if known.state == "missed":
        return "The court was not being recorded at that time. We are sorry: there is no film."
    if known.state == "failed":
        return "The recording could not be made. We are sorry: there is no film."
    return None


def _coming(known: Facts, title: str, when: str, now: datetime, zone: tzinfo) -> Story:
    if now < known.start:
        begin = known.start.astimezone(zone)
        wait_s = (known.start - now).total_seconds()
        text = f"Recording starts at {begin:%H:%M}. The film will be here when you leave the court."
        return Story("coming", title, when, text, refresh_s=max(2, min(60, round(wait_s))))
    if now < known.end:
        share = (now - known.start) / (known.end - known.start)
        until = known.end.astimezone(zone)
        text = f"Recording until {until:%H:%M}. The film will be here when you leave the court."
        left_s = (known.end - now).total_seconds()
        return Story("coming", title, when, text, int(share * 100), max(2, min(30, round(left_s))))
    done_pct = known.recording.progress_pct if known.recording else None
    if now - known.end > timedelta(minutes=10):
        text = "The film is taking longer than usual. Nothing is lost: it will appear here by itself."
        return Story("coming", title, when, text, done_pct, 15)
    return Story("coming", title, when, "The match is over and your film is being finished.", done_pct, 2)


def spoken_time(start: datetime, end: datetime, zone: tzinfo) -> str:
    """A booking's time for people, in the court's own zone."""
    begin, finish = start.astimezone(zone), end.astimezone(zone)
    return f"{begin:%A} {begin.day} {begin:%B %Y}, {begin:%H:%M} to {finish:%H:%M}"


def gaps(known: Facts) -> list[str]:
    """What is missing in the film, in words; nothing when it is whole or not accounted for yet."""
    receipt = known.receipt
    if receipt is None or receipt.film is None:
        return []
    fps, said = max(1, receipt.film.fps), list[str]()
    for picture, text in _LACKS.items():
        frames = receipt.pictures.get(picture, 0)
        if frames:
            said.append(text.format(_seconds(frames / fps)))
    if receipt.state == "partial" and not said:
        said.append("Part of the booked time is not in the film.")
    return said


def _seconds(amount_s: float) -> str:
    if amount_s < 90:
        whole = max(1, round(amount_s))
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(amount_s / 60)} minutes"


def why(known: Facts, now: datetime) -> tuple[str, ...]:
    """Why a film is late or incomplete, or that nothing is wrong, for those who look after the court."""
    said: list[str] = []
    if known.recording is not None and known.recording.why:
        said.append(known.recording.why)
    said += gaps(known)
    if known.receipt is not None:
        left_out = [dressing for dressing in known.receipt.branding if not dressing.applied]
        said += [
            f"Logo {dressing.slot} was left out: {dressing.why or 'not said why'}." for dressing in left_out
        ]
    if known.receipt is not None and known.receipt.whistle_to_watchable_s is not None:
        parts = [f"watchable {known.receipt.whistle_to_watchable_s:.1f} s after the whistle"]
        for name, value in (("machine", known.receipt.machine_s), ("line", known.receipt.uplink_s)):
            if value is not None:
                parts.append(f"{name} {value:.1f} s")
        said.append(", ".join(parts))
    if not said and known.recording is None and known.state == "scheduled" and now > known.end:
        said.append("The device has not said anything of this booking yet.")
    if not said:
        said.append("Nothing is wrong." if known.state in FINAL_STATES else "All is going as planned.")
    return tuple(said)
