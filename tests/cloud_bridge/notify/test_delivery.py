"""Films: from the device's word to mails with a link that works."""

import json
import re
import time
from collections import deque
from email.message import EmailMessage
from pathlib import Path

import pytest

from cloud_bridge.notify.lanes import Held
from cloud_bridge.notify.post import LEASE_S
from cloud_bridge.notify.sender import Sender
from cloud_bridge.notify.spread import MOST_CONTACTS, Round, spread
from cloud_bridge.stores import StoreError
from cloud_bridge.stores.base import token_hash
from cloud_bridge.stores.messages import NewMessage, OpenNotice
from edge_agent.core.settings import Settings, Store
from schemas.base import utc_text
from tests.cloud_bridge.notify.club import Club
from tests.cloud_bridge.notify.servers import text_of
from tests.cloud_bridge.served import KEY, NOON, Served, minutes

BOTH = ("anna@example.org", "ben@example.org")


def link_in(mail: EmailMessage) -> str:
    (link,) = re.findall(r"https://films\.example\.org/s/\S+", text_of(mail))
    assert isinstance(link, str)
    assert f'href="{link}"' in text_of(mail, "html")
    return link


def test_everybody_in_the_booking_gets_the_film_once(club: Club, tmp_path: Path) -> None:
    club.book(contacts=BOTH, title="Anna & Ben")
    share = club.store.make_share("b1", NOON + minutes(999))
    club.film()
    for sender in (club.sender, club.new_sender(), club.new_sender()):
        club.run(sender)
    assert sorted(club.box.recipients) == list(BOTH)
    assert club.subjects() == ["Your film is ready: Anna & Ben"] * 2
    links = [link_in(mail) for mail in club.box.mails]
    assert len(set(links)) == 2
    shares = [club.store.share_of(link.rpartition("/")[2]) for link in links]
    assert share.share_id in {one.share_id for one in shares if one is not None}
    assert {one.delivered_at for one in club.store.poll(0).shares} == {utc_text(NOON)}

    film = tmp_path / "bucket" / KEY
    film.parent.mkdir(parents=True)
    film.write_bytes(b"x" * 9)
    settings = club.settings.model_copy(update={"store": Store(kind="dir", folder=str(tmp_path / "bucket"))})
    with Served(settings, tmp_path, club.clock) as served:
        for link in links:
            path = link.removeprefix("https://films.example.org")
            assert served.ask("GET", path).status == 200
            assert served.ask("GET", f"{path}/video").body == b"x" * 9
    stored = (tmp_path / "store.sqlite").read_bytes() + (tmp_path / "store.sqlite-wal").read_bytes()
    for link in links:
        token = link.rpartition("/")[2]
        assert token.encode() not in stored
        assert token_hash(token).encode() in stored


def test_no_film_no_link_no_contacts_no_mail(club: Club) -> None:
    club.tell(emails=["otto@club.example"])
    club.book("secret", record="no", contacts=BOTH)
    club.film("secret")
    club.film("secret", "film_partial")
    club.book("pressed", kind="manual", start=NOON, end=NOON + minutes(9))
    club.notice("film:pressed", "film_missed", "pressed", kind="manual", state="failed")
    club.film("unknown")
    club.run()
    assert (club.box.mails, club.told()) == ([], ())


@pytest.mark.parametrize(("audience", "where"), [("code", "/claim"), ("members", "/login")])
def test_without_an_open_link_the_mail_says_where_to_go(club: Club, audience: str, where: str) -> None:
    club.tell(webhooks=[club.hook.url])
    club.book(contacts=BOTH[:1], audience=audience)
    club.film()
    club.run()
    (mail,) = club.box.mails
    assert f"https://films.example.org{where}\n" in text_of(mail)
    assert "/s/" not in mail.as_string()
    (post,) = club.hook.posts
    assert "share_url" not in json.loads(post.body)
    assert "/s/" not in post.body.decode()
    assert club.store.shares(None, 9, None) == ()


