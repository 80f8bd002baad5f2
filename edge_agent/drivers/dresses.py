"""What a film is begun with, kept beside it: written once, so that no later settings change it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from edge_agent.core.effects import Dress
from edge_agent.drivers.disk import write_durably

NAME = "dress.json"
_DRESS: TypeAdapter[Dress] = TypeAdapter(Annotated[Dress, "a film's format, logos and intro"])


def read_dress(folder: Path) -> Dress | None:
    """What the film in a folder was begun with; None when that is not known (any more)."""
    try:
        return _DRESS.validate_json((folder / NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def fix_dress(folder: Path, dress: Dress) -> Dress:
    """Keep what a film is begun with, durably, unless that was done before; what is kept then.

    Raises:
        OSError: the disk will not.
    """
    kept = read_dress(folder)
    if kept is None:
        write_durably(folder / NAME, json.dumps(asdict(dress)).encode())
    return kept or dress
