"""The lifecycle rules; and a server that tells no sizes apart (a stand-in for R2, which is not here)."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from cloud_bridge.objects.lifecycle import merged, rules_of, same
from cloud_bridge.objects.setup import set_up
from edge_agent.core.settings import Device, Retention, Settings, Store

SETTINGS = Settings(retention=Retention(film_bucket_days=20, receipt_days=90))
PREFIX = "club/court-1/"


def rules(
    *, sizes: bool = True, versions: bool = False, settings: Settings = SETTINGS
) -> list[dict[str, Any]]:
    return rules_of(PREFIX, settings, sizes=sizes, versions=versions)


def days(found: list[dict[str, Any]]) -> dict[str, int]:
    return {
        rule["ID"].rpartition("-")[2]: rule["Expiration"]["Days"] for rule in found if "Expiration" in rule
    }


def test_films_go_some_days_after_the_keeper_and_receipts_when_theirs_are_over() -> None:
    assert days(rules()) == {"films": 23, "rest": 93}
    assert days(rules(sizes=False)) == {"films": 23}
    longer = Settings(retention=Retention(film_bucket_days=365, receipt_days=30))
    assert days(rules(settings=longer)) == {"films": 368, "rest": 368}


def test_every_rule_is_of_the_devices_prefix() -> None:
    for rule in (*rules(versions=True), *rules(sizes=False)):
        where = rule["Filter"]
        assert where.get("And", where)["Prefix"] == PREFIX
    assert {rule["ID"] for rule in rules(versions=True)} == {
        f"ezrec-club-court-1-{name}" for name in ("films", "rest", "uploads", "versions")
    }


def test_ours_take_the_place_of_ours_and_others_stay() -> None:
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    near = {**theirs, "ID": "ezrec-club-court-10-films"}
    before = [theirs, *rules(sizes=False), near]
    after = merged(before, rules(), PREFIX)
    assert after == [theirs, near, *rules()]
    assert merged(after, rules(), PREFIX) == after


def test_what_a_server_adds_is_no_difference() -> None:
    told = [{**rule, "Transitions": [], "Prefix": ""} for rule in reversed(rules())]
    assert same(told, rules())
    assert not same(rules(), rules(sizes=False))
    assert not same([], rules())
    other = rules()
    other[0] = {**other[0], "Expiration": {"Days": 24}}
    assert not same(other, rules())


class Sizeless(ThreadingHTTPServer):
    """Keeps one object and one set of rules; refuses, or forgets, filters by size."""

    daemon_threads = True
    forgets = False
    kept: dict[str, bytes]
    writes = 0


class Answering(BaseHTTPRequestHandler):
    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _path(self) -> tuple[Sizeless, str, bytes]:
        assert isinstance(self.server, Sizeless)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self.server, self.path, body

    def do_HEAD(self) -> None:
        self._answer(200)

    def do_GET(self) -> None:
        server, path, _ = self._path()
        if "lifecycle" not in path and "Authorization" not in self.headers:
            self._answer(403)
        elif path in server.kept:
            self._answer(200, server.kept[path])
        elif "versioning" in path:
            self._answer(200, b"<VersioningConfiguration/>")
        else:
            self._answer(501 if "publicAccessBlock" in path else 404)

    def do_PUT(self) -> None:
        server, path, body = self._path()
        if b"ObjectSizeGreaterThan" in body:
            if not server.forgets:
                self._answer(400, b"<Error><Code>MalformedXML</Code></Error>")
                return
            body = b"<LifecycleConfiguration/>"
        server.writes += 1
        server.kept[path] = body
        self._answer(200)

    def do_DELETE(self) -> None:
        server, path, _ = self._path()
        server.kept.pop(path, None)
        self._answer(204)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture(params=["refuses", "forgets"])
def sizeless(request: pytest.FixtureRequest) -> Generator[Sizeless]:
    with Sizeless(("127.0.0.1", 0), Answering) as server:
        server.kept, server.forgets = {}, request.param == "forgets"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_without_sizes_one_rule_is_written_and_then_left_alone(sizeless: Sizeless) -> None:
    endpoint = f"http://127.0.0.1:{sizeless.server_port}"
    store = Store(kind="s3", endpoint=endpoint, bucket="films", key=SecretStr("k"), secret=SecretStr("s"))
    settings = Settings(store=store, device=Device(id="court-1", org="club"), retention=SETTINGS.retention)
    first = {one.what: one.state for one in set_up(settings, dry_run=False)}
    assert (first["lifecycle"], first["public access"], first["strangers"]) == ("done", "look", "ok")
    text = sizeless.kept["/films?lifecycle"].decode()
    assert "<Days>23</Days>" in text
    assert "ObjectSize" not in text
    assert text.count("<Rule>") == 2
    before = sizeless.writes
    again = {one.what: one.state for one in set_up(settings, dry_run=False)}
    assert again["lifecycle"] == "ok"
    assert sizeless.writes == before + 1  # the object that is tried out, and no rule
