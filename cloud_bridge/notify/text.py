"""What a message says: its facts put into words, and what came from outside made harmless. Pure."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cloud_bridge.notify.words import words
from cloud_bridge.stores.messages import NewMessage

TITLE_LENGTH = 80
LINE_LENGTH = 300
ITEMS = 12
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji
_SPACES = ("Zl", "Zp", "Cc")


@dataclass(frozen=True)
class Way:
    """How a player gets to the film: an open link, or the page where to claim it or to log in.

    ``here``: the address leads nowhere from outside the club's network.
    """

    url: str
    kind: Literal["link", "code", "members"]
    expires_at: datetime | None = None
    here: bool = False


@dataclass(frozen=True)
class Letter:
    """A message in words, without markup."""

    language: str
    subject: str
    hello: str | None
    texts: tuple[str, ...]
    items: tuple[str, ...] = ()
    before: str | None = None
    button: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    bye: str | None = None
    foot: str = ""


def harmless(text: object, length: int = LINE_LENGTH) -> str:
    """One line of what somebody wrote: no control or direction marks, no address that becomes a link."""
    kept: list[str] = []
    for sign in unicodedata.normalize("NFC", str(text)[: length * 4]):
        category = unicodedata.category(sign)
        if category in _SPACES:
            kept.append(" ")
        elif category[0] != "C" or sign in _JOINERS:
            kept.append(sign)
    line = " ".join("".join(kept).replace("://", ": //").split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


class Teller:
    """Puts the facts of one message into words."""

    def __init__(self, message: NewMessage, way: Way | None) -> None:
        self._message = message
        self._way = way
        self._words = words(message.language)
        self._data = message.data
        self._zone = zone_named(message.data.get("zone"))

    def letter(self) -> Letter:
        """The message in words. Facts that are missing or no facts leave a gap, never an error."""
        if self._data.get("player") is True:
            return self._to_player()
        return self._to_keeper()

    # --- to those who played ---

    def _to_player(self) -> Letter:
        kind = self._message.kind
        title = harmless(self._data.get("title") or "", TITLE_LENGTH)
        named = title or self._say("highlight" if self._data.get("kind") == "cut" else "match")
        texts = [self._say(f"{kind}.text", when=self._span())]
        if kind == "film_missed" and f"film_missed.{self._data.get('state')}" in self._words:
            texts.append(self._say(f"film_missed.{self._data.get('state')}"))
        before, button, notes = self._access()
        return Letter(
            self._words["language"],
            self._say(f"{kind}.subject", title=named),
            self._say("hello"),
            tuple(texts),
            tuple(self._lacks()) if kind == "film_partial" else (),
            before,
            button,
            notes,
            self._say("bye") if kind != "film_missed" else None,
            self._say("film.why"),
        )

    def _access(self) -> tuple[str | None, tuple[str, str] | None, tuple[str, ...]]:
        way = self._way
        if way is None:
            return None, None, ()
        here = (self._say("film.here"),) if way.here else ()
        match way.kind:
            case "link":
                until = self._day_of(way.expires_at) if way.expires_at else ""
                notes = (self._say("film.expires", until=until),) if until else ()
                return None, (self._say("film.watch"), way.url), (*notes, *here)
            case "code":
                return self._say("film.code"), (self._say("film.claim"), way.url), here
            case "members":
                return self._say("film.members"), (self._say("film.login"), way.url), here

    # --- to those who look after the court ---

    def _to_keeper(self) -> Letter:
        kind, data = self._message.kind, self._data
        stem = f"{kind}.device" if kind.startswith("film_") else kind
        if kind == "silent" and data.get("stage") == "now":
            stem = "silent.now"
        facts = self._facts()
        texts = [self._say(f"{stem}.text", **facts)]
        if kind in ("alarm", "recovered"):
            texts.append(facts["text"])
        if kind == "film_missed" and data.get("why"):
            texts.append(self._say("why", why=harmless(data["why"])))
        if kind == "alarm" and data.get("mend"):
            texts.append(self._say("alarm.mend", mend=harmless(data["mend"])))
        if kind == "silent":
            texts.append(self._say("silent.mend"))
        items = {"film_partial": self._lacks, "preflight_failed": self._checks}.get(kind, _nothing)()
        return Letter(
            self._words["language"],
            self._say(f"{stem}.subject", **facts),
            None,
            tuple(texts),
            tuple(items),
            foot=self._say("trouble.why", device=facts["device"]),
        )

    def _facts(self) -> dict[str, str]:
        data = self._data
        severity = f"severity.{data.get('severity')}"
        seen = self._moment("seen_at")
        return {
            "device": harmless(self._message.device, TITLE_LENGTH),
            "booking": harmless(
                data.get("booking_id") or self._message.subject.partition("@")[0], TITLE_LENGTH
            ),
            "when": self._span(),
            "severity": self._words.get(severity, harmless(data.get("severity") or "", TITLE_LENGTH)),
            "text": harmless(data.get("text") or ""),
            "since": self._moment("since"),
            "start": self._moment("start"),
            "over": self._moment("over_at"),
            "seen": self._say("silent.since", moment=seen) if seen else self._say("silent.never"),
        }

    def _checks(self) -> Iterable[str]:
        for check in _rows(self._data.get("checks")):
            line = self._say("check", name=harmless(check.get("name")), value=harmless(check.get("value")))
            mend = check.get("mend")
            yield f"{line} {self._say('alarm.mend', mend=harmless(mend))}" if mend else line

    # --- what is missing ---

    def _lacks(self) -> Iterable[str]:
        lacks = self._data.get("lacks")
        said = 0
        for picture in ("left", "right", "card"):
            seconds = (
                _number(cast("Mapping[str, object]", lacks).get(picture)) if isinstance(lacks, dict) else 0
            )
            if seconds > 0:
                said += 1
                yield self._say(f"lacks.{picture}", time=self._length(seconds))
        if not said:
            yield self._say("lacks.some")
        for gap in _rows(self._data.get("missing")):
            cameras = gap.get("cameras")
            names = [self._words[f"camera_{one}"] for one in ("left", "right")
                     if isinstance(cameras, list) and one in cameras]  # fmt: skip
            length = _number(gap.get("for_s"))
            if names and length > 0:
                yield self._say(
                    "lacks.at",
                    at=_position(_number(gap.get("at_s"))),
                    cameras=self._words["and"].join(names),
                    time=self._length(length),
                )

    # --- words ---

    def _say(self, key: str, **values: str) -> str:
        return self._words[key].format(**values)

    def _length(self, seconds: float) -> str:
        if seconds < 90:
            return self._count("second", max(1, round(seconds)))
        if seconds < 90 * 60:
            return self._count("minute", round(seconds / 60))
        return self._say("hours", n=f"{seconds / 3600:.1f}".removesuffix(".0"))

    def _count(self, unit: str, number: int) -> str:
        return self._words[unit] if number == 1 else self._say(f"{unit}s", n=str(number))

    def _day_of(self, moment: datetime) -> str:
        local = moment.astimezone(self._zone)
        return self._say(
            "day",
            weekday=self._words["days"].split()[local.weekday()],
            day=str(local.day),
            month=self._words["months"].split()[local.month - 1],
            year=str(local.year),
        )

    def _moment(self, key: str) -> str:
        at = _time(self._data.get(key))
        if at is None:
            return ""
        return self._say("moment", day=self._day_of(at), time=f"{at.astimezone(self._zone):%H:%M}")

    def _span(self) -> str:
        begin, end = _time(self._data.get("start")), _time(self._data.get("end"))
        if begin is None or end is None:
            return self._moment("start") or self._moment("at")
        first, last = begin.astimezone(self._zone), end.astimezone(self._zone)
        return self._say("span", day=self._day_of(begin), begin=f"{first:%H:%M}", end=f"{last:%H:%M}")


def letter_of(message: NewMessage, way: Way | None = None) -> Letter:
    """A message in words; ``way``: how its recipient gets to the film, where they may."""
    return Teller(message, way).letter()


def _nothing() -> Iterable[str]:
    return ()


def _rows(value: object) -> Sequence[Mapping[str, object]]:
    if not isinstance(value, list):
        return ()
    rows = cast("list[object]", value)[:ITEMS]
    return [cast("Mapping[str, object]", row) for row in rows if isinstance(row, dict)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 < value < 1e7 else 0.0


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def zone_named(name: object) -> tzinfo:
    """A time zone; UTC when this machine does not know it."""
    try:
        return ZoneInfo(name if isinstance(name, str) else "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _position(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
