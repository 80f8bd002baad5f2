"""Who gets what, in which language, and not before when. Pure: a notice becomes messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from cloud_bridge.notify.order import OVER_OF, owed
from cloud_bridge.notify.text import zone_named
from cloud_bridge.stores.messages import NewMessage, OpenNotice, Recipient, Told
from edge_agent.core.addresses import plain_address, quiet_until
from edge_agent.core.effects import Notice
from edge_agent.core.settings import Settings
from schemas.base import utc_text

FILM = ("film_ready", "film_partial", "film_missed")
TROUBLE = (
    "alarm", "recovered", "preflight_failed", "film_partial", "film_missed", "silent", "back",
)  # fmt: skip
WITH_LINK = ("film_ready", "film_partial")
MOST_CONTACTS = 50
"""Of one booking: more is no match, but somebody who found a way to send mails to anybody."""
CALM = timedelta(minutes=30)
"""A cause that comes and goes is told of once in that time."""


@dataclass(frozen=True)
class Round:
    """What a notice is turned into messages with.

    Attributes:
        now: aware wall time, of the store's clock if that can be had.
        recipients: those the store has for the device.
        told: messages there are about the notice's cause, in the order they were made.
    """

    now: datetime
    recipients: Sequence[Recipient] = ()
    told: Sequence[Told] = ()


def spread(notice: OpenNotice, given: Round, settings: Settings) -> tuple[NewMessage, ...]:
    """The messages a notice becomes; none when nobody is to be told."""
    kind = notice.notice.kind
    if kind in FILM:
        return tuple(_film(notice, given, settings))
    if kind in OVER_OF.values():
        return tuple(_over(notice, given, settings))
    return tuple(_trouble(notice, given, settings))


def listeners(device: str, recipients: Sequence[Recipient], settings: Settings) -> tuple[Recipient, ...]:
    """Everybody who is told about a device: those of the settings, then the store's."""
    notify = settings.notify
    films = (*TROUBLE, "film_ready")
    named = [
        *(
            Recipient(device, "email", address, notify.kinds, notify.language, notify.quiet)
            for address in notify.emails
        ),
        *(
            Recipient(device, "webhook", url, notify.kinds or films, notify.language)
            for url in notify.webhooks
        ),
    ]
    known = {(one.channel, one.address) for one in named}
    return (*named, *(one for one in recipients if (one.channel, one.address) not in known))


def _film(notice: OpenNotice, given: Round, settings: Settings) -> Iterable[NewMessage]:
    """The players first: who is both player and listener gets the player's message."""
    if notice.record == "no":
        return
    kind = notice.notice.kind
    named = notice.contacts[:MOST_CONTACTS]
    contacts = dict.fromkeys(plain_address(contact) or contact.strip() for contact in named)
    facts = _facts(notice, settings)
    for address in contacts:
        data = {**facts, "title": notice.title, "player": True, "audience": notice.audience}
        data["share"] = kind in WITH_LINK and notice.audience == "link"
        player = Recipient(notice.device, "email", address, (), settings.notify.language)
        yield _message(notice, notice.notice.subject, player, given.now, data)
    pressed = notice.booking_kind in (None, "manual", "cut") and not contacts
    for one in listeners(notice.device, given.recipients, settings):
        if not _wants(one, kind) or (pressed and one.channel == "email"):
            continue
        if one.channel == "email" and (plain_address(one.address) or one.address) in contacts:
            continue
        data = {**facts, "player": False, "audience": notice.audience}
        data["share"] = one.channel == "webhook" and kind in WITH_LINK and notice.audience == "link"
        due, held = _after_quiet(one, notice, given.now, settings)
        yield _message(notice, notice.notice.subject, one, due, _held(data, held=held))


