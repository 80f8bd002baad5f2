"""Logging in, and what a session can and cannot do."""

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cloud_bridge.api.html import local
from cloud_bridge.passwords import Passwords
from edge_agent.core.settings import Api, Settings
from tests.cloud_bridge.served import Answer, Served, minutes

GOOD = "correct horse battery"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def send(served: Served, path: str, headers: dict[str, str] | None = None, /, **fields: str) -> Answer:
    return served.ask("POST", path, body=urlencode(fields).encode(), headers={**FORM, **(headers or {})})


def cookie(answer: Answer) -> dict[str, str]:
    """What a browser sends back."""
    name_value, *flags = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(flags)
    return {"Cookie": name_value}


def csrf(answer: Answer) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', answer.text)
    assert found is not None
    return found[1]


def person(served: Served, user: str = "otto", password: str | None = GOOD) -> None:
    served.people.add(user, "operator")
    if password is not None:
        served.people.set_password(user, Passwords().hash(password))


def test_a_page_leads_to_the_login_and_back(served: Served) -> None:
    person(served)
    away = served.ask("GET", "/account/password")
    assert (away.status, away.headers["location"]) == (303, "/login?next=/account/password")
    form = served.ask("GET", away.headers["location"])
    assert 'name="next" value="/account/password"' in form.text
    answer = send(served, "/login", user="Otto ", password=GOOD, next="/account/password")
    assert (answer.status, answer.headers["location"]) == (303, "/account/password")
    session = cookie(answer)
    assert served.ask("GET", "/account/password", headers=session).status == 200
    assert served.ask("GET", "/api/v1/account", headers=session).json["user"] == "otto"
    assert session["Cookie"].partition("=")[2] not in served.ask("GET", "/account", headers=session).text
    assert [row.deed.action for row in served.audit.read(9)] == ["login"]


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/", True),
        ("/account/password", True),
        ("/recordings?day=1&court=a-b", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https://evil.example", False),
        ("javascript:alert(1)", False),
        ("/x\r\nSet-Cookie: a=b", False),
        ("/%0d%0a\n", False),
        ("", False),
        (None, False),
        ("/" + "x" * 600, False),
    ],
)
def test_a_login_leads_back_to_paths_of_ours_only(path: str | None, good: bool) -> None:
    assert local(path) == (path if good else "/")


def test_a_wrong_name_and_a_wrong_password_look_the_same(served: Served) -> None:
    person(served)
    person(served, "fresh", None)
    answers = [
        send(served, "/login", user=user, password=password)
        for user, password in (("otto", "wrong password"), ("nobody", GOOD), ("fresh", ""), ("", ""))
    ]
    assert [answer.status for answer in answers] == [401] * 4
    assert len({answer.body for answer in answers}) == 1
    assert [answer.headers.get("set-cookie") for answer in answers] == [None] * 4
    assert {row.deed.subject for row in served.audit.read(9)} == {"otto", "fresh", ""}


def test_a_first_login_asks_for_a_password(served: Served) -> None:
    person(served, password=None)
    code = served.people.issue_code("otto", 86_400)
    answer = send(served, "/login", code=code.lower())
    assert (answer.status, answer.headers["location"]) == (303, "/account/password")
    session = cookie(answer)
    token = csrf(served.ask("GET", "/account/password", headers=session))
    assert send(served, "/login", code=code).status == 401
    short = send(served, "/account/password", session, csrf=token, new="short")
    assert (short.status, "too short" in short.text) == (422, True)
    assert send(served, "/account/password", session, new=GOOD).status == 403
    assert send(served, "/account/password", session, csrf=token, new=GOOD).status == 303
    assert send(served, "/login", user="otto", password=GOOD).status == 303
    other = send(served, "/account/password", session, csrf=token, old="not it", new=GOOD + "2")
    assert (other.status, "is another one" in other.text) == (422, True)
    assert send(served, "/account/password", session, csrf=token, old=GOOD, new=GOOD + "2").status == 303
    assert served.ask("GET", "/api/v1/account", headers=session).status == 200


def test_logging_out_ends_the_session(served: Served) -> None:
    browser = served.visit("otto", "operator")
    answer = send(served, "/logout", {"Cookie": browser["Cookie"]}, csrf=browser["X-CSRF-Token"])
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert served.ask("GET", "/api/v1/account", headers=browser).status == 401


