"""Local users, who log in to the pages."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer

from edge_agent.cli.common import ConfigOption, fail, out, read_settings
from edge_agent.cli.tokens import ROLES

if TYPE_CHECKING:
    from pathlib import Path

    from cloud_bridge.stores.base import Role
    from cloud_bridge.stores.sqlite_people import SqlitePeople

user = typer.Typer(help="Users, who log in to the pages.", no_args_is_help=True)
CODE_H = 24
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="a-z, 0-9, - and _.")]
CodeOption = Annotated[
    bool,
    typer.Option("--code", help=f"Print a code to log in with once, within {CODE_H} h."),
]


@user.command("add")
def add(
    name: NameArgument,
    role: Annotated[str, typer.Option(metavar="admin|operator|user", help="What they may do.")],
    code: CodeOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a user. The password is asked for, or read from standard input."""
    if role not in ROLES:
        fail(f"--role {role}: expected one of {', '.join(ROLES)}", 2)
    hashed = None if code else _hashed()
    with _people("user add", config) as people:
        known = cast("Role", role)  # pyright: ignore[reportUnnecessaryCast] - mypy does not narrow by `in`
        people.add(name, known)
        _let_in(people, name, hashed)


@user.command("list")
def show(config: ConfigOption = None) -> None:
    """All users: name, role, whether there is a password."""
    with _people("user list", config) as people:
        for one in people.people():
            out(f"{one.user}  {one.role}  {'password' if one.password else 'no password yet'}")


@user.command("remove")
def remove(name: NameArgument, config: ConfigOption = None) -> None:
    """Remove a user: sessions and keys end at once, what they booked stays."""
    with _people("user remove", config) as people:
        if not people.remove(name):
            fail(f"user remove: there is no user {name}")


@user.command("passwd")
def passwd(name: NameArgument, code: CodeOption = False, config: ConfigOption = None) -> None:
    """Set a user's password, and end the sessions; or print a new code."""
    hashed = None if code else _hashed()
    with _people("user passwd", config) as people:
        _let_in(people, name, hashed)


def _let_in(people: "SqlitePeople", name: str, hashed: str | None) -> None:
    if hashed is None:
        out(people.issue_code(name, CODE_H * 3600))
    else:
        people.set_password(name, hashed)


def _hashed() -> str:
    from cloud_bridge.passwords import Passwords, complaint

    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    wrong = complaint(password)
    if wrong is not None:
        fail(wrong, 2)
    return Passwords().hash(password)


@contextmanager
def _people(command: str, config: "Path | None") -> Generator["SqlitePeople"]:
    from cloud_bridge.stores import StoreError, sqlite_path
    from cloud_bridge.stores.sqlite_people import SqlitePeople

    try:
        people = SqlitePeople(sqlite_path(read_settings(config)))
        try:
            yield people
        finally:
            people.close()
    except (StoreError, OSError) as error:
        fail(f"{command}: {error}")
