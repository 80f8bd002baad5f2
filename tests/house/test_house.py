"""The house rules that no linter knows: sizes, places, links, and what must never be committed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("edge_agent", "cloud_bridge", "schemas")
TOP_LEVEL = {
    *PRODUCT,
    *(".ci", ".github", "docs", "mosquitto", "systemd", "tests", "tools"),
    *(".editorconfig", ".gitattributes", ".gitignore", ".npmrc"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("ezrec", "pyproject.toml", "requirements-dev.lock", "requirements.lock"),
}
EDGE_AGENT = {"agents", "assets", "core", "drivers", "runtime", "sim", "cli", "demo", "bench", "soak"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# Spelled in pieces, because this file is a tracked one too.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry.npm" + "js.",
    "deb.deb" + "ian.org",
    "/sim" + "ple/",
)
MACHINES = (
    f"{ROOT}/",
    f"{Path.home()}/",
    "/ro" + "ot/",
    "/wo" + "rk/main",
    "/wo" + "rk/shared",
    "/tmp/ba" + "sh_jobs",
)
NEVER_COMMITTED = re.compile(
    "|".join(re.escape(text) for text in (*REGISTRIES, *MACHINES) if text.strip("/"))
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)\s]+)\)")
INLINE_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def tracked() -> list[PurePosixPath]:
    """Return what git tracks here and what is still on disk."""
    # Whoever owns the clone (CI runs as root): only names are read.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [PurePosixPath(name) for name in listing.split("\0") if name and (ROOT / name).exists()]


TRACKED = tracked()
SOURCES = [path for path in TRACKED if path.suffix == ".py"]
PRODUCT_SOURCES = [path for path in SOURCES if path.parts[0] in PRODUCT]
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def imports(path: PurePosixPath) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def functions(path: PurePosixPath) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_of_the_product_is_longer_than_a_sitting() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in PRODUCT_SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_of_the_product_is_longer_than_a_screen() -> None:
    lengths = {
        f"{path}:{function.lineno} {function.name}": (function.end_lineno or function.lineno)
        - function.lineno
        + 1
        for path in PRODUCT_SOURCES
        for function in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_every_agent_has_a_test() -> None:
    agents = [path for path in PRODUCT_SOURCES if path.match("edge_agent/agents/[!_]*.py")]
    tests = {path for path in SOURCES if path.parts[0] == "tests"}
    assert [
        str(a) for a in agents if not any(t.match(f"tests/agents/test_{a.stem}*.py") for t in tests)
    ] == []


def test_tests_stand_where_their_subject_stands() -> None:
    mirrored = [path for path in SOURCES if path.match("tests/*/test_*.py")]
    subjects = {
        path.parts[1] for path in PRODUCT_SOURCES if path.parts[0] == "edge_agent" and len(path.parts) > 2
    }
    own = {"browser", "cloud_bridge", "conformance", "contract", "e2e", "hardware", "house", "integration"}
    own |= {"scenarios", "schemas", "support", "tools"}
    assert {path.parts[1] for path in mirrored} - subjects - own == set()


def test_everything_is_where_design_says() -> None:
    assert {path.parts[0] for path in TRACKED} - TOP_LEVEL == set()
    assert {path.parts[1] for path in TRACKED if path.match("edge_agent/*/**/*")} - EDGE_AGENT == set()


def test_schemas_needs_nothing_but_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "pydantic", "pydantic_core", "schemas"}
    strangers = {
        f"{path}: {name}"
        for path in PRODUCT_SOURCES
        if path.parts[0] == "schemas"
        for name in imports(path)
        if name.partition(".")[0] not in allowed
    }
    assert strangers == set()


@pytest.mark.parametrize("banned", ["open", "print", "input", "exec", "eval", "__import__"])
def test_agents_and_core_call_nothing_that_reaches_outside(banned: str) -> None:
    calls = {
        f"{path}:{node.lineno}"
        for path in PRODUCT_SOURCES
        if path.parts[:2] in {("edge_agent", "agents"), ("edge_agent", "core")}
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == banned
    }
    assert calls == set()


def test_agents_and_core_name_only_pure_paths() -> None:
    impure = {
        f"{path}:{node.lineno}"
        for path in PRODUCT_SOURCES
        if path.parts[:2] in {("edge_agent", "agents"), ("edge_agent", "core")}
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "pathlib"
        if any(alias.name not in {"PurePath", "PurePosixPath"} for alias in node.names)
    }
    assert impure == set()


def test_links_between_pages_lead_somewhere() -> None:
    dead = {
        f"{page}: {target}"
        for page in PAGES
        for target in LINK.findall(INLINE_CODE.sub("", (ROOT / page).read_text()))
        if (place := target.partition("#")[0]) and not (ROOT / page.parent / place).exists()
    }
    assert dead == set()


def test_nothing_of_this_machine_and_no_registry_is_committed() -> None:
    found: set[str] = set()
    for path in TRACKED:
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue  # a picture or a film: nothing in it is read as a path
        found |= {f"{path}: {match.group()}" for match in NEVER_COMMITTED.finditer(text)}
    assert found == set()


@pytest.mark.parametrize("name", ["uv.lock", "package-lock.json", ".env"])
def test_files_that_name_hosts_or_secrets_are_not_tracked(name: str) -> None:
    assert [str(path) for path in TRACKED if path.name == name] == []


def test_every_dependency_is_locked_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    product = [*project["project"]["dependencies"], *project["dependency-groups"]["demo"]]
    groups = {
        "requirements.lock": product,
        "requirements-dev.lock": [*product, *project["dependency-groups"]["dev"]],
    }
    for lock, wanted in groups.items():
        text = (ROOT / lock).read_text()
        names = {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in wanted}
        assert names - set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)) == set(), lock
        unhashed = [pin for pin in re.split(r"\n(?=[a-z0-9])", text.strip()) if "--hash=sha256:" not in pin]
        assert unhashed == [], lock


def test_both_locks_agree() -> None:
    pins = [
        set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0] - pins[1] == set()
