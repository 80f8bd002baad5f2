"""What a store can do for whoever removes what is past its time. What is due is `cloud_bridge.keeping`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from cloud_bridge.stores.base import Position


@dataclass(frozen=True)
class KeptFilm:
    """What the rows say of one booking's objects in the bucket; times aware UTC text.

    Attributes:
        org, device: whose it is: its keys begin with ``{org}/{device}/``.
        status: the booking's, None when it has no row; ``cancelled_at``: when it was last cancelled.
        state: of the recording, as last told.
        upload: body of the last upload result (`schemas.recording.UploadStage`); None: there is none.
        stored_at: when that came; empty without one.
        ordered: why somebody wants it gone now (``taken down``, ``erased``); None: nobody does.
        removed: key and ``verified_at`` (as the upload says it; empty: it was not verified) of what is gone.
    """

    booking_id: str
    org: str
    device: str
    status: str | None
    cancelled_at: str | None
    state: str | None
    upload: Mapping[str, JsonValue] | None
    stored_at: str
    ordered: str | None = None
    removed: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Removal:
    """The account of one object that is gone from the bucket; no person is in it.

    ``bytes``: None when it was gone already. ``verified_at``: of the object that was removed, empty when it
    never was verified: the same key verified later is another object. ``at``: aware UTC text.
    """

    booking_id: str
    org: str
    device: str
    key: str
    bytes: int | None
    verified_at: str
    why: str
    at: str


class KeepingStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`."""

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def devices(self) -> tuple[tuple[str, str], ...]:
        """Organisation and id of every device there ever was, revoked ones too, in order."""
        ...

    def kept_films(self, limit: int, after: str | None) -> tuple[KeptFilm, ...]:
        """Bookings with an object named by their upload that is not removed; by id, behind ``after``."""
        ...

    def kept_film(self, booking_id: str, device: str | None = None) -> KeptFilm | None:
        """One booking, whatever is left of it; None when the store has neither its row nor a result of it.

        ``device`` says whose, where several devices have a booking of that id.

        Raises:
            StoreError: input, several have one and none was named.
        """
        ...

    def order_removal(self, booking_id: str, why: str, device: str | None = None) -> tuple[str, ...]:
        """Ask that a booking's objects and those of its cuts go with the next round; their ids.

        Repeating it keeps the first reason. ``device`` as in `kept_film`.

        Raises:
            Missing: there is neither its row nor a result of it.
        """
        ...

    def film_removed(self, removals: Sequence[Removal]) -> int:
        """Write that objects are gone, all or none; how many rows were new (by booking, key, verified_at).

        With a ``film.mp4`` the booking's shares end now: they count as changed, like any end of a share.
        """
        ...

    def removals(self, limit: int, after: Position | None) -> tuple[Removal, ...]:
        """The account, newest first; ``after``: moment and key of the last one seen."""
        ...

    def prune(self, before: datetime) -> Mapping[str, int]:
        """Remove rows older than that, in one transaction; how many, by table (only those that lost some).

        Bookings that ended before with their results and shares, unless an object of theirs is not removed
        or a share of theirs is alive; results without a booking (by when they came); answered or expired
        commands; closed notices and their messages. Accounts of removals and audit rows stay.
        """
        ...
