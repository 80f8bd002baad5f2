"""Paths in messages are of the topic's own recording and owner, or the message is dropped."""

from pathlib import Path

import pytest

from edge_agent.runtime.snapshot import read
from schemas.base import Envelope, Message, PayloadError, encode
from schemas.health import Asset
from schemas.registry import ASSET, FILM_OBJECT, RECEIPT_OBJECT, SEGMENTS, SLOTS
from schemas.topics import Address
from schemas.work import Run, Segment, SegmentsMinute, SlotPlan, SlotsMinute, Source, WorkObject
from tests.support.recordings import T0

SHA = "a" * 64
ENVELOPE = Envelope(T0, "x", "s", 1)


def segments(path: str) -> SegmentsMinute:
    one = Segment(
        path=path,
        name=Path(path).stem,
        boot_id="b",
        stamp="kernel",
        t0_ns=0,
        end_ns=1,
        frames=0,
        bytes=0,
        wall_offset_ns=0,
        width=64,
        height=36,
        fps=30,
    )
    return SegmentsMinute(segments=(one,))


def slots(left: str, right: str) -> SlotsMinute:
    plan = SlotPlan(
        index=0,
        first_frame=0,
        frames=1,
        runs=(Run(picture="card", frames=1),),
        left_sources=(Source(path=left, frames=1),),
        right_sources=(Source(path=right, frames=1),),
    )
    return SlotsMinute(plans=(plan,))


def work(path: str) -> WorkObject:
    return WorkObject(path=path, bytes=1, bytes_durable=1)


LEFT = SEGMENTS.at(id="b1", cam="left", minute="abcdef01-0")
SLOT = SLOTS.at(id="b1", minute="0")
FILM = FILM_OBJECT.at(id="b1", name="film")
RECEIPT = RECEIPT_OBJECT.at(id="b1")
L, R = "recordings/b1/left/x-0.mp4", "recordings/b1/right/x-0.mp4"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (LEFT, segments(L)),
        (SLOT, slots(L, R)),
        (FILM, work("recordings/b1/film/film.mp4")),
        (RECEIPT, work("recordings/b1/receipt/receipt.json")),
        (ASSET.at(sha256=SHA), Asset(state="ready", kind="logo", path=f"assets/{SHA}")),
        (ASSET.at(sha256=SHA), Asset(state="fetching", kind="logo")),
    ],
)
def test_its_own_files(address: Address[Message], message: Message) -> None:
    assert read(address, encode(message, ENVELOPE)) == message


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (LEFT, segments("recordings/b2/left/x-0.mp4")),
        (LEFT, segments(R)),
        (LEFT, segments("recordings/b1/left/../../b2/left/x-0.mp4")),
        (SLOT, slots("recordings/b2/left/x-0.mp4", R)),
        (SLOT, slots(R, L)),
        (FILM, work("recordings/b2/film/film.mp4")),
        (FILM, work("recordings/b1/receipt/receipt.json")),
        (FILM, work("recordings/b1/film/../../b2/film/film.mp4")),
        (RECEIPT, work("recordings/b1/film/film.mp4")),
        (ASSET.at(sha256=SHA), Asset(state="ready", kind="logo", path="assets/" + "b" * 64)),
    ],
)
def test_anothers_files(address: Address[Message], message: Message) -> None:
    with pytest.raises(PayloadError, match="path"):
        read(address, encode(message, ENVELOPE))
