"""Logos and intros over HTTP: the real server, the real worker, a bucket in a folder."""

import hashlib
import io
import json
import socket
import threading
from collections.abc import Generator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud_bridge.media import sandbox
from cloud_bridge.media.bounds import MIB
from cloud_bridge.stores.media import Whose
from edge_agent.core.settings import Settings, Storage, Store
from tests.cloud_bridge.served import NOON, Answer, Served, minutes
from tests.support import uploads

LOGO = "/api/v1/users/uma/media/logo"
INTRO = "/api/v1/users/uma/media/intro"
CLUB = "/api/v1/organisations/club/media"
PICTURE = uploads.picture(mode="RGBA")


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    settings = Settings(
        store=Store(kind="dir", folder=str(tmp_path / "bucket")), storage=Storage(root=str(tmp_path / "root"))
    )
    with Served(settings, tmp_path / "cloud") as served:
        yield served


def put(
    served: Served,
    content: bytes,
    path: str = LOGO,
    key: str = "user",
    kind: str = "image/png",
    **headers: str,
) -> Answer:
    sent = {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return served.ask("PUT", path, key, content, sent)


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json["detail"]
    return answer.status, detail


def quarantined(served: Served) -> list[Path]:
    return list((Path(served.settings.storage.root) / "cloud" / "quarantine").glob("run-*/job-*"))


def test_a_logo_is_sent_seen_changed_and_removed(served: Served, tmp_path: Path) -> None:
    assert served.ask("GET", LOGO, "user").status == 404
    sent = put(served, PICTURE, f"{LOGO}?place=top_left&size=12.5")
    assert sent.status == 200, sent.text
    body = sent.json
    assert (body["slot"], body["looking"], body["refused"]) == ("logo", False, None)
    assert body["look"] == {"place": "top_left", "size": 12.5, "opacity": 1.0}
    assert (body["file"]["type"], body["file"]["width"], body["file"]["height"]) == ("image/png", 400, 300)

    read = served.ask("GET", LOGO, "user")
    assert (read.status, read.json, read.headers["etag"]) == (200, body, sent.headers["etag"])
    again = served.ask("GET", LOGO, "user", headers={"If-None-Match": sent.headers["etag"]})
    assert (again.status, again.body) == (304, b"")

    file = served.ask("GET", f"{LOGO}/file", "user")
    assert (file.status, file.headers["content-type"]) == (200, "image/png")
    assert hashlib.sha256(file.body).hexdigest() == body["file"]["sha256"]
    assert Image.open(io.BytesIO(file.body)).size == (400, 300)
    assert (
        served.ask("GET", f"{LOGO}/file", "user", headers={"If-None-Match": file.headers["etag"]}).status
        == 304
    )
    assert (tmp_path / "bucket" / "club" / "assets" / body["file"]["sha256"]).read_bytes() == file.body

    changed = served.ask("PATCH", LOGO, "user", {"opacity": 0.5})
    assert changed.json["look"] == {"place": "top_left", "size": 12.5, "opacity": 0.5}
    assert changed.headers["etag"] != sent.headers["etag"]
    assert put(served, uploads.picture(size=(60, 60))).json["look"] == changed.json["look"]

    assert served.ask("DELETE", LOGO, "user").status == 204
    assert [served.ask(method, LOGO, "user").status for method in ("GET", "DELETE")] == [404, 404]
    assert served.ask("GET", f"{LOGO}/file", "user").status == 404
    assert quarantined(served) == []


def test_an_intro_is_a_film_without_a_look(served: Served, tmp_path: Path) -> None:
    film = uploads.film(tmp_path, rate=30, seconds=1)
    answer = put(served, film, INTRO, kind="video/mp4")
    assert (answer.status, answer.json["look"], answer.json["file"]["seconds"]) == (200, None, 1.0)
    assert problem(put(served, film, f"{INTRO}?opacity=0.5", kind="video/mp4")) == (
        422, "an intro has no place, size or opacity",
    )  # fmt: skip
    assert problem(served.ask("PATCH", INTRO, "user", {"size": 5}))[0] == 422
    assert served.ask("GET", f"{INTRO}/file", "user").headers["content-type"] == "video/mp4"


def test_all_slots_are_listed(served: Served) -> None:
    served.wear(Whose("user", "uma"), "sponsor2")
    items = served.ask("GET", "/api/v1/users/uma/media", "user").json["items"]
    assert [item["slot"] for item in items] == ["logo", "sponsor1", "sponsor2", "sponsor3", "intro"]
    assert [item["file"] is not None for item in items] == [False, False, True, False, False]


def test_a_users_media_are_theirs_and_the_clubs_are_the_operators(served: Served) -> None:
    assert put(served, PICTURE, key="other").status == 404
    assert put(served, PICTURE, key="operator").status == 200
    assert served.ask("GET", LOGO, "other").status == 404
    assert problem(put(served, PICTURE, f"{CLUB}/logo"))[0] == 403
    assert put(served, PICTURE, f"{CLUB}/logo", "operator").status == 200
    assert served.ask("GET", f"{CLUB}/logo", "other").status == 200
    assert served.ask("DELETE", f"{CLUB}/logo", "user").status == 403
    assert put(served, PICTURE, "/api/v1/organisations/other/media/logo", "admin").status == 404
    assert put(served, PICTURE, "/api/v1/users/uma/media/banner").status == 422
    assert put(served, PICTURE, "/api/v1/users/..%2f..%2fx/media/logo", "admin").status in (404, 422)
    assert served.ask("PUT", LOGO, None, PICTURE).status == 401


def test_what_is_not_taken_is_said_in_a_sentence_and_remembered(served: Served) -> None:
    cases: list[tuple[str, bytes, str, int, str]] = [
        (LOGO, uploads.svg("http://127.0.0.1:9/x"), "image/png", 415, "SVG"),
        (LOGO, uploads.moving("GIF"), "image/png", 415, "GIF"),
        (LOGO, uploads.png_of(20_000, 20_000), "image/png", 422, "20000 x 20000"),
        (LOGO, PICTURE[:900], "image/png", 422, "cut off"),
        (LOGO, b"", "image/png", 422, "empty"),
        (LOGO, uploads.moving("PNG"), "image/png", 422, "animated"),
        (INTRO, uploads.playlists("http://127.0.0.1:9/x")["m3u8"], "video/mp4", 415, "playlist"),
        (INTRO, PICTURE, "video/mp4", 415, "picture"),
    ]
    for path, content, kind, status, words in cases:
        answer = put(served, content, path, kind=kind)
        found, detail = problem(answer)
        assert (found, words in detail) == (status, True), (detail, words)
        shown = served.ask("GET", path, "user").json
        assert (shown["refused"], shown["file"], shown["looking"]) == (detail, None, False)
    assert served.media.media(Whose("user", "uma")) == ()
    assert quarantined(served) == []
    assert served.ask("DELETE", LOGO, "user").status == 204
    assert served.ask("GET", LOGO, "user").status == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [(LOGO, "image/svg+xml"), (LOGO, "application/json"), (LOGO, "multipart/form-data; boundary=x"),
     (LOGO, "video/mp4"), (INTRO, "image/png"), (LOGO, ""), (LOGO, "x" * 500)],
)  # fmt: skip
def test_a_kind_that_is_not_taken_is_refused_before_it_is_read(served: Served, path: str, kind: str) -> None:
    status, detail = problem(put(served, PICTURE, path, kind=kind))
    assert (status, detail.startswith("This slot takes")) == (415, True)
    assert not (Path(served.settings.storage.root) / "cloud" / "quarantine").exists()


