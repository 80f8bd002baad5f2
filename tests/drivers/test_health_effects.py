import base64
import hashlib
import json
from pathlib import Path

import pytest

from edge_agent.core.agent import Effect
from edge_agent.core.effects import DeleteMedia, HealthInventory, Measure, Measured, WriteReceipt
from edge_agent.core.errors import EffectFailed
from edge_agent.core.receipt import receipt_of
from edge_agent.core.settings import Settings, Storage
from edge_agent.drivers.health_effects import HealthDrivers
from schemas.receipt import Receipt
from tests.support.recordings import facts


@pytest.fixture
def drivers(tmp_path: Path) -> HealthDrivers:
    return HealthDrivers(Settings(storage=Storage(root=str(tmp_path))))


def test_metrics_are_read_from_this_machine(drivers: HealthDrivers, tmp_path: Path) -> None:
    media = tmp_path / "recordings" / "b1" / "film"
    media.mkdir(parents=True)
    (media / "film.mp4").write_bytes(b"x" * 1000)
    (media / "link").symlink_to("/etc/passwd")
    measured = drivers.run(Measure("measure"))
    assert isinstance(measured, Measured)
    assert 1000 <= measured.media_bytes < 1100
    assert 0 < measured.disk_free_bytes <= measured.disk_total_bytes
    assert measured.memory_used_pct is not None
    assert 0 < measured.memory_used_pct <= 100
    assert isinstance(measured.clock_synced, bool)


def test_a_root_that_is_not_there_yet_is_measured_where_it_will_be(tmp_path: Path) -> None:
    drivers = HealthDrivers(Settings(storage=Storage(root=str(tmp_path / "not" / "yet"))))
    measured = drivers.run(Measure("measure"))
    assert isinstance(measured, Measured)
    assert measured.media_bytes == 0
    assert drivers.inventory() == HealthInventory()


def test_a_receipt_is_written_whole_with_the_hash_the_bucket_will_say(
    drivers: HealthDrivers, tmp_path: Path
) -> None:
    receipt = receipt_of(facts(), "ready", {"merger": "1"})
    effect = WriteReceipt("receipt:b1", "b1", receipt)
    written = drivers.run(effect)
    file = tmp_path / "recordings" / "b1" / "receipt" / "receipt.json"
    content = file.read_bytes()
    assert Receipt.model_validate(json.loads(content)) == receipt
    digest = hashlib.sha256(hashlib.sha256(content).digest()).digest()
    assert getattr(written, "sha256", None) == f"{base64.b64encode(digest).decode()}-1"
    assert getattr(written, "path", None) == "recordings/b1/receipt/receipt.json"
    assert drivers.run(effect) == written
    assert drivers.inventory() == HealthInventory({"b1": len(content)})
    assert [place.name for place in file.parent.iterdir()] == ["receipt.json"]
    assert drivers.run(DeleteMedia("delete:b1", "b1", ("receipt",))) is None
    assert drivers.inventory() == HealthInventory()


def test_a_receipt_does_not_follow_a_link_out_of_the_root(drivers: HealthDrivers, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "recordings").symlink_to(outside)
    with pytest.raises(EffectFailed) as failure:
        drivers.run(WriteReceipt("receipt:b1", "b1", receipt_of(facts(), "ready", {})))
    assert failure.value.kind == "input"
    assert list(outside.iterdir()) == []


def test_an_effect_of_somebody_else_is_a_bug(drivers: HealthDrivers) -> None:
    with pytest.raises(EffectFailed) as failure:
        drivers.run(Effect("x"))
    assert failure.value.kind == "bug"
