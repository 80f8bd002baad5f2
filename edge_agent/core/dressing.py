"""What a film wears: its format, logos and intro; decided once, before its first slot. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edge_agent.core.agent import SECOND_NS, Stamp, wall_ns
from edge_agent.core.backoff import delay_ns
from edge_agent.core.effects import FilmFormat, Prepare, Prepared
from edge_agent.core.filming import Film
from edge_agent.core.settings import Settings
from schemas.booking import Booking, Layout
from schemas.health import Asset
from schemas.recording import Dressing
from schemas.work import SlotPlan

PATIENCE_NS = 10 * SECOND_NS
WARM_UP_NS = 600 * SECOND_NS


def choose_format(settings: Settings, film: Film, booking: Booking) -> FilmFormat:
    """The film's format: as its plans show it, else as booked; what a begun film is known to have stays."""
    layout = _layout_of(film.plans.values()) or booking.layout or settings.film.layout
    width, height = settings.film_size(layout)
    known = film.stage.film
    return FilmFormat(
        width=known.width if known else width,
        height=known.height if known else height,
        fps=known.fps if known else settings.film_fps(),
        preset=(known.preset if known else None) or settings.film.preset,
        crf=settings.film.quality,
        maxrate_bps=settings.film.max_bitrate,
        layout=layout if len(settings.camera) > 1 else "single",
    )


def _layout_of(plans: Iterable[SlotPlan]) -> Layout | None:
    """The layout the merger has frozen: a booking changed since then does not count."""
    for plan in plans:
        for run in plan.runs:
            if run.picture in ("side_by_side", "stacked"):
                return run.picture
    return None


def settled(booking: Booking, assets: Mapping[str, Asset]) -> bool:
    """Whether every logo and the intro is here or known not to be had."""
    named = [logo.sha256 for logo in booking.branding]
    if booking.intro is not None:
        named.append(booking.intro.sha256)
    return all(sha in assets and assets[sha].state in ("ready", "failed") for sha in named)


def warming_ns(film: Film, stamp: Stamp) -> int | None:
    """Monotonic time from which logos and intro are prepared ahead; None when that is not to be done."""
    booking = film.booking
    if booking is None or film.warmed or film.begun or not film.making:
        return None
    if not booking.branding and booking.intro is None:
        return None
    if wall_ns(booking.to) < wall_ns(stamp.wall):
        return None
    return stamp.mono_ns + wall_ns(booking.from_) - WARM_UP_NS - wall_ns(stamp.wall)


def warm_up(film: Film, assets: Mapping[str, Asset], stamp: Stamp, settings: Settings) -> Prepare | None:
    """Prepare ahead, once, what the booking names; the driver keeps it and nothing is decided."""
    due_ns, booking = warming_ns(film, stamp), film.booking
    if due_ns is None or booking is None or due_ns > stamp.mono_ns or not settled(booking, assets):
        return None
    return Prepare(
        f"warm:{film.id}",
        film.id,
        choose_format(settings, film, booking),
        booking.branding,
        booking.intro,
        _paths(assets),
    )


def dress(film: Film, assets: Mapping[str, Asset], now_ns: int) -> tuple[Film, Prepare | None]:
    """Decide logos and intro once they are here, or after 10 s without what is not.

    What is still being prepared then (a long intro) is left out by a second asking of its own key: whichever
    ends first is the decision.
    """
    booking, format_ = film.booking, film.format
    if booking is None or format_ is None or now_ns < film.prepare_ns:
        return film, None
    wanted_ns = now_ns if film.wanted_ns is None else film.wanted_ns
    film = replace(film, wanted_ns=wanted_ns)
    late = now_ns - wanted_ns >= PATIENCE_NS
    if not late and (film.preparing or not settled(booking, assets)):
        return film, None
    key = f"prepare:{film.id}:late" if late else f"prepare:{film.id}"
    if key in film.preparing:
        return film, None
    paths = _paths(assets)
    bare = late and film.prepare_failures > 0
    logos = tuple(logo for logo in booking.branding if logo.sha256 in paths and _may(film, logo.slot))
    intro = booking.intro
    if film.stage.slots_done or film.appended or (late and film.preparing):
        intro = None
    if intro is not None and intro.sha256 not in paths:
        intro = None
    effect = Prepare(key, film.id, format_, () if bare else logos, None if bare else intro, paths, fix=True)
    return replace(film, preparing=film.preparing | {key}), effect


def _may(film: Film, slot: str) -> bool:
    """A film that is begun goes on with the logos it was begun with."""
    if not film.stage.slots_done and not film.appended:
        return True
    return any(item.slot == slot and item.applied for item in film.stage.branding)


def _paths(assets: Mapping[str, Asset]) -> dict[str, str]:
    return {sha: asset.path for sha, asset in assets.items() if asset.path and asset.state == "ready"}


def prepared(film: Film, key: str, result: Prepared) -> Film:
    """A preparation ended; the first that was to decide does."""
    film = replace(film, preparing=film.preparing - {key})
    if film.prepared is not None or _is_warm(key):
        return film
    return replace(film, prepared=result, prepare_failures=0)


def prepare_failed(film: Film, key: str, now_ns: int) -> Film:
    """Tried again soon; after the patience is over, without any of it."""
    preparing = film.preparing - {key}
    if _is_warm(key):
        return replace(film, preparing=preparing)
    failures = film.prepare_failures + 1
    wait_ns = delay_ns(failures, f"prepare:{film.id}", ceiling_ns=5 * SECOND_NS)
    return replace(film, preparing=preparing, prepare_failures=failures, prepare_ns=now_ns + wait_ns)


def _is_warm(key: str) -> bool:
    return key.startswith("warm:")


def with_account(film: Film, assets: Mapping[str, Asset]) -> Film:
    """The stage says what is applied, what is skipped and why; once said it stays."""
    booking, result, stage = film.booking, film.prepared, film.stage
    if booking is None or result is None or stage.branding or stage.intro is not None:
        return film
    if not booking.branding and booking.intro is None:
        return film
    applied = {logo.slot for logo in result.logos}
    branding = tuple(
        Dressing(
            slot=logo.slot,
            applied=logo.slot in applied,
            why=None if logo.slot in applied else _why(result, logo.slot, assets.get(logo.sha256)),
        )
        for logo in booking.branding
    )
    intro = None
    if booking.intro is not None:
        has = result.intro is not None
        why = None if has else _why(result, "intro", assets.get(booking.intro.sha256))
        intro = Dressing(slot="intro", applied=has, why=why)
    return replace(film, stage=stage.replace(branding=branding, intro=intro))


def _why(result: Prepared, slot: str, asset: Asset | None) -> str:
    if slot in result.skipped:
        return result.skipped[slot]
    if asset is not None and asset.state == "failed":
        return asset.error or "could not be fetched"
    return "was not there in time"
