"""What the operator's pages have in common: how they are shown, and how a refusal is told."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request, Response

from cloud_bridge.api.access import RANK, reach
from cloud_bridge.api.context import context
from cloud_bridge.api.html import page
from cloud_bridge.api.login import SAME_ORIGIN
from cloud_bridge.api.operator_time import Unclear, in_words, spoken_day, spoken_span
from cloud_bridge.api.problems import Problem, store_problem
from cloud_bridge.api.visits import asking
from cloud_bridge.resolve import moment
from cloud_bridge.stores.base import Overlap, StoreError


@dataclass(frozen=True)
class Refused:
    """Why something was not done: an HTTP status, and a sentence."""

    status: int
    text: str


def show(request: Request, name: str, status: int = 200, **values: object) -> Response:
    """A page of the operator's, for whoever is logged in."""
    asker = asking(request)
    answer = page(
        name,
        status,
        csrf=asker.csrf,
        user=asker.principal.user,
        operator=is_operator(request),
        here=request.url.path,
        **values,
    )
    answer.headers.update(SAME_ORIGIN)
    return answer


def is_operator(request: Request) -> bool:
    """Whether the asker looks after this court."""
    return RANK[asking(request).principal.role] >= RANK["operator"] and not reach(request).nothing


def attempt(request: Request, act: Callable[[], object]) -> Refused | None:
    """Do something; what stands against it, in words. What was typed stays with the caller."""
    zone = context(request).zone
    try:
        act()
    except Unclear as error:
        return Refused(422, str(error))
    except Problem as error:
        if error.status == 412:
            return Refused(
                412, "Somebody else has changed this booking meanwhile. Look at it, then try again."
            )
        return Refused(error.status, in_words(error.detail, zone))
    except Overlap as error:
        return Refused(409, _taken(request, error))
    except StoreError as error:
        answer = store_problem(error)
        return Refused(answer.status_code, in_words(json.loads(bytes(answer.body))["detail"], zone))
    return None


def _taken(request: Request, error: Overlap) -> str:
    """What is in the way; by name only to whoever may see it."""
    ctx, sees = context(request), reach(request)
    other = ctx.store.booking(error.other)
    if other is None:
        return "The court is taken then."
    start, end = moment(other.stored.start), moment(other.stored.end)
    when = f"{spoken_day(start.astimezone(ctx.zone).date())}, {spoken_span(start, end, ctx.zone)}"
    mine = not sees.nothing and sees.owner in (None, other.stored.owner)
    name = f" by “{other.title}”" if mine and other.title else ""
    return f"The court is taken{name}: {when}."
