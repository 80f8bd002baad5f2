"""The files: applied again, over what was there before, in a project that is not empty."""

import re

import psycopg
import pytest

from cloud_bridge.migrations import migrations
from tests.support.postgres import Connection, Server, connected


def apply(db: Connection) -> None:
    for migration in migrations():
        with db.transaction():
            db.execute(migration.sql.encode())


SCHEMA = """
    SELECT c.oid::regclass::text AS what, c.relkind::text AS kind,
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.relacl) a) AS rights
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'ezrec')
    UNION ALL
    SELECT p.oid::regprocedure::text, 'f', md5(pg_get_functiondef(p.oid))
        || (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(p.proacl) a)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'ezrec' OR (n.nspname = 'public' AND p.proname LIKE 'ezrec%')
    UNION ALL
    SELECT tablename || '.' || policyname, 'p', coalesce(qual, '') || coalesce(with_check, '') || roles::text
    FROM pg_policies
    UNION ALL
    SELECT tgrelid::regclass::text || '.' || tgname, 't', pg_get_triggerdef(oid)
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT conrelid::regclass::text || '.' || conname, 'c', pg_get_constraintdef(oid) FROM pg_constraint
    ORDER BY 1, 2, 3
"""


def test_twice_is_once(database: str) -> None:
    with connected(database) as db:
        db.execute("INSERT INTO organisations (id, name) VALUES ('club', 'Club')")
        before = db.execute(SCHEMA).fetchall()
        apply(db)
        assert db.execute(SCHEMA).fetchall() == before
        assert len(before) > 250
        names = [
            row["name"] for row in db.execute("SELECT name FROM ezrec.migrations ORDER BY name").fetchall()
        ]
        assert names == [migration.name for migration in migrations()]
        assert db.execute("SELECT id FROM organisations").fetchall() == [{"id": "club"}]


def test_a_file_names_itself_and_is_in_order() -> None:
    for number, migration in enumerate(migrations(), 1):
        assert migration.name.startswith(f"{number:04}_")
        assert migration.sql.rstrip().endswith(f"values ('{migration.name}') on conflict do nothing;")
        assert not re.search(r"^\s*(begin|commit)\s*;", migration.sql, re.IGNORECASE | re.MULTILINE)


def test_the_hint_is_published_and_nothing_else_is(database: str) -> None:
    with connected(database) as db:
        found = db.execute(
            "SELECT tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime'"
        ).fetchall()
    assert found == [{"tablename": "device_changes"}]


def test_a_table_of_somebody_else_is_not_taken(postgres: Server) -> None:
    with postgres.blank() as name, connected(postgres.dsn(name, "project")) as db:
        db.execute("CREATE TABLE members (id int); INSERT INTO members VALUES (5)")
        with pytest.raises(psycopg.errors.RaiseException, match="members is there already"):
            apply(db)
        assert db.execute("SELECT id FROM members").fetchall() == [{"id": 5}]
        assert db.execute("SELECT to_regclass('public.organisations') AS there").fetchone() == {"there": None}


def test_without_supabase_the_roles_are_made(postgres: Server) -> None:
    """A plain PostgreSQL has no schema of its own for extensions and no publication."""
    with postgres.blank() as name, connected(postgres.dsn(name, "project")) as db:
        db.execute("DROP SCHEMA extensions; DROP PUBLICATION supabase_realtime")
        apply(db)
        roles = db.execute(
            "SELECT rolname, rolbypassrls FROM pg_roles WHERE rolname LIKE '%_role'"
        ).fetchall()
        assert {"rolname": "service_role", "rolbypassrls": True} in roles
        assert db.execute(
            "SELECT pg_has_role('authenticator', 'ezrec_device', 'member') AS may"
        ).fetchone() == {"may": True}


def test_the_audit_is_only_appended_to(db: Connection) -> None:
    for statement in ("UPDATE audit SET who = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever appended"),
            db.transaction(),
        ):
            db.execute(statement.encode())
    assert db.execute("SELECT count(*) > 0 AS kept FROM audit").fetchone() == {"kept": True}


def test_the_audit_names_columns_and_no_values(db: Connection) -> None:
    db.execute(
        "INSERT INTO court_bookings (device_id, id, starts_at, ends_at) VALUES"
        " ('court-1', 'a', '2026-03-01T12:00Z', '2026-03-01T13:00Z');"
        "INSERT INTO booking_people (device_id, booking_id, title, contacts) VALUES"
        " ('court-1', 'a', 'Anna', '{anna@example.org}');"
        "UPDATE booking_people SET title = 'Anna & Ben';"
        "UPDATE court_bookings SET record = 'no'"
    )
    rows = db.execute(
        "SELECT * FROM audit WHERE table_name IN ('court_bookings', 'booking_people') ORDER BY n"
    ).fetchall()
    assert [(row["table_name"], row["operation"], row["columns"], row["org_id"]) for row in rows] == [
        ("court_bookings", "insert", None, "club"),
        ("booking_people", "insert", None, "club"),
        ("booking_people", "update", ["title"], "club"),
        ("court_bookings", "update", ["record"], "club"),
    ]
    assert "anna" not in str(rows).lower()
