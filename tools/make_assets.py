"""Makes the example logos and the intro in `edge_agent/assets`; run it again after a change here.

Needs Pillow and ffmpeg. Writes PNG files with alpha and `intro.mp4` (2 s, 1280x720, no sound).
"""

import math
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

ASSETS = Path(__file__).resolve().parent.parent / "edge_agent" / "assets"
OVER = 4  # drawn four times as large, then reduced: smooth edges
FPS, SECONDS = 30, 2
GREEN, INK, WHITE = (25, 179, 123), (16, 22, 28), (246, 249, 251)
BLUE, AMBER, RED = (38, 103, 222), (245, 166, 35), (224, 62, 62)
Color = tuple[int, int, int]


def font(pixels: float) -> ImageFont.FreeTypeFont:
    found = ImageFont.load_default(pixels)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return found


def spaced(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    fill: Color,
    face: ImageFont.FreeTypeFont,
    gap: float,
) -> float:
    """Write with space between letters from a point, the middle of the left end; returns the width."""
    x = at[0]
    for letter in text:
        draw.text(
            (x, at[1]),
            letter,
            (*fill, 255),
            face,
            anchor="lm",
            stroke_width=face.size * 0.012,
            stroke_fill=(*fill, 255),
        )
        x += face.getlength(letter) + gap
    return x - gap - at[0]


def reduced(picture: Image.Image) -> Image.Image:
    """A picture at its real size, without colour bleeding from transparent parts."""
    size = (picture.width // OVER, picture.height // OVER)
    return picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")


def badge(
    width: int, height: int, fill: tuple[int, int, int, int]
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGBA", (width * OVER, height * OVER), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, width * OVER - 1, height * OVER - 1), height * OVER * 0.24, fill)
    return picture, draw


def ball(size: float, fill: Color, seam: Color) -> Image.Image:
    """A tennis ball that fills a square; its seams end at its edge."""
    side = round(size)
    picture = Image.new("RGBA", (side, side), (*fill, 255))
    draw = ImageDraw.Draw(picture)
    radius = size / 2
    for middle in (-radius * 0.45, size + radius * 0.45):
        box = (middle - radius * 1.05, -radius * 0.05, middle + radius * 1.05, size + radius * 0.05)
        draw.ellipse(box, outline=(*seam, 255), width=round(radius * 0.16))
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), 255)
    picture.putalpha(mask)
    return picture


def company() -> Image.Image:
    """EZREC: a record dot in a ring, and the name."""
    picture, draw = badge(360, 120, (*INK, 225))
    unit = 120 * OVER
    x, y = unit * 0.5, unit * 0.5
    for radius, fill in ((0.29, WHITE), (0.235, INK), (0.16, RED)):
        r = unit * radius
        draw.ellipse((x - r, y - r, x + r, y + r), (*fill, 255))
    spaced(draw, (unit * 0.93, unit * 0.5), "EZREC", WHITE, font(unit * 0.47), unit * 0.045)
    return reduced(picture)


