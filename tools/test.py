"""`./ezrec test [--all] [pytest's own arguments]`: the suite in one run of pytest, which has the last line.

Without `--all` the slices of slow lanes (marker `lane`) are left out. Tests are handed out one by one in the
order of tests/conftest.py: those that record in real time last, and one at a time because of the lock there.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pytest_argv(arguments: list[str]) -> list[str]:
    """Return pytest's command line; what the caller gives comes later and wins."""
    everything = "--all" in arguments
    return [
        "-q",
        *("-n", "2", "--maxschedchunk", "1"),
        *(() if everything else ("-m", "not lane")),
        *(argument for argument in arguments if argument != "--all"),
    ]


if __name__ == "__main__":
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *pytest_argv(sys.argv[1:])])
