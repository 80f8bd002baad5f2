import json
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from edge_agent.demo.servers import SeaweedFS
from edge_agent.demo.throttle import ThrottleProxy
from edge_agent.drivers.objects import (
    PART_BYTES,
    ListedPart,
    ObjectHead,
    ObjectStore,
    PartRef,
    S3Store,
    StoreError,
    UploadLedger,
    Verified,
)
from edge_agent.drivers.objects.ledger import PartRecord
from tests.drivers.upload_made import FILM, OBJECT, TOTAL_BYTES, Device

T = TypeVar("T")


class Killed(BaseException):
    """The process died here."""


class Dying:
    """A store whose caller dies at its n-th request: before it was sent, or before the answer was heard."""

    def __init__(self, store: ObjectStore, request: int, *, unheard: bool) -> None:
        self._store = store
        self._left = request
        self._unheard = unheard

    def _do(self, call: Callable[[], T]) -> T:
        self._left -= 1
        if self._left == 0 and not self._unheard:
            raise Killed
        answer = call()
        if self._left == 0:
            raise Killed
        return answer

    def create(self, key: str, content_type: str) -> str:
        return self._do(lambda: self._store.create(key, content_type))

    def put_part(self, key: str, upload_id: str, number: int, data: bytes, sha256_b64: str) -> str:
        return self._do(lambda: self._store.put_part(key, upload_id, number, data, sha256_b64))

    def complete(self, key: str, upload_id: str, parts: Sequence[PartRef]) -> None:
        self._do(lambda: self._store.complete(key, upload_id, parts))

    def head(self, key: str) -> ObjectHead | None:
        return self._do(lambda: self._store.head(key))

    def abort(self, key: str, upload_id: str) -> None:
        self._do(lambda: self._store.abort(key, upload_id))

    def list_uploads(self, key: str) -> tuple[str, ...]:
        return self._do(lambda: self._store.list_uploads(key))

    def list_parts(self, key: str, upload_id: str) -> tuple[ListedPart, ...]:
        return self._do(lambda: self._store.list_parts(key, upload_id))

    def get(self, key: str, path: Path, expected_sha256: str | None = None, *, max_bytes: int) -> None:
        self._do(lambda: self._store.get(key, path, expected_sha256, max_bytes=max_bytes))

    def put_small(self, key: str, data: bytes, content_type: str) -> ObjectHead:
        return self._do(lambda: self._store.put_small(key, data, content_type))

    def close(self) -> None:
        """Nothing of its own."""


def die_and_go_on(device: Device, request_number: int, *, unheard: bool) -> Verified:
    with pytest.raises(Killed):
        device.send(device.started(Dying(device.store, request_number, unheard=unheard)))
    return device.send(device.started())


# Create, three parts, Complete, HEAD: what sending this film takes.
@pytest.mark.parametrize("request_number", range(1, 7))
@pytest.mark.parametrize("unheard", [False, True])
@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_death_at_any_request_leaves_one_whole_object(
    device: Device, tmp_path: Path, request_number: int, unheard: bool
) -> None:
    verified = die_and_go_on(device, request_number, unheard=unheard)
    assert device.fetched(tmp_path) == device.film
    assert (verified.bytes_sent, verified.bytes_resent) == (TOTAL_BYTES, 0)
    assert device.store.list_uploads(device.key) == ()


@pytest.mark.parametrize("request_number", [1, 3, 5])
@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_an_answer_that_a_dead_process_did_not_hear(
    device: Device, tmp_path: Path, request_number: int
) -> None:
    verified = die_and_go_on(device, request_number, unheard=True)
    assert device.fetched(tmp_path) == device.film
    assert verified.bytes_sent == TOTAL_BYTES
    assert device.store.list_uploads(device.key) == ()


def test_complete_that_was_not_heard_and_then_forgotten(device: Device) -> None:
    with pytest.raises(Killed):
        device.send(device.started(Dying(device.store, 5, unheard=True)))
    driver = device.started()
    assert len(driver.begin(OBJECT, device.key, "video/mp4").parts_done) == 3
    assert driver.finish(OBJECT, FILM, TOTAL_BYTES).bytes_resent == 0


