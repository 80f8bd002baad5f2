"""The keeper's bucket before a server that answers badly (a stand-in: no real one can be made to)."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from cloud_bridge.keeper import Keeper
from cloud_bridge.objects.base import OpenUpload
from cloud_bridge.objects.client import BucketError
from cloud_bridge.objects.kept_s3 import S3Kept
from cloud_bridge.objects.setup import set_up
from cloud_bridge.stores import SqliteStore
from cloud_bridge.stores.sqlite_keeping import SqliteKeeping
from edge_agent.core.settings import Settings, Store
from edge_agent.drivers.objects import S3Store, StoreError
from edge_agent.drivers.objects.s3 import S3Target
from tests.cloud_bridge.served import NOON, HandClock
from tests.conformance.keeping import key_of, uploaded

SLOW = b"<Error><Code>SlowDown</Code><Message>x</Message></Error>"
ANSWERS: dict[str, tuple[int, bytes, int]] = {  # status, body, bytes that Content-Length promises beyond it
    "500": (500, b"", 0),
    "503": (503, SLOW, 0),
    "429": (429, b"", 0),
    "html": (502, b"<html>bad gateway</html>", 0),
    "half": (500, b"<Error><Co", 500),
    "301": (301, b"", 0),
    "400": (400, b"<Error><Code>MalformedXML</Code></Error>", 0),
}


class Bad(ThreadingHTTPServer):
    daemon_threads = True
    answer: tuple[int, bytes, int] = (200, b"", 0)
    asked = 0


class Answering(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, Bad)
        server.asked += 1
        status, body, more = server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + more))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    do_GET = do_HEAD = do_DELETE = do_PUT = do_POST = _answer  # noqa: N815 - the base class looks for these

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def serving() -> Generator[Bad]:
    with Bad(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def server() -> Generator[Bad]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def settings(server: Bad) -> Settings:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    store = Store(
        kind="s3", endpoint=endpoint, bucket="films", key=SecretStr("k"), secret=SecretStr("s3cret")
    )
    return Settings(store=store)


@pytest.fixture(scope="module")
def bucket(settings: Settings) -> Generator[S3Kept]:
    with closing(S3Kept(settings)) as bucket:
        yield bucket


CALLS: dict[str, Callable[[S3Kept], object]] = {
    "check": lambda bucket: bucket.check(),
    "size": lambda bucket: bucket.size(key_of("a")),
    "remove": lambda bucket: bucket.remove(key_of("a")),
    "uploads": lambda bucket: list(bucket.open_uploads("club/court-1/")),
    "abort": lambda bucket: bucket.abort(OpenUpload(key_of("a"), "u", NOON)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_nothing_is_taken_for_done(server: Bad, bucket: S3Kept, answer: str, call: str) -> None:
    server.answer = ANSWERS[answer]
    with pytest.raises(BucketError) as caught:
        CALLS[call](bucket)
    assert caught.value.kind in ("transient", "refused")
    assert "\n" not in caught.value.text
    assert "s3cret" not in caught.value.text


def test_a_list_that_is_no_list(server: Bad, bucket: S3Kept) -> None:
    for body in (b"<html>hello</html>", b"not xml", b"", b"<a>"):
        server.answer = (200, body, 0)
        with suppress(BucketError):
            assert list(bucket.open_uploads("club/court-1/")) == []
    server.answer = (200, b"<ListMultipartUploadsResult>", 4000)
    with pytest.raises(BucketError):
        list(bucket.open_uploads("club/court-1/"))


def test_a_server_that_says_yes_to_everything_removes_nothing(
    server: Bad, settings: Settings, bucket: S3Kept, tmp_path: Path
) -> None:
    clock = HandClock(NOON)
    store = SqliteStore(tmp_path / "store.sqlite", clock)
    store.save_result("a", "upload", uploaded("a"))
    store.close()
    clock.now += timedelta(days=30)
    server.answer = (200, b"<html>please log in</html>", 0)
    with closing(SqliteKeeping(tmp_path / "store.sqlite", "club", "court-1", clock)) as kept:
        done = Keeper(kept, bucket, settings, clock).round()
        assert (done.removed, kept.removals(10, None)) == ((), ())
        assert "still there" in done.later[0]
        server.answer = (503, SLOW, 0)
        with pytest.raises(BucketError):
            Keeper(kept, bucket, settings, clock).round()


def test_the_devices_store_is_not_led_in_circles_either(server: Bad) -> None:
    server.answer = ANSWERS["301"]
    target = S3Target("films", "k", "s3cret", f"http://127.0.0.1:{server.server_port}")
    with S3Store(target) as store, pytest.raises(StoreError, match=r"store\.region") as caught:
        store.create(key_of("a"), "video/mp4")
    assert caught.value.kind == "denied"


@pytest.mark.parametrize("answer", ANSWERS)
def test_store_init_says_it_in_a_line(server: Bad, settings: Settings, answer: str) -> None:
    server.answer = ANSWERS[answer]
    found = list(set_up(settings, dry_run=False))
    assert [one.state for one in found] == ["wrong"]
    assert "\n" not in found[0].text
