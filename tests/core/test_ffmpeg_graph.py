"""Graphs and command lines, without running ffmpeg."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.effects import FilmFormat, PreparedLogo
from edge_agent.core.ffmpeg.argv import command
from edge_agent.core.ffmpeg.graph import (
    Feed,
    Frame,
    Slot,
    Still,
    Stretch,
    draw_slot,
    fitted,
    halves,
    index_expression,
    places,
    select_expression,
    stretches,
)
from edge_agent.core.ffmpeg.presets import encoder_options
from edge_agent.drivers.render.filters import FfmpegFilters
from schemas.work import CameraName, Pick, Run, SlotPlan

FILM = FilmFormat(2560, 720, 30, "ultrafast", 23, 6_000_000, "side_by_side")
LOGO = PreparedLogo("user", "top_left", "/tmp/x/logo0.yuva", 114, 64)
PICKS = (Pick(source=0, first=0, count=120),)
TAGS = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:field_mode=prog:range=tv"


def graph(
    *runs: Run, logos: tuple[PreparedLogo, ...] = (), sizes: tuple[int, int] = (1280, 720)
) -> list[str]:
    """The filter graph of a slot, one filter per line."""
    plan = SlotPlan(index=0, first_frame=0, frames=sum(run.frames for run in runs), runs=runs)
    cameras: tuple[CameraName, ...] = ("left", "right")
    feeds: dict[CameraName, tuple[Feed, ...]] = {
        camera: (Feed(f"/tmp/x/{camera}0.mp4", *sizes, (Stretch(0, 0, plan.frames),)),) for camera in cameras
    }
    filters = FfmpegFilters()
    drawn = draw_slot(filters, Slot(FILM, plan, feeds, Still("/tmp/x/card.yuv"), logos))
    arguments = filters.arguments(drawn, "/o.mp4", {})
    return arguments[arguments.index("-filter_complex") + 1].split(";")


def test_a_full_slot_with_a_logo() -> None:
    run = Run(picture="side_by_side", frames=120, left=PICKS, right=PICKS)
    assert graph(run, logos=(LOGO,)) == [
        r"[0:v]select=between(pts\,0\,119)[s0]",
        "[s0]setpts=PTS+0[s1]",
        "[s1]format=pix_fmts=yuv420p[s2]",
        "[s2]setsar=sar=1[s3]",
        "[s3]fps=fps=30:start_time=0[s4]",
        "[s4]tpad=stop=-1:stop_mode=clone[s5]",
        "[s5]trim=end_frame=120[s6]",
        r"[1:v]select=between(pts\,0\,119)[s7]",
        "[s7]setpts=PTS+0[s8]",
        "[s8]format=pix_fmts=yuv420p[s9]",
        "[s9]setsar=sar=1[s10]",
        "[s10]fps=fps=30:start_time=0[s11]",
        "[s11]tpad=stop=-1:stop_mode=clone[s12]",
        "[s12]trim=end_frame=120[s13]",
        "[s6][s13]hstack=inputs=2[s14]",
        "[s14][2:v]overlay=format=yuv420:x=14:y=14[s15]",
        "[s15]format=pix_fmts=yuv420p[s16]",
        "[s16]setsar=sar=1[s17]",
        f"[s17]setparams={TAGS}[s18]",
    ]


def test_only_what_changes_is_laid_over() -> None:
    picks = (Pick(source=0, first=0, count=60),)
    lines = graph(
        Run(picture="side_by_side", frames=60, left=picks, right=picks),
        Run(picture="left", frames=60, left=picks),
        Run(picture="card", frames=3),
        Run(picture="left", frames=60, left=picks),
    )
    assert [line for line in lines if "split" in line] == ["[s6]split=2[s7][s8]"]
    assert [line.partition("overlay=")[2] for line in lines if "overlay" in line] == [
        r"enable=between(n\,60\,119)+between(n\,123\,182):format=yuv420:x=0:y=0[s18]",
        "format=yuv420:x=0:y=0[s21]",
        r"enable=between(n\,120\,122):format=yuv420:x=0:y=0[s22]",
    ]


def test_a_slot_of_one_picture_has_that_graph_only() -> None:
    alone = graph(Run(picture="right", frames=120, right=PICKS))
    assert [line for line in alone if "pad=" in line and "tpad" not in line] == [
        "[s6]pad=color=0x10161c:h=720:w=2560:x=640:y=0[s7]"
    ]
    assert not [line for line in alone if "stack" in line or "overlay" in line or "split" in line]
    assert not [line for line in graph(Run(picture="card", frames=4)) if "select" in line]


def test_cameras_of_the_right_size_are_not_scaled() -> None:
    run = Run(picture="side_by_side", frames=120, left=PICKS, right=PICKS)
    assert not [line for line in graph(run) if "scale" in line]
    scaled = [line for line in graph(run, sizes=(640, 480)) if "scale" in line or "]pad" in line]
    assert [line.partition("]")[2].partition("[")[0] for line in scaled] == [
        "scale=flags=bilinear:h=720:w=960",
        "pad=color=0x10161c:h=720:w=1280:x=160:y=0",
        "scale=flags=bilinear:h=720:w=960",
        "pad=color=0x10161c:h=720:w=1280:x=160:y=0",
    ]


def test_the_command_line() -> None:
    argv = command(("-i", "/x"))
    assert argv[0] == "ffmpeg"
    assert {"-nostdin", "-xerror", "-copyts"} <= set(argv)
    options = encoder_options(FILM, crf_boost=4)
    assert (options["crf"], options["maxrate"], options["bufsize"]) == (27, 6_000_000, 12_000_000)
    x264 = str(options["x264-params"])
    assert x264.startswith("stitchable=1:bframes=0:keyint=60:min-keyint=60:scenecut=0")
    assert options["pix_fmt"] == "yuv420p"
    assert encoder_options(FILM, crf_boost=99)["crf"] == 51


def test_every_input_may_only_be_a_file() -> None:
    run = Run(picture="side_by_side", frames=120, left=PICKS, right=PICKS)
    plan = SlotPlan(index=0, first_frame=0, frames=120, runs=(run,))
    left, right = ((Feed(f"/tmp/x/{name}.mp4", 1280, 720, (Stretch(0, 0, 120),)),) for name in "ab")
    filters = FfmpegFilters()
    drawn = draw_slot(filters, Slot(FILM, plan, {"left": left, "right": right}, None, (LOGO,)))
    arguments = filters.arguments(drawn, "/o.mp4", {})
    assert arguments.count("-i") == arguments.count("-protocol_whitelist")
    assert {arguments[k + 1] for k, word in enumerate(arguments) if word == "-protocol_whitelist"} == {"file"}
    assert arguments[arguments.index("rawvideo") + 1 :][:4] == (
        "-pixel_format",
        "yuva420p",
        "-protocol_whitelist",
        "file",
    )
    assert "114x64" in arguments


NUMBERS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=30)


@given(st.integers(0, 9), NUMBERS)
def test_the_expressions_give_each_wanted_picture_its_output_frame(
    start: int, steps: list[tuple[int, int]]
) -> None:
    """Pictures skip and repeat at random; what ffmpeg computes is computed here."""
    frames: list[Frame] = []
    number = start
    for skip, repeat in steps:
        number += skip
        frames += [Frame(len(frames) + k, 0, number) for k in range(repeat)]
    wanted = stretches(frames, 0)
    chosen = {
        n: eval_expression(index_expression(wanted), n)
        for n in range(number + 5)
        if eval_expression(select_expression(wanted), n)
    }
    first = {frame.number: frame.output for frame in reversed(frames)}
    assert chosen == first


def eval_expression(expression: str, pts: int) -> int:
    names = {
        "pts": pts,
        "PTS": pts,
        "between": lambda value, low, high: int(low <= value <= high),
        "gte": lambda value, low: int(value >= low),
    }
    return int(eval(expression, {"__builtins__": {}}, names))  # noqa: S307


def test_a_steady_stretch_is_one_term() -> None:
    frames = [Frame(k, 0, 5 + k) for k in range(100)]
    assert stretches(frames, 0) == (Stretch(5, 0, 100),)
    assert select_expression(stretches(frames, 0)) == "between(pts,5,104)"
    assert index_expression(stretches(frames, 0)) == "PTS-5"
    assert stretches(frames, 1) == ()
    with pytest.raises(ValueError, match="goes back"):
        stretches([Frame(0, 0, 5), Frame(1, 0, 4)], 0)


@given(st.integers(2, 4000), st.integers(2, 4000), st.integers(1, 2000), st.integers(1, 2000))
def test_fitting_keeps_inside_and_even(width: int, height: int, across: int, down: int) -> None:
    room = (across * 2, down * 2)
    inner = fitted((width, height), room)
    assert inner[0] <= room[0]
    assert inner[1] <= room[1]
    assert inner[0] % 2 == inner[1] % 2 == 0
    assert room[0] - inner[0] <= 2 or room[1] - inner[1] <= 2


@given(st.integers(64, 4000), st.integers(64, 4000))
def test_halves_are_even_and_fill_the_film(width: int, height: int) -> None:
    film = FilmFormat(width * 2, height * 2, 30, "ultrafast", 23, 1, "side_by_side")
    (left, _), (right, _) = halves(film, "side_by_side")
    (_, upper), (_, lower) = halves(film, "stacked")
    assert (left + right, upper + lower) == (width * 2, height * 2)
    assert left % 2 == right % 2 == upper % 2 == lower % 2 == 0


def test_logos_of_one_place_stand_side_by_side() -> None:
    def logo(place: str, width: int) -> PreparedLogo:
        return PreparedLogo("s", place, f"{place}{width}", width, 60)

    marks = [logo("top_left", 100), logo("top_left", 80), logo("bottom_right", 100), logo("bottom_right", 80)]
    marks += [logo("top_center", 100), logo("bottom_center", 100), logo("bottom_center", 60)]
    assert places(FILM, marks) == (
        (14, 14),
        (128, 14),
        (2352, 646),
        (2466, 646),
        (1230, 14),
        (1192, 646),
        (1306, 646),
    )
