"""`./ezrec check`: lint, format, types, layers, generated files; a line each, then what the failed ones say.

Starts the tools side by side and writes only their caches. Exits 1 when one of them is not content.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CHECKS: dict[str, list[str]] = {  # the slow ones first, so that they run beside each other
    "mypy": ["mypy", "."],
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "lint-imports": ["lint-imports", "--no-logo"],
    "generated": ["python", "-m", "schemas.render", "--check"],
    "units": ["python", "-m", "tools.units", "--check"],
    "ruff": ["ruff", "check", "--output-format", "concise", "."],
    "format": ["ruff", "format", "--check", "."],
}


class Outcome(NamedTuple):
    passed: bool
    duration_s: float
    output: str


def run(argv: list[str]) -> Outcome:
    """Run one tool of the environment that runs this."""
    started_s = time.monotonic()
    environment = {**os.environ, "NO_COLOR": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    program = Path(sys.executable).with_name(argv[0])
    done = subprocess.run(
        [str(program), *argv[1:]],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Outcome(done.returncode == 0, time.monotonic() - started_s, done.stdout)


def chosen(names: list[str]) -> dict[str, list[str]]:
    """Return the named checks, all when none is named; an unknown name ends the program."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        sys.exit(f"check: no check called {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    return {name: argv for name, argv in CHECKS.items() if not names or name in names}


def main(names: list[str]) -> int:
    checks = chosen(names)
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        running: dict[Future[Outcome], str] = {pool.submit(run, argv): name for name, argv in checks.items()}
        for future in as_completed(running):
            name, outcome = running[future], future.result()
            print(
                f"{name:<13} {'ok' if outcome.passed else 'FAILED':<7} {outcome.duration_s:5.1f} s",
                flush=True,
            )
            if not outcome.passed:
                failed[name] = outcome.output
    for name, output in failed.items():
        print(f"\n--- {name}\n{output.rstrip()}")
    print(f"\ncheck: failed: {', '.join(failed)}" if failed else f"check: all {len(checks)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
