"""Slots are judged picture by picture: every picture of the test cameras carries its camera and number."""

import hashlib
import io
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from edge_agent.core.effects import FilmFormat, MakePoster, Prepare, Prepared, Render
from edge_agent.core.errors import EffectFailed
from edge_agent.drivers.film import read_format
from edge_agent.drivers.render import Renderer
from schemas.booking import AssetRef, Logo, Place
from schemas.work import Pick, Picture, Run, SlotPlan, Source

Luma = npt.NDArray[np.uint8]
Mark = tuple[str, Place, bytes]
Marks = list[Mark]
FPS = 10
WIDTH, HEIGHT = 320, 180
FILM = FilmFormat(640, 180, FPS, "ultrafast", 23, 2_000_000, "side_by_side")
BITS = 12
CARD = ("card", -1)
CAMERAS = {"left": 1, "right": 2}


def draw(camera: str, number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """White and black cells across the middle: 2 bits camera, 10 bits number; the rest is grey."""
    picture = np.full((height, width, 3), 110, np.uint8)
    cell = width // BITS
    value = CAMERAS[camera] << 10 | number
    for bit in range(BITS):
        shade = 230 if value >> (BITS - 1 - bit) & 1 else 20
        picture[height // 3 : height * 2 // 3, bit * cell : (bit + 1) * cell] = shade
    return picture


def read(luma: Luma, box: tuple[int, int, int, int]) -> tuple[str, int]:
    """What a part of a picture shows."""
    x, y, width, height = box
    cell = width // BITS
    middle = luma[y + height * 4 // 9 : y + height * 5 // 9]
    cells = [middle[:, x + b * cell + cell // 3 : x + b * cell + cell * 2 // 3].mean() for b in range(BITS)]
    if max(cells) - min(cells) < 100:
        return CARD
    value = int("".join("1" if level > 120 else "0" for level in cells), 2)
    return {1: "left", 2: "right"}.get(value >> 10, "?"), value & 1023


def pictures(path: Path) -> list[Luma]:
    with av.open(str(path)) as film:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in film.decode(video=0)]


@dataclass
class Court:
    """A storage root with two cameras' segments of 20 pictures each."""

    root: Path
    renderer: Renderer

    def segment(
        self,
        camera: str,
        number: int,
        frames: int = 20,
        first: int | None = None,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        pix_fmt: str = "yuv420p",
        coding: Mapping[str, str] | None = None,
    ) -> Source:
        path = f"recordings/b1/{camera}/abcdef01-{number:06d}.mp4"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        fragmented = {"movflags": "empty_moov+frag_every_frame+default_base_moof"}
        with av.open(str(self.root / path), "w", format="mp4", options=fragmented) as film:
            stream = film.add_stream("libx264", rate=FPS)
            stream.width, stream.height = size
            stream.pix_fmt = pix_fmt
            # A time base and start that tell nothing of the frame's number.
            stream.codec_context.time_base = Fraction(1, 1000)
            usual = {"preset": "ultrafast", "tune": "zerolatency", "g": "20"}
            stream.options = {**usual, **(coding or {})}
            begin = number * 20 if first is None else first
            for k in range(frames):
                frame = av.VideoFrame.from_ndarray(draw(camera, begin + k, *size), format="rgb24")
                frame.pts = 77 + k * 100 + k * k
                frame.time_base = Fraction(1, 1000)
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
        return Source(path=path, frames=frames)

    def render(self, plan: SlotPlan, film: FilmFormat = FILM, **more: Any) -> list[Luma]:
        effect = Render("r", "b1", plan, film, "full", (), 0)
        self.done = self.renderer.render(replace(effect, **more))
        found = pictures(self.root / self.done.path)
        assert len(found) == self.done.frames == plan.frames
        assert self.done.bytes == (self.root / self.done.path).stat().st_size
        return found

    def halves(self, plan: SlotPlan, **more: Any) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        return [
            (read(luma, (0, 0, 320, 180)), read(luma, (320, 0, 320, 180)))
            for luma in self.render(plan, **more)
        ]


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path, Renderer(tmp_path, deadline_s=60))


def plan_of(
    court: Court, *runs: Run, left: Sequence[Source] | None = None, right: Sequence[Source] | None = None
) -> SlotPlan:
    return SlotPlan(
        index=3,
        first_frame=120,
        frames=sum(run.frames for run in runs),
        runs=runs,
        left_sources=tuple(left if left is not None else [court.segment("left", n) for n in range(2)]),
        right_sources=tuple(right if right is not None else [court.segment("right", n) for n in range(2)]),
    )


def pick(source: int, first: int, count: int, step: int = 1) -> Pick:
    return Pick.model_validate({"source": source, "first": first, "count": count, "step": step})


def both(*, left: Sequence[Pick], right: Sequence[Pick], picture: Picture = "side_by_side") -> Run:
    return Run(picture=picture, frames=sum(p.count for p in left), left=tuple(left), right=tuple(right))


def whole_run(picture: Picture = "side_by_side") -> Run:
    picks = [pick(0, 0, 20), pick(1, 0, 20)]
    return both(left=picks, right=picks, picture=picture)


def header(path: Path) -> bytes:
    with av.open(str(path)) as film:
        return film.streams.video[0].codec_context.extradata or b""


def test_a_slot_shows_the_planned_frames_by_number(court: Court) -> None:
    """Starts inside a segment, skips, repeats, crosses into the next; time stamps tell nothing."""
    left = [pick(0, 7, 5), pick(0, 14, 3), pick(0, 16, 2, 0), pick(0, 17, 3), pick(1, 0, 4)]
    right = [pick(0, 3, 1), pick(0, 3, 4, 0), pick(0, 4, 12)]
    halves = court.halves(plan_of(court, both(left=left, right=right)))
    expected_left = [7, 8, 9, 10, 11, 14, 15, 16, 16, 16, 17, 18, 19, 20, 21, 22, 23]
    expected_right = [3, 3, 3, 3, 3, *range(4, 16)]
    assert halves == [(("left", a), ("right", b)) for a, b in zip(expected_left, expected_right, strict=True)]
    assert (court.done.path, court.done.left_missing) == ("recordings/b1/film/slot-000003.mp4", 0)
    assert court.done.cpu_s > 0


def test_every_other_frame_of_a_source_may_be_shown(court: Court) -> None:
    picks = [pick(0, 2 * k, 1) for k in range(10)]
    halves = court.halves(plan_of(court, both(left=picks, right=[pick(0, 5, 10)])))
    assert halves == [(("left", 2 * k), ("right", 5 + k)) for k in range(10)]


def test_pictures_change_within_a_slot_on_the_planned_frame(court: Court) -> None:
    runs = [
        both(left=[pick(0, 0, 6)], right=[pick(0, 0, 6)]),
        Run(picture="left", frames=4, left=(pick(0, 6, 4),)),
        Run(picture="card", frames=3),
        Run(picture="right", frames=5, right=(pick(0, 13, 5),)),
        both(left=[pick(0, 18, 2), pick(1, 0, 3)], right=[pick(0, 18, 2), pick(1, 0, 3)]),
        Run(picture="card", frames=2),
        Run(picture="left", frames=2, left=(pick(1, 5, 2),)),
    ]
    found = court.render(plan_of(court, *runs))
    seen = [
        (read(p, (0, 0, 320, 180)), read(p, (320, 0, 320, 180)), read(p, (160, 0, 320, 180))) for p in found
    ]
    full = {*range(6), *range(18, 23)}
    alone = dict(zip(range(6, 10), [("left", k) for k in range(6, 10)], strict=True))
    alone |= {k: ("right", k) for k in range(13, 18)} | {25: ("left", 25), 26: ("left", 26)}
    alone |= dict.fromkeys((10, 11, 12, 23, 24), CARD)
    for k, (left, right, middle) in enumerate(seen):
        if k in full:
            assert (left, right) == (("left", k), ("right", k)), k
        else:
            assert middle == alone[k], k
    assert found[7][90, 20] < 40  # bars beside the one camera


def test_a_camera_that_appears_late_and_goes_early(court: Court) -> None:
    runs = [
        Run(picture="right", frames=9, right=(pick(0, 0, 9),)),
        both(left=[pick(0, 9, 8)], right=[pick(0, 9, 8)]),
        Run(picture="right", frames=13, right=(pick(0, 17, 3), pick(1, 0, 10))),
    ]
    found = court.render(plan_of(court, *runs))
    assert [read(p, (160, 0, 320, 180)) for p in found[:9]] == [("right", k) for k in range(9)]
    assert [read(p, (0, 0, 320, 180)) for p in found[9:17]] == [("left", k) for k in range(9, 17)]
    assert [read(p, (320, 0, 320, 180)) for p in found[9:17]] == [("right", k) for k in range(9, 17)]
    assert [read(p, (160, 0, 320, 180)) for p in found[17:]] == [("right", k) for k in range(17, 30)]


def test_stacked(court: Court) -> None:
    film = replace(FILM, width=320, height=360, layout="stacked")
    found = court.render(plan_of(court, whole_run("stacked")), film)
    seen = [(read(p, (0, 0, 320, 180)), read(p, (0, 180, 320, 180))) for p in found]
    assert seen == [(("left", k), ("right", k)) for k in range(40)]


def test_a_single_camera_fills_the_film(court: Court) -> None:
    film = replace(FILM, width=320, height=180)
    run = Run(picture="single", frames=20, left=(pick(0, 0, 20),))
    found = court.render(plan_of(court, run, right=[]), film)
    assert [read(p, (0, 0, 320, 180)) for p in found] == [("left", k) for k in range(20)]


def test_cameras_of_another_shape_are_fitted_not_stretched(court: Court) -> None:
    left = [court.segment("left", 0, size=(160, 120))]
    run = both(left=[pick(0, 0, 20)], right=[pick(0, 0, 20)])
    found = court.render(plan_of(court, run, left=left))
    assert [read(p, (40, 0, 240, 180)) for p in found] == [("left", k) for k in range(20)]
    assert [read(p, (320, 0, 320, 180)) for p in found] == [("right", k) for k in range(20)]
    assert found[5][:, :36].max() < 40


def test_a_camera_may_change_its_coding_within_a_slot(court: Court) -> None:
    left = [court.segment("left", 0), court.segment("left", 1, size=(640, 360)), court.segment("left", 2)]
    picks = [pick(0, 5, 15), pick(1, 0, 20), pick(2, 0, 5)]
    right = [court.segment("right", n) for n in range(2)]
    run = both(left=picks, right=[pick(0, 0, 20), pick(1, 0, 20)])
    halves = court.halves(plan_of(court, run, left=left, right=right))
    assert [half[0] for half in halves] == [("left", k) for k in range(5, 45)]


def test_sources_with_b_frames(court: Court) -> None:
    coded = {"preset": "fast", "tune": "film", "bf": "3", "b_strategy": "0"}
    left = [court.segment("left", n, coding=coded) for n in range(2)]
    halves = court.halves(
        plan_of(
            court,
            both(left=[pick(0, 4, 16), pick(1, 0, 8)], right=[pick(0, 0, 20), pick(1, 0, 4)]),
            left=left,
        )
    )
    assert [half[0] for half in halves] == [("left", k) for k in range(4, 28)]


def test_a_source_with_fewer_frames_than_stated_costs_its_own_time(court: Court) -> None:
    torn = court.segment("left", 0, frames=12)
    plan = plan_of(court, whole_run(), left=[Source(path=torn.path, frames=20), court.segment("left", 1)])
    found = court.render(plan)
    assert [read(p, (0, 0, 320, 180)) for p in found[:12]] == [("left", k) for k in range(12)]
    assert [read(p, (160, 0, 320, 180)) for p in found[12:20]] == [("right", k) for k in range(12, 20)]
    assert [read(p, (0, 0, 320, 180)) for p in found[20:]] == [("left", k) for k in range(20, 40)]
    assert (court.done.left_missing, court.done.right_missing) == (8, 0)


@pytest.mark.parametrize("content", [b"", b"no film at all" * 99, None], ids=["empty", "noise", "absent"])
def test_a_source_that_cannot_be_opened_counts_as_missing(court: Court, content: bytes | None) -> None:
    plan = plan_of(court, whole_run())
    path = court.root / plan.left_sources[0].path
    path.unlink() if content is None else path.write_bytes(content)
    found = court.render(plan)
    assert [read(p, (160, 0, 320, 180)) for p in found[:20]] == [("right", k) for k in range(20)]
    assert [read(p, (0, 0, 320, 180)) for p in found[20:]] == [("left", k) for k in range(20, 40)]


def test_a_source_behind_a_link_is_not_opened(court: Court) -> None:
    plan = plan_of(court, whole_run())
    path = court.root / plan.left_sources[0].path
    path.rename(court.root / "elsewhere.mp4")
    path.symlink_to(court.root / "elsewhere.mp4")
    court.render(plan)
    assert court.done.left_missing == 20


def damage(path: Path) -> None:
    """Overwrite the coded picture of the frame in the middle."""
    content = bytearray(path.read_bytes())
    place = content.find(b"mdat", len(content) // 2) + 12
    content[place : place + 60] = bytes(range(60))
    path.write_bytes(content)


def test_a_source_that_does_not_decode_is_named_and_then_left_out(court: Court) -> None:
    plan = plan_of(court, whole_run())
    damage(court.root / plan.right_sources[1].path)
    with pytest.raises(EffectFailed) as failure:
        court.render(plan)
    assert (failure.value.kind, failure.value.detail) == (
        "input",
        {"left": [], "right": [plan.right_sources[1].path]},
    )
    assert list((court.root / "recordings/b1/film").iterdir()) == []
    found = court.render(plan, bad=(plan.right_sources[1].path,))
    assert [read(p, (320, 0, 320, 180)) for p in found[:20]] == [("right", k) for k in range(20)]
    assert [read(p, (160, 0, 320, 180)) for p in found[20:]] == [("left", k) for k in range(20, 40)]
    assert (court.done.left_missing, court.done.right_missing) == (0, 20)


def test_everything_bad_is_a_card(court: Court) -> None:
    plan = plan_of(court, whole_run())
    found = court.render(plan, bad=tuple(s.path for s in (*plan.left_sources, *plan.right_sources)))
    assert {read(p, (0, 0, 640, 180)) for p in found} == {CARD}


def test_the_ladder(court: Court) -> None:
    run = whole_run()
    plan = plan_of(court, run, Run(picture="right", frames=2, right=(pick(1, 19, 2, 0),)))
    found = court.render(plan, rung="one_camera")
    assert [read(p, (160, 0, 320, 180)) for p in found[:40]] == [("right", k) for k in range(40)]
    assert court.done.left_missing == 40
    for source in (*plan.left_sources, *plan.right_sources):
        (court.root / source.path).unlink()
    found = court.render(plan, rung="card")
    assert {read(p, (0, 0, 640, 180)) for p in found} == {CARD}
    assert found[0].max() > 180  # there is text on it
    assert (court.done.left_missing, court.done.right_missing) == (40, 42)


def test_a_plan_that_runs_backwards_is_refused(court: Court) -> None:
    run = both(left=[pick(0, 9, 2), pick(0, 3, 2)], right=[pick(0, 0, 4)])
    with pytest.raises(EffectFailed, match="goes back"):
        court.render(plan_of(court, run))


def test_all_pieces_of_a_film_have_the_same_header(court: Court) -> None:
    """SPS and PPS must be equal byte for byte, whatever the slot shows, costs and is made of."""
    plan = plan_of(court, whole_run())
    film = court.root / "recordings/b1/film"
    headers: dict[str, bytes] = {}
    tries: dict[str, dict[str, Any]] = {
        "plain": {},
        "crf": {"crf_boost": 9},
        "one camera": {"rung": "one_camera"},
        "card": {"rung": "card"},
    }
    for name, more in tries.items():
        court.render(plan, **more)
        headers[name] = header(film / "slot-000003.mp4")
    coding = {"profile": "high", "preset": "medium", "x264-params": "colorprim=bt470bg:fullrange=on"}
    full = [court.segment("left", 0, pix_fmt="yuvj420p", coding=coding)]
    mixed = both(left=[pick(0, 0, 7)], right=[pick(0, 0, 7)])
    court.render(plan_of(court, mixed, left=full))
    headers["full range"] = header(film / "slot-000003.mp4")
    court.render(plan_of(court, Run(picture="single", frames=1, left=(pick(0, 3, 1),)), right=[]))
    headers["single, one frame"] = header(film / "slot-000003.mp4")
    prepared = court.renderer.prepare(prepare_of(court, intro=make_intro(court.root / "intro.mkv")))
    assert prepared.intro is not None
    headers["intro"] = header(court.root / prepared.intro)
    assert len(set(headers.values())) == 1, headers
    slot, intro = read_format(film / "slot-000003.mp4"), read_format(court.root / prepared.intro)
    assert (slot.sps, slot.pps, slot.fps, slot.frames) == (intro.sps, intro.pps, intro.fps, 1)
    assert headers["plain"][:1] == b"\x01"  # avcC, not Annex B


def test_what_is_pinned_in_a_slot(court: Court) -> None:
    court.render(plan_of(court, whole_run()))
    with av.open(str(court.root / court.done.path)) as film:
        stream = film.streams.video[0]
        context = stream.codec_context
        assert len(film.streams) == 1
        assert (context.pix_fmt, context.width, context.height) == ("yuv420p", 640, 180)
        assert (context.color_range, context.colorspace, context.color_primaries, context.color_trc) == (
            1,
            1,
            1,
            1,
        )
        assert stream.sample_aspect_ratio == 1
        packets = [packet for packet in film.demux(stream) if packet.size]
    times = [packet.pts * (stream.time_base or 0) * FPS for packet in packets if packet.pts is not None]
    assert times == list(range(40))
    assert [k for k, packet in enumerate(packets) if packet.is_keyframe] == [0, 20]
    assert all(packet.pts == packet.dts for packet in packets)


def asset(root: Path, name: str, content: bytes) -> tuple[AssetRef, dict[str, str]]:
    (root / "assets").mkdir(exist_ok=True)
    (root / "assets" / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return AssetRef(key=f"club/assets/{sha256}", sha256=sha256, bytes=len(content)), {
        sha256: f"assets/{name}"
    }


def make_intro(path: Path, seconds: float = 1.5, size: str = "300x400") -> bytes:
    video = f"color=red:s={size}:r=24:d={seconds}"
    sound = f"sine=d={seconds}"
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sound),
            *("-c:v", "mpeg4", "-c:a", "aac", str(path)),
        ],
        check=True,
    )
    return path.read_bytes()


def prepare_of(
    court: Court,
    *,
    intro: bytes | None = None,
    logos: Sequence[Mark] = (),
    **more: object,
) -> Prepare:
    paths: dict[str, str] = {}
    reference = None
    if intro is not None:
        reference, paths = asset(court.root, "intro.bin", intro)
    marks: list[Logo] = []
    for slot, place, content in logos:
        ref, path = asset(court.root, f"{slot}.bin", content)
        paths |= path
        marks.append(
            Logo.model_validate({**ref.model_dump(), "slot": slot, "place": place, "size": 20} | more)
        )
    return Prepare("p", "b1", FILM, tuple(marks), reference, paths)


def png(color: tuple[int, int, int, int], size: tuple[int, int] = (50, 25)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_logos_stand_at_their_places(court: Court) -> None:
    marks: Marks = [
        ("company", "top_left", png((255, 255, 255, 255))),
        ("user", "top_right", png((255, 255, 255, 255))),
        ("sponsor1", "bottom_right", png((255, 255, 255, 255))),
        ("sponsor2", "bottom_right", png((0, 0, 0, 255))),
    ]
    prepared = court.renderer.prepare(prepare_of(court, logos=marks))
    assert prepared.skipped == {}
    assert [(logo.width, logo.height) for logo in prepared.logos] == [(36, 18)] * 4
    picture = court.render(plan_of(court, whole_run()), logos=prepared.logos)[11]
    # margin: 2 % of 180 = 2 (even)
    assert picture[4:18, 4:36].min() > 220
    assert picture[4:18, 604:636].min() > 220
    assert picture[162:176, 604:636].max() < 30  # the second of that place is the outer one
    assert picture[162:176, 566:598].min() > 220
    assert 90 < picture[4:18, 300:340].mean() < 130  # nothing between
    assert read(picture, (0, 0, 320, 180)) == ("left", 11)
    assert court.render(plan_of(court, whole_run()), logos=prepared.logos, rung="no_logos")[11][10, 20] < 130


def test_opacity_and_colour_of_a_logo(court: Court) -> None:
    red: Marks = [("company", "top_left", png((255, 0, 0, 255)))]
    prepared = court.renderer.prepare(prepare_of(court, logos=red))
    court.render(plan_of(court, whole_run()), logos=prepared.logos)
    with av.open(str(court.root / court.done.path)) as film:
        frame = next(film.decode(video=0))
        luma, cb, cr = (
            np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes
        )
    assert abs(int(luma[10, 20]) - 63) < 6  # red in BT.709, limited range: 63, 102, 240
    assert abs(int(cb[5, 10]) - 102) < 6
    assert abs(int(cr[5, 10]) - 240) < 8
    white: Marks = [("company", "top_left", png((255, 255, 255, 255)))]
    faint = court.renderer.prepare(prepare_of(court, logos=white, opacity=0.5))
    level = court.render(plan_of(court, whole_run()), logos=faint.logos)[0][8:14, 10:30].mean()
    assert 155 < level < 190


def test_prepared_files_are_made_once(court: Court) -> None:
    effect = prepare_of(
        court, intro=make_intro(court.root / "i.mkv"), logos=[("user", "top_left", png((9, 9, 9, 200)))]
    )
    first = court.renderer.prepare(effect)
    stamps = {path: path.stat().st_mtime_ns for path in (court.root / "assets/prepared").iterdir()}
    assert court.renderer.prepare(replace(effect, paths={})) == first
    assert {path: path.stat().st_mtime_ns for path in (court.root / "assets/prepared").iterdir()} == stamps
    assert len(stamps) == 2


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", b"<svg/>"])
def test_a_broken_logo_is_skipped_with_why(court: Court, content: bytes) -> None:
    marks: Marks = [
        ("company", "top_left", content),
        ("user", "top_right", png((255, 255, 255, 255))),
    ]
    prepared = court.renderer.prepare(prepare_of(court, logos=marks))
    assert [logo.slot for logo in prepared.logos] == ["user"]
    assert "not a readable picture" in prepared.skipped["company"]
    assert "\n" not in prepared.skipped["company"]


def test_an_asset_outside_the_root_is_skipped(court: Court) -> None:
    effect = prepare_of(court, logos=[("user", "top_left", png((9, 9, 9, 200)))])
    prepared = court.renderer.prepare(replace(effect, paths=dict.fromkeys(effect.paths, "../../etc/passwd")))
    assert prepared.logos == ()
    assert "not a path below the storage root" in prepared.skipped["user"]


def test_an_intro_is_fitted_with_bars_at_the_films_rate(court: Court) -> None:
    """300x400 at 24 pictures a second becomes 134x180 in the middle of 640x180, at 10; its sound is gone."""
    prepared = court.renderer.prepare(prepare_of(court, intro=make_intro(court.root / "i.mkv")))
    assert (prepared.intro_frames, prepared.skipped) == (15, {})
    assert prepared.intro is not None
    found = pictures(court.root / prepared.intro)
    assert len(found) == 15
    row = found[7][90].astype(int)
    inside = np.flatnonzero(row > (row.max() + row.min()) // 2)
    assert abs(int(inside[0]) - 253) <= 2
    assert abs(int(inside[-1]) - 386) <= 2
    with av.open(str(court.root / prepared.intro)) as film:
        assert [stream.type for stream in film.streams] == ["video"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "not a readable film"),
        (lambda path: b"ffconcat version 1.0\nfile 'i.mkv'\n", "not a readable film"),
        (lambda path: make_intro(path, 61, "32x32"), "longer than 60 s"),
        (lambda path: make_intro(path)[:700], "not"),
    ],
    ids=["playlist", "concat", "long", "cut"],
)
def test_an_unusable_intro_is_skipped_with_why(court: Court, make: Callable[[Path], bytes], why: str) -> None:
    prepared = court.renderer.prepare(prepare_of(court, intro=make(court.root / "i.mkv")))
    assert (prepared.intro, prepared.intro_frames) == (None, 0)
    assert why in prepared.skipped["intro"]


def test_a_poster_is_the_middle_of_the_slot(court: Court) -> None:
    court.render(plan_of(court, whole_run()))
    poster = court.renderer.make_poster(MakePoster("m", "b1", court.done.path))
    assert (poster.path, poster.width, poster.height) == ("recordings/b1/film/poster.jpg", 640, 180)
    assert poster.complete
    assert poster.bytes == poster.bytes_durable == (court.root / poster.path).stat().st_size
    with Image.open(court.root / poster.path) as picture:
        assert picture.format == "JPEG"
        assert read(np.asarray(picture.convert("L")), (0, 0, 320, 180)) == ("left", 20)


def test_a_poster_of_a_vanished_slot(court: Court) -> None:
    with pytest.raises(EffectFailed) as failure:
        court.renderer.make_poster(MakePoster("m", "b1", "recordings/b1/film/slot-000000.mp4"))
    assert failure.value.kind == "gone"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named(court: Court, small_disk: Path) -> None:
    plan = plan_of(court, whole_run())
    (court.root / "recordings/b1/film").mkdir()
    subprocess.run(["mount", "--bind", str(small_disk), str(court.root / "recordings/b1/film")], check=True)
    try:
        (court.root / "recordings/b1/film/ballast").write_bytes(bytes(60_000))
        with pytest.raises(EffectFailed) as failure:
            court.render(plan)
        assert failure.value.kind == "full"
        assert [path.name for path in (court.root / "recordings/b1/film").iterdir()] == ["ballast"]
    finally:
        subprocess.run(["umount", str(court.root / "recordings/b1/film")], check=True)


def test_a_missing_prepared_logo_fails_the_try_only(court: Court) -> None:
    prepared: Prepared = court.renderer.prepare(
        prepare_of(court, logos=[("user", "top_left", png((9, 9, 9, 200)))])
    )
    (court.root / prepared.logos[0].path).unlink()
    plan = plan_of(court, whole_run())
    with pytest.raises(EffectFailed) as failure:
        court.render(plan, logos=prepared.logos)
    assert failure.value.kind == "transient"
    court.render(plan, logos=prepared.logos, rung="no_logos")
