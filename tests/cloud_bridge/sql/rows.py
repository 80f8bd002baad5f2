"""A row of every label in every table, and how to put another beside it. For `test_rights.py`."""

from dataclasses import dataclass, field
from typing import LiteralString

DEVICES = {"u": "court-1", "o": "court-1", "n": "court-1", "2": "court-2", "r": "old", "t": "theirs"}
OWNERS = {"u": "uma", "o": "ugo", "n": None, "2": None, "r": None, "t": "rita"}
ORGS = {label: "rival" if label == "t" else "club" for label in DEVICES}

SEED = """
    UPDATE devices SET keys_from = '2020-01-01Z' WHERE id = 'court-1';
    INSERT INTO court_bookings (device_id, id, kind, starts_at, ends_at, owner)
    SELECT b.device, b.id || x.suffix, 'cut', '2026-03-01T12:00Z', '2026-03-01T13:00Z', b.owner
    FROM (VALUES ('court-1', 'u', 'uma'), ('court-1', 'o', 'ugo'), ('court-1', 'n', NULL),
        ('court-2', '2', NULL), ('old', 'r', NULL), ('theirs', 't', 'rita')) b (device, id, owner),
        (VALUES (''), ('x')) x (suffix);
    INSERT INTO booking_people (device_id, booking_id, title)
    SELECT device_id, id, 'T' FROM court_bookings WHERE id NOT LIKE '%x';
    INSERT INTO results (device_id, booking_id, kind, body, stored_at)
    SELECT device_id, id, 'recording', '{"state": "ready"}'::jsonb, now() FROM court_bookings
    WHERE id NOT LIKE '%x'
    UNION ALL
    SELECT device_id, id, 'upload', '{"objects": [{"name": "film", "key": "k", "bytes": 7,
        "verified_at": "2026-03-01T13:00:00Z"}]}', now() FROM court_bookings WHERE id NOT LIKE '%x';
    INSERT INTO shares (share_id, device_id, booking_id, created_at, expires_at)
    SELECT 's' || id, device_id, id, now(), '2100-01-01Z' FROM court_bookings WHERE id NOT LIKE '%x';
    INSERT INTO share_tokens (token_hash, share_id)
    SELECT encode(sha256(share_id::bytea), 'hex'), share_id FROM shares;
    INSERT INTO user_media (whose, who, slot, sha256, bytes, kind, width, height, place, size, opacity)
    SELECT whose, who, 'logo', repeat('a', 64), 7, 'png', 4, 4, 'top_left', 12.5, 0.5
    FROM (VALUES ('user', 'uma'), ('user', 'ugo'), ('organisation', 'club'), ('organisation', 'rival'))
        m (whose, who);
    INSERT INTO assets (sha256) VALUES (repeat('a', 64));
    INSERT INTO device_commands (device_id, id, target, name)
    SELECT id, 'c', 'merger', 'restart' FROM devices;
    INSERT INTO notices (device_id, id, kind, subject, at) SELECT id, 'n', 'alarm', 'x', now() FROM devices;
    INSERT INTO notifications (id, device_id, subject, kind, channel, recipient, language, not_before, due_at)
    SELECT 'm' || id, id, 'x', 'alarm', 'email', 'a@example.org', 'en', now(), now() FROM devices;
    INSERT INTO recipients (device_id, channel, address) SELECT id, 'email', 'a@example.org' FROM devices;
    INSERT INTO api_tokens (token_hash, org_id, user_id, role)
    SELECT encode(sha256(id::text::bytea), 'hex'), id, 'otto', 'user' FROM organisations;
    INSERT INTO removals (device_id, booking_id, key, verified_at, org_id, why, at)
    SELECT device_id, id, 'k', '', org_id, 'cancelled', now() FROM court_bookings WHERE id NOT LIKE '%x';
    INSERT INTO removal_orders (device_id, booking_id, why, at)
    SELECT device_id, id, 'taken down', now() FROM court_bookings WHERE id NOT LIKE '%x';
"""


