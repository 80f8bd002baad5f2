"""Passwords of local users: argon2id, by the library; how long they must be."""

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 10
MAX_LENGTH = 200
MOST_WAITING = 8


class Busy(Exception):
    """Too many are waiting already: a flood of logins must not take the machine from the recording."""


def complaint(password: str) -> str | None:
    """Why a password will not do, in one line; None when it will."""
    if len(password) < MIN_LENGTH:
        return f"the password is too short: at least {MIN_LENGTH} characters"
    if len(password) > MAX_LENGTH:
        return f"the password is too long: at most {MAX_LENGTH} characters"
    if not password.isprintable():
        return "the password has characters that cannot be typed"
    return None


class Passwords:
    """Hashes and compares. Takes 19 MiB and some 50 ms each, one after the other; few may wait."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._nobody = self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """What is kept of a password.

        Raises:
            Busy: try again in a moment.
        """
        with self._waiting():
            return self._hasher.hash(password)

    def fits(self, hashed: str | None, password: str) -> bool:
        """Whether a password is the one of a hash. Takes as long when there is none.

        Raises:
            Busy: try again in a moment.
        """
        with self._waiting():
            try:
                self._hasher.verify(hashed or self._nobody, password[: MAX_LENGTH + 1])
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None

    @contextmanager
    def _waiting(self) -> Generator[None]:
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            with self._turn:
                yield
        finally:
            self._places.release()
