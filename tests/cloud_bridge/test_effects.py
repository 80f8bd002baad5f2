from collections.abc import Generator
from pathlib import Path

import pytest

from cloud_bridge.effects import BridgeEffects
from cloud_bridge.stores import SqliteStore
from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    BridgeInventory,
    ChangeBooking,
    MakeShare,
    Polled,
    PollStore,
    SaveAutomatic,
    SaveBooking,
    SaveResult,
    ShareMade,
    StoredBooking,
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
def effects(store: SqliteStore) -> Generator[BridgeEffects]:
    effects = BridgeEffects(store)
    yield effects
    effects.close()


def save(booking_id: str = "a", begin: float = 0, end: float = 60, **more: object) -> SaveBooking:
    request = BookArgs(start=at(begin), end=at(end), **more)  # type: ignore[arg-type]
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
    assert effects.inventory() == BridgeInventory((made,), 1, automatic=True)


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
        (MakeShare("k", "x", utc_text(at(0))), "gone", "there is no booking x"),
        (Effect("k"), "bug", "the bridge cannot do Effect"),
    ],
)
def test_a_refusal_is_one_clear_line(effects: BridgeEffects, effect: Effect, kind: str, words: str) -> None:
    effects.run(save())
    with pytest.raises(EffectFailed) as caught:
        effects.run(effect)
    assert (caught.value.kind, words in caught.value.text) == (kind, True)


def test_changes_results_shares_and_the_switch(effects: BridgeEffects, store: SqliteStore) -> None:
    effects.run(save())
    changed = effects.run(ChangeBooking("k", "a", {"end": utc_text(at(30))}))
    assert isinstance(changed, StoredBooking)
    assert (changed.end, changed.changed) == (utc_text(at(30)), 2)
    effects.run(SaveAutomatic("k", False))
    assert store.automatic() is False
    message = Recording(state="ready", progress_pct=100)
    effects.run(SaveResult("k", "a", "recording", message))
    assert Recording.model_validate(store.results("a")["recording"].body) == message
    made = effects.run(MakeShare("k", "a", utc_text(at(999))))
    assert isinstance(made, ShareMade)
    assert made.expires_at == utc_text(at(999))
    assert effects.run(MakeShare("k", "a", utc_text(at(5)))) == made


def test_a_store_that_cannot_be_read_at_start_is_an_empty_inventory(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    effects = BridgeEffects(store)
    store._db._db.execute("DROP TABLE bookings")
    assert effects.inventory() == BridgeInventory()
    assert "cannot be read" in caplog.text
    effects.close()
