"""The store's functions in PostgreSQL: what only they can get wrong, beside the stores' conformance."""

from typing import Any

import psycopg
import pytest

from tests.cloud_bridge.sql.club import device, person
from tests.support.postgres import Connection

DEVICE = {"device": "court-1"}


def new(booking_id: str, hour: Any = 12, end: Any = None, **more: Any) -> dict[str, Any]:
    times = {
        "start": f"2026-03-01T{hour:02}:00:00.000000Z",
        "end": f"2026-03-01T{end or hour + 1:02}:00:00.000000Z",
    }
    return {"id": booking_id, "kind": "booked", **times, **more}


def sqlstate(error: pytest.ExceptionInfo[psycopg.Error]) -> str | None:
    return error.value.sqlstate


def test_a_booking_comes_back_whole(ask: Any) -> None:
    asked = new("a", owner="uma", title="Anna & Ben", contacts=["anna@example.org"], layout="stacked")
    made = ask("create_booking", **DEVICE, new=asked)
    row = made["booking"]
    assert made["fresh"]
    assert row["stored"] == {
        **{name: asked[name] for name in ("id", "kind", "start", "end", "owner", "layout")},
        "status": "confirmed",
        "record": "yes",
        "audience": "link",
        "deliver": ["film"],
        "of": None,
        "changed": 1,
        "created_at": row["stored"]["created_at"],
        "dressing": [],
    }
    assert (row["title"], row["contacts"], row["cancelled_at"]) == ("Anna & Ben", ["anna@example.org"], None)
    assert ask("booking", **DEVICE, booking_id="a") == row
    assert ask("create_booking", **DEVICE, new=asked) == {"booking": row, "fresh": False}
    assert ask("booking", **DEVICE, booking_id="b") is None


@pytest.mark.parametrize("more", [{"end": 15}, {"owner": "ugo"}, {"title": "T"}, {"contacts": ["x"]}])
def test_another_with_the_same_id_is_a_conflict(ask: Any, more: dict[str, Any]) -> None:
    ask("create_booking", **DEVICE, new=new("a", owner="uma"))
    with pytest.raises(psycopg.Error) as error:
        ask("create_booking", **DEVICE, new=new("a", **{"owner": "uma", **more}))
    assert sqlstate(error) == "PT409"


def test_a_device_that_asks_again_is_told_it_is_there_whoever_is_told(ask: Any) -> None:
    """It cannot read who is told, so that cannot be held against what it sends again."""
    court, asked = device("court-1"), new("a", title="T", contacts=["anna@example.org"])
    made = ask("create_booking", court, **DEVICE, new=asked)
    assert (made["booking"]["title"], made["booking"]["contacts"]) == (None, [])
    assert not ask("create_booking", court, **DEVICE, new=asked)["fresh"]
    assert ask("booking", **DEVICE, booking_id="a")["contacts"] == ["anna@example.org"]


def test_an_overlap_names_who_is_in_the_way(ask: Any) -> None:
    ask("create_booking", **DEVICE, new=new("a", owner="ugo"))
    with pytest.raises(psycopg.Error) as error:
        ask("create_booking", person("uma"), **DEVICE, new=new("b", owner="uma"))
    assert (sqlstate(error), error.value.diag.message_detail) == ("23P01", "a")
    assert error.value.diag.message_primary == (
        "b would overlap a (2026-03-01T12:00:00.000000Z to 2026-03-01T13:00:00.000000Z)"
    )


def test_the_same_id_on_another_court_is_another_booking(ask: Any) -> None:
    ask("create_booking", device="court-1", new=new("1042"))
    ask("create_booking", device="court-2", new=new("1042"))
    ask("create_booking", device="theirs", new=new("1042", 15))
    assert ask("booking", device="theirs", booking_id="1042")["stored"]["start"].startswith("2026-03-01T15")
    with pytest.raises(psycopg.Error) as error:
        ask("booking", device=None, booking_id="1042")
    assert sqlstate(error) == "PT400"


