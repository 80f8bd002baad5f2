"""One film in the making, as a value: what is planned, rendered, appended, and what to ask for next.

Pure. The processor agent holds one `Film` per recording and asks `next_effects` and `next_render` after
every event.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import cast

from edge_agent.core.agent import SECOND_NS, Effect
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import (
    AppendSlot,
    CloseFilm,
    FilmFile,
    FilmFormat,
    MakePoster,
    Prepared,
    Render,
    Rendered,
    SettleFile,
)
from edge_agent.core.poor_slots import missing, noted, rungs
from schemas.booking import Booking
from schemas.recording import (
    Dressing,
    FilmFacts,
    MergeStage,
    PoorSlots,
    ProcessStage,
    Rung,
    UploadStage,
)
from schemas.work import SlotPlan, WorkObject

LADDER_NS = 20 * SECOND_NS
LAST_TRY_NS = 15 * SECOND_NS
"""From then on a slot that has failed becomes a card: another try would not end within the 20 s."""
LOOK_AHEAD = 2
LADDER: tuple[Rung, ...] = ("full", "full", "no_logos", "one_camera")
INTRO = -1
NO_SLOT = -2
POSTER_TRIES = 3
CEILING_NS = 10 * SECOND_NS


@dataclass(frozen=True)
class Trying:
    """The ladder of the slot that is being rendered. ``asked``: the rung of the try that is under way."""

    index: int
    since_ns: int
    failures: int = 0
    asked: Rung | None = None
    bad: tuple[str, ...] = ()
    not_before_ns: int = 0

    def rung(self, now_ns: int) -> Rung:
        """Four tries or 20 s, then a card, which needs no input and cannot fail for one."""
        if self.asked is not None:
            return self.asked
        late = now_ns - self.since_ns >= LAST_TRY_NS
        if self.failures >= len(LADDER) or (late and self.failures):
            return "card"
        return LADDER[self.failures]

    def deadline_s(self, now_ns: int) -> float:
        """Seconds a try may take: what is left of the 20 s; a card has all of them."""
        left_ns = LADDER_NS - (now_ns - self.since_ns)
        return (LADDER_NS if self.rung(now_ns) == "card" or not self.failures else left_ns) / SECOND_NS


@dataclass(frozen=True)
class Film:
    """A recording's film.

    Attributes:
        withdrawn: the booking vanished with a schedule that proves it.
        listed: retention says that everything local may go; dead: and that the id is never to be taken up.
        plans: slot plans by index, as published by the merger.
        format, prepared: fixed before the first slot (`edge_agent.core.dressing`).
        preparing: keys of preparations that were asked for and have not ended.
        warm_ns: from when assets are prepared ahead; warmed: that was asked for.
        wanted_ns: when the first plan was seen (slot 0 waits for assets from then on).
        file: the film file as last appended, None when there is none.
        rendered: slots that are whole files and not yet appended.
        newest: path of the slot appended last; its file is the last to go.
        trying: the slot on the ladder, None when none is.
        poster_tries: posters that failed; poster_ns: not before.
        deleted: everything local was deleted.
    """

    id: str
    booking: Booking | None = None
    withdrawn: bool = False
    listed: bool = False
    dead: bool = False
    merge: MergeStage | None = None
    upload: UploadStage | None = None
    delivered: bool = False
    plans: Mapping[int, SlotPlan] = field(default_factory=dict[int, SlotPlan])
    format: FilmFormat | None = None
    prepared: Prepared | None = None
    preparing: frozenset[str] = frozenset()
    prepare_failures: int = 0
    prepare_ns: int = 0
    warmed: bool = False
    warm_ns: int | None = None
    wanted_ns: int | None = None
    file: FilmFile | None = None
    rendered: Mapping[int, Rendered] = field(default_factory=dict[int, Rendered])
    newest: str | None = None
    trying: Trying | None = None
    append_ns: int = 0
    append_failures: int = 0
    poster_tries: int = 0
    poster_ns: int = 0
    delete_ns: int = 0
    delete_failures: int = 0
    deleted: bool = False
    stage: ProcessStage = field(default_factory=ProcessStage)
    objects: Mapping[str, WorkObject] = field(default_factory=dict[str, WorkObject])

    @property
    def appended(self) -> int:
        """Slots in the film."""
        return self.file.slots if self.file else 0

    @property
    def total(self) -> int | None:
        """Slots the film will have, once the merger has fixed them."""
        return self.merge.slots_total if self.merge and self.merge.status == "succeeded" else None

    @property
    def complete(self) -> bool:
        """The film's index is written."""
        return bool(self.file and self.file.complete)

    @property
    def wanted(self) -> bool:
        """Whether it is to be made as far as is known."""
        known = self.booking is not None and self.booking.wanted
        return known and not self.withdrawn and not self.dead

    @property
    def stored(self) -> bool:
        """The film is in the bucket, verified: nothing is made of it any more."""
        # The recording's own state says so too: after a power cut the uploader may be silent for a while.
        return self.delivered or (self.upload is not None and self.upload.verified("film") is not None)

    @property
    def making(self) -> bool:
        """Whether there is something to make, now or later."""
        return self.wanted and not (self.listed or self.deleted or self.stored or self.complete)

    @property
    def begun(self) -> bool:
        """Whether there is anything of it."""
        return bool(self.plans or self.file or self.rendered or self.stage.slots_done)

    @property
    def backlog(self) -> int:
        """Planned slots that are not in the film yet."""
        return max(0, max(self.plans, default=-1) + 1 - self.appended) if self.making else 0

    @property
    def on_disk(self) -> bool:
        """Whether there may be files."""
        return not self.deleted and bool(self.file or self.rendered or self.prepared or self.format)


