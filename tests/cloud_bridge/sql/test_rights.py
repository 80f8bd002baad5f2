"""Row level security, tried by the database: role x table x operation x own and other, all as declared."""

import json
from collections.abc import Generator, Mapping
from typing import NamedTuple

import pytest
from psycopg import sql

from tests.cloud_bridge.sql.rights import ASKERS, FUNCTIONS, RIGHTS, UPDATABLE, Can
from tests.cloud_bridge.sql.rows import ROWS, SEED
from tests.support.postgres import Connection, Server, connected

SPARE_COURTS = "INSERT INTO courts (org_id, id, name) VALUES ('club', 'spare', 'S'), ('rival', 'spare', 'S');"

ATTEMPT = """
    CREATE FUNCTION pg_temp.attempt(p_role text, p_claims text, p_statement text, p_look text) RETURNS text
    LANGUAGE plpgsql AS $$
    DECLARE v_count integer; v_before text; v_after text;
    BEGIN
        IF p_look <> '' THEN EXECUTE p_look INTO v_before; END IF;
        PERFORM set_config('role', p_role, true), set_config('request.jwt.claims', p_claims, true);
        EXECUTE p_statement;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        PERFORM set_config('role', 'none', true);
        IF p_look <> '' THEN
            EXECUTE p_look INTO v_after;
            v_count := (v_before IS DISTINCT FROM v_after)::integer;
        END IF;
        RAISE EXCEPTION USING errcode = 'UNDO1', message = 'rows ' || v_count;
    EXCEPTION
        WHEN SQLSTATE 'UNDO1' THEN RETURN sqlerrm;
        WHEN OTHERS THEN RETURN sqlstate;
    END $$;
"""


@pytest.fixture(scope="module")
def rows(postgres: Server, clubs: str) -> Generator[Connection]:
    """A connection to a database with a row of every label in every table; nothing stays changed."""
    with connected(clubs) as connection, connection.transaction(force_rollback=True):
        connection.execute((SEED + SPARE_COURTS + ATTEMPT).encode())
        yield connection


def where(at: Mapping[str, object]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value)) for column, value in at.items()
    )


def statement(table: str, operation: str, label: str, asker: str) -> sql.Composed:
    """What somebody tries with a label's row."""
    wanted, who, name = ROWS[table], ASKERS[asker], sql.Identifier(table)
    match operation:
        case "select":
            return sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 1").format(name, where(wanted.at[label]))
        case "insert":
            me = who.claims.get("sub", "x")
            values = {c: me if v == ":me" else v for c, v in wanted.new[label].items()}
            return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                name,
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(map(sql.Literal, values.values())),
            )
        case "update":
            change = sql.SQL(wanted.change.get(who.role, wanted.change["*"]))
            return sql.SQL("UPDATE {} SET {} WHERE {}").format(name, change, where(wanted.at[label]))
        case _:
            return sql.SQL("DELETE FROM {} WHERE {}").format(name, where(wanted.at[label]))


class Try(NamedTuple):
    """Somebody, and what they try with a label's row."""

    asker: str
    operation: str
    label: str


REFUSALS = {"42501", "PT404", "PT409", "55000", "23503", "23502"}
"""No right, or a view's own refusal, or a row that cannot be seen to be referred to."""


def tries(table: str) -> list[Try]:
    wanted = ROWS[table]
    return [
        Try(asker, operation, label)
        for asker in ASKERS
        for operation in Can._fields
        for label in (wanted.new if operation == "insert" else wanted.at)
    ]


def outcomes(db: Connection, table: str, tried: list[Try]) -> list[str]:
    """How many rows each try reached, or the code of its error; nothing of any stays.

    Deleting a booking cancels it, and PostgreSQL then counts no row: its status is looked at.
    """
    cancels = table in {"court_bookings", "bookings"}
    found = db.execute(
        "SELECT pg_temp.attempt(t.role, t.claims, t.statement, t.look) AS outcome"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])"
        " WITH ORDINALITY AS t (role, claims, statement, look, n) ORDER BY n",
        (
            [ASKERS[one.asker].role for one in tried],
            [json.dumps({"role": ASKERS[one.asker].role, **ASKERS[one.asker].claims}) for one in tried],
            [statement(table, one.operation, one.label, one.asker).as_string(db) for one in tried],
            [
                sql.SQL("SELECT status FROM {} WHERE {}")
                .format(sql.Identifier(table), where(ROWS[table].at[one.label]))
                .as_string(db)
                if cancels and one.operation == "delete"
                else ""
                for one in tried
            ],
        ),
    ).fetchall()
    return [row["outcome"] for row in found]


