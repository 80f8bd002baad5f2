"""Brings a project's database up to the schema: what `ezrec store migrate` does."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloud_bridge.migrations import Migration, migrations

CONNECT_S = 15
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('ezrec migrations', 0))"


class MigrateError(Exception):
    """It did not work; one line for whoever asked. What was applied before stays applied."""


class Standing(NamedTuple):
    """What a database has of the schema, and what it lacks, in order."""

    applied: tuple[str, ...]
    missing: tuple[Migration, ...]


class Schema:
    """One database's schema, over one connection of its owner's."""

    def __init__(self, dsn: str) -> None:
        """Connect.

        Args:
            dsn: a connection string or URI; what it lacks comes from PGPASSWORD and the like.

        Raises:
            MigrateError: it is none, or nobody answers. Never with the password in it.
        """
        try:
            patience = conninfo_to_dict(dsn).get("connect_timeout", CONNECT_S)
            conninfo = make_conninfo(dsn, connect_timeout=patience)
        except psycopg.Error:
            raise MigrateError(
                "that is no connection string: postgresql://USER@HOST:5432/postgres was expected"
            ) from None
        with _translated("cannot connect"):
            # Prepared statements do not survive a pooler that hands transactions round.
            self._db = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)

    def close(self) -> None:
        """Give the connection back."""
        self._db.close()

    def standing(self) -> Standing:
        """What is there and what is missing.

        Raises:
            MigrateError: it has files this software does not know, or does not answer.
        """
        known = migrations()
        with _translated("cannot read which files were applied"):
            there = self._db.execute("SELECT to_regclass('ezrec.migrations') IS NOT NULL").fetchone()
            rows = (
                self._db.execute("SELECT name FROM ezrec.migrations ORDER BY name").fetchall()
                if there is not None and there[0]
                else []
            )
        applied = tuple(str(row[0]) for row in rows)
        strange = set(applied) - {migration.name for migration in known}
        if strange:
            raise MigrateError(
                f"the database has {', '.join(sorted(strange))}, which this version of ezrec does not know:"
                " update ezrec first"
            )
        return Standing(applied, tuple(m for m in known if m.name not in applied))

    def apply(self, migration: Migration) -> bool:
        """Apply a file, whole or not at all; False when somebody else did meanwhile.

        Raises:
            MigrateError: the database refused; nothing of this file is in it.
        """
        with _translated(migration.name), self._db.transaction():
            self._db.execute(_LOCK)
            if migration.name in self.standing().applied:
                return False
            self._db.execute(migration.sql.encode())
            return True


def script() -> str:
    """All files as one text for an editor; applying it again changes nothing."""
    parts = (f"-- ===== {m.name} =====\nbegin;\n{m.sql.rstrip()}\ncommit;\n" for m in migrations())
    return "\n".join(parts)


@contextmanager
def _translated(what: str) -> Generator[None]:
    try:
        yield
    except psycopg.Error as error:
        said = (error.diag.message_primary or str(error) or type(error).__name__).split("\n")[0]
        raise MigrateError(f"{what}: {said[:300]}") from error
