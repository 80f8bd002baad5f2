import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from cloud_bridge.outbox import Outbox
from cloud_bridge.outbox_rows import order_of, to_row
from cloud_bridge.sending import Sender
from cloud_bridge.stores import NewBooking, SqliteStore, Store, StoreError
from edge_agent.core.effects import (
    AnswerEntry,
    AutomaticEntry,
    BookingEntry,
    BridgeInventory,
    ChangeEntry,
    Entry,
    KeepSeen,
    Notice,
    NoticeEntry,
    OutboxInventory,
    QueuedOrder,
    ResultEntry,
    Sent,
    ShareEntry,
    StoredCommand,
    StoredShare,
)
from edge_agent.core.errors import EffectFailed
from schemas.base import utc_text
from schemas.commands import Answer, BookArgs
from schemas.recording import Recording
from tests.cloud_bridge.faulty import Faulty, away
from tests.cloud_bridge.made import NOON, at, row
from tests.cloud_bridge.served import HandClock

ROOT = Path(__file__).resolve().parents[2]
MANUAL = BookingEntry("m1", "manual", utc_text(at(0)), utc_text(at(60)), None)


def notice(name: str = "a", kind: str = "film_ready") -> Notice:
    return Notice(f"court-1:film:{name}", kind, name, utc_text(NOON), {})


def alarm(kind: str = "alarm") -> Notice:
    since = utc_text(NOON)
    return Notice(f"court-1:{kind}:merger/slow:{since}", kind, "merger/slow", since, {"severity": "major"})


def result(booking_id: str = "a", pct: int = 10, kind: str = "recording") -> ResultEntry:
    return ResultEntry(booking_id, kind, Recording(state="recording", progress_pct=pct))


