"""A court is one booking's at a time, deleting is cancelling, the counter is in the order of the commits."""

import threading
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.cloud_bridge.sql.club import SERVICE, device, person, seed
from tests.support.postgres import Connection, asking, call, connected, set_asker

DEVICE = {"device": "court-1"}


def book(db: Connection, booking_id: str, start: str, end: str, kind: str = "booked", **more: Any) -> None:
    """A row as somebody writes it into the table; times of day."""
    values: dict[str, object] = {"device_id": "court-1", "status": "confirmed", "owner": None, **more}
    with db.transaction():
        db.execute(
            "INSERT INTO court_bookings (device_id, id, kind, starts_at, ends_at, status, owner)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                *(values["device_id"], booking_id, kind),
                *(f"2026-03-01T{start}Z", f"2026-03-01T{end}Z"),
                *(values["status"], values["owner"]),
            ),
        )


def change(db: Connection, booking_id: str, **columns: object) -> None:
    for column, value in columns.items():
        with db.transaction():
            statement = sql.SQL("UPDATE court_bookings SET {} = %s WHERE id = %s")
            db.execute(statement.format(sql.Identifier(column)), (value, booking_id))


def refused(db: Connection, booking_id: str, row: tuple[str, str, str], **more: Any) -> str | None:
    """Whose time is in the way of a row; None when it is taken in."""
    try:
        kind, start, end = row
        book(db, booking_id, start, end, kind, **more)
    except psycopg.errors.ExclusionViolation as error:
        return error.diag.message_detail
    return None


@pytest.mark.parametrize(
    ("there", "row", "other"),
    [
        (("booked", "12:00", "13:00"), ("booked", "12:00", "13:00"), "a"),
        (("booked", "12:00", "13:00"), ("booked", "12:59:59.999999", "14:00"), "a"),
        (("booked", "12:00", "13:00"), ("booked", "11:00", "12:00:00.000001"), "a"),
        (("booked", "12:00", "13:00"), ("booked", "11:00", "14:00"), "a"),
        (("booked", "12:00", "13:00"), ("booked", "13:00", "14:00"), None),
        (("booked", "12:00", "13:00"), ("booked", "11:00", "12:00"), None),
        (("booked", "12:00", "13:00"), ("booked", "12:30", "12:30"), "a"),
        (("booked", "12:00", "13:00"), ("manual", "12:30", "12:45"), "a"),
        (("booked", "12:00", "13:00"), ("manual", "11:30", "12:15"), "a"),
        (("booked", "12:00", "13:00"), ("cut", "12:10", "12:20"), None),
        (("cut", "12:00", "13:00"), ("booked", "12:00", "13:00"), None),
        (("manual", "12:00", "13:00"), ("booked", "12:30", "13:30"), None),
        (("manual", "12:00", "13:00"), ("booked", "12:00", "13:00"), "a"),
        (("manual", "12:00", "13:00"), ("booked", "11:30", "12:30"), "a"),
        (("manual", "12:00", "13:00"), ("manual", "12:30", "13:30"), "a"),
    ],
)
def test_what_may_lie_where(db: Connection, there: Any, row: Any, other: str | None) -> None:
    kind, start, end = there
    book(db, "a", start, end, kind)
    assert refused(db, "b", row) == other
    assert refused(db, "c", row, device_id="theirs") is None
    assert refused(db, "d", row, status="cancelled") is None


def test_two_devices_of_one_court_share_its_time(db: Connection) -> None:
    db.execute("INSERT INTO devices (id, org_id, court_id) VALUES ('spare', 'club', 'court-1')")
    book(db, "a", "12:00", "13:00")
    assert refused(db, "a", ("booked", "12:30", "13:30"), device_id="spare") == "a"