def test_what_is_missing_is_said_and_the_operator_hears_of_it_too(club: Club) -> None:
    club.tell(emails=["otto@club.example", "anna@example.org"], webhooks=[club.hook.url])
    club.book(contacts=("anna@example.org",))
    club.film(
        kind="film_partial", lacks={"right": 40}, missing=[{"at_s": 60, "for_s": 40, "cameras": ["left"]}]
    )
    club.run()
    by = dict(zip(club.box.recipients, club.box.mails, strict=True))
    assert sorted(by) == ["anna@example.org", "otto@club.example"]
    words = {who: text_of(mail) for who, mail in by.items()}
    assert all("- For 40 seconds only the right camera's picture.\n" in text for text in words.values())
    assert "/s/" in words["anna@example.org"]
    assert "/s/" not in words["otto@club.example"]
    body = json.loads(club.hook.posts[0].body)
    assert (body["type"], "/s/" in body["share_url"]) == ("recording.partial", True)


def test_a_film_that_failed_to_go_is_tried_again_with_the_same_link(club: Club) -> None:
    answers = ["hang up"] * 2
    club.box.data = lambda _mail: "451 later" if answers and answers.pop() else None
    club.book(contacts=BOTH[:1])
    club.film()
    club.run()
    assert (club.box.mails, len(club.told()), club.told()[0].why) == (
        [],
        1,
        "the mail server does not take this mail (451 later)",
    )
    for _ in range(3):
        club.later(1)
        club.run()
    assert len(club.box.mails) == 1
    assert len(club.store.shares(None, 9, None)) == 1
    assert club.box.mails[0]["Message-ID"] == f"<{club.told()[0].id}@club.example>"
    assert (club.told()[0].state, club.told()[0].attempt) == ("sent", 3)


def test_a_copy_that_came_twice_is_known_as_one(club: Club) -> None:
    """The one double that cannot be excluded: the server has the mail, and we never heard so."""
    answers = ["taken, then gone"]
    club.box.data = lambda _mail: answers.pop() if answers else None
    club.book(contacts=BOTH[:1])
    club.film()
    club.run()
    club.later(1)
    club.run(club.new_sender())
    assert len(club.box.mails) == 2
    assert len({mail["Message-ID"] for mail in club.box.mails}) == 1


def test_no_link_is_made_while_the_server_takes_nothing(club: Club) -> None:
    club.box.rcpt = lambda _address: "451 greylisted"
    club.book(contacts=BOTH)
    club.film()
    for _ in range(3):
        club.run()
        club.later(30)
    assert club.store.shares(None, 9, None) == ()
    assert [one.state for one in club.told()] == ["waiting"] * 2
    club.later(48 * 60)
    club.run()
    assert [(one.state, one.why) for one in club.told()] == [
        ("given_up", "the mail server does not take mails for this address (451 greylisted)")
    ] * 2


def test_a_refused_address_ends_there_and_the_others_get_theirs(club: Club) -> None:
    club.box.rcpt = lambda address: "550 unknown" if address.startswith("ben") else None
    club.book(contacts=(*BOTH, "no address", "ANNA@example.org", "anna@Example.org "))
    club.film()
    club.run()
    club.later(600)
    club.run()
    assert sorted(club.box.recipients) == ["ANNA@example.org", "anna@example.org"]
    assert {(one.recipient, one.state) for one in club.told()} == {
        ("anna@example.org", "sent"),
        ("ANNA@example.org", "sent"),
        ("ben@example.org", "given_up"),
        ("no address", "given_up"),
    }


@pytest.mark.parametrize("change", [{"status": "cancelled"}, {"record": "no"}])
def test_what_was_taken_back_before_it_went_does_not_go(club: Club, change: dict[str, str]) -> None:
    club.box.rcpt = lambda _address: "451 later"
    club.book(contacts=BOTH[:1])
    club.film()
    club.run()
    club.store.change_booking("b1", change)
    club.box.rcpt = lambda _address: None
    club.later(10)
    club.run()
    assert (club.box.mails, [one.state for one in club.told()]) == ([], ["given_up"])


