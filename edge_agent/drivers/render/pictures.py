"""Stills as raw pictures in the film's colours (BT.709, limited range). Pillow and numpy. No files."""

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_PIXELS = 40_000_000
_BACKGROUND = (0x10, 0x16, 0x1C)
_FOREGROUND = (0xF2, 0xF5, 0xF7)
_FAINT = (0x8F, 0x9B, 0xA6)
_ACCENT = (0x19, 0xB3, 0x7B)


class PictureUnreadable(Exception):
    """A file that is no picture we can use; one clear line."""


def _planes(rgb: "npt.NDArray[np.float64]") -> tuple[bytes, bytes, bytes]:
    """Y, Cb and Cr of an RGB picture with even sides, chroma averaged over 2x2."""
    red, green, blue = (rgb[..., channel] for channel in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    chroma = ((blue - luma) / 1.8556, (red - luma) / 1.5748)

    def quarter(plane: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        height, width = plane.shape
        quarters = plane.reshape(height // 2, 2, width // 2, 2)
        return np.asarray(quarters.mean(axis=(1, 3)), dtype=np.float64)

    def stored(plane: "npt.NDArray[np.float64]", zero: int, span: int) -> bytes:
        return np.clip(np.rint(zero + plane / 255 * span), 16, 240).astype(np.uint8).tobytes()

    blue_difference, red_difference = (stored(quarter(plane), 128, 224) for plane in chroma)
    return stored(luma, 16, 219), blue_difference, red_difference


def _floats(picture: Image.Image) -> "npt.NDArray[np.float64]":
    return np.asarray(picture, dtype=np.uint8).astype(np.float64)


def yuv420p(picture: Image.Image) -> bytes:
    """An RGB picture with even sides as raw yuv420p."""
    return b"".join(_planes(_floats(picture.convert("RGB"))))


def yuva420p(picture: Image.Image, opacity: float) -> bytes:
    """An RGBA picture with even sides as raw yuva420p, its alpha multiplied with an opacity."""
    rgba = _floats(picture)
    alpha = np.rint(rgba[..., 3] * opacity).astype(np.uint8).tobytes()
    return b"".join(_planes(rgba[..., :3])) + alpha


def read_logo(content: bytes, width: int, max_height: int) -> Image.Image:
    """A logo in a width, its shape kept (narrower when it would be too high), sides even, RGBA.

    Raises:
        PictureUnreadable: no picture, or one of more than 40 million pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "GIF")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureUnreadable(f"{picture.width}x{picture.height} pixels are too many")
            rgba = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureUnreadable(f"not a readable picture: {str(error).splitlines()[0][:100]}") from error
    scale = min(width / rgba.width, max_height / rgba.height)
    size = (max(2, round(rgba.width * scale / 2) * 2), max(2, round(rgba.height * scale / 2) * 2))
    # Premultiplied, so that the colour hidden under transparent pixels does not bleed into the edges.
    return rgba.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")


def card(width: int, height: int) -> Image.Image:
    """What the film shows while no camera has a picture."""
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    unit = min(height / 12, width / 22)
    head, line = ImageFont.load_default(unit), ImageFont.load_default(unit * 0.55)
    middle = (width / 2, height / 2)
    bar = (middle[0] - unit * 0.9, middle[1] - unit * 1.75, middle[0] + unit * 0.9, middle[1] - unit * 1.62)
    draw.rectangle(bar, fill=_ACCENT)
    draw.text((middle[0], middle[1] - unit * 0.45), "Camera signal lost", _FOREGROUND, head, anchor="mm")
    draw.text(
        (middle[0], middle[1] + unit * 0.75), "The picture continues shortly", _FAINT, line, anchor="mm"
    )
    return picture