def test_time_is_given_back_whatever_is_there(db: Connection) -> None:
    book(db, "button", "12:00", "14:00", "manual")
    book(db, "customer", "12:30", "13:00")
    change(db, "button", ends_at="2026-03-01T13:30Z")
    change(db, "button", starts_at="2026-03-01T12:10Z")
    for column, value in (("ends_at", "2026-03-01T13:40Z"), ("starts_at", "2026-03-01T12:05Z")):
        with pytest.raises(psycopg.errors.ExclusionViolation):
            change(db, "button", **{column: value})
    change(db, "button", status="cancelled")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        change(db, "button", status="confirmed")
    change(db, "customer", status="cancelled")
    change(db, "button", status="confirmed")


@pytest.mark.parametrize("kind", ["booked", "manual"])
def test_the_constraint_alone_holds_one_kind_apart(db: Connection, kind: str) -> None:
    """A transaction with an old snapshot gets round the check; the constraint sees what is committed."""
    db.execute("ALTER TABLE court_bookings DISABLE TRIGGER booking_written")
    insert = (
        "INSERT INTO court_bookings"
        " (device_id, id, org_id, court_id, kind, starts_at, ends_at, request, changed)"
        " VALUES ('court-1', %s, 'club', 'court-1', %s, '2026-03-01T12:00Z', '2026-03-01T13:00Z', '', %s)"
    )
    db.execute(insert, ("a", kind, 1))
    with pytest.raises(psycopg.errors.ExclusionViolation):
        db.execute(insert, ("b", kind, 2))


@pytest.mark.parametrize("who", [person("uma"), person("olga"), SERVICE])
def test_deleting_is_cancelling(db: Connection, ask: Any, who: Any) -> None:
    book(db, "a", "12:00", "13:00", owner="uma")
    cursor = ask("poll", **DEVICE, cursor=0)["cursor"]
    with asking(db, who.role, who.claims):
        db.execute("DELETE FROM court_bookings WHERE id = 'a'")
    (row,) = ask("poll", device("court-1"), **DEVICE, cursor=cursor)["rows"]
    assert (row["id"], row["status"]) == ("a", "cancelled")
    assert ask("booking", **DEVICE, booking_id="a")["cancelled_at"] is not None


def test_no_setting_lets_a_person_delete(db: Connection) -> None:
    book(db, "a", "12:00", "13:00", owner="uma")
    with asking(db, "authenticated", {"sub": "uma"}):
        db.execute("SELECT set_config('ezrec.pruning', 'on', true)")
        db.execute("DELETE FROM court_bookings WHERE id = 'a'")
    assert db.execute("SELECT status FROM court_bookings").fetchall() == [{"status": "cancelled"}]


def test_what_makes_a_booking_itself_stays(db: Connection) -> None:
    book(db, "a", "12:00", "13:00", owner="uma")
    for column, value in (("owner", "ugo"), ("kind", "manual"), ("id", "b"), ("device_id", "court-2")):
        with pytest.raises(psycopg.Error) as error:
            change(db, "a", **{column: value})
        assert error.value.sqlstate == "PT409"
    change(db, "a", org_id="rival", court_id="court-2", changed=99, created_at="2001-01-01Z", request="x")
    row = db.execute("SELECT org_id, court_id, changed, request FROM court_bookings").fetchone()
    assert row is not None
    assert (row["org_id"], row["court_id"], row["changed"]) == ("club", "court-1", 1)
    assert len(row["request"]) == 64


def test_only_what_changes_counts(db: Connection, ask: Any) -> None:
    book(db, "a", "12:00", "13:00")
    share = ask(
        "issue_link", **DEVICE, booking_id="a", expires_at="2100-01-01T00:00:00Z", token_hash="a" * 64
    )
    before = ask("poll", **DEVICE, cursor=0)["cursor"]
    change(db, "a", record="yes", touched=0)
    ask("count", **DEVICE, share_id=share["share_id"], what="views")
    assert ask("poll", **DEVICE, cursor=before)["cursor"] == before
    ask("set_automatic", **DEVICE, on=False)
    polled = ask("poll", **DEVICE, cursor=before)
    assert (polled["cursor"], polled["rows"], polled["automatic"]) == (before + 1, [], False)


