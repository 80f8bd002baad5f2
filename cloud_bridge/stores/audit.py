"""The account of who did what: appended to, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

Client = Literal["program", "browser", "link", "cli"]


@dataclass(frozen=True)
class Deed:
    """Something somebody did.

    Attributes:
        actor: a user's name, or ``share`` for whoever opened a link: viewers are not known.
        role: the actor's, empty for ``share``.
        client: which kind of client it came from; no address, ever.
        action: such as ``booking.change``.
        subject: id of what it was done to.
        detail: what was changed; nothing personal, no secret.
    """

    actor: str
    role: str
    client: Client
    action: str
    subject: str
    detail: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class AuditRow:
    """A deed as stored; ``seq`` rises without gaps, ``at`` is aware UTC text."""

    seq: int
    at: str
    deed: Deed


class AuditStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`."""

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def write(self, deed: Deed) -> AuditRow:
        """Append a deed. There is no way to change or remove one."""
        ...

    def read(self, limit: int, before: int | None = None, subject: str | None = None) -> tuple[AuditRow, ...]:
        """A page of deeds, newest first: those before a ``seq``, of one subject."""
        ...
