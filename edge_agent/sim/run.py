"""One seed: the world made, run to its end and to rest, and judged."""

import json
import traceback
from dataclasses import asdict, dataclass
from importlib import import_module

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.bookings import draw
from edge_agent.sim.device import Device, Plant
from edge_agent.sim.faults import Faults, draw_mood
from edge_agent.sim.final import at_rest, judge_end
from edge_agent.sim.loop import Loop, Violation

HOUR_NS = 3600 * SECOND_NS
FIRST_NS = 130 * SECOND_NS
REST_NS = 3600 * SECOND_NS
LOOK_NS = 20 * SECOND_NS


@dataclass(frozen=True)
class Report:
    """What a seed showed.

    Attributes:
        virtual_s: simulated seconds until the end or the violation.
        violation: the promise that was broken, in one sentence; None: none was.
        trace: the last steps before it; fault: the traceback of a fault of the software.
        films: recordings that ended ready or partial; states: recordings by final state.
    """

    seed: int
    hours: float
    virtual_s: float
    steps: int
    bookings: int
    states: dict[str, int]
    violation: str | None = None
    trace: tuple[str, ...] = ()
    fault: str | None = None
    mood: str = ""

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return self.violation is None

    def json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(asdict(self))


def run(seed: int, hours: float, *, plant: "Plant | str | None" = None) -> Report:
    """Run one seed for so many simulated hours, and then without faults until it rests.

    ``plant``: a bug to be planted, or where one is (``module:name``).
    """
    loop = Loop(seed)
    planted = _plant(plant)
    mood = planted.mood(draw_mood(loop.lots("mood")))
    device = Device(loop, mood, planted)
    end_ns = round(hours * HOUR_NS)
    last_ns = max(FIRST_NS + SECOND_NS, end_ns - 120 * SECOND_NS)
    tickets = draw(loop.lots("bookings"), FIRST_NS, last_ns, mood.kinds)
    device.club.plan(tickets)
    device.club.plan_orders(end_ns)
    Faults(device, end_ns).plan()
    violation, fault = None, None
    try:
        device.start()
        loop.run(end_ns)
        _rest(device)
        judge_end(device)
    except Violation as broken:
        violation = str(broken)
        cause = broken.__cause__
        fault = "".join(traceback.format_exception(cause)) if cause is not None else None
    except Exception as error:  # noqa: BLE001 - a view of an agent that raises: its fault, told with the seed
        violation, fault = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    states = [device.judge.state(ticket.id) or "none" for ticket in device.club.tickets.values()]
    return Report(
        seed=seed,
        hours=hours,
        virtual_s=loop.now_ns / SECOND_NS,
        steps=loop.steps,
        bookings=len(states),
        states={state: states.count(state) for state in sorted(set(states))},
        violation=violation,
        trace=loop.told() if violation else (),
        fault=fault,
        mood=f"{mood.idle} trouble={mood.trouble} rotten={mood.rotten} {' '.join(sorted(mood.faults))}",
    )


def _plant(plant: "Plant | str | None") -> Plant:
    if plant is None:
        return Plant()
    if isinstance(plant, Plant):
        return plant
    module, _, name = plant.partition(":")
    found = getattr(import_module(module), name)
    if not isinstance(found, Plant):
        raise TypeError(f"{plant} is no Plant")
    return found


def _rest(device: Device) -> None:
    """Everything works again; wait until nothing is under way."""
    loop = device.loop
    until_ns = loop.now_ns + REST_NS
    device.broker.repeats = 0.0
    while loop.now_ns < until_ns:
        loop.run(loop.now_ns + LOOK_NS)
        if at_rest(device):
            loop.run(loop.now_ns + LOOK_NS)
            return
