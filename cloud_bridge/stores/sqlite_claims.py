"""Codes for films in the SQLite store's file."""

import secrets
from datetime import timedelta

from cloud_bridge.stores.base import new_token, token_hash
from cloud_bridge.stores.claims import DIGITS, ClaimCode
from cloud_bridge.stores.sqlite_db import InFile
from schemas.base import utc_text


class SqliteClaims(InFile):
    """`cloud_bridge.stores.claims.ClaimStore` in a file."""

    def claim_code(self, booking_id: str, valid_s: float) -> ClaimCode:
        now = self._clock.wall()
        with self._db.write() as db:
            db.execute("DELETE FROM claims WHERE expires_at <= ?", (utc_text(now),))
            row = db.execute("SELECT * FROM claims WHERE booking_id = ?", (booking_id,)).fetchone()
            if row is not None:
                return ClaimCode(booking_id, row["code"], row["expires_at"])
            taken = {row["code"] for row in db.execute("SELECT code FROM claims")}
            while (code := f"{secrets.randbelow(10**DIGITS):0{DIGITS}}") in taken:
                pass
            made = ClaimCode(booking_id, code, utc_text(now + timedelta(seconds=valid_s)))
            db.execute("INSERT INTO claims VALUES (?, ?, ?)", (booking_id, code, made.expires_at))
            return made

    def claimed(self, code: str) -> str | None:
        row = self._db.row(
            "SELECT booking_id FROM claims WHERE code = ? AND expires_at > ?",
            (code, self._now()),
        )
        return str(row["booking_id"]) if row else None

    def add_opener(self, share_id: str) -> str:
        opener = new_token()
        with self._db.write() as db:
            db.execute("DELETE FROM claim_openers WHERE share_id NOT IN (SELECT share_id FROM shares)")
            db.execute("INSERT INTO claim_openers VALUES (?, ?)", (token_hash(opener), share_id))
        return opener

    def opens(self, share_id: str, opener: str) -> bool:
        row = self._db.row(
            "SELECT 1 AS there FROM claim_openers WHERE token_hash = ? AND share_id = ?",
            (token_hash(opener), share_id),
        )
        return row is not None
