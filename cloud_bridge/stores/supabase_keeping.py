"""A Supabase project as `cloud_bridge.stores.keeping.KeepingStore`."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import TypeAdapter

from cloud_bridge.stores.base import Position
from cloud_bridge.stores.keeping import KeptFilm, Removal
from cloud_bridge.stores.supabase_part import NUMBER, Part, fields_of

_DEVICES = TypeAdapter(tuple[tuple[str, str], ...])
_FILMS = TypeAdapter(tuple[KeptFilm, ...])
_FILM = TypeAdapter(KeptFilm | None)
_IDS = TypeAdapter(tuple[str, ...])
_REMOVALS = TypeAdapter(tuple[Removal, ...])
_COUNTS = TypeAdapter(dict[str, int])


class KeepingPart(Part):
    """For whoever removes: of one device, or without one of all that the key may see."""

    def devices(self) -> tuple[tuple[str, str], ...]:
        return self._ask("devices", _DEVICES)

    def kept_films(self, limit: int, after: str | None) -> tuple[KeptFilm, ...]:
        return self._page("kept_films", _FILMS, limit=limit, after=after)

    def kept_film(self, booking_id: str, device: str | None = None) -> KeptFilm | None:
        return self._ask("kept_film", _FILM, booking_id=booking_id, device=device or self._device)

    def order_removal(self, booking_id: str, why: str, device: str | None = None) -> tuple[str, ...]:
        return self._ask("order_removal", _IDS, booking_id=booking_id, why=why, device=device or self._device)

    def film_removed(self, removals: Sequence[Removal]) -> int:
        return self._ask("film_removed", NUMBER, removals=[fields_of(removal) for removal in removals])

    def removals(self, limit: int, after: Position | None) -> tuple[Removal, ...]:
        return self._ask("removals", _REMOVALS, limit=limit, after=after)

    def prune(self, before: datetime) -> Mapping[str, int]:
        return self._ask("prune", _COUNTS, before=before)
