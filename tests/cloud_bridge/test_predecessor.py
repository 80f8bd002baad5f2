"""The predecessor's rows: every form of time it wrote, both shapes, and rows that are none."""

import json
import random
import string
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud_bridge.predecessor import Court, NotUnderstood, moment, rows_of, understood
from cloud_bridge.predecessor_source import read_file, read_project
from cloud_bridge.stores import BookingQuery, SqliteStore, sqlite_path
from edge_agent.cli.main import app
from edge_agent.core.settings import Settings, Storage

NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COURT = Court(NEW_YORK)


def row(**more: object) -> dict[str, object]:
    return {
        "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "user_id": "11111111-2222-3333-4444-555555555555",
        "camera_id": "pi-001",
        "start_time": "2026-03-02T18:00:00-05:00",
        "end_time": "2026-03-02T19:30:00-05:00",
        "status": "confirmed",
        "email": "anna@example.org",
        "created_at": "2026-02-01T00:00:00Z",
        "recording_id": None,
        "something_new": {"x": 1},
        **more,
    }


@pytest.mark.parametrize(
    "text",
    ["2026-03-02T18:00:00-05:00", "2026-03-02T23:00:00Z", "2026-03-02T23:00:00+00:00",
     "2026-03-02 23:00:00+00", "2026-03-02T18:00:00", "2026-03-02 18:00:00", "2026-03-02T18:00",
     "2026-03-02T18:00:00.000000",
     "2026-03-02t23:00:00z", " 2026-03-02T23:00:00.000Z ", "2026-03-03T04:30:00+05:30", "18:00", "18:00:00",
     "18:00:00.000000", "20260302T180000", "2026-03-02T18:00:00-0500"],
)  # fmt: skip
def test_every_form_of_the_same_moment(text: str) -> None:
    assert moment(text, date(2026, 3, 2), NEW_YORK) == datetime(2026, 3, 2, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "micros"), [("9:05", 0), ("09:05:00.5", 500_000), ("9:05:00.123456789", 123_456)]
)
def test_times_of_day(text: str, micros: int) -> None:
    expected = datetime(2026, 3, 2, 14, 5, 0, micros, tzinfo=UTC)
    assert moment(text, date(2026, 3, 2), NEW_YORK) == expected


@pytest.mark.parametrize(
    "text",
    ["", "now", "now()", "tomorrow", "25:00", "12:61", "2026-13-01T00:00", "2026-03-02", "20260302",
     "1772492400", "2026-03-02T18:00:00 Europe/Berlin", "0001-01-01T00:00:00+14:00",
     "\u0662\u0660\u0662\u0666-03-02T18:00", "x" * 5000],
)  # fmt: skip
def test_what_is_no_time_is_said_in_one_short_line(text: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        moment(text, date(2026, 3, 2), NEW_YORK)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 140


def test_a_row_is_taken_over_with_whom_and_when_and_nothing_else() -> None:
    found = understood([row(title="Anna\n& Ben")], NOW, COURT)
    assert (found.lines, found.over, found.cancelled, found.repeated) == ((), 0, 0, 0)
    (booking,) = found.bookings
    assert (booking.id, booking.kind) == ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "booked")
    assert booking.start == datetime(2026, 3, 2, 23, tzinfo=UTC)
    assert booking.end - booking.start == timedelta(minutes=90)
    assert (booking.owner, booking.contacts) == (
        "11111111-2222-3333-4444-555555555555",
        ("anna@example.org",),
    )
    assert (booking.title, booking.record, booking.audience) == ("Anna & Ben", "yes", "link")


def test_both_shapes_are_the_same() -> None:
    bare = understood([row()], NOW, COURT)
    wrapped = {"bookings": [row()], "last_updated": "x", "user_id": "u", "camera_id": "c"}
    assert understood(wrapped, NOW, COURT) == bare


@pytest.mark.parametrize(
    "document", [None, 1, "bookings", {}, {"bookings": None}, {"bookings": {}}, {"rows": []}]
)
def test_a_document_without_bookings(document: object) -> None:
    with pytest.raises(NotUnderstood, match="no bookings in it"):
        rows_of(document)