def test_a_film_past_its_time_is_not_announced(club: Club) -> None:
    club.book(contacts=BOTH[:1])
    club.film()
    club.later(60 * 24 * 15)
    club.run()
    assert (club.box.mails, club.told()[0].why) == ([], "the film is past its time")


def test_without_the_uploads_row_it_waits_for_it(club: Club) -> None:
    club.book(contacts=BOTH[:1])
    club.notice("film:b1", "film_ready", "b1", kind="booked")
    club.run()
    assert club.box.mails == []
    club.film()
    club.later(1)
    club.run()
    assert len(club.box.mails) == 1


def test_a_sender_that_was_killed_leaves_its_messages_to_others(club: Club) -> None:
    club.book(contacts=BOTH)
    club.film()
    club.sender._expand()
    assert len(club.messages.claim("killed", 150, 50)) == 2
    club.run(club.new_sender())
    assert club.box.mails == []
    club.later(4)
    club.run(club.new_sender())
    assert len(club.box.mails) == 2


def test_a_sent_mail_is_not_sent_again_while_the_store_cannot_hear_of_it(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_bridge.notify.post.NOTED_S", 0)
    club.book(contacts=BOTH[:1])
    club.film()
    sent, calls = club.sender._messages.sent, list[str]()

    def away(message_id: str, sender: str) -> bool:
        calls.append(message_id)
        if len(calls) < 3:
            raise StoreError("transient", "the store is away")
        return sent(message_id, sender)

    club.sender._messages.sent = away  # type: ignore[method-assign]
    for _ in range(4):
        club.run()
        club.later(4)
    assert (len(club.box.mails), len(calls), club.told()[0].state) == (1, 3, "sent")


def test_ending_gives_back_what_was_not_begun(club: Club) -> None:
    club.book(contacts=BOTH)
    club.film()
    sender: Sender = club.new_sender()
    sender._expand()
    for one in club.messages.claim(sender._post.name, 150, 50):
        sender._lanes._waiting[one.message.channel, one.message.recipient] = deque((Held(one, 0.0),))
    sender.close()
    assert [(one.state, one.why) for one in club.told()] == [("waiting", "others go first")] * 2
    club.later(1)
    club.run()
    assert len(club.box.mails) == 2


def test_one_that_waited_here_too_long_is_left_to_whoever_claims_it_next(club: Club) -> None:
    """Its lease may be over: the same sender may even have claimed it again meanwhile."""
    club.book(contacts=BOTH[:1])
    club.film()
    club.sender._expand()
    (old,) = club.messages.claim(club.sender._post.name, 1, 9)
    club.later(1)
    club.sender._lanes.put(Held(old, time.monotonic() - LEASE_S))
    club.run()
    assert len(club.box.mails) == 1


def test_a_booking_cannot_be_used_to_write_to_everybody(club: Club) -> None:
    club.book(contacts=tuple(f"{number}@example.org" for number in range(500)))
    club.film()
    club.run()
    assert len(club.told()) == MOST_CONTACTS


def test_a_notice_that_breaks_us_keeps_no_other_from_being_told(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(notice: OpenNotice, given: Round, settings: Settings) -> tuple[NewMessage, ...]:
        if notice.notice.subject == "b1":
            raise ZeroDivisionError
        return spread(notice, given, settings)

    monkeypatch.setattr("cloud_bridge.notify.sender.spread", broken)
    club.book("b1", contacts=BOTH[:1], start=NOON - minutes(120), end=NOON - minutes(60))
    club.film("b1")
    club.book("b2", contacts=BOTH[1:])
    club.film("b2")
    club.run()
    assert club.box.recipients == [BOTH[1]]
    assert [one.notice.subject for one in club.messages.open_notices(9)] == ["b1"]
    monkeypatch.undo()
    club.run(club.new_sender())
    assert club.box.recipients == [BOTH[1], BOTH[0]]
