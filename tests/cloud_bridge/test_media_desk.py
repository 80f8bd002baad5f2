"""The way of an upload, with the real worker: what comes of it, who has to wait, and what a crash leaves."""

import fcntl
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import Future
from pathlib import Path

import pytest

from cloud_bridge.media import desk as desks
from cloud_bridge.media.answer import answer_of, file_of
from cloud_bridge.media.bounds import Bounds, Refused
from cloud_bridge.media.desk import At, Desk, Turned
from cloud_bridge.media.quarantine import Quarantine
from cloud_bridge.media.sandbox import WorkerBroke
from cloud_bridge.objects.assets import FolderAssets
from cloud_bridge.objects.client import BucketError
from cloud_bridge.stores import StoreError
from cloud_bridge.stores.media import LOOKS, Look, MediaRow, Slot, Whose
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
from tests.cloud_bridge.served import HandClock
from tests.support import uploads

ROOT = Path(__file__).resolve().parents[2]
UMA = Whose("user", "uma")
PICTURE = uploads.picture(mode="RGBA")


class Rig:
    """A desk over a store and a bucket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.store = SqliteMediaStore(folder / "store.sqlite", self.clock)
        self.desk = Desk(folder / "quarantine", self.store, lambda: FolderAssets(folder / "bucket"), "club")

    def close(self) -> None:
        self.desk.close()
        self.store.close()

    def send(
        self, content: bytes, slot: Slot = "logo", whose: Whose = UMA, look: Look | None = None
    ) -> MediaRow:
        upload = self.desk.open(At(whose, slot))
        upload.write(content)
        return self.desk.look(upload, look).result(100)

    def objects(self) -> list[str]:
        folder = self.folder / "bucket" / "club" / "assets"
        return sorted(file.name for file in folder.iterdir()) if folder.exists() else []

    def jobs(self) -> list[Path]:
        return [job for run in (self.folder / "quarantine").glob("run-*") for job in run.glob("job-*")]


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_an_upload_becomes_a_row_and_an_object_of_its_hash(rig: Rig) -> None:
    row = rig.send(PICTURE, look=LOOKS["sponsor1"])
    assert (row.whose, row.slot, row.look, row.file.kind) == (UMA, "logo", LOOKS["sponsor1"], "png")
    assert (row.file.width, row.file.height, row.file.seconds) == (400, 300, None)
    assert rig.objects() == [row.file.sha256]
    written = (rig.folder / "bucket" / "club" / "assets" / row.file.sha256).read_bytes()
    assert hashlib.sha256(written).hexdigest() == row.file.sha256
    assert len(written) == row.file.bytes
    assert rig.store.media(UMA) == (row,)
    assert rig.jobs() == []


def test_the_same_picture_is_one_object(rig: Rig) -> None:
    first, second = rig.send(PICTURE), rig.send(PICTURE, "sponsor2", Whose("organisation", "club"))
    assert first.file == second.file
    assert rig.objects() == [first.file.sha256]


def test_a_film_goes_the_same_way(rig: Rig, tmp_path: Path) -> None:
    row = rig.send(uploads.film(tmp_path, rate=30, seconds=1), "intro")
    assert (row.file.kind, row.file.seconds, row.look) == ("mp4", 1.0, None)
    assert rig.objects() == [row.file.sha256]


def test_a_refusal_is_remembered_until_something_is_taken(rig: Rig) -> None:
    at = At(UMA, "logo")
    with pytest.raises(Refused, match="a text"):
        rig.send(b"hello")
    assert "a text" in (rig.desk.refused(at) or "")
    assert (rig.store.media(UMA), rig.objects(), rig.jobs(), rig.desk.looking(at)) == ((), [], [], False)
    rig.send(PICTURE)
    assert rig.desk.refused(at) is None


def test_too_much_is_cut_while_it_comes_in(rig: Rig) -> None:
    upload = rig.desk.open(At(UMA, "logo"))
    piece = bytes(1024 * 1024)
    for _ in range(10):
        upload.write(piece)
    with pytest.raises(Turned, match="at most 10 MB") as caught:
        upload.write(b"x")
    assert caught.value.reason == "large"
    assert (upload.job / "in").stat().st_size <= 10 * 1024 * 1024
    rig.desk.discard(upload)
    assert (rig.jobs(), rig.desk.looking(upload.at)) == ([], False)


def test_one_at_a_time_for_a_slot_few_for_one_and_not_many_in_all(rig: Rig) -> None:
    def why(whose: Whose, slot: Slot) -> str:
        with pytest.raises(Turned) as caught:
            rig.desk.open(At(whose, slot))
        assert caught.value.why.endswith(".")
        return caught.value.reason

    first = rig.desk.open(At(UMA, "logo"))
    assert why(UMA, "logo") == "busy"
    rig.desk.open(At(UMA, "sponsor1"))
    rig.desk.open(At(UMA, "sponsor2"))
    assert why(UMA, "intro") == "many"
    for number in range(desks.MOST_WAITING - 3):
        rig.desk.open(At(Whose("user", f"u{number}"), "logo"))
    assert why(Whose("user", "olga"), "logo") == "many"
    rig.desk.discard(first)
    rig.desk.open(At(Whose("user", "olga"), "logo"))


def test_a_disk_that_is_nearly_full_takes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quarantine, "free_bytes", lambda _self: desks.SPARE_BYTES)
    with pytest.raises(Turned) as caught:
        rig.desk.open(At(UMA, "logo"))
    assert caught.value.reason == "full"
    assert not rig.desk.looking(At(UMA, "logo"))


def test_many_at_once_are_all_brought_through(rig: Rig) -> None:
    slots: tuple[Slot, ...] = ("logo", "sponsor1", "sponsor2")
    pending: list[Future[MediaRow]] = []
    for slot in slots:
        upload = rig.desk.open(At(UMA, slot))
        upload.write(uploads.picture(size=(100 + len(pending), 50)))
        pending.append(rig.desk.look(upload, None))
    assert [future.result(100).file.width for future in pending] == [100, 101, 102]
    assert [row.slot for row in rig.store.media(UMA)] == list(slots)
    assert len(rig.objects()) == 3


def test_a_bucket_that_refuses_leaves_the_old_row(rig: Rig) -> None:
    before = rig.send(PICTURE)
    folder = rig.folder / "bucket" / "club" / "assets"
    folder.rename(folder.with_name("away"))
    folder.write_bytes(b"in the way")
    with pytest.raises(BucketError):
        rig.send(uploads.picture(size=(50, 50)))
    assert (rig.store.media(UMA), rig.jobs()) == ((before,), [])
    assert rig.desk.refused(At(UMA, "logo")) is None


def test_what_is_being_removed_is_not_named(rig: Rig) -> None:
    row = rig.send(PICTURE)
    rig.store.remove_media(UMA, "logo")
    rig.clock.now = rig.clock.now.replace(year=2027)
    assert rig.store.begin_removal(row.file.sha256, rig.clock.now)
    with pytest.raises(StoreError, match="being removed"):
        rig.send(PICTURE)
    assert rig.store.media(UMA) == ()


def test_ending_the_desk_ends_the_worker_and_removes_what_lay_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    upload = rig.desk.open(At(UMA, "intro"))
    upload.write(uploads.film(tmp_path, "a.mp4", "-preset", "ultrafast", size="1280x720", seconds=4))
    began = threading.Event()
    tell = rig.desk._running.began

    def began_and_tell(group: int) -> None:
        tell(group)
        began.set()

    rig.desk._running.began = began_and_tell  # type: ignore[method-assign]
    future = rig.desk.look(upload, None)
    waiting = rig.desk.open(At(UMA, "logo"))
    waiting.write(PICTURE)
    behind = rig.desk.look(waiting, None)
    assert began.wait(60)
    rig.close()
    assert isinstance(future.exception(0), WorkerBroke)
    assert behind.cancelled()
    assert list((tmp_path / "quarantine").iterdir()) == [tmp_path / "quarantine" / "lock"]
    with pytest.raises(Turned):
        rig.desk.open(At(UMA, "sponsor1"))


PROCESS = """
import sys
from pathlib import Path
from cloud_bridge.media.desk import At, Desk
from cloud_bridge.objects.assets import FolderAssets
from cloud_bridge.stores.media import Whose
from cloud_bridge.stores.sqlite_media import SqliteMediaStore
folder = Path(sys.argv[1])
store = SqliteMediaStore(folder / "store.sqlite")
desk = Desk(folder / "quarantine", store, lambda: FolderAssets(folder / "bucket"), "club")
upload = desk.open(At(Whose("user", "uma"), "intro"))
upload.write(Path(sys.argv[2]).read_bytes())
tell = desk._running.began
def began(group):
    tell(group)
    print(group, flush=True)
