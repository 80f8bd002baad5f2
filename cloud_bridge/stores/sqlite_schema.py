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
    """
    CREATE TABLE notices (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        device TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        "at" TEXT NOT NULL,
        data TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expanded_at TEXT
    ) STRICT;
    CREATE INDEX notices_open ON notices (seq) WHERE expanded_at IS NULL;
    CREATE TABLE notifications (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        device TEXT NOT NULL,
        subject TEXT NOT NULL,
        kind TEXT NOT NULL,
        channel TEXT NOT NULL CHECK (channel IN ('email', 'webhook')),
        recipient TEXT NOT NULL,
        language TEXT NOT NULL,
        not_before TEXT NOT NULL,
        data TEXT NOT NULL,
        created_at TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'given_up')),
        due_at TEXT NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        claimed_by TEXT,
        claimed_until TEXT,
        done_at TEXT,
        why TEXT,
        UNIQUE (device, subject, kind, channel, recipient)
    ) STRICT;
    CREATE INDEX notifications_due ON notifications (due_at) WHERE state = 'waiting';
    CREATE TABLE recipients (
        device TEXT NOT NULL,
        channel TEXT NOT NULL CHECK (channel IN ('email', 'webhook')),
        address TEXT NOT NULL,
        kinds TEXT NOT NULL,
        language TEXT NOT NULL,
        quiet TEXT,
        PRIMARY KEY (device, channel, address)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE device_status (
        device TEXT PRIMARY KEY,
        org TEXT NOT NULL,
        seen_at TEXT,
        state TEXT
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE shares ADD COLUMN delivered_at TEXT;
    ALTER TABLE shares ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
    UPDATE shares SET changed = (SELECT value FROM counters WHERE name = 'changed')
        + (SELECT count(*) FROM shares AS other WHERE other.rowid <= shares.rowid);
    UPDATE counters SET value = value + (SELECT count(*) FROM shares) WHERE name = 'changed';
    """,
    """
    CREATE TABLE removals (
        booking_id TEXT NOT NULL,
        key TEXT NOT NULL,
        verified_at TEXT NOT NULL,
        org TEXT NOT NULL,
        device TEXT NOT NULL,
        bytes INTEGER,
        why TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (booking_id, key, verified_at)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX removals_at ON removals (at, key);
    CREATE TABLE removal_orders (
        booking_id TEXT PRIMARY KEY,
        why TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE VIEW objects_left AS
        SELECT r.booking_id, json_extract(o.value, '$.key') AS key,
            coalesce(json_extract(o.value, '$.verified_at'), '') AS verified_at
        FROM results r, json_each(r.body, '$.objects') o
        WHERE r.kind = 'upload' AND o.type = 'object' AND json_type(o.value, '$.key') = 'text'
            AND NOT EXISTS (SELECT 1 FROM removals d WHERE d.booking_id = r.booking_id
                AND d.key = json_extract(o.value, '$.key')
                AND d.verified_at = coalesce(json_extract(o.value, '$.verified_at'), ''));
    """,
    """
    CREATE TABLE user_media (
        "of" TEXT NOT NULL CHECK ("of" IN ('user', 'organisation')),
        who TEXT NOT NULL,
        slot TEXT NOT NULL CHECK (slot IN ('logo', 'sponsor1', 'sponsor2', 'sponsor3', 'intro')),
        sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
        bytes INTEGER NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('png', 'mp4')),
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        seconds REAL,
        place TEXT,
        size REAL CHECK (size > 0 AND size <= 100),
        opacity REAL CHECK (opacity >= 0 AND opacity <= 1),
        updated_at TEXT NOT NULL,
        PRIMARY KEY ("of", who, slot),
        CHECK ((slot = 'intro') = (kind = 'mp4') AND (slot = 'intro') = (place IS NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX user_media_sha256 ON user_media (sha256);
    CREATE TABLE assets (
        sha256 TEXT PRIMARY KEY,
        unused_since TEXT,
        removing_since TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bookings_owner ON bookings (owner, "start");
    """,
    """
    CREATE TABLE people (
        user TEXT PRIMARY KEY,
        role TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'user')),
        org TEXT,
        password TEXT,
        created_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE login_codes (
        code_hash TEXT PRIMARY KEY,
        user TEXT NOT NULL REFERENCES people (user),
        expires_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sessions (
        token_hash TEXT PRIMARY KEY,
        session_id TEXT NOT NULL UNIQUE,
        user TEXT NOT NULL REFERENCES people (user),
        client TEXT NOT NULL,
        created_at TEXT NOT NULL,
        seen_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_user ON sessions (user);
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        client TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_subject ON audit (subject, seq);
    CREATE TRIGGER audit_stays BEFORE DELETE ON audit
    BEGIN
        SELECT RAISE(ABORT, 'the audit is only appended to');
    END;
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN
        SELECT RAISE(ABORT, 'the audit is only appended to');
    END;
    """,
    """
    ALTER TABLE results ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE device_commands (
        id TEXT PRIMARY KEY,
        target TEXT NOT NULL,
        name TEXT NOT NULL,
        args TEXT NOT NULL,
        deadline TEXT,
        by TEXT,
        created_at TEXT NOT NULL,
        changed INTEGER NOT NULL UNIQUE,
        answer TEXT,
        answered_at TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX shares_changed ON shares (changed);
    """,
    """
    CREATE TABLE claims (
        booking_id TEXT PRIMARY KEY,
        code TEXT NOT NULL UNIQUE,
        expires_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE claim_openers (
        token_hash TEXT PRIMARY KEY,
        share_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
"""One step each; the file's ``user_version`` says how many it has had. Only ever appended to."""
