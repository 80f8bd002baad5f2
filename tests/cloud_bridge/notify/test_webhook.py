import hashlib
import hmac
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud_bridge.notify.outcome import Delayed, NotSent, Refused
from cloud_bridge.notify.text import Way, letter_of
from cloud_bridge.notify.webhook import TYPES, Poster, body_of, is_public, signature
from tests.cloud_bridge.notify.facts import END, claimed
from tests.cloud_bridge.notify.servers import Hook, certificate, hook_server, silent_server
from tests.cloud_bridge.served import NOON

DOCS = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"
SECRET = "0123456789abcdef"


def refusal(poster: Poster, url: str, *, known: bool = True) -> NotSent:
    with pytest.raises(NotSent) as caught:
        poster.post(url, b"{}", {}, known=known)
    assert "\n" not in caught.value.why
    assert "hook?" not in caught.value.why
    return caught.value


def test_a_post_arrives_with_its_signature() -> None:
    body = b'{"id":"n1"}'
    with hook_server() as hook:
        Poster().post(hook.url, body, {"EZREC-Signature": signature(SECRET, body, 1772366400)}, known=True)
    (post,) = hook.posts
    assert (post.path, post.body) == ("/hook?club=1", body)
    digest = hmac.new(SECRET.encode(), b'1772366400.{"id":"n1"}', hashlib.sha256).hexdigest()
    assert post.headers["EZREC-Signature"] == f"t=1772366400,v1={digest}"


def test_the_example_of_the_page_checks_signatures() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102 - the page's own example
    is_ours = found["is_ours"]
    body = b'{"id":"n1"}'
    header = signature(SECRET, body, 1772366400)
    assert is_ours(body, header, SECRET, 1772366400)
    assert is_ours(body, header, SECRET, 1772366400 + 299)
    assert not is_ours(body, header, SECRET, 1772366400 + 301)
    assert not is_ours(body + b" ", header, SECRET, 1772366400)
    assert not is_ours(body, header, SECRET + "x", 1772366400)
    assert not is_ours(body, "", SECRET, 1772366400)
    assert len(code.splitlines()) <= 14


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (299, None),
        (302, Refused),
        (400, Refused),
        (404, Refused),
        (408, Delayed),
        (410, Refused),
        (425, Delayed),
        (429, Delayed),
        (500, Delayed),
        (503, Delayed),
    ],
)
def test_what_an_answer_means(status: int, kind: type[NotSent] | None) -> None:
    with hook_server() as there:
        hook = Hook(answer=lambda _post: (status, {"Location": there.url}))
        with hook_server(hook):
            if kind is None:
                Poster().post(hook.url, b"{}", {}, known=True)
            else:
                assert type(refusal(Poster(), hook.url)) is kind
    assert (len(hook.posts), len(there.posts)) == (1, 0)


def test_one_that_hangs_is_cut() -> None:
    hook = Hook(free=threading.Event())
    with hook_server(hook):
        error = refusal(Poster(whole_s=0.3), hook.url)
    assert (type(error), error.text) == (Delayed, "webhook: no answer within 0 s")


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"H", b"T"),
    ],
)
def test_one_that_drips_is_cut(first: bytes, drip: bytes) -> None:
    with silent_server(first, drip) as port:
        error = refusal(Poster(whole_s=0.3), f"http://127.0.0.1:{port}/x")
    assert (type(error), error.text) == (Delayed, "webhook: no answer within 0 s")