def _trouble(notice: OpenNotice, given: Round, settings: Settings) -> Iterable[NewMessage]:
    """A trouble that stands: told now, after the quiet hours, or half an hour after the last time."""
    found = notice.notice
    if found.kind == "alarm" and found.data.get("severity") == "minor":
        return
    for one in listeners(notice.device, given.recipients, settings):
        if not _wants(one, found.kind):
            continue
        due, held = _after_quiet(one, notice, given.now, settings)
        calm = _calm(one, found, given.told)
        if calm is not None and calm > due:
            due, held = calm, True
        data = _held(_facts(notice, settings), held=held)
        yield _message(notice, _cause(found), one, due, data)


def _over(notice: OpenNotice, given: Round, settings: Settings) -> Iterable[NewMessage]:
    """The end of a trouble: for those only who were told of it, or are about to be."""
    found = notice.notice
    everybody = listeners(notice.device, given.recipients, settings)
    asked = {(one.channel, one.address): one for one in everybody}
    told = {(one.channel, one.recipient): one for one in given.told}
    for to, last in told.items():
        if not owed([one for one in given.told if (one.channel, one.recipient) == to]):
            continue
        one = asked.get(to) or Recipient(notice.device, last.channel, last.recipient, (), last.language)
        if not _wants(one, found.kind):
            continue
        due, held = _after_quiet(one, notice, given.now, settings)
        yield _message(notice, _cause(found), one, due, _held(_facts(notice, settings), held=held))


def _cause(notice: Notice) -> str:
    """The subject of its messages: the cause and its beginning, the same for a trouble and its end."""
    data = notice.data
    match notice.kind:
        case "silent":
            beginning = f"{data.get('booking_id')}/{data.get('stage')}/{data.get('seen_at')}"
        case "back":
            beginning = str(data.get("seen_at"))
        case _:
            beginning = str(data.get("since") or notice.at)
    return f"{notice.subject}@{beginning}"


def _wants(recipient: Recipient, kind: str) -> bool:
    return kind in (recipient.kinds or TROUBLE)


def _after_quiet(
    one: Recipient, notice: OpenNotice, now: datetime, settings: Settings
) -> tuple[datetime, bool]:
    """When it may go, and whether it has to wait for that."""
    if notice.notice.data.get("severity") == "critical" and notice.notice.kind in OVER_OF:
        return now, False
    over = quiet_until(one.quiet, now.astimezone(zone_named(notice.zone or settings.device.timezone)))
    return (over, True) if over is not None else (now, False)


def _calm(one: Recipient, notice: Notice, told: Sequence[Told]) -> datetime | None:
    """When this recipient may next be told of a cause that comes and goes."""
    if notice.kind not in OVER_OF:
        return None
    sent = [
        datetime.fromisoformat(before.at)
        for before in told
        if before.kind == notice.kind
        and before.state == "sent"
        and (before.channel, before.recipient) == (one.channel, one.address)
        and all(before.data.get(key) == notice.data.get(key) for key in ("stage", "booking_id"))
    ]
    return max(sent) + CALM if sent else None


def _facts(notice: OpenNotice, settings: Settings) -> dict[str, JsonValue]:
    """What a text and a webhook's body need of a notice."""
    found = notice.notice
    facts: dict[str, JsonValue] = {**found.data, "at": found.at}
    facts["zone"] = notice.zone or settings.device.timezone
    if notice.booking_kind is not None:
        facts["booking_id"] = found.subject
        facts.setdefault("kind", notice.booking_kind)
        facts["start"] = facts.get("start") or notice.start
        facts["end"] = facts.get("end") or notice.end
    return facts


def _held(data: Mapping[str, JsonValue], *, held: bool) -> dict[str, JsonValue]:
    return {**data, "held": True} if held else dict(data)


def _message(
    notice: OpenNotice, subject: str, to: Recipient, due: datetime, data: Mapping[str, JsonValue]
) -> NewMessage:
    return NewMessage(
        notice.device,
        subject,
        notice.notice.kind,
        to.channel,
        plain_address(to.address) or to.address if to.channel == "email" else to.address,
        to.language,
        utc_text(due),
        data,
    )
