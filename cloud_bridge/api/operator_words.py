"""What the operator's page says: of the court, of a booking, of what is missing in a film. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Literal

from cloud_bridge.api.operator_time import spoken_clock, spoken_day, spoken_span
from cloud_bridge.api.story import Facts, gaps
from schemas.camera import CameraStatus
from schemas.health import Health
from schemas.receipt import Receipt

Tone = Literal["good", "busy", "bad", "still"]
KINDS: Mapping[str, str] = {"booked": "Booking", "manual": "Recording by the button", "cut": "Highlight"}
MOST_GAPS = 20
_STATES: Mapping[str, tuple[Tone, str]] = {
    "recording": ("busy", "recording now"),
    "ready": ("good", "film ready"),
    "partial": ("bad", "film ready, not complete"),
    "failed": ("bad", "no film: the recording failed"),
    "missed": ("bad", "no film: the court was not being recorded"),
    "cancelled": ("still", "cancelled"),
}
_CAMERAS: Mapping[str, str] = {
    "online": "is there",
    "recording": "records",
    "stalled": "sends no pictures just now",
    "offline": "is not there",
}


@dataclass(frozen=True)
class Said:
    """A line, and how good the news is."""

    tone: Tone
    text: str


def called(known: Facts) -> str:
    """What a booking is called."""
    return known.row.booking.title or KINDS.get(known.row.booking.stored.kind, "Booking")


def state_of(known: Facts, now: datetime) -> Said:
    """A booking's state in a few words."""
    stored = known.row.booking.stored
    if stored.status == "cancelled":
        return Said("still", "cancelled")
    if known.state in _STATES and not (known.state == "cancelled" and stored.record == "no"):
        return Said(*_STATES[known.state])
    if stored.record == "no":
        return Said("still", "not recorded, as asked")
    if known.state == "finishing":
        pct = known.recording.progress_pct if known.recording else 0
        return Said("busy", f"film being finished, {pct} %")
    if now < known.start:
        return Said("still", "will be recorded")
    if now < known.end:
        return Said("bad", "is on, but no recording is known of")
    return Said("bad", "over; nothing is known of a recording yet")


def court_state(
    current: Facts | None,
    following: Facts | None,
    cameras: Mapping[str, CameraStatus],
    now: datetime,
    zone: tzinfo,
) -> tuple[Said, ...]:
    """What the court does now, and what comes next."""
    said = [_current(current, cameras, zone)] if current else []
    if following is None:
        return (
            *(said or [Said("still", "Nothing is being recorded.")]),
            Said("still", "No booking follows."),
        )
    day, today = following.start.astimezone(zone).date(), now.astimezone(zone).date()
    when = spoken_clock(following.start, zone) + ("" if day == today else f" on {spoken_day(day)}")
    more = "" if following.row.booking.stored.record == "yes" else ", not recorded"
    next_one = Said("still", f"Next at {when}: {called(following)}{more}.")
    return (*(said or [Said("still", "Nothing is being recorded.")]), next_one)


def _current(known: Facts, cameras: Mapping[str, CameraStatus], zone: tzinfo) -> Said:
    until, name = spoken_clock(known.end, zone), called(known)
    if known.row.booking.stored.record == "no":
        return Said("still", f"Booked until {until}: {name}. Not recorded, as asked.")
    running = any(camera.state == "recording" for camera in cameras.values())
    if running or known.state == "recording":
        return Said("busy", f"Recording now: {name}, until {until}.")
    return Said("bad", f"Booked until {until}: {name}. It should be recorded, but no recording is known of.")


def camera_words(names: Iterable[str], cameras: Mapping[str, CameraStatus]) -> tuple[Said, ...]:
    """Each camera's state; of one that is not heard, that."""
    said = list[Said]()
    for name in names:
        camera = cameras.get(name)
        if camera is None:
            said.append(Said("still", f"Camera {name}: not heard from here."))
            continue
        rate = f", {camera.fps:.0f} pictures a second" if camera.fps else ""
        good = camera.state in ("online", "recording")
        said.append(Said("good" if good else "bad", f"Camera {name} {_CAMERAS[camera.state]}{rate}."))
    return tuple(said)


