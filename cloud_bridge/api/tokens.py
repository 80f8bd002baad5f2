"""Bearer tokens that the store knows nothing of."""

from typing import Protocol

from cloud_bridge.stores.base import Principal


class TokenSource(Protocol):
    """Who tokens speak for that the store knows nothing of."""

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def principal(self, token: str) -> Principal | None:
        """Who a token speaks for; None when it is none. Blocks.

        Raises:
            StoreError: it cannot be said now.
        """
        ...


def is_jwt(token: str) -> bool:
    """Whether a Bearer token has the form of a project's, which no key of ours has."""
    return token.count(".") == 2
