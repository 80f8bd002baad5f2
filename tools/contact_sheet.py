"""`python tools/contact_sheet.py FILM SHEET.png AT...`: frames of films on one sheet, with their times.

AT is a moment in seconds, or `FILM:seconds` for another film than the first.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, GAP, COLUMNS = 640, 8, 2


def frame(film: str, at_s: float, folder: Path) -> Image.Image:
    """One frame of a film, made as wide as the sheet's columns."""
    path = folder / "frame.png"
    seek = ["ffmpeg", "-v", "error", "-y", "-ss", str(at_s), "-i", film, "-frames:v", "1", str(path)]
    subprocess.run(seek, check=True)
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((WIDTH, round(picture.height * WIDTH / picture.width)))


def sheet(film: str, moments: list[str]) -> Image.Image:
    """All the frames, each with its time in its lower left corner."""
    pictures: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as folder:
        for moment in moments:
            other, _, at = moment.rpartition(":")
            picture = frame(other or film, float(at), Path(folder))
            draw = ImageDraw.Draw(picture)
            draw.text(
                (WIDTH // 2, picture.height - 18), f"{at} s", "white", ImageFont.load_default(13), "ma",
                stroke_width=2, stroke_fill="black",
            )  # fmt: skip
            pictures.append(picture)
    high = max(picture.height for picture in pictures)
    rows = -(-len(pictures) // COLUMNS)
    size = (COLUMNS * (WIDTH + GAP) + GAP, rows * (high + GAP) + GAP)
    whole = Image.new("RGB", size, (24, 26, 30))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        whole.paste(picture, (GAP + column * (WIDTH + GAP), GAP + row * (high + GAP)))
    return whole


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sheet(sys.argv[1], sys.argv[3:]).save(sys.argv[2], optimize=True)
