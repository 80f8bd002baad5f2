import json
import re
from typing import Any

import pytest

from cloud_bridge.api.body import MAX_BODY_BYTES
from schemas.health import Health
from schemas.recording import Recording
from tests.cloud_bridge.served import NOON, Answer, Served, minutes, receipt

BOOKING = {"id": "match", "start": "2026-03-01T13:00:00+01:00", "end": "2026-03-01T13:00:00Z", "title": "T"}
METHODS = ("get", "post", "put", "patch", "delete")


def problem(answer: Answer, status: int, words: str = "") -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.body
    assert (answer.status, answer.json["status"]) == (status, status), answer.body
    assert words in answer.json["detail"], answer.body
    found: dict[str, Any] = answer.json
    return found


def routes(served: Served) -> list[tuple[str, str]]:
    """Method and path of everything in the OpenAPI document."""
    paths = served.ask("GET", "/api/v1/openapi.json").json["paths"]
    return [
        (method.upper(), re.sub(r"\{[^}]+\}", "x", path))
        for path, operations in paths.items()
        for method in operations
        if method in METHODS
    ]


def test_strangers_are_refused_on_every_route_before_anything_is_read(served: Served) -> None:
    found = routes(served)
    assert len(found) >= 15
    assert all(path.startswith("/api/v1/") for _, path in found)
    for method, path in found:
        answer = served.ask(method, path, body=b"{not json")
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for wrong in ("Bearer", "Bearer x", "Basic eDp4", "Bearer " + "\xe9" * 40):
        problem(served.ask("GET", "/api/v1/bookings", headers={"Authorization": wrong}), 401)
    problem(served.ask("GET", "/api/v1/nowhere"), 401)
    problem(served.ask("GET", "/api/v1/nowhere", "user"), 404)


def test_a_revoked_key_is_a_stranger(served: Served) -> None:
    assert served.ask("GET", "/api/v1/bookings", "user").status == 200
    served.store.revoke_tokens("uma")
    problem(served.ask("GET", "/api/v1/bookings", "user"), 401)


def test_a_booking_is_made_once(served: Served) -> None:
    served.clock.now = NOON - minutes(30)
    made = served.ask("POST", "/api/v1/bookings", "user", BOOKING)
    assert (made.status, made.json["owner"], made.json["kind"]) == (201, "uma", "booked")
    assert (made.json["start"], made.json["title"]) == ("2026-03-01T12:00:00.000000Z", "T")
    served.clock.now = NOON + minutes(90)
    again = served.ask("POST", "/api/v1/bookings", "user", BOOKING)
    assert (again.status, again.json) == (200, made.json)
    problem(served.ask("POST", "/api/v1/bookings", "user", {**BOOKING, "title": "U"}), 409)
    problem(served.ask("POST", "/api/v1/bookings", "other", BOOKING), 409)
    assert served.ask("GET", "/api/v1/bookings/match", "user").json == made.json


def test_without_an_id_each_is_a_booking_of_its_own(served: Served) -> None:
    body = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z", "owner": "uma", "record": "no"}
    made = served.ask("POST", "/api/v1/bookings", "operator", body)
    assert (made.status, made.json["owner"], made.json["record"]) == (201, "uma", "no")
    refusal = problem(served.ask("POST", "/api/v1/bookings", "operator", body), 409, "would overlap")
    assert refusal["other"] == made.json["id"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", ""),
        ({}, "start"),
        ([1], ""),
        ({**BOOKING, "start": "2026-03-01T12:00:00"}, "start"),
        ({**BOOKING, "end": "2026-03-01T11:00:00Z"}, "is not after start"),
        ({**BOOKING, "end": "2026-03-02T13:00:00Z"}, "at most 240 can be booked"),
        ({**BOOKING, "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z"}, "is in the past"),
        ({**BOOKING, "id": "../x"}, "id"),
        ({**BOOKING, "deliver": ["merged"]}, "not offered yet"),
        ({**BOOKING, "colour": "red"}, "colour"),
        ({**BOOKING, "kind": "manual"}, "kind"),
        ({**BOOKING, "title": "a\x00b"}, "title"),
        ({**BOOKING, "contacts": ["a@example.org\nBcc: b@example.org"]}, "contacts.0"),
        ({**BOOKING, "start": "0001-01-01T00:00:00+01:00"}, "expected a year from 1970 to 2199"),
        ({**BOOKING, "end": "9999-12-31T23:59:59-01:00"}, "expected a year from 1970 to 2199"),
    ],
)
def test_what_is_no_booking_is_said_in_one_line(served: Served, body: object, words: str) -> None:
    problem(served.ask("POST", "/api/v1/bookings", "user", body), 422, words)
    assert served.ask("GET", "/api/v1/bookings", "admin").json["items"] == []