class TestLedger:
    def test_an_answer_for_an_upload_that_started_over_does_not_count(self, tmp_path: Path) -> None:
        ledger = UploadLedger(tmp_path / "ledger.sqlite")
        part = PartRecord(1, 0, 10, "sha", "md5")
        ledger.creating("b1/film", "key", "video/mp4", PART_BYTES)
        ledger.opened("b1/film", "first")
        ledger.intent("b1/film", FILM, part)
        ledger.lost("b1/film", "first")
        ledger.creating("b1/film", "key", "video/mp4", PART_BYTES)
        ledger.opened("b1/film", "second")
        assert not ledger.done("b1/film", "first", part, "etag")
        assert [known.state for known in ledger.parts("b1/film")] == ["intent"]
        ledger.lost("b1/film", "first")
        assert [record.upload_id for record in ledger.all()] == ["second"]
        ledger.close()

    def test_what_is_recorded_is_on_disk_at_once(self, tmp_path: Path) -> None:
        ledger = UploadLedger(tmp_path / "ledger.sqlite")
        ledger.creating("b1/film", "key", "video/mp4", PART_BYTES)
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"copy-{name}".replace("copy-ledger", "copy"))
        copy = UploadLedger(tmp_path / "copy.sqlite")
        assert [(record.object_id, record.state) for record in copy.all()] == [("b1/film", "creating")]
        copy.close()
        ledger.close()

    def test_a_damaged_file_is_set_aside(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 1000)
        ledger = UploadLedger(tmp_path / "ledger.sqlite")
        damaged = tmp_path / "ledger.sqlite.damaged"
        assert ledger.set_aside == damaged
        assert damaged.read_bytes().startswith(b"no database")
        assert ledger.all() == ()
        ledger.close()


CHILD = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from edge_agent.drivers.objects import PART_BYTES, S3Store, UploadDriver, UploadLedger
    from edge_agent.drivers.objects.s3 import S3Target

    target, folder, key, film, count = json.loads(sys.stdin.readline())
    ledger = UploadLedger(Path(folder) / "ledger.sqlite")
    driver = UploadDriver(S3Store(S3Target(**target)), ledger, Path(folder) / "storage")
    driver.begin("b1/film", key, "video/mp4")
    print("begun", flush=True)
    for number in range(2, count):
        driver.put_part("b1/film", number, film, (number - 1) * PART_BYTES, PART_BYTES)
        print(number, flush=True)
    """
)


@pytest.mark.slow
def test_kill_9_while_a_part_is_under_way(seaweed: SeaweedFS, tmp_path: Path) -> None:
    with S3Store(seaweed.device) as store, ThrottleProxy(seaweed.port) as line:
        device = Device.make(tmp_path, store, f"club/court/{tmp_path.name}/film.mp4")
        device.write(4 * PART_BYTES + 1, seed=3)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            target = {**vars(seaweed.device), "endpoint": line.endpoint}
            child.stdin.write(json.dumps([target, str(tmp_path), device.key, FILM, 5]).encode() + b"\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"begun\n"
            assert child.stdout.readline() == b"2\n"
            assert child.stdout.readline() == b"3\n"
            line.stall()  # so that part 4 can never be whole
            child.send_signal(signal.SIGKILL)
        driver = device.started()
        begun = driver.begin(OBJECT, device.key, "video/mp4")
        there = [part.number for part in begun.parts_done]
        verified = device.send(driver)
        device.ledgers[-1].close()
        assert there[:2] == [2, 3]
        assert (verified.bytes_sent, verified.bytes_resent, verified.resumes) == (4 * PART_BYTES + 1, 0, 1)
        assert device.fetched(tmp_path) == device.film


@pytest.mark.slow
def test_the_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    with SeaweedFS(tmp_path / "weed") as server, S3Store(server.device) as store:
        device = Device.make(tmp_path, store, "club/film.mp4")
        driver = device.started()
        driver.begin(OBJECT, device.key, "video/mp4")
        device.put(driver, 2)
        server.kill9()
        with pytest.raises(StoreError) as caught:
            device.put(driver, 3)
        assert caught.value.kind == "transient"
        server.start()
        begun = driver.begin(OBJECT, device.key, "video/mp4")
        assert [part.number for part in begun.parts_done] == [2]
        verified = device.send(driver)
        device.ledgers[-1].close()
        assert (verified.bytes_sent, verified.bytes_resent, verified.resumes) == (TOTAL_BYTES, 0, 0)
        assert device.fetched(tmp_path) == device.film
