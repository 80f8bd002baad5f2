from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.notify.outcome import Delayed, NotSent, Refused
from cloud_bridge.notify.smtp import Mailer
from edge_agent.core.settings import Smtp
from tests.cloud_bridge.notify.servers import (
    Mailbox,
    certificate,
    check_login,
    mail_server,
    silent_server,
)

MAIL = b"From: films@club.example\r\nTo: anna@example.org\r\nSubject: hello\r\n\r\n.a line with a dot\r\n"


def smtp(port: int, **more: Any) -> Smtp:
    keys = {"host": "127.0.0.1", "port": port, "sender": "Court 1 <films@club.example>", "tls": False}
    return Smtp.model_validate({**keys, **more})


def refusal(
    mailer: Mailer, to: str = "anna@example.org", compose: Callable[[], bytes] = lambda: MAIL
) -> NotSent:
    with pytest.raises(NotSent) as caught:
        mailer.send(to, compose)
    assert "\n" not in caught.value.why
    assert "anna" not in caught.value.text
    return caught.value


def test_a_mail_arrives_as_it_was_made() -> None:
    with mail_server() as box:
        Mailer(smtp(box.port)).send("Anna@Example.org", lambda: MAIL)
    assert (box.raw, box.recipients) == ([MAIL], ["Anna@example.org"])


@pytest.mark.parametrize(
    "to", ["", "anna", "anna@example.org\r\nRCPT TO:<eve@example.org>", "a b@example.org"]
)
def test_what_is_no_address_is_never_said_to_a_server(to: str) -> None:
    with mail_server() as box:
        assert isinstance(refusal(Mailer(smtp(box.port)), to), Refused)
    assert box.asked == []


def test_a_recipient_who_is_refused_is_given_up_and_no_mail_is_made() -> None:
    box = Mailbox(rcpt=lambda address: f"550 5.1.1 <{address}> unknown")
    with mail_server(box):
        error = refusal(Mailer(smtp(box.port)), compose=lambda: pytest.fail("no mail was wanted"))
    assert isinstance(error, Refused)
    assert error.why == (
        "the mail server does not take mails for this address (550 5.1.1 <anna@example.org> unknown)"
    )


def test_greylisting_is_no_refusal() -> None:
    box = Mailbox(rcpt=lambda _address: "451 4.7.1 try again" if len(box.asked) < 2 else None)
    with mail_server(box):
        error = refusal(Mailer(smtp(box.port)))
        assert isinstance(error, Delayed)
        assert not error.everybody
        Mailer(smtp(box.port)).send("anna@example.org", lambda: MAIL)
    assert len(box.mails) == 1


@pytest.mark.parametrize(("answer", "kind"), [("554 spam", Refused), ("452 full", Delayed)])
def test_a_mail_may_be_refused_at_its_end(answer: str, kind: type[NotSent]) -> None:
    with mail_server(Mailbox(data=lambda _mail: answer)) as box:
        error = refusal(Mailer(smtp(box.port)))
    assert (type(error), error.detail) == (kind, answer)


def test_a_server_that_goes_away_after_the_mail_may_have_it() -> None:
    with mail_server(Mailbox(data=lambda _mail: "taken, then gone")) as box:
        error = refusal(Mailer(smtp(box.port)))
    assert isinstance(error, Delayed)
    assert error.text == "the mail server went away; it may have taken the mail"
    assert len(box.mails) == 1


def test_a_server_that_hangs_is_left() -> None:
    with mail_server(Mailbox(data=lambda _mail: "hang")) as box:
        assert isinstance(refusal(Mailer(smtp(box.port), whole_s=0.3)), Delayed)


@pytest.mark.parametrize(
    ("first", "drip"),
    [(b"", b""), (b"2", b"2"), (b"220 hello\r\n", b"2"), (b"220-hello\r\n", b"220-still here\r\n")],
)
def test_a_server_that_drips_is_left(first: bytes, drip: bytes) -> None:
    with silent_server(first, drip) as port:
        error = refusal(Mailer(smtp(port), whole_s=0.3))
    assert isinstance(error, Delayed)
    assert error.everybody


def test_nobody_there_and_nothing_set_are_said_in_a_line() -> None:
    with silent_server() as port:
        pass
    assert refusal(Mailer(smtp(port))).why.startswith(f"mail server 127.0.0.1:{port} cannot be reached: ")
    assert refusal(Mailer(Smtp())).why == "no mail server is set: smtp.host"


def test_starttls_is_asked_for_and_the_certificate_checked(tmp_path: Path) -> None:
    own, other = certificate(tmp_path), certificate(tmp_path, "mail.club.example")
    with mail_server(tls_context=own.server, require_starttls=True) as box:
        Mailer(smtp(box.port, tls=True), own.client).send("anna@example.org", lambda: MAIL)
        assert refusal(Mailer(smtp(box.port, tls=True))).why == (
            f"mail server 127.0.0.1:{box.port}: its certificate is not trusted: self-signed certificate"
        )
        assert "530" in refusal(Mailer(smtp(box.port))).why
    with mail_server(tls_context=other.server) as wrong:
        assert "IP address mismatch" in refusal(Mailer(smtp(wrong.port, tls=True), other.client)).why
    with mail_server() as open_one:
        error = refusal(Mailer(smtp(open_one.port, tls=True), own.client))
        assert "STARTTLS" in error.why
    assert (len(box.mails), wrong.mails, open_one.mails) == (1, [], [])


def test_tls_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    with mail_server(ssl_context=own.server, trust=own.client) as box:
        monkeypatch.setattr("cloud_bridge.notify.smtp.IMPLICIT_TLS_PORT", box.port)
        Mailer(smtp(box.port, tls=True), own.client).send("anna@example.org", lambda: MAIL)
        assert "certificate is not trusted" in refusal(Mailer(smtp(box.port, tls=True))).why
    assert len(box.mails) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_wrong_login_is_one_line_and_ours_to_mend() -> None:
    login: dict[str, Any] = {"authenticator": check_login, "auth_require_tls": False, "auth_required": True}
    with mail_server(**login) as box:
        Mailer(smtp(box.port, username="films", password="right")).send("anna@example.org", lambda: MAIL)
        error = refusal(Mailer(smtp(box.port, username="films", password="wrong")))
        assert isinstance(error, Delayed)
        assert error.everybody
        assert error.why == (
            f"mail server 127.0.0.1:{box.port} refuses the login: smtp.username or smtp.password (535)"
        )
    assert len(box.mails) == 1
