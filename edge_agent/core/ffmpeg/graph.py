"""The filter graph of a slot: frames chosen by number, laid out, branded. Pure; built through `Filters`.

In a camera's input the time stamp of a picture *is* its number (time base 1/fps), so that what a decoder
drops never moves another frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar

from edge_agent.core.effects import FilmFormat, PreparedLogo
from edge_agent.core.ffmpeg.argv import CAMERA_INPUT, raw_input
from edge_agent.core.plans import CAMERAS
from schemas.work import CameraName, Picture, SlotPlan

S = TypeVar("S")
Option = str | int

BACKGROUND = "0x10161c"
MARGIN = 0.02
_BASES: tuple[Picture, ...] = ("side_by_side", "stacked", "single", "left", "right", "card")


class Filters(Protocol[S]):
    """What builds a graph: ffmpeg-python, behind the one wrapper that has types."""

    def read(self, path: str, options: Mapping[str, Option]) -> S:
        """The video of an input."""
        ...

    def apply(self, streams: Sequence[S], name: str, /, *args: Option, **options: Option) -> S:
        """One filter with one output."""
        ...

    def split(self, stream: S, count: int) -> Sequence[S]:
        """The same pictures ``count`` times."""
        ...


class Frame(NamedTuple):
    """Output frame ``output`` is the picture of that number in a feed."""

    output: int
    feed: int
    number: int


class Stretch(NamedTuple):
    """Successive pictures from ``number`` on become the output frames from ``output`` on."""

    number: int
    output: int
    frames: int


@dataclass(frozen=True)
class Feed:
    """A file with pictures of one camera, all of one kind (codec, size), numbered by their time stamps."""

    path: str
    width: int
    height: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class Still:
    """A picture of the film's size as raw yuv420p."""

    path: str


@dataclass(frozen=True)
class Slot:
    """Everything a slot's graph is made of. ``logos`` have paths that ffmpeg can open."""

    film: FilmFormat
    plan: SlotPlan
    feeds: Mapping[CameraName, tuple[Feed, ...]]
    card: Still | None
    logos: tuple[PreparedLogo, ...]


def stretches(frames: Iterable[Frame], feed: int) -> tuple[Stretch, ...]:
    """The stretches of one feed; a picture shown again is left out (the rate filter repeats it).

    Raises:
        ValueError: a camera's pictures would have to run backwards.
    """
    found: list[Stretch] = []
    latest = -1
    for output, of, number in frames:
        if of != feed or number == latest:
            continue
        if number < latest:
            raise ValueError(f"frame {output} goes back from picture {latest} to {number}")
        latest = number
        last = found[-1] if found else None
        if last and (number, output) == (last.number + last.frames, last.output + last.frames):
            found[-1] = last._replace(frames=last.frames + 1)
        else:
            found.append(Stretch(number, output, 1))
    return tuple(found)


def select_expression(wanted: Sequence[Stretch]) -> str:
    """True for the pictures wanted."""
    return "+".join(f"between(pts,{s.number},{s.number + s.frames - 1})" for s in wanted)


def index_expression(wanted: Sequence[Stretch]) -> str:
    """From a picture's number to its output frame."""
    first = wanted[0].output - wanted[0].number
    steps = [
        f"{after.output - after.number - before.output + before.number:+d}*gte(PTS,{after.number})"
        for before, after in pairwise(wanted)
    ]
    return f"PTS{first:+d}{''.join(steps)}"


def halves(film: FilmFormat, picture: Picture) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of the left (upper) and of the right (lower) half, even as 4:2:0 wants."""
    width, height = film.width, film.height
    if picture == "stacked":
        upper = height // 4 * 2
        return (width, upper), (width, height - upper)
    left = width // 4 * 2
    return (left, height), (width - left, height)


def fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The largest even size of that shape in a room."""
    scale = min(room[0] / size[0], room[1] / size[1])
    width, height = (max(2, round(side * scale / 2) * 2) for side in size)
    return min(width, room[0]), min(height, room[1])