def answer(command_id: str = "c1", status: str = "ok") -> AnswerEntry:
    return AnswerEntry(command_id, Answer.model_validate({"id": command_id, "status": status}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Generator[Outbox]:
    outbox = Outbox(path, "sqlite", HandClock())
    yield outbox
    outbox.close()


@pytest.fixture
def faulty(tmp_path: Path) -> Generator[Faulty]:
    faulty = Faulty(SqliteStore(tmp_path / "store.sqlite", HandClock()))
    yield faulty
    faulty.store.close()


@pytest.fixture
def sender(outbox: Outbox, faulty: Faulty) -> Sender:
    return Sender(outbox, cast("Store", faulty), HandClock())


def put(outbox: Outbox, *entries: Entry) -> int:
    """The highest number after writing them."""
    return max(outbox.enqueue(entries).seqs)


def waiting(outbox: Outbox) -> list[tuple[str, str, str]]:
    return [(w.row.kind, w.row.subject, w.row.part) for w in outbox.waiting(2**62, 10_000)]


def again(outbox: Outbox, path: Path) -> BridgeInventory:
    """What the next run finds."""
    outbox.close()
    return Outbox(path, "sqlite", HandClock()).inventory()


# --- the file ---


@pytest.mark.parametrize(
    "entry",
    [
        MANUAL,
        BookingEntry(
            "b1",
            "booked",
            utc_text(at(0)),
            utc_text(at(60)),
            BookArgs(start=at(0), end=at(60), title="Anna \u202e", contacts=("x@example.org",)),
            "a",
        ),
        ChangeEntry("a", {"end": utc_text(at(5))}),
        ChangeEntry("a", {"status": "cancelled"}, {"status": "confirmed"}),
        AutomaticEntry(False),
    ],
)
def test_an_order_is_the_same_after_a_restart(
    outbox: Outbox, path: Path, entry: BookingEntry | ChangeEntry | AutomaticEntry
) -> None:
    seq = put(outbox, entry)
    assert order_of(to_row(entry)) == entry
    found = again(outbox, path).outbox
    assert (found.orders, found.through) == ((QueuedOrder(seq, entry),), seq)


def test_only_the_last_state_waits_and_numbers_rise(outbox: Outbox) -> None:
    first = outbox.enqueue([result("a", 10), result("b", 10), AutomaticEntry(False)]).seqs
    second = outbox.enqueue([result("a", 20), result("a", 20, "upload"), AutomaticEntry(True)]).seqs
    assert [*first, *second] == sorted({*first, *second})
    assert waiting(outbox) == [
        ("result", "b", "recording"),
        ("result", "a", "recording"),
        ("result", "a", "upload"),
        ("automatic", "", ""),
    ]


def test_a_notice_is_written_once_for_ever(outbox: Outbox, path: Path) -> None:
    first = outbox.enqueue([NoticeEntry(notice()), NoticeEntry(alarm())]).seqs
    assert outbox.enqueue([NoticeEntry(notice())]).seqs == (0,)
    found = outbox.inventory().outbox
    assert found.standing == (alarm(),)
    assert found.told == {notice().id, alarm().id}
    outbox.enqueue([NoticeEntry(alarm("recovered"))])
    assert len(first) == 2
    assert again(outbox, path).outbox.standing == ()


def test_an_answer_a_wish_and_a_booking_wait_once(outbox: Outbox) -> None:
    entries: list[Entry] = [answer(), ShareEntry("a", utc_text(NOON)), MANUAL]
    assert outbox.enqueue(entries).seqs == outbox.enqueue(entries).seqs
    found = outbox.inventory().outbox
    assert (found.answered, found.wished) == (frozenset({"c1"}), frozenset({"a"}))
    assert len(waiting(outbox)) == 3


def test_numbers_go_on_after_everything_was_sent(outbox: Outbox, sender: Sender) -> None:
    before = put(outbox, result())
    sender.send(before)
    assert waiting(outbox) == []
    assert put(outbox, result(pct=20)) == before + 1


def test_what_the_store_said_is_there_for_the_next_run(outbox: Outbox, path: Path) -> None:
    share = StoredShare("a", "s1", utc_text(at(99)), None, None, 3)
    command = StoredCommand(
        "c1", "booking", "book", {}, None, utc_text(NOON), 4, BookArgs(start=at(0), end=at(5), title="T")
    )
    outbox.keep_seen(KeepSeen("k", 7, False, (row("a"), row("b")), (share,), (command,)))
    found = again(outbox, path)
    assert found == BridgeInventory((row("a"), row("b")), 7, False, (share,), (command,))


def test_what_is_of_no_more_interest_is_forgotten(outbox: Outbox) -> None:
    share = StoredShare("a", "s1", utc_text(at(99)), None, None, 3)
    outbox.keep_seen(KeepSeen("k", 7, True, (row("a"), row("b")), (share,)))
    outbox.keep_seen(KeepSeen("k", 8, True, (), (), (), ("a",)))
    assert outbox.inventory() == BridgeInventory((row("b"),), 8)


def test_a_newer_row_is_not_replaced_by_an_older_answer(outbox: Outbox) -> None:
    outbox.keep_seen(KeepSeen("k", 9, True, (row("a", changed=9),)))
    outbox.keep_rows([row("a", changed=8, end=5), row("b", changed=1)])
    assert {r.id: r.changed for r in outbox.inventory().rows} == {"a": 9, "b": 1}


def test_rows_of_another_store_are_told_as_such(outbox: Outbox, path: Path) -> None:
    outbox.keep_seen(
        KeepSeen("k", 9, True, (row("a"),), (), (StoredCommand("c", "t", "n", {}, None, "", 1),))
    )
    outbox.close()
    found = Outbox(path, "https://other.example.org", HandClock()).inventory()
    assert (found.moved, found.cursor, found.rows, found.commands) == (True, 0, (row("a"),), ())


def test_nobody_else_reads_it(outbox: Outbox, path: Path) -> None:
    put(outbox, MANUAL)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("outbox.sqlite*")} == {0o600}
    outbox.close()
    path.chmod(0o644)
    Outbox(path, "sqlite", HandClock()).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("broken", ["garbage", "newer", "foreign", "torn", "empty"])
def test_a_file_that_is_not_ours_is_moved_aside_once(path: Path, broken: str) -> None:
    clock = HandClock()
    first = Outbox(path, "sqlite", clock)
    seqs = first.enqueue([result(str(number)) for number in range(400)]).seqs
    first.close()
    if broken == "garbage":
        path.write_bytes(b"x" * 5000)
    elif broken == "torn":
        whole = path.read_bytes()
        path.write_bytes(whole[:8192] + b"\0" * 4096 + whole[12288:])
    elif broken == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE entries (x)")
            db.execute(f"PRAGMA user_version={99 if broken == 'newer' else 0}")
        db.close()
    clock.now += timedelta(hours=1)
    for _ in range(2):
        outbox = Outbox(path, "sqlite", clock)
        found = outbox.inventory().outbox
        aside = [file.name for file in path.parent.glob("*.torn-*")]
        assert aside == ([] if broken == "empty" else ["outbox.sqlite.torn-1"])
        assert (found.trouble is None, found.through) == (broken == "empty", 0)
        outbox.close()
    outbox = Outbox(path, "sqlite", clock)
    assert put(outbox, result()) > seqs[-1]
    outbox.close()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").mkdir()
    with pytest.raises(StoreError) as caught:
        Outbox(tmp_path / "outbox.sqlite", "sqlite")
    assert "\n" not in caught.value.text


def test_a_full_disk_writes_all_or_none(outbox: Outbox) -> None:
    put(outbox, MANUAL)
    outbox._db._db.execute("PRAGMA max_page_count=20")
    many = [result(str(number)) for number in range(2000)]
    with pytest.raises(StoreError) as caught:
        outbox.enqueue(many)
    assert caught.value.kind == "full"
    assert waiting(outbox) == [("booking", "m1", "")]


def test_what_a_killed_writer_said_is_there(path: Path) -> None:
    command = [sys.executable, "-m", "tests.cloud_bridge.queue_writer", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(40)]
        os.kill(child.pid, signal.SIGKILL)
        said += [int(line) for line in child.stdout.read().split()]
    outbox = Outbox(path, "sqlite")
    assert {entry.seq for entry in outbox.waiting(2**62, 10**6)} >= set(said)
    outbox.close()


# --- on the way to the store ---


def test_everything_arrives_and_nothing_waits(outbox: Outbox, faulty: Faulty, sender: Sender) -> None:
    store = faulty.store
    store.order_command({"id": "c1", "target": "merger", "name": "log_level"})
    through = put(
        outbox,
        result("m1"),
        ShareEntry("m1", utc_text(at(9999))),
        MANUAL,
        ChangeEntry("m1", {"end": utc_text(at(5))}),
        NoticeEntry(notice("m1")),
        answer(),
        AutomaticEntry(False),
    )
    sent = sender.send(through)
    seqs = range(through - 6, through + 1)
    assert sent == Sent(
        through=through,
        orders=(seqs[2], seqs[3], seqs[6]),
        rows=sent.rows,
        results=(("m1", "recording", seqs[0]),),
        shares=sent.shares,
    )
    assert [(row.id, row.end) for row in sent.rows] == [("m1", utc_text(at(60))), ("m1", utc_text(at(5)))]
    assert [booking_id for booking_id, _ in sent.shares] == ["m1"]
    assert (store.automatic(), store.poll(0).commands) == (False, ())
    assert store.results("m1")["recording"].body["progress_pct"] == 10
    found = outbox.inventory()
    assert (found.outbox.through, found.rows) == (0, sent.rows[-1:])
    assert [(subject, kind) for subject, kind, _ in found.outbox.stored] == [("m1", "recording")]


def test_a_batch_is_at_most_a_hundred(outbox: Outbox, faulty: Faulty, sender: Sender) -> None:
    through = put(outbox, *(result(str(number)) for number in range(250)))
    reached = [sender.send(through).through for _ in range(3)]
    assert reached == [through - 150, through - 50, through]
    assert faulty.calls == ["save_results"] * 3
    assert sender.send(through) == Sent(through)


def test_entries_written_later_wait(outbox: Outbox, sender: Sender) -> None:
    through = put(outbox, result("a"))
    put(outbox, result("b"))
    assert sender.send(through).results == (("a", "recording", through),)
    assert waiting(outbox) == [("result", "b", "recording")]


def test_a_store_that_is_away_loses_nothing(outbox: Outbox, faulty: Faulty, sender: Sender) -> None:
    through = put(outbox, MANUAL, result("m1"), NoticeEntry(notice()))
    faulty.before = away
    with pytest.raises(EffectFailed) as caught:
        sender.send(through)
    assert (caught.value.kind, caught.value.detail) == ("transient", Sent(through - 3))
    assert len(waiting(outbox)) == 3

    def no_results(name: str, values: tuple[Any, ...]) -> None:
        if name == "save_results":
            away(name, values)

    faulty.before = no_results
    with pytest.raises(EffectFailed) as caught:
        sender.send(through)
    detail = caught.value.detail
    assert isinstance(detail, Sent)
    assert (detail.through, detail.orders, [row.id for row in detail.rows]) == (
        through - 2,
        (through - 2,),
        ["m1"],
    )
    assert waiting(outbox) == [("result", "m1", "recording"), ("notice", notice().id, "")]


def test_a_bad_entry_is_set_aside_and_hinders_no_other(
    outbox: Outbox, faulty: Faulty, sender: Sender, path: Path
) -> None:
    def refuse(name: str, values: tuple[Any, ...]) -> None:
        if name == "save_results" and any(row.booking_id == "bad" for row in values[0]):
            raise StoreError("input", "bad is no booking of ours")

    faulty.before = refuse
    through = put(outbox, *(result(name) for name in ("a", "b", "bad", "c", "d")))
    sent = sender.send(through)
    assert [booking_id for booking_id, _, _ in sent.results] == ["a", "b", "c", "d"]
    (refused,) = sent.refused
    assert (refused.kind, refused.subject, refused.text) == ("result", "bad", "bad is no booking of ours")
    assert waiting(outbox) == []
    assert again(outbox, path).outbox.refused == (refused,)


def test_a_store_that_takes_nothing_at_all_is_broken_not_the_entries(
    outbox: Outbox, faulty: Faulty, sender: Sender
) -> None:
    def broken(_name: str, _values: tuple[Any, ...]) -> None:
        raise StoreError("permanent", "table results is missing")

    faulty.before = broken
    through = put(outbox, MANUAL, result("m1"), NoticeEntry(notice()))
    with pytest.raises(EffectFailed) as caught:
        sender.send(through)
    assert (caught.value.kind, len(waiting(outbox))) == ("permanent", 3)

    def broken_notices(name: str, _values: tuple[Any, ...]) -> None:
        if name == "add_notices":
            raise StoreError("permanent", "a notice like this crashes the store")

    faulty.before = broken_notices
    assert [refused.kind for refused in sender.send(through).refused] == ["notice"]
    assert waiting(outbox) == []


def test_a_change_of_a_booking_that_is_not_there_is_told(outbox: Outbox, sender: Sender) -> None:
    through = put(outbox, ChangeEntry("x", {"status": "cancelled"}), result("a"))
    sent = sender.send(through)
    assert [(r.kind, r.subject, r.text) for r in sent.refused] == [("change", "x", "there is no booking x")]


def test_a_change_whose_answer_was_lost_is_not_repeated_over_a_later_one(
    outbox: Outbox, faulty: Faulty, sender: Sender
) -> None:
    store = faulty.store
    store.create_booking(NewBooking("a", "booked", at(0), at(60)))
    through = put(outbox, ChangeEntry("a", {"end": utc_text(at(90))}))

    def lost(name: str, values: tuple[Any, ...]) -> None:
        if name == "change_booking":
            away(name, values)

    faulty.after = lost
    with pytest.raises(EffectFailed):
        sender.send(through)
    faulty.after = None
    assert sender.send(through).refused == ()
    assert store.poll(0).cursor == 2
    through = put(outbox, ChangeEntry("a", {"end": utc_text(at(30))}))
    faulty.after = lost
    with pytest.raises(EffectFailed):
        sender.send(through)
    faulty.after = None
    store.change_booking("a", {"end": utc_text(at(45))})
    (refused,) = sender.send(through).refused
    assert refused.text == "a was changed by somebody else meanwhile"
    found = store.booking("a")
    assert found is not None
    assert found.stored.end == utc_text(at(45))


def test_another_change_of_the_row_does_not_stop_ours(outbox: Outbox, faulty: Faulty, sender: Sender) -> None:
    store = faulty.store
    store.create_booking(NewBooking("a", "booked", at(0), at(60)))
    through = put(outbox, ChangeEntry("a", {"end": utc_text(at(30))}, {"end": utc_text(at(60))}))

    def between(name: str, _values: tuple[Any, ...]) -> None:
        if name == "change_booking":
            faulty.before = None
            store.change_booking("a", {"title": "Anna"})

    faulty.before = between
    assert [row.end for row in sender.send(through).rows] == [utc_text(at(30))]
    kept = store.booking("a")
    assert kept is not None
    assert kept.title == "Anna"


def test_an_inventory_of_a_fresh_file_is_empty(outbox: Outbox) -> None:
    assert outbox.inventory() == BridgeInventory(outbox=OutboxInventory())
