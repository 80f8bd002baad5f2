"""What every store must do for its device; each store's test class inherits it and gives `store`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from cloud_bridge.stores import Conflict, Missing, NewBooking, Store
from edge_agent.core.effects import Notice, ResultRow, StoredCommand

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def book(store: Store, booking_id: str, hours: int = 0) -> None:
    start = NOON + hours * HOUR
    store.create_booking(NewBooking(booking_id, "booked", start, start + HOUR))


def body_of(store: Store, booking_id: str, kind: str) -> Mapping[str, JsonValue] | None:
    found = store.results(booking_id).get(kind)
    return found.body if found else None


def order(store: Store, **more: JsonValue) -> str:
    return store.order_command({"target": "camera_left", "name": "restart", "by": "olga", **more})


class DeviceConformance:
    def test_results_are_kept_in_their_order_and_an_old_one_come_late_changes_nothing(
        self, store: Store
    ) -> None:
        book(store, "a")
        rows = [
            ResultRow("a", "recording", 5, {"state": "recording", "progress_pct": 10}),
            ResultRow("a", "upload", 6, {"status": "running", "objects": []}),
            ResultRow("a", "recording", 7, {"state": "ready", "progress_pct": 100}),
        ]
        assert store.save_results(rows) == 3
        assert store.save_results(rows) == 0
        assert store.save_results([ResultRow("a", "recording", 6, {"state": "recording"})]) == 0
        assert body_of(store, "a", "recording") == {"state": "ready", "progress_pct": 100}
        assert body_of(store, "a", "upload") == {"status": "running", "objects": []}
        assert store.save_results([ResultRow("a", "recording", 8, {"state": "partial"})]) == 1
        assert body_of(store, "a", "recording") == {"state": "partial"}
        assert store.save_results([]) == 0

    def test_a_result_may_be_of_a_booking_nobody_knows(self, store: Store) -> None:
        assert store.save_results([ResultRow("made-here", "recording", 1, {"state": "recording"})]) == 1
        assert body_of(store, "made-here", "recording") == {"state": "recording"}

    def test_a_notice_is_written_once(self, store: Store) -> None:
        one = Notice("court-1:film:a", "film_ready", "a", "2026-03-01T13:00:00.000000Z", {"duration_s": 60.0})
        two = Notice("court-1:film:b", "film_partial", "b", "2026-03-01T13:00:00.000000Z", {})
        assert store.add_notices([one]) == 1
        assert store.add_notices([one, two]) == 1
        assert store.add_notices([one, two]) == 0
        assert store.add_notices([]) == 0

    def test_a_command_comes_with_a_poll_until_it_is_answered(self, store: Store) -> None:
        before = store.poll(0).cursor
        deadline = "2026-03-01T12:05:00.000000Z"
        command_id = order(store, args={"agent": "merger"}, deadline=deadline)
        polled = store.poll(before)
        (command,) = polled.commands
        assert command == StoredCommand(
            command_id,
            "camera_left",
            "restart",
            {"agent": "merger"},
            deadline,
            command.created_at,
            command.changed,
        )
        assert before < command.changed <= polled.cursor
        assert store.poll(polled.cursor).commands == ()
        answer: dict[str, JsonValue] = {"id": command_id, "status": "ok", "message": "restarted", "data": {}}
        assert store.answer_command(command_id, answer)
        assert not store.answer_command(command_id, {**answer, "status": "error"})
        assert store.poll(0).commands == ()
        with pytest.raises(Missing):
            store.answer_command("c-nobody-gave", answer)

    def test_a_command_with_an_id_is_given_once(self, store: Store) -> None:
        assert order(store, id="c1") == "c1"
        assert order(store, id="c1") == "c1"
        assert [command.id for command in store.poll(0).commands] == ["c1"]
        with pytest.raises(Conflict):
            order(store, id="c1", name="snapshot")
        assert order(store) != order(store)
        with pytest.raises(Conflict):
            store.order_command({"name": "restart"})

    def test_a_share_comes_with_a_poll_when_it_is_made_and_when_it_ends(self, store: Store) -> None:
        book(store, "a")
        before = store.poll(0).cursor
        made = store.make_share("a", NOON + 24 * HOUR)
        first = store.poll(before)
        (share,) = first.shares
        assert (share.booking_id, share.share_id, share.expires_at) == ("a", made.share_id, made.expires_at)
        assert (share.revoked_at, share.delivered_at, first.rows) == (None, None, ())
        assert before < share.changed <= first.cursor
        store.make_share("a", NOON + 24 * HOUR)
        assert store.poll(first.cursor).shares == ()
        store.revoke_share(made.share_id)
        second = store.poll(first.cursor)
        assert [(s.share_id, s.revoked_at is not None) for s in second.shares] == [(made.share_id, True)]

    def test_of_several_shares_the_one_that_lives_counts(self, store: Store) -> None:
        book(store, "a")
        ends = datetime(2100, 1, 1, tzinfo=UTC)
        first, _ = store.issue_link("a", ends)
        second, _ = store.issue_link("a", ends)
        cursor = store.poll(0).cursor
        store.revoke_share(second.share_id)
        assert [share.share_id for share in store.poll(cursor).shares] == [first.share_id]

    def test_everything_that_changes_is_counted_by_one_counter(self, store: Store) -> None:
        book(store, "a")
        store.make_share("a", NOON + 24 * HOUR)
        order(store)
        book(store, "b", 1)
        polled = store.poll(0)
        numbers = [row.changed for row in polled.rows]
        numbers += [share.changed for share in polled.shares]
        numbers += [command.changed for command in polled.commands]
        assert len(set(numbers)) == 4
        assert max(numbers) <= polled.cursor
        assert [row.changed for row in polled.rows] == sorted(row.changed for row in polled.rows)

    def test_a_long_answer_comes_in_pieces(self, store: Store) -> None:
        for number in range(502):
            book(store, f"b{number}", number)
        order(store)
        first = store.poll(0)
        assert ([row.id for row in first.rows], first.complete) == ([f"b{n}" for n in range(500)], False)
        assert (first.commands, first.count) == ((), 502)
        second = store.poll(first.cursor)
        assert [row.id for row in second.rows] == ["b500", "b501"]
        assert (len(second.commands), second.complete) == (1, True)
        assert store.poll(second.cursor).rows == ()
