"""What a store can do for people who log in: local users, their passwords, first-login codes and sessions."""

import re
import secrets
from dataclasses import dataclass
from typing import Protocol

from cloud_bridge.stores.base import Principal, Role, token_hash

CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Of a code: none that is read as another. 16 of them are 80 bits."""
_CODE_LENGTH = 16
_SEEN_EVERY_S = 60
"""How coarsely a session's last use is kept: not every request is a write."""


@dataclass(frozen=True)
class Person:
    """A local user. ``org`` None: of the organisation whose store this is. ``password``: there is one."""

    user: str
    role: Role
    org: str | None
    created_at: str
    password: bool


@dataclass(frozen=True)
class Session:
    """Where somebody is logged in. ``client``: what the browser calls itself, shortened; never an address."""

    session_id: str
    user: str
    client: str
    created_at: str
    seen_at: str
    expires_at: str


@dataclass(frozen=True)
class Visit:
    """A session in use, and who it speaks for."""

    principal: Principal
    session: Session


class PeopleStore(Protocol):
    """Rules (transactions, threads, errors) as for `cloud_bridge.stores.base.Store`.

    Of codes and sessions only hashes are kept. Implementations pass `tests/conformance/people.py`.
    """

    def close(self) -> None:
        """Give back what is held. May be repeated."""
        ...

    def add(self, user: str, role: Role, org: str | None = None) -> Person:
        """A new user, without a password.

        Raises:
            Conflict: there is one, or the name is no id.
        """
        ...

    def remove(self, user: str) -> bool:
        """Remove a user, sessions, codes and keys; whether there was one. What was booked stays."""
        ...

    def person(self, user: str) -> Person | None:
        """One user."""
        ...

    def people(self) -> tuple[Person, ...]:
        """All users, by name."""
        ...

    def password(self, user: str) -> str | None:
        """The hash of a user's password."""
        ...

    def set_password(self, user: str, hashed: str, keep: str | None = None) -> None:
        """Keep a new hash; the user's codes end, and all sessions but ``keep``.

        Raises:
            Missing: there is no such user.
        """
        ...

    def issue_code(self, user: str, valid_s: float) -> str:
        """A code to log in with once, told this once. Earlier ones of the user end.

        Raises:
            Missing: there is no such user.
        """
        ...

    def redeem_code(self, code: str) -> Person | None:
        """Whose code it was, and end it; None when it is unknown, used or too old."""
        ...

    def open_session(self, user: str, client: str, valid_s: float) -> tuple[Session, str]:
        """A session and its token, told this once. Ended ones of everybody are removed.

        Raises:
            Missing: there is no such user.
        """
        ...

    def visit(self, token: str, idle_s: float) -> Visit | None:
        """The session of a token, its last use written; None when it is unknown, or past either limit."""
        ...

    def sessions(self, user: str, idle_s: float) -> tuple[Session, ...]:
        """Where a user is logged in, last used first."""
        ...

    def end_session(self, user: str, session_id: str) -> bool:
        """End one of a user's sessions; whether there was one."""
        ...


def new_code() -> str:
    """A code as people type it: ``ABCD-EFGH-JKLM-NPQR``."""
    letters = "".join(secrets.choice(CODE_LETTERS) for _ in range(_CODE_LENGTH))
    return "-".join(letters[at : at + 4] for at in range(0, _CODE_LENGTH, 4))


def code_hash(code: str) -> str:
    """What is kept of a code, however it was typed."""
    return token_hash(re.sub(r"[^A-Z0-9]", "", code.upper()[:100]))


def seen_lately(seen_s_ago: float) -> bool:
    """Whether a session's last use need not be written again."""
    return 0 <= seen_s_ago < _SEEN_EVERY_S
