"""The film driver: one growing MP4 per recording, appended by stream copy, resumable byte for byte."""

from edge_agent.drivers.film.errors import FilmBroken, FilmMismatch, SlotUnreadable
from edge_agent.drivers.film.film import Film, FilmState
from edge_agent.drivers.film.parts import PART_BYTES
from edge_agent.drivers.film.probe import FilmFormat, read_format

__all__ = [
    "PART_BYTES",
    "Film",
    "FilmBroken",
    "FilmFormat",
    "FilmMismatch",
    "FilmState",
    "SlotUnreadable",
    "read_format",
]
