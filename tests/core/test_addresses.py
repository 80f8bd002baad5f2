from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from edge_agent.core.addresses import (
    bad_address,
    bad_url,
    is_loopback,
    plain_address,
    quiet_times,
    quiet_until,
)
from edge_agent.core.settings import Notify, Settings
from edge_agent.runtime.settings import SettingsError, load

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" Anna@Example.ORG ", "Anna@example.org"),
        ("a.b+tag@sub.example.org", "a.b+tag@sub.example.org"),
        ("anna@müller.example", "anna@xn--mller-kva.example"),
    ],
)
def test_an_address_is_made_plain(text: str, plain: str) -> None:
    assert plain_address(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "anna@",
        "@example.org",
        "anna@example",
        "anna@example.org\r\nBcc: eve@example.org",
        "anna@example.org\nRCPT TO:<eve@example.org>",
        "anna@example.org, eve@example.org",
        "<anna@example.org>",
        "Anna <anna@example.org>",
        '"anna eve"@example.org',
        "anna @example.org",
        "a..b@example.org",
        ".a@example.org",
        "anna@-example.org",
        "anna@exa mple.org",
        "anna@example..org",
        "änna@example.org",
        "anna@\u202egro.elpmaxe",
        "{{anna}}@example.org@evil.example",
        f"{'a' * 65}@example.org",
        f"a@{'b' * 250}.org",
        "anna@[127.0.0.1]",
    ],
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert plain_address(text) is None


def test_a_sender_may_have_a_name() -> None:
    assert bad_address("Court 1 <films@club.example>") is None
    assert bad_address("Court 1 <films>") is not None
    assert bad_address("Court\n1 <films@club.example>") is not None


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://hooks.example.org/T0/B0?x=1", True),
        ("https://hooks.example.org:8443", True),
        ("https://[2001:db8::1]/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/x", True),
        ("http://hooks.example.org/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("https://user:word@hooks.example.org/", False),
        ("https://hooks.example.org:99999/", False),
        ("https:///x", False),
        ("file:///etc/passwd", False),
        ("https://hooks.example.org/a b", False),
        ("https://hooks.example.org/\r\nX-Evil: 1", False),
        ("hooks.example.org", False),
    ],
)
def test_webhooks_are_https_or_here(url: str, fine: bool) -> None:
    assert (bad_url(url) is None) is fine
    assert "hooks" not in (bad_url(url) or "")


def test_loopback_is_by_address_not_by_look() -> None:
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "localhost.evil.example")] == [
        True,
        True,
        True,
        False,
    ]


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-01T21:59:59", None),
        ("2026-03-01T22:00:00", "2026-03-02T07:00:00+01:00"),
        ("2026-03-02T06:59:59", "2026-03-02T07:00:00+01:00"),
        ("2026-03-02T07:00:00", None),
        ("2026-03-28T23:00:00", "2026-03-29T07:00:00+02:00"),
        ("2026-10-24T23:00:00", "2026-10-25T07:00:00+01:00"),
    ],
)
def test_quiet_hours_are_the_courts_own_also_when_the_clocks_change(now: str, until: str | None) -> None:
    over = quiet_until("22:00-07:00", local(now))
    assert (over.isoformat() if over else None) == until


def test_quiet_hours_within_a_day() -> None:
    assert quiet_until("13:00-15:30", local("2026-03-01T14:00:00")) == local("2026-03-01T15:30:00")
    assert quiet_until("13:00-15:30", local("2026-03-01T15:30:00")) is None
    assert quiet_until(None, local("2026-03-01T14:00:00")) is None
    assert [quiet_times(text) for text in ("7-22", "24:00-07:00", "22:00-22:00", "")] == [None] * 4


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"EZREC_NOTIFY__EMAILS": '["anna"]'}, "notify: Value error, emails: expected e-mail addresses"),
        (
            {"EZREC_NOTIFY__EMAILS": '["Anna <anna@club.example>"]'},
            "notify: Value error, emails: expected e-mail addresses like otto@club.example",
        ),
        (
            {"EZREC_NOTIFY__WEBHOOK_SECRET": "secret-path"},
            "notify: Value error, webhook_secret: at least 16 characters expected",
        ),
        (
            {"EZREC_NOTIFY__WEBHOOKS": '["http://hooks.example.org/secret-path"]'},
            "notify: Value error, webhooks: expected https",
        ),
        (
            {"EZREC_NOTIFY__QUIET": "22-7"},
            "notify: Value error, quiet: expected local times like 22:00-07:00",
        ),
        ({"EZREC_NOTIFY__KINDS": '["alarms"]'}, "notify.kinds.0 = 'alarms'"),
        ({"EZREC_SMTP__HOST": "mail.club.example"}, "smtp: Value error, smtp.host needs smtp.sender"),
        (
            {
                "EZREC_SMTP__HOST": "mail.club.example",
                "EZREC_SMTP__SENDER": "a@b.example",
                "EZREC_SMTP__TLS": "false",
            },
            "smtp: Value error, tls = false is for a mail server on this machine only",
        ),
    ],
)
def test_a_mistake_is_one_line_without_secrets(tables: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, tables)
    assert line in str(caught.value)
    assert "secret-path" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {"EZREC_NOTIFY__WEBHOOK_SECRET": '["tell-nobody"]'})
    assert "tell-nobody" not in str(caught.value)


def test_without_a_word_nothing_is_sent_anywhere() -> None:
    assert (Settings().notify, Settings().smtp.host) == (Notify(), None)
