"""What a mistyped command says: one line on stderr, and a code that tells whose mistake it was."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app


def ran(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


@pytest.mark.parametrize("size", ["3x3", "abc", "64x0", "64x\u00b2", "1281x720", "99999x720", "1280"])
def test_a_size_that_is_none(size: str) -> None:
    assert ran("demo", "--size", size) == (
        2,
        f"ezrec: --size {size}: expected even numbers like 1280x720\n",
    )


@pytest.mark.parametrize(("ahead", "length"), [("nan", "5"), ("5", "1e30"), ("inf", "1")])
def test_times_beyond_any_calendar(ahead: str, length: str) -> None:
    code, said = ran("book", "--in", ahead, "--for", length)
    assert code == 2
    assert said.count("\n") == 1
    assert "expected seconds" in said


def test_no_place_for_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = tmp_path / "ezrec.toml"
    config.write_text(f'[storage]\nroot = "{tmp_path}/file/below/store"\n')
    code, said = ran("up", "--config", str(config))
    assert code == 1
    assert said.count("\n") == 1
    assert "storage.root" in said


@pytest.mark.parametrize("command", ["bridge", "api"])
def test_bookings_that_cannot_be_read(tmp_path: Path, command: str) -> None:
    cloud = tmp_path / "store" / "cloud"
    cloud.mkdir(parents=True)
    (cloud / "store.sqlite").write_bytes(b"no database" * 100)
    config = tmp_path / "ezrec.toml"
    config.write_text(f'[storage]\nroot = "{tmp_path}/store"\n')
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", command, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 70
    assert "cannot start" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_suite() -> None:
    assert "./ezrec test" in ran("--help")[1]
