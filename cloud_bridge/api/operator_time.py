"""Times as people type and read them: in the device's zone, also when the clocks change. Pure."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

from cloud_bridge.resolve import moment

Change = Literal["forward", "back"]
WHICH = ("first", "second")
"""Of a time that comes twice: before and after the clocks go back."""
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_DAY = re.compile(r"20\d\d-\d\d-\d\d|21\d\d-\d\d-\d\d")
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?")


class Unclear(ValueError):
    """What was typed is no time, or not one alone. Its text is for people."""


def typed_day(text: str) -> date:
    """A day as browsers send it.

    Raises:
        Unclear: it is none, or not of this age.
    """
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else _no_day(text)
    except ValueError:
        return _no_day(text)


def _no_day(text: str) -> date:
    raise Unclear(f"“{text}” is no day: such as 2026-03-01 is expected.") from None


def typed_clock(text: str) -> time:
    """A time of day as browsers send it.

    Raises:
        Unclear: it is none.
    """
    try:
        if _CLOCK.fullmatch(text):
            return time.fromisoformat(text)
    except ValueError:
        pass
    raise Unclear(f"“{text}” is no time of day: such as 18:30 is expected.") from None


def changes_at(day: date, clock: time, zone: tzinfo) -> Change | None:
    """Whether a time of day falls into the hour that the clocks leave out (forward) or repeat (back)."""
    first = datetime.combine(day, clock, zone).replace(fold=0)
    before, after = first.utcoffset(), first.replace(fold=1).utcoffset()
    if before is None or after is None or before == after:
        return None
    return "forward" if before < after else "back"


def at(day: date, clock: time, zone: tzinfo, which: str = "") -> datetime:
    """The moment of a day and a time of day; ``which`` of the two, when it comes twice. Aware UTC.

    Raises:
        Unclear: it comes not at all, or twice and it was not said which.
    """
    local, change = datetime.combine(day, clock, zone), changes_at(day, clock, zone)
    if change == "forward":
        there = local.astimezone(UTC).astimezone(zone)
        raise Unclear(
            f"There is no {clock:%H:%M} on {spoken_day(day)}: the clocks go forward then. "
            f"Take {there:%H:%M}, or a time before."
        )
    if change == "back":
        if which not in WHICH:
            raise Unclear(
                f"{clock:%H:%M} comes twice on {spoken_day(day)}: the clocks go back then. Choose which one."
            )
        local = local.replace(fold=WHICH.index(which))
    return local.astimezone(UTC)


def which_of(when: datetime, zone: tzinfo) -> str:
    """Which of two a moment is, when its time of day comes twice; else empty."""
    local = when.astimezone(zone)
    twice = changes_at(local.date(), local.time(), zone) == "back"
    return WHICH[local.fold] if twice else ""


def spoken_clock(when: datetime, zone: tzinfo) -> str:
    """A moment's time of day: 18:30, or "02:30 (second)" in the night the clocks go back."""
    which = which_of(when, zone)
    return f"{when.astimezone(zone):%H:%M}" + (f" ({which})" if which else "")


def spoken_span(start: datetime, end: datetime, zone: tzinfo) -> str:
    """From when to when, without the day; the day of the end, when it is another."""
    later = end.astimezone(zone).date() != start.astimezone(zone).date()
    day = f" on {spoken_day(end.astimezone(zone).date())}" if later else ""
    return f"{spoken_clock(start, zone)} to {spoken_clock(end, zone)}{day}"


def spoken_day(day: date) -> str:
    """A day with its weekday."""
    return f"{day:%A} {day.day} {day:%B}"


def begin_of(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day. Aware UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def clock_change(day: date, zone: tzinfo) -> str | None:
    """What people have to know of a day on which the clocks change."""
    length = begin_of(day + timedelta(days=1), zone) - begin_of(day, zone)
    if length < timedelta(days=1):
        return "The clocks go forward on this day: one hour is left out."
    if length > timedelta(days=1):
        return "The clocks go back on this day: one hour comes twice, its times say which one."
    return None


def in_words(text: str, zone: tzinfo) -> str:
    """A line with its UTC times as those of the zone, and as a sentence."""

    def local(found: re.Match[str]) -> str:
        when = moment(found[0])
        return f"{spoken_clock(when, zone)} on {spoken_day(when.astimezone(zone).date())}"

    said = _STAMP.sub(local, text).rstrip(".")
    return f"{said[:1].upper()}{said[1:]}."
