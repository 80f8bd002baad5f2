"""The operator's page in a real browser, at phone size: by forms without a script, and live with it.

With EZREC_SHOTS=FOLDER the pages are kept there as pictures.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from cloud_bridge.passwords import Passwords
from edge_agent.core.settings import Device, Settings, Store
from schemas.agent import Alarm
from schemas.camera import CameraStatus
from schemas.health import Availability, Disk, Health
from schemas.recording import Recording
from schemas.registry import ALARM, AVAILABILITY, CAMERA_STATUS, HEALTH
from tests.cloud_bridge.served import NOON, Served, minutes
from tests.cloud_bridge.test_operator import HOSTILE, Heard

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    # Playwright's own event loop leaves its sockets to the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CHROMIUM = "/usr/bin/chromium"
PASSWORD = "a court of clay"
CONTROLS = "[...document.querySelectorAll('input:not([type=hidden]), select, button, progress, summary, a')]"
NAMELESS = f"""() => {CONTROLS}.filter(one =>
  !(one.labels && one.labels.length) && !one.getAttribute('aria-label') && !one.textContent.trim()
).map(one => one.outerHTML)"""
SMALL = f"""() => {CONTROLS}.filter(one => {{
  const box = one.getBoundingClientRect()
  return box.width && box.height < 32 && !one.matches('progress, p > a:not(.button), h2 > a, .skip')
}}).map(one => one.outerHTML)"""
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture
def club(tmp_path: Path) -> Generator[Served]:
    """A court that is heard by a stand-in for its device, and otto, who looks after it."""
    heard = Heard()
    heard.said = {
        AVAILABILITY.at(): Availability(state="online"),
        CAMERA_STATUS.at(cam="left"): CameraStatus(state="recording", fps=30),
        CAMERA_STATUS.at(cam="right"): CameraStatus(state="recording", fps=30),
        HEALTH.at(): Health(disk=Disk(free_bytes=1, total_bytes=2, booked_hours=31)),
        ALARM.at(agent="health", alarm="disk"): Alarm(
            severity="minor", text="The clock is not synchronised.", since=NOON, mend="Look at the network."
        ),
    }
    store = Store(kind="dir", folder=str(tmp_path / "bucket"))
    settings = Settings(store=store, device=Device(timezone="Europe/Berlin"))
    with Served(settings, tmp_path / "cloud", live=heard) as served:
        served.people.add("otto", "operator", None)
        served.people.set_password("otto", Passwords().hash(PASSWORD), None)
        served.book(title="Morning doubles", start=NOON - minutes(20), end=NOON + minutes(40))
        served.tell("recording", Recording(state="recording", progress_pct=33))
        served.book("yesterday", title="Club final", start=NOON - minutes(1500), end=NOON - minutes(1400))
        served.film("yesterday")
        yield served


@pytest.fixture
def chromium() -> Generator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def phone(browser: Browser, **more: Any) -> Generator[Page]:
    """A page at phone size that may have no trouble; its policy is the server's."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, **more)
    page, troubles = context.new_page(), list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda told: troubles.append(told.text) if "Content Security" in told.text else None)
    yield page
    context.close()
    assert troubles == []


def shot(page: Page, name: str) -> None:
    if "EZREC_SHOTS" in os.environ:
        page.screenshot(path=str(Path(os.environ["EZREC_SHOTS"]) / name), full_page=True)


def log_in(page: Page, club: Served) -> None:
    page.goto(f"http://127.0.0.1:{club.port}/")
    page.get_by_label("Name").fill("otto")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", name="court-1")).to_be_visible()


def is_for_everybody(page: Page, heading: str) -> None:
    """Everything on the page of that heading has a name, a finger's size, and its place on a phone."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.wait_for_load_state("load")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(SMALL) == []
    assert page.evaluate(TOO_WIDE) is False
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1


def test_an_operator_books_extends_and_cancels_without_a_script(club: Served, chromium: Browser) -> None:
    with phone(chromium, java_script_enabled=True) as page:
        # Playwright needs scripts to look at a page; ours are kept from it.
        page.route("**/*.js", lambda route: route.abort())
        log_in(page, club)
        expect(page.get_by_text("Recording now: Morning doubles, until 13:40.")).to_be_visible()
        is_for_everybody(page, "court-1")
        page.get_by_role("link", name="Book the court").click()
        is_for_everybody(page, "Book the court")
        page.get_by_label("Day").fill("2026-03-01")
        page.get_by_label("From").fill("13:30")
        page.get_by_label("To", exact=True).fill("14:30")
        page.get_by_label("Title").fill(HOSTILE)
        page.get_by_role("button", name="Book").click()
        expect(page.get_by_role("alert")).to_contain_text("The court is taken by “Morning doubles”")
        expect(page.get_by_role("alert")).to_be_focused()
        expect(page.get_by_label("Title")).to_have_value(HOSTILE)
        shot(page, "operator-form.png")
        page.get_by_label("From").fill("18:00")
        page.get_by_label("To", exact=True).fill("19:00")
        page.get_by_role("button", name="Book").click()
        expect(page.get_by_role("status").first).to_have_text("Booked.")
        is_for_everybody(page, HOSTILE)
        shot(page, "operator-booking.png")
        page.get_by_role("button", name="15 minutes more").click()
        expect(page.get_by_text("18:00 to 19:15")).to_be_visible()
        page.get_by_role("link", name="Bookings").click()
        is_for_everybody(page, "Bookings")
        page.get_by_role("link", name="18:00 to 19:15").click()
        page.get_by_text("Cancel this booking").press("Enter")
        page.get_by_role("button", name="Yes, cancel it").press("Enter")
        expect(page.get_by_role("status").first).to_have_text("Cancelled.")
        (made,) = (
            row
            for row in club.ask("GET", "/api/v1/bookings", "admin").json["items"]
            if row["title"] == HOSTILE
        )
        assert (made["end"], made["status"]) == ("2026-03-01T18:15:00.000000Z", "cancelled")


def test_the_page_shows_what_changes_and_weighs_little(club: Served, chromium: Browser) -> None:
    weights = list[int]()

    def weigh(request: Request) -> None:
        weights.append(request.sizes()["responseBodySize"])

    with phone(chromium) as page:
        log_in(page, club)
        page.on("requestfinished", weigh)
        page.reload()
        expect(page.get_by_role("heading", name="Latest films")).to_be_visible()
        shot(page, "operator.png")
        assert 0 < sum(weights) < 200_000
        page.get_by_role("button", name="I have seen this").click()
        expect(page.get_by_text("Seen by otto")).to_be_visible()
        with page.expect_response("**/api/v1/events"):
            page.reload()
        club.book("later", title="Evening singles", start=NOON + minutes(300), end=NOON + minutes(360))
        expect(page.get_by_role("link", name="Evening singles")).to_be_visible(timeout=30_000)
        assert page.evaluate(TOO_WIDE) is False
    with phone(chromium, color_scheme="dark") as page:
        log_in(page, club)
        shot(page, "operator-dark.png")
