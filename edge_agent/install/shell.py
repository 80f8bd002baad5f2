"""The system's own tools, run to their end."""

import subprocess  # noqa: TID251 - short administrative commands; nothing here lives longer than its answer
from typing import NamedTuple

PATIENCE_S = 600


class Answer(NamedTuple):
    """What a command said; ``code`` 0 is well."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The line that says why, of what it printed."""
        said = (self.err or self.out).strip().splitlines()
        return said[-1] if said else f"exit code {self.code}"


def ask(*argv: str) -> Answer:
    """Run a command with nothing to read, at most 10 minutes.

    Raises:
        OSError: it is not there; subprocess.TimeoutExpired: it did not end.
    """
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)
