"""The operators' pages say what the code does: settings, alarms, states, commands and tests that are named.

A failing test shows the text that the page lacks; copy it there and put it into words.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edge_agent.app import agent_names
from edge_agent.cli.main import app
from edge_agent.core.settings import Scope, Settings
from edge_agent.runtime.settings import ALIASES
from schemas.acl import accounts
from schemas.recording import RecordingState

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability" / "README.md").read_text()
README = (ROOT / "README.md").read_text()
SEVERITIES = {"critical", "major", "minor"}
SIGNS = {"ge": "≥", "le": "≤", "gt": ">", "lt": "<", "multiple_of": "multiple of"}


def section(heading: str) -> str:
    """The text below a heading of the operators' page, up to the next of its level."""
    return OPERATIONS.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def parts_of(annotation: object) -> Iterator[object]:
    """The types an annotation is made of, unions and tuples taken apart."""
    if get_origin(annotation) in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from parts_of(inner)
    else:
        yield annotation


def keys_of(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the settings with its field, sections within sections included."""
    for name, field in model.model_fields.items():
        inner = [
            part
            for part in parts_of(field.annotation)
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        if inner:
            yield from keys_of(inner[0], f"{before}{name}.")
        else:
            yield f"{before}{name}", field


def default_of(field: FieldInfo) -> str:
    """A default as the page shows it."""
    value: object = field.default
    match value:
        case _ if value is PydanticUndefined:
            return "must be given"
        case None | () | {}:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def allowed_of(field: FieldInfo) -> str:
    """What a key takes, as the page shows it."""
    choices = [
        c for part in parts_of(field.annotation) if get_origin(part) is Literal for c in get_args(part)
    ]
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in SIGNS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([*(f"`{choice}`" for choice in choices), *bounds])


def row_of(key: str, field: FieldInfo) -> str:
    """The beginning of a key's row: everything but the meaning."""
    scope = next((mark for mark in field.metadata if isinstance(mark, Scope)), None)
    assert scope is not None, f"{key} is marked neither local nor remote"
    allowed = f" {allowed_of(field)} ".replace("  ", " ")
    return f"| `{key}` | {default_of(field)} |{allowed}| {'remote' if scope.remote else 'local'} | "


ROWS = {key: row_of(key, field) for key, field in keys_of(Settings)}


def test_every_setting_has_its_row() -> None:
    lines = OPERATIONS.splitlines()
    missing = [
        row
        for row in ROWS.values()
        if not any(len(one) > len(row) + 5 and one.startswith(row) for one in lines)
    ]
    assert missing == []


def test_no_row_is_of_a_setting_that_is_gone() -> None:
    named = set(re.findall(r"^\| `([a-z_.]+)` \|", section("Settings"), re.MULTILINE))
    assert named - ROWS.keys() == set()


@pytest.mark.parametrize(("name", "place"), ALIASES.items())
def test_every_other_name_of_a_setting_is_listed(name: str, place: tuple[str, str]) -> None:
    assert f"| `{name}` | `{'.'.join(place)}` |" in OPERATIONS


# --- alarms -------------------------------------------------------------------------------------------


def trees() -> Iterator[ast.Module]:
    """The sources that can raise an alarm; the simulator's world is none of them."""
    for package in ("edge_agent", "cloud_bridge"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "sim" not in path.relative_to(ROOT).parts:
                yield ast.parse(path.read_text())


TREES = tuple(trees())


def text_of(node: ast.expr, names: dict[str, ast.expr]) -> str | None:
    """A constant's text; of an f-string what stands before the first hole, and ``{``."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return f"{text}{{"
        case ast.Subscript(value=inner):
            return text_of(inner, names)
        case ast.Name(id=name) if name in names:
            return text_of(names[name], {})
        case _:
            return None


def names_alarm(node: ast.expr) -> bool:
    """Whether this is an alarm, or the severity that follows an alarm's id in a row."""
    match node:
        case ast.Constant(value=value):
            return value in SEVERITIES
        case ast.IfExp(body=ast.Constant(value=value)):
            return value in SEVERITIES
        case ast.Call(func=ast.Name(id=name)):
            return name == "Alarm" or name.endswith("_alarm") or name in ("refusal", "unwritten")
        case _:
            return False


def ids_in(tree: ast.Module) -> Iterator[str | None]:
    """Ids of the alarms a module raises; None for one that cannot be read."""
    names = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=[first, second, *_]) if names_alarm(second) and not names_alarm(first):
                yield text_of(first, names)
            case ast.Call(func=ast.Attribute(attr="setdefault"), args=[first, second]) if names_alarm(second):
                yield text_of(first, names)
            case ast.Call(func=ast.Attribute(attr="raise_alarm"), args=[first, *_]):
                yield text_of(first, names)
            case ast.Call(func=ast.Name(id="with_alarm"), args=[_, first, *_]):
                yield text_of(first, names)
            case ast.Dict(keys=[ast.Constant(value=str(text))], values=[ast.Name(id="lost")]):
                yield text
            case _:
                pass


FOUND = {alarm for tree in TREES for alarm in ids_in(tree)}


def test_every_alarm_has_its_row_and_no_row_is_of_one_that_is_gone() -> None:
    rows = re.findall(r"^\| `([a-z_]+\{?)[a-z_]*\}?` \|", section("Alarms"), re.MULTILINE)
    assert None not in FOUND, "an alarm's id cannot be read from the code: teach it to ids_in"
    assert set(rows) == FOUND
    assert len(rows) == len(FOUND)


def mends() -> Iterator[str]:
    """What alarms tell people to do, where that is a fixed text."""
    for tree in TREES:
        for node in ast.walk(tree):
            match node:
                case ast.keyword(arg="mend", value=ast.Constant(value=str(text))):
                    yield text
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if "mend" in name.lower():
                    yield from constants(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(values=values)) if "MEND" in name:
                    yield from (text for value in values for text in constants(value))
                case ast.Tuple(elts=[_, second, *_, last]) if names_alarm(second) and not names_alarm(last):
                    yield from constants(last)
                case _:
                    pass


def constants(node: ast.expr) -> Iterator[str]:
    """The text of a node that is one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_what_an_alarm_tells_people_to_do_stands_in_its_row() -> None:
    told = set(mends())
    assert len(told) > len(FOUND) // 2, "the texts were not found in the code"
    table = section("Alarms").lower()
    assert [text for text in told if text.rstrip(".").lower() not in table] == []


# --- states, processes, commands ------------------------------------------------------------------------


def test_every_state_of_a_recording_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", section("States of a recording"), re.MULTILINE)
    assert sorted(rows) == sorted(get_args(RecordingState))


def test_every_process_and_account_is_named() -> None:
    text = section("What runs")
    missing = [
        name for name in {*agent_names(Settings()), *accounts(("left", "right"))} if f"`{name}`" not in text
    ]
    assert missing == []


def commands(group: typer.Typer, before: str) -> Iterator[str]:
    """Every command as it is typed."""
    for command in group.registered_commands:
        called = command.callback.__name__ if command.callback else ""
        yield f"{before} {command.name or called}"
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from commands(inner.typer_instance, f"{before} {inner.name}")


COMMANDS = sorted(commands(app, "ezrec"))


def test_the_commands_were_found() -> None:
    assert {"ezrec up", "ezrec config show"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"{re.escape(command)}\b", OPERATIONS + README), command


def test_every_soak_lane_is_explained() -> None:
    from tools.soak import LANES  # noqa: PLC0415 - it loads the judges; only this test needs it

    assert [lane for lane in LANES if f"`{lane}`" not in RELIABILITY] == []


NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", RELIABILITY)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_the_promises_lean_on_is_there(path: str, name: str) -> None:
    file = ROOT / path
    assert file.is_file()
    assert not name or f"def {name}(" in file.read_text()


def test_every_piece_of_code_the_promises_lean_on_is_there() -> None:
    code = r"`((?:edge_agent|cloud_bridge|schemas|tools)/[\w/]+(?:\.py)?)`"
    named = set(re.findall(code, RELIABILITY + OPERATIONS))
    assert [path for path in named if not (ROOT / path).exists()] == []
