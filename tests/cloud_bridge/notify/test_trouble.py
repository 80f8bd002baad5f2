"""Trouble: the mails, in order, once."""

import json
import threading
from typing import Any

import pytest

from cloud_bridge.stores.messages import Recipient
from schemas.base import utc_text
from tests.cloud_bridge.notify.club import Club
from tests.cloud_bridge.notify.servers import text_of
from tests.cloud_bridge.served import NOON, minutes

OTTO, OLGA = "otto@club.example", "olga@club.example"
NIGHT = "22:00-07:00"


@pytest.fixture
def told(club: Club) -> Club:
    """A club whose operator is told, with quiet hours; it is 13:00 there."""
    club.tell(emails=[OTTO], quiet=NIGHT)
    return club


def at(club: Club, hour: float) -> None:
    """The clock, by the court's own time of that day (Berlin, UTC+1)."""
    club.clock.now = NOON + minutes((hour - 13) * 60)


def silence(club: Club) -> None:
    """The store has worked all the time, the device has not said a word."""
    for _ in range(4):
        club.run()
        club.later(1)
    club.run()


def test_alarm_clear_silence_before_a_booking(told: Club) -> None:
    told.heard()
    begun = told.alarm(severity="critical")
    told.run()
    told.later(2)
    told.heard()
    told.over(begun)
    told.run()
    told.book("b1", start=NOON + minutes(200), end=NOON + minutes(260))
    for _ in range(260):
        told.later(1)
        told.run()
    told.heard()
    told.run()
    assert told.subjects() == [
        "court-1: critical alarm: No pictures",
        "court-1: over: No pictures",
        "court-1 is silent, a booking begins on Sunday 1 March 2026, 16:20",
        "court-1 is silent, a booking begins on Sunday 1 March 2026, 16:20",
        "court-1 is silent, a booking begins on Sunday 1 March 2026, 16:20",
        "court-1 is silent, a booking begins on Sunday 1 March 2026, 16:20",
        "court-1 is silent during a booking",
        "court-1 is back",
    ]
    stages = [one.data["stage"] for one in told.told() if one.kind == "silent"]
    assert stages == ["24h", "3h", "1h", "10min", "now"]
    assert {one.state for one in told.told()} == {"sent"}
    assert set(told.box.recipients) == {OTTO}
    first, last = text_of(told.box.mails[0]), text_of(told.box.mails[-2])
    assert "What to do: Look at the cable." in first
    assert "court-1 has not been heard of since Sunday 1 March 2026, 13:02." in last


def test_many_senders_and_repeated_notices_tell_it_once(told: Club) -> None:
    begun = told.alarm()
    senders = [told.new_sender() for _ in range(3)]
    for _ in range(3):
        told.alarm()
        for sender in senders:
            told.run(sender)
    told.over(begun)
    told.over(begun)
    for sender in senders:
        told.run(sender)
    assert told.subjects() == ["court-1: major alarm: No pictures", "court-1: over: No pictures"]


def test_minor_alarms_are_for_the_pages(told: Club) -> None:
    told.alarm(severity="minor")
    told.run()
    assert told.told() == ()


def test_one_that_comes_and_goes_is_told_once_in_half_an_hour(told: Club) -> None:
    for _ in range(29):
        told.over(told.alarm())
        told.run()
        told.later(1)
    assert told.subjects() == ["court-1: major alarm: No pictures", "court-1: over: No pictures"]
    told.alarm()
    told.run()
    assert len(told.box.mails) == 2
    for _ in range(2):  # so many for one recipient at once: some of them are put off
        told.later(1)
        told.run()
    assert told.subjects()[2:] == ["court-1: major alarm: No pictures"]
    ended = {one.why for one in told.told() if one.state == "given_up"}
    assert ended == {"over before it was due", "nobody was told that it began"}


def test_another_cause_is_not_held_back_by_the_first(told: Club) -> None:
    told.alarm()
    told.alarm("uploader/bucket_unreachable")
    told.run()
    assert len(told.box.mails) == 2


