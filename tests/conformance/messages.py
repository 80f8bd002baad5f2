"""What every store of messages must do.

Each store's test class inherits it and gives `store`, `messages` (over the same rows, of the device
``court-1`` in ``club``) and `clock`, whose wall both stores go by.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cloud_bridge.stores import Missing, Store
from cloud_bridge.stores.messages import MessageStore, NewMessage, Recipient
from edge_agent.core.effects import Notice
from schemas.base import utc_text
from tests.cloud_bridge.served import HandClock
from tests.conformance.stores import HOUR, NOON, new

DEVICE = "court-1"
LONG_AGO = utc_text(NOON - 1000 * HOUR)


def text(moment: datetime) -> str:
    return utc_text(moment)


def notice(name: str = "one", kind: str = "film_ready", subject: str = "a", **data: object) -> Notice:
    return Notice(f"{DEVICE}:{name}", kind, subject, text(NOON), data)  # type: ignore[arg-type]


def message(recipient: str = "anna@example.org", **more: object) -> NewMessage:
    base = NewMessage(DEVICE, "a", "film_ready", "email", recipient, "en", text(NOON), {"share": True})
    return replace(base, **more)  # type: ignore[arg-type]


def told_of(messages: MessageStore, *wanted: NewMessage) -> None:
    """Make messages, by a notice of their own."""
    for number, one in enumerate(wanted):
        name = f"{one.subject}/{one.kind}/{one.recipient}/{number}"
        assert messages.add_notice(DEVICE, notice(name, one.kind, one.subject))
        assert messages.expand(f"{DEVICE}:{name}", (one,)) == 1


class MessagesConformance:
    def test_a_notice_brings_what_is_known_of_its_booking(self, store: Store, messages: MessageStore) -> None:
        store.create_booking(
            new("a", title="Anna <b>", contacts=("anna@example.org",), audience="code", record="no")
        )
        first = notice(lacks={"left": 3.5}, why="Ünïcode \N{RIGHT-TO-LEFT OVERRIDE}")
        assert messages.add_notice(DEVICE, first)
        assert not messages.add_notice(DEVICE, first)
        messages.add_notice(DEVICE, notice("two", "alarm", "camera_left/stalled"))
        messages.add_notice(DEVICE, notice("three", "silent", "a"))
        found = messages.open_notices(5)
        assert [one.notice.id for one in found] == [f"{DEVICE}:{name}" for name in ("one", "two", "three")]
        assert (found[0].notice, found[0].device, found[0].title) == (first, DEVICE, "Anna <b>")
        assert (found[0].contacts, found[0].audience, found[0].record) == (
            ("anna@example.org",),
            "code",
            "no",
        )
        assert (found[0].start, found[0].end, found[0].booking_kind) == (
            text(NOON),
            text(NOON + HOUR),
            "booked",
        )
        assert [one.booking_kind for one in found[1:]] == [None, None]
        assert len(messages.open_notices(2)) == 2

    def test_a_notice_is_closed_by_its_messages_once(self, messages: MessageStore) -> None:
        messages.add_notice(DEVICE, notice())
        both = (message(), message("ben@example.org"), message())
        assert messages.expand(f"{DEVICE}:one", both) == 2
        assert messages.expand(f"{DEVICE}:one", (message("eve@example.org"),)) == 0
        assert messages.open_notices(5) == ()
        messages.add_notice(DEVICE, notice("again"))
        assert messages.expand(f"{DEVICE}:again", both) == 0
        messages.add_notice(DEVICE, notice("nobody"))
        assert messages.expand(f"{DEVICE}:nobody", ()) == 0
        assert messages.open_notices(5) == ()
        assert [one.recipient for one in messages.told(DEVICE, "a", LONG_AGO)] == [
            "anna@example.org",
            "ben@example.org",
        ]
        with pytest.raises(Missing):
            messages.expand(f"{DEVICE}:none", ())

    def test_a_message_is_claimed_by_one_until_the_lease_is_over(
        self, messages: MessageStore, clock: HandClock
    ) -> None:
        told_of(messages, message("1@example.org"), message("2@example.org"), message("3@example.org"))
        first = messages.claim("one", 60, 2)
        assert [claimed.message.recipient for claimed in first] == ["1@example.org", "2@example.org"]
        assert [(claimed.attempt, claimed.claimed_until) for claimed in first] == [
            (1, text(NOON + timedelta(seconds=60)))
        ] * 2
        assert first[0].message == message("1@example.org")
        assert [c.message.recipient for c in messages.claim("two", 60, 9)] == ["3@example.org"]
        assert messages.claim("two", 60, 9) == ()
        clock.now += timedelta(seconds=60)
        again = messages.claim("two", 60, 9)
        assert [(c.message.recipient, c.attempt) for c in again] == [
            ("1@example.org", 2),
            ("2@example.org", 2),
            ("3@example.org", 2),
        ]
        assert again[0].id == first[0].id
        assert not messages.sent(first[0].id, "one")
        messages.not_sent(first[1].id, "one", "late", None)
        states = {one.recipient: (one.state, one.why) for one in messages.told(DEVICE, "a", LONG_AGO)}
        assert states == {
            "1@example.org": ("sent", None),
            "2@example.org": ("waiting", None),
            "3@example.org": ("waiting", None),
        }

    def test_nothing_goes_before_its_time(self, messages: MessageStore, clock: HandClock) -> None:
        told_of(messages, message(not_before=text(NOON + HOUR)))
        assert messages.claim("one", 60, 9) == ()
        clock.now += HOUR
        (claimed,) = messages.claim("one", 60, 9)
        messages.not_sent(claimed.id, "one", "server away", text(NOON + 2 * HOUR))
        (waiting,) = messages.told(DEVICE, "a", LONG_AGO)
        assert (waiting.state, waiting.at, waiting.why, waiting.attempt) == (
            "waiting",
            text(NOON + 2 * HOUR),
            "server away",
            1,
        )
        assert messages.claim("two", 60, 9) == ()
        clock.now += HOUR
        (claimed,) = messages.claim("two", 60, 9)
        assert (claimed.attempt, claimed.message.not_before) == (2, text(NOON + HOUR))

    def test_what_is_sent_or_given_up_stays_so(self, messages: MessageStore, clock: HandClock) -> None:
        told_of(messages, message("1@example.org"), message("2@example.org"))
        one, two = messages.claim("one", 60, 9)
        assert messages.sent(one.id, "one")
        messages.not_sent(two.id, "one", "no such mailbox", None)
        messages.not_sent(one.id, "one", "too late", None)
        clock.now += 100 * HOUR
        assert messages.sent(one.id, "one")
        assert messages.claim("two", 60, 9) == ()
        assert [(t.state, t.at, t.why) for t in messages.told(DEVICE, None, LONG_AGO)] == [
            ("sent", text(NOON), None),
            ("given_up", text(NOON), "no such mailbox"),
        ]
        with pytest.raises(Missing):
            messages.sent("n0", "one")

    def test_a_message_with_a_link_delivers_the_share(
        self, store: Store, messages: MessageStore, clock: HandClock
    ) -> None:
        store.create_booking(new("a"))
        store.make_share("a", NOON + 24 * HOUR)
        told_of(
            messages,
            message("0@example.org", data={"share": False}),
            message("1@example.org"),
            message("2@example.org"),
        )
        plain, first, second = messages.claim("one", 60, 9)
        before = store.poll(0).cursor
        messages.sent(plain.id, "one")
        assert store.poll(before).cursor == before
        messages.sent(first.id, "one")
        changed = store.poll(before).cursor
        assert changed > before
        store.issue_link("a", NOON + 24 * HOUR)
        store.issue_link("a", NOON + 24 * HOUR)
        clock.now += HOUR
        messages.sent(second.id, "one")
        shares = store.poll(0).shares
        assert {share.delivered_at for share in shares} == {text(NOON)}

    def test_what_was_told_of_a_cause(self, messages: MessageStore, clock: HandClock) -> None:
        cause = "camera_left/stalled"
        at = [f"{cause}@{text(NOON)}", f"{cause}@{text(NOON + HOUR)}"]
        told_of(messages, message(kind="alarm", subject=at[0], data={"held": True}, language="de"))
        clock.now += HOUR
        told_of(
            messages,
            message(kind="recovered", subject=at[0]),
            message(kind="alarm", subject=at[1], channel="webhook", recipient="https://example.org/x"),
            message(kind="alarm", subject=f"{cause}_more@{text(NOON)}"),
            message(kind="silent", subject=DEVICE),
        )
        found = messages.told(DEVICE, cause, LONG_AGO)
        assert [(one.kind, one.subject) for one in found] == [
            ("alarm", at[0]),
            ("recovered", at[0]),
            ("alarm", at[1]),
        ]
        first = found[0]
        assert (first.device, first.channel, first.language, first.created_at, dict(first.data)) == (
            DEVICE,
            "email",
            "de",
            text(NOON),
            {"held": True},
        )
        assert len(messages.told(DEVICE, cause, text(NOON + HOUR))) == 2
        assert len(messages.told(DEVICE, None, LONG_AGO)) == 5
        assert len(messages.told(DEVICE, DEVICE, LONG_AGO)) == 1
        assert messages.told("court-2", None, LONG_AGO) == ()

    def test_recipients_are_added_changed_and_removed(self, messages: MessageStore) -> None:
        anna = Recipient(DEVICE, "email", "anna@example.org")
        hook = Recipient(DEVICE, "webhook", "https://example.org/x", ("alarm",), "de", "22:00-07:00")
        for one in (hook, anna):
            messages.set_recipient(one)
        assert messages.recipients(DEVICE) == (anna, hook)
        assert messages.recipients("court-2") == ()
        louder = replace(anna, kinds=("alarm", "silent"), quiet="21:00-08:00")
        messages.set_recipient(louder)
        assert messages.recipients(DEVICE) == (louder, hook)
        assert messages.remove_recipient(DEVICE, "email", "anna@example.org")
        assert not messages.remove_recipient(DEVICE, "email", "anna@example.org")
        assert messages.recipients(DEVICE) == (hook,)

    def test_the_next_booking_is_one_that_is_recorded_and_not_over(
        self, store: Store, messages: MessageStore, clock: HandClock
    ) -> None:
        (own,) = messages.devices_seen()
        assert (own.device, own.org, own.next_booking, own.now) == (DEVICE, "club", None, text(NOON))
        store.create_booking(new("quiet", NOON + HOUR, record="no"))
        store.create_booking(new("off", NOON + 2 * HOUR))
        store.change_booking("off", {"status": "cancelled"})
        store.create_booking(new("next", NOON + 3 * HOUR))
        store.create_booking(new("later", NOON + 5 * HOUR))

        def ahead() -> tuple[str, str] | None:
            return messages.devices_seen()[0].next_booking

        assert ahead() == ("next", text(NOON + 3 * HOUR))
        clock.now = NOON + 4 * HOUR - timedelta(microseconds=1)
        assert ahead() == ("next", text(NOON + 3 * HOUR))
        clock.now = NOON + 4 * HOUR
        assert ahead() == ("later", text(NOON + 5 * HOUR))
        store.set_automatic(on=False)
        assert ahead() is None
