import re
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from cloud_bridge.shares import only_here
from cloud_bridge.stores import StoreError
from edge_agent.core.settings import Settings, Store
from schemas.recording import Recording
from tests.cloud_bridge.conftest import FILM
from tests.cloud_bridge.served import KEY, NOON, Answer, Served, minutes, receipt

BYTES = {"Range": "bytes=0-"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def words(answer: Answer) -> str:
    """What a person reads on a page."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = re.sub(r"<(head|style|script).*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def stats(served: Served) -> tuple[int, int]:
    row = served.ask("GET", "/api/v1/shares", "admin").json["items"][0]
    return row["views"], row["downloads"]


def test_the_page_says_how_far_it_is_and_looks_again_by_itself(served: Served) -> None:
    served.book(title="Anna <3 & Ben")
    link = served.link()
    seen = []
    for minute in (-5, 30, 61, 80):
        served.clock.now = NOON + minutes(minute)
        answer = served.ask("GET", link, headers=BROWSER)
        assert answer.status == 200
        assert "Anna &lt;3 &amp; Ben" in answer.text
        assert "Sunday 1 March 2026, 13:00 to 14:00" in answer.text
        assert 'http-equiv="refresh"' in answer.text
        assert "<video" not in answer.text
        seen.append(words(answer))
    for text, expected in zip(
        seen,
        ("Recording starts at 13:00.", "Recording until 14:00.", "is being finished", "longer than usual"),
        strict=True,
    ):
        assert expected in text
    assert "50 %" in seen[1]


def test_a_film_that_is_not_complete_is_no_film(served: Served) -> None:
    served.book()
    link = served.link()
    served.tell("recording", Recording(state="finishing", progress_pct=80))
    for path, headers in (
        (link, BYTES),
        (f"{link}/video", {}),
        (f"{link}/download", {}),
        (f"{link}/poster", {}),
    ):
        answer = served.ask("GET", path, headers=headers)
        assert (answer.status, answer.headers["retry-after"]) == (409, "2")
    assert stats(served) == (0, 0)


def test_the_page_of_a_film(served: Served) -> None:
    served.book(title="T")
    link = served.link()
    served.clock.now = NOON + minutes(61)
    served.film(poster=True)
    page = served.ask("GET", link, headers={**BROWSER, **BYTES})
    assert (page.status, page.headers["cache-control"]) == (200, "no-store")
    assert (
        f'<video id="film" controls playsinline preload="metadata" src="{link}/video" poster="{link}/poster">'
        in page.text
    )
    assert f'href="{link}/download"' in page.text
    assert 'http-equiv="refresh"' not in page.text
    assert "Complete" not in words(page)
    assert "until Sunday 8 March" in words(page)
    served.tell("receipt", receipt())
    assert "Complete: every second of the booking is in it." in words(served.ask("GET", link))
    served.tell("receipt", receipt(state="partial", pictures={"left": 90, "right": 30, "card": 5400}))
    partial = words(served.ask("GET", link))
    assert "Complete" not in partial
    for line in (
        "left camera's picture for 3 seconds",
        "right camera's picture for 1 second.",
        "No picture at all for 3 minutes",
    ):
        assert line.replace("'", "&#39;") in partial


def test_nothing_comes_from_elsewhere_and_nothing_goes_there(served: Served) -> None:
    served.book()
    served.film(poster=True)
    page = served.ask("GET", served.link())
    links = re.findall(r'(?:src|href|poster)="([^"]*)"', page.text)
    assert len(links) >= 5
    assert [link for link in links if not link.startswith(("/", "data:,"))] == []
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert re.search(r"<style|<script>|\son\w+=|\sstyle=", page.text) is None
    for link in links:
        if link.startswith("/s/static/"):
            file = served.ask("GET", link)
            assert (file.status, "http" in re.sub(r"//.*", "", file.text)) == (200, False)
    assert served.ask("GET", "/s/static/base.html").status == 404


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        (None, 200, FILM, None),
        ("bytes=0-", 206, FILM, f"bytes 0-{len(FILM) - 1}/{len(FILM)}"),
        ("bytes=10-19", 206, FILM[10:20], f"bytes 10-19/{len(FILM)}"),
        ("bytes=-5", 206, FILM[-5:], f"bytes {len(FILM) - 5}-{len(FILM) - 1}/{len(FILM)}"),
        (f"bytes={len(FILM)}-", 416, b"", f"bytes */{len(FILM)}"),
    ],
)
def test_the_film_in_pieces(
    served: Served, asked: str | None, status: int, body: bytes, content_range: str | None
) -> None:
    served.book()
    served.film()
    link = served.link()
    answer = served.ask("GET", f"{link}/video", headers={"Range": asked} if asked else {})
    assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, content_range)
    if status != 416:
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.headers["content-disposition"] == 'inline; filename="court-1-2026-03-01-1300.mp4"'


def test_the_link_itself_plays_in_a_player(served: Served) -> None:
    served.book()
    served.film(poster=True)
    link = served.link()
    direct = served.ask("GET", link, headers={**BYTES, "Accept": "*/*"})
    assert (direct.status, direct.body) == (206, FILM)
    saved = served.ask("GET", f"{link}/download")
    assert saved.headers["content-disposition"] == 'attachment; filename="court-1-2026-03-01-1300.mp4"'
    poster = served.ask("GET", f"{link}/poster")
    assert (poster.body, poster.headers["content-type"]) == (b"poster", "image/jpeg")
    head = served.ask("HEAD", f"{link}/video")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(FILM)))


def test_a_view_is_counted_once(served: Served) -> None:
    served.book()
    served.film(poster=True)
    link = served.link()
    for method, path, headers in (
        ("GET", link, {}),
        ("GET", f"{link}/poster", {}),
        ("HEAD", f"{link}/video", {}),
        ("GET", f"{link}/video", {"Range": "bytes=100-"}),
        ("GET", f"{link}/video?again=1", BYTES),
    ):
        assert served.ask(method, path, headers=headers).status < 300
    assert stats(served) == (0, 0)
    served.ask("GET", f"{link}/video", headers=BYTES)
    served.ask("GET", f"{link}/video")
    served.ask("GET", f"{link}/download")
    assert stats(served) == (2, 1)


def test_a_bucket_is_asked_directly(tmp_path: Path) -> None:
    store = Store(kind="s3", endpoint="http://127.0.0.1:9", key=SecretStr("k"), secret=SecretStr("s"))
    with Served(Settings(store=store), tmp_path) as served:
        served.book()
        served.film()
        link = served.link()
        for path, kind in ((link, "inline"), (f"{link}/video", "inline"), (f"{link}/download", "attachment")):
            answer = served.ask("GET", path, headers=BYTES)
            assert (answer.status, answer.headers["cache-control"]) == (307, "no-store")
            assert answer.headers["location"].startswith(f"http://127.0.0.1:9/ezrec/{KEY}?")
            assert f"response-content-disposition={kind}%3B" in answer.headers["location"]
        policy = served.ask("GET", link).headers["content-security-policy"]
        assert "media-src 'self' http://127.0.0.1:9;" in policy


@pytest.mark.parametrize("path", ["", "/video", "/download", "/poster"])
def test_a_link_that_has_ended_is_gone(served: Served, path: str) -> None:
    served.book()
    served.clock.now = NOON + minutes(61)
    served.film(poster=True)
    link, other = served.link(), served.link()
    share = served.ask("GET", "/api/v1/shares", "admin").json["items"][1]["share_id"]
    assert [served.ask("GET", f"{one}{path}").status for one in (link, other)] == [200, 200]
    served.ask("DELETE", f"/api/v1/shares/{share}", "admin")
    assert sorted(served.ask("GET", f"{one}{path}").status for one in (link, other)) == [200, 410]
    served.clock.now = NOON + minutes(61 + 7 * 24 * 60)
    gone = served.ask("GET", f"{link}{path}")
    assert (gone.status, "This link has ended" in words(gone)) == (410, True)


def test_a_share_from_before_ends_with_its_film(served: Served) -> None:
    served.book()
    share, token = served.store.issue_link("match", NOON + minutes(60 * 24 * 300))
    del share
    served.clock.now = NOON + minutes(61)
    served.film()
    served.clock.now += minutes(14 * 24 * 60 - 1)
    assert served.ask("GET", f"/s/{token}").status == 200
    served.clock.now += minutes(1)
    assert [served.ask("GET", f"/s/{token}{path}").status for path in ("", "/video")] == [410, 410]


@pytest.mark.parametrize("token", ["x" * 43, "short", "x" * 500, "%2e%2e%2fetc", "x'--" + "y" * 40])
def test_an_unknown_link_is_404(served: Served, token: str) -> None:
    for path in ("", "/video", "/download", "/poster"):
        answer = served.ask("GET", f"/s/{token}{path}")
        assert answer.status == 404
    assert served.ask("GET", f"/s/{token}", headers=BYTES).status == 404


@pytest.mark.parametrize(
    ("state", "says"),
    [("cancelled", "was cancelled"), ("missed", "was not being recorded"), ("failed", "could not be made")],
)
def test_a_film_that_never_comes_is_said(served: Served, state: str, says: str) -> None:
    served.book()
    link = served.link()
    served.tell("recording", Recording(state=state))  # type: ignore[arg-type]
    page = served.ask("GET", link)
    assert says in words(page)
    assert 'http-equiv="refresh"' not in page.text


def test_a_withdrawn_recording_says_so(served: Served) -> None:
    served.book()
    link = served.link()
    served.store.change_booking("match", {"record": "no"})
    assert "is not recorded, as was asked for" in words(served.ask("GET", link))


def test_a_film_that_is_no_longer_in_its_folder_is_404(served: Served, tmp_path: Path) -> None:
    served.book()
    served.film()
    link = served.link()
    (tmp_path / "bucket" / KEY).unlink()
    assert served.ask("GET", f"{link}/video").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/nowhere", 404, "Nothing here"),
        ("DELETE", "/login", 405, "This address does not take that method."),
        ("POST", "/login", 415, "A form is expected"),
        ("GET", "{link}/video", 409, "The film is not complete yet."),
        ("GET", "/metrics", 401, "Log in, or send a key."),
    ],
)
def test_a_browser_is_told_in_words(served: Served, method: str, path: str, status: int, says: str) -> None:
    served.book()
    where = path.replace("{link}", served.link())
    page = served.ask(method, where, headers=BROWSER)
    assert (page.status, says in words(page)) == (status, True), page.text
    assert int(page.headers["content-length"]) == len(page.body)
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    program = served.ask(method, where)
    assert (program.status, program.headers["content-type"]) == (status, "application/problem+json")
    assert {*program.headers} - {*page.headers} == set()


def test_a_program_is_told_as_a_program_whatever_it_accepts(served: Served) -> None:
    answer = served.ask("GET", "/api/v1/nowhere", "user", headers=BROWSER)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_health(served: Served) -> None:
    assert served.ask("GET", "/healthz").status == 200
    served.store.close()
    with pytest.raises(StoreError):
        served.store.automatic()
    assert served.ask("GET", "/healthz").status == 503


def test_links_are_never_logged(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    served.book()
    link = served.link()
    served.film()
    served.ask("GET", link)
    served.ask("GET", f"{link}/video")
    served.store._db._db.execute("ALTER TABLE bookings RENAME TO gone")
    assert served.ask("GET", link).status in (500, 503)
    assert caplog.text != ""
    assert link[3:] not in caplog.text


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://192.168.1.9", True),
        ("http://court-1.local", True),
        ("http://court-1", True),
        ("https://films.example.org", False),
        ("http://9.9.9.9", False),
        ("http://[::1]:80", True),
    ],
)
def test_links_that_work_in_this_network_only_say_so(base: str, expected: bool) -> None:
    assert only_here(base) is expected


PLAY = """async () => {
  const film = document.getElementById("film");
  film.muted = true;
  await film.play();
  while (film.currentTime < 0.2) {
    await new Promise((go) => film.addEventListener("timeupdate", go, {once: true}));
  }
}"""
SEEK = """async () => {
  const film = document.getElementById("film");
  film.currentTime = 6;
  await new Promise((go) => film.addEventListener("seeked", go, {once: true}));
}"""

LATER = """async () => {  // a quarter of an hour's pause, then on
  const film = document.getElementById("film");
  film.pause();
  const before = film.currentTime, now = Date.now;
  Date.now = () => now() + 15 * 60 * 1000;
  const renewed = new Promise((go) => film.addEventListener("loadedmetadata", go, {once: true}));
  film.play();
  await renewed;
  while (film.paused || film.seeking || film.currentTime < before + 0.2) {
    await new Promise((go) => film.addEventListener("timeupdate", go, {once: true}));
  }
  return [before, film.currentTime, film.src.includes("?again=")];
}"""


@pytest.mark.browser
def test_the_film_plays_and_seeks_in_a_browser(served: Served, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only the browser's lane has it

    film = tmp_path / "bucket" / KEY
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=640x180:r=30:d=8", "-c:v", "libx264",
         "-preset", "ultrafast", "-pix_fmt", "yuv420p", str(film)],
        check=True,
    )  # fmt: skip
    served.book()
    served.film(size=film.stat().st_size)
    troubles: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.goto(f"http://127.0.0.1:{served.port}{served.link()}")
        # Each waits for an event in the page: the page's policy forbids the polling of `wait_for_function`.
        page.evaluate(PLAY)
        page.evaluate(SEEK)
        before, after, renewed = page.evaluate(LATER)
        size = page.evaluate(
            "() => { const f = document.getElementById('film'); return [f.videoWidth, f.duration]; }"
        )
        browser.close()
    assert size == [640, 8]
    assert (before >= 6, before < after <= 8, renewed) == (True, True, True)
    assert stats(served) == (1, 0)
    assert troubles == []
