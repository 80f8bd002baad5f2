"""What the API takes and gives of logos and intros, as JSON."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud_bridge.api.models import Out
from cloud_bridge.media.desk import MEDIA_TYPES
from cloud_bridge.stores.media import Look, MediaRow, Slot
from schemas.booking import Place


class FileOut(Out):
    """A file as it was written here: PNG or MP4. ``seconds``: null for a picture."""

    sha256: str
    bytes: int
    type: str
    width: int
    height: int
    seconds: float | None
    updated_at: str


class LookOut(Out):
    """How a logo stands in a film: ``size`` is its width in hundredths of the film's height."""

    place: str
    size: float
    opacity: float


class MediaOut(Out):
    """A slot. ``looking``: an upload is being looked at. ``refused``: why the last one was not taken."""

    slot: Slot
    file: FileOut | None
    look: LookOut | None
    looking: bool
    refused: str | None

    @classmethod
    def of(cls, slot: Slot, row: MediaRow | None, refused: str | None, *, looking: bool) -> Self:
        """A slot as people see it."""
        file = look = None
        if row is not None:
            made = row.file
            file = FileOut(
                sha256=made.sha256,
                bytes=made.bytes,
                type=MEDIA_TYPES[made.kind],
                width=made.width,
                height=made.height,
                seconds=made.seconds,
                updated_at=row.updated_at,
            )
            worn = row.look
            look = LookOut(place=worn.place, size=worn.size, opacity=worn.opacity) if worn else None
        return cls(slot=slot, file=file, look=look, looking=looking, refused=refused)


class MediaListOut(Out):
    """All slots, empty ones too."""

    items: tuple[MediaOut, ...]


class LookIn(BaseModel):
    """What is to change of a logo's look; what is not sent stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: Place | None = None
    size: Annotated[float, Field(gt=0, le=100)] | None = None
    opacity: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to change."""
        return self.place is None and self.size is None and self.opacity is None

    def over(self, look: Look) -> Look:
        """A look with these changes."""
        return Look(
            self.place or look.place,
            look.size if self.size is None else self.size,
            look.opacity if self.opacity is None else self.opacity,
        )
