import os
from pathlib import Path

import pytest

from edge_agent.drivers.disk import PathRefused, folder_beneath, open_beneath, settle, write_durably


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "recordings/b1/left").mkdir(parents=True)
    (root / "recordings/b1/left/a.mp4").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    return root


def test_a_file_below_the_root_is_opened(root: Path) -> None:
    with os.fdopen(open_beneath(root, "recordings/b1/left/a.mp4"), "rb") as file:
        assert file.read() == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../secret",
        "recordings/../../secret",
        "recordings/./b1",
        "a//b",
        "-i",
        "a/-y",
        "a\nb",
        "a\0b",
    ],
)
def test_a_path_that_could_lead_out_is_refused_in_one_line(root: Path, path: str) -> None:
    for refuse in (open_beneath, folder_beneath):
        with pytest.raises(PathRefused) as refused:
            refuse(root, path)
        assert "\n" not in str(refused.value)


def test_links_are_refused_at_any_level(root: Path) -> None:
    (root / "file").symlink_to(root.parent / "secret")
    (root / "recordings/b2").symlink_to(root / "recordings/b1")
    for path in ("file", "recordings/b2/left/a.mp4"):
        with pytest.raises(PathRefused, match="link"):
            open_beneath(root, path)
    with pytest.raises(PathRefused, match="link"):
        folder_beneath(root, "recordings/b2/film")
    assert not (root / "recordings/b1/film").exists()


def test_what_is_not_there_is_not_there(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_beneath(root, "recordings/b9/left/a.mp4")


def test_folders_are_made_once(root: Path) -> None:
    assert folder_beneath(root, "recordings/b3/film") == root / "recordings/b3/film"
    assert folder_beneath(root, "recordings/b3/film").is_dir()


def test_a_durable_write_replaces_and_leaves_nothing_beside(root: Path) -> None:
    for content in (b"one", b"two"):
        write_durably(root / "x.json", content)
        assert (root / "x.json").read_bytes() == content
    (root / "y.tmp").write_bytes(b"three")
    settle(root / "y.tmp", root / "x.json")
    assert (root / "x.json").read_bytes() == b"three"
    assert sorted(path.name for path in root.iterdir()) == ["recordings", "x.json"]
