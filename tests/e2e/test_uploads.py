"""Logos and intros sent to the API of a whole device: what is to be seen in the films after that."""

import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from schemas.base import utc_text
from schemas.registry import RECORDING
from tests.cloud_bridge.served import fetch
from tests.e2e.court import Court, Kept, court, kept, recorded_once, shared_base, soon
from tests.judges.media import decode_errors
from tests.support import uploads

pytestmark = [pytest.mark.realtime, pytest.mark.lane, pytest.mark.slow, pytest.mark.timeout(400)]

WIDTH, HEIGHT = 1280, 360
RED, BLUE, GREEN = (230, 0, 0), (0, 0, 230), (0, 200, 0)
LOGO = "/api/v1/users/uma/media/logo"
INTRO = "/api/v1/users/uma/media/intro"


def ask(
    device: Court, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
) -> Any:
    headers = {"Authorization": f"Bearer {device.token}", "Content-Type": kind}
    answer = fetch(f"{device.lab.settings.api.share_base_url}{path}", method, headers, body)
    assert answer.status < 300, answer.text
    return answer.json if answer.body else None


def send(device: Court, path: str, content: bytes, kind: str) -> str:
    sent = ask(device, "PUT", path, content, kind)
    while sent["looking"]:  # a slow machine answers 202
        sent = ask(device, "GET", path.partition("?")[0])
    sha256: str = sent["file"]["sha256"]
    return sha256


def square(color: tuple[int, int, int]) -> bytes:
    """A disc of one colour on nothing, in a picture as wide as it is high."""
    picture = Image.open(io.BytesIO(uploads.picture(size=(600, 600), mode="RGBA")))
    pixels = np.array(picture)
    pixels[..., :3] = color
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def book(device: Court, name: str, owner: str, begin: datetime, seconds: float) -> str:
    asked = {
        "owner": owner, "start": utc_text(begin), "end": utc_text(begin + timedelta(seconds=seconds)),
    }  # fmt: skip
    made = ask(device, "POST", "/api/v1/bookings", json.dumps(asked).encode())
    return device.remember(name, made["id"])


def until_begun(device: Court, booking_id: str) -> None:
    device.until(
        lambda topics: getattr(topics.get(RECORDING.at(id=booking_id)), "state", "") == "recording",
        f"the beginning of {booking_id}",
    )


def record(folder: Path) -> None:
    green = uploads.ffmpeg(
        *(
            "-f",
            "lavfi",
            "-i",
            "color=c=0x00c800:s=640x360:r=30:d=1",
            "-c:v",
            "libx264",
            "-pix_fmt",
            "yuv420p",
        ),
        out=folder / "green.mp4",
    )
    with court(folder, store="s3", settings={"branding": {"logos": []}}) as device:
        red = send(device, f"{LOGO}?place=top_center&size=30", square(RED), "image/png")
        intro = send(device, INTRO, green, "video/mp4")
        first = book(device, "first", "uma", soon(), 6)
        until_begun(device, first)
        blue = send(device, LOGO, square(BLUE), "image/png")
        device.until_final(first)
        second = book(device, "second", "uma", soon(), 6)
        until_begun(device, second)
        for path in (LOGO, INTRO):
            ask(device, "DELETE", path)
        device.until_final(second)
        third = book(device, "third", "uma", soon(), 6)
        device.until_final(third)
        device.keep(first, second, third)
        named = {"red": red, "blue": blue, "intro": intro, "keys": device.bucket.keys()}
        (folder / "named.json").write_text(json.dumps(named))


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_once(shared_base(tmp_path_factory), "uploads-day", record)


def named(day: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((day / "named.json").read_text())
    return found


def frame(film: Path, number: int) -> "npt.NDArray[np.uint8]":
    with av.open(str(film)) as container:
        for at, picture in enumerate(container.decode(video=0)):
            if at == number:
                found: npt.NDArray[np.uint8] = picture.to_ndarray(format="rgb24").astype(np.uint8)
                return found
    raise AssertionError(f"{film} has no frame {number}")


def is_like(found: "npt.NDArray[np.uint8]", color: tuple[int, int, int]) -> bool:
    return bool((np.abs(found.astype(int) - color) < 40).all())


def middle_of_logo(one: Kept) -> "npt.NDArray[np.uint8]":
    """The colour 15 hundredths of the height below the upper edge, in the middle, well into the play."""
    picture = frame(one.film, one.intro_frames + 60)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    Image.fromarray(picture).save(one.film.with_name("seen.png"))
    found: npt.NDArray[np.uint8] = picture[HEIGHT * 17 // 100, WIDTH // 2]
    return found


def test_a_booking_names_what_its_owner_sent_by_its_hash(day: Path) -> None:
    said = named(day)
    for name, digest in (("first", said["red"]), ("second", said["blue"])):
        booking = kept(day, name).said["booking"]
        (logo,) = booking["branding"]
        assert (logo["slot"], logo["sha256"], logo["place"], logo["size"]) == (
            "logo",
            digest,
            "top_center",
            30,
        )
        assert logo["key"] == f"demo-club/assets/{digest}"
        assert booking["intro"]["sha256"] == said["intro"]
    assert {f"demo-club/assets/{said[what]}" for what in ("red", "blue", "intro")} <= set(said["keys"])
    assert kept(day, "third").said["booking"].get("branding", []) == []


def test_the_film_shows_it_from_the_next_booking_on_and_no_longer_once_it_is_removed(day: Path) -> None:
    first, second, third = (kept(day, name) for name in ("first", "second", "third"))
    assert [decode_errors(one.film) for one in (first, second, third)] == ["", "", ""]
    seen = {
        name: middle_of_logo(one) for name, one in (("first", first), ("second", second), ("third", third))
    }
    assert is_like(seen["first"], RED), seen
    assert is_like(seen["second"], BLUE), seen
    assert not is_like(seen["third"], RED), seen
    assert not is_like(seen["third"], BLUE), seen
    for one in (first, second):
        assert [(logo["slot"], logo["applied"]) for logo in one.receipt["branding"]] == [("logo", True)]


def test_the_intro_is_the_owners_and_then_the_devices_own_again(day: Path) -> None:
    first, second, third = (kept(day, name) for name in ("first", "second", "third"))
    assert (first.intro_frames, second.intro_frames) == (30, 30)
    for one in (first, second):
        assert is_like(frame(one.film, 15)[HEIGHT // 2, WIDTH // 2], GREEN)
    assert third.intro_frames > 0
    assert not is_like(frame(third.film, third.intro_frames // 2)[HEIGHT // 2, WIDTH // 2], GREEN)
