"""The predecessor's names, times and words: read, written, and its rows taken over."""

import hashlib
from typing import Any

import psycopg
import pytest

from cloud_bridge.migrations import migrations
from tests.cloud_bridge.sql.club import SERVICE, Who, device, person, seed
from tests.support.postgres import Connection, Server, asking, call, connected

UMA = person("uma")
DEVICE = {"device": "court-1"}


def write(db: Connection, who: Who, statement: str, *values: object) -> list[dict[str, Any]]:
    """A statement as a page's client sends it; the rows it returns."""
    with asking(db, who.role, who.claims):
        done = db.execute(statement.encode(), values)
        return done.fetchall() if done.description else []


def insert(db: Connection, who: Who = UMA, **columns: Any) -> dict[str, Any]:
    names = ", ".join(columns)
    holes = ", ".join(["%s"] * len(columns))
    (row,) = write(db, who, f"INSERT INTO bookings ({names}) VALUES ({holes}) RETURNING *", *columns.values())  # noqa: S608
    return row


def test_a_booking_as_its_page_wrote_it(db: Connection, ask: Any) -> None:
    row = insert(
        db,
        user_id="uma",
        camera_id="court-1",
        start_time="2026-07-01T14:00:00+02:00",
        end_time="2026-07-01T15:30:00+02:00",
        status="confirmed",
        title="Doubles",
        email="anna@example.org",
    )
    assert (row["start_time"], row["end_time"]) == (
        "2026-07-01T12:00:00.000000Z",
        "2026-07-01T13:30:00.000000Z",
    )
    assert (row["date"], row["status"], row["title"], row["email"]) == (
        *("2026-07-01", "confirmed"),
        *("Doubles", "anna@example.org"),
    )
    booking = ask("booking", **DEVICE, booking_id=row["id"])
    assert booking["stored"]["owner"] == "uma"
    assert (booking["title"], booking["contacts"]) == ("Doubles", ["anna@example.org"])
    assert (
        row["recording_id"]
        == row["id"]
        == ask("poll", device("court-1"), **DEVICE, cursor=0)["rows"][0]["id"]
    )


@pytest.mark.parametrize(
    ("start", "end", "date", "stored"),
    [
        # The court is in Berlin: two hours ahead in July, one in January.
        ("2026-07-01T14:00:00Z", "2026-07-01T15:00:00.5Z", None,
         ("07-01T14:00:00", "07-01T15:00:00.500000")),
        ("2026-07-01T14:00:00-04:00", "2026-07-01T15:00:00-0400", None,
         ("07-01T18:00:00", "07-01T19:00:00")),
        ("2026-07-01 14:00:00+00", "2026-07-01 15:00:00+00:00", None,
         ("07-01T14:00:00", "07-01T15:00:00")),
        ("2026-07-01T14:00:00", "2026-07-01T15:00", None,
         ("07-01T12:00:00", "07-01T13:00:00")),
        ("14:00", "15:00", "2026-01-05", ("01-05T13:00:00", "01-05T14:00:00")),
        ("9:30", "10:30:00", "2026-07-01", ("07-01T07:30:00", "07-01T08:30:00")),
        ("14:00:00.123456", "15:00", "2026-07-01", ("07-01T12:00:00.123456", "07-01T13:00:00")),
        ("23:00", "00:30", "2026-07-01", ("07-01T21:00:00", "07-01T22:30:00")),
        # The night the clock goes back is an hour longer.
        ("01:00", "04:00", "2026-10-25", ("10-24T23:00:00", "10-25T03:00:00")),
    ],
)  # fmt: skip
def test_every_form_of_time_it_wrote(
    db: Connection, start: str, end: str, date: str | None, stored: Any
) -> None:
    row = insert(db, camera_id="court-1", start_time=start, end_time=end, date=date)
    assert (row["start_time"], row["end_time"]) == tuple(
        f"2026-{moment if '.' in moment else f'{moment}.000000'}Z" for moment in stored
    )


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"start_time": "14:00"}, "PT400"),
        ({"start_time": None}, "PT400"),
        ({"start_time": "now"}, "PT400"),
        ({"start_time": "infinity"}, "PT400"),
        ({"start_time": "25:00", "date": "2026-07-01"}, "PT400"),
        ({"start_time": "2026-13-01T14:00:00Z"}, "PT400"),
        ({"start_time": "14:00", "date": "1/7/2026"}, "PT400"),
        ({"end_time": "2026-07-01T13:00:00Z"}, "PT409"),
        ({"status": "playing"}, "PT400"),
        ({"camera_id": "pi-001"}, "PT404"),
        ({"camera_id": "theirs"}, "PT404"),
        ({"camera_id": None}, "PT404"),
        ({"id": "no id at all"}, "23514"),
        ({"user_id": "ugo"}, "42501"),
    ],
)
def test_what_makes_no_booking_says_so(db: Connection, columns: dict[str, Any], code: str) -> None:
    times = {"start_time": "2026-07-01T14:00:00Z", "end_time": "2026-07-01T15:00:00Z"}
    with pytest.raises(psycopg.Error) as error:
        insert(db, UMA, **{"camera_id": "court-1", **times, **columns})
    assert error.value.sqlstate == code
    assert db.execute("SELECT count(*) AS n FROM court_bookings").fetchone() == {"n": 0}


