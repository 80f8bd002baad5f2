from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.notify.order import Go, Later, Never, verdict
from cloud_bridge.notify.spread import TROUBLE, Round, listeners, spread
from cloud_bridge.notify.text import letter_of
from cloud_bridge.notify.watch import judge
from cloud_bridge.stores.messages import ClaimedMessage, DeviceSeen, NewMessage, OpenNotice, Recipient, Told
from edge_agent.core.effects import Notice
from edge_agent.core.settings import Device, NoticeKind, Notify, Settings
from schemas.base import utc_text
from tests.cloud_bridge.served import NOON, minutes

TOLD = Settings(
    device=Device(timezone="Europe/Berlin"),
    notify=Notify(emails=("otto@club.example",), webhooks=("https://hooks.example.org/x",)),
)
WEBHOOK = ("webhook", "https://hooks.example.org/x")
OTTO = ("email", "otto@club.example")
ANNA = ("email", "anna@example.org")


def open_notice(kind: str, subject: str = "b1", **more: Any) -> OpenNotice:
    data = more.pop("data", {})
    return OpenNotice("court-1", Notice("court-1:x", kind, subject, utc_text(NOON), data), **more)


def whom(messages: tuple[NewMessage, ...]) -> list[tuple[str, str]]:
    return [(one.channel, one.recipient) for one in messages]


BOOKED: dict[str, Any] = {"booking_kind": "booked", "contacts": ("anna@example.org",)}


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("film_ready", [ANNA, WEBHOOK]),
        ("film_partial", [ANNA, OTTO, WEBHOOK]),
        ("film_missed", [ANNA, OTTO, WEBHOOK]),
        ("preflight_failed", [OTTO, WEBHOOK]),
        ("alarm", [OTTO, WEBHOOK]),
        ("recovered", []),
        ("silent", [OTTO, WEBHOOK]),
        ("back", []),
    ],
)
def test_who_gets_what(kind: str, to: list[tuple[str, str]]) -> None:
    about = BOOKED if kind.startswith("film_") or kind == "preflight_failed" else {}
    assert whom(spread(open_notice(kind, **about), Round(NOON), TOLD)) == to


def test_every_kind_of_the_settings_is_known_here() -> None:
    assert set(get_args(NoticeKind)) == {*TROUBLE, "film_ready"}


@pytest.mark.parametrize(
    ("kind", "to"),
    [("booked", [WEBHOOK]), ("manual", [WEBHOOK]), ("cut", [WEBHOOK]), (None, [WEBHOOK])],
)
def test_without_contacts_a_film_is_for_programs_only(kind: str | None, to: list[tuple[str, str]]) -> None:
    assert whom(spread(open_notice("film_ready", booking_kind=kind), Round(NOON), TOLD)) == to


def test_kinds_of_the_settings_are_all_they_get() -> None:
    quiet = TOLD.model_copy(update={"notify": TOLD.notify.model_copy(update={"kinds": ("film_ready",)})})
    assert whom(spread(open_notice("film_ready", **BOOKED), Round(NOON), quiet)) == [ANNA, OTTO, WEBHOOK]
    assert spread(open_notice("alarm", "a/b"), Round(NOON), quiet) == ()


@pytest.mark.parametrize(("audience", "share"), [("link", True), ("code", False), ("members", False)])
def test_only_an_open_audience_gets_a_link(audience: str, share: bool) -> None:
    made = spread(open_notice("film_partial", audience=audience, **BOOKED), Round(NOON), TOLD)
    assert [one.data["share"] for one in made] == [share, False, share]


def test_one_of_the_settings_is_not_doubled_by_the_store() -> None:
    rows = (Recipient("court-1", *OTTO, ("alarm",), "de"), Recipient("court-1", "email", "new@club.example"))  # type: ignore[arg-type]
    assert [one.address for one in listeners("court-1", rows, TOLD)] == [
        "otto@club.example",
        "https://hooks.example.org/x",
        "new@club.example",
    ]


_JSON = st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
_DATA = st.dictionaries(
    st.sampled_from(
        ["severity", "since", "stage", "seen_at", "booking_id", "start", "end", "kind", "at", "zone"]
    ),
    _JSON,
)


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([*get_args(NoticeKind), "news of tomorrow"]),
    subject=st.text(max_size=20),
    data=_DATA,
    contacts=st.lists(st.text(), max_size=4),
    zone=st.none() | st.text(),
    quiet=st.none() | st.text(),
)
def test_any_notice_becomes_messages_that_can_be_told(
    kind: str, subject: str, data: Any, contacts: list[str], zone: str | None, quiet: str | None
) -> None:
    notice = open_notice(kind, subject, data=data, contacts=tuple(contacts), zone=zone, booking_kind="booked")
    rows = (Recipient("court-1", "email", "new@club.example", (), "xx", quiet),)
    for one in spread(notice, Round(NOON, rows), TOLD):
        assert one.not_before >= utc_text(NOON)
        if one.kind in get_args(NoticeKind):
            assert letter_of(one).subject


