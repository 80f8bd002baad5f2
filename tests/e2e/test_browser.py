"""The share page of a real recording in a real browser: it plays and seeks from its link.

With EZREC_SHOTS=FOLDER the pages are kept there as pictures.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.court import Court, court, soon

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(200),
    # Playwright's own event loop leaves its sockets to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CHROMIUM = "/usr/bin/chromium"
SECONDS = 8
PLAYING = "() => { const v = document.querySelector('video'); return v.currentTime > 1 && !v.paused }"
SOUGHT = """at => {
  const video = document.querySelector('video')
  return !video.seeking && Math.abs(video.currentTime - at) < 0.1
}"""
FILM = """() => {
  const video = document.querySelector('video')
  return [video.videoWidth, video.videoHeight, video.duration, video.error && video.error.message]
}"""


def shot(page: Page, name: str) -> None:
    if "EZREC_SHOTS" in os.environ:
        page.screenshot(path=str(Path(os.environ["EZREC_SHOTS"]) / name))


def seek(page: Page, at_s: float) -> None:
    page.evaluate("at => { document.querySelector('video').currentTime = at }", at_s)
    page.wait_for_function(SOUGHT, arg=at_s)


@pytest.fixture(params=["s3", "dir"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with court(tmp_path, store=request.param) as running:
        yield running


def test_the_link_plays_and_seeks_in_chromium(device: Court) -> None:
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium here")
    booking = device.book("film", soon(), SECONDS, title="Court 1, final")
    link = device.link(booking)
    device.until_final(booking)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            watch(browser.new_page(viewport={"width": 1000, "height": 700}), link)
        finally:
            browser.close()


def watch(page: Page, link: str) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    answer = page.goto(link)
    assert answer is not None
    assert answer.status == 200
    page.wait_for_function("() => document.querySelector('video').readyState >= 1")
    width, height, duration_s, error = page.evaluate(FILM)
    assert (width, height, error) == (1280, 360, None)
    assert duration_s > SECONDS
    page.evaluate("() => { const v = document.querySelector('video'); v.muted = true; return v.play() }")
    page.wait_for_function(PLAYING)
    page.evaluate("() => document.querySelector('video').pause()")
    for at_s in (duration_s - 1, 1.5, duration_s / 2):
        seek(page, at_s)
    shot(page, "share-page.png")
    assert page.evaluate(FILM)[3] is None
    assert troubles == []
