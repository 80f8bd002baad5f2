"""Passwords of local users: argon2id, by the library; how long they must be."""

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 10
MAX_LENGTH = 200
_AT_ONCE = 2


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
    """Hashes and compares. Takes 19 MiB and some 50 ms each; no more than two at once, the others wait."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turn = threading.BoundedSemaphore(_AT_ONCE)
        self._nobody = self.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """What is kept of a password."""
        with self._turn:
            return self._hasher.hash(password)

    def fits(self, hashed: str | None, password: str) -> bool:
        """Whether a password is the one of a hash. Takes as long when there is none."""
        with self._turn:
            try:
                self._hasher.verify(hashed or self._nobody, password[: MAX_LENGTH + 1])
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None
