"""How long the processor keeps what it has of a recording. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import DeleteMedia
from edge_agent.core.filming import Film


def deletion(film: Film, now_ns: int, *, busy: bool) -> tuple[DeleteMedia, ...]:
    """Everything local may go: it is listed, in the bucket just as it is here, or dead. ``busy``: not yet."""
    if busy or not film.listed or not film.on_disk or now_ns < film.delete_ns:
        return ()
    sent = film.upload.verified("film") if film.upload is not None else None
    same = sent is not None and (film.file is None or sent.bytes == film.file.bytes)
    if not film.dead and not same:
        return ()
    return (DeleteMedia(f"delete:{film.id}", film.id, ("film",)),)


def deleted(film: Film) -> Film:
    """Nothing of it is left here; its stage stays until the recording's topics go."""
    return replace(
        film, deleted=True, file=None, rendered={}, plans={}, objects={}, prepared=None, delete_ns=0
    )


def delete_failed(film: Film, key: str, now_ns: int) -> Film:
    """Tried again later."""
    failures = film.delete_failures + 1
    return replace(film, delete_failures=failures, delete_ns=now_ns + delay_ns(failures, key))


def outlived(film: Film, wall: datetime, topics_days: int) -> bool:
    """Whether its topics should have been cleared long ago, and there is nothing on disk."""
    over_at = film.stage.completed_at or (film.booking.to if film.booking else None)
    return not film.on_disk and over_at is not None and over_at + timedelta(days=topics_days + 1) < wall
