"""What is taken of an upload, and what the worker may use. Standard library only: the worker reads it."""

from dataclasses import asdict, dataclass
from typing import Literal

Wanted = Literal["picture", "film"]
RefusalCode = Literal["type", "content"]

MIB = 1024 * 1024


@dataclass(frozen=True)
class Bounds:
    """The limits. ``memory_bytes`` is address space, of each process; ``wall_s`` of the whole job.

    Attributes:
        picture_bytes, film_bytes: of an upload.
        picture_side, picture_pixels: of a picture that is taken; ``out_side``: of what is made of it.
        film_pixels: of a frame; ``film_s``: length.
    """

    picture_bytes: int = 10 * MIB
    film_bytes: int = 64 * MIB
    picture_side: int = 10_000
    picture_pixels: int = 40_000_000
    out_side: int = 1024
    film_pixels: int = 4096 * 2304
    film_s: float = 15.0
    film_fps: int = 30
    memory_bytes: int = 1536 * MIB
    out_bytes: int = 48 * MIB
    cpu_s: int = 240
    wall_s: float = 150.0
    open_files: int = 64
    processes: int = 64

    def upload_bytes(self, wanted: Wanted) -> int:
        """The most bytes an upload may have."""
        return self.picture_bytes if wanted == "picture" else self.film_bytes

    def plain(self) -> dict[str, int | float]:
        """The limits as JSON has them."""
        return asdict(self)


class Refused(Exception):
    """What was uploaded is not taken. ``why``: one sentence for whoever uploaded it.

    ``code``: ``type``, it is of a kind that is not taken; ``content``, of a kind that is, but not like this.
    """

    def __init__(self, code: RefusalCode, why: str) -> None:
        super().__init__(why)
        self.code: RefusalCode = code
        self.why = why
