"""The audit in the SQLite store's file. Triggers keep it append-only, whoever has the file open."""

import json
import sqlite3

from cloud_bridge.stores.audit import AuditRow, Deed
from cloud_bridge.stores.sqlite_db import InFile

_COLUMNS = "seq, at, actor, role, client, action, subject, detail"


class SqliteAudit(InFile):
    """`cloud_bridge.stores.audit.AuditStore` in a file."""

    def write(self, deed: Deed) -> AuditRow:
        detail = json.dumps(deed.detail, sort_keys=True, ensure_ascii=False)
        with self._db.write() as db:
            row = db.execute(
                "INSERT INTO audit (at, actor, role, client, action, subject, detail)"  # noqa: S608
                f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
                (
                    self._now(),
                    deed.actor,
                    deed.role,
                    deed.client,
                    deed.action,
                    deed.subject,
                    detail,
                ),
            ).fetchone()
            return _row(row)

    def read(self, limit: int, before: int | None = None, subject: str | None = None) -> tuple[AuditRow, ...]:
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM audit"  # noqa: S608 - own words
            " WHERE seq < coalesce(?, seq + 1) AND subject = coalesce(?, subject) ORDER BY seq DESC LIMIT ?",
            (before, subject, limit),
        )
        return tuple(_row(row) for row in rows)


def _row(row: sqlite3.Row) -> AuditRow:
    deed = Deed(
        row["actor"], row["role"], row["client"], row["action"], row["subject"], json.loads(row["detail"])
    )
    return AuditRow(row["seq"], row["at"], deed)
