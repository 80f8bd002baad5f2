"""The operator's page as browsers ask for it: roles, refusals in words, hostile text, times."""

import html
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from cloud_bridge.api.live import Told
from cloud_bridge.api.pages import STATIC
from schemas.agent import Alarm
from schemas.base import Message
from schemas.camera import CameraStatus, Snapshot
from schemas.health import Alarms, Availability, Disk, Health
from schemas.receipt import CameraAccount
from schemas.recording import Gap, Recording
from schemas.registry import ALARM, AVAILABILITY, CAMERA_STATUS, HEALTH
from schemas.topics import Address
from tests.cloud_bridge.served import NOON, Answer, Served, minutes, receipt
from tests.cloud_bridge.test_pages import words

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{7*7}}\u202e"""
FORM = {
    "day": "2026-03-01", "start": "18:00", "end": "19:00", "title": "Doubles", "contacts": "",
    "record": "yes", "audience": "link",
}  # fmt: skip


class Heard:
    """A stand-in for the device beside the API: topics as set by hand."""

    def __init__(self) -> None:
        self.said: dict[Address[Any], Message] = {}

    def start(self, told: Told) -> None:
        """Nothing is told later."""

    def stop(self) -> None:
        """Nothing was begun."""

    def topics(self) -> Mapping[Address[Any], Message]:
        return self.said

    def still(self, cam: str) -> Snapshot | str:
        return f"no picture of {cam}"


def look(served: Served, path: str, who: Mapping[str, str]) -> str:
    """What somebody reads on a page."""
    answer = served.ask("GET", path, headers={**who, "Accept": "text/html"})
    assert answer.status == 200, (path, answer.status, answer.body[:300])
    return html.unescape(words(answer))


def send(served: Served, path: str, who: Mapping[str, str], **fields: str) -> Answer:
    """A form, as a browser without a script sends it."""
    body = urlencode({"csrf": who["X-CSRF-Token"], **fields}).encode()
    sent = {
        "Cookie": who["Cookie"],
        "Accept": "text/html",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return served.ask("POST", path, None, body, sent)


def field(answer: Answer, name: str) -> str:
    """What stands in a field of a form, as the browser shows it."""
    found = re.search(rf'name="{name}"[^>]*? value="([^"]*)"', answer.text)
    assert found is not None, name
    return html.unescape(found[1])


def booked(served: Served, booking_id: str = "match") -> tuple[str, str, str, str]:
    row = served.store.booking(booking_id)
    assert row is not None
    return row.stored.start, row.stored.end, row.stored.status, row.stored.record


def only(served: Served) -> str:
    (row,) = served.ask("GET", "/api/v1/bookings", "admin").json["items"]
    return str(row["id"])


def test_an_operator_books_changes_extends_and_cancels_without_a_script(served: Served) -> None:
    otto = served.visit("otto", "operator")
    form = served.ask("GET", "/book", headers=otto)
    given = {**FORM, "id": field(form, "id"), "contacts": "a@example.org, b@example.org"}
    answers = [send(served, "/book", otto, **given) for _ in range(2)]
    booking = only(served)
    assert [(one.status, one.headers["location"]) for one in answers] == [
        (303, f"/bookings/{booking}?done=booked")
    ] * 2
    page = look(served, f"/bookings/{booking}?done=booked", otto)
    for text in ("Booked.", "Doubles", "Sunday 1 March, 18:00 to 19:00", "will be recorded", "a@example.org"):
        assert text in page
    assert "18:00 to 19:00 Doubles" in look(served, "/bookings", otto)
    change = served.ask("GET", f"/bookings/{booking}/change", headers=otto)
    seen = field(change, "seen")
    moved = {**FORM, "start": "18:30", "end": "20:00", "title": "Singles", "seen": seen}
    assert send(served, f"/bookings/{booking}/change", otto, **moved).status == 303
    seen = field(served.ask("GET", f"/bookings/{booking}", headers=otto), "seen")
    twice = [send(served, f"/bookings/{booking}/extend", otto, seen=seen) for _ in range(2)]
    assert [one.status for one in twice] == [303, 412]
    assert "Somebody else has changed this booking meanwhile." in words(twice[1])
    for path, more in (("record", {"record": "no"}), ("cancel", {})):
        assert send(served, f"/bookings/{booking}/{path}", otto, **more).status == 303
    row = served.store.booking(booking)
    assert row is not None
    assert (booked(served, booking), row.title, row.contacts) == (
        ("2026-03-01T17:30:00.000000Z", "2026-03-01T19:15:00.000000Z", "cancelled", "no"), "Singles", (),
    )  # fmt: skip
    assert send(served, f"/bookings/{booking}/restore", otto).status == 303
    assert send(served, f"/bookings/{booking}/record", otto, record="yes").status == 303
    assert booked(served, booking)[2:] == ("confirmed", "yes")
    deeds = [row["action"] for row in served.ask("GET", "/api/v1/audit", "admin").json["items"]]
    assert sorted(deeds) == ["booking.cancel", "booking.change", "booking.change", "booking.change",
                             "booking.change", "booking.change", "booking.create"]  # fmt: skip


REFUSALS: tuple[tuple[dict[str, str], int, str], ...] = (
    (
        {"start": "12:30", "end": "13:30"},
        409,
        "The court is taken by “Final”: Sunday 1 March, 13:00 to 14:00.",
    ),
    ({"day": "2026-02-27"}, 422, "is in the past"),
    ({"end": "17:00"}, 422, "That is 23 h; at most 4 h can be booked."),
    ({"end": "18:00"}, 422, "That is 24 h"),
    ({"day": "soon"}, 422, "“soon” is no day"),
    ({"day": "2026-02-30"}, 422, "no day"),
    ({"day": "9999-12-31"}, 422, "no day"),
    ({"start": "25:00"}, 422, "“25:00” is no time of day"),
    ({"end": ""}, 422, "“” is no time of day"),
    (
        {"day": "2026-03-29", "start": "02:30", "end": "04:00"},
        422,
        "There is no 02:30 on Sunday 29 March",
    ),
    (
        {"day": "2026-10-25", "start": "02:30", "end": "04:00"},
        422,
        "02:30 comes twice on Sunday 25 October",
    ),
    ({"title": "x" * 201}, 422, "The title has 201 characters"),
    ({"contacts": ",".join(["a@b.org"] * 21)}, 422, "21 addresses"),
    ({"contacts": "x" * 201}, 422, "An address has more than 200"),
    ({"record": "maybe"}, 422, "record: "),
    ({"audience": HOSTILE}, 422, "audience: "),
    ({"id": "A B"}, 422, "id: "),
)


def test_a_refusal_is_in_words_at_the_form_and_nothing_typed_is_lost(served: Served) -> None:
    served.book(title="Final")
    otto = served.visit("otto", "operator")
    for fields, status, text in REFUSALS:
        given = {**FORM, "title": HOSTILE, "contacts": 'Ann "A" <ann@example.org>', **fields}
        answer = send(served, "/book", otto, **given)
        assert answer.status == status, (fields, words(answer))
        assert text in html.unescape(words(answer)), fields
        assert "T1" not in words(answer), fields
        for name in ("day", "start", "end", "title", "contacts"):
            assert field(answer, name) == given[name].strip(), fields
    assert only(served) == "match"


def test_what_is_in_the_way_of_a_user_is_not_named(served: Served) -> None:
    served.book(title="Secret final", owner="olga")
    uma = served.visit("uma")
    answer = send(served, "/book", uma, **{**FORM, "start": "13:30", "end": "14:30"})
    assert (answer.status, "The court is taken: Sunday 1 March, 13:00 to 14:00." in words(answer)) == (
        409,
        True,
    )
    assert "Secret" not in answer.text


def test_the_hour_that_comes_twice_is_asked_for(served: Served) -> None:
    otto = served.visit("otto", "operator")
    night = {**FORM, "day": "2026-10-25", "start": "02:30", "end": "02:15"}
    asked = send(served, "/book", otto, **night)
    assert asked.status == 422
    assert "From: which 02:30" in words(asked)
    assert "To: which 02:15" in words(asked)
    assert send(served, "/book", otto, **night, which_start="first", which_end="second").status == 303
    booking = only(served)
    assert booked(served, booking)[:2] == ("2026-10-25T00:30:00.000000Z", "2026-10-25T01:15:00.000000Z")
    assert "02:30 (first) to 02:15 (second)" in look(served, f"/bookings/{booking}", otto)
    page = look(served, "/bookings?from=2026-10-25", otto)
    assert "The clocks go back on this day" in page
    form = served.ask("GET", f"/bookings/{booking}/change", headers=otto)
    assert form.text.count(" selected") == 4
    again = send(served, f"/bookings/{booking}/change", otto, **{**night, "title": "Night"})
    assert (again.status, booked(served, booking)[0]) == (303, "2026-10-25T00:30:00.000000Z")


def test_a_booking_past_midnight_ends_on_the_next_day(served: Served) -> None:
    otto = served.visit("otto", "operator")
    assert send(served, "/book", otto, **{**FORM, "start": "23:00", "end": "00:30"}).status == 303
    assert booked(served, only(served))[:2] == ("2026-03-01T22:00:00.000000Z", "2026-03-01T23:30:00.000000Z")
    assert look(served, "/bookings", otto).count("23:00 to 00:30 on Monday 2 March") == 2


def test_of_what_has_begun_the_end_and_the_names_still_change(served: Served) -> None:
    otto = served.visit("otto", "operator")
    served.book(start=NOON - timedelta(seconds=90.5), end=NOON + minutes(60))
    form = served.ask("GET", "/bookings/match/change", headers=otto)
    assert "It has begun" in words(form)
    shown = {name: field(form, name) for name in ("day", "start", "end", "title", "seen")}
    assert shown["start"] == "12:58"
    same = {**FORM, **shown, "end": "14:30", "title": "Late"}
    assert send(served, "/bookings/match/change", otto, **same).status == 303
    assert booked(served)[:2] == ("2026-03-01T11:58:29.500000Z", "2026-03-01T13:30:00.000000Z")
    moved = send(served, "/bookings/match/change", otto, **{**same, "start": "13:10", "seen": ""})
    assert "It has begun, its start can no longer be moved." in words(moved)
    assert (moved.status, field(moved, "start")) == (409, "13:10")
    assert send(served, "/bookings/match/change", otto, **same).headers["location"].endswith("?done=same")
    stale = send(served, "/bookings/match/change", otto, **{**same, "title": "Later"})
    assert (stale.status, field(stale, "title")) == (412, "Later")


def test_titles_and_names_are_text_on_every_page(served: Served) -> None:
    otto = served.visit("otto", "operator")
    served.book(title=HOSTILE, contacts=(HOSTILE,))
    served.tell("recording", Recording(state="recording", progress_pct=50, why=HOSTILE))
    for path in ("/", "/bookings", "/films", "/bookings/match", "/bookings/match/change"):
        answer = served.ask("GET", path, headers={**otto, "Accept": "text/html"})
        assert answer.status == 200
        for tag in ("<script>", "<img", "onerror=alert(2)>"):
            assert tag not in answer.text, (path, tag)
        assert "&lt;script&gt;alert(1)" in answer.text, path
        assert "{{7*7}}" in answer.text
        assert "style=" not in answer.text
        assert set(re.findall(r"<script[^>]*>[^<]*</script>", answer.text)) == {
            '<script src="/s/static/operator.js" defer></script>'
        }
        assert "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
        assert len(answer.body) + sum(len(one.read_bytes()) for one in STATIC.iterdir()) < 60_000


def test_users_see_and_change_their_own_and_strangers_nothing(served: Served) -> None:
    served.book("mine", owner="uma", title="Mine")
    served.book("hers", owner="olga", title="Hers", start=NOON + minutes(90), end=NOON + minutes(120))
    for one in ("mine", "hers"):
        served.tell("recording", Recording(state="recording"), one)
    served.tell("health", Health(disk=Disk(free_bytes=1, total_bytes=2, booked_hours=14)), "court-1")
    uma, uwe = served.visit("uma"), served.visit("uwe", "operator", "elsewhere")
    for path in ("/", "/bookings", "/films"):
        page = look(served, path, uma)
        assert ("Mine" in page, "Hers" in page, "hours" in page) == (True, False, False), path
        page = look(served, path, uwe)
        assert ("Mine" in page, "Hers" in page, "hours" in page) == (False, False, False), path
    assert served.ask("GET", "/bookings/hers", headers=uma).status == 404
    for path in ("change", "extend", "cancel", "restore", "record", "links"):
        assert send(served, f"/bookings/hers/{path}", uma, **FORM).status == 404, path
    assert send(served, "/bookings/mine/code", uma).status == 403
    assert send(served, "/alarms/health/disk/acknowledge", uma).status == 403
    for path in ("/", "/bookings", "/films", "/book", "/bookings/mine"):
        stranger = served.ask("GET", path, headers={"Accept": "text/html"})
        assert (stranger.status, stranger.headers["location"][:6]) == (303, "/login"), path
    forged = send(served, "/bookings/mine/cancel", {**uma, "X-CSRF-Token": "0" * 64})
    assert (forged.status, booked(served, "mine")[2]) == (403, "confirmed")


def test_links_are_shown_once_and_end(served: Served) -> None:
    otto = served.visit("otto", "operator")
    served.book(audience="code")
    made = send(served, "/bookings/match/links", otto)
    url = re.search(r'value="(https://films.example.org/s/[^"]+)"', made.text)
    assert url is not None
    page = served.ask("GET", "/bookings/match", headers=otto)
    assert url[1] not in page.text
    share = re.search(r"/links/(\w+)/revoke", page.text)
    assert share is not None
    told = send(served, "/bookings/match/code", otto)
    code = re.search(r'id="code">(\d{6})<', told.text)
    assert code is not None
    assert served.claims.claimed(code[1]) == "match"
    assert send(served, f"/links/{share[1]}/revoke", otto).status == 303
    found = served.store.share(share[1])
    assert found is not None
    assert found.revoked_at is not None
    assert "revoked" in look(served, "/bookings/match?done=revoked", otto)
    served.store.change_booking("match", {"status": "cancelled"})
    refused = send(served, "/bookings/match/links", otto)
    assert (refused.status, "nothing to share" in words(refused)) == (409, True)


def gap(begin_s: float, end_s: float) -> Gap:
    return Gap(begin=NOON + timedelta(seconds=begin_s), end=NOON + timedelta(seconds=end_s), reason="stall")


def camera(*gaps: Gap, more: int = 0) -> CameraAccount:
    return CameraAccount(
        expected=9, captured=8, dropped=0, duplicated=0, restarts=1, mean_fps=30, gaps=gaps,
        gaps_count=len(gaps) + more,
    )  # fmt: skip


def test_the_receipt_is_told_in_plain_words(served: Served) -> None:
    otto = served.visit("otto", "operator")
    served.book()
    served.clock.now = NOON + minutes(70)
    served.film()
    served.tell("receipt", receipt())
    assert "film ready Complete: every second of the booking is in it." in look(
        served, "/bookings/match", otto
    )
    lacking = {"side_by_side": 100_000, "left": 6_800, "card": 1200}
    cameras = {"left": camera(gap(2050, 2090)), "right": camera(gap(2050, 2090), gap(3000, 3300), more=2)}
    served.tell("receipt", receipt(state="partial", pictures=lacking, cameras=cameras))
    served.tell("recording", Recording(state="partial", progress_pct=100))
    page = look(served, "/bookings/match", otto)
    assert (
        "film ready, not complete Not everything is in the film. "
        "40 s missing at 34:10 only camera left from 50:00 to 55:00 and 2 more, in the receipt"
    ) in page
    assert "film ready, not complete" in look(served, "/films", otto)


@pytest.fixture
def heard(served: Served) -> Heard:
    """The device, heard by the served application."""
    heard = Heard()
    object.__setattr__(served.app.state.context, "live", heard)
    return heard


def test_the_court_says_what_it_does_and_what_is_wrong(served: Served, heard: Heard) -> None:
    otto = served.visit("otto", "operator")
    assert "Nothing is being recorded. No booking follows." in look(served, "/", otto)
    served.book(title="Doubles", start=NOON + minutes(30), end=NOON + minutes(90))
    served.book("day", start=NOON + minutes(1440), end=NOON + minutes(1500), record="no")
    assert "Nothing is being recorded. Next at 13:30: Doubles." in look(served, "/", otto)
    served.clock.now = NOON + minutes(31)
    assert "no recording is known of. Next at 13:00 on Monday 2 March: Booking, not recorded." in look(
        served, "/", otto
    )
    heard.said = {
        AVAILABILITY.at(): Availability(state="online"),
        CAMERA_STATUS.at(cam="left"): CameraStatus(state="recording", fps=29.97),
        CAMERA_STATUS.at(cam="right"): CameraStatus(state="stalled"),
        HEALTH.at(): Health(disk=Disk(free_bytes=1, total_bytes=2, booked_hours=14.3)),
        ALARM.at(agent="camera_right", alarm="stalled"): Alarm(
            severity="major", text=HOSTILE, since=NOON, mend="Look at its cable."
        ),
    }
    page = look(served, "/", otto)
    for text in (
        "Recording now: Doubles, until 14:30.",
        "Camera left records, 30 pictures a second.",
        "Camera right sends no pictures just now.",
        "14 booked hours still fit on the disk.",
        "Look at its cable. major, since 13:00 on Sunday 1 March, from camera_right",
    ):
        assert text in page, text
    assert "<img" not in served.ask("GET", "/", headers=otto).text
    served.store.set_automatic(on=False)
    heard.said[AVAILABILITY.at()] = Availability(state="offline")
    page = look(served, "/", otto)
    assert "Automatic recording is off" in page
    assert "The device is switched off, or cannot be reached." in page


def test_an_alarm_is_acknowledged_by_name_until_it_comes_anew(served: Served, heard: Heard) -> None:
    otto = served.visit("otto", "operator")
    where = ALARM.at(agent="health", alarm="disk")
    heard.said = {where: Alarm(severity="critical", text="Full.", since=NOON, mend="Free some.")}
    assert "I have seen this" in look(served, "/", otto)
    assert send(served, "/alarms/health/disk/acknowledge", otto).headers["location"] == "/"
    page = look(served, "/", otto)
    assert "Seen by otto, 13:00 on Sunday 1 March." in page
    assert "I have seen this" not in page
    heard.said[where] = Alarm(severity="critical", text="Full.", since=NOON + minutes(1), mend="Free some.")
    assert "I have seen this" in look(served, "/", otto)
    assert send(served, "/alarms/health/gone/acknowledge", otto).status == 303
    assert served.audit.read(5, None, "alarm/health/gone") == ()


def test_what_the_device_said_last_is_said_with_its_age(served: Served) -> None:
    otto = served.visit("otto", "operator")
    assert "The device has not told anything of itself yet." in look(served, "/", otto)
    health = Health(
        disk=Disk(free_bytes=1, total_bytes=2, booked_hours=1.25), alarms=Alarms(active=1, ids=("hot",))
    )
    served.tell("health", health, "court-1")
    assert "Alarms stand: hot." in look(served, "/", otto)
    assert "1.2 booked hours" in look(served, "/", otto)
    served.clock.now = NOON + minutes(20)
    assert "The device has said nothing since 13:00 on Sunday 1 March." in look(served, "/", otto)
    served.store.save_result("court-1", "health", {"disk": "much"})
    assert "not told anything" in look(served, "/", otto)
