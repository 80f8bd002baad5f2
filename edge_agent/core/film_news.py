"""What befalls a film: found on disk at start, told of by other agents, an effect that failed. Pure."""

from dataclasses import replace
from datetime import datetime

from edge_agent.core import dressing, filming
from edge_agent.core.agent import Failed
from edge_agent.core.effects import FilmFile, ProcessorInventory, Rendered
from edge_agent.core.film_keep import delete_failed
from edge_agent.core.filming import Film
from schemas.recording import MergeStage, UploadStage
from schemas.work import SlotsMinute, WorkObject


def recovered(film: Film, found: ProcessorInventory, wall: datetime) -> Film:
    """The film with what is on disk of it; ``wall`` is its completion when nobody wrote that down."""
    files, slots = found.films.get(film.id, {}), found.slots.get(film.id, {})
    if (dress := found.dresses.get(film.id)) is not None:
        film = replace(film, format=dress.format, prepared=dress.prepared)
    film = replace(film, rendered={index: Rendered(path, 0, 0, 0.0) for index, path in slots.items()})
    if "film" in files:
        film = filming.appended(film, files["film"], wall)
    elif film.stage.slots_done and film.stage.status != "succeeded":
        # The film is gone and is made again; what was in it is not counted twice.
        film = replace(film, stage=film.stage.replace(slots_done=0, rungs={}, missing={}, film=None))
    if "poster" in files:
        film = with_poster(film, files["poster"])
    return film


def heard(film: Film, message: MergeStage | SlotsMinute | UploadStage) -> Film:
    """Merger or uploader said something new."""
    match message:
        case MergeStage():
            return replace(film, merge=message)
        case SlotsMinute(plans=plans):
            return filming.learned(film, plans)
        case UploadStage():
            return replace(film, upload=message)


def with_poster(film: Film, file: FilmFile) -> Film:
    """The poster is there, whole."""
    poster = WorkObject(
        path=file.path,
        bytes=file.bytes,
        bytes_durable=file.bytes,
        complete=True,
        hash=file.sha256,
        head_open=False,
        content_type="image/jpeg",
    )
    return replace(film, objects={**film.objects, "poster": poster})


def failed(film: Film, kind: str, tail: str, event: Failed, now_ns: int) -> Film:
    """An effect of the film failed; ``kind`` and ``tail`` are parts of its key."""
    match kind:
        case "prepare" | "warm":
            return dressing.prepare_failed(film, event.key, now_ns)
        case "render":
            return filming.render_failed(film, int(tail), event.kind, event.detail, now_ns)
        case "append":
            return filming.append_failed(film, int(tail), event.kind, now_ns)
        case "close" | "settle":
            return filming.append_failed(film, filming.NO_SLOT, "transient", now_ns)
        case "poster":
            return filming.poster_failed(film, now_ns)
        case "delete":
            return delete_failed(film, event.key, now_ns)
        case _:
            return film
