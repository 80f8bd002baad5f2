"""Addresses of people and programs as people type them: what is wrong with one, in one line. Pure."""

import re
from datetime import datetime, time
from email.utils import parseaddr
from ipaddress import ip_address

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?P<local>{_LOCAL})@(?P<domain>(?:{_LABEL}\.)+{_LABEL})")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?(?:[/?][!-~]*)?"
)
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def plain_address(text: str) -> str | None:
    """An e-mail address as mail servers take it; None when it is none.

    Surrounding space goes, the domain becomes lower case and, with other letters than ASCII, IDNA. Comments,
    names and quoted parts are refused: an address from a row must not be able to say more than where.
    """
    local, at, domain = text.strip().rpartition("@")
    try:
        address = f"{local}{at}{domain.encode('idna').decode('ascii').lower()}"
    except UnicodeError:
        return None
    found = _EMAIL.fullmatch(address)
    if found is None or len(found["local"]) > 64 or len(address) > 254:
        return None
    return address


def bad_address(text: str) -> str | None:
    """What is wrong with an e-mail address, a name in front of it allowed; None when nothing is."""
    _name, address = parseaddr(text)
    if any(ord(sign) < 32 for sign in text) or plain_address(address) is None:
        return "expected an e-mail address like films@club.example"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def bad_url(url: str) -> str | None:
    """What is wrong with a webhook's address; None when nothing is. The address is never in the answer."""
    found = _URL.fullmatch(url)
    if found is None or int(found["port"] or 443) > 65535:
        return "expected an address like https://host/path, without user and password"
    if found["scheme"] != "https" and not is_loopback(found["host"]):
        return "expected https (http only to this machine itself)"
    return None


def quiet_times(text: str) -> tuple[time, time] | None:
    """Begin and end of ``HH:MM-HH:MM``; None when it is not that, or would be all day."""
    found = _QUIET.fullmatch(text)
    if found is None:
        return None
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    return None if begin == end else (begin, end)


def bad_quiet(text: str) -> str | None:
    """What is wrong with quiet hours; None when nothing is."""
    if quiet_times(text) is None:
        return "expected local times like 22:00-07:00"
    return None


def quiet_until(text: str | None, local: datetime) -> datetime | None:
    """When the quiet hours that ``local`` (aware, in the court's own zone) is in are over; else None."""
    times = quiet_times(text) if text else None
    if times is None:
        return None
    begin, end = times
    here = local.time().replace(tzinfo=None)
    inside = begin <= here < end if begin < end else here >= begin or here < end
    if not inside:
        return None
    over = local.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    if here >= end:
        over = _next_day(over)
    return over


def _next_day(moment: datetime) -> datetime:
    # By the calendar, not by 24 hours: the night of a clock change is 23 or 25 hours long.
    day = moment.date().toordinal() + 1
    return datetime.combine(type(moment.date()).fromordinal(day), moment.time(), moment.tzinfo)
