"""The people of the club: they book in the store, and press the buttons on the court."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from cloud_bridge.orders import booking_id_for
from cloud_bridge.stores.base import NewBooking, StoreError
from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.bookings import Ticket
from edge_agent.sim.loop import MS_NS, Loop
from edge_agent.sim.store import Store
from schemas.base import utc_text
from schemas.commands import Answer

PATIENCE_NS = 4 * SECOND_NS
ORDER_EVERY_NS = 900 * SECOND_NS
ORDERS: tuple[tuple[tuple[str, str], dict[str, Any]], ...] = (
    (("booking", "start"), {"minutes": 1}),
    (("booking", "stop"), {}),
    (("booking", "cut"), {"last_s": 20}),
    (("uploader", "retry"), {}),
    (("processor", "resume"), {}),
    (("health", "doctor"), {}),
    (("camera_left", "log_level"), {"level": "info"}),
    (("booking", "cut"), {"last_s": "all"}),
    (("nobody", "start"), {}),
)
"""Target and name of what is ordered from afar, and its arguments."""
TRIES = 6


class Court(Protocol):
    """What people see of the device."""

    def press(self, name: str, command_id: str, args: dict[str, Any]) -> None:
        """A command on the bus; it may get lost."""
        ...

    def trustworthy(self) -> bool:
        """Whether the device knows what time it is."""
        ...


@dataclass
class Pressed:
    """A button that was pressed: when, for which booking, and every answer it got (true time -> answer)."""

    id: str
    name: str
    args: dict[str, Any]
    at_ns: int
    tries: int = 0
    answers: list[tuple[int, Answer]] = field(default_factory=list[tuple[int, Answer]])


class Club:
    """Everything people do, as the seed has it.

    Attributes:
        tickets: every booking that may come into being, by id.
        pressed: every command given, by its id.
    """

    def __init__(self, loop: Loop, store: Store, court: Court, wall: Callable[[int], datetime]) -> None:
        self.loop = loop
        self.store = store
        self.court = court
        self.tickets: dict[str, Ticket] = {}
        self.pressed: dict[str, Pressed] = {}
        self._wall = wall
        self._lots = loop.lots("club")

    # --- the script ---

    def plan(self, tickets: list[Ticket]) -> None:
        """Have every ticket booked, and changed when its kind says so."""
        for ticket in tickets:
            getattr(self, f"_plan_{_PLANS.get(ticket.kind, 'booked')}")(ticket)

    def _plan_booked(self, ticket: Ticket) -> None:
        self.tickets[ticket.id] = ticket
        notice_ns = self._lots.randint(8, 300) * SECOND_NS
        if ticket.kind == "late":
            longest = min(60, (ticket.end_ns - ticket.begin_ns) // SECOND_NS)
            notice_ns = -self._lots.randint(1, longest) * SECOND_NS
        first_ns = max(SECOND_NS, ticket.begin_ns - notice_ns)
        new = self._new(ticket)
        if ticket.kind == "booked_here":
            begin, end = utc_text(new.start), utc_text(new.end)
            args = {"id": ticket.id, "start": begin, "end": end, "deliver": list(new.deliver)}
            self.loop.at(first_ns, lambda: self._press("book", args, tries=TRIES))
        elif ticket.kind == "crossing":
            by_ns = self._lots.randint(3, 20) * SECOND_NS
            self.loop.at(first_ns, lambda: self._create(ticket, new))
            self.loop.at(first_ns + SECOND_NS, lambda: self._cross(ticket, by_ns))
        else:
            self.loop.at(first_ns, lambda: self._create(ticket, new))
        self._plan_change(ticket, first_ns)

    def _plan_manual(self, ticket: Ticket) -> None:
        """Started by a button, mostly stopped by one; pressed twice now and then."""
        lots, command_id = self._lots, f"start-{ticket.id}"
        ticket.id = booking_id_for(command_id)
        self.tickets[ticket.id] = ticket
        args = {} if ticket.kind == "forgotten" else {"minutes": lots.choice((1, 2, 30))}
        self.loop.at(ticket.begin_ns, lambda: self._press("start", args, command_id, tries=TRIES))
        if lots.random() < 0.5:
            again_ns = ticket.begin_ns + lots.randint(20, 3000) * MS_NS
            self.loop.at(again_ns, lambda: self._press("start", args, f"{command_id}-again"))
            twin = replace(ticket, id=booking_id_for(f"{command_id}-again"), history=[])
            self.tickets[twin.id] = twin
        stop_ns = ticket.room_ns + SECOND_NS if ticket.kind == "forgotten" else ticket.end_ns
        self.loop.at(stop_ns, lambda: self._press("stop", {}, tries=TRIES))
        if lots.random() < 0.3:
            self.loop.at(stop_ns + lots.randint(20, 900) * MS_NS, lambda: self._press("stop", {}))

    def _plan_cut(self, ticket: Ticket) -> None:
        """A booking, and a clip of its last seconds, or of the seconds after it."""
        self._plan_booked(ticket)
        command_id, seconds = f"cut-{ticket.id}", self._lots.randint(2, 40)
        when_ns = self._lots.randint(ticket.begin_ns, ticket.end_ns + 30 * SECOND_NS) // MS_NS * MS_NS
        clip = Ticket(booking_id_for(command_id), "clip", when_ns - seconds * SECOND_NS, when_ns, when_ns)
        self.tickets[clip.id] = clip
        args = {"last_s": seconds}
        self.loop.at(when_ns, lambda: self._press("cut", args, command_id, tries=3))
        if self._lots.random() < 0.3:
            self.loop.at(when_ns + 300 * MS_NS, lambda: self._press("cut", args, command_id))

    def _new(self, ticket: Ticket) -> NewBooking:
        lots = self._lots
        return NewBooking(
            ticket.id,
            "booked",
            self._wall(ticket.begin_ns),
            self._wall(ticket.end_ns),
            record="no" if ticket.kind == "off" else "yes",
            layout=lots.choice((None, "side_by_side", "stacked")),
            deliver=("film", "cameras") if lots.random() < 0.15 else ("film",),
        )

    def _plan_change(self, ticket: Ticket, first_ns: int) -> None:
        lots, kind = self._lots, ticket.kind
        inside_ns = lots.randint(ticket.begin_ns, ticket.end_ns) // MS_NS * MS_NS
        inside_ns = max(inside_ns, first_ns + 2 * SECOND_NS)
        late_ns = max(ticket.end_ns - lots.choice((200, 900, 3000, 20_000)) * MS_NS, first_ns + SECOND_NS)
        more_ns = min(ticket.room_ns - ticket.end_ns, lots.randint(1, 40) * SECOND_NS)
        longer = self._text(ticket.end_ns + more_ns)
        match kind:
            case "extended":
                self._later(ticket, late_ns, end=longer)
            case "extended_here" if more_ns:
                self.loop.at(late_ns, lambda: self._press("extend", {"id": ticket.id, "to": longer}, tries=3))
            case "shortened":
                shorter_ns = inside_ns + lots.choice((-5, 0, 0, 3, 15)) * SECOND_NS
                self._later(ticket, inside_ns, end=self._text(max(ticket.begin_ns, shorter_ns)))
            case "moved":
                self._later(ticket, inside_ns, start=self._text(ticket.begin_ns + 3 * SECOND_NS))
            case "cancelled":
                self._later(ticket, first_ns + SECOND_NS, status="cancelled")
            case "cancelled_here":
                self.loop.at(inside_ns, lambda: self._press("cancel", {"id": ticket.id}, tries=3))
            case "stopped" | "deleted":
                self._later(ticket, inside_ns, status="cancelled")
            case "taken_back":
                self._later(ticket, inside_ns, status="cancelled")
                again_ns = inside_ns + lots.randint(1, 120) * SECOND_NS
                self._later(ticket, again_ns, status="confirmed")
            case "garbled":
                self.loop.at(inside_ns, lambda: self._garble(ticket, lots.randint(5, 60) * SECOND_NS))
            case _:
                pass

    # --- from afar ---

    def plan_orders(self, until_ns: int) -> None:
        """Commands from pages far away: for the court, for agents, and such as make no sense."""
        lots = self._lots
        for number in range(1 + until_ns // ORDER_EVERY_NS):
            when_ns = lots.randint(SECOND_NS, until_ns) // MS_NS * MS_NS
            to, args = lots.choice(ORDERS)
            late_ns = lots.choice((None, None, -SECOND_NS, 120 * SECOND_NS, 900 * SECOND_NS))
            self.loop.at(when_ns, self._ordering(f"afar-{number}", to, args, late_ns))

    def _ordering(
        self, command_id: str, to: tuple[str, str], args: dict[str, Any], deadline_ns: int | None
    ) -> Callable[[], None]:
        def order() -> None:
            now_ns, booking_id = self.loop.now_ns, booking_id_for(command_id)
            kind = {"start": "manual", "cut": "clip"}.get(to[1])
            if kind is not None:
                self.tickets[booking_id] = Ticket(booking_id, kind, now_ns, now_ns + 60 * SECOND_NS, now_ns)
            until = self._wall(now_ns + deadline_ns) if deadline_ns is not None else None
            self.loop.note("afar", f"orders {to} {command_id}", until)
            self.store.order(command_id, to, args, until)

        return order

    # --- in the store ---

    def _text(self, true_ns: int) -> str:
        return utc_text(self._wall(true_ns))

    def _create(self, ticket: Ticket, new: NewBooking) -> None:
        self._note(ticket, "booked")
        try:
            self.store.create_booking(new)
        except StoreError as refused:
            self._note(ticket, refused.text)

    def _cross(self, ticket: Ticket, by_ns: int) -> None:
        """Somebody who asks nobody has it end in others' time."""
        row = self.store.rows.bookings.get(ticket.id)
        if row is not None:
            self._note(ticket, "crosses others' time")
            self.store.write_raw(replace(row, end=self._text(ticket.end_ns + by_ns)))

    def _later(self, ticket: Ticket, when_ns: int, **changes: str) -> None:
        def change() -> None:
            self._note(ticket, changes)
            try:
                self.store.change_booking(ticket.id, changes)
            except StoreError as refused:
                self._note(ticket, refused.text)

        self.loop.at(when_ns, change)

    def _garble(self, ticket: Ticket, for_ns: int) -> None:
        """Somebody writes nonsense into the row, and mends it."""
        row = self.store.rows.bookings.get(ticket.id)
        if row is None:
            return
        self._note(ticket, "garbled")
        self.store.write_raw(replace(row, start=row.end, end="25:00"))

        def mend() -> None:
            self.store.write_raw(row)

        self.loop.after(for_ns, mend)

    def _note(self, ticket: Ticket, what: object) -> None:
        self.loop.note("club", f"{ticket.id} ({ticket.kind})", what)

    # --- on the court ---

    def _press(self, name: str, args: dict[str, Any], command_id: str = "", tries: int = 1) -> None:
        if not self.court.trustworthy():
            self.loop.after(5 * SECOND_NS, lambda: self._press(name, args, command_id, tries))
            return
        command_id = command_id or f"{name}-{len(self.pressed)}"
        one = self.pressed.setdefault(command_id, Pressed(command_id, name, args, self.loop.now_ns))
        self._try(one, tries)

    def _try(self, one: Pressed, tries: int) -> None:
        one.tries += 1
        self.loop.note("court", f"presses {one.name} {one.id}", one.args)
        self.court.press(one.name, one.id, one.args)

        def again() -> None:
            if not one.answers and tries > 1:
                self._try(one, tries - 1)

        self.loop.after(PATIENCE_NS, again)

    def answered(self, answer: Answer) -> None:
        """An answer on the bus."""
        one = self.pressed.get(answer.id)
        if one is not None:
            self.loop.note("court", f"hears of {one.name} {one.id}", answer)
            one.answers.append((self.loop.now_ns, answer))


_PLANS = {"manual": "manual", "forgotten": "manual", "cut": "cut"}
