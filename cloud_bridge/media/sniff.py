"""What an uploaded file is, by its own first bytes and headers; never by its name. Decodes nothing.

Standard library only: the worker runs it.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from cloud_bridge.media.bounds import Bounds, Refused, Wanted
from cloud_bridge.media.boxes import check_boxes

PICTURES = "PNG, JPEG or WebP"
FILMS = "MP4, MOV or WebM"
_HEAD = 4096
_PNG = b"\x89PNG\r\n\x1a\n"
_TOP_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"heim", b"avif", b"avis")
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"OggS", "an Ogg file"),
    (b"FLV", "a Flash film"),
    (b"ID3", "a sound file"),
    (b"PK\x03\x04", "a ZIP archive"),
)
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"#EXTINF", b"file ", b"<smil", b"<asx", b"<mpd")


def sniff(file: BinaryIO, wanted: Wanted, bounds: Bounds) -> str:
    """What a file is: png, jpeg, webp, mov or matroska. Reads its headers, wherever they are in it.

    Raises:
        Refused: it is not of a kind that is taken for this slot, or its headers say that it is too large,
            moves, is cut off, or leads elsewhere.
    """
    size_bytes = file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEAD)
    kind = _kind(head, wanted)
    if (kind in ("mov", "matroska")) != (wanted == "film"):
        what, right = (
            ("film", f"picture ({PICTURES})") if wanted == "picture" else ("picture", f"film ({FILMS})")
        )
        raise Refused("type", f"This is a {what}; this slot takes a {right}.")
    file.seek(0)
    match kind:
        case "png":
            _check_size(*_png(file), bounds)
        case "jpeg":
            _check_size(*_jpeg(file), bounds)
        case "webp":
            _check_size(*_webp(file, size_bytes), bounds)
        case "mov":
            check_boxes(file, size_bytes)
        case _:
            pass
    return kind


def _kind(head: bytes, wanted: Wanted) -> str:
    taken = PICTURES if wanted == "picture" else FILMS
    if not head:
        raise Refused("content", "The file is empty.")
    if head.startswith(_PNG):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] in _TOP_BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
            raise Refused("type", f"This is a HEIC or AVIF picture, which is not taken: send {taken}.")
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        if b"webm" not in head[:64]:
            raise Refused("type", f"This is a Matroska film, which is not taken: send {taken}.")
        return "matroska"
    raise Refused("type", f"This is {_other(head)}, which is not taken: send {taken}.")


def _other(head: bytes) -> str:
    """What a file is that is not taken, in words."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "an SVG drawing"
    if any(text.startswith(start.lower()) for start in _PLAYLISTS):
        return "a playlist or a script, not a film"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "a web page or XML"
    try:
        head[:512].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(head), 512) - 4:
            return "a file of another kind"
    return "a text" if b"\0" not in head[:512] else "a file of another kind"


def _check_size(width: int, height: int, bounds: Bounds) -> None:
    if width < 1 or height < 1:
        raise Refused("content", "This picture has no pixels.")
    if max(width, height) > bounds.picture_side or width * height > bounds.picture_pixels:
        raise Refused(
            "content",
            f"This picture has {width} x {height} pixels; at most {bounds.picture_side} on a side and "
            f"{bounds.picture_pixels // 1_000_000} million in all are taken.",
        )


def _cut_off() -> Refused:
    return Refused("content", "This picture is cut off: its end is missing. Send it again.")


def _moves() -> Refused:
    return Refused("content", "This picture is animated; send one that stands still.")


def _png(file: BinaryIO) -> tuple[int, int]:
    """Size, after a walk over all chunks: an animation says so in one, and the last is called IEND."""
    size = (0, 0)
    for number, (name, at, length) in enumerate(_png_chunks(file)):
        if number == 0:
            if name != b"IHDR" or length != 13:
                raise Refused("content", "This PNG is damaged: it does not begin like one.")
            file.seek(at)
            size = struct.unpack(">II", file.read(8))
        if name == b"acTL":
            raise _moves()
        if name == b"IEND":
            return size
    raise _cut_off()


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk that is there whole."""
    end = file.seek(0, 2)
    at = len(_PNG)
    while at + 12 <= end:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if at + 12 + length > end:
            return
        yield name, at + 8, length
        at += 12 + length


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    """Size, from the frame's header; there must be an end behind the first scan."""
    end = file.seek(0, 2)
    at, size = 2, (0, 0)
    while at + 4 <= end:
        file.seek(at)
        mark, code, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or length < 2:
            break
        if code == 0xFF:  # filling
            at += 1
            continue
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            frame = file.read(5)
            if len(frame) == 5:
                height, width = struct.unpack(">HH", frame[1:])
                size = (width, height)
        if code == 0xDA:
            file.seek(at)
            if b"\xff\xd9" in file.read():
                return size
            raise _cut_off()
        at += 2 + length
    if at + 4 > end:
        raise _cut_off()
    raise Refused("content", "This JPEG is damaged.")


def _webp(file: BinaryIO, size_bytes: int) -> tuple[int, int]:
    """Size, from the first chunk, which also says whether it moves."""
    head = file.read(30)
    if len(head) < 30 or struct.unpack("<I", head[4:8])[0] + 8 > size_bytes + 1:
        raise _cut_off()
    match head[12:16]:
        case b"VP8X":
            if head[20] & 0x02:
                raise _moves()
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case _:
            raise Refused("content", "This WebP is damaged.")
