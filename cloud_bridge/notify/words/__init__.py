"""What messages say, one file a language, all with the same keys.

Holes are filled by `str.format` with values that were made harmless before; a value is never a format itself.
``days`` and ``months`` are lists parted by spaces.
"""

from collections.abc import Mapping

from cloud_bridge.notify.words import de, en, es

WORDS: Mapping[str, Mapping[str, str]] = {"en": en.WORDS, "de": de.WORDS, "es": es.WORDS}


def words(language: str) -> Mapping[str, str]:
    """The catalogue of a language; English when there is none."""
    return WORDS.get(language, en.WORDS)
