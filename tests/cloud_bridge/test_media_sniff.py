"""Headers of files nobody made in good faith: every one has a verdict, in a sentence."""

import io
import struct
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.media.bounds import Bounds, Refused, Wanted
from cloud_bridge.media.probed import judge
from cloud_bridge.media.sniff import sniff
from tests.support import uploads

BOUNDS = Bounds()
QUIET = settings(max_examples=150, deadline=None, derandomize=True)


NAMES = ("jpeg", "matroska", "mov", "png", "webp", "webp lossless", "webp with alpha")


@cache
def seeds() -> dict[str, bytes]:
    """Good files, by what they are."""
    with tempfile.TemporaryDirectory() as folder:
        film = uploads.film(Path(folder), size="64x64", seconds=0.2)
        webm = uploads.film(Path(folder), "a.webm", "-c:v", "libvpx", size="64x64", seconds=0.2)
    return {
        "png": uploads.picture(size=(40, 30)),
        "jpeg": uploads.picture("JPEG", size=(40, 30)),
        "webp": uploads.picture("WEBP", size=(40, 30)),
        "webp with alpha": uploads.picture("WEBP", size=(40, 30), mode="RGBA"),
        "webp lossless": uploads.picture("WEBP", size=(40, 30), lossless=True),
        "mov": film,
        "matroska": webm,
    }


def verdict(content: bytes, wanted: Wanted) -> str:
    try:
        return sniff(io.BytesIO(content), wanted, BOUNDS)
    except Refused as refusal:
        why = refusal.why
    assert (why[-1], why.isprintable(), len(why) < 300) == (".", True, True), why
    return "refused"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_good_is_known(name: str) -> None:
    wanted: Wanted = "film" if name in ("mov", "matroska") else "picture"
    assert verdict(seeds()[name], wanted) == name.partition(" ")[0]


@QUIET
@given(st.binary(max_size=400), st.sampled_from(("picture", "film")))
def test_any_bytes_have_a_verdict(content: bytes, wanted: Wanted) -> None:
    verdict(content, wanted)


@QUIET
@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 6000),
    st.sampled_from(("picture", "film")),
)
def test_what_was_good_and_is_not_any_more_has_a_verdict(
    name: str, changes: list[tuple[int, bytes]], keep: int, wanted: Wanted
) -> None:
    content = bytearray(seeds()[name])
    for at, piece in changes:
        begin = at % len(content)
        content[begin : begin + len(piece)] = piece
    verdict(bytes(content[:keep] if keep % 3 else content), wanted)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff" + b"\xff" * 5000, b"\xff\xd8\xff\xc0\x00\x02", b"\xff\xd8\xff\xda\x00\x08",
        b"\0\0\0\1moov" + b"\xff" * 8, b"\0\0\0\4moov", struct.pack(">I4s", 2**32 - 1, b"moov"),
        uploads.box(b"moov", uploads.box(b"trak", struct.pack(">I4s", 9999, b"mdia"))),
        uploads.box(b"moov", uploads.box(b"x", b"") * 30_000),
        b"RIFF\xff\xff\xff\xffWEBP" + b"\0" * 40, b"RIFF\0\0\0\0WEBPVP9 " + b"\0" * 40,
    ],
)  # fmt: skip
def test_headers_that_contradict_themselves_are_refused(content: bytes) -> None:
    assert {verdict(content, "picture"), verdict(content, "film")} == {"refused"}


@QUIET
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=6,
    ),
    st.dictionaries(
        st.sampled_from(
            ("codec_name", "width", "height", "duration", "nb_read_packets", "sample_aspect_ratio")
        ),
        st.none() | st.integers() | st.floats() | st.text(max_size=9),
    ),
)
def test_what_ffprobe_says_of_such_files_has_a_verdict(duration: Any, stream: dict[str, Any]) -> None:
    with suppress(Refused):
        film = judge({"format": {"duration": duration}, "streams": [stream]}, BOUNDS)
        assert film.width * film.height <= BOUNDS.film_pixels
        assert film.seconds <= BOUNDS.film_s + 0.5