@pytest.mark.parametrize("camera", [None, "", "0"])
def test_without_a_camera_it_is_the_only_one(db: Connection, camera: str | None) -> None:
    row = insert(
        db,
        person("rita"),
        camera_id=camera,
        start_time="2026-07-01T14:00:00Z",
        end_time="2026-07-01T15:00:00Z",
    )
    assert (row["camera_id"], row["user_id"]) == ("theirs", "rita")


def test_a_taken_court_is_refused_here_too(db: Connection) -> None:
    insert(db, camera_id="court-1", start_time="14:00", end_time="15:00", date="2026-07-01")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        insert(
            db, person("ugo"), camera_id="court-1", start_time="14:59", end_time="16:00", date="2026-07-01"
        )


def test_a_booking_changes_as_its_page_changed_it(db: Connection, ask: Any) -> None:
    row = insert(db, id="A-1", camera_id="court-1", start_time="14:00", end_time="15:00", date="2026-07-01")
    assert row["id"] == "a-1"

    def update(change: str) -> dict[str, Any]:
        (after,) = write(db, UMA, f"UPDATE bookings SET {change} WHERE id = 'a-1' RETURNING *")  # noqa: S608
        return after

    assert update("end_time = '15:30', updated_at = 'now()'")["end_time"] == "2026-07-01T13:30:00.000000Z"
    moved = update("date = '2026-07-02'")
    assert (moved["start_time"], moved["end_time"]) == (
        "2026-07-02T12:00:00.000000Z",
        "2026-07-02T13:30:00.000000Z",
    )
    assert (
        update("start_time = '2026-07-02T10:00:00Z', end_time = '2026-07-02T11:00:00Z'")["date"]
        == "2026-07-02"
    )
    assert update("status = 'Completed'")["status"] == "confirmed"
    assert update("status = 'cancelled'")["status"] == "cancelled"
    assert update("status = 'scheduled'")["status"] == "confirmed"
    assert update("email = 'ben@example.org', title = 'T'")["contacts"] == ["ben@example.org"]
    assert update("email = NULL")["contacts"] == []
    for change in ("user_id = 'ugo'", "camera_id = 'court-2'", "id = 'b'"):
        with pytest.raises(psycopg.Error) as error:
            update(change)
        assert error.value.sqlstate == "PT409"
    write(db, UMA, "DELETE FROM bookings WHERE id = 'a-1'")
    assert ask("booking", **DEVICE, booking_id="a-1")["stored"]["status"] == "cancelled"
    assert write(db, UMA, "SELECT status FROM bookings") == [{"status": "cancelled"}]


def test_the_status_follows_the_recording_all_the_way(db: Connection, ask: Any) -> None:
    insert(db, id="a", camera_id="court-1", start_time="14:00", end_time="15:00", date="2026-07-01")
    film = {"name": "film", "key": "club/court-1/2026-07-01/a/film.mp4", "bytes": 7}
    steps: list[tuple[str, dict[str, object]]] = [
        ("recording", {"state": "scheduled"}),
        ("recording", {"state": "recording"}),
        ("recording", {"state": "finishing"}),
        ("upload", {"objects": [film]}),
        ("upload", {"objects": [{**film, "verified_at": "2026-07-01T13:01:00Z"}]}),
        ("recording", {"state": "ready"}),
        ("recording", {"state": "partial"}),
        ("recording", {"state": "failed"}),
        ("recording", {"state": "missed"}),
        ("recording", {"state": "cancelled"}),
    ]
    seen: list[str] = []
    for seq, (kind, body) in enumerate(steps, 1):
        row = {"booking_id": "a", "kind": kind, "seq": seq, "body": body}
        ask("save_results", device("court-1"), **DEVICE, rows=[row])
        seen.append(write(db, UMA, "SELECT status FROM bookings WHERE id = 'a'")[0]["status"])
    assert seen == [
        *("confirmed", "Recording", "Processing", "Uploading", "Uploaded"),
        *("Completed", "Completed", "failed", "failed", "cancelled"),
    ]
    (video,) = write(db, UMA, "SELECT * FROM videos WHERE user_id = 'uma'")
    assert (video["storage_path"], video["booking_id"], video["camera_id"]) == (film["key"], "a", "court-1")