def learned(film: Film, plans: Iterable[SlotPlan]) -> Film:
    """More slots are planned. A plan never changes: the first one heard of stays."""
    fresh = {plan.index: plan for plan in plans if plan.index not in film.plans}
    if not fresh or film.complete or film.deleted:
        return film
    return replace(film, plans={**film.plans, **fresh})


# --- what to ask for ---


def next_effects(film: Film, now_ns: int) -> tuple[Effect, ...]:
    """What this film needs now, but for rendering. Asking again for what is in flight is harmless."""
    if film.complete and not (film.deleted or film.dead):
        return _poster(film, now_ns) if _poster_from(film) else _settle(film, now_ns)
    if not film.making or film.format is None or film.prepared is None:
        return ()
    return (*_append(film, now_ns), *_poster(film, now_ns))


def _append(film: Film, now_ns: int) -> tuple[Effect, ...]:
    if film.format is None or now_ns < film.append_ns:
        return ()
    fps, index = film.format.fps, film.appended
    ready, plan = film.rendered.get(index), film.plans.get(index)
    if ready is not None and plan is not None:
        if intro := _intro(film):
            return (AppendSlot(f"append:{film.id}:{INTRO}", film.id, INTRO, *intro, fps),)
        return (AppendSlot(f"append:{film.id}:{index}", film.id, index, ready.path, plan.frames, fps),)
    if film.total is not None and index >= film.total > 0:
        return (CloseFilm(f"close:{film.id}", film.id, fps),)
    return ()


def _intro(film: Film) -> tuple[str, int] | None:
    """Path and frames of the intro when it is to go in now: the film is empty, slot 0 is there to compare."""
    prepared, decided = film.prepared, film.stage.intro
    if prepared is None or prepared.intro is None or (film.file is not None and film.file.frames > 0):
        return None
    if decided is not None and not decided.applied:
        return None
    return prepared.intro, prepared.intro_frames


def _poster_from(film: Film) -> str | None:
    """Slot 0, or, when that failed, one that still is a file of its own. None: no poster is to be made."""
    if "poster" in film.objects or film.poster_tries >= POSTER_TRIES or not film.wanted:
        return None
    return film.rendered[min(film.rendered)].path if film.rendered else film.newest


def _poster(film: Film, now_ns: int) -> tuple[Effect, ...]:
    path = _poster_from(film)
    if path is None or now_ns < film.poster_ns:
        return ()
    return (MakePoster(f"poster:{film.id}", film.id, path),)


def _settle(film: Film, now_ns: int) -> tuple[Effect, ...]:
    """Have the complete film made durable; the slot files go with that, so the poster comes first."""
    durable = film.file is not None and film.file.bytes_durable >= film.file.bytes
    if durable or now_ns < film.append_ns:
        return ()
    return (SettleFile(f"settle:{film.id}", film.id, "film"),)


def next_render(film: Film, now_ns: int) -> tuple[Film, Render | None]:
    """The next slot to render: at most `LOOK_AHEAD` ahead of the film."""
    format_, prepared = film.format, film.prepared
    if not film.making or format_ is None or prepared is None:
        return (replace(film, trying=None) if film.trying and not film.making else film), None
    index = next(number for number in count(film.appended) if number not in film.rendered)
    if index not in film.plans or index - film.appended > LOOK_AHEAD:
        return film, None
    trying = film.trying
    if trying is None or trying.index != index:
        trying = Trying(index, now_ns)
    if now_ns < trying.not_before_ns:
        return replace(film, trying=trying), None
    effect = Render(
        key=f"render:{film.id}:{index}",
        booking_id=film.id,
        plan=film.plans[index],
        format=format_,
        rung=trying.rung(now_ns),
        logos=prepared.logos,
        crf_boost=0,
        bad=trying.bad,
        deadline_s=trying.deadline_s(now_ns),
    )
    return replace(film, trying=replace(trying, asked=effect.rung)), effect


# --- what came of it ---


