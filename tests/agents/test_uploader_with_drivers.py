"""The uploader and its real drivers, a folder as bucket: a film grows, processes die, it arrives whole."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from edge_agent.agents.uploader import State, decide, retained
from edge_agent.core.agent import Changed, Done, Effect, Event, Failed, Stamp, Started, World
from edge_agent.core.errors import EffectFailed
from edge_agent.core.settings import Settings, Storage
from edge_agent.core.upload import PART_BYTES
from edge_agent.drivers.upload_effects import UploaderDrivers, uploader_drivers
from schemas.booking import Booking
from schemas.recording import UploadStage
from schemas.registry import BOOKING, FILM_OBJECT, UPLOAD
from schemas.work import WorkObject

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATH = "recordings/b1/film/film.mp4"
FILM = FILM_OBJECT.at(id="b1", name="film")
BOOKED = Booking.model_validate({"rev": 1, "start": T0, "end": T0, "from": T0, "to": T0})


def composite(content: bytes) -> str:
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    inner = b"".join(hashlib.sha256(part).digest() for part in parts)
    return f"{base64.b64encode(hashlib.sha256(inner).digest()).decode()}-{len(parts)}"


class Process:
    """One run of the uploader. `serve` answers effects one by one; a kill forgets everything in memory."""

    def __init__(self, settings: Settings, work: WorkObject | None, remembered: State | None) -> None:
        self.settings = settings
        self.drivers: UploaderDrivers = uploader_drivers(settings)
        self.state = State()
        self.waiting: list[Effect] = []
        self.clock = 0
        kept = dict(retained(remembered)) if remembered else {}
        mine = {at: message for at, message in kept.items() if at.topic.remembered}
        self.send(Started(self.drivers.inventory(), mine))
        topics = {BOOKING.at(id="b1"): BOOKED}
        self.send(World({**topics, FILM: work} if work else topics))

    def send(self, event: Event) -> None:
        self.clock += 10**9
        stamp = Stamp(0, self.clock, T0, synced=True, boot_id="b")
        self.state, acts = decide(self.state, event, stamp, self.settings)
        self.waiting.extend(act for act in acts if isinstance(act, Effect))

    def serve(self, at_most: int = 1000) -> None:
        for _ in range(at_most):
            if not self.waiting:
                return
            effect = self.waiting.pop(0)
            try:
                self.send(Done(effect.key, self.drivers.run(effect)))
            except EffectFailed as failure:
                self.send(Failed(effect.key, failure.kind, failure.text))

    def stage(self) -> UploadStage:
        message = retained(self.state)[UPLOAD.at(id="b1")]
        assert isinstance(message, UploadStage)
        return message


@pytest.mark.parametrize("kill_after", [None, 1, 2, 4])
def test_a_growing_film_arrives_whole_whatever_dies(tmp_path: Path, kill_after: int | None) -> None:
    settings = Settings(storage=Storage(root=str(tmp_path)))
    content = Random(7).randbytes(3 * PART_BYTES + 12345)
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    process = Process(settings, None, None)
    for grown in (9, PART_BYTES + 9, 2 * PART_BYTES + 9, len(content)):
        head = b"?" * 8 if grown < len(content) else content[:8]
        file.write_bytes(head + content[8:grown])
        complete = grown == len(content)
        work = WorkObject(
            path=PATH,
            bytes=grown,
            bytes_durable=grown if complete else 0,
            complete=complete,
            hash=composite(content) if complete else None,
        )
        process.send(Changed(FILM, work))
        process.serve(1000 if kill_after is None else kill_after)
        if kill_after is not None:
            process.drivers.close()
            process = Process(settings, work, process.state)
    process.serve()
    process.drivers.close()
    film = process.stage().verified("film")
    assert film is not None
    assert (film.bytes, film.hash, film.parts) == (len(content), composite(content), 4)
    assert film.bytes_sent - film.bytes_resent == len(content)
    stored = tmp_path / "bucket" / "club" / "court-1" / "2026-03-01" / "b1" / "film.mp4"
    assert stored.read_bytes() == content
    again = Process(settings, None, process.state)
    assert again.waiting == []
    again.drivers.close()


def test_a_film_that_changed_below_a_sent_part_is_repaired_before_it_is_completed(tmp_path: Path) -> None:
    """A processor's crash may cut back and render again what was already sent."""
    settings = Settings(storage=Storage(root=str(tmp_path)))
    content = Random(8).randbytes(2 * PART_BYTES + 5)
    file = tmp_path / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(content[: PART_BYTES + 9] + b"another slot" + content[PART_BYTES + 21 :])
    process = Process(settings, WorkObject(path=PATH, bytes=len(content), bytes_durable=0), None)
    process.serve()
    file.write_bytes(content)
    done = WorkObject(
        path=PATH,
        bytes=len(content),
        bytes_durable=len(content),
        complete=True,
        hash=composite(content),
    )
    process.send(Changed(FILM, done))
    process.serve()
    process.clock += 10 * 10**9
    process.send(World({}))
    process.serve()
    process.drivers.close()
    film = process.stage().verified("film")
    assert film is not None
    assert (film.hash, film.bytes_resent) == (composite(content), PART_BYTES)
