"""The tables of the SQLite store, step by step."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counters VALUES ('changed', 0);
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE bookings (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('booked', 'manual', 'cut')),
        "start" TEXT NOT NULL,
        "end" TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('confirmed', 'cancelled')),
        record TEXT NOT NULL CHECK (record IN ('yes', 'no')),
        audience TEXT NOT NULL,
        layout TEXT,
        deliver TEXT NOT NULL,
        owner TEXT,
        "of" TEXT,
        title TEXT,
        contacts TEXT NOT NULL,
        request TEXT NOT NULL,
        changed INTEGER NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        cancelled_at TEXT,
        CHECK ("end" >= "start")
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bookings_start ON bookings ("start", id);
    CREATE TABLE results (
        booking_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        stored_at TEXT NOT NULL,
        PRIMARY KEY (booking_id, kind)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE shares (
        share_id TEXT PRIMARY KEY,
        booking_id TEXT NOT NULL REFERENCES bookings (id),
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL,
        revoked_at TEXT,
        views INTEGER NOT NULL DEFAULT 0,
        downloads INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX shares_booking ON shares (booking_id);
    CREATE TABLE share_tokens (
        token_hash TEXT PRIMARY KEY,
        share_id TEXT NOT NULL REFERENCES shares (share_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX share_tokens_share ON share_tokens (share_id);
    CREATE TABLE api_tokens (
        token_hash TEXT PRIMARY KEY,
        role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'user')),
        user TEXT NOT NULL,
        created_at TEXT NOT NULL,
        revoked_at TEXT
    ) STRICT, WITHOUT ROWID;
    """,
)
"""One step each; the file's ``user_version`` says how many it has had. Only ever appended to."""