def test_in_quiet_hours_only_what_is_critical(told: Club) -> None:
    at(told, 23)
    told.alarm()
    critical = told.alarm("camera_right/stalled", "critical")
    gone = told.alarm("uploader/bucket_unreachable")
    told.run()
    assert told.subjects() == ["court-1: critical alarm: No pictures"]
    told.later(60)
    told.over(critical)
    told.over(gone)
    told.run()
    assert len(told.box.mails) == 1
    at(told, 24 + 7)
    told.run()
    assert told.subjects()[1:] == ["court-1: major alarm: No pictures", "court-1: over: No pictures"]
    by = {(one.subject.partition("@")[0], one.kind): one.state for one in told.told()}
    assert by == {
        ("camera_left/stalled", "alarm"): "sent",
        ("camera_right/stalled", "alarm"): "sent",
        ("camera_right/stalled", "recovered"): "sent",
        ("uploader/bucket_unreachable", "alarm"): "given_up",
        ("uploader/bucket_unreachable", "recovered"): "given_up",
    }


def test_over_is_not_said_in_the_morning_of_what_stands_again(told: Club) -> None:
    at(told, 23)
    first = told.alarm(severity="critical")
    told.run()
    told.later(60)
    told.over(first)
    told.run()
    told.later(60)
    told.alarm(severity="critical")
    told.run()
    at(told, 24 + 7)
    told.run()
    assert told.subjects() == ["court-1: critical alarm: No pictures"] * 2


def test_an_end_waits_for_its_beginning(told: Club) -> None:
    told.box.rcpt = lambda _address: "451 later"
    begun = told.alarm()
    told.run()
    told.over(begun)
    told.run()
    assert told.box.mails == []
    told.box.rcpt = lambda _address: None
    for _ in range(12):
        told.later(1)
        told.run()
    assert told.subjects() == ["court-1: major alarm: No pictures", "court-1: over: No pictures"]


def test_who_did_not_get_the_beginning_does_not_get_the_end(told: Club) -> None:
    told.tell(emails=[OTTO, OLGA])
    told.box.rcpt = lambda address: "550 unknown" if address == OLGA else None
    begun = told.alarm()
    told.run()
    told.box.rcpt = lambda _address: None
    told.messages.set_recipient(Recipient("court-1", "email", "new@club.example"))
    told.over(begun)
    told.run()
    assert told.box.recipients == [OTTO, OTTO]


def test_each_recipient_has_their_kinds_language_and_quiet_hours(told: Club) -> None:
    told.messages.set_recipient(Recipient("court-1", "email", OLGA, ("alarm",), "de", "12:00-15:00"))
    told.messages.set_recipient(Recipient("court-1", "webhook", "https://10.0.0.1/x"))
    told.messages.set_recipient(Recipient("court-2", "email", "other@club.example"))
    begun = told.alarm()
    told.run()
    assert told.box.recipients == [OTTO]
    told.later(121)
    told.run()
    assert told.subjects()[1:] == ["court-1: Alarm (ernst): No pictures"]
    told.over(begun)
    told.run()
    assert told.box.recipients == [OTTO, OLGA, OTTO]
    hook = next(one for one in told.told() if one.channel == "webhook")
    assert (hook.state, "private network" in (hook.why or "")) == ("given_up", True)


def test_a_failed_preflight_is_told_with_what_to_do(told: Club) -> None:
    told.book("b1", start=NOON + minutes(60), end=NOON + minutes(120))
    checks = [{"name": "disk", "value": "0.5 booked hours fit", "mend": "Make room."}]
    told.notice("preflight:b1", "preflight_failed", "b1", checks=checks, at=utc_text(NOON))
    told.run()
    assert told.subjects() == ["court-1: the booking on Sunday 1 March 2026, 14:00 will not record as it is"]
    assert "- disk: 0.5 booked hours fit. What to do: Make room.\n" in text_of(told.box.mails[0])


