"""What the processor shows: objects for the uploader, alarms, status, timers. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from edge_agent.core import dressing, filming
from edge_agent.core.camera_files import CameraFile
from edge_agent.core.effects import FilmFile
from edge_agent.core.filming import Film
from schemas.agent import AgentStatus, Alarm
from schemas.base import Message
from schemas.recording import StageStatus
from schemas.registry import FILM_OBJECT, PROCESS
from schemas.topics import Address
from schemas.work import WorkObject

STUCK_TRIES = 5


def told(film: Film) -> Film:
    """The film with its stage and object brought up to date; equal ones keep their identity."""
    stage, rev = film.stage, film.booking.rev if film.booking else film.stage.rev
    status = _status(film)
    if (stage.status, stage.rev, stage.slots_total) != (status, rev, film.total or stage.slots_total):
        stage = stage.replace(status=status, rev=rev, slots_total=film.total or stage.slots_total)
        film = replace(film, stage=stage)
    if film.file is None:
        return film
    item = _film_object(film, film.file)
    if film.objects.get("film") != item and film.file.frames:
        film = replace(film, objects={**film.objects, "film": item})
    return film


def _status(film: Film) -> StageStatus:
    if film.complete or (film.stage.status == "succeeded" and not film.making):
        return "succeeded"
    if film.booking is None or not film.begun:
        return film.stage.status
    return "running" if film.wanted else "cancelled"


def _film_object(film: Film, file: FilmFile) -> WorkObject:
    return WorkObject(
        path=file.path,
        bytes=file.bytes,
        bytes_durable=file.bytes_durable,
        complete=file.complete,
        hash=file.sha256,
        generation=file.generation,
        slots_done=file.slots,
        slots_total=film.total or film.stage.slots_total,
    )


def topics_of(
    film: Film, cameras: Mapping[tuple[str, str], CameraFile], *, final: bool
) -> dict[Address[Any], Message]:
    """Stage and objects of one recording.

    A cancellation that comes when the film is in the bucket is too late for what belongs to it: a poster on
    its way still has to arrive.
    """
    topics: dict[Address[Any], Message] = {}
    if film.stage.status != "pending" or (film.begun and film.booking is not None):
        topics[PROCESS.at(id=film.id)] = film.stage
    in_bucket = film.upload is not None and film.upload.verified("film") is not None
    called_off = film.booking is not None and not film.wanted and not in_bucket
    if film.deleted or film.dead or called_off:
        return topics
    for name, item in objects_of(film, cameras):
        if not (final and film.upload is not None and film.upload.verified(name)):
            topics[FILM_OBJECT.at(id=film.id, name=name)] = item
    return topics


def objects_of(film: Film, cameras: Mapping[tuple[str, str], CameraFile]) -> Iterator[tuple[str, WorkObject]]:
    """Everything of a recording that is for the bucket, by name."""
    yield from film.objects.items()
    for name in ("left", "right"):
        item = cameras.get((film.id, name))
        if item is not None and item.object is not None:
            yield name, item.object


def status_of(
    films: Iterable[Film], alarms: Mapping[str, Alarm], last_error: str | None, *, paused: bool
) -> AgentStatus:
    """The agent's state: what is left to render and append, and of which recording."""
    waiting = [film for film in films if film.backlog]
    backlog = sum(film.backlog for film in waiting)
    mood: Literal["idle", "busy", "degraded", "paused"] = "busy" if backlog else "idle"
    if any(alarm.severity != "minor" for alarm in alarms.values()):
        mood = "degraded"
    return AgentStatus(
        state="paused" if paused else mood,
        backlog=backlog,
        current=waiting[0].id if waiting else None,
        last_error=last_error,
    )


def alarms_of(
    films: Iterable[Film],
    final: frozenset[str],
    full: str | None,
    before: Mapping[str, Alarm],
    wall: datetime,
) -> Mapping[str, Alarm]:
    """The alarms that stand; one that stood before keeps its ``since``, and is the same object when equal."""
    now: dict[str, Alarm] = {}
    for name, alarm in _standing(films, final, full, wall):
        held = before.get(name)
        if name in now:
            continue
        since = held.since if held is not None else alarm.since
        now[name] = alarm.model_copy(update={"since": since})
        if held == now[name] and held is not None:
            now[name] = held
    return before if now == before else now


def _standing(
    films: Iterable[Film], final: frozenset[str], full: str | None, wall: datetime
) -> Iterator[tuple[str, Alarm]]:
    if full is not None:
        yield (
            "disk_full",
            Alarm(
                severity="critical",
                text=f"The disk is full, the film cannot grow ({full})"[:300],
                since=wall,
                mend="Free space below the storage folder; verified recordings go first.",
            ),
        )
    for film in films:
        if film.making and _stuck(film):
            yield "film_stuck", _stuck_alarm(film, wall)
        if film.id not in final and not film.dead and (lines := _skipped(film)):
            yield "branding_skipped", _skipped_alarm(film, lines, wall)


def _stuck(film: Film) -> bool:
    tries = film.trying.failures if film.trying is not None else 0
    return max(tries, film.append_failures, film.prepare_failures) > STUCK_TRIES


def _stuck_alarm(film: Film, wall: datetime) -> Alarm:
    return Alarm(
        severity="critical",
        text=f"The film of {film.id} does not grow: slot {film.appended} cannot be made",
        since=wall,
        subject=film.id,
        mend="Run `ezrec doctor`: ffmpeg or the disk is out of order. Recording goes on meanwhile.",
    )


def _skipped(film: Film) -> list[str]:
    dressings = (*film.stage.branding, *((film.stage.intro,) if film.stage.intro else ()))
    return [f"{item.slot}: {item.why or 'unknown'}" for item in dressings if not item.applied]


def _skipped_alarm(film: Film, lines: list[str], wall: datetime) -> Alarm:
    return Alarm(
        severity="minor",
        text=f"The film of {film.id} is made without {'; '.join(lines)}"[:300],
        since=wall,
        subject=film.id,
        mend="Upload these files again (PNG for logos, MP4 for the intro); the next film will have them.",
    )


def wakes_of(film: Film) -> Iterator[tuple[str, int]]:
    """When a recording is to be looked at again: assets that are waited for, tries that are put off."""
    if film.deleted or film.dead:
        if film.delete_ns:
            yield f"delete:{film.id}", film.delete_ns
        return
    if film.warm_ns is not None and not film.warmed:
        yield f"warm:{film.id}", film.warm_ns
    if film.prepared is None and film.wanted_ns is not None:
        yield f"assets:{film.id}", film.wanted_ns + dressing.PATIENCE_NS
    times = {
        "prepare": film.prepare_ns if film.prepared is None else 0,
        "retry": film.trying.not_before_ns if film.trying is not None else 0,
        "append": film.append_ns,
        "poster": film.poster_ns if film.poster_tries < filming.POSTER_TRIES else 0,
        "delete": film.delete_ns,
    }
    for name, at_ns in times.items():
        if at_ns:
            yield f"{name}:{film.id}", at_ns