def places(film: FilmFormat, logos: Sequence[PreparedLogo]) -> tuple[tuple[int, int], ...]:
    """Upper left corner of each logo: 2 % of the height from the edges, those of one place side by side."""
    margin = even(film.height * MARGIN)
    corners: list[tuple[int, int]] = []
    for logo in logos:
        row = [other for other in logos if other.place == logo.place]
        before = sum(other.width + margin for other in row[: row.index(logo)])
        whole = sum(other.width + margin for other in row) - margin
        vertical, _, horizontal = logo.place.partition("_")
        start = {"left": margin, "center": (film.width - whole) // 2, "right": film.width - margin - whole}
        top = margin if vertical == "top" else film.height - margin - logo.height
        corners.append((even(max(0, start[horizontal] + before)), even(max(0, top))))
    return tuple(corners)


def even(number: float) -> int:
    """The next even integer below: chroma has half the size."""
    return int(number) // 2 * 2


def draw_slot(filters: Filters[S], slot: Slot) -> S:
    """The whole graph of a slot: exactly ``plan.frames`` pictures of the film's size, rate and colours.

    Raises:
        ValueError: the plan shows a camera of which there is no feed, or runs backwards.
    """
    enabled = _spans(slot.plan)
    bases: list[Picture] = [picture for picture in _BASES if picture in enabled]
    cameras = _cameras(filters, slot, bases)
    base = _picture(filters, slot, bases[0], cameras)
    for picture in bases[1:]:
        when = "+".join(f"between(n,{first},{last})" for first, last in enabled[picture])
        layer = _picture(filters, slot, picture, cameras)
        base = filters.apply([base, layer], "overlay", x=0, y=0, format="yuv420", enable=when)
    for logo, (x, y) in zip(slot.logos, places(slot.film, slot.logos), strict=True):
        mark = filters.read(logo.path, raw_input(logo.width, logo.height, "yuva420p"))
        base = filters.apply([base, mark], "overlay", x=x, y=y, format="yuv420")
    return finish(filters, base)


def finish(filters: Filters[S], stream: S) -> S:
    """The pixels and tags that are pinned in a film, because the encoder writes them into its SPS."""
    plain = filters.apply([stream], "format", pix_fmts="yuv420p")
    square = filters.apply([plain], "setsar", sar=1)
    tags = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709"}
    return filters.apply([square], "setparams", field_mode="prog", range="tv", **tags)


def fit(filters: Filters[S], stream: S, size: tuple[int, int], room: tuple[int, int]) -> S:
    """Put pictures of a size into a room, with bars where the shape differs; nothing when they are equal."""
    inner = fitted(size, room)
    if inner != size:
        stream = filters.apply([stream], "scale", w=inner[0], h=inner[1], flags="bilinear")
        stream = filters.apply([stream], "setsar", sar=1)
    if inner != room:
        x, y = even((room[0] - inner[0]) / 2), even((room[1] - inner[1]) / 2)
        stream = filters.apply([stream], "pad", w=room[0], h=room[1], x=x, y=y, color=BACKGROUND)
    return stream


def _spans(plan: SlotPlan) -> Mapping[Picture, list[tuple[int, int]]]:
    """First and last output frame of every run, by picture."""
    spans: dict[Picture, list[tuple[int, int]]] = {}
    first = 0
    for run in plan.runs:
        spans.setdefault(run.picture, []).append((first, first + run.frames - 1))
        first += run.frames
    return spans


def _shown_in(picture: Picture, slot: Slot) -> tuple[CameraName, ...]:
    if picture == "card":
        return ()
    if picture in {"side_by_side", "stacked"}:
        return CAMERAS
    if picture == "single":
        return ("left",) if slot.feeds.get("left") else ("right",)
    return ("left",) if picture == "left" else ("right",)


def _cameras(
    filters: Filters[S], slot: Slot, pictures: Sequence[Picture]
) -> Mapping[tuple[Picture, CameraName], S]:
    """A stream for every picture that shows a camera; each camera is decoded once."""
    streams: dict[tuple[Picture, CameraName], S] = {}
    for camera in CAMERAS:
        users: list[Picture] = [picture for picture in pictures if camera in _shown_in(picture, slot)]
        if not users:
            continue
        if not slot.feeds.get(camera):
            raise ValueError(f"slot {slot.plan.index} shows {camera}, of which there is nothing")
        stream = _camera(filters, slot, slot.feeds[camera])
        copies = filters.split(stream, len(users)) if len(users) > 1 else [stream]
        streams |= {(picture, camera): copy for picture, copy in zip(users, copies, strict=True)}
    return streams


def _camera(filters: Filters[S], slot: Slot, feeds: tuple[Feed, ...]) -> S:
    """One camera as exactly ``plan.frames`` pictures, repeated where no new one is wanted."""
    size = (feeds[0].width, feeds[0].height)
    parts = [_feed(filters, feed, size) for feed in feeds]
    if len(parts) == 1:
        merged = parts[0]
    else:
        # What interleave puts out has no rate, so the last picture would have no duration and be dropped.
        latest = max(range(len(feeds)), key=lambda number: feeds[number].stretches[-1].output)
        parts[latest] = filters.apply([parts[latest]], "tpad", stop=1, stop_mode="clone")
        merged = filters.apply(parts, "interleave", nb_inputs=len(parts))
    steady = filters.apply([merged], "fps", fps=slot.film.fps, start_time=0)
    # A stream that ends early must never shorten the slot.
    endless = filters.apply([steady], "tpad", stop=-1, stop_mode="clone")
    return filters.apply([endless], "trim", end_frame=slot.plan.frames)


def _feed(filters: Filters[S], feed: Feed, size: tuple[int, int]) -> S:
    stream = filters.read(feed.path, CAMERA_INPUT)
    stream = filters.apply([stream], "select", select_expression(feed.stretches))
    stream = filters.apply([stream], "setpts", index_expression(feed.stretches))
    stream = filters.apply([stream], "format", pix_fmts="yuv420p")
    # Sources may call their pixels oblong or say nothing; what is put together must agree.
    stream = filters.apply([stream], "setsar", sar=1)
    return fit(filters, stream, (feed.width, feed.height), size)


def _picture(
    filters: Filters[S], slot: Slot, picture: Picture, cameras: Mapping[tuple[Picture, CameraName], S]
) -> S:
    """One kind of picture for all frames of the slot, in the film's size."""
    film = slot.film
    if picture == "card":
        return _card(filters, slot)
    shown = _shown_in(picture, slot)
    rooms = halves(film, picture) if len(shown) == 2 else ((film.width, film.height),)
    parts: list[S] = []
    for camera, room in zip(shown, rooms, strict=True):
        first = slot.feeds[camera][0]
        parts.append(fit(filters, cameras[picture, camera], (first.width, first.height), room))
    if len(parts) == 1:
        return parts[0]
    return filters.apply(parts, "vstack" if picture == "stacked" else "hstack", inputs=2)


def _card(filters: Filters[S], slot: Slot) -> S:
    """The card for the whole slot: a plain colour that needs no file, and text over it when there is one."""
    film = slot.film
    color = f"color=c={BACKGROUND}:s={film.width}x{film.height}:r={film.fps}"
    plain = filters.read(color, {"f": "lavfi"})
    plain = filters.apply([plain], "trim", end_frame=slot.plan.frames)
    plain = filters.apply([plain], "format", pix_fmts="yuv420p")
    if slot.card is None:
        return plain
    text = filters.read(slot.card.path, raw_input(film.width, film.height, "yuv420p"))
    return filters.apply([plain, text], "overlay", x=0, y=0, format="yuv420")


def draw_intro(filters: Filters[S], stream: S, film: FilmFormat) -> S:
    """A film of any shape and rate as pictures of the film's: fitted with bars, never stretched."""
    square = filters.apply([stream], "scale", w="trunc(iw*sar/2)*2", h="trunc(ih/2)*2")
    square = filters.apply([square], "setsar", sar=1)
    inner = filters.apply(
        [square],
        "scale",
        w=film.width,
        h=film.height,
        force_original_aspect_ratio="decrease",
        force_divisible_by=2,
        out_color_matrix="bt709",
        out_range="tv",
    )
    plain = filters.apply([inner], "format", pix_fmts="yuv420p")
    x, y = "trunc((ow-iw)/4)*2", "trunc((oh-ih)/4)*2"
    padded = filters.apply([plain], "pad", w=film.width, h=film.height, x=x, y=y, color=BACKGROUND)
    steady = filters.apply([padded], "fps", fps=film.fps, start_time=0)
    return finish(filters, steady)
