"""A database with two clubs in it, and whoever asks it."""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.cloud_bridge.sql.club import SERVICE, Who, seed
from tests.support.postgres import Connection, Server, asking, call, connected
from tests.support.postgres import database as database  # noqa: PLC0414 - fixtures are found by name
from tests.support.postgres import postgres as postgres  # noqa: PLC0414

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def clubs(postgres: Server) -> Generator[str]:
    """How to connect to a database with the clubs in it, which nobody may change for good."""
    with postgres.fresh() as name:
        with connected(postgres.dsn(name)) as connection:
            seed(connection)
        yield postgres.dsn(name)


@pytest.fixture
def db(clubs: str) -> Generator[Connection]:
    """The owner's connection; what a test does is undone at its end."""
    with connected(clubs) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture
def ask(db: Connection) -> Ask:
    """`ask(function, who=SERVICE, **arguments)`: a call as PostgREST makes it, a transaction of its own."""

    def asked(function: str, who: Who = SERVICE, **arguments: object) -> Any:
        with asking(db, who.role, who.claims) as connection:
            return call(connection, function, **arguments)

    return asked
