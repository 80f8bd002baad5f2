from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from cloud_bridge.effects import BridgeEffects
from cloud_bridge.outbox import Outbox
from cloud_bridge.stores import SqliteStore
from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    AwaitHint,
    BridgeInventory,
    ChangeBooking,
    Enqueue,
    KeepSeen,
    Polled,
    PollStore,
    Queued,
    ResultEntry,
    SaveAutomatic,
    SaveBooking,
    SendBatch,
    Sent,
    StoredBooking,
    StoredCommand,
)
from edge_agent.core.errors import EffectFailed
from schemas.base import utc_text
from schemas.commands import BookArgs
from schemas.recording import Recording
from tests.cloud_bridge.made import at
from tests.cloud_bridge.served import HandClock


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "store.sqlite", HandClock())


@pytest.fixture
def effects(store: SqliteStore, tmp_path: Path) -> Generator[BridgeEffects]:
    effects = BridgeEffects(store, Outbox(tmp_path / "outbox.sqlite", "here", HandClock()))
    yield effects
    effects.close()


def save(booking_id: str = "a", begin: float = 0, end: float = 60, **more: Any) -> SaveBooking:
    request = BookArgs(start=at(begin), end=at(end), **more)
    return SaveBooking(
        f"book:{booking_id}:k", booking_id, "booked", utc_text(at(begin)), utc_text(at(end)), request
    )


def test_a_booking_goes_into_the_store_whole_and_back_without_what_is_personal(
    effects: BridgeEffects, store: SqliteStore
) -> None:
    asked = save(title="T", contacts=("x@example.org",), layout="stacked", deliver=("film", "cameras"))
    made = effects.run(asked)
    assert isinstance(made, StoredBooking)
    assert (made.layout, made.deliver, made.changed) == ("stacked", ("film", "cameras"), 1)
    assert effects.run(asked) == made
    kept = store.booking("a")
    assert kept is not None
    assert (kept.stored, kept.title, kept.contacts) == (made, "T", ("x@example.org",))
    assert effects.run(PollStore("poll", 0)) == Polled(1, (made,), 1, automatic=True)
    assert effects.inventory() == BridgeInventory((made,))


def test_what_the_store_said_is_there_without_asking_it(effects: BridgeEffects, store: SqliteStore) -> None:
    made = effects.run(save())
    assert isinstance(made, StoredBooking)
    effects.run(KeepSeen("seen:1", 1, False, (made,)))
    store.close()
    assert effects.inventory() == BridgeInventory((made,), 1, automatic=False)


def test_manual_and_cut_need_no_request(effects: BridgeEffects) -> None:
    made = effects.run(SaveBooking("k", "c", "cut", utc_text(at(0)), utc_text(at(1)), None, of="a"))
    assert isinstance(made, StoredBooking)
    assert (made.kind, made.of, made.record) == ("cut", "a", "yes")


@pytest.mark.parametrize(
    ("effect", "kind", "words"),
    [
        (save("b", 30, 90), "input", "b would overlap a (2026-03-01T12:00:00.000000Z to"),
        (save("a", 0, 90), "input", "there is another booking a"),
        (ChangeBooking("k", "x", {"status": "cancelled"}), "gone", "there is no booking x"),
        (AwaitHint("k"), "gone", "nobody hints"),
        (Effect("k"), "bug", "the bridge cannot do Effect"),
    ],
)
def test_a_refusal_is_one_clear_line(effects: BridgeEffects, effect: Effect, kind: str, words: str) -> None:
    effects.run(save())
    with pytest.raises(EffectFailed) as caught:
        effects.run(effect)
    assert (caught.value.kind, words in caught.value.text) == (kind, True)


def test_changes_results_and_the_switch(effects: BridgeEffects, store: SqliteStore) -> None:
    effects.run(save())
    changed = effects.run(ChangeBooking("k", "a", {"end": utc_text(at(30))}))
    assert isinstance(changed, StoredBooking)
    assert (changed.end, changed.changed) == (utc_text(at(30)), 2)
    effects.run(SaveAutomatic("k", False))
    assert store.automatic() is False
    message = Recording(state="ready", progress_pct=100)
    queued = effects.run(Enqueue("keep", (ResultEntry("a", "recording", message),)))
    assert isinstance(queued, Queued)
    (seq,) = queued.seqs
    assert effects.run(SendBatch("send", seq)) == Sent(seq, results=(("a", "recording", seq),))
    assert Recording.model_validate(store.results("a")["recording"].body) == message


def test_commands_from_afar_come_validated_and_what_is_personal_in_them_is_no_plain_text(
    effects: BridgeEffects, store: SqliteStore
) -> None:
    args: dict[str, JsonValue] = {"start": utc_text(at(0)), "end": utc_text(at(60)), "title": "Anna"}
    store.order_command({"id": "c1", "target": "booking", "name": "book", "args": args})
    store.order_command({"id": "c2", "target": "booking", "name": "dance", "args": {}})
    store.order_command({"id": "c3", "target": "booking", "name": "cut", "args": {"last_s": "x"}})
    polled = effects.run(PollStore("poll", 0))
    assert isinstance(polled, Polled)
    found: dict[str, StoredCommand] = {command.id: command for command in polled.commands}
    assert {command.args == {} for command in found.values()} == {True}
    assert found["c1"].request == BookArgs(start=at(0), end=at(60), title="Anna")
    assert found["c2"].refusal == "booking knows no command 'dance'"
    assert (found["c3"].refusal or "").startswith("last_s: ")


class Bell:
    """A hint that comes so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def wait(self) -> bool:
        self.times -= 1
        return self.times >= 0

    def close(self) -> None:
        self.times = 0


def test_a_hint_is_waited_for_until_there_will_be_none(store: SqliteStore, tmp_path: Path) -> None:
    effects = BridgeEffects(store, Outbox(tmp_path / "outbox.sqlite", "here"), Bell(1))
    assert effects.run(AwaitHint("hint")) is None
    with pytest.raises(EffectFailed):
        effects.run(AwaitHint("hint"))
    effects.close()
