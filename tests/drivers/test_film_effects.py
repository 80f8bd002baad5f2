"""The processor's drivers on real files: ffmpeg renders, films grow, are killed, run out of disk, and go."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import pytest
from PIL import Image

from edge_agent.core.agent import Effect
from edge_agent.core.effects import (
    AppendCamera,
    AppendSlot,
    CloseCamera,
    CloseFilm,
    DeleteMedia,
    FilmFile,
    FilmFormat,
    MakePoster,
    Prepare,
    Prepared,
    ProcessorInventory,
    Render,
    Rendered,
    SettleFile,
)
from edge_agent.core.errors import EffectFailed
from edge_agent.core.filming import INTRO
from edge_agent.core.settings import Film, Settings
from edge_agent.drivers.cameras.base import NS_PER_S, CaptureSpec
from edge_agent.drivers.cameras.capture import claim
from edge_agent.drivers.film_effects import ProcessorDrivers
from schemas.booking import AssetRef, Logo
from schemas.health import Asset
from schemas.registry import ASSET
from schemas.registry import SLOTS as SLOTS_TOPIC
from schemas.work import Pick, Run, SlotPlan, SlotsMinute, Source
from tests.agents.processor_rig import Disk, Rig, booking
from tests.conformance.cameras import BOOT_ID, capturing

FORMAT = FilmFormat(320, 90, 30, "ultrafast", 23, 2_000_000, "side_by_side")
FRAMES = 60
SLOTS = 3


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def decoded(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@dataclass
class Court:
    """A small recording below a root, and the drivers that film it."""

    root: Path
    drivers: ProcessorDrivers = field(init=False)

    def __post_init__(self) -> None:
        self.drivers = ProcessorDrivers(self.root)

    @property
    def folder(self) -> Path:
        return self.root / "recordings/b1/film"

    def again(self) -> None:
        """A new process."""
        self.drivers.close()
        self.drivers = ProcessorDrivers(self.root)

    def plan(self, index: int) -> SlotPlan:
        pick = Pick(source=0, first=0, count=FRAMES)
        run = Run(picture="side_by_side", frames=FRAMES, left=(pick,), right=(pick,))
        left, right = (
            (Source(path=f"recordings/b1/{cam}/s-{index}.mp4", frames=FRAMES),) for cam in ("left", "right")
        )
        first = index * FRAMES
        return SlotPlan(
            index=index, first_frame=first, frames=FRAMES, runs=(run,), left_sources=left, right_sources=right
        )

    def prepare(self, **more: object) -> Prepared:
        intro_sha, logo_sha = (sha(self.root / f"assets/{name}") for name in ("intro", "logo"))
        logo = Logo(key="l", sha256=logo_sha, bytes=1, slot="club", place="top_left", size=20.0)
        intro = AssetRef(key="i", sha256=intro_sha, bytes=1)
        paths = {intro_sha: "assets/intro", logo_sha: "assets/logo"}
        effect = Prepare("prepare:b1", "b1", FORMAT, (logo,), intro, paths, fix=True)
        result = self.drivers.run(replace(effect, **more))  # type: ignore[arg-type]
        assert isinstance(result, Prepared)
        return result

    def render(self, index: int, **more: object) -> Rendered:
        effect = Render(f"render:b1:{index}", "b1", self.plan(index), FORMAT, "full", (), 0, deadline_s=60)
        result = self.drivers.run(replace(effect, **more))  # type: ignore[arg-type]
        assert isinstance(result, Rendered)
        return result

    def append(self, index: int, path: str | None = None, frames: int = FRAMES) -> FilmFile:
        path = path or f"recordings/b1/film/slot-{index:06d}.mp4"
        return self.file(AppendSlot(f"append:b1:{index}", "b1", index, path, frames, 30))

    def file(self, effect: object) -> FilmFile:
        result = self.drivers.run(effect)  # type: ignore[arg-type]
        assert isinstance(result, FilmFile)
        return result

    def close(self) -> FilmFile:
        self.file(CloseFilm("close:b1", "b1", 30))
        return self.file(SettleFile("settle:b1", "b1", "film"))

    def slots(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("slot-*"))

    def refused(self, effect: object) -> str:
        with pytest.raises(EffectFailed) as failure:
            self.drivers.run(effect)  # type: ignore[arg-type]
        return failure.value.kind


def build(root: Path) -> None:
    """Segments of two cameras, an intro of another size and rate, a logo, and the rendered slots."""
    for cam in ("left", "right"):
        folder = root / f"recordings/b1/{cam}"
        folder.mkdir(parents=True)
        for index in range(SLOTS):
            picture = f"testsrc2=s=160x90:r=30,hue=h={index * 90 + 30 * len(cam)}"
            coding = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "60")
            out = str(folder / f"s-{index}.mp4")
            ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", str(FRAMES), *coding, out)
    (root / "assets").mkdir()
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=200x200:r=25", "-t", "1", "-f", "mp4", str(root / "assets/intro"))
    Image.new("RGBA", (40, 20), (255, 0, 0, 128)).save(root / "assets/logo", "PNG")
    court = Court(root)
    prepared = court.prepare()
    assert prepared.intro is not None
    for index in range(SLOTS):
        assert court.render(index, logos=prepared.logos).rung == "full"
    court.drivers.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    build(root)
    return root


@pytest.fixture
def court(built: Path, tmp_path: Path) -> Generator[Court]:
    """Everything is rendered, nothing appended."""
    shutil.copytree(built, tmp_path / "root")
    court = Court(tmp_path / "root")
    yield court
    court.drivers.close()


@pytest.fixture(scope="module")
def whole(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, FilmFile]:
    """The film of an undisturbed run."""
    root = tmp_path_factory.mktemp("whole") / "root"
    shutil.copytree(built, root)
    court = Court(root)
    prepared = court.prepare()
    assert prepared.intro is not None
    court.append(INTRO, prepared.intro, prepared.intro_frames)
    for index in range(SLOTS):
        court.append(index)
    file = court.close()
    court.drivers.close()
    return (court.folder / "film.mp4").read_bytes(), file


def appended(court: Court, slots: int) -> None:
    prepared = court.prepare()
    assert prepared.intro is not None
    court.append(INTRO, prepared.intro, prepared.intro_frames)
    for index in range(slots):
        court.append(index)


def test_intro_and_slots_become_one_film_that_decodes(court: Court) -> None:
    appended(court, SLOTS)
    poster = court.file(MakePoster("poster:b1", "b1", "recordings/b1/film/slot-000002.mp4"))
    growing = court.append(1)
    assert (growing.slots, growing.intro_frames, growing.frames) == (SLOTS, 30, 30 + SLOTS * FRAMES)
    assert not growing.complete
    closed = court.file(CloseFilm("close:b1", "b1", 30))
    assert closed.complete
    settled = court.close()
    assert settled.bytes_durable == settled.bytes == (court.folder / "film.mp4").stat().st_size
    assert settled.sha256 == closed.sha256
    assert decoded(court.folder / "film.mp4") == settled.frames
    assert court.slots() == []
    court.again()
    found = court.drivers.inventory()
    assert found.films["b1"]["film"] == settled
    assert (found.films["b1"]["poster"].bytes, found.films["b1"]["poster"].sha256) == (
        poster.bytes,
        poster.sha256,
    )
    assert found.slots["b1"] == {}
    assert court.close() == settled


def test_only_covered_slot_files_are_deleted(court: Court) -> None:
    (court.folder / "slot-notes!.mp4").write_bytes(b"")
    appended(court, 2)
    held = court.drivers._held["b1", "film"].film
    assert held is not None
    held._sync()
    covered = held.covered() - 1
    assert covered == 1  # the last fragment is open until the next slot begins
    court.append(2)
    assert court.slots() == ["slot-000001.mp4", "slot-000002.mp4", "slot-notes!.mp4"]


def test_an_index_that_is_there_or_too_high_changes_nothing(court: Court) -> None:
    appended(court, 1)
    before = court.append(0)
    assert court.append(2) == before
    assert court.append(1).slots == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_agent.core.effects import AppendSlot
from edge_agent.drivers.film_effects import ProcessorDrivers
root, intro = Path(sys.argv[1]), sys.argv[2]
drivers = ProcessorDrivers(root)
for index in range(-1, int(sys.argv[3])):
    path = intro if index < 0 else f"recordings/b1/film/slot-{index:06d}.mp4"
    drivers.run(AppendSlot("a", "b1", index, path, 30 if index < 0 else 60, 30))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("slots", range(SLOTS + 1))
def test_a_killed_film_goes_on_byte_for_byte(court: Court, whole: tuple[bytes, FilmFile], slots: int) -> None:
    intro = court.prepare().intro
    assert intro is not None
    argv = [sys.executable, "-c", textwrap.dedent(KILLED), str(court.root), intro, str(slots)]
    done = subprocess.run(argv, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    found = court.drivers.inventory()
    film = found.films["b1"].get("film")
    assert film is not None
    assert film.slots <= slots
    assert set(range(film.slots, SLOTS)) <= set(found.slots["b1"])
    assert found.dresses["b1"].format == FORMAT
    if not film.intro_frames:
        court.append(INTRO, intro, 30)
    for index in range(film.slots, SLOTS):
        court.append(index)
    assert court.close() == replace(whole[1], generation=film.generation)
    assert (court.folder / "film.mp4").read_bytes() == whole[0]


def test_a_film_cut_short_asks_for_what_it_lost(court: Court, whole: tuple[bytes, FilmFile]) -> None:
    appended(court, SLOTS)
    held = court.drivers._held["b1", "film"].film
    assert held is not None
    held._sync()
    court.drivers.close()
    film = court.folder / "film.mp4"
    os.truncate(film, 40_000)
    for path in court.folder.glob("slot-*"):
        path.unlink()
    court.drivers = ProcessorDrivers(court.root)
    found = court.drivers.inventory()
    state = found.films["b1"].get("film")
    lost = state.slots if state is not None else 0
    assert lost < SLOTS
    assert state is None or state.generation == 1
    assert court.append(SLOTS).slots == lost
    for index in range(lost, SLOTS):
        court.render(index, logos=court.prepare().logos)
        if not court.append(index).intro_frames:
            pytest.fail("the intro went with the slots")
    assert court.close().frames == decoded(film) == whole[1].frames


def test_slots_that_do_not_fit_are_refused_and_leave_the_film_alone(court: Court) -> None:
    appended(court, 1)
    size = (court.folder / "film.mp4").stat().st_size
    path = "recordings/b1/film/slot-000001.mp4"
    other = ["-f", "lavfi", "-i", "testsrc2=s=322x90:r=30", "-frames:v", str(FRAMES), "-bf", "0"]
    ffmpeg(*other, str(court.root / path))
    assert court.refused(AppendSlot("a", "b1", 1, path, FRAMES, 30)) == "input"
    (court.root / path).write_bytes(b"no film")
    assert court.refused(AppendSlot("a", "b1", 1, path, FRAMES, 30)) == "input"
    (court.root / path).unlink()
    assert court.refused(AppendSlot("a", "b1", 1, path, FRAMES, 30)) == "input"
    court.render(1)
    assert court.refused(AppendSlot("a", "b1", 1, path, FRAMES - 1, 30)) == "input"
    assert (court.folder / "film.mp4").stat().st_size == size
    assert court.append(1).slots == 2


def test_an_intro_of_other_libraries_is_left_out_and_forgotten(court: Court) -> None:
    intro = court.prepare().intro
    assert intro is not None
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x90:r=30", "-frames:v", "30", "-bf", "0"]
    ffmpeg(*picture, "-profile:v", "baseline", "-pix_fmt", "yuv420p", str(court.root / intro))
    assert court.refused(AppendSlot("a", "b1", INTRO, intro, 30, 30)) == "input"
    assert not (court.root / intro).exists()
    assert court.append(0).slots == 1


def test_what_a_film_is_begun_with_is_decided_once(court: Court) -> None:
    first = court.prepare()
    assert court.prepare(format=replace(FORMAT, crf=30), logos=(), intro=None) == first
    assert court.prepare(fix=False, logos=(), intro=None) == Prepared((), None, 0, {})
    court.again()
    dress = court.drivers.inventory().dresses["b1"]
    assert (dress.format, dress.prepared) == (FORMAT, first)


def test_an_account_beyond_repair_is_set_aside_and_the_others_are_found(court: Court) -> None:
    appended(court, 2)
    court.drivers.close()
    ledger = court.folder / "film.ledger"
    lines = ledger.read_text().splitlines(keepends=True)
    other = court.root / "recordings/b2/film"
    shutil.copytree(court.folder, other)
    broken = lines[0].replace('"init":"', '"init":"AAAA')
    (other / "film.ledger").write_text(broken + "".join(lines[1:]))
    (court.root / "recordings/b3").symlink_to(court.root / "recordings/b1")
    court.drivers = ProcessorDrivers(court.root)
    found = court.drivers.inventory()
    assert found.films["b1"]["film"].slots >= 1
    assert "b3" not in found.films
    assert "film" not in found.films["b2"]
    assert (other / "set-aside.film.mp4").exists()
    path = "recordings/b2/film/slot-000000.mp4"
    assert court.file(AppendSlot("a", "b2", 0, path, FRAMES, 30)).slots == 1


def test_a_deleted_recording_leaves_nothing_and_can_be_deleted_again(court: Court) -> None:
    appended(court, 1)
    delete = DeleteMedia("delete:b1", "b1", ("film",))
    assert court.drivers.run(delete) is None
    assert not court.folder.exists()
    assert (court.root / "recordings/b1/left").exists()
    assert court.drivers.run(delete) is None
    assert court.drivers.inventory().films == {}


@dataclass
class OnDisk(Disk):
    """The real drivers in the place of those that are values."""

    court: Court | None = None

    def run(self, effect: Effect) -> object:
        assert self.court is not None
        self.ran.append(effect)
        return self.court.drivers.run(effect)

    def inventory(self) -> ProcessorInventory:
        assert self.court is not None
        return self.court.drivers.inventory()


def test_agent_and_drivers_make_the_film_over_a_restart(court: Court, whole: tuple[bytes, FilmFile]) -> None:
    for path in (*court.folder.glob("slot-*"), court.folder / "dress.json"):
        path.unlink()
    settings = Settings(film=Film(width=320, height=90, fps=30, max_bitrate=2_000_000))
    rig = Rig(settings=settings, disk=OnDisk(court=court))
    named = {name: sha(court.root / f"assets/{name}") for name in ("logo", "intro")}
    mark = {"key": "l", "sha256": named["logo"], "bytes": 1, "slot": "club", "place": "top_left", "size": 20}
    rig.book(booking(branding=[mark], intro={"key": "i", "sha256": named["intro"], "bytes": 1}))
    for kind, digest in named.items():
        asset = {"state": "ready", "kind": kind, "path": f"assets/{kind}"}
        rig.put(ASSET.at(sha256=digest), Asset.model_validate(asset))
    plans = tuple(court.plan(index) for index in range(SLOTS))
    rig.put(SLOTS_TOPIC.at(id="b1", minute="0"), SlotsMinute(plans=plans[:2]))
    while len(rig.ran(AppendSlot)) < 2:
        rig.end(next(iter(rig.running)))
    court.again()
    rig.start()
    rig.put(SLOTS_TOPIC.at(id="b1", minute="1"), SlotsMinute(plans=plans[2:]))
    rig.merged(SLOTS)
    rig.settle()
    stage, film = rig.stage(), rig.object()
    assert (stage.status, dict(stage.rungs), stage.retries) == ("succeeded", {"full": SLOTS}, 0)
    assert film is not None
    assert (film.bytes, film.bytes_durable, film.hash) == (whole[1].bytes, film.bytes, whole[1].sha256)
    assert (court.folder / "film.mp4").read_bytes() == whole[0]
    assert rig.object("poster") is not None
    assert court.slots() == []


# --- camera files ---


@pytest.mark.realtime
def test_a_camera_file_of_what_the_capture_child_wrote(tmp_path: Path) -> None:
    spec = CaptureSpec(
        camera="left", backend="simulated", boot_id=BOOT_ID, width=160, height=90, segment_s=1.0
    )
    root, ring = tmp_path / "root", tmp_path / "ring"
    root.mkdir()
    with capturing(spec, ring) as session:
        session.until(lambda it: len(it.segments) >= 5)
    claimed = [
        claim(one, ring, root / "recordings/b1/left") for one in session.segments[1:5]
    ]  # the very first may be short
    begin_ns = claimed[0].t0_ns + NS_PER_S // 4
    end_ns = claimed[3].t0_ns + NS_PER_S // 4
    drivers, file, kept = ProcessorDrivers(root), None, 0
    for index, one in enumerate(claimed):
        times_ns = [one.t0_ns + offset * 1000 for offset in one.offsets_us]
        times_us = tuple((t - begin_ns) // 1000 if begin_ns <= t < end_ns else -1 for t in times_ns)
        kept += sum(time >= 0 for time in times_us) if index else 0
        path = f"recordings/b1/left/{one.name}.mp4"
        effect = AppendCamera(f"c{index}", "b1", "left", index, path, times_us, round(one.fps))
        file = drivers.run(effect)
        assert drivers.run(effect) == file
        drivers.close()
        drivers = ProcessorDrivers(root)
        assert drivers.inventory().films["b1"]["left"].last == one.name
    drivers.run(CloseCamera("close", "b1", "left", 30))
    whole = drivers.run(SettleFile("settle", "b1", "left"))
    drivers.close()
    assert isinstance(whole, FilmFile)
    assert (whole.complete, whole.frames, whole.bytes_durable) == (True, kept, whole.bytes)
    assert decoded(root / whole.path) == kept
    # the first segment's only key frame lies before the begin: all of it is left out
    assert kept > 60


def test_a_segment_that_cannot_be_copied_is_refused_and_the_next_goes_in(court: Court) -> None:
    times = tuple(k * 33_333 for k in range(FRAMES))
    (court.root / "recordings/b1/left/s-1.mp4").write_bytes(b"torn")

    def append(source: int, index: int, shift_us: int) -> AppendCamera:
        path = f"recordings/b1/left/s-{source}.mp4"
        return AppendCamera("c", "b1", "left", index, path, tuple(t + shift_us for t in times), 30)

    assert court.file(append(0, 0, 0)).frames == FRAMES
    assert court.refused(append(1, 1, 2_000_000)) == "input"
    assert court.refused(append(2, 1, 0)) == "input"  # its times do not rise
    assert court.file(append(2, 1, 4_000_000)).last == "s-2"
    assert court.file(append(2, 5, 9_000_000)).slots == 2
    court.file(CloseCamera("close", "b1", "left", 30))
    with av.open(str(court.folder / "left.mp4")) as container:
        assert [packet.pts is not None for packet in container.demux(video=0) if packet.size] == [True] * 120
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(6.0, abs=0.1)


# --- a full disk ---


@pytest.fixture
def small(tmp_path: Path) -> Generator[Path]:
    """A file system of 3 MB; only root can make one."""
    assert os.geteuid() == 0, "this test mounts a small tmpfs: run it as root"
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def test_a_full_disk_is_said_so_and_the_film_goes_on_when_there_is_room(
    built: Path, small: Path, whole: tuple[bytes, FilmFile]
) -> None:
    root = small / "root"
    shutil.copytree(built, root)
    court = Court(root)
    appended(court, 1)
    fill(small / "filler")
    assert court.refused(AppendSlot("a", "b1", 1, "recordings/b1/film/slot-000001.mp4", FRAMES, 30)) == "full"
    effect = Render("r", "b1", court.plan(2), FORMAT, "full", (), 0, deadline_s=60)
    assert court.refused(effect) == "full"
    (small / "filler").unlink()
    for index in range(1, SLOTS):
        court.append(index)
    assert court.close().frames == whole[1].frames
    assert (court.folder / "film.mp4").read_bytes() == whole[0]
    court.drivers.close()
