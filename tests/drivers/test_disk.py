import multiprocessing
import os
import stat
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from edge_agent.drivers.disk import (
    SHARED_MODE,
    PathRefused,
    folder_beneath,
    open_beneath,
    settle,
    write_durably,
)
from edge_agent.drivers.media import delete_media

LEFT, FILM, OTHER, GROUP = 61001, 61002, 61003, 61000
"""Users and a group that nobody has: only their numbers matter."""


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


def as_user(uid: int, what: Callable[[], object]) -> str:
    """What happens when a user of the group does it: the error's name, or nothing."""

    def become(answer: Connection) -> None:
        os.setgroups([])
        os.setgid(GROUP)
        os.setuid(uid)
        os.umask(0o027)
        try:
            what()
        except OSError as error:
            answer.send(type(error).__name__)
        else:
            answer.send("")

    forked = multiprocessing.get_context("fork")  # the interpreter may be where only root may look
    here, there = forked.Pipe(duplex=False)
    child = forked.Process(target=become, args=(there,))
    child.start()
    answer = str(here.recv())
    child.join()
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become two users")
def test_agents_of_several_users_share_a_recording_and_write_only_their_part(open_folder: Path) -> None:
    (open_folder / "recordings").mkdir()
    os.chown(open_folder / "recordings", 0, GROUP)
    (open_folder / "recordings").chmod(0o770)
    recording = open_folder / "recordings/b1"

    def make(part: str) -> Callable[[], object]:
        return lambda: (folder_beneath(open_folder, f"recordings/b1/{part}") / "x").write_text(part)

    assert as_user(LEFT, make("left")) == ""
    assert as_user(FILM, make("film")) == ""
    assert stat.S_IMODE(recording.stat().st_mode) == SHARED_MODE
    assert as_user(FILM, (recording / "left/x").read_text) == ""
    harms: tuple[Callable[[], object], ...] = (
        lambda: (recording / "left/x").write_text("mine"),
        (recording / "left/x").unlink,
        lambda: (recording / "left").rename(recording / "gone"),
        (recording / "left/y").touch,
    )
    assert [as_user(FILM, harm) for harm in harms] == ["PermissionError"] * len(harms)
    assert as_user(OTHER, (recording / "left/x").read_text) == ""
    assert as_user(LEFT, lambda: delete_media(open_folder, "b1", ["left"])) == ""
    assert as_user(FILM, lambda: delete_media(open_folder, "b1", ["film"])) == ""
    assert not recording.exists()


def test_a_durable_write_replaces_and_leaves_nothing_beside(root: Path) -> None:
    for content in (b"one", b"two"):
        write_durably(root / "x.json", content)
        assert (root / "x.json").read_bytes() == content
    (root / "y.tmp").write_bytes(b"three")
    settle(root / "y.tmp", root / "x.json")
    assert (root / "x.json").read_bytes() == b"three"
    assert sorted(path.name for path in root.iterdir()) == ["recordings", "x.json"]