def test_webhooks_hear_of_it_all_and_one_that_hangs_holds_up_nobody(told: Club) -> None:
    told.hook.free = threading.Event()
    told.tell(emails=[OTTO], webhooks=[told.hook.url])
    for number in range(15):
        told.alarm(f"camera_left/trouble_{number}")
    told.sender.step()
    assert told.hook.arrived.wait(30)
    told.sender.step()
    with told.sender._lanes._changed:
        assert told.sender._lanes._changed.wait_for(lambda: len(told.box.mails) == 15, 30)
    assert len(told.hook.posts) == 1
    told.hook.free.set()
    assert told.sender.settle(30)
    for _ in range(4):
        told.later(1)
        told.run()
    bodies = [json.loads(post.body) for post in told.hook.posts]
    assert sorted({body["data"]["text"] for body in bodies}) == ["No pictures"]
    assert len(bodies) == len({body["id"] for body in bodies}) == 15


# --- silent devices ---


def test_a_device_that_speaks_is_left_alone(told: Club) -> None:
    told.book("b1", start=NOON + minutes(30), end=NOON + minutes(90))
    for _ in range(100):
        told.heard()
        told.run()
        told.later(1)
    assert told.told() == ()


def test_without_a_booking_within_a_day_silence_is_peace(told: Club) -> None:
    told.heard()
    told.book("far", start=NOON + minutes(25 * 60), end=NOON + minutes(26 * 60))
    told.book("quiet", start=NOON + minutes(60), end=NOON + minutes(120), record="no")
    silence(told)
    told.later(50)
    told.run()
    assert told.told() == ()
    told.later(10)
    told.run()
    assert [one.data["stage"] for one in told.told()] == ["24h"]


def test_after_a_start_the_devices_get_a_moment(told: Club) -> None:
    """After a power cut the last word is old, and the bridge needs seconds to say the next."""
    told.heard()
    told.later(600)
    told.book("b1", start=NOON + minutes(605), end=NOON + minutes(660))
    told.run()
    told.later(2)
    told.heard()
    told.run()
    told.later(2)
    told.run()
    assert told.told() == ()


def test_while_the_store_is_away_nobody_is_judged(told: Club) -> None:
    told.heard()
    told.book("b1", start=NOON + minutes(1), end=NOON + minutes(90))
    told.run()
    told.later(10)
    told.sender._watch.store_was_away()
    told.run()
    assert told.told() == ()
    silence(told)
    assert [one.data["stage"] for one in told.told()] == ["now"]


def test_a_device_that_comes_and_goes_in_a_booking_is_told_every_half_hour(told: Club) -> None:
    told.book("b1", start=NOON, end=NOON + minutes(90))
    told.heard()
    for minute in range(90):
        if minute % 10 == 9:
            told.heard()
        told.run()
        told.later(1)
    kinds = [one.kind for one in sorted(told.told(), key=lambda one: one.at) if one.state == "sent"]
    assert kinds == ["silent", "back", "silent", "back", "silent", "back"]


def test_back_is_said_also_by_a_sender_that_was_started_since(told: Club) -> None:
    told.heard()
    told.book("b1", start=NOON + minutes(30), end=NOON + minutes(90))
    silence(told)
    told.heard()
    other = told.new_sender()
    for _ in range(5):
        told.heard()
        told.run(other)
        told.later(1)
    assert [one.kind for one in told.told()] == ["silent", "back"]
    assert told.subjects()[-1] == "court-1 is back"


def test_before_a_booking_at_night_only_the_last_call_breaks_the_quiet(told: Club) -> None:
    at(told, 23)
    told.heard()
    told.book("b1", start=NOON + minutes(12 * 60), end=NOON + minutes(13 * 60))
    sent: dict[Any, str] = {}
    for _ in range(3 * 60):
        told.run()
        for one in told.told():
            if one.state == "sent":
                sent.setdefault(one.data["stage"], one.at)
        told.later(1)
    assert list(sent) == ["10min", "now"]
