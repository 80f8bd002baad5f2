import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.effects import CaptureStop, DeleteMedia, WritePlans
from edge_agent.core.errors import EffectFailed
from edge_agent.drivers.plans import MergerDrivers
from schemas.work import Basis, Pick, Run, SlotPlan, Source


def a_plan(index: int, repeated: int = 0) -> SlotPlan:
    picks = (Pick(source=0, first=0, count=120),)
    source = Source(path="recordings/b1/left/a-0.mp4", frames=120)
    return SlotPlan(
        index=index,
        first_frame=index * 120,
        frames=120,
        runs=(Run(picture="side_by_side", frames=120, left=picks, right=picks),),
        left_sources=(source,),
        right_sources=(source,),
        repeated=repeated,
        basis=Basis(mappings=(("boot", 5, True),), left_ns=7, skew=((0, 120),)),
    )


def write(drivers: MergerDrivers, *plans: SlotPlan) -> object:
    return drivers.run(WritePlans("plans:b1", "b1", plans))


def file_of(root: Path) -> Path:
    return root / "recordings/b1/plan/plans.jsonl"


def test_plans_are_found_again_as_they_were_written(tmp_path: Path) -> None:
    drivers = MergerDrivers(tmp_path)
    assert write(drivers, a_plan(0), a_plan(1)) == (a_plan(0), a_plan(1))
    assert write(drivers, a_plan(2)) == (a_plan(2),)
    assert file_of(tmp_path).read_bytes().count(b"\n") == 3
    assert MergerDrivers(tmp_path).inventory().plans == {"b1": (a_plan(0), a_plan(1), a_plan(2))}


def test_an_index_already_there_is_left_and_given_back_as_it_is(tmp_path: Path) -> None:
    write(MergerDrivers(tmp_path), a_plan(0))
    before = file_of(tmp_path).read_bytes()
    assert write(MergerDrivers(tmp_path), a_plan(0, repeated=9)) == (a_plan(0),)
    assert file_of(tmp_path).read_bytes() == before
    assert write(MergerDrivers(tmp_path), a_plan(0, repeated=9), a_plan(1)) == (a_plan(0), a_plan(1))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_file_torn_anywhere_loses_only_the_torn_plans(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("torn")
    write(MergerDrivers(root), a_plan(0), a_plan(1), a_plan(2))
    content = file_of(root).read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    os.truncate(file_of(root), cut)
    whole = content[:cut].count(b"\n")
    expected = tuple(a_plan(index) for index in range(whole))
    assert MergerDrivers(root).inventory().plans == {"b1": expected}
    # Written again after the crash, with other plans for what was lost: a torn line never comes back.
    rest = tuple(a_plan(index, repeated=1) for index in range(whole, 4))
    assert write(MergerDrivers(root), *rest) == rest
    assert MergerDrivers(root).inventory().plans == {"b1": (*expected, *rest)}


def test_a_torn_end_that_was_never_a_line_is_cut_off(tmp_path: Path) -> None:
    write(MergerDrivers(tmp_path), a_plan(0))
    with file_of(tmp_path).open("ab") as file:
        file.write(b'{"index": 1, "first_fr')
    write(MergerDrivers(tmp_path), a_plan(1))
    assert MergerDrivers(tmp_path).inventory().plans == {"b1": (a_plan(0), a_plan(1))}
    assert file_of(tmp_path).read_bytes().count(b"\n") == 2


def test_a_file_changed_behind_the_driver_is_read_again(tmp_path: Path) -> None:
    drivers = MergerDrivers(tmp_path)
    write(drivers, a_plan(0), a_plan(1))
    os.truncate(file_of(tmp_path), 0)
    assert write(drivers, a_plan(1, repeated=3)) == (a_plan(1, repeated=3),)
    assert MergerDrivers(tmp_path).inventory().plans == {"b1": (a_plan(1, repeated=3),)}


def test_the_file_is_synced_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    write(MergerDrivers(tmp_path), a_plan(0))
    assert file_of(tmp_path).stat().st_size in synced


def test_a_full_disk_leaves_what_was_there_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drivers = MergerDrivers(tmp_path)
    write(drivers, a_plan(0))
    before = file_of(tmp_path).read_bytes()
    real = os.pwrite

    def pwrite(file: int, content: bytes, at: int) -> int:
        real(file, content[:50], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(EffectFailed, match="No space left") as failed:
        write(drivers, a_plan(1))
    assert failed.value.kind == "full"
    assert file_of(tmp_path).read_bytes() == before
    monkeypatch.setattr(os, "pwrite", real)
    assert write(drivers, a_plan(1)) == (a_plan(1),)


def test_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "recordings/b1").mkdir(parents=True)
    (root / "recordings/b1/plan").symlink_to(elsewhere)
    with pytest.raises(EffectFailed) as failed:
        write(MergerDrivers(root), a_plan(0))
    assert failed.value.kind == "permanent"
    assert list(elsewhere.iterdir()) == []


def test_deleting_forgets_the_plans(tmp_path: Path) -> None:
    drivers = MergerDrivers(tmp_path)
    write(drivers, a_plan(0))
    for _ in range(2):
        drivers.run(DeleteMedia("delete:b1", "b1", ("plan",)))
    assert not file_of(tmp_path).exists()
    assert drivers.inventory().plans == {}
    assert write(drivers, a_plan(0, repeated=1)) == (a_plan(0, repeated=1),)


def test_another_agent_s_effect_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(EffectFailed) as failed:
        MergerDrivers(tmp_path).run(CaptureStop("stop"))
    assert failed.value.kind == "bug"