def test_one_that_has_said_yes_and_never_ends_has_said_yes() -> None:
    with silent_server(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n") as port:
        Poster(whole_s=3).post(f"http://127.0.0.1:{port}/x", b"{}", {}, known=True)


@pytest.mark.parametrize(
    "answer", [b"\r\n\r\n", b"220 mail.example ESMTP\r\n", b"\x16\x03\x01" * 50, b"HTTP/1.1 x\r\n"]
)
def test_one_that_speaks_something_else_is_asked_again_later(answer: bytes) -> None:
    with silent_server(answer) as port:
        assert isinstance(refusal(Poster(whole_s=0.5), f"http://127.0.0.1:{port}/x"), Delayed)


def test_a_huge_answer_is_not_read() -> None:
    with hook_server(Hook(huge=2_000_000_000)) as hook:
        Poster().post(hook.url, b"{}", {}, known=True)
    assert len(hook.posts) == 1


def test_certificates_are_checked(tmp_path: Path) -> None:
    own, other = certificate(tmp_path), certificate(tmp_path, "hooks.example.org")
    with hook_server(trust=own.server) as hook:
        url = hook.url.replace("http:", "https:")
        Poster(trust=own.client).post(url, b"{}", {}, known=True)
        assert "certificate is not trusted" in refusal(Poster(), url).why
    with hook_server(trust=other.server) as wrong:
        url = wrong.url.replace("http:", "https:")
        assert "certificate is not trusted" in refusal(Poster(trust=other.client), url).why
        named = f"https://hooks.example.org:{wrong.port}/hook?club=1"
        Poster(lambda _host, _port: ("127.0.0.1",), other.client).post(named, b"{}", {}, known=True)
    assert (len(hook.posts), len(wrong.posts)) == (1, 1)
    assert wrong.posts[0].headers["Host"] == f"hooks.example.org:{wrong.port}"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.1",
        "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "224.0.0.1", "ff02::1", "240.0.0.1", "no address",
    ],
)  # fmt: skip
def test_what_only_this_machine_can_reach_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_row_cannot_lead_into_the_private_network() -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1", "::1")

    with hook_server() as hook:
        error = refusal(Poster(), hook.url, known=False)
        assert isinstance(error, Refused)
        assert "private network" in error.text
        named = f"https://hooks.example.org:{hook.port}/x"
        assert isinstance(refusal(Poster(resolve), named, known=False), Refused)
    assert (hook.posts, asked) == ([], ["hooks.example.org"])


def test_the_address_that_was_judged_is_the_one_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers differently the second time gains nothing: it is asked once."""
    answers = [("127.0.0.1",), ("10.0.0.1",)]
    own = certificate(tmp_path, "hooks.example.org")
    monkeypatch.setattr("cloud_bridge.notify.webhook.is_public", lambda address: address == "127.0.0.1")
    with hook_server(trust=own.server) as hook:
        poster = Poster(lambda _host, _port: answers.pop(0), own.client)
        poster.post(f"https://hooks.example.org:{hook.port}/x", b"{}", {}, known=False)
    assert (len(hook.posts), answers) == (1, [("10.0.0.1",)])


@pytest.mark.parametrize(
    "url", ["http://hooks.example.org/x", "https://u:p@hooks.example.org/x", "file:///x", "x"]
)
def test_other_addresses_are_refused_unasked(url: str) -> None:
    def resolve(_host: str, _port: int) -> Sequence[str]:
        pytest.fail("nobody is to be asked for it")

    assert isinstance(refusal(Poster(resolve), url), Refused)


def test_a_body_has_facts_words_and_the_link_and_nobody_in_it() -> None:
    one = claimed("film_partial", title="Anna & Ben")
    way = Way("https://films.example.org/s/token", "link", NOON)
    body = json.loads(body_of(one, letter_of(one.message, way), way))
    assert {key: value for key, value in body.items() if key not in ("text", "data")} == {
        "id": "n1",
        "type": "recording.partial",
        "created": END,
        "device": "court-1",
        "booking_id": "b1",
        "share_url": "https://films.example.org/s/token",
        "share_expires_at": "2026-03-01T12:00:00.000000Z",
    }
    assert body["data"]["lacks"] == {"right": 40.0, "card": 0.6}
    assert "For 40 seconds only the right camera's picture." in body["text"]
    assert "Anna" not in json.dumps(body)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_kind_has_a_body_and_a_line_on_the_page(kind: str) -> None:
    one = claimed(kind)
    body = json.loads(body_of(one, letter_of(one.message), None))
    assert "share_url" not in body
    assert f"`{body['type']}`" in DOCS.read_text()