def test_a_change_says_what_it_has_seen(ask: Any) -> None:
    seen = ask("create_booking", **DEVICE, new=new("a", title="T"))["booking"]["stored"]["changed"]
    after = ask("change_booking", **DEVICE, booking_id="a", changes={"title": "U"}, seen=seen)
    assert after["stored"]["changed"] > seen
    with pytest.raises(psycopg.Error) as error:
        ask("change_booking", **DEVICE, booking_id="a", changes={"title": "V"}, seen=seen)
    assert sqlstate(error) == "PT412"
    assert ask("booking", **DEVICE, booking_id="a") == after
    same = ask("change_booking", **DEVICE, booking_id="a", changes={"title": "U", "record": "yes"})
    assert same == after


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"owner": "ugo"}, "PT409"),
        ({"changed": 7}, "PT409"),
        ({"end": "2026-03-01T11:00:00Z"}, "PT409"),
        ({"end": "2026-03-01T14:00:00"}, "PT400"),
        ({"end": "tomorrow"}, "PT400"),
        ({"end": "2026-02-30T14:00:00Z"}, "PT400"),
        ({"end": None}, "PT400"),
        ({"deliver": "film"}, "PT400"),
        ({"deliver": [None]}, "PT400"),
        ({"deliver": ["tape"]}, "23514"),
        ({"status": "Recording"}, "23514"),
        ({"status": None}, "23502"),
        ({"title": "x" * 201}, "23514"),
        ({"contacts": ["x"] * 21}, "23514"),
    ],
)
def test_a_change_that_makes_no_booking_is_refused_whole(
    ask: Any, changes: dict[str, Any], code: str
) -> None:
    made = ask("create_booking", **DEVICE, new=new("a"))["booking"]
    with pytest.raises(psycopg.Error) as error:
        ask("change_booking", **DEVICE, booking_id="a", changes={"record": "no", **changes})
    assert sqlstate(error) == code
    assert ask("booking", **DEVICE, booking_id="a") == made


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"id": "Not An Id"}, "PT400"),
        ({"id": None}, "PT400"),
        ({"id": "a'; DROP TABLE court_bookings; --"}, "PT400"),
        ({"start": None}, "PT400"),
        ({"start": "infinity"}, "PT400"),
        ({"start": "0001-01-01T00:00:00Z"}, "23514"),
        ({"end": "2026-03-01T11:00:00Z"}, "PT409"),
        ({"kind": "game"}, "23514"),
        ({"owner": "Übel"}, "23514"),
        ({"contacts": "anna@example.org"}, "PT400"),
        ({"contacts": [None]}, "PT400"),
    ],
)
def test_what_makes_no_booking_is_refused(ask: Any, more: dict[str, Any], code: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        ask("create_booking", **DEVICE, new={**new("a"), **more})
    assert sqlstate(error) == code
    assert ask("bookings", **DEVICE, query={}) == []


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE court_bookings; --", "{{ 7 * 7 }}", "<b>", "a\r\nBcc: x", "\u202eevil", "%s %I $1", "\\"],
)
def test_text_stays_text(ask: Any, text: str) -> None:
    asked = new("a", title=text, contacts=[text])
    ask("create_booking", **DEVICE, new=asked)
    row = ask("booking", **DEVICE, booking_id="a")
    assert (row["title"], row["contacts"]) == (text, [text])
    assert ask("bookings", **DEVICE, query={"owner": text, "status": text}) == []
    assert ask("told", **DEVICE, cause=text, since="2026-01-01T00:00:00Z") == []


def test_pages_meet_without_a_gap(ask: Any) -> None:
    for number in range(5):
        ask(
            "create_booking",
            **DEVICE,
            new=new(f"b{number}", 10 + number, owner="uma" if number % 2 else "ugo"),
        )
    seen: list[str] = []
    after: list[str] | None = None
    while rows := ask("bookings", **DEVICE, query={"limit": 2, "after": after}):
        seen += [row["stored"]["id"] for row in rows]
        after = [rows[-1]["stored"]["start"], seen[-1]]
    assert seen == [f"b{number}" for number in range(5)]
    assert [r["stored"]["id"] for r in ask("bookings", **DEVICE, query={"owner": "uma"})] == ["b1", "b3"]
    within = {"begin": "2026-03-01T11:00:00Z", "end": "2026-03-01T14:00:00+01:00"}
    assert [r["stored"]["id"] for r in ask("bookings", **DEVICE, query=within)] == ["b1", "b2"]


def test_a_poll_says_what_logos_a_booking_wears(ask: Any, db: Connection) -> None:
    ask(
        "create_booking",
        **DEVICE,
        new=new("a", 12, owner="uma") | {"start": "2098-03-01T12:00:00Z", "end": "2098-03-01T13:00:00Z"},
    )
    ask("create_booking", **DEVICE, new=new("past", owner="uma"))
    cursor = ask("poll", **DEVICE, cursor=0)["cursor"]
    db.execute(
        "INSERT INTO user_media (whose, who, slot, sha256, bytes, kind, width, height, place, size, opacity)"
        " VALUES"
        " ('user', 'uma', 'logo', repeat('a', 64), 7, 'png', 4, 4, 'top_left', 12.5, 0.5),"
        " ('user', 'ugo', 'logo', repeat('b', 64), 7, 'png', 4, 4, 'top_left', 12.5, 0.5)"
    )
    db.execute(
        "INSERT INTO user_media (whose, who, slot, sha256, bytes, kind, width, height, seconds)"
        " VALUES ('organisation', 'club', 'intro', repeat('c', 64), 9, 'mp4', 4, 4, 3.5)"
    )
    polled = ask("poll", device("court-1"), **DEVICE, cursor=cursor)
    (row,) = polled["rows"]
    assert row["id"] == "a"
    worn = sorted(
        (media["of"], media["slot"], media["sha256"][0], media["size"]) for media in row["dressing"]
    )
    assert worn == [("organisation", "intro", "c", 16.0), ("user", "logo", "a", 12.5)]


