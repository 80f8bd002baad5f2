"""What a store can do for logos and intros that people upload. The files themselves are in the bucket."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, get_args

from schemas.booking import Place

Slot = Literal["logo", "sponsor1", "sponsor2", "sponsor3", "intro"]
MediaKind = Literal["png", "mp4"]

SLOTS: tuple[Slot, ...] = get_args(Slot)
ASSET_LINGER = timedelta(days=8)
"""How long an object stays after the last row that named it went: a day longer than any device keeps it."""
REMOVAL_LEASE = timedelta(minutes=10)
"""After that a removal that was begun and never ended counts as not begun."""


@dataclass(frozen=True)
class Whose:
    """Who owns media: a user, or a whole organisation."""

    of: Literal["user", "organisation"]
    id: str


@dataclass(frozen=True)
class MediaFile:
    """A file our own worker wrote. ``seconds``: None for a picture."""

    sha256: str
    bytes: int
    kind: MediaKind
    width: int
    height: int
    seconds: float | None


@dataclass(frozen=True)
class Look:
    """How a logo stands in a film. ``size``: width in hundredths of the film's height; opacity 0 to 1."""

    place: Place
    size: float
    opacity: float


LOOKS: dict[Slot, Look] = {
    "logo": Look("top_right", 16.0, 1.0),
    "sponsor1": Look("bottom_left", 16.0, 1.0),
    "sponsor2": Look("bottom_center", 16.0, 1.0),
    "sponsor3": Look("top_left", 16.0, 1.0),
}
"""Where logos stand unless somebody says otherwise; an intro has no look."""


@dataclass(frozen=True)
class MediaRow:
    """What somebody has in a slot. ``look``: None for an intro. ``updated_at``: aware UTC text."""

    whose: Whose
    slot: Slot
    file: MediaFile
    look: Look | None
    updated_at: str


class UserMediaStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`.

    A change of a row reaches every booking it concerns that has not begun: the booking counts as changed.
    An object of the bucket has a row of its own (by hash) from before it is put there until it is removed.
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def media(self, whose: Whose) -> tuple[MediaRow, ...]:
        """What somebody has, in the order of `SLOTS`."""
        ...

    def set_media(self, whose: Whose, slot: Slot, file: MediaFile, look: Look | None) -> MediaRow:
        """Put a file into a slot; without a look it keeps the one it had, else that of `LOOKS`.

        The same again changes nothing, not even ``updated_at``.
        """
        ...

    def change_look(self, whose: Whose, slot: Slot, look: Look) -> MediaRow:
        """Place, size and opacity of a logo.

        Raises:
            Missing: the slot is empty.
            Conflict: it is an intro.
        """
        ...

    def remove_media(self, whose: Whose, slot: Slot) -> bool:
        """Empty a slot; whether there was something in it."""
        ...

    def claim_asset(self, sha256: str) -> None:
        """An object is about to be put and named: it is not removed before `ASSET_LINGER` is over.

        Raises:
            StoreError: transient, it is being removed right now.
        """
        ...

    def assets_in_use(self) -> frozenset[str]:
        """Hashes that a row names."""
        ...

    def assets_due(self, before: datetime, limit: int) -> tuple[str, ...]:
        """Hashes that no row has named since before then, longest first."""
        ...

    def begin_removal(self, sha256: str, before: datetime) -> bool:
        """Take an object for removal, for `REMOVAL_LEASE`; False when it is not due (any more)."""
        ...

    def asset_removed(self, sha256: str) -> None:
        """It is gone from the bucket. Repeating it, or of one that was claimed meanwhile: nothing."""
        ...
