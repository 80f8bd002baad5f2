"""A Supabase project as a store: every method is one function in its database (`cloud_bridge/migrations`)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, JsonValue, TypeAdapter

from cloud_bridge.stores.base import (
    BookingQuery,
    BookingRow,
    Conflict,
    Counter,
    NewBooking,
    Position,
    Principal,
    RecordingRow,
    Role,
    ShareRow,
    StoredResult,
    new_token,
    token_hash,
)
from cloud_bridge.stores.supabase_client import Limits, Project, Rpc, TooLarge
from cloud_bridge.stores.supabase_device import DevicePart
from cloud_bridge.stores.supabase_keeping import KeepingPart
from cloud_bridge.stores.supabase_media import MediaPart
from cloud_bridge.stores.supabase_messages import MessagePart
from cloud_bridge.stores.supabase_part import NOTHING, NUMBER, YES_OR_NO, fields_of
from cloud_bridge.stores.supabase_rows import polled
from edge_agent.core.effects import Polled
from schemas.base import ID_PATTERN

PAGE = 500


class _Made(BaseModel):
    booking: BookingRow
    fresh: bool


_MADE = TypeAdapter(_Made)
_BOOKING = TypeAdapter(BookingRow)
_MAYBE_BOOKING = TypeAdapter(BookingRow | None)
_BOOKINGS = TypeAdapter(tuple[BookingRow, ...])
_RESULTS = TypeAdapter(dict[str, StoredResult])
_RECORDINGS = TypeAdapter(tuple[RecordingRow, ...])
_SHARE = TypeAdapter(ShareRow)
_MAYBE_SHARE = TypeAdapter(ShareRow | None)
_SHARES = TypeAdapter(tuple[ShareRow, ...])
_PRINCIPAL = TypeAdapter(Principal | None)
_ANYTHING: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class SupabaseStore(DevicePart, MessagePart, KeepingPart, MediaPart):
    """`Store` and the stores of device, messages, keeping and media in one project, as far as the key allows.

    A device key reads its own bookings and writes its own results; the service-role key does everything.
    """

    def __init__(
        self, project: Project, device: str | None, zone: str = "UTC", limits: Limits | None = None
    ) -> None:
        """Prepare the client; nothing is sent.

        Args:
            project: where, and who asks.
            device: whose rows; None: those of all devices the key may see, where that makes sense.
            zone: of the device: what a time without a zone is meant in.
            limits: of every call.

        Raises:
            StoreError: permanent, the address or a key is none.
        """
        super().__init__(Rpc(project, limits), device)
        self._zone = _zone(zone)

    # --- bookings ---

    def poll(self, cursor: int) -> Polled:
        limit = PAGE
        while True:
            try:
                page = self._ask("poll", _ANYTHING, cursor=cursor, limit=limit)
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
            else:
                return polled(page, cursor, self._zone)

    def create_booking(self, new: NewBooking) -> tuple[BookingRow, bool]:
        made = self._ask("create_booking", _MADE, new=fields_of(new))
        return made.booking, made.fresh

    def change_booking(
        self, booking_id: str, changes: Mapping[str, object], seen: int | None = None
    ) -> BookingRow:
        return self._ask("change_booking", _BOOKING, booking_id=booking_id, changes=changes, seen=seen)

    def booking(self, booking_id: str) -> BookingRow | None:
        return self._ask("booking", _MAYBE_BOOKING, booking_id=booking_id)

    def bookings(self, query: BookingQuery) -> tuple[BookingRow, ...]:
        return self._ask("bookings", _BOOKINGS, query=fields_of(query))

    def automatic(self) -> bool:
        return self._ask("automatic", YES_OR_NO)

    def set_automatic(self, *, on: bool) -> None:
        self._ask("set_automatic", NOTHING, on=on)

    # --- results ---

    def save_result(self, booking_id: str, kind: str, body: Mapping[str, JsonValue]) -> bool:
        return self._ask("save_result", YES_OR_NO, booking_id=booking_id, kind=kind, body=body)

    def results(self, booking_id: str) -> Mapping[str, StoredResult]:
        return self._ask("results", _RESULTS, booking_id=booking_id)

    def recordings(self, owner: str | None, limit: int, after: Position | None) -> tuple[RecordingRow, ...]:
        try:
            return self._ask("recordings", _RECORDINGS, owner=owner, limit=limit, after=after)
        except TooLarge:
            if limit < 2:
                raise
        first = self.recordings(owner, limit // 2, after)
        if len(first) < limit // 2:
            return first
        last = first[-1].booking
        return (*first, *self.recordings(owner, limit - len(first), Position(last.stored.start, last.id)))

    # --- shares ---

    def make_share(self, booking_id: str, expires_at: datetime) -> ShareRow:
        return self._ask("make_share", _SHARE, booking_id=booking_id, expires_at=expires_at)

    def issue_link(self, booking_id: str, expires_at: datetime) -> tuple[ShareRow, str]:
        token = new_token()
        share = self._ask(
            "issue_link", _SHARE, booking_id=booking_id, expires_at=expires_at, token_hash=token_hash(token)
        )
        return share, token

    def share_of(self, token: str) -> ShareRow | None:
        return self._ask("share_of", _MAYBE_SHARE, token_hash=token_hash(token))

    def share(self, share_id: str) -> ShareRow | None:
        return self._ask("share", _MAYBE_SHARE, share_id=share_id)

    def shares(self, owner: str | None, limit: int, after: Position | None) -> tuple[ShareRow, ...]:
        return self._ask("shares", _SHARES, owner=owner, limit=limit, after=after)

    def revoke_share(self, share_id: str) -> ShareRow:
        return self._ask("revoke_share", _SHARE, share_id=share_id)

    def count(self, share_id: str, what: Counter) -> None:
        self._ask("count", NOTHING, share_id=share_id, what=what)

    # --- keys ---

    def make_token(self, role: Role, user: str) -> str:
        if not re.fullmatch(ID_PATTERN, user):
            raise Conflict(f"{user!r} is no id: {ID_PATTERN} expected")
        token = new_token()
        self._ask("make_token", NOTHING, role=role, user=user, token_hash=token_hash(token))
        return token

    def principal(self, token: str) -> Principal | None:
        return self._ask("principal", _PRINCIPAL, token_hash=token_hash(token))

    def revoke_tokens(self, user: str) -> int:
        return self._ask("revoke_tokens", NUMBER, user=user)


def _zone(name: str) -> tzinfo:
    """A zone by its name; UTC where the name is none, as everywhere (`Device.timezone`)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