@dataclass(frozen=True)
class Rows:
    """One table's rows by label.

    Attributes:
        at: which columns find a label's row; the owner's rows of the seed are there.
        new: values of another row of that label.
        change: what an update sets, by the role that asks (``*``: any other).
    """

    at: dict[str, dict[str, object]]
    new: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    change: dict[str, LiteralString] = field(default_factory=dict[str, LiteralString])


def _of_bookings(new: dict[str, object], change: LiteralString, **device: LiteralString) -> Rows:
    """A table keyed by device and booking, whose new row is of the booking beside it."""
    return Rows(
        {label: {"device_id": DEVICES[label], "booking_id": label} for label in DEVICES},
        {label: {"device_id": DEVICES[label], "booking_id": f"{label}x", **new} for label in DEVICES},
        {"*": change, **device},
    )


def _of_devices(new: dict[str, object] | None, change: LiteralString, **device: LiteralString) -> Rows:
    """A table with a row a device."""
    ids = {label: DEVICES[label] for label in "n2rt"}
    return Rows(
        {label: {"device_id": name} for label, name in ids.items()},
        {label: {"device_id": name, **new} for label, name in ids.items()} if new is not None else {},
        {"*": change, **device},
    )


TIMES: dict[str, object] = {"starts_at": "2026-03-02T12:00Z", "ends_at": "2026-03-02T13:00Z"}
SHA = "b" * 64
LOGO: dict[str, object] = {
    "slot": "sponsor1",
    "sha256": SHA,
    "bytes": 7,
    "kind": "png",
    "width": 4,
    "height": 4,
    "place": "top_left",
    "size": 12.5,
    "opacity": 0.5,
}
MEDIA = {
    "u": ("user", "uma"),
    "o": ("user", "ugo"),
    "n": ("organisation", "club"),
    "t": ("organisation", "rival"),
}
CLUBS = {"n": "club", "t": "rival"}

