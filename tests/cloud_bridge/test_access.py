"""Who reaches what: every route, asked by everybody, answers as it is declared."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from cloud_bridge.api.access import Access, access, declared, require_declared
from cloud_bridge.api.app import API, PAGES
from cloud_bridge.api.gate import OPEN, GuardedRoute
from cloud_bridge.stores import Role
from cloud_bridge.stores.media import Whose
from schemas.health import Health
from schemas.recording import Recording
from tests.cloud_bridge.served import NOON, Answer, Served, minutes, receipt

ANYBODY = ("open", "nobody")
OWN = ("user", "self")
MATRIX = {
    "GET /api/v1/account": OWN,
    "GET /api/v1/account/sessions": OWN,
    "DELETE /api/v1/account/sessions/{session_id}": OWN,
    "GET /api/v1/audit": ("admin", "club"),
    "GET /api/v1/bookings": ("user", "rows"),
    "POST /api/v1/bookings": ("user", "club"),
    "GET /api/v1/bookings/{booking_id}": ("user", "booking"),
    "PUT /api/v1/bookings/{booking_id}": ("user", "booking"),
    "PATCH /api/v1/bookings/{booking_id}": ("user", "booking"),
    "DELETE /api/v1/bookings/{booking_id}": ("user", "booking"),
    "GET /api/v1/recordings": ("user", "rows"),
    "GET /api/v1/recordings/{booking_id}": ("user", "booking"),
    "GET /api/v1/recordings/{booking_id}/receipt": ("user", "booking"),
    "GET /api/v1/recordings/{booking_id}/why": ("user", "booking"),
    "POST /api/v1/recordings/{booking_id}/shares": ("user", "booking"),
    "POST /api/v1/recordings/{booking_id}/claim-code": ("operator", "booking"),
    "GET /api/v1/shares": ("user", "rows"),
    "DELETE /api/v1/shares/{share_id}": ("user", "share"),
    "GET /api/v1/shares/{share_id}/stats": ("user", "share"),
    "GET /api/v1/devices": ("user", "rows"),
    "GET /api/v1/devices/{device_id}": ("user", "device"),
    "GET /api/v1/devices/{device_id}/alarms": ("operator", "device"),
    "GET /api/v1/devices/{device_id}/cameras": ("operator", "device"),
    "GET /api/v1/devices/{device_id}/cameras/{cam}/snapshot": ("operator", "device"),
    "POST /api/v1/devices/{device_id}/commands/{target}/{name}": ("operator", "device"),
    "GET /api/v1/devices/{device_id}/health": ("operator", "device"),
    "GET /api/v1/events": ("user", "rows"),
    "GET /api/v1/users/{user}/media": ("user", "person"),
    "GET /api/v1/users/{user}/media/{slot}": ("user", "person"),
    "GET /api/v1/users/{user}/media/{slot}/file": ("user", "person"),
    "PUT /api/v1/users/{user}/media/{slot}": ("user", "person"),
    "PATCH /api/v1/users/{user}/media/{slot}": ("user", "person"),
    "DELETE /api/v1/users/{user}/media/{slot}": ("user", "person"),
    "GET /api/v1/organisations/{org}/media": ("user", "club"),
    "GET /api/v1/organisations/{org}/media/{slot}": ("user", "club"),
    "GET /api/v1/organisations/{org}/media/{slot}/file": ("user", "club"),
    "PUT /api/v1/organisations/{org}/media/{slot}": ("operator", "club"),
    "PATCH /api/v1/organisations/{org}/media/{slot}": ("operator", "club"),
    "DELETE /api/v1/organisations/{org}/media/{slot}": ("operator", "club"),
    "GET /metrics": ("operator", "club"),
    "GET /": ("user", "rows"),
    "GET /bookings": ("user", "rows"),
    "GET /films": ("user", "rows"),
    "GET /book": ("user", "club"),
    "POST /book": ("user", "club"),
    "GET /bookings/{booking_id}": ("user", "booking"),
    "GET /bookings/{booking_id}/change": ("user", "booking"),
    "POST /bookings/{booking_id}/change": ("user", "booking"),
    "POST /bookings/{booking_id}/extend": ("user", "booking"),
    "POST /bookings/{booking_id}/cancel": ("user", "booking"),
    "POST /bookings/{booking_id}/restore": ("user", "booking"),
    "POST /bookings/{booking_id}/record": ("user", "booking"),
    "POST /bookings/{booking_id}/links": ("user", "booking"),
    "POST /bookings/{booking_id}/code": ("operator", "booking"),
    "POST /links/{share_id}/revoke": ("user", "share"),
    "POST /alarms/{agent}/{alarm}/acknowledge": ("operator", "club"),
    "GET /login": ANYBODY,
    "POST /login": ANYBODY,
    "POST /logout": OWN,
    "GET /account": OWN,
    "GET /account/password": OWN,
    "POST /account/password": OWN,
    "POST /account/sessions/{session_id}/end": OWN,
    "GET /claim": ANYBODY,
    "POST /claim": ANYBODY,
    "GET /healthz": ANYBODY,
    "GET /s/static/{name}": ANYBODY,
    "GET /s/{token}": ANYBODY,
    "GET /s/{token}/video": ANYBODY,
    "GET /s/{token}/download": ANYBODY,
    "GET /s/{token}/poster": ANYBODY,
}
RANK = ("user", "operator", "admin")


def routes() -> Iterator[tuple[str, str, Access]]:
    """Method, path and declaration of every route of the application."""
    for parts, prefix in ((API, "/api/v1"), (PAGES, "")):
        for router in parts:
            for route in router.routes:
                assert isinstance(route, APIRoute)
                needed = declared(route)
                assert needed is not None
                for method in sorted((route.methods or set()) - {"HEAD"}):
                    yield method, prefix + route.path, needed


@dataclass(frozen=True)
class Asker:
    """Somebody with a session. The things asked for are uma's, of this club."""

    user: str
    role: Role
    org: str | None

    @property
    def here(self) -> bool:
        return self.role == "admin" or self.org is None

    @property
    def sees(self) -> bool:
        """Whether uma's things are theirs too."""
        return self.here and (self.role != "user" or self.user == "uma")

    def expected(self, needed: Access) -> set[int] | None:
        """The statuses that are right; None: anything but a refusal."""
        if needed.role == "open":
            return None
        if RANK.index(self.role) < RANK.index(needed.role):
            return {403}
        match needed.owner:
            case "club":
                return None if self.here else {403}
            case "person":
                return None if self.sees else ({403} if self.role != "user" else {404, 403})
            case "device":
                return None if self.here else {404}
            case "booking" | "share":
                return None if self.sees else {404}
            case _:
                return None