def test_times_of_day_past_midnight_end_the_next_day() -> None:
    late = row(date="2026-03-02", start_time="23:30", end_time="00:30:00")
    (booking,) = understood([late], NOW, Court(BERLIN)).bookings
    assert booking.start == datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
    assert booking.end == datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    mixed = row(start_time="2026-03-02T23:30:00", end_time="01:00")
    (booking,) = understood([mixed], NOW, Court(BERLIN)).bookings
    assert booking.end == datetime(2026, 3, 3, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "what"),
    [("confirmed", "taken"), ("scheduled", "taken"), ("Recording", "taken"), (None, "taken"), ("", "taken"),
     ("cancelled", "cancelled"), ("Canceled", "cancelled"), ("Completed", "over"), ("failed", "over"),
     ("RecordingFinished", "over"), ("video_uploaded", "over"), ("SkippedMissingFile", "over"),
     ("maybe", "odd"), (7, "odd")],
)  # fmt: skip
def test_status_words(status: object, what: str) -> None:
    found = understood([row(status=status)], NOW, COURT)
    counts = {
        "taken": len(found.bookings),
        "cancelled": found.cancelled,
        "over": found.over,
        "odd": len(found.lines),
    }
    assert counts == {**dict.fromkeys(counts, 0), what: 1}


def test_what_is_past_and_what_is_doubled_is_counted() -> None:
    past = row(id="past", start_time="2026-02-01T10:00:00Z", end_time="2026-02-01T11:00:00Z")
    running = row(id="running", start_time="2026-03-01T11:30:00Z", end_time="2026-03-01T12:30:00Z")
    found = understood([past, running, row(), row(email=None)], NOW, COURT)
    assert [booking.id for booking in found.bookings] == ["running", row()["id"]]
    assert (found.over, found.repeated) == (1, 1)


def test_rows_of_other_cameras_are_left_out_of_a_table_and_not_of_a_file() -> None:
    rows = [
        row(id=str(n), camera_id=camera)
        for n, camera in enumerate(["pi-001", "court-1", "0", None, "COURT-1"])
    ]
    found = understood(rows, NOW, Court(NEW_YORK, "court-1"))
    assert ([booking.id for booking in found.bookings], found.elsewhere) == (["1", "2", "3", "4"], 1)
    assert len(understood(rows, NOW, COURT).bookings) == 5


def test_a_row_without_an_id_gets_the_same_one_each_time() -> None:
    first, second = (understood([row(id=None)], NOW, COURT).bookings[0] for _ in range(2))
    assert first.id == second.id
    assert first.id.startswith("import-")
    other = understood([row(id="", user_id="x")], NOW, COURT).bookings[0]
    assert other.id != first.id


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ("text", "'text' is no row"),
        (None, "None is no row"),
        ([], "'list' is no row"),
        (row(start_time=None), "no start_time"),
        (row(end_time=5), "end_time 5 is no time"),
        (row(end_time="2026-03-02T18:00:00-05:00"), "not after its start"),
        (row(end_time="2026-03-02T10:00:00-05:00"), "not after its start"),
        (row(end_time="2026-03-03T18:00:00-05:00"), "booking.max_minutes"),
        (row(start_time="18:00", end_time="19:00"), "has no date"),
        (row(date="someday"), "date 'someday' is none"),
        (row(id="a b"), "id 'a b' is none"),
        (row(id="x" * 65), "is none"),
        (row(id="../a"), "is none"),
    ],
)
def test_a_row_that_is_none_is_one_line_that_names_it(odd: object, says: str) -> None:
    found = understood([row(id="before"), odd, row(id="after")], NOW, COURT)
    assert [booking.id for booking in found.bookings] == ["before", "after"]
    (line,) = found.lines
    assert line.startswith("row 2")
    assert says in line
    assert "\n" not in line


@pytest.mark.parametrize("email", ["anna", 5, "a@b\nBcc: c@d", "@", "x" * 500 + "@y"])
def test_an_address_that_is_none_costs_the_address(email: object) -> None:
    found = understood([row(email=email)], NOW, COURT)
    assert found.bookings[0].contacts == ()
    assert "no address" in found.lines[0]


