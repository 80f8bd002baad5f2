"""What can go wrong with a film, as its callers must tell it apart."""

from __future__ import annotations


class FilmMismatch(Exception):
    """SPS, PPS, picture size or rate of a slot differ from the film's: render it again. Nothing changed."""


class SlotUnreadable(Exception):
    """A slot file is missing, no whole MP4 of H.264, or not what was announced. The film is unchanged."""


class FilmBroken(Exception):
    """This object can no longer write (disk full, I/O error): release it and open the film again."""


class ReplayMismatch(Exception):
    """The muxer did not repeat the ledger's offsets: the film has to be made again from its own packets."""