ASKERS = (
    Asker("uma", "user", None),
    Asker("olga", "user", None),
    Asker("uwe", "user", "elsewhere"),
    Asker("otto", "operator", None),
    Asker("odin", "operator", "elsewhere"),
    Asker("anna", "admin", None),
    Asker("adam", "admin", "elsewhere"),
)


@pytest.fixture
def club(served: Served) -> dict[str, str]:
    """A booking of uma's with everything there can be of it; the ids that stand in paths."""
    served.book()
    served.tell("recording", Recording(state="finishing", progress_pct=80))
    served.tell("receipt", receipt())
    served.tell("health", Health(cpu_pct=7), "court-1")
    share, token = served.store.issue_link("match", NOON + minutes(9999))
    for whose in (Whose("user", "uma"), Whose("organisation", "club")):
        served.wear(whose)
    return {
        "booking_id": "match",
        "share_id": share.share_id,
        "device_id": "court-1",
        "user": "uma",
        "session_id": "l0",
        "name": "start",
        "token": token,
        "cam": "left",
        "target": "booking",
        "slot": "logo",
        "org": "club",
        "agent": "health",
        "alarm": "disk",
    }


def ask(served: Served, method: str, path: str, ids: dict[str, str], headers: dict[str, str]) -> Answer:
    filled = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path)
    body = None if method == "GET" else (b"{}" if path.startswith("/api") else b"x=1")
    kind = "application/json" if path.startswith("/api") else "application/x-www-form-urlencoded"
    if body is not None and not path.startswith("/api") and "X-CSRF-Token" in headers:
        body = f"csrf={headers['X-CSRF-Token']}".encode()
    sent = {**headers, **({"Content-Type": kind} if body else {})}
    if path == "/api/v1/events":  # it does not end by itself
        return served.head_of(filled, sent)
    return served.ask(method, filled, None, body, sent)


def in_order() -> list[tuple[str, str, Access]]:
    """Nothing is removed before everything was asked for, nobody logged out before the end."""
    return sorted(routes(), key=lambda one: (one[1] == "/logout", one[0] == "DELETE", one[1]))