FIRST, LAST = (datetime.fromisoformat(day) for day in ("2026-03-02", "2040-01-01"))
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))


@given(
    MOMENTS, st.sampled_from([UTC, NEW_YORK, BERLIN, timezone(timedelta(hours=5, minutes=45))]), st.booleans()
)
def test_an_aware_time_in_any_zone_is_that_moment(at: datetime, zone: timezone, space: bool) -> None:
    text = at.astimezone(zone).isoformat(sep=" " if space else "T")
    assert moment(text, None, BERLIN) == at


@given(st.datetimes(FIRST, LAST), st.sampled_from(["seconds", "microseconds"]))
def test_a_naive_time_is_the_courts_clock(at: datetime, spec: str) -> None:
    expected = at.replace(microsecond=0) if spec == "seconds" else at
    found = moment(at.isoformat(timespec=spec), None, BERLIN)
    assert found == expected.replace(tzinfo=BERLIN)
    clock = moment(at.time().isoformat(timespec=spec), at.date(), BERLIN)
    assert clock == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | MOMENTS.map(datetime.isoformat) | st.text(string.digits + ":-TZ+. ", max_size=25)
        for name in (
            "id",
            "user_id",
            "camera_id",
            "start_time",
            "end_time",
            "date",
            "status",
            "email",
            "title",
        )
    },
)


@given(st.lists(ROWS | JSON, max_size=6))
def test_whatever_is_in_it_each_row_is_taken_counted_or_named(document: list[object]) -> None:
    found = understood(document, NOW, COURT)
    named = {
        line.partition(":")[0].partition(",")[0] for line in found.lines if "taken over without" not in line
    }
    counted = found.over + found.cancelled + found.elsewhere + found.repeated
    assert len(found.bookings) + counted + len(named) == len(document)
    for booking in found.bookings:
        assert booking.start < booking.end
        assert booking.end > NOW
        assert booking.start.tzinfo is not None
    assert not any("\n" in line or len(line) > 300 for line in found.lines)


# --- a project ---