# --- order ---


def told(number: int, kind: str, state: Any = "sent", held: bool = False) -> Told:
    return Told(
        f"n{number}", "court-1", f"a/b@{number}", kind, "email", "otto@club.example", "en", state,
        utc_text(NOON), utc_text(NOON), 1, None, {"held": held},
    )  # fmt: skip


def judged(number: int, *before_and_after: Told) -> Go | Later | Never:
    mine = next(one for one in before_and_after if one.id == f"n{number}")
    message = NewMessage(
        "court-1", mine.subject, mine.kind, mine.channel, mine.recipient, "en", utc_text(NOON), mine.data
    )
    return verdict(ClaimedMessage(mine.id, message, 1, ""), before_and_after, NOON)


def test_the_end_goes_behind_its_beginning() -> None:
    mine = told(2, "recovered", "waiting")
    assert judged(2, told(1, "alarm"), mine) == Go()
    assert isinstance(judged(2, told(1, "alarm", "waiting"), mine), Later)
    assert isinstance(judged(2, told(1, "alarm", "waiting", held=True), mine), Never)
    assert isinstance(judged(2, told(1, "alarm", "given_up"), mine), Never)
    assert isinstance(judged(2, mine), Never)
    assert isinstance(judged(2, told(0, "alarm"), told(1, "recovered"), mine), Never)
    assert isinstance(judged(2, told(1, "alarm"), mine, told(3, "alarm")), Never)


def test_a_beginning_is_dropped_only_when_it_was_held_and_is_over() -> None:
    assert judged(1, told(1, "alarm", "waiting"), told(2, "recovered", "waiting")) == Go()
    assert judged(1, told(1, "alarm", "waiting", held=True)) == Go()
    held = told(1, "alarm", "waiting", held=True)
    assert isinstance(judged(1, held, told(2, "recovered", "waiting")), Never)
    assert judged(1, told(0, "recovered"), held) == Go()


# --- watch ---


def seen(silent_min: float | None, ahead_min: float | None) -> DeviceSeen:
    ahead = None if ahead_min is None else ("b1", utc_text(NOON + minutes(ahead_min)))
    last = None if silent_min is None else utc_text(NOON - minutes(silent_min))
    return DeviceSeen("court-1", "club", last, "online", ahead, utc_text(NOON))


@pytest.mark.parametrize(
    ("silent_min", "ahead_min", "stage"),
    [
        (2.99, 0, None),
        (3, None, None),
        (3, 24 * 60 + 0.01, None),
        (3, 24 * 60, "24h"),
        (3, 180.01, "24h"),
        (3, 180, "3h"),
        (3, 60, "1h"),
        (3, 10, "10min"),
        (3, 0.01, "10min"),
        (3, 0, "now"),
        (3, -59, "now"),
        (None, 5, "10min"),
        (99999, 5, "10min"),
        (-5, 5, None),
    ],
)
def test_when_silence_is_told(silent_min: float | None, ahead_min: float | None, stage: str | None) -> None:
    notice = judge(seen(silent_min, ahead_min), ())
    assert (notice.data["stage"] if notice else None) == stage
    assert notice is None or notice.kind == "silent"


def test_the_same_silence_has_the_same_id_and_the_next_stage_another() -> None:
    ids = [judge(seen(gone, left), ()) for gone, left in ((3, 60), (4, 59), (50, 10), (60, -1), (70, -2))]
    names = [notice.id.removeprefix("court-1:silent:b1:") for notice in ids if notice]
    assert names[:3] == ["1h", "1h", "10min"]
    assert all(name.startswith("now:") for name in names[3:])
    assert names[3] != names[4]


def test_back_is_told_once_to_those_who_believe_it_silent() -> None:
    assert judge(seen(0, 60), ()) is None
    first = judge(seen(0, 60), (told(1, "silent"),))
    assert first is not None
    assert (first.kind, first.id) == ("back", "court-1:back:n1")
    assert judge(seen(0, 60), (told(1, "silent"), told(2, "back", "waiting"))) is None
    again = judge(seen(0, 60), (told(1, "silent"), told(2, "back"), told(3, "silent", "waiting")))
    assert again is not None
    assert again.id == "court-1:back:n3"