def rendered(film: Film, index: int, result: Rendered) -> Film:
    """A slot is a whole file; what it lacks is noted before it is in the film."""
    slot = PoorSlots(first=index, rung=result.rung, left=result.left_missing, right=result.right_missing)
    stage = film.stage.replace(
        render_cpu_s=round(film.stage.render_cpu_s + result.cpu_s, 3),
        poorer=noted(film.stage.poorer, slot),
    )
    trying = film.trying if film.trying and film.trying.index != index else None
    if index < film.appended:
        return replace(film, trying=trying)
    return replace(film, rendered={**film.rendered, index: result}, trying=trying, stage=stage)


def render_failed(film: Film, index: int, kind: str, detail: object, now_ns: int) -> Film:
    """One step down the ladder, without the sources now known bad. A full disk is no fault of the slot."""
    trying = film.trying
    if trying is None or trying.index != index:
        return film
    if kind == "full":
        again_ns = now_ns + 5 * SECOND_NS
        return replace(film, trying=replace(trying, asked=None, since_ns=again_ns, not_before_ns=again_ns))
    bad = tuple(dict.fromkeys((*trying.bad, *_bad_paths(detail))))
    stage = film.stage.replace(retries=film.stage.retries + 1)
    return replace(film, stage=stage, trying=_stepped(film.id, replace(trying, bad=bad), now_ns))


def _bad_paths(detail: object) -> Iterator[str]:
    """What a failed render says of its sources: camera -> paths."""
    if isinstance(detail, Mapping):
        for paths in cast("Mapping[str, Iterable[str]]", detail).values():
            yield from paths


def _stepped(film_id: str, trying: Trying, now_ns: int) -> Trying:
    """The next rung; once even the card failed, ffmpeg itself is the trouble and is given time."""
    was_card = trying.rung(now_ns) == "card"
    failures = max(trying.failures + 1, len(LADDER) + 1 if was_card else 0)
    wait_ns = delay_ns(failures - len(LADDER), f"render:{film_id}", ceiling_ns=CEILING_NS) if was_card else 0
    return replace(trying, asked=None, failures=failures, not_before_ns=now_ns + wait_ns if wait_ns else 0)


def appended(film: Film, file: FilmFile, wall: datetime) -> Film:
    """The film is as ``file`` says: grown, closed at ``wall``, or found shorter after a crash."""
    stage = film.stage
    went_back = file.slots < stage.slots_done
    completed_at = None if went_back else stage.completed_at
    if file.complete:
        completed_at = stage.completed_at or wall
    left = {index: item for index, item in film.rendered.items() if index >= file.slots}
    stage = stage.replace(
        slots_done=file.slots,
        rungs=rungs(stage.poorer, file.slots),
        missing=missing(stage.poorer, file.slots),
        film=_facts(film, file),
        completed_at=completed_at,
        error=None,
    )
    last = film.rendered.get(file.slots - 1)
    newest = last.path if last is not None else film.newest
    film = replace(film, file=file, rendered=left, newest=newest, stage=stage, append_ns=0, append_failures=0)
    return replace(film, plans={}, trying=None) if file.complete else film


def append_failed(film: Film, index: int, kind: str, now_ns: int) -> Film:
    """The film would not take a slot: another format or unreadable means render it again; else wait."""
    failures = film.append_failures + 1
    if kind == "input" and index == INTRO and film.prepared is not None:
        why = Dressing(slot="intro", applied=False, why="it does not fit the film's format")
        prepared = replace(film.prepared, intro=None, intro_frames=0)
        return replace(film, prepared=prepared, stage=film.stage.replace(intro=why))
    if kind == "input" and index in film.rendered:
        kept = {key: item for key, item in film.rendered.items() if key != index}
        trying = Trying(index, now_ns, failures=failures)
        if failures > len(LADDER):
            again_ns = now_ns + delay_ns(failures - len(LADDER), f"append:{film.id}", ceiling_ns=CEILING_NS)
            trying = replace(trying, not_before_ns=again_ns)
        stage = film.stage.replace(retries=film.stage.retries + 1)
        return replace(film, rendered=kept, trying=trying, append_failures=failures, stage=stage)
    wait_ns = delay_ns(failures, f"append:{film.id}", ceiling_ns=CEILING_NS)
    return replace(film, append_failures=failures, append_ns=now_ns + wait_ns)


def poster_failed(film: Film, now_ns: int) -> Film:
    """Asked again twice, later."""
    tries = film.poster_tries + 1
    return replace(film, poster_tries=tries, poster_ns=now_ns + delay_ns(tries, f"poster:{film.id}"))


def _facts(film: Film, file: FilmFile) -> FilmFacts | None:
    if film.format is None:
        return film.stage.film
    return FilmFacts(
        bytes=file.bytes,
        frames=file.frames,
        intro_frames=file.intro_frames,
        duration_s=file.duration_s,
        width=film.format.width,
        height=film.format.height,
        fps=film.format.fps,
        preset=film.format.preset,
        hash=file.sha256,
    )