def disk_words(health: Health | None) -> Said | None:
    """How much more can be recorded without the internet."""
    disk = health.disk if health else None
    if disk is None:
        return None
    if disk.booked_hours is None:
        return Said("still", f"{disk.free_bytes / 1e9:.1f} GB are free on the disk.")
    hours = disk.booked_hours
    text = f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"
    return Said("good" if hours >= 2 else "bad", f"{text} booked hours still fit on the disk.")


def account(known: Facts) -> tuple[Said, tuple[str, ...]] | None:
    """The receipt in plain words: whether the film is whole, and if not what is missing where."""
    receipt = known.receipt
    if receipt is None:
        return None
    if receipt.film is None:
        return Said("bad", "There is no film."), tuple(_missing(receipt))
    lacks = gaps(known)
    if not lacks:
        return Said("good", "Complete: every second of the booking is in it."), ()
    return Said("bad", "Not everything is in the film."), tuple(_missing(receipt)) or tuple(lacks)


def _missing(receipt: Receipt) -> list[str]:
    """What no camera, or one alone, has pictures of, by the place in the film."""
    spans = {
        cam: [(max(gap.begin, receipt.planned_start), min(gap.end, receipt.planned_end)) for gap in told.gaps]
        for cam, told in receipt.cameras.items()
    }
    said = [(begin, end, _lack(begin, end, lost, receipt)) for begin, end, lost in _pieces(spans)]
    lines = [text for _, _, text in said[:MOST_GAPS]]
    counted = sum(max(told.gaps_count, len(told.gaps)) for told in receipt.cameras.values())
    more = max(len(said) - MOST_GAPS, counted - sum(len(told.gaps) for told in receipt.cameras.values()))
    return [*lines, *([f"and {more} more, in the receipt"] if more > 0 else [])]


Span = tuple[datetime, datetime]


def _pieces(spans: Mapping[str, list[Span]]) -> list[tuple[datetime, datetime, frozenset[str]]]:
    """Time cut where any gap begins or ends: which cameras lack there; neighbours alike are one."""
    edges = sorted(
        {edge for found in spans.values() for begin, end in found if begin < end for edge in (begin, end)}
    )
    pieces = list[tuple[datetime, datetime, frozenset[str]]]()
    for begin, end in pairwise(edges):
        lost = frozenset(
            cam for cam, found in spans.items() if any(b <= begin and end <= e for b, e in found)
        )
        if pieces and pieces[-1][1] == begin and pieces[-1][2] == lost:
            pieces[-1] = (pieces[-1][0], end, lost)
        elif lost:
            pieces.append((begin, end, lost))
    return pieces


def _lack(begin: datetime, end: datetime, lost: frozenset[str], receipt: Receipt) -> str:
    film = receipt.film
    intro_s = film.intro_frames / max(1, film.fps) if film else 0.0
    offset = timedelta(seconds=intro_s) - (receipt.planned_start - begin)
    if lost >= receipt.cameras.keys():
        return f"{_length(end - begin)} missing at {_place(offset)}"
    there = " and ".join(sorted(receipt.cameras.keys() - lost))
    return f"only camera {there} from {_place(offset)} to {_place(offset + (end - begin))}"


def _length(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 1:
        return "less than 1 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _place(offset: timedelta) -> str:
    minutes, seconds = divmod(max(0, round(offset.total_seconds())), 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours}:{rest:02d}:{seconds:02d}" if hours else f"{rest}:{seconds:02d}"


def when_of(known: Facts, zone: tzinfo) -> str:
    """Day and time of a booking."""
    return f"{spoken_day(known.start.astimezone(zone).date())}, {spoken_span(known.start, known.end, zone)}"