desk._running.began = began
desk.look(upload, None).result()
"""


def test_a_killed_process_leaves_no_worker_and_the_next_one_sweeps(tmp_path: Path) -> None:
    uploads.film(tmp_path, "a.mp4", "-preset", "ultrafast", size="1280x720", seconds=4)
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path), str(tmp_path / "a.mp4")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        pidfd = os.pidfd_open(worker)
        other = Quarantine(tmp_path / "quarantine")  # another process beside it sweeps nothing of the living
        assert len(list((tmp_path / "quarantine").glob("run-*/job-*/in"))) == 1
        other.close()
        process.send_signal(signal.SIGKILL)
    assert select.select([pidfd], [], [], 60)[0], "the worker outlived whoever started it"
    os.close(pidfd)
    rig = Rig(tmp_path)
    assert list((tmp_path / "quarantine").glob("run-*/job-*")) == []
    assert (rig.store.media(UMA), rig.objects()) == ((), [])
    rig.send(PICTURE)
    rig.close()


def test_a_process_that_takes_nothing_makes_no_folder(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.close()
    assert not (tmp_path / "quarantine").exists()


def test_a_quarantine_that_cannot_be_used_stops_nothing_but_uploads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "quarantine").write_bytes(b"a file")
    rig = Rig(tmp_path)
    assert "cannot be swept" in caplog.text
    with pytest.raises(OSError, match="quarantine"):
        rig.send(PICTURE)
    assert not rig.desk.looking(At(UMA, "logo"))
    rig.close()


# --- the worker's word --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"made": None}, {"made": {"width": 1, "height": 1}},
        {"made": {"width": 0, "height": 1, "seconds": None}},
        {"made": {"width": 1, "height": 1, "seconds": 2.0}},
        {"made": {"width": 99999, "height": 1, "seconds": None}},
        {"made": {"width": "1", "height": 1, "seconds": None}}, {"refused": {"code": "admin", "why": "x"}},
        {"refused": {"code": "type", "why": "two\nlines"}}, {"refused": {"code": "type", "why": "x" * 301}},
        {"refused": {"code": "type", "why": "<b>\u202e"}}, {"made": [], "open": {}}, {"more": 1},
    ],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_nobodys_fault(tmp_path: Path, answer: dict[str, object]) -> None:
    (tmp_path / "out").write_bytes(PICTURE)
    with pytest.raises(WorkerBroke) as caught:
        file_of(answer_of(json.loads(json.dumps(answer))), tmp_path / "out", "picture", Bounds())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["link", "folder", "fifo", "nothing", "other", "large"])
def test_a_file_that_is_none_is_not_taken(tmp_path: Path, place: str) -> None:
    out = tmp_path / "out"
    bounds = Bounds()
    if place == "link":
        (tmp_path / "secret").write_bytes(PICTURE)
        out.symlink_to(tmp_path / "secret")
    elif place == "folder":
        out.mkdir()
    elif place == "fifo":
        os.mkfifo(out)
    elif place == "other":
        out.write_bytes(b"<svg/>")
    elif place == "large":
        out.write_bytes(PICTURE)
        bounds = Bounds(out_bytes=10)
    answer = answer_of({"made": {"width": 1, "height": 1, "seconds": None}})
    with pytest.raises(WorkerBroke):
        file_of(answer, out, "picture", bounds)


def test_a_folder_of_the_living_is_held(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q")
    (run,) = (tmp_path / "q").glob("run-*")
    with (run / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (tmp_path / "q" / "run-dead").mkdir()
    (tmp_path / "q" / "run-dead" / "lock").touch()
    second = Quarantine(tmp_path / "q")
    assert run.exists()
    assert not (tmp_path / "q" / "run-dead").exists()
    second.close()
    quarantine.close()
    quarantine.close()