def test_links_are_seen_and_revoked_and_never_told(db: Connection, ask: Any) -> None:
    insert(db, id="a", camera_id="court-1", start_time="14:00", end_time="15:00", date="2026-07-01")
    ask("issue_link", **DEVICE, booking_id="a", expires_at="2100-01-01T00:00:00Z", token_hash="a" * 64)
    (link,) = write(db, UMA, "SELECT * FROM shared_links")
    assert (link["token"], link["user_id"], link["access_count"], link["revoked"]) == (None, "uma", 0, False)
    with pytest.raises(psycopg.Error):
        write(db, UMA, "UPDATE shared_links SET expires_at = '2200-01-01Z'")
    write(db, UMA, "UPDATE shared_links SET revoked = true")
    assert write(db, UMA, "SELECT revoked FROM shared_links") == [{"revoked": True}]
    assert ask("share", **DEVICE, share_id=link["share_id"])["revoked_at"] is not None


def test_logos_are_seen_moved_and_taken_away_and_not_put_by_a_path(db: Connection) -> None:
    db.execute(
        "INSERT INTO user_media (whose, who, slot, sha256, bytes, kind, width, height, place, size, opacity)"
        " VALUES ('user', 'uma', 'logo', repeat('a', 64), 7, 'png', 4, 4, 'top_left', 12.5, 0.5)"
    )
    (row,) = write(db, UMA, "SELECT * FROM user_settings")
    assert (row["logo_path"], row["logo_position"]) == (f"club/assets/{'a' * 64}", "top-left")
    write(db, UMA, "UPDATE user_settings SET logo_position = 'bottom-right'")
    with pytest.raises(psycopg.Error) as error:
        write(db, UMA, "UPDATE user_settings SET intro_video_path = 'uma/intro-video/intro.mp4'")
    assert error.value.sqlstate == "PT409"
    assert write(db, UMA, "SELECT logo_position FROM user_settings") == [{"logo_position": "bottom-right"}]
    write(db, UMA, "UPDATE user_settings SET logo_path = NULL")
    assert write(db, UMA, "SELECT * FROM user_settings") == []


def test_the_device_is_seen_as_its_page_knew_it(db: Connection, ask: Any) -> None:
    health = {
        "cpu_pct": 12.5,
        "alarms": {"active": 1, "worst": "critical"},
        "disk": {"free_bytes": 25, "total_bytes": 100},
    }
    rows: list[dict[str, object]] = [
        {"booking_id": "court-1", "kind": "health", "seq": 1, "body": health},
        {"booking_id": "court-1", "kind": "availability", "seq": 2, "body": {"state": "online"}},
        {"booking_id": "a", "kind": "recording", "seq": 3, "body": {"state": "recording"}},
    ]
    ask("save_results", device("court-1"), **DEVICE, rows=rows)
    olga = person("olga")
    (camera,) = write(db, olga, "SELECT * FROM cameras WHERE id = 'court-1'")
    assert (camera["status"], camera["is_recording"]) == ("online", True)
    (status,) = write(db, olga, "SELECT * FROM system_status WHERE camera_id = 'court-1'")
    assert (status["user_id"], status["status"], status["current_booking_id"]) == ("olga", "critical", "a")
    assert (status["cpu_usage_percent"], float(status["disk_usage_percent"])) == (12.5, 75.0)
    assert {row["status"] for row in write(db, olga, "SELECT status FROM cameras")} == {
        "online",
        "offline",
        "revoked",
    }


# --- taking over ---