def user() -> Image.Image:
    """A player's club: a shield with a ball."""
    picture = Image.new("RGBA", (200 * OVER, 220 * OVER), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    width, height = picture.size

    def shield(inset: float) -> list[tuple[float, float]]:
        left, right, top, bottom = inset, width - inset, inset, height - inset * 1.2
        curve = [
            (
                left + (width / 2 - left) * (1 - math.cos(k / 24 * math.pi / 2)),
                bottom - (bottom - top) * 0.55 * (1 - math.sin(k / 24 * math.pi / 2)),
            )
            for k in range(25)
        ]
        return [(left, top), *curve, *((width - x, y) for x, y in reversed(curve)), (right, top)]

    draw.polygon(shield(0), (*WHITE, 255))
    draw.polygon(shield(width * 0.045), (*BLUE, 255))
    draw.polygon(shield(width * 0.075), (*WHITE, 255))
    draw.polygon(shield(width * 0.09), (*BLUE, 255))
    face = font(height * 0.155)
    text = "COURT 1"
    draw.text(
        (width / 2, height * 0.2),
        text,
        (*WHITE, 255),
        face,
        anchor="mm",
        stroke_width=OVER * 0.7,
        stroke_fill=(*WHITE, 255),
    )
    draw.line(
        (width * 0.2, height * 0.315, width * 0.8, height * 0.315), (*AMBER, 255), round(height * 0.016)
    )
    yellow = ball(width * 0.46, (214, 233, 72), WHITE)
    picture.paste(yellow, (round(width * 0.27), round(height * 0.59 - width * 0.23)), yellow)
    return reduced(picture)


def sponsor1() -> Image.Image:
    """Volley Drinks: a drop and a name on white."""
    picture, draw = badge(380, 110, (*WHITE, 240))
    unit = 110 * OVER
    x, y, r = unit * 0.48, unit * 0.6, unit * 0.215
    draw.ellipse((x - r, y - r, x + r, y + r), (*GREEN, 255))
    draw.polygon(
        [(x - r * 0.94, y - r * 0.34), (x, y - r * 2.15), (x + r * 0.94, y - r * 0.34)], (*GREEN, 255)
    )
    draw.arc((x - r * 0.6, y - r * 0.6, x + r * 0.6, y + r * 0.6), 20, 95, (*WHITE, 255), round(r * 0.2))
    spaced(draw, (unit * 0.84, unit * 0.40), "VOLLEY", INK, font(unit * 0.42), unit * 0.035)
    spaced(draw, (unit * 0.86, unit * 0.745), "SPORT DRINKS", GREEN, font(unit * 0.185), unit * 0.045)
    return reduced(picture)


def sponsor2() -> Image.Image:
    """Northside Rackets: stripes and a name on amber."""
    picture, draw = badge(380, 110, (*AMBER, 240))
    unit = 110 * OVER
    for stripe in range(3):
        x = unit * (0.28 + 0.17 * stripe)
        draw.polygon(
            [
                (x, unit * 0.78),
                (x + unit * 0.1, unit * 0.78),
                (x + unit * 0.3, unit * 0.22),
                (x + unit * 0.2, unit * 0.22),
            ],
            (*INK, 255),
        )
    spaced(draw, (unit * 1.08, unit * 0.40), "NORTHSIDE", INK, font(unit * 0.31), unit * 0.03)
    spaced(draw, (unit * 1.09, unit * 0.715), "RACKETS & GEAR", INK, font(unit * 0.175), unit * 0.028)
    return reduced(picture)


def eased(moment: float, begin: float, end: float) -> float:
    """0 before, 1 after, smooth between."""
    part = min(1.0, max(0.0, (moment - begin) / (end - begin)))
    return part * part * (3 - 2 * part)


def ground() -> Image.Image:
    """Court lines in perspective on the dark ground."""
    width, height = 1280, 720
    picture = Image.new("RGB", (width * 2, height * 2), INK)
    draw = ImageDraw.Draw(picture)

    def at(x: float, depth: float) -> tuple[float, float]:
        spread = 0.34 + 0.9 * (1 - depth)
        return width * (1 + x * spread), height * 2 * (0.99 - 0.29 * depth)

    line: Color = (38, 56, 66)
    for x in (-1.0, -0.75, 0.75, 1.0):
        draw.line((*at(x, 0), *at(x, 0.98)), line, 6)
    for depth in (0.02, 0.55, 0.98):
        draw.line((*at(-1, depth), *at(1, depth)), line, 6)
    draw.line((*at(0, 0.55), *at(0, 0.98)), line, 6)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def intro_frame(base: Image.Image, moment: float) -> Image.Image:
    """One picture of the intro: the dot appears and blinks, the name slides out of it, a line follows."""
    width, height = base.size
    layer = Image.new("RGB", (width * 2, height * 2), (0, 0, 0))
    draw = ImageDraw.Draw(layer)
    face = font(300)
    letters = [face.getlength(letter) + 26 for letter in "EZREC"]
    whole = sum(letters) - 26
    opening = eased(moment, 0.35, 0.95)
    x, y = width - (whole / 2 + 90) * opening, height * 0.86
    grow = eased(moment, 0.0, 0.35)
    ring, dot = 124 * grow, 70 * grow * (0.93 + 0.07 * math.cos(moment * 2 * math.pi))
    left = x + 170
    for letter, step in zip("EZREC", letters, strict=True):
        shade = eased(moment, 0.45 + (left - x) / 4200, 0.85 + (left - x) / 4200)
        fill = tuple(round(level * shade) for level in WHITE)
        draw.text(
            (left - 60 * (1 - shade), y), letter, fill, face, anchor="lm", stroke_width=4, stroke_fill=fill
        )
        left += step
    draw.ellipse((x - ring, y - ring, x + ring, y + ring), WHITE)
    draw.ellipse((x - ring * 0.82, y - ring * 0.82, x + ring * 0.82, y + ring * 0.82), (1, 1, 1))
    draw.ellipse((x - dot, y - dot, x + dot, y + dot), RED)
    under = eased(moment, 1.0, 1.4)
    draw.rectangle((width - 330 * under, y + 205, width + 330 * under, y + 213), GREEN)
    shade = eased(moment, 1.15, 1.5)
    words = tuple(round(level * shade) for level in (168, 182, 192))
    draw.text((width, y + 285), "Your game. Your film.", words, font(74), anchor="mm")
    small = layer.resize(base.size, Image.Resampling.LANCZOS)
    return ImageChops.lighter(base, small)


def glow(base: Image.Image) -> Image.Image:
    light = Image.new("RGB", base.size, (0, 0, 0))
    ImageDraw.Draw(light).ellipse((290, 60, 990, 560), (20, 44, 48))
    return ImageChops.add(base, light.filter(ImageFilter.GaussianBlur(120)))


def intro(path: Path) -> None:
    base = glow(ground())
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FPS * SECONDS):
            intro_frame(base, number / FPS).save(f"{folder}/{number:03d}.png", compress_level=1)
        encode = ["-c:v", "libx264", "-preset", "slow", "-crf", "24", "-pix_fmt", "yuv420p", "-bf", "0"]
        colors = [
            "-vf",
            "scale=out_color_matrix=bt709:out_range=tv",
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
        ]
        colors += [
            "-color_trc",
            "bt709",
            "-color_range",
            "tv",
            "-fflags",
            "+bitexact",
            "-flags:v",
            "+bitexact",
        ]
        source = ["-framerate", str(FPS), "-i", f"{folder}/%03d.png"]
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", *source, *colors, *encode, "-movflags", "+faststart", str(path)],
            check=True,
        )


def main() -> None:
    ASSETS.mkdir(exist_ok=True)
    logos: dict[str, Callable[[], Image.Image]] = {
        "company": company,
        "user": user,
        "sponsor1": sponsor1,
        "sponsor2": sponsor2,
    }
    for name, draw in logos.items():
        draw().save(ASSETS / f"{name}.png", optimize=True)
    intro(ASSETS / "intro.mp4")
    for path in sorted(ASSETS.iterdir()):
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