def test_a_wrong_name_for_a_right_kind_does_not_matter(served: Served) -> None:
    assert put(served, uploads.picture("JPEG"), kind="image/png").status == 200
    assert put(served, uploads.picture("WEBP"), kind="application/octet-stream").status == 200


def test_what_is_too_large_is_not_even_read(served: Served) -> None:
    for path, kind, length, most in (
        (LOGO, "image/png", 10 * MIB + 1, "10 MB"), (LOGO, "image/png", 100 * MIB, ""),
        (INTRO, "video/mp4", 100 * MIB, ""),
    ):  # fmt: skip
        connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.putrequest("PUT", path)
        for name, value in (
            ("Authorization", f"Bearer {served.keys['user']}"), ("Content-Type", kind),
            ("Content-Length", str(length)),
        ):  # fmt: skip
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, most in json.loads(answer.read())["detail"]) == (413, True)
        connection.close()
    assert not (Path(served.settings.storage.root) / "cloud" / "quarantine").exists()


def test_a_body_without_a_length_is_cut_when_it_is_too_long(served: Served) -> None:
    """100 MB in pieces: what was not taken is neither in memory nor on the disk."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as line:
        line.sendall(
            f"PUT {LOGO} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.keys['user']}\r\n"
            "Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        answer = b""
        piece = b"%x\r\n" % MIB + bytes(MIB) + b"\r\n"
        try:
            for _ in range(100):
                line.sendall(piece)
        except OSError:
            pass  # it was cut off: that is what is wanted
        try:
            answer = line.recv(65536)
        except OSError:
            answer = b""
    if answer:
        assert answer.split()[1] in (b"413", b"411")
    assert quarantined(served) == []
    assert served.ask("GET", LOGO, "user").status == 404


def test_who_hangs_up_in_the_middle_leaves_nothing(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as line:
        line.sendall(
            f"PUT {LOGO} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.keys['user']}\r\n"
            f"Content-Type: image/png\r\nContent-Length: {len(PICTURE)}\r\n\r\n".encode()
            + PICTURE[:500]
        )
        wait_for(lambda: len(quarantined(served)) == 1)
        assert problem(put(served, PICTURE)) == (
            409, "The last upload for this slot is still being looked at: wait for it.",
        )  # fmt: skip
        assert problem(served.ask("DELETE", LOGO, "user"))[0] == 409
    wait_for(lambda: not quarantined(served))
    assert put(served, PICTURE).status == 200


def wait_for(there: Any) -> None:
    done = threading.Event()
    for _ in range(3000):
        if there():
            return
        done.wait(0.01)
    raise AssertionError("waited 30 s")


def test_what_takes_longer_than_a_request_is_told_later(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_bridge.api.media.PATIENCE_S", 0.0)
    go_on = threading.Event()
    real = sandbox.look_at

    def slow(*arguments: Any) -> Any:
        go_on.wait(60)
        return real(*arguments)

    monkeypatch.setattr("cloud_bridge.media.desk.look_at", slow)
    sent = put(served, PICTURE)
    assert (sent.status, sent.json["looking"], sent.json["file"]) == (202, True, None)
    assert served.ask("GET", LOGO, "user").json["looking"] is True
    assert problem(put(served, PICTURE))[0] == 409
    go_on.set()
    wait_for(lambda: served.ask("GET", LOGO, "user").json["file"] is not None)
    sent = put(served, b"no picture")
    assert sent.status == 202
    wait_for(lambda: served.ask("GET", LOGO, "user").json["refused"] is not None)
    shown = served.ask("GET", LOGO, "user").json
    assert ("a text" in shown["refused"], shown["file"]["width"]) == (True, 400)


def test_nobody_changes_what_they_have_not_seen(served: Served) -> None:
    first = put(served, PICTURE, If_Match='"0"')
    assert first.status == 200
    assert problem(put(served, PICTURE, If_Match='"0"'))[0] == 412
    old = first.headers["etag"]
    assert put(served, uploads.picture(size=(30, 30)), If_Match=old).status == 200
    for method, body in (("PATCH", {"size": 5}), ("DELETE", None)):
        assert problem(served.ask(method, LOGO, "user", body, {"If-Match": old}))[0] == 412
    assert served.ask("DELETE", LOGO, "user", headers={"If-Match": "*"}).status == 204


@pytest.mark.parametrize(
    "query",
    ["place=middle", "size=0", "size=101", "size=nan", "size=inf", "opacity=-1", "opacity=2", "opacity=x"],
)
def test_a_look_that_cannot_be_is_refused(served: Served, query: str) -> None:
    assert put(served, PICTURE, f"{LOGO}?{query}").status == 422
    name, _, value = query.partition("=")
    served.wear(Whose("user", "uma"))
    assert served.ask("PATCH", LOGO, "user", b'{"%s": %s}' % (name.encode(), value.encode())).status == 422


def test_a_bucket_that_is_away_is_nobodys_fault_and_keeps_what_was(served: Served, tmp_path: Path) -> None:
    assert put(served, PICTURE).status == 200
    folder = tmp_path / "bucket" / "club" / "assets"
    folder.rename(folder.with_name("away"))
    folder.write_bytes(b"")
    answer = put(served, uploads.picture(size=(44, 44)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    assert str(tmp_path) not in answer.text
    shown = served.ask("GET", LOGO, "user").json
    assert (shown["file"]["width"], shown["refused"]) == (400, None)


def test_a_worker_that_is_killed_is_nobodys_fault(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(group: int) -> None:
        sandbox.end_group(group)

    monkeypatch.setattr(sandbox.Running, "began", lambda _self, group: killed(group))
    assert problem(put(served, PICTURE))[0] == 503
    monkeypatch.undo()
    assert put(served, PICTURE).status == 200


def test_the_next_bookings_wear_it_and_those_after_its_removal_do_not(served: Served) -> None:
    served.book("next", start=NOON + minutes(90), end=NOON + minutes(120))
    cursor = served.store.poll(0).cursor
    sha256 = put(served, PICTURE).json["file"]["sha256"]
    (row,) = served.store.poll(cursor).rows
    assert [(media.slot, media.sha256) for media in row.dressing] == [("logo", sha256)]
    served.ask("DELETE", LOGO, "user")
    (row,) = served.store.poll(row.changed).rows
    assert (row.id, row.dressing) == ("next", ())


def test_who_changed_what_is_in_the_audit(served: Served) -> None:
    put(served, PICTURE)
    served.ask("PATCH", LOGO, "user", {"size": 5})
    served.ask("DELETE", LOGO, "user")
    deeds = served.ask("GET", "/api/v1/audit", "admin").json["items"]
    assert [(deed["actor"], deed["action"], deed["subject"]) for deed in reversed(deeds)] == [
        ("uma", f"media.{what}", "user/uma/logo") for what in ("put", "look", "remove")
    ]