def test_sessions_are_shown_and_ended(served: Served) -> None:
    here = served.visit("otto", "operator")
    served.clock.now += minutes(2)
    _, there_token = served.people.open_session("otto", "<b>Phone</b>", 86_400)
    there = {"Cookie": f"ezrec={there_token}"}
    page = served.ask("GET", "/account", headers=here)
    assert "&lt;b&gt;Phone&lt;/b&gt;" in page.text
    rows = served.ask("GET", "/api/v1/account/sessions", headers=here).json["items"]
    assert [(row["client"], row["here"]) for row in rows] == [("<b>Phone</b>", False), ("a browser", True)]
    assert there_token not in str(rows)
    other = served.visit("uma", "user")
    path = f"/api/v1/account/sessions/{rows[0]['session_id']}"
    assert served.ask("DELETE", path, headers=other).status == 404
    assert served.ask("GET", "/api/v1/account", headers=there).status == 200
    assert served.ask("DELETE", path, headers=here).status == 204
    assert served.ask("GET", "/api/v1/account", headers=there).status == 401
    end = f"/account/sessions/{rows[1]['session_id']}/end"
    send(served, end, {"Cookie": here["Cookie"]}, csrf=here["X-CSRF-Token"])
    assert served.ask("GET", "/account", headers=here).status == 303


def test_a_session_ends_by_itself(served: Served) -> None:
    browser = served.visit("otto", "operator")
    served.clock.now += minutes(60 * 24)
    assert served.ask("GET", "/api/v1/account", headers=browser).status == 401


@pytest.mark.parametrize("by", ["name", "address", "code"])
def test_logins_are_throttled(tmp_path: Path, by: str) -> None:
    settings = Settings(api=Api(login_tries=3, trusted_proxies=("127.0.0.1",)))
    with Served(settings, tmp_path) as served:
        person(served)

        def attempt(number: int, user: str, password: str) -> Answer:
            address = f"203.0.113.{number if by == 'name' else 1}"
            fields = {"code": "ABCD"} if by == "code" else {"user": user, "password": password}
            return send(served, "/login", {"X-Forwarded-For": address}, **fields)

        users = ["otto"] * 3 if by == "name" else ["a", "b", "c"]
        assert [attempt(number, user, "a wrong one").status for number, user in enumerate(users)] == [401] * 3
        refused = attempt(9, "otto", GOOD)
        assert (refused.status, int(refused.headers["retry-after"])) == (429, 300)
        elsewhere = send(served, "/login", {"X-Forwarded-For": "203.0.113.77"}, user="otto", password=GOOD)
        assert elsewhere.status == (429 if by == "name" else 303)
        served.clock.now += minutes(5)
        assert attempt(9, "otto", GOOD).status == (401 if by == "code" else 303)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 303),
    ],
)
def test_a_form_of_another_site_logs_nobody_in(served: Served, headers: dict[str, str], status: int) -> None:
    person(served)
    assert send(served, "/login", headers, user="otto", password=GOOD).status == status


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"user=%ff", 422),
        ("application/x-www-form-urlencoded", b"a=1&" * 30, 422),
        ("application/x-www-form-urlencoded", "user=\xe9".encode(), 422),
        ("application/x-www-form-urlencoded", b"", 401),
        ("application/x-www-form-urlencoded", b"user=" + b"x" * 70_000, 413),
        ("application/x-www-form-urlencoded", b"user=%00%0a'--&password=x", 401),
    ],
)
def test_what_is_no_form_is_refused(served: Served, kind: str, body: bytes, status: int) -> None:
    assert served.ask("POST", "/login", body=body, headers={"Content-Type": kind}).status == status


def test_behind_tls_the_cookie_is_its_hosts_alone(tmp_path: Path) -> None:
    with Served(Settings(api=Api(trusted_proxies=("127.0.0.1",))), tmp_path) as served:
        person(served)
        by_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.5"}
        answer = send(served, "/login", by_tls, user="otto", password=GOOD)
        assert answer.headers["set-cookie"].startswith("__Host-ezrec=")
        assert "; Secure" in answer.headers["set-cookie"]
        session = cookie(answer)
        assert served.ask("GET", "/api/v1/account", headers={**session, **by_tls}).status == 200
        assert served.ask("GET", "/api/v1/account", headers=session).status == 401
        plain = {"Cookie": session["Cookie"].removeprefix("__Host-"), **by_tls}
        assert served.ask("GET", "/api/v1/account", headers=plain).status == 401


def test_nobody_is_believed_who_is_no_proxy_of_ours(served: Served) -> None:
    person(served)
    answer = send(served, "/login", {"X-Forwarded-Proto": "https"}, user="otto", password=GOOD)
    assert answer.headers["set-cookie"].startswith("ezrec=")


def test_no_secret_of_a_login_is_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    person(served)
    code = served.people.issue_code("otto", 86_400)
    session = cookie(send(served, "/login", code=code))
    send(served, "/login", user="otto", password=GOOD)
    send(served, "/login", user=GOOD, password="otto")
    for secret in (code, GOOD, session["Cookie"].partition("=")[2]):
        assert secret not in caplog.text
        assert secret not in str(served.audit.read(99))
