"""People and their sessions in the SQLite store's file."""

import re
import secrets
import sqlite3
from contextlib import suppress
from datetime import datetime

from cloud_bridge.stores.base import Conflict, Missing, Principal, Role, StoreError, new_token, token_hash
from cloud_bridge.stores.people import Person, Session, Visit, code_hash, new_code, seen_lately
from cloud_bridge.stores.sqlite_db import InFile
from schemas.base import ID_PATTERN

_PERSON = "user, role, org, created_at, password IS NOT NULL AS password"
_SESSION = "session_id, user, client, created_at, seen_at, expires_at"


class SqlitePeople(InFile):
    """`cloud_bridge.stores.people.PeopleStore` in a file."""

    # --- users ---

    def add(self, user: str, role: Role, org: str | None = None) -> Person:
        for name in (user, org or user):
            if not re.fullmatch(ID_PATTERN, name):
                raise Conflict(f"{name!r} is no id: {ID_PATTERN} expected")
        with self._db.write() as db:
            if _person(db, user) is not None:
                raise Conflict(f"there is a user {user}")
            db.execute("INSERT INTO people VALUES (?, ?, ?, NULL, ?)", (user, role, org, self._now()))
            return _must(db, user)

    def remove(self, user: str) -> bool:
        with self._db.write() as db:
            there = _person(db, user) is not None
            for table in ("login_codes", "sessions", "people"):
                db.execute(f"DELETE FROM {table} WHERE user = ?", (user,))  # noqa: S608 - own words
            db.execute(
                "UPDATE api_tokens SET revoked_at = ? WHERE user = ? AND revoked_at IS NULL",
                (self._now(), user),
            )
            return there

    def person(self, user: str) -> Person | None:
        with self._db.read() as db:
            return _person(db, user)

    def people(self) -> tuple[Person, ...]:
        return tuple(_read(row) for row in self._db.rows(f"SELECT {_PERSON} FROM people ORDER BY user"))  # noqa: S608

    # --- passwords and codes ---

    def password(self, user: str) -> str | None:
        row = self._db.row("SELECT password FROM people WHERE user = ?", (user,))
        return row["password"] if row else None

    def set_password(self, user: str, hashed: str, keep: str | None = None) -> None:
        with self._db.write() as db:
            _must(db, user)
            db.execute("UPDATE people SET password = ? WHERE user = ?", (hashed, user))
            db.execute("DELETE FROM login_codes WHERE user = ?", (user,))
            db.execute("DELETE FROM sessions WHERE user = ? AND session_id IS NOT ?", (user, keep))

    def issue_code(self, user: str, valid_s: float) -> str:
        code = new_code()
        with self._db.write() as db:
            _must(db, user)
            db.execute("DELETE FROM login_codes WHERE user = ?", (user,))
            row = (code_hash(code), user, self._now(valid_s))
            db.execute("INSERT INTO login_codes VALUES (?, ?, ?)", row)
        return code

    def redeem_code(self, code: str) -> Person | None:
        with self._db.write() as db:
            row = db.execute(
                "DELETE FROM login_codes WHERE code_hash = ? AND expires_at > ? RETURNING user",
                (code_hash(code), self._now()),
            ).fetchone()
            return _person(db, row["user"]) if row else None

    # --- sessions ---

    def open_session(self, user: str, client: str, valid_s: float) -> tuple[Session, str]:
        token, now = new_token(), self._now()
        session = Session("l" + secrets.token_hex(8), user, _printable(client), now, now, self._now(valid_s))
        with self._db.write() as db:
            _must(db, user)
            db.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
            db.execute(
                f"INSERT INTO sessions ({_SESSION}, token_hash) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (session.session_id, user, session.client, now, now, session.expires_at, token_hash(token)),
            )
        return session, token

    def visit(self, token: str, idle_s: float) -> Visit | None:
        hashed, now = token_hash(token), self._now()
        row = self._db.row(
            "SELECT s.session_id, s.user, s.client, s.created_at, s.seen_at, s.expires_at, p.role, p.org"
            " FROM sessions s JOIN people p USING (user)"
            " WHERE s.token_hash = ? AND s.expires_at > ? AND s.seen_at > ?",
            (hashed, now, self._now(-idle_s)),
        )
        if row is None:
            return None
        ago = self._clock.wall() - datetime.fromisoformat(row["seen_at"])
        if not seen_lately(ago.total_seconds()):
            # On a full disk whoever is logged in must still see that it is full.
            with suppress(StoreError), self._db.write() as db:
                db.execute("UPDATE sessions SET seen_at = ? WHERE token_hash = ?", (now, hashed))
        return Visit(Principal(row["user"], row["role"], row["org"]), _session(row))

    def sessions(self, user: str, idle_s: float) -> tuple[Session, ...]:
        rows = self._db.rows(
            f"SELECT {_SESSION} FROM sessions WHERE user = ? AND expires_at > ? AND seen_at > ?"  # noqa: S608
            " ORDER BY seen_at DESC, created_at DESC, session_id",
            (user, self._now(), self._now(-idle_s)),
        )
        return tuple(_session(row) for row in rows)

    def end_session(self, user: str, session_id: str) -> bool:
        with self._db.write() as db:
            done = db.execute("DELETE FROM sessions WHERE user = ? AND session_id = ?", (user, session_id))
            return done.rowcount == 1


def _printable(client: str) -> str:
    return "".join(letter for letter in client if letter.isprintable())[:120]


def _person(db: sqlite3.Connection, user: str) -> Person | None:
    row = db.execute(f"SELECT {_PERSON} FROM people WHERE user = ?", (user,)).fetchone()  # noqa: S608
    return _read(row) if row else None


def _must(db: sqlite3.Connection, user: str) -> Person:
    person = _person(db, user)
    if person is None:
        raise Missing(f"there is no user {user}")
    return person


def _read(row: sqlite3.Row) -> Person:
    return Person(row["user"], row["role"], row["org"], row["created_at"], bool(row["password"]))


def _session(row: sqlite3.Row) -> Session:
    names = ("session_id", "user", "client", "created_at", "seen_at", "expires_at")
    return Session(*(row[name] for name in names))
