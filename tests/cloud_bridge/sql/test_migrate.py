"""`ezrec store migrate`: over a real database, as somebody types it."""

import pytest
from typer.testing import CliRunner

from cloud_bridge.migrate import MigrateError, Schema, script
from cloud_bridge.migrations import migrations
from edge_agent.cli.main import app
from tests.support.postgres import Server, connected

NAMES = [migration.name for migration in migrations()]


def ran(*words: str, typed: str | None = None, **env: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["store", "migrate", *words], input=typed, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def test_what_is_missing_is_applied_and_nothing_twice(postgres: Server) -> None:
    with postgres.blank() as name:
        dsn = postgres.dsn(name, "project")
        code, out, _ = ran("--dsn", dsn, "--check")
        assert (code, out.splitlines()) == (1, [f"missing {name}" for name in NAMES])
        code, out, err = ran("--dsn", "-", typed=f"{dsn}\n")
        assert (code, out.splitlines()) == (0, [f"applied {name}" for name in NAMES])
        assert err == f"{len(NAMES)} files, {len(NAMES)} applied\n"
        assert ran(EZREC_DSN=dsn) == (0, "", f"{len(NAMES)} files, 0 applied\n")
        assert ran("--dsn", dsn, "--check")[0] == 0
        with connected(dsn) as db:
            db.execute(
                "DELETE FROM ezrec.migrations WHERE name = '0013_grants'; GRANT SELECT ON members TO anon"
            )
        assert ran("--dsn", dsn)[1] == "applied 0013_grants\n"
        with connected(dsn) as db:
            may = db.execute("SELECT has_table_privilege('anon', 'members', 'SELECT') AS may").fetchone()
            assert may == {"may": False}


def test_a_file_that_fails_leaves_nothing_of_itself(postgres: Server) -> None:
    with postgres.blank() as name:
        dsn = postgres.dsn(name, "project")
        with connected(dsn) as db:
            db.execute("CREATE TABLE audit (id int)")
        code, out, err = ran("--dsn", dsn)
        assert (code, out) == (1, "")
        assert err == (
            "ezrec: store migrate: 0001_base: public.audit is there already and not of EZREC:"
            " use a Supabase project of its own\n"
        )
        with connected(dsn) as db:
            assert db.execute("SELECT to_regnamespace('ezrec') AS there").fetchone() == {"there": None}


def test_a_newer_database_is_left_alone(postgres: Server) -> None:
    with postgres.fresh() as name:
        dsn = postgres.dsn(name, "project")
        with connected(dsn) as db:
            db.execute("INSERT INTO ezrec.migrations (name) VALUES ('0099_later')")
        code, _, err = ran("--dsn", dsn)
        assert code == 1
        assert "0099_later" in err
        assert "update ezrec first" in err


@pytest.mark.parametrize(
    "dsn", ["nonsense", "postgresql://u:hush@/x y", "host=/nowhere password=hush dbname=x"]
)
def test_what_is_no_database_is_one_line_without_the_password(dsn: str) -> None:
    code, out, err = ran("--dsn", dsn)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "hush" not in err


def test_without_a_database_it_says_what_is_wanted() -> None:
    code, _, err = ran(EZREC_DSN="")
    assert (code, err.count("\n")) == (2, 1)


def test_the_printed_script_is_the_whole_schema(postgres: Server) -> None:
    code, out, _ = ran("--print")
    assert (code, out) == (0, script())
    with postgres.blank() as name:
        with connected(postgres.dsn(name, "project")) as db:
            for _ in range(2):
                db.execute(out.encode())
        schema = Schema(postgres.dsn(name, "project"))
        assert schema.standing() == (tuple(NAMES), ())
        schema.close()


def test_two_at_once_apply_each_file_once(postgres: Server) -> None:
    """The second was told that a file is missing, and finds it there when its turn comes."""
    with postgres.blank() as name:
        first, second = Schema(postgres.dsn(name, "project")), Schema(postgres.dsn(name, "project"))
        (migration, *_) = second.standing().missing
        assert first.apply(migration)
        assert not second.apply(migration)
        first.close()
        second.close()


def test_a_lost_connection_is_one_line(postgres: Server) -> None:
    with postgres.blank() as name:
        schema = Schema(postgres.dsn(name, "project"))
    with pytest.raises(MigrateError, match="cannot read"):
        schema.standing()
    schema.close()
