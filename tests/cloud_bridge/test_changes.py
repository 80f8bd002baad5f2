"""Changing bookings that others change too, and the account of who did it."""

from typing import Any

import pytest

from tests.cloud_bridge.served import NOON, Answer, Served, minutes
from tests.cloud_bridge.test_api import problem

WHOLE: dict[str, Any] = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z", "title": "U"}
MATCH = "/api/v1/bookings/match"


def read(served: Served, **headers: str) -> Answer:
    return served.ask("GET", MATCH, "user", headers=headers)


def test_a_version_is_known_by_its_tag(served: Served) -> None:
    served.book(title="T")
    tag = read(served).headers["etag"]
    again = read(served, **{"If-None-Match": f'W/{tag}, "x"'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    changed = served.ask("PATCH", MATCH, "user", {"title": "U"})
    assert changed.headers["etag"] == read(served).headers["etag"] != tag
    assert read(served, **{"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_nobody_overwrites_what_they_have_not_seen(served: Served, method: str) -> None:
    served.clock.now = NOON - minutes(10)
    served.book(title="T")
    old = read(served).headers["etag"]
    served.store.change_booking("match", {"title": "by somebody else"})
    body = None if method == "DELETE" else WHOLE
    for tag in (old, '"0"', f"W/{read(served).headers['etag']}"):
        problem(served.ask(method, MATCH, "user", body, {"If-Match": tag}), 412, "read it again")
    problem(served.ask(method, MATCH, "user", body, {"If-Match": "no tag"}), 422, "If-Match")
    row = served.store.booking("match")
    assert row is not None
    assert (row.title, row.stored.status) == ("by somebody else", "confirmed")
    new = read(served).headers["etag"]
    done = served.ask(method, MATCH, "user", body, {"If-Match": f'"x", {new}'})
    assert done.status == (204 if method == "DELETE" else 200)


def test_a_booking_is_replaced_whole(served: Served) -> None:
    served.clock.now = NOON - minutes(10)
    served.book(title="T", contacts=("uma@example.org",), audience="code", record="no")
    done = served.ask("PUT", MATCH, "user", WHOLE)
    assert done.status == 200, done.body
    shown = {name: done.json[name] for name in ("title", "contacts", "audience", "record", "owner", "id")}
    assert shown == {
        "title": "U", "contacts": [], "audience": "link", "record": "yes", "owner": "uma", "id": "match",
    }  # fmt: skip
    for more in ({"owner": "olga"}, {"id": "other"}, {"kind": "manual"}, {"status": "cancelled"}):
        problem(served.ask("PUT", MATCH, "user", {**WHOLE, **more}), 422, next(iter(more)))
    problem(served.ask("PUT", MATCH, "user", {"start": WHOLE["start"]}), 422, "end")
    problem(served.ask("PUT", MATCH, "other", WHOLE), 404)


def test_what_was_done_is_written_down(served: Served) -> None:
    served.clock.now = NOON - minutes(10)
    assert served.ask("POST", "/api/v1/bookings", "user", {**WHOLE, "id": "match"}).status == 201
    assert served.ask("POST", "/api/v1/bookings", "user", {**WHOLE, "id": "match"}).status == 200
    served.ask("PATCH", MATCH, "operator", {"title": "secret title", "record": "yes"})
    problem(served.ask("PATCH", MATCH, "other", {"title": "x"}), 404)
    link = served.link()
    share = served.ask("GET", "/api/v1/shares", "user").json["items"][0]["share_id"]
    served.film()
    assert served.ask("GET", f"{link}/download", headers={"User-Agent": "Mozilla/5.0"}).status == 200
    served.ask("DELETE", f"/api/v1/shares/{share}", "user")
    browser = served.visit("otto2", "operator")
    served.ask("POST", "/api/v1/devices/court-1/commands/booking/stop", None, {}, browser)
    rows = served.ask("GET", "/api/v1/audit", "admin").json["items"]
    assert [(row["actor"], row["role"], row["client"], row["action"]) for row in reversed(rows)] == [
        ("uma", "user", "program", "booking.create"),
        ("otto", "operator", "program", "booking.change"),
        ("anna", "admin", "program", "share.create"),
        ("share", "", "link", "film.download"),
        ("uma", "user", "program", "share.revoke"),
        ("otto2", "operator", "browser", "command"),
    ]
    text = str(rows)
    for secret in ("secret title", "127.0.0.1", link[3:], "Mozilla"):
        assert secret not in text
    first = served.ask("GET", "/api/v1/audit?limit=4", "admin").json
    second = served.ask("GET", f"/api/v1/audit?limit=4&cursor={first['next']}", "admin").json
    assert (first["items"] + second["items"], second["next"]) == (rows, None)
    of_match = served.ask("GET", "/api/v1/audit?subject=match", "admin").json["items"]
    assert [row["action"] for row in of_match][-1] == "booking.create"


def test_everybody_has_a_limit_of_their_own(served: Served) -> None:
    per_min = served.settings.api.requests_per_min
    for _ in range(per_min):
        served.app.state.context.limits.principals.take("uma")
    refused = served.ask("GET", "/api/v1/bookings", "user")
    assert refused.headers["retry-after"] == "1"
    problem(refused, 429, "too many requests")
    assert served.ask("GET", "/api/v1/bookings", "other").status == 200
    served.clock.now += minutes(1 / per_min * 2)
    assert served.ask("GET", "/api/v1/bookings", "user").status == 200