def test_large_bodies_are_not_read(served: Served) -> None:
    problem(served.ask("POST", "/api/v1/bookings", "user", b" " * (MAX_BODY_BYTES + 1)), 413)
    chunks = b"".join(b"4000\r\n" + b" " * 0x4000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    chunked = {"Transfer-Encoding": "chunked"}
    problem(served.ask("POST", "/api/v1/bookings", "user", headers=chunked, body=chunks), 413)
    problem(served.ask("POST", "/api/v1/bookings", headers=chunked, body=chunks), 401)


def test_users_see_their_own_and_operators_all(served: Served) -> None:
    for number, owner in enumerate(("uma", "olga", None)):
        start = NOON + minutes(60 * number)
        served.book(f"b{number}", owner, start=start, end=start + minutes(60))
        served.tell("recording", Recording(state="ready"), f"b{number}")
        served.store.issue_link(f"b{number}", NOON + minutes(9999))
    for path in ("/api/v1/bookings", "/api/v1/recordings", "/api/v1/shares"):
        seen = {
            key: sorted(
                row.get("booking_id", row.get("id")) for row in served.ask("GET", path, key).json["items"]
            )
            for key in ("user", "other", "operator", "admin")
        }
        everything = ["b0", "b1", "b2"]
        assert seen == {"user": ["b0"], "other": ["b1"], "operator": everything, "admin": everything}, path
    share = served.ask("GET", "/api/v1/shares", "other").json["items"][0]["share_id"]
    for method, path in (
        ("GET", "/api/v1/bookings/b1"),
        ("PATCH", "/api/v1/bookings/b1"),
        ("DELETE", "/api/v1/bookings/b1"),
        ("GET", "/api/v1/recordings/b1"),
        ("GET", "/api/v1/recordings/b1/receipt"),
        ("GET", "/api/v1/recordings/b1/why"),
        ("POST", "/api/v1/recordings/b1/shares"),
        ("GET", f"/api/v1/shares/{share}/stats"),
        ("DELETE", f"/api/v1/shares/{share}"),
    ):
        problem(served.ask(method, path, "user", None if method == "GET" else {}), 404)
    problem(served.ask("POST", "/api/v1/bookings", "user", {**BOOKING, "owner": "olga"}), 403)
    assert served.store.share(share) is not None


def test_pages_of_bookings_lead_to_each_other(served: Served) -> None:
    for number in range(5):
        start = NOON + minutes(60 * number)
        served.book(f"b{number}", start=start, end=start + minutes(60))
    first = served.ask("GET", "/api/v1/bookings?limit=3", "user").json
    second = served.ask("GET", f"/api/v1/bookings?limit=3&cursor={first['next']}", "user").json
    assert [row["id"] for row in first["items"] + second["items"]] == [f"b{n}" for n in range(5)]
    assert second["next"] is None
    within = served.ask(
        "GET", "/api/v1/bookings?from=2026-03-01T13:00:00Z&to=2026-03-01T14:00:00Z", "user"
    ).json
    assert [row["id"] for row in within["items"]] == ["b1"]
    for query in (
        "limit=0",
        "limit=201",
        "cursor=%ff",
        "cursor=AAAA",
        "cursor=MjAyNg",
        "from=2026-03-01T13:00:00",
        "status=odd",
    ):
        problem(served.ask("GET", f"/api/v1/bookings?{query}", "user"), 422)


def test_a_running_booking_ends_now_when_its_end_is_past(served: Served) -> None:
    served.book()
    served.clock.now = NOON + minutes(30)
    changed = served.ask("PATCH", "/api/v1/bookings/match", "user", {"end": "2026-03-01T12:10:00Z"})
    assert (changed.status, changed.json["end"]) == (200, "2026-03-01T12:30:00.000000Z")


@pytest.mark.parametrize(
    ("now", "body", "status", "words"),
    [
        (-10, {"start": "2026-03-01T12:30:00Z", "title": None}, 200, ""),
        (30, {"end": "2026-03-01T13:30:00Z"}, 200, ""),
        (30, {"start": "2026-03-01T12:30:00Z"}, 409, "has begun"),
        (70, {"end": "2026-03-01T13:30:00Z"}, 409, "is over"),
        (-10, {"end": "2026-03-01T11:55:00Z"}, 422, "is not after start"),
        (-10, {"end": "2026-03-01T18:00:00Z"}, 422, "at most 240"),
        (-10, {"end": "2026-03-01T14:30:00Z"}, 409, "would overlap next"),
        (-10, {"record": None}, 422, "record cannot be null"),
        (-10, {"owner": "olga"}, 422, "owner"),
        (70, {"title": "a better one"}, 200, ""),
    ],
)
def test_changes(served: Served, now: float, body: object, status: int, words: str) -> None:
    served.book(title="T")
    served.book("next", start=NOON + minutes(120), end=NOON + minutes(180))
    served.clock.now = NOON + minutes(now)
    answer = served.ask("PATCH", "/api/v1/bookings/match", "user", body)
    if status == 200:
        assert answer.status == 200, answer.body
        row = served.store.booking("match")
        assert row is not None
        assert answer.json["title"] == row.title == body.get("title", "T")  # type: ignore[attr-defined]
    else:
        problem(answer, status, words)


def test_a_cancelled_booking_is_kept_and_can_be_taken_back_for_a_while(served: Served) -> None:
    served.book()
    assert served.ask("DELETE", "/api/v1/bookings/match", "user").status == 204
    assert served.ask("GET", "/api/v1/bookings/match", "user").json["status"] == "cancelled"
    served.clock.now = NOON + minutes(9)
    back = served.ask("PATCH", "/api/v1/bookings/match", "user", {"status": "confirmed"})
    assert (back.status, back.json["cancelled_at"]) == (200, None)
    served.ask("DELETE", "/api/v1/bookings/match", "user")
    served.clock.now = NOON + minutes(19)
    answer = served.ask("PATCH", "/api/v1/bookings/match", "user", {"status": "confirmed"})
    problem(answer, 409, "too long ago")


def test_what_was_cancelled_before_it_began_can_be_taken_back_until_it_is_over(served: Served) -> None:
    served.book()
    served.clock.now = NOON - minutes(60)
    served.ask("DELETE", "/api/v1/bookings/match", "user")
    served.clock.now = NOON + minutes(10)
    back = served.ask("PATCH", "/api/v1/bookings/match", "user", {"status": "confirmed"})
    assert (back.status, back.json["status"]) == (200, "confirmed")


def test_a_finished_recording_is_not_cancelled(served: Served) -> None:
    served.book()
    served.clock.now = NOON + minutes(61)
    served.film()
    problem(served.ask("DELETE", "/api/v1/bookings/match", "user"), 409, "is over")
    assert served.ask("PATCH", "/api/v1/bookings/match", "user", {"title": "U"}).status == 200


def test_a_recording_is_there_with_its_booking(served: Served) -> None:
    served.book(title="T")
    fresh = served.ask("GET", "/api/v1/recordings/match", "user").json
    assert (fresh["state"], fresh["film"], fresh["receipt"], fresh["title"]) == (
        "scheduled",
        None,
        False,
        "T",
    )
    problem(served.ask("GET", "/api/v1/recordings/match/receipt", "user"), 404)
    served.clock.now = NOON + minutes(61)
    served.film()
    served.tell("receipt", receipt(state="partial", pictures={"card": 60}, whistle_to_watchable_s=3.2))
    ready = served.ask("GET", "/api/v1/recordings/match", "user").json
    assert ready["state"] == "ready"
    assert ready["film"] == {"bytes": 1000, "hash": "h-1", "verified_at": "2026-03-01T13:01:00.000000Z"}
    assert served.ask("GET", "/api/v1/recordings/match/receipt", "user").json["pictures"] == {"card": 60}
    why = served.ask("GET", "/api/v1/recordings/match/why", "user").json
    assert why["why"] == ["No picture at all for 2 seconds.", "watchable 3.2 s after the whistle"]
    problem(served.ask("GET", "/api/v1/recordings/none", "user"), 404)


def test_a_link_is_told_once_and_counted_and_revoked(served: Served) -> None:
    served.book()
    made = served.ask("POST", "/api/v1/recordings/match/shares", "user")
    assert made.status == 201
    link = made.json
    assert re.fullmatch(r"https://films\.example\.org/s/[\w-]{43}", link["url"])
    assert (link["expires_at"], link["only_here"]) == ("2026-03-08T13:00:00.000000Z", False)
    shown = served.ask("GET", "/api/v1/shares", "user")
    assert link["url"][-43:] not in shown.text
    share_id = shown.json["items"][0]["share_id"]
    stats = served.ask("GET", f"/api/v1/shares/{share_id}/stats", "user").json
    assert (stats["state"], stats["views"], stats["downloads"]) == ("active", 0, 0)
    assert served.ask("DELETE", f"/api/v1/shares/{share_id}", "user").status == 204
    assert served.ask("GET", f"/api/v1/shares/{share_id}/stats", "user").json["state"] == "revoked"
    served.clock.now = NOON + minutes(60 * 24 * 9)
    other = served.store.issue_link("match", NOON)[0].share_id
    assert served.ask("GET", f"/api/v1/shares/{other}/stats", "user").json["state"] == "expired"


@pytest.mark.parametrize(
    ("body", "film_age_days", "expires"),
    [
        (None, 0, "2026-03-08"),
        ({"days": 1}, 0, "2026-03-02"),
        ({"days": 365}, 0, "2026-03-15"),
        (None, 10, "2026-03-15"),
        ({"days": 3}, 12, "2026-03-15"),
        (None, 14, None),
    ],
)
def test_a_link_never_outlives_its_film(
    served: Served, body: object, film_age_days: int, expires: str | None
) -> None:
    served.book()
    served.clock.now = NOON + minutes(61)
    served.film()
    served.clock.now += minutes(60 * 24 * film_age_days)
    answer = served.ask("POST", "/api/v1/recordings/match/shares", "user", body)
    if expires is None:
        problem(answer, 410, "no longer there")
    else:
        assert answer.json["expires_at"][:10] == expires


@pytest.mark.parametrize("body", [{"days": 0}, {"days": 366}, {"for": "ever"}, b"[]"])
def test_a_link_for_ever_is_refused(served: Served, body: object) -> None:
    served.book()
    problem(served.ask("POST", "/api/v1/recordings/match/shares", "user", body), 422)


def test_there_is_no_link_to_what_is_not_recorded(served: Served) -> None:
    served.book(record="no")
    problem(served.ask("POST", "/api/v1/recordings/match/shares", "user"), 409)


def test_the_device_and_its_health(served: Served) -> None:
    devices = served.ask("GET", "/api/v1/devices", "user").json["items"]
    assert devices == [
        {
            "id": "court-1",
            "org": "club",
            "timezone": "Europe/Berlin",
            "cameras": ["left", "right"],
            "state": None,
        }
    ]
    problem(served.ask("GET", "/api/v1/devices/court-1/health", "user"), 403)
    problem(served.ask("GET", "/api/v1/devices/court-1/health", "operator"), 404)
    served.tell("health", Health(cpu_pct=7), "court-1")
    health = served.ask("GET", "/api/v1/devices/court-1/health", "operator").json
    assert (health["health"]["cpu_pct"], health["stored_at"]) == (7, "2026-03-01T12:00:00.000000Z")
    problem(served.ask("GET", "/api/v1/devices/court-2/health", "admin"), 404)


def test_the_description_says_how_to_come_in_and_what_can_go_wrong(served: Served) -> None:
    spec = served.ask("GET", "/api/v1/openapi.json").json
    (scheme,) = spec["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for operations in spec["paths"].values():
        for operation in operations.values():
            assert operation["security"]
            assert {"401", "403", "404", "409", "422"} <= set(operation["responses"])
    assert not {path for path in spec["paths"] if path.startswith(("/s/", "/login", "/healthz"))}
    assert "token" not in json.dumps(sorted(spec["paths"]))


def test_a_store_in_trouble_says_no_more_than_that(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.book()
    served.store._db._db.execute("ALTER TABLE bookings RENAME TO gone")
    answer = served.ask("GET", "/api/v1/bookings", "user")
    assert answer.status in (500, 503)
    assert "table" not in problem(answer, answer.status)["detail"]
    assert "gone" in caplog.text or "bookings" in caplog.text
