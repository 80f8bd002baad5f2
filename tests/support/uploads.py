"""Files that people upload, good ones and bad ones, made here by the real ffmpeg, Pillow, or byte by byte."""

import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

TEST_PICTURE = "testsrc2=s={size}:r={rate}:d={seconds}"


def ffmpeg(*arguments: str, out: Path) -> bytes:
    """Run ffmpeg into a file and give what it wrote."""
    subprocess.run(
        ("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(out)), check=True, capture_output=True
    )
    return out.read_bytes()


def film(
    folder: Path,
    name: str = "film.mp4",
    *more: str,
    size: str = "320x240",
    rate: int = 25,
    seconds: float = 2,
) -> bytes:
    """A film of the test picture; ``more``: ffmpeg's output options."""
    source = TEST_PICTURE.format(size=size, rate=rate, seconds=seconds)
    return ffmpeg("-f", "lavfi", "-i", source, *more, out=folder / name)


def picture(
    form: str = "PNG", size: tuple[int, int] = (400, 300), mode: str = "RGB", **more: object
) -> bytes:
    """A red disc on blue, or on nothing where the mode has an alpha."""
    ground = (0, 0, 255, 0) if mode == "RGBA" else (0, 0, 255)
    image = Image.new(mode if mode == "RGBA" else "RGB", size, ground)
    box = (size[0] * 0.1, size[1] * 0.1, size[0] * 0.9, size[1] * 0.9)
    ImageDraw.Draw(image).ellipse(box, fill=(255, 0, 0))
    buffer = io.BytesIO()
    (image if mode == "RGBA" else image.convert(mode)).save(buffer, form, **more)
    return buffer.getvalue()


def turned_jpeg() -> bytes:
    """A JPEG of 300 x 200 whose camera was held upright: seen right it is 200 x 300, its upper part red."""
    image = Image.new("RGB", (300, 200), (0, 0, 255))
    ImageDraw.Draw(image).rectangle((0, 0, 99, 199), fill=(255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def moving(form: str) -> bytes:
    """An animation of two frames."""
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=200, loop=0)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(
    width: int, height: int, bits: int = 1, kind: int = 0, *extra: bytes, rows: int | None = None
) -> bytes:
    """A PNG of nothing but zeros, however large, in few bytes. ``kind``: 0 grey, 6 RGBA."""
    samples = 4 if kind == 6 else 1
    row = b"\0" * (1 + (width * bits * samples + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(extra)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def box(name: bytes, content: bytes) -> bytes:
    """One box of an MP4."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def elsewhere(mp4: bytes, url: str) -> bytes:
    """The same film, its index saying that the pictures are at an address."""
    reference = box(b"url ", b"\0\0\0\0" + url.encode() + b"\0")
    return _with_index(mp4, lambda moov: _replaced(moov, b"dref", b"\0\0\0\0\0\0\0\1" + reference))


def claiming(mp4: bytes, name: bytes, place: int, value: bytes) -> bytes:
    """The same film, bytes of its first box of a name changed (``place`` is counted from the box's name)."""
    at = mp4.index(name) + 4 + place
    return mp4[:at] + value + mp4[at + len(value) :]


def _with_index(mp4: bytes, change: Callable[[bytes], bytes]) -> bytes:
    at = 0
    parts: list[bytes] = []
    while at < len(mp4):
        length, name = struct.unpack(">I4s", mp4[at : at + 8])
        content = mp4[at + 8 : at + length]
        parts.append(box(name, change(content)) if name == b"moov" else mp4[at : at + length])
        at += length
    return b"".join(parts)


def _replaced(content: bytes, wanted: bytes, by: bytes) -> bytes:
    """Boxes with the content of every ``wanted`` one changed, wherever it is."""
    at = 0
    parts: list[bytes] = []
    while at + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        inner = content[at + 8 : at + length]
        if name == wanted:
            inner = by
        elif name in (b"trak", b"mdia", b"minf", b"dinf"):
            inner = _replaced(inner, wanted, by)
        parts.append(box(name, inner))
        at += length
    return b"".join(parts)


def svg(url: str) -> bytes:
    """A drawing that loads another one."""
    return (
        '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<image xlink:href="{url}"/><text>&x;</text></svg>'
    ).encode()


def playlists(url: str) -> dict[str, bytes]:
    """Scripts that make some programs read other files and addresses, dressed as something else."""
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "m3u8 to a file": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{url}'\nfile 'file:///etc/passwd'\n".encode(),
        "concat without a head": f"file '{url}'\n".encode(),
        "concat behind a mark": b"\xef\xbb\xbf" + f"ffconcat version 1.0\nfile {url}\n".encode(),
        "smil": f'<smil><body><video src="{url}"/></body></smil>'.encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{url}</BaseURL></MPD>'.encode(),
        "imf": f"<?xml version='1.0'?><CompositionPlaylist><Id>{url}</Id></CompositionPlaylist>".encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "xbin or lavfi": b"movie=/etc/passwd",
    }
