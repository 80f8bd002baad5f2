"""Users by the command line: what they print and what the store holds then."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud_bridge.passwords import Passwords
from cloud_bridge.stores.sqlite_people import SqlitePeople
from edge_agent.cli.main import app


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "ezrec.toml"
    config.write_text(f'[storage]\nroot = "{tmp_path}"\n')
    return config


def ran(config: Path, *words: str, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["user", *words, "--config", str(config)], input=typed)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def kept(config: Path, user: str) -> str | None:
    people = SqlitePeople(config.parent / "cloud" / "store.sqlite")
    try:
        return people.password(user)
    finally:
        people.close()


def test_users_are_added_listed_and_removed(config: Path) -> None:
    assert ran(config, "add", "anna", "--role", "admin", typed="a good password\n") == (0, "")
    assert Passwords().fits(kept(config, "anna"), "a good password")
    code, said = ran(config, "add", "otto", "--role", "user", "--code")
    assert (code, re.fullmatch(r"([A-Z2-9]{4}-){3}[A-Z2-9]{4}\n", said) is not None) == (0, True)
    assert ran(config, "list") == (0, "anna  admin  password\notto  user  no password yet\n")
    assert ran(config, "passwd", "otto", typed="another password") == (0, "")
    assert Passwords().fits(kept(config, "otto"), "another password")
    assert ran(config, "remove", "otto") == (0, "")
    assert ran(config, "list") == (0, "anna  admin  password\n")


@pytest.mark.parametrize(
    ("words", "typed", "code", "says"),
    [
        (["add", "otto", "--role", "king"], "", 2, "--role king: expected one of admin, operator, user"),
        (
            ["add", "otto", "--role", "user"],
            "short\n",
            2,
            "the password is too short: at least 10 characters",
        ),
        (["add", "otto", "--role", "user"], "", 2, "the password is too short: at least 10 characters"),
        (["add", "Not An Id", "--role", "user", "--code"], "", 1, "user add: 'Not An Id' is no id"),
        (["passwd", "otto"], "a good password\n", 1, "user passwd: there is no user otto"),
        (["remove", "otto"], "", 1, "user remove: there is no user otto"),
    ],
)
def test_a_mistake_is_one_line(config: Path, words: list[str], typed: str, code: int, says: str) -> None:
    found, said = ran(config, *words, typed=typed)
    assert (found, said.count("\n")) == (code, 1)
    assert says in said
    assert ran(config, "list") == (0, "")