def test_every_route_is_in_the_matrix_and_declares_what_stands_there(served: Served) -> None:
    found = {f"{method} {path}": (needed.role, needed.owner) for method, path, needed in routes()}
    assert found == MATRIX
    spec = served.ask("GET", "/api/v1/openapi.json").json["paths"]
    described = {f"{method.upper()} {path}" for path, operations in spec.items() for method in operations}
    assert described == {name for name in MATRIX if " /api/v1/" in name}


def test_strangers_reach_what_is_open_and_nothing_else(served: Served, club: dict[str, str]) -> None:
    for method, path, needed in in_order():
        for headers in ({}, {"Authorization": "Bearer x"}, {"Cookie": "ezrec=x"}):
            answer = ask(served, method, path, club, headers)
            said = (method, path, headers, answer.status)
            assert (needed.role == "open") == path.startswith(OPEN), said
            if needed.role == "open":
                assert answer.status not in (303, 401, 403) or method == "POST", said
            elif needed.page:
                assert (answer.status, answer.headers["location"][:6]) == (303, "/login"), said
            else:
                assert answer.status == 401, said


@pytest.mark.parametrize("asker", ASKERS, ids=lambda asker: f"{asker.role}-{asker.user}")
def test_everybody_reaches_what_is_declared(served: Served, club: dict[str, str], asker: Asker) -> None:
    browser = served.visit(asker.user, asker.role, asker.org)
    for method, path, needed in in_order():
        answer = ask(served, method, path, club, browser)
        said, expected = (method, path, answer.status, answer.body[:200]), asker.expected(needed)
        if expected is not None:
            assert answer.status in expected, said
        elif needed.owner == "self" or needed.role == "open":
            assert answer.status not in (403, 500), said
            assert answer.headers.get("location") != "/login" or path == "/logout", said
        else:
            assert answer.status not in (401, 403, 404, 500), said
            assert answer.status != 303 or (needed.page and answer.headers["location"] != "/login"), said
        if path == "/api/v1/events":
            continue
        if (
            method == "GET"
            and needed.owner == "rows"
            and path.startswith("/api/v1/")
            and path != "/api/v1/devices"
        ):
            assert bool(answer.json["items"]) == asker.sees, said
        if path == "/api/v1/devices":
            assert bool(answer.json["items"]) == asker.here, said


def test_a_session_without_its_token_changes_nothing(served: Served, club: dict[str, str]) -> None:
    browser = served.visit("anna", "admin")
    other = served.visit("otto", "operator")
    for method, path, needed in in_order():
        if method == "GET" or needed.role == "open":
            continue
        for headers in (
            {"Cookie": browser["Cookie"]},
            {**browser, "X-CSRF-Token": other["X-CSRF-Token"]},
            {**browser, "X-CSRF-Token": "\xe9"},
        ):
            answer = ask(served, method, path, club, headers)
            assert (answer.status, "CSRF" in answer.json["detail"]) == (403, True), (method, path)
    row = served.store.booking("match")
    assert row is not None
    assert row.stored.status == "confirmed"
    share = served.store.share(club["share_id"])
    assert share is not None
    assert share.revoked_at is None


def test_a_route_nobody_stands_before_fails_at_start() -> None:
    router, plain = APIRouter(route_class=GuardedRoute), APIRouter()
    with pytest.raises(RuntimeError, match="/x declares no role"):
        router.get("/x")(lambda: None)
    plain.get("/y", openapi_extra=access("user", "self"))(lambda: None)
    with pytest.raises(RuntimeError, match="/y declares no role"):
        require_declared(plain.routes, GuardedRoute)


@pytest.mark.parametrize("role", ["admin", "operator"])
def test_in_a_project_of_several_clubs_nobody_acts_for_another_person(role: Role, served: Served) -> None:
    here = served.app.state.context
    project = here.settings.bookings.model_copy(update={"kind": "supabase"})
    settings = here.settings.model_copy(update={"bookings": project})
    assert served.ask("GET", "/api/v1/users/uma/media", role).status == 200
    served.app.state.context = replace(here, settings=settings)
    assert served.ask("GET", "/api/v1/users/uma/media", role).status == 404
    assert served.ask("GET", "/api/v1/users/uma/media", "user").status == 200
