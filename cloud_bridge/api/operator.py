"""The operator's page: the court now, its bookings, its films. Users see their own bookings and films."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from cloud_bridge.api.access import access, reach
from cloud_bridge.api.context import context, principal
from cloud_bridge.api.gate import GuardedRoute
from cloud_bridge.api.html import see
from cloud_bridge.api.live import alarms
from cloud_bridge.api.models import position, recording_end
from cloud_bridge.api.operator_page import is_operator, show
from cloud_bridge.api.operator_rows import ACKNOWLEDGED, alarm_subject, card, court, films, known_between
from cloud_bridge.api.operator_time import Unclear, begin_of, clock_change, spoken_day, typed_day
from cloud_bridge.api.problems import Problem
from cloud_bridge.api.story import facts
from cloud_bridge.api.visits import asking
from cloud_bridge.stores.audit import Deed
from schemas.base import ID_PATTERN, utc_text

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
ROWS = access("user", "rows", page=True)
Word = Annotated[str, Path(pattern=ID_PATTERN)]
SOME_FILMS = 5
MANY_FILMS = 25
DAYS = 7


@router.get("/", openapi_extra=ROWS)
def home(request: Request) -> Response:
    """The court now, what is wrong, today's bookings, the latest films, and how much still fits."""
    ctx, sees = context(request), reach(request)
    now = ctx.now()
    today = now.astimezone(ctx.zone).date()
    known = known_between(ctx, sees, begin_of(today, ctx.zone), begin_of(today + timedelta(days=1), ctx.zone))
    return show(
        request,
        "operator_home.html",
        device=ctx.settings.device.id,
        court=court(ctx, known) if is_operator(request) else None,
        nothing=sees.nothing,
        today=spoken_day(today),
        bookings=[card(ctx, one) for one in known],
        films=[card(ctx, facts(row)) for row in films(ctx, sees, SOME_FILMS, None)],
    )


@router.get("/bookings", openapi_extra=ROWS)
def week(request: Request) -> Response:
    """A week of bookings, day by day, from ``?from=`` (today by default)."""
    ctx, sees = context(request), reach(request)
    today = ctx.now().astimezone(ctx.zone).date()
    try:
        first = typed_day(request.query_params.get("from", today.isoformat()))
    except Unclear as error:
        raise Problem(422, f"from: {error}") from None
    days = [
        (day, begin_of(day, ctx.zone), begin_of(day + timedelta(days=1), ctx.zone))
        for day in (first + timedelta(days=number) for number in range(DAYS))
    ]
    known = known_between(ctx, sees, days[0][1], days[-1][2])
    return show(
        request,
        "operator_week.html",
        days=[
            {
                "day": day.isoformat(),
                "name": ("Today, " if day == today else "") + spoken_day(day),
                "clocks": clock_change(day, ctx.zone),
                "bookings": [card(ctx, one) for one in known if one.start < end and begin < one.end],
            }
            for day, begin, end in days
        ],
        before=(first - timedelta(days=DAYS)).isoformat(),
        after=(first + timedelta(days=DAYS)).isoformat(),
    )


@router.get("/films", openapi_extra=ROWS)
def film_list(request: Request) -> Response:
    """What was recorded, newest first."""
    ctx, sees = context(request), reach(request)
    rows = films(ctx, sees, MANY_FILMS, position(request.query_params.get("cursor")))
    cards = [card(ctx, facts(row)) for row in rows]
    return show(request, "operator_films.html", films=cards, next=recording_end(rows, MANY_FILMS))


@router.post("/alarms/{agent}/{alarm}/acknowledge", openapi_extra=access("operator", "club", page=True))
def acknowledge(request: Request, agent: Word, alarm: Word) -> Response:
    """Write down who has seen a standing alarm, and when; it stands until its cause is gone."""
    ctx, who = context(request), principal(request)
    standing = (alarms(ctx.live) or {}).get((agent, alarm))
    if ctx.audit is None:
        raise Problem(409, "there is no audit here, nobody can be noted")
    if standing is not None:
        since = utc_text(standing.since)
        subject, client = alarm_subject(agent, alarm), asking(request).client
        ctx.audit.write(Deed(who.user, who.role, client, ACKNOWLEDGED, subject, {"since": since}))
    return see("/")