ROWS: dict[str, Rows] = {
    "organisations": Rows(
        {k: {"id": v} for k, v in CLUBS.items()},
        {k: {"id": f"{v}-b", "name": "B"} for k, v in CLUBS.items()},
        {"*": "name = 'B'"},
    ),
    "members": Rows(
        {"u": {"user_id": "uma"}, "o": {"user_id": "ugo"}, "t": {"user_id": "rita"}},
        {k: {"org_id": ORGS[k], "user_id": f"new-{k}", "role": "admin"} for k in "uot"},
        {"*": "role = 'admin'"},
    ),
    "courts": Rows(
        {"n": {"org_id": "club", "id": "spare"}, "t": {"org_id": "rival", "id": "spare"}},
        {k: {"org_id": v, "id": "new", "name": "B"} for k, v in CLUBS.items()},
        {"*": "name = 'B'"},
    ),
    "devices": Rows(
        {k: {"id": DEVICES[k]} for k in "n2rt"},
        {k: {"id": f"new-{k}", "org_id": v, "court_id": "court-1"} for k, v in CLUBS.items()},
        {"*": "name = 'B'", "ezrec_device": "automatic = false"},
    ),
    "court_bookings": Rows(
        {k: {"device_id": DEVICES[k], "id": k} for k in DEVICES},
        {
            k: {"device_id": DEVICES[k], "id": f"{k}y", "kind": "booked", "owner": OWNERS[k], **TIMES}
            for k in DEVICES
        },
        {"*": "record = 'no'"},
    ),
    "booking_people": _of_bookings({"title": "N"}, "title = 'B'"),
    "results": _of_bookings({"kind": "news", "body": "{}", "stored_at": "now"}, """body = '{"a": 1}'"""),
    "recordings": _of_bookings({"state": "ready", "updated_at": "now"}, "state = 'partial'"),
    "videos": _of_bookings(
        {
            "name": "film",
            "filename": "f",
            "storage_path": "k",
            "file_size": 1,
            "date": "today",
            "uploaded_at": "now",
        },
        "filename = 'b'",
    ),
    "user_media": Rows(
        {k: {"whose": whose, "who": who} for k, (whose, who) in MEDIA.items()},
        {k: {"whose": whose, "who": who, **LOGO} for k, (whose, who) in MEDIA.items()},
        {"*": "size = 20"},
    ),
    "assets": Rows({"n": {"sha256": "a" * 64}}, {"n": {"sha256": SHA}}, {"*": "unused_since = now()"}),
    "shares": _of_bookings(
        {"share_id": "s9", "created_at": "now", "expires_at": "tomorrow"}, "revoked_at = now()"
    ),
    "share_tokens": Rows(
        {k: {"share_id": f"s{k}"} for k in DEVICES},
        {k: {"token_hash": SHA, "share_id": f"s{k}"} for k in DEVICES},
        {"*": "token_hash = repeat('c', 64)"},
    ),
    "device_status": _of_devices(None, "state = 'online'"),
    "device_changes": _of_devices(None, "changed = 900"),
    "device_commands": _of_devices(
        {"id": "d", "target": "camera_left", "name": "snapshot", "ordered_by": ":me"}, "answer = '{}'"
    ),
    "notices": _of_devices({"id": "o", "kind": "alarm", "subject": "x", "at": "now"}, "expanded_at = now()"),
    "notifications": _of_devices(
        {
            "id": "m9",
            "subject": "y",
            "kind": "alarm",
            "channel": "email",
            "recipient": "a@example.org",
            "language": "en",
            "not_before": "now",
            "due_at": "now",
        },
        "state = 'sent'",
    ),
    "recipients": _of_devices({"channel": "email", "address": "b@example.org"}, "quiet = '22:00-07:00'"),
    "api_tokens": Rows(
        {k: {"org_id": v} for k, v in CLUBS.items()},
        {k: {"org_id": v, "token_hash": SHA, "user_id": "x", "role": "user"} for k, v in CLUBS.items()},
        {"*": "role = 'admin'"},
    ),
    "removals": _of_bookings(
        {"key": "k", "verified_at": "", "org_id": "club", "why": "cancelled", "at": "now"}, "why = 'erased'"
    ),
    "removal_orders": _of_bookings({"why": "erased", "at": "now"}, "why = 'erased'"),
    "audit": Rows(
        {k: {"org_id": v} for k, v in CLUBS.items()},
        {
            k: {"org_id": v, "role": "r", "table_name": "t", "operation": "o", "key": "{}"}
            for k, v in CLUBS.items()
        },
        {"*": "operation = 'b'"},
    ),
    "bookings": Rows(
        {k: {"camera_id": DEVICES[k], "id": k} for k in DEVICES},
        {
            k: {
                "camera_id": DEVICES[k],
                "id": f"{k}y",
                "user_id": OWNERS[k] or "olga",
                "kind": "booked",
                "start_time": "2026-03-02T12:00:00Z",
                "end_time": "2026-03-02T13:00:00Z",
            }
            for k in DEVICES
            if k != "r"
        },
        {"*": "record = 'no'"},
    ),
    "user_settings": Rows(
        {"u": {"user_id": "uma"}, "o": {"user_id": "ugo"}},
        {"u": {"user_id": "uma", "logo_path": "me.png"}, "o": {"user_id": "ugo", "logo_path": "me.png"}},
        {"*": "logo_position = 'top-right'"},
    ),
    "shared_links": Rows(
        {k: {"booking_id": k} for k in DEVICES},
        {k: {"booking_id": f"{k}x"} for k in DEVICES},
        {"*": "revoked = true"},
    ),
    "cameras": Rows(
        {k: {"id": DEVICES[k]} for k in "n2rt"}, {k: {"id": f"new-{k}"} for k in "nt"}, {"*": "status = 'x'"}
    ),
    "system_status": Rows(
        {k: {"camera_id": DEVICES[k]} for k in "n2rt"},
        {k: {"camera_id": f"new-{k}"} for k in "nt"},
        {"*": "status = 'x'"},
    ),
}
