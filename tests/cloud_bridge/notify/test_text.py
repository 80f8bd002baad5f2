import string
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.notify.mail import html, mail_of, plain
from cloud_bridge.notify.text import Way, harmless, letter_of
from cloud_bridge.notify.words import WORDS, words
from tests.cloud_bridge.notify.facts import FACTS, message
from tests.cloud_bridge.served import NOON

GOLDEN = Path(__file__).resolve().parent / "golden"
LINK = "https://films.club.example/s/TOKEN"
LANGUAGES = ("en", "de", "es")


def holes(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_keys_and_holes(language: str) -> None:
    assert WORDS.keys() == set(LANGUAGES)
    own, english = WORDS[language], WORDS["en"]
    assert own.keys() == english.keys()
    assert {key: holes(text) for key, text in own.items()} == {key: holes(t) for key, t in english.items()}
    assert (len(own["days"].split()), len(own["months"].split()), own["language"]) == (7, 12, language)


def test_an_unknown_language_is_english() -> None:
    assert words("xx") is words("en")


def shown(kind: str, language: str) -> str:
    """Everything a kind can say in a language."""
    cases: list[tuple[str, Mapping[str, Any], Way | None]] = [("to those who look after it", {}, None)]
    if kind.startswith("film_"):
        way = Way(LINK, "link", NOON + timedelta(days=7)) if kind != "film_missed" else None
        cases.append(("to a player", {"player": True, "title": "Anna & Ben"}, way))
    if kind == "film_ready":
        cases += [
            ("to a player, no title", {"player": True}, Way(LINK, "link", NOON, here=True)),
            ("to a player, code", {"player": True}, Way("https://films.club.example/claim", "code")),
            ("to a player, members", {"player": True}, Way("https://films.club.example/login", "members")),
        ]
    if kind == "silent":
        cases += [("in a booking", {"stage": "now"}, None), ("never seen", {"seen_at": None}, None)]
    said: list[str] = []
    for name, more, way in cases:
        letter = letter_of(message(kind, language, **more), way)
        said.append(f"### {name}\nSubject: {letter.subject}\n\n{plain(letter)}")
    return "\n".join(said)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", sorted(FACTS))
def test_texts_are_those_that_were_read(kind: str, language: str) -> None:
    """To write them anew: empty the file, run this, and read what it says."""
    path = GOLDEN / f"{kind}.{language}.txt"
    if not path.exists() or not path.read_text(encoding="utf-8"):
        path.write_text(shown(kind, language), encoding="utf-8")
        pytest.fail(f"{path.name} was written: read it")
    assert shown(kind, language) == path.read_text(encoding="utf-8")


def test_no_golden_text_is_of_a_kind_that_is_gone() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{k}.{n}.txt" for k in FACTS for n in LANGUAGES}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Anna\r\nBcc: eve@example.org", "Anna Bcc: eve@example.org"),
        ("a\x00b\x1b[31mc\x7f\u2028d", "a b [31mc d"),
        ("\u202egpj.exe\u2066x\u2069\u200f", "gpj.exex"),
        ("  a \t b  ", "a b"),
        ("see https://evil.example/x", "see https: //evil.example/x"),
        ("{{ 7 * 7 }} {0} %s", "{{ 7 * 7 }} {0} %s"),
        ("\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}", "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}"),
        ("\ud800x", "x"),
        (None, "None"),
    ],
)
def test_what_somebody_wrote_is_made_harmless(text: object, left: str) -> None:
    assert harmless(text) == left


def test_what_is_too_long_is_cut() -> None:
    assert harmless("x" * 1_000_000, 80) == "x" * 79 + "…"
    letter = letter_of(message("film_ready", player=True, title="word " * 10_000))
    assert len(letter.subject) < 120


HOSTILE = '<img src=x onerror="alert(1)">{{ 7*7 }}\r\nBcc: eve@example.org\u202e https://evil.example'


def test_no_markup_and_no_header_gets_through() -> None:
    for kind in ("film_ready", "film_partial", "alarm", "preflight_failed", "film_missed"):
        checks = [{"name": HOSTILE, "value": HOSTILE, "mend": HOSTILE}]
        one = message(kind, text=HOSTILE, mend=HOSTILE, why=HOSTILE, title=HOSTILE, checks=checks)
        for player in (True, False) if kind.startswith("film_") else (False,):
            letter = letter_of(message(kind, **{**one.data, "player": player}), Way(LINK, "link", NOON))
            page = html(letter)
            assert "<img" not in page
            assert page.count("https://") == page.count(LINK)
            raw = mail_of(letter, "Court 1 <films@club.example>", "anna@example.org", "n1", NOON)
            head = raw.partition(b"\r\n\r\n")[0].decode("ascii")
            assert "\nBcc" not in head
            assert "\n" not in raw.replace(b"\r\n", b"").decode("ascii")
            assert max(len(line) for line in raw.split(b"\r\n")) <= 998


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = sorted({key for facts in FACTS.values() for key in facts} | {"zone", "title", "at"})


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(FACTS)),
    player=st.booleans(),
    data=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=6),
)
def test_any_facts_make_a_mail(kind: str, player: bool, data: dict[str, Any]) -> None:
    more = {**data, "player": player and kind.startswith("film_")}
    letter = letter_of(message(kind, "es", **more))
    raw = mail_of(letter, "ñ <films@club.example>", "anna@example.org", "n1", NOON)
    assert raw.startswith(b"From: ")
    assert letter.subject