BEFORE = """
    CREATE TABLE bookings (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id text,
        camera_id text DEFAULT '0', start_time text, end_time text, date text,
        status text DEFAULT 'confirmed',
        title text, email text, created_at timestamptz DEFAULT now());
    CREATE TABLE videos (id bigint GENERATED ALWAYS AS IDENTITY, user_id text, video_url text, date text,
        recording_id text, duration_seconds int, uploaded_at timestamptz, filename text, storage_path text,
        booking_id uuid, camera_id text);
    CREATE TABLE shared_links (id bigint GENERATED ALWAYS AS IDENTITY, token text, video_key text,
        user_id text, created_at timestamptz, expires_at timestamptz, access_count int, revoked bool,
        total_downloads int);
    CREATE TABLE cameras (id uuid, status text);
    GRANT ALL ON bookings, videos, shared_links TO anon, authenticated;
    INSERT INTO bookings (id, user_id, start_time, end_time, date, status, title, email)
    SELECT ('6A000000-0000-0000-0000-00000000000' || n)::uuid, u, s, e, d, w, t, m
    FROM (VALUES
        (1, 'U-1', '14:00', '15:00', '2025-06-20', 'Completed', 'T', 'a@example.org'),
        (2, 'u-1', '2025-06-21T14:00:00-04:00', '2025-06-21T15:00:00-04:00', NULL, 'scheduled', NULL, NULL),
        (3, 'u-1', NULL, '15:00', '2025-06-22', NULL, NULL, NULL),
        (4, 'u-1', '14:30', '15:30', '2025-06-20', 'confirmed', NULL, NULL),
        (5, 'u-1', '16:00', '17:00', '2025-06-20', 'cancelled', NULL, NULL)) b (n, u, s, e, d, w, t, m);
    INSERT INTO videos (user_id, video_url, date, recording_id, duration_seconds, uploaded_at, filename,
        storage_path, booking_id, camera_id) VALUES ('U-1', 'https://example.org/f.mp4', '2025-06-20',
        '140000-150000_U', 3600, '2025-06-20T15:10:00Z', 'f.mp4', 'U-1/2025-06-20/f.mp4',
        '6a000000-0000-0000-0000-000000000001', '0');
    INSERT INTO shared_links (token, video_key, user_id, created_at, expires_at, access_count, revoked) VALUES
        ('0123456789abcdef0123456789abcdef', 'U-1/2025-06-20/f.mp4', 'u-1', now(), '2100-01-01Z', 3, false),
        ('ffff456789abcdef0123456789abcdef', 'U-1/gone.mp4', 'u-1', now(), '2100-01-01Z', 0, false);
"""


def test_its_rows_are_put_aside_and_taken_over(postgres: Server) -> None:
    with postgres.blank() as name, connected(postgres.dsn(name, "project")) as db:
        db.execute(BEFORE.encode())
        for _ in range(2):
            for migration in migrations():
                with db.transaction():
                    db.execute(migration.sql.encode())
        seed(db)
        with pytest.raises(psycopg.errors.InsufficientPrivilege), asking(db, "authenticated", {"sub": "uma"}):
            db.execute("SELECT * FROM predecessor.bookings")
        for expected in ({"bookings": 3, "videos": 1, "shared_links": 1}, {"bookings": 0, "videos": 0}):
            with asking(db, SERVICE.role):
                done = call(db, "import_predecessor", devices={"0": "court-1"})
            assert {key: done[key] for key in expected} == expected
            skipped = {(row["table"], str(row["id"])[-1]) for row in done["skipped"]}
            assert skipped >= {("bookings", "3"), ("bookings", "4"), ("shared_links", "2")}
        rows = write(
            db,
            SERVICE,
            "SELECT right(id, 1) AS id, status, start_time, user_id, email FROM bookings ORDER BY id",
        )
        assert [(row["id"], row["status"], row["start_time"]) for row in rows] == [
            ("1", "Completed", "2025-06-20T12:00:00.000000Z"),
            ("2", "confirmed", "2025-06-21T18:00:00.000000Z"),
            ("5", "cancelled", "2025-06-20T14:00:00.000000Z"),
        ]
        assert (rows[0]["user_id"], rows[0]["email"]) == ("u-1", "a@example.org")
        (video,) = write(db, SERVICE, "SELECT * FROM videos")
        assert (video["storage_path"], video["duration_seconds"]) == ("U-1/2025-06-20/f.mp4", 3600)
        with asking(db, SERVICE.role):
            share = call(db, "share_of", **DEVICE, token_hash=sha256("0123456789abcdef0123456789abcdef"))
        assert (share["booking_id"][-1], share["views"]) == ("1", 3)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
