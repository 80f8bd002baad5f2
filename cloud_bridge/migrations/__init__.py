"""The schema for Supabase, file by file. Reading only; `cloud_bridge.migrate` applies it."""

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[0-9]{4}_[a-z0-9_]+\.sql")


@dataclass(frozen=True)
class Migration:
    """One file: its name without the ending, and its statements (one transaction)."""

    name: str
    sql: str


def migrations() -> tuple[Migration, ...]:
    """All of them, in the order in which they are applied."""
    folder = Path(__file__).parent
    files = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return tuple(Migration(path.stem, path.read_text(encoding="utf-8")) for path in files)