@pytest.mark.parametrize("table", RIGHTS)
def test_everybody_does_what_is_declared_and_nothing_else(rows: Connection, table: str) -> None:
    tried = tries(table)
    answers = dict(zip(tried, outcomes(rows, table, tried), strict=True))
    assert {k: a for k, a in answers.items() if not a.startswith("rows") and a not in REFUSALS} == {}
    for asker in ASKERS:
        found = Can(*(
            "".join(
                t.label for t, answer in answers.items()
                if (t.asker, t.operation) == (asker, operation)
                and answer.startswith("rows")
                and answer != "rows 0"
            )
            for operation in Can._fields
        ))  # fmt: skip
        assert {asker: found} == {asker: RIGHTS[table].get(asker, Can())}


def test_every_table_and_view_is_declared_and_guarded(rows: Connection) -> None:
    found = rows.execute(
        "SELECT relname, relkind, relrowsecurity, reloptions FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    ).fetchall()
    assert {row["relname"] for row in found} == RIGHTS.keys() == ROWS.keys()
    assert [row["relname"] for row in found if row["relkind"] != "v" and not row["relrowsecurity"]] == []
    views = [row for row in found if row["relkind"] == "v"]
    assert [row["relname"] for row in views if "security_invoker=true" not in (row["reloptions"] or [])] == []


@pytest.mark.parametrize("role", UPDATABLE)
def test_only_the_declared_columns_may_be_changed(rows: Connection, role: str) -> None:
    columns = rows.execute(
        "SELECT c.relname, a.attname, has_column_privilege(%s, c.oid, a.attnum, 'UPDATE') AS may"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')",
        (role,),
    ).fetchall()
    assert len(columns) > 150
    for row in columns:
        declared = UPDATABLE[role].get(row["relname"], "").split()
        assert row["may"] == (row["attname"] in declared or declared == ["*"]), (role, row)


def test_no_role_may_truncate_or_refer_or_add_triggers(rows: Connection) -> None:
    for role in ("anon", "authenticated", "ezrec_device", "service_role"):
        for right in ("TRUNCATE", "REFERENCES", "TRIGGER"):
            found = rows.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'v') AND has_table_privilege(%s, oid, %s)",
                (role, right),
            ).fetchall()
            assert (role, right, found) == (role, right, [])


@pytest.mark.parametrize("role", FUNCTIONS)
def test_functions_are_called_by_the_declared_roles(rows: Connection, role: str) -> None:
    found = rows.execute(
        "SELECT proname, has_function_privilege(%s, oid, 'EXECUTE') AS may FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'ezrec\\_%%'",
        (role,),
    ).fetchall()
    names = {row["proname"].removeprefix("ezrec_") for row in found}
    declared = names if FUNCTIONS[role] == "*" else set(FUNCTIONS[role].split())
    assert {row["proname"].removeprefix("ezrec_") for row in found if row["may"]} == declared
    assert declared <= names


def test_our_functions_run_with_the_callers_rights_and_a_fixed_path(rows: Connection) -> None:
    """The others are named: each is needed by a policy or a trigger, and answers about the caller alone."""
    found = rows.execute(
        "SELECT n.nspname, proname, prosecdef, proconfig, prorettype = 'trigger'::regtype AS is_trigger"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'ezrec' OR (n.nspname = 'public' AND proname LIKE 'ezrec\\_%')"
    ).fetchall()
    assert [row["proname"] for row in found if 'search_path=""' not in (row["proconfig"] or [])] == []
    definers = {row["proname"] for row in found if row["prosecdef"] and not row["is_trigger"]}
    helpers = {"org_ids", "device_ids", "owns_booking", "device", "device_org"}
    assert definers == helpers | {"next_change", "show_upload"}
    assert [row["proname"] for row in found if row["prosecdef"] and row["nspname"] == "public"] == []


@pytest.mark.parametrize("role", ["anon", "authenticated", "ezrec_device"])
def test_what_acts_with_its_owners_rights_for_triggers_is_nobodys_to_call(
    rows: Connection, role: str
) -> None:
    found = rows.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ezrec'::regnamespace"
        " AND has_function_privilege(%s, oid, 'EXECUTE')"
        " AND proname IN ('next_change', 'show_upload', 'refuse_overlap', 'set_policy')",
        (role,),
    ).fetchall()
    assert found == []


def test_what_a_later_table_or_function_is_starts_with_nobody(rows: Connection) -> None:
    rows.execute(
        "SET LOCAL ROLE project; CREATE TABLE later (id int);"
        " CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE"
    )
    for role in ("anon", "authenticated", "ezrec_device"):
        found = rows.execute(
            "SELECT has_table_privilege(%s, 'public.later', 'SELECT') AS reads,"
            " has_function_privilege(%s, 'public.later()', 'EXECUTE') AS calls",
            (role, role),
        ).fetchone()
        assert (role, found) == (role, {"reads": False, "calls": False})
