"""What a store can do for players without a contact in the booking: a short code for a film."""

from dataclasses import dataclass
from typing import Protocol

DIGITS = 6


@dataclass(frozen=True)
class ClaimCode:
    """A code of six digits that leads to a booking's film until ``expires_at`` (aware UTC text)."""

    booking_id: str
    code: str
    expires_at: str


class ClaimStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`.

    Codes are told to whoever asks at the court and are short, so they are kept as they are; whoever asks for
    them bounds the tries.
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def claim_code(self, booking_id: str, valid_s: float) -> ClaimCode:
        """The booking's code; a new one when none still works. No two live ones are the same."""
        ...

    def claimed(self, code: str) -> str | None:
        """The booking a live code leads to."""
        ...

    def add_opener(self, share_id: str) -> str:
        """A token for the browser that gave the code, told this once; only its hash is kept."""
        ...

    def opens(self, share_id: str, opener: str) -> bool:
        """Whether a token is one of this share's openers."""
        ...