class Project(ThreadingHTTPServer):
    """A stand-in for the predecessor's project: one table, pages by limit and offset."""

    daemon_threads = True

    def __init__(self, rows: list[dict[str, object]], says: bytes | None = None, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.rows, self.says, self.status = rows, says, status
        self.asked: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Asked(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        project = self.server
        assert isinstance(project, Project)
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        project.asked.append(query)
        known = self.headers["apikey"] == "service" and self.headers["Authorization"] == "Bearer service"
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        page = project.rows[offset : offset + limit] if address.path == "/rest/v1/bookings" else []
        body = project.says if project.says is not None else json.dumps(page if known else []).encode()
        self.send_response(project.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def serving(
    rows: list[dict[str, object]], says: bytes | None = None, status: int = 200
) -> Generator[Project]:
    with Project(rows, says, status) as project:
        thread = threading.Thread(target=project.serve_forever, daemon=True)
        thread.start()
        yield project
        project.shutdown()
        thread.join(10)


def test_a_project_is_read_page_by_page() -> None:
    rows = [row(id=f"b{n}") for n in range(2300)]
    with serving(rows) as project:
        assert read_project(project.url + "/", "service") == rows
    assert [asked["offset"] for asked in project.asked] == [["0"], ["1000"], ["2000"]]
    assert all(asked["order"] == ["id"] for asked in project.asked)


@pytest.mark.parametrize(
    ("says", "status", "names"),
    [
        (b"<html>", 200, "no JSON"),
        (b"{}", 200, "no rows"),
        (b"", 401, "401"),
        (b"", 404, "404"),
        (b"", 503, "503"),
    ],
)
def test_a_project_that_gives_no_rows(says: bytes, status: int, names: str) -> None:
    with serving([], says, status) as project, pytest.raises(NotUnderstood, match=names):
        read_project(project.url, "service")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not an address", "http://[", "file:///etc/passwd"])
def test_a_project_that_is_none(url: str) -> None:
    with pytest.raises(NotUnderstood, match="does not answer"):
        read_project(url, "service")


def test_a_table_is_taken_over(config: Path) -> None:
    rows = [
        row(id="a", date=ahead(3), start_time="10:00", end_time="11:00", camera_id=camera)
        for camera in ("court-1", "x")
    ]
    with serving(rows) as project:
        config.write_text(config.read_text() + f'[bookings]\nurl = "{project.url}"\nkey = "service"\n')
        code, said = ran(config, "--supabase")
    assert (code, said.partition(";")[0], "1 of other cameras" in said) == (0, "1 bookings taken over", True)
    assert stored(config) == ["a"]


# --- the command ---


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ezrec.toml"
    path.write_text(f'[device]\ntimezone = "America/New_York"\n[storage]\nroot = "{tmp_path}/device"\n')
    return path


def ahead(days: int) -> str:
    at = datetime.now(UTC) + timedelta(days=days)
    return at.strftime("%Y-%m-%d")


def document() -> list[object]:
    return [
        row(id="a", date=ahead(3), start_time="10:00", end_time="11:00"),
        row(id="b", date=ahead(3), start_time="11:00", end_time="12:00:00.5"),
        row(id="a", date=ahead(4), start_time="10:00", end_time="11:00"),
        row(id="crossing", date=ahead(3), start_time="10:30", end_time="11:30"),
        row(id="called-off", status="cancelled"),
        {"id": "broken"},
    ]


def ran(config: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["import", "rows", *words, "--config", str(config)])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def stored(config: Path) -> list[str]:
    store = SqliteStore(sqlite_path(Settings(storage=Storage(root=str(config.parent / "device")))))
    ids = [one.id for one in store.bookings(BookingQuery())]
    store.close()
    return ids


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_is_taken_over_once(config: Path, tmp_path: Path, wrapped: bool) -> None:
    file = tmp_path / "bookings.json"
    file.write_text(json.dumps({"bookings": document()} if wrapped else document()))
    code, said = ran(config, str(file), "--dry-run")
    assert (code, stored(config)) == (1, [])
    assert "3 bookings would be taken over" in said
    code, said = ran(config, str(file))
    lines = said.splitlines()
    assert code == 1
    assert lines[0] == "row 6, 'broken': it has no start_time"
    assert lines[1].startswith("crossing: crossing would overlap")
    assert lines[2].startswith("2 bookings taken over; 0 there already, 1 repeated, 0 over, 1 cancelled")
    assert stored(config) == ["a", "b"]
    code, said = ran(config, str(file), "--json")
    again = json.loads(said)
    assert (again["taken"], again["there_already"], again["not_understood"]) == (0, 2, 2)
    assert stored(config) == ["a", "b"]


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "<html>", '{"a": 1}', "\x00"])
def test_a_file_that_is_none_is_one_line(config: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "bookings.json"
    file.write_text(content)
    code, said = ran(config, str(file))
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("ezrec: import rows: ")


def test_what_cannot_be_read(config: Path, tmp_path: Path) -> None:
    assert "No such file" in ran(config, str(tmp_path / "none.json"))[1]
    assert ran(config)[0] == 2
    assert ran(config, "file.json", "--supabase")[0] == 2
    assert "SUPABASE_URL" in ran(config, "--supabase")[1]
    with pytest.raises(NotUnderstood, match="cannot be read"):
        read_file(tmp_path)


def test_a_zone_nobody_knows_moves_no_booking(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("America/New_York", "Mars/Olympus"))
    file = tmp_path / "bookings.json"
    file.write_text("[]")
    code, said = ran(config, str(file))
    assert (code, "device.timezone" in said) == (78, True)


def test_many_rows(config: Path, tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [
        row(id=f"b{n}", date=ahead(2 + n // 20), start_time=f"{n % 20:02}:00", end_time=f"{n % 20:02}:50")
        for n in range(400)
    ]
    draw.shuffle(rows)
    file = tmp_path / "bookings.json"
    file.write_text(json.dumps(rows))
    code, said = ran(config, str(file))
    assert (code, said.partition(";")[0]) == (0, "400 bookings taken over")
