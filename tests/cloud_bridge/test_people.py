"""Local users, their sessions and the audit, in the SQLite file."""

import sqlite3
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from cloud_bridge.passwords import MAX_LENGTH, Passwords, complaint
from cloud_bridge.stores import SqliteStore
from cloud_bridge.stores.audit import Deed
from cloud_bridge.stores.people import Person
from cloud_bridge.stores.sqlite_audit import SqliteAudit
from cloud_bridge.stores.sqlite_people import SqlitePeople
from tests.cloud_bridge.served import HandClock
from tests.conformance.people import DAY_S, PeopleConformance


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def people(tmp_path: Path, clock: HandClock) -> Generator[SqlitePeople]:
    people = SqlitePeople(tmp_path / "store.sqlite", clock)
    yield people
    people.close()


class TestSqlitePeople(PeopleConformance):
    pass


def test_nothing_that_opens_a_door_is_in_the_file(people: SqlitePeople, tmp_path: Path) -> None:
    people.add("otto", "user")
    code = people.issue_code("otto", DAY_S)
    _, token = people.open_session("otto", "", DAY_S)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (code, code.replace("-", ""), token):
        assert secret.encode() not in content


def test_who_is_logged_in_stays_so_while_nothing_can_be_written(
    people: SqlitePeople, clock: HandClock
) -> None:
    """Or nobody could look at why: on a full disk above all."""
    people.add("otto", "operator")
    session, token = people.open_session("otto", "", 2 * DAY_S)
    clock.now += timedelta(hours=1)
    people._db._db.execute("PRAGMA query_only=ON")  # every write fails, as on a full disk
    visit = people.visit(token, DAY_S)
    assert visit is not None
    assert visit.session == session
    people._db._db.execute("PRAGMA query_only=OFF")
    assert people.visit(token, DAY_S) is not None
    (now,) = people.sessions("otto", DAY_S)
    assert now.seen_at > session.seen_at


def test_removing_a_user_ends_the_keys(people: SqlitePeople, tmp_path: Path, clock: HandClock) -> None:
    store = SqliteStore(tmp_path / "store.sqlite", clock)
    people.add("otto", "user")
    key, other = store.make_token("user", "otto"), store.make_token("user", "uma")
    people.remove("otto")
    assert store.principal(key) is None
    assert store.principal(other) is not None
    store.close()


def test_a_code_is_redeemed_by_one_of_many(people: SqlitePeople, tmp_path: Path, clock: HandClock) -> None:
    people.add("otto", "user")
    code = people.issue_code("otto", DAY_S)
    start, found = threading.Barrier(6), list[Person | None]()

    def redeem() -> None:
        mine = SqlitePeople(tmp_path / "store.sqlite", clock)
        start.wait()
        found.append(mine.redeem_code(code))
        mine.close()

    threads = [threading.Thread(target=redeem) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one is not None for one in found) == [False] * 5 + [True]


def test_the_audit_is_only_appended_to(tmp_path: Path) -> None:
    audit = SqliteAudit(tmp_path / "store.sqlite", HandClock())
    deeds = [Deed("otto", "operator", "program", "booking.change", f"b{n % 2}", {"n": n}) for n in range(5)]
    rows = [audit.write(deed) for deed in deeds]
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.deed for row in rows] == deeds
    assert audit.read(2) == (rows[4], rows[3])
    assert audit.read(9, before=3) == (rows[1], rows[0])
    assert audit.read(9, subject="b1") == (rows[3], rows[1])
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        for sql in ("DELETE FROM audit", "UPDATE audit SET actor = 'uma'"):
            with pytest.raises(sqlite3.IntegrityError, match="only appended to"):
                db.execute(sql)
    db.close()
    assert len(audit.read(9)) == 5
    audit.close()


def test_passwords_fit_or_not() -> None:
    passwords = Passwords()
    hashed = passwords.hash("correct horse")
    assert "argon2id" in hashed
    assert passwords.fits(hashed, "correct horse")
    for wrong in ("correct horsf", "", "correct horse" + "x" * MAX_LENGTH):
        assert not passwords.fits(hashed, wrong)
    assert not passwords.fits(None, "correct horse")
    assert not passwords.fits("no hash at all", "correct horse")


@pytest.mark.parametrize(
    ("password", "good"), [("123456789", False), ("1234567890", True), ("x" * 201, False)]
)
def test_which_passwords_will_do(password: str, good: bool) -> None:
    assert (complaint(password) is None) == good
    assert complaint("a\x00bcdefghijk") is not None