def test_a_cursor_of_another_store_gets_everything(db: Connection, ask: Any) -> None:
    book(db, "a", "12:00", "13:00")
    for cursor in (999, -1, 0):
        assert [row["id"] for row in ask("poll", **DEVICE, cursor=cursor)["rows"]] == ["a"]


# --- two at once ---


def test_a_number_that_was_seen_means_all_before_it_were(database: str) -> None:
    """The first writer has its number and does not commit; nobody sees a later one before that."""
    with connected(database) as owner:
        seed(owner)
    later = threading.Event()
    with connected(database) as first, connected(database) as second, connected(database) as reader:

        def poll() -> tuple[int, list[str]]:
            with asking(reader, "service_role"):
                polled = call(reader, "poll", **DEVICE, cursor=0)
            return polled["cursor"], [row["id"] for row in polled["rows"]]

        def write_later() -> None:
            book(second, "b", "15:00", "16:00")
            later.set()

        with first.transaction():
            book(first, "a", "12:00", "13:00")
            writer = threading.Thread(target=write_later)
            writer.start()
            waits_for_lock(reader)
            assert poll() == (0, [])
            assert not later.is_set()
        writer.join(60)
        assert poll() == (2, ["a", "b"])


def waits_for_lock(db: Connection) -> None:
    """Until somebody in this database waits for a lock."""
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while (row := db.execute(waiting).fetchone()) is None or not row["n"]:
        pass


def test_a_rolled_back_number_is_given_again(db: Connection, ask: Any) -> None:
    book(db, "a", "12:00", "13:00")
    with pytest.raises(psycopg.Error):
        book(db, "b", "12:00", "13:00")
    book(db, "c", "14:00", "15:00")
    assert [row["changed"] for row in ask("poll", **DEVICE, cursor=0)["rows"]] == [1, 2]


def test_many_writers_get_every_number_once_and_the_court_is_booked_once(database: str) -> None:
    with connected(database) as owner:
        seed(owner)
    answers: list[str] = []

    def write(writer: int) -> None:
        with connected(database) as db:
            for number in range(6):
                hour = f"{8 + number:02}"
                row = {"id": f"w{writer}-{number}", "start": f"2026-03-01T{hour}:00:00Z"}
                with db.transaction():
                    set_asker(db, "service_role")
                    try:
                        with db.transaction():
                            call(
                                db,
                                "create_booking",
                                **DEVICE,
                                new={**row, "end": f"2026-03-01T{hour}:59:00Z"},
                            )
                        answers.append("made")
                    except psycopg.errors.ExclusionViolation as error:
                        answers.append(str(error.diag.message_hint))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert (len(answers), answers.count("made")) == (24, 6)
    assert all("start" in answer for answer in answers if answer != "made")
    with connected(database) as db, asking(db, "service_role"):
        polled = call(db, "poll", **DEVICE, cursor=0)
    assert [row["changed"] for row in polled["rows"]] == list(range(1, 7))
    assert polled["cursor"] == 6


def test_the_same_asked_twice_at_once_is_made_once(database: str) -> None:
    with connected(database) as owner:
        seed(owner)
    new = {"id": "a", "start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z", "title": "T"}
    fresh: list[bool] = []

    def create() -> None:
        with connected(database) as db, asking(db, "service_role"):
            fresh.append(call(db, "create_booking", **DEVICE, new=new)["fresh"])

    with connected(database) as first, connected(database) as watcher:
        with first.transaction():
            set_asker(first, "service_role")
            fresh.append(call(first, "create_booking", **DEVICE, new=new)["fresh"])
            second = threading.Thread(target=create)
            second.start()
            waits_for_lock(watcher)
        second.join(60)
    assert fresh == [True, False]