def test_results_are_shown_to_people(ask: Any, db: Connection) -> None:
    ask("create_booking", **DEVICE, new=new("a", owner="uma"))
    key = "club/court-1/2026-03-01/a/film.mp4"
    film = {"name": "film", "key": key, "bytes": 7, "hash": "h-1", "verified_at": "2026-03-01T23:30:00Z"}
    others = [
        {**film, "name": name, "key": key.replace("film.mp4", file)}
        for name, file in (("poster", "poster.jpg"), ("receipt", "receipt.json"))
    ]
    rows = [
        {"booking_id": "a", "kind": "recording", "seq": 1, "body": {"state": "ready", "progress_pct": 100}},
        {
            "booking_id": "a",
            "kind": "upload",
            "seq": 2,
            "body": {"objects": [film, *others, {"name": "x"}, 5], "bucket": "b"},
        },
        {
            "booking_id": "a",
            "kind": "receipt",
            "seq": 3,
            "body": {"film": {"duration_s": 60.5, "width": 2560, "height": 720}},
        },
        {"booking_id": "court-1", "kind": "availability", "seq": 4, "body": {"state": "online"}},
    ]
    assert ask("save_results", device("court-1"), **DEVICE, rows=rows) == 4
    assert ask("save_results", device("court-1"), **DEVICE, rows=rows) == 0
    (video,) = db.execute("SELECT * FROM videos").fetchall()
    assert (video["storage_path"], video["filename"], video["file_size"], video["sha256"]) == (
        key,
        "film.mp4",
        7,
        "h-1",
    )
    assert (video["user_id"], video["camera_id"], video["recording_id"]) == ("uma", "court-1", "a")
    assert (video["duration_seconds"], video["width"], str(video["date"])) == (60.5, 2560, "2026-03-02")
    seen = db.execute("SELECT state, seen_at FROM device_status WHERE device_id = 'court-1'").fetchone()
    assert seen is not None
    assert (seen["state"], seen["seen_at"] is not None) == ("online", True)
    removal = {
        "booking_id": "a",
        "org": "club",
        "device": "court-1",
        "key": key,
        "bytes": 7,
        "why": "past its time",
    }
    removal |= {"verified_at": film["verified_at"], "at": "2026-03-15T00:00:00Z"}
    assert ask("film_removed", device=None, removals=[removal]) == 1
    assert db.execute("SELECT removed_at IS NULL AS there FROM videos").fetchone() == {"there": False}


@pytest.mark.parametrize(
    "body",
    [{}, {"state": 5}, {"progress_pct": "x", "eta_s": {}}, {"progress_pct": 10**400}, {"objects": "x"},
     {"objects": [{"name": "film", "key": "k", "verified_at": "never"}]}, {"film": []},
     {"film": {"width": 1e18}}],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["recording", "upload", "receipt", "health", "availability", "news"])
def test_no_body_keeps_a_result_out(ask: Any, kind: str, body: dict[str, Any]) -> None:
    row = {"booking_id": "made-here", "kind": kind, "seq": 1, "body": body}
    assert ask("save_results", device("court-1"), **DEVICE, rows=[row]) == 1
    assert ask("results", **DEVICE, booking_id="made-here")[kind]["body"] == body


def test_a_batch_is_all_or_none(ask: Any) -> None:
    good = {"booking_id": "a", "kind": "recording", "seq": 1, "body": {}}
    for bad in (
        {**good, "kind": None},
        {**good, "body": 5},
        {**good, "seq": "x"},
        {**good, "booking_id": "A B"},
        5,
    ):
        with pytest.raises(psycopg.Error):
            ask("save_results", device("court-1"), **DEVICE, rows=[good, bad])
    with pytest.raises(psycopg.Error) as error:
        ask("save_results", device("court-1"), **DEVICE, rows=[good] * 101)
    assert sqlstate(error) == "PT400"
    assert ask("results", **DEVICE, booking_id="a") == {}
