"""A Supabase project as `cloud_bridge.stores.media.UserMediaStore`; by the service-role key."""

from datetime import datetime

from pydantic import TypeAdapter

from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.media import LOOKS, REMOVAL_LEASE, SLOTS, Look, MediaFile, MediaRow, Slot, Whose
from cloud_bridge.stores.supabase_part import NOTHING, YES_OR_NO, Part, fields_of

_LEASE_S = REMOVAL_LEASE.total_seconds()
_ROW = TypeAdapter(MediaRow)
_ROWS = TypeAdapter(tuple[MediaRow, ...])
_HASHES = TypeAdapter(tuple[str, ...])


class MediaPart(Part):
    """For the API in the cloud and for whoever removes."""

    def media(self, whose: Whose) -> tuple[MediaRow, ...]:
        rows = self._ask("media", _ROWS, of=whose.of, who=whose.id)
        return tuple(sorted(rows, key=lambda row: SLOTS.index(row.slot)))

    def set_media(self, whose: Whose, slot: Slot, file: MediaFile, look: Look | None) -> MediaRow:
        default = LOOKS.get(slot)
        return self._ask(
            "set_media",
            _ROW,
            of=whose.of,
            who=whose.id,
            slot=slot,
            file=fields_of(file),
            look=fields_of(look) if look else None,
            default=fields_of(default) if default else None,
        )

    def change_look(self, whose: Whose, slot: Slot, look: Look) -> MediaRow:
        return self._ask("change_look", _ROW, of=whose.of, who=whose.id, slot=slot, look=fields_of(look))

    def remove_media(self, whose: Whose, slot: Slot) -> bool:
        return self._ask("remove_media", YES_OR_NO, of=whose.of, who=whose.id, slot=slot)

    def claim_asset(self, sha256: str) -> None:
        if not self._ask("claim_asset", YES_OR_NO, sha256=sha256, lease_s=_LEASE_S):
            raise StoreError("transient", "this file is just being removed: try again in some minutes")

    def assets_in_use(self) -> frozenset[str]:
        found = self._ask("assets_in_use", _HASHES)
        return frozenset(found)

    def assets_due(self, before: datetime, limit: int) -> tuple[str, ...]:
        return self._ask("assets_due", _HASHES, before=before, lease_s=_LEASE_S, limit=limit)

    def begin_removal(self, sha256: str, before: datetime) -> bool:
        return self._ask("begin_removal", YES_OR_NO, sha256=sha256, before=before, lease_s=_LEASE_S)

    def asset_removed(self, sha256: str) -> None:
        self._ask("asset_removed", NOTHING, sha256=sha256)
