"""Users of a Supabase project (stand-in over real PostgreSQL), by the tokens of their login."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest

from cloud_bridge.api.supabase_login import ProjectTokens
from cloud_bridge.stores import Principal, StoreError
from cloud_bridge.stores.supabase_client import Project
from edge_agent.core.settings import Settings
from tests.cloud_bridge.served import HandClock, Served
from tests.cloud_bridge.test_api import problem
from tests.standins.supabase import SupabaseStandIn
from tests.standins.supabase.keys import mint

UMA = "0c5b1f6e-6d1c-4f0e-9d55-1f2a3b4c5d6e"
MEMBERS = """
    INSERT INTO members (org_id, user_id, role) VALUES
        ('club', 'otto', 'operator'), ('club', %(uma)s, 'user'),
        ('other', %(uma)s, 'admin'), ('other', 'olga', 'admin')
"""


@pytest.fixture
def tokens(project: SupabaseStandIn) -> Generator[ProjectTokens]:
    with psycopg.connect(project.database.dsn, autocommit=True) as db:
        db.execute(MEMBERS, {"uma": UMA})
    tokens = ProjectTokens(Project(project.url, "a device's key", project.anon_key), "club")
    yield tokens
    tokens.close()


def token(project: SupabaseStandIn, user: str, secret: str | None = None, **more: Any) -> str:
    """What a login gives a browser."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    claims = {"role": "authenticated", "aud": "authenticated", "sub": user, "exp": int(ends.timestamp())}
    return mint(secret or project.secret, {**claims, **more})


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("otto", Principal("otto", "operator", "club")),
        (UMA, Principal(UMA, "user", "club")),
        ("olga", Principal("olga", "user", "other")),
        ("nobody", Principal("nobody", "user", "")),
    ],
)
def test_a_user_is_what_the_membership_says(
    project: SupabaseStandIn, tokens: ProjectTokens, user: str, expected: Principal
) -> None:
    assert tokens.principal(token(project, user)) == expected


def test_a_token_that_is_none_is_nobody(project: SupabaseStandIn, tokens: ProjectTokens) -> None:
    for wrong in (
        token(project, "otto", "another project's secret, as long as it must be"),
        token(project, "otto", exp=1),
        token(project, "otto", role="service_role"),
        token(project, "otto", role="ezrec_device", device="court-1", org="club"),
        token(project, "Not An Id"),
        token(project, "otto")[:-4] + "AAAA",
        jwt.encode({"role": "authenticated", "sub": "otto"}, project.secret, algorithm="HS256"),
        project.service_key,
        "a.b.c",
        "..",
    ):
        assert tokens.principal(wrong) is None


def test_a_project_that_is_away_is_no_refusal(project: SupabaseStandIn, tokens: ProjectTokens) -> None:
    known, new = token(project, "otto"), token(project, UMA)
    assert tokens.principal(known) == Principal("otto", "operator", "club")
    project.stop()
    try:
        with pytest.raises(StoreError) as error:
            tokens.principal(new)
        assert (error.value.kind, new in error.value.text) == ("transient", False)
        assert tokens.principal(known) == Principal("otto", "operator", "club")
    finally:
        project.start()
    assert tokens.principal(new) == Principal(UMA, "user", "club")


def test_they_come_in_by_their_role(project: SupabaseStandIn, tokens: ProjectTokens, tmp_path: Path) -> None:
    with Served(Settings(), tmp_path, HandClock(), tokens=tokens) as served:
        served.book(owner=UMA)

        def ask(user: str, path: str) -> Any:
            return served.ask("GET", path, headers={"Authorization": f"Bearer {token(project, user)}"})

        account = ask(UMA, "/api/v1/account").json
        assert (account["user"], account["role"], account["org"]) == (UMA, "user", "club")
        seen = {
            user: len(ask(user, "/api/v1/bookings").json["items"]) for user in ("otto", UMA, "olga", "nobody")
        }
        assert seen == {"otto": 1, UMA: 1, "olga": 0, "nobody": 0}
        problem(ask("olga", "/api/v1/audit"), 403)
        problem(ask("otto", "/api/v1/audit"), 403)
        forged = {"Authorization": f"Bearer {token(project, 'otto', 'x' * 40)}"}
        problem(served.ask("GET", "/api/v1/bookings", headers=forged), 401)
        assert served.ask("GET", "/api/v1/bookings", "user").status == 200
