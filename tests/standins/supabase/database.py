"""PostgreSQL behind the stand-in: one transaction per request as its caller, the schema cache, the feed."""

import json
import queue
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from tests.standins.supabase.errors import RestError, of_database

Connection = psycopg.Connection[TupleRow]
Statement = sql.SQL | sql.Composed

LISTENING = "standin"

# What stands for the write-ahead log's reader: rows' keys of the publication's tables, told by NOTIFY.
FEED: tuple[LiteralString, ...] = (
    "CREATE SCHEMA IF NOT EXISTS standin",
    """
    CREATE OR REPLACE FUNCTION standin.tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE whole jsonb := to_jsonb(coalesce(NEW, OLD)); keys jsonb;
    BEGIN
        SELECT jsonb_object_agg(a.attname, whole -> a.attname) INTO keys FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = TG_RELID AND i.indisprimary;
        PERFORM pg_notify('standin', jsonb_build_object('schema', TG_TABLE_SCHEMA, 'table', TG_TABLE_NAME,
            'type', TG_OP, 'key', keys)::text);
        RETURN NULL;
    END $$
    """,
    """
    DO $$ DECLARE found record; BEGIN
        FOR found IN SELECT schemaname, tablename FROM pg_publication_tables
            WHERE pubname = 'supabase_realtime' LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER zz_standin AFTER INSERT OR UPDATE OR DELETE ON %I.%I
                FOR EACH ROW EXECUTE FUNCTION standin.tell()', found.schemaname, found.tablename);
        END LOOP;
    END $$
    """,
)


@dataclass(frozen=True)
class Caller:
    """Who asks: the role and claims of a verified token, and the request as functions may read it."""

    role: str
    claims: Mapping[str, Any]
    method: str = "POST"
    path: str = "/"

    @property
    def anonymous(self) -> bool:
        """Whether no token said who it is."""
        return self.role == "anon"


@dataclass(frozen=True)
class Function:
    """A function as the schema cache has it: its arguments' types by name, and which have a default."""

    arguments: Mapping[str, str]
    optional: frozenset[str]
    returns_set: bool
    returns_void: bool
    volatile: bool


class Database:
    """A few connections of the role ``authenticator``, given to one request at a time."""

    def __init__(self, dsn: str) -> None:
        """Prepare a database.

        Args:
            dsn: of a superuser of a migrated database with the platform's roles (`tests.support.postgres`);
                requests use the same with the user ``authenticator``.
        """
        self.dsn = dsn
        self.now: Callable[[], datetime] | None = None
        """The clock of `ezrec.now()`, where a test has one of its own."""
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        with psycopg.connect(dsn, autocommit=True) as db:
            for statement in FEED:
                db.execute(statement)

    def close(self) -> None:
        """Close the connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _connection(self) -> Connection:
        while True:
            try:
                found = self._idle.get_nowait()
            except queue.Empty:
                break
            if not found.closed:
                return found
        try:
            return psycopg.connect(self.dsn, user="authenticator", connect_timeout=5)
        except psycopg.OperationalError as error:
            raise RestError(
                503, "PGRST000", "Database connection error. Retrying the connection.", str(error)
            ) from None

    @contextmanager
    def request(self, caller: Caller) -> Generator[Connection]:
        """One request's transaction.

        Raises:
            RestError: the database refused it.
        """
        db = self._connection()
        try:
            with db.transaction():
                if caller.method in {"GET", "HEAD"}:
                    db.execute("SET TRANSACTION READ ONLY")
                db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(caller.role)))
                db.execute(
                    "SELECT set_config('request.jwt.claims', %s, true),"
                    " set_config('request.method', %s, true), set_config('request.path', %s, true),"
                    " set_config('search_path', 'public', true)",
                    (json.dumps(dict(caller.claims)), caller.method, caller.path),
                )
                if self.now is not None:
                    db.execute("SELECT set_config('ezrec.now', %s, true)", (self.now().isoformat(),))
                yield db
        except psycopg.Error as error:
            raise of_database(error, anonymous=caller.anonymous) from None
        finally:
            if db.closed:
                db.close()
            else:
                self._idle.put(db)


def functions(db: Connection, name: str) -> list[Function]:
    """The functions of that name in schema public."""
    rows = db.execute(
        "SELECT coalesce(p.proargnames, '{}'),"
        " array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t),"
        " p.pronargdefaults, p.proretset, p.prorettype = 'void'::regtype, p.provolatile = 'v'"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'public' AND p.proname = %s AND p.prokind = 'f'",
        (name,),
    ).fetchall()
    found: list[Function] = []
    for names, types, defaults, returns_set, returns_void, volatile in rows:
        inputs = names[: len(types)]
        found.append(
            Function(
                dict(zip(inputs, types, strict=True)),
                frozenset(inputs[len(types) - defaults :]),
                returns_set,
                returns_void,
                volatile,
            )
        )
    return found


def columns(db: Connection, table: str) -> tuple[str, ...]:
    """The columns of a table or view in schema public; none when there is no such table."""
    rows = db.execute(
        "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relname = %s"
        " AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        (table,),
    ).fetchall()
    return tuple(cast("str", row[0]) for row in rows)


def primary_key(db: Connection, table: str) -> tuple[str, ...]:
    """The columns of a table's primary key."""
    rows = db.execute(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relname = %s AND i.indisprimary",
        (table,),
    ).fetchall()
    return tuple(cast("str", row[0]) for row in rows)


def words(text: str) -> sql.SQL:
    """SQL that is ours or the catalogue's, never a request's."""
    return sql.SQL(text)  # pyright: ignore[reportArgumentType]
