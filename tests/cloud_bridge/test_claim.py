"""Who a link opens for: everybody, whoever gave the code, members. And how often."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from edge_agent.core.settings import Api, Settings, Store
from tests.cloud_bridge.conftest import FILM
from tests.cloud_bridge.served import NOON, Answer, Served, minutes
from tests.cloud_bridge.test_api import problem

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def code(served: Served, booking: str = "match") -> str:
    answer = served.ask("POST", f"/api/v1/recordings/{booking}/claim-code", "operator")
    assert (answer.status, answer.json["court"]) == (200, "court-1")
    found: str = answer.json["code"]
    return found


def claim(served: Served, digits: str, court: str = "court-1", **headers: str) -> Answer:
    body = urlencode({"court": court, "code": digits}).encode()
    return served.ask("POST", "/claim", body=body, headers={**FORM, **headers})


def wrong(right: str) -> str:
    return f"{(int(right) + 1) % 10**6:06}"


def test_court_and_code_open_the_film(served: Served) -> None:
    served.book(audience="code")
    served.film()
    digits = code(served)
    assert re.fullmatch(r"[0-9]{6}", digits)
    assert code(served) == digits
    answer = claim(served, f" {digits[:3]} {digits[3:]}", " Court-1")
    assert (answer.status, answer.headers["location"][:3]) == (303, "/s/")
    link = answer.headers["location"]
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=lax", f"Path={link}"} <= set(flags)
    opened = {"Cookie": cookie}
    assert served.ask("GET", link, headers=opened).status == 200
    assert served.ask("GET", f"{link}/video", headers=opened).body == FILM
    other = claim(served, digits).headers["location"]
    assert served.ask("GET", other, headers=opened).status == 401, "each opens in its own browser"


def test_a_link_that_was_passed_on_opens_nothing(served: Served) -> None:
    served.book(audience="code")
    served.film(poster=True)
    for link in (served.link(), claim(served, code(served)).headers["location"]):
        page = served.ask("GET", link)
        assert (page.status, 'href="/claim"' in page.text) == (401, True)
        for path in ("/video", "/download", "/poster"):
            assert served.ask("GET", link + path, headers={"Cookie": "ezrec-film=x"}).status == 401
    assert served.ask("GET", "/api/v1/shares", "admin").json["items"][0]["views"] == 0


def test_a_members_film_is_for_who_is_logged_in_here(served: Served) -> None:
    served.book(audience="members")
    served.film()
    link = served.link()
    stranger = served.ask("GET", link)
    assert (stranger.status, 'href="/login"' in stranger.text) == (403, True)
    assert served.ask("GET", f"{link}/video").status == 403
    member = {"Cookie": served.visit("mia")["Cookie"]}
    assert served.ask("GET", link, headers=member).status == 200
    assert served.ask("GET", f"{link}/video", headers=member).body == FILM
    elsewhere = {"Cookie": served.visit("max", "operator", "elsewhere")["Cookie"]}
    assert served.ask("GET", f"{link}/video", headers=elsewhere).status == 403


def test_a_code_ends_after_a_day(served: Served) -> None:
    served.book()
    served.film()
    digits = code(served)
    served.clock.now += timedelta(hours=24)
    assert claim(served, digits).status == 401
    assert re.fullmatch(r"[0-9]{6}", code(served))


def test_five_tries_from_an_address_and_fifty_from_everywhere(tmp_path: Path) -> None:
    settings = Settings(
        api=Api(trusted_proxies=("127.0.0.1",)), store=Store(kind="dir", folder=str(tmp_path / "b"))
    )
    with Served(settings, tmp_path / "cloud") as served:
        served.book()
        served.film()
        digits = code(served)

        def attempt(address: str, tried: str) -> int:
            return claim(served, tried, **{"X-Forwarded-For": address}).status

        assert [attempt("203.0.113.1", wrong(digits)) for _ in range(5)] == [401] * 5
        assert attempt("203.0.113.1", digits) == 429
        assert [attempt("203.0.113.2", digits) for _ in range(9)] == [303] * 9, "a right code is no try"
        for number in range(45):
            assert attempt(f"198.51.100.{number}", wrong(digits)) == 401
        assert attempt("203.0.113.9", digits) == 429
        served.clock.now += timedelta(hours=24) - minutes(1)
        assert attempt("203.0.113.9", digits) == 303


@pytest.mark.parametrize(
    ("court", "digits"),
    [
        ("court-2", None),
        ("", None),
        ("court-1", ""),
        ("court-1", "abcdef"),
        ("court-1", "\uff11\uff12\uff13\uff14\uff15\uff16"),
        ("court-1", "0" * 99),
    ],
)
def test_what_does_not_fit_says_no_more(served: Served, court: str, digits: str | None) -> None:
    served.book()
    served.film()
    right = code(served)
    answer = claim(served, right if digits is None else digits, court)
    assert (answer.status, "Court and code do not fit." in answer.text) == (401, True)
    assert "set-cookie" not in answer.headers
    assert served.ask("GET", "/api/v1/shares", "admin").json["items"] == []


def test_there_is_no_code_for_what_is_not_recorded(served: Served) -> None:
    served.book(record="no")
    problem(served.ask("POST", "/api/v1/recordings/match/claim-code", "operator"), 409, "not recorded")
    problem(served.ask("POST", "/api/v1/recordings/match/claim-code", "user"), 403)


def test_no_two_courts_of_a_day_have_the_same_code(served: Served) -> None:
    for number in range(20):
        start = NOON + minutes(60 * number)
        served.book(f"b{number}", start=start, end=start + minutes(60))
    assert len({code(served, f"b{number}") for number in range(20)}) == 20


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
        {"User-Agent": "WhatsApp/2.23.20.0"},
        {"User-Agent": "facebookexternalhit/1.1"},
        {"User-Agent": "Slackbot-LinkExpanding 1.0"},
        {"User-Agent": "TelegramBot (like TwitterBot)"},
        {"User-Agent": "Mozilla/5.0 Chrome/140", "Sec-Purpose": "prefetch;prerender"},
        {"User-Agent": "Mozilla/5.0 Firefox/140", "X-Moz": "prefetch"},
    ],
)
def test_who_only_looks_ahead_is_no_viewer(served: Served, headers: dict[str, str]) -> None:
    served.book()
    served.film(poster=True)
    link = served.link()
    page = served.ask("GET", link, headers=headers)
    assert (page.status, "og:image" in page.text) == (200, False)
    assert served.ask("GET", f"{link}/video", headers=headers).status == 200
    assert served.ask("GET", "/api/v1/shares", "admin").json["items"][0]["views"] == 0
    person = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1"}
    served.ask("GET", f"{link}/video", headers=person)
    assert served.ask("GET", "/api/v1/shares", "admin").json["items"][0]["views"] == 1


def test_a_link_is_opened_so_often_in_a_day(tmp_path: Path) -> None:
    store = Store(kind="s3", endpoint="http://127.0.0.1:9")
    settings = Settings.model_validate(
        {"store": {**store.model_dump(exclude_none=True), "key": "k", "secret": "s"},
         "api": {"link_requests_per_day": 10}}
    )  # fmt: skip
    with Served(settings, tmp_path) as served:
        served.book()
        served.film()
        link, other = served.link(), served.link()
        paths = ["/video", "/video?again=1", "/download", "/poster", "/video"] * 2
        statuses = [served.ask("GET", link + path).status for path in paths]
        assert statuses.count(409) == 2
        refused = [served.ask("GET", f"{link}/video").status for _ in range(3)]
        assert refused[-1] == 429
        assert served.ask("GET", link).status == 200
        assert served.ask("GET", f"{other}/video").status == 307
        served.clock.now += timedelta(hours=3)
        assert served.ask("GET", f"{link}/video").status == 307
