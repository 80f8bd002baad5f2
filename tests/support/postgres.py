"""A real PostgreSQL for tests: a server a worker, a database of its own a test, roles as Supabase has them.

The server is Debian's (`./ezrec test` installs it). It refuses to run as root, so root starts it as `nobody`;
it listens on a socket in a folder only its account and root can enter, and dies with the test run.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from cloud_bridge.migrations import migrations

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

SUPABASE_ROLES = """
    CREATE ROLE anon NOLOGIN NOINHERIT;
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
    CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    GRANT anon, authenticated, service_role TO authenticator;
    CREATE ROLE project LOGIN CREATEROLE CREATEDB BYPASSRLS;
    GRANT anon, authenticated, service_role TO project WITH ADMIN OPTION;
"""
"""``project`` is what a project's owner is called here: there it is `postgres`, and no superuser either."""
SUPABASE_DATABASE = """
    ALTER SCHEMA public OWNER TO project;
    SET ROLE project;
    CREATE SCHEMA extensions;
    CREATE PUBLICATION supabase_realtime;
    GRANT USAGE ON SCHEMA public, extensions TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
"""
"""What a new project gives away by default: the schema has to take it back."""
UNSAFE_AND_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")
LOGGING = ("log_min_messages=panic", "log_min_error_statement=panic")


def program(name: str) -> str:
    """A program of the newest PostgreSQL here; Debian keeps them off the PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: float(path.parts[-3]),
        reverse=True,
    )
    path = str(found[0]) if found else shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not here: `./ezrec test` installs PostgreSQL, or `apt install postgresql`")
    return path


class Server:
    """A running server with Supabase's roles and a migrated template to copy databases from."""

    def __init__(self, folder: Path) -> None:
        """Make a cluster below a folder and start it.

        Raises:
            subprocess.CalledProcessError: initdb did not work; its words are in the output.
        """
        self._folder = folder
        self._as: list[str] = []
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
            self._as = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        initdb = [program("initdb"), "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "-E", "UTF8"]
        subprocess.run(
            [*self._as, *initdb, "--locale=C.UTF-8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
        )
        options = [
            word
            for option in (
                "listen_addresses=",
                f"unix_socket_directories={folder}",
                *UNSAFE_AND_QUICK,
                *LOGGING,
            )
            for word in ("-c", option)
        ]
        command = [program("postgres"), "-D", f"{folder}/data", *options]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*(self._as or ["setpriv"]), "--pdeathsig=QUIT", *command], stdout=log, stderr=log, cwd="/"
            )
        try:
            self._wait()
            self._make_template()
        except BaseException:
            self.stop()
            raise

    def dsn(self, database: str, user: str = "postgres") -> str:
        """How to connect to a database.

        `postgres` is the superuser, `project` who owns everything in it, `authenticator` what PostgREST is.
        """
        return f"host={self._folder} dbname={database} user={user}"

    @contextmanager
    def fresh(self) -> Generator[str]:
        """A new migrated database; its name. It is dropped afterwards, with whoever is still connected."""
        name = f"t_{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE ezrec_template")
        try:
            yield name
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def blank(self) -> Generator[str]:
        """A new database as in a new Supabase project, not migrated; its name."""
        name = f"t_{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE supabase_template OWNER project")
        try:
            yield name
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and everything in it."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def _run(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.dsn(database), autocommit=True) as db:
            for statement in statements:
                db.execute(statement.encode())

    def _wait(self) -> None:
        while True:
            try:
                return self._run("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text(errors="replace")) from None

    def _make_template(self) -> None:
        self._run(SUPABASE_ROLES, "CREATE DATABASE supabase_template OWNER project")
        self._run(SUPABASE_DATABASE, database="supabase_template")
        self._run("CREATE DATABASE ezrec_template TEMPLATE supabase_template OWNER project")
        with psycopg.connect(self.dsn("ezrec_template", "project"), autocommit=True) as db:
            for migration in migrations():
                with db.transaction():
                    db.execute(migration.sql.encode())


@pytest.fixture(scope="session")
def postgres() -> Generator[Server]:
    """This worker's server."""
    folder = Path(tempfile.mkdtemp(prefix="ezrec-pg-"))
    try:
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgres: Server) -> Generator[str]:
    """How to connect to a migrated database of this test's own, as its owner."""
    with postgres.fresh() as name:
        yield postgres.dsn(name)


@contextmanager
def connected(dsn: str) -> Generator[Connection]:
    """A connection with rows as dicts, statements committing by themselves, closed afterwards."""
    with psycopg.Connection[Row].connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@contextmanager
def asking(db: Connection, role: str, claims: Mapping[str, object] | None = None) -> Generator[Connection]:
    """A transaction as PostgREST runs a request: the role of the key, and its claims as a setting.

    It commits at the end, and rolls back on an error. Within another transaction it is a savepoint.
    """
    with db.transaction():
        set_asker(db, role, claims)
        yield db
        db.execute("SELECT set_config('role', 'none', true), set_config('request.jwt.claims', '', true)")


def set_asker(db: Connection, role: str, claims: Mapping[str, object] | None = None) -> None:
    """Who asks, until the end of the transaction."""
    text = json.dumps({"role": role, **(claims or {})})
    db.execute(
        "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true)", (role, text)
    )


def call(db: Connection, name: str, **arguments: object) -> Any:
    """What `ezrec_{name}` answers; arguments without their ``p_``; dicts and lists travel as JSON."""
    sql = ", ".join(f"p_{key} => %({key})s" for key in arguments)
    values = {
        key: json.dumps(value) if isinstance(value, dict | list) else value
        for key, value in arguments.items()
    }
    row = db.execute(f"SELECT public.ezrec_{name}({sql}) AS answer".encode(), values).fetchone()
    assert row is not None
    return row["answer"]
