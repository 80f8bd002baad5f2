"""Bookings of a court, drawn from the seed, and the small bridge that publishes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from edge_agent.core.agent import SECOND_NS
from edge_agent.sim.broker import Broker
from edge_agent.sim.loop import MS_NS, Loop
from schemas.agent import AgentAvailability
from schemas.base import Message
from schemas.booking import AssetRef, Booking, Logo, ScheduleSync, schedule_digest
from schemas.recording import FINAL_STATES, Recording, Share, UploadStage
from schemas.registry import AGENT_AVAILABILITY, BOOKING, RECORDING, SCHEDULE_SYNC, SHARE, UPLOAD
from schemas.topics import Address

LINGER_NS = 900 * SECOND_NS
KINDS = (
    *("plain",) * 9,
    *("extended",) * 3,
    *("shortened",) * 3,
    *("cancelled", "stopped", "taken_back", "withdrawn"),
    *("off", "moved", "late", "manual"),
)


@dataclass
class Ticket:
    """One booking and everything that was ever said of it (true time -> message, None: withdrawn).

    Attributes:
        begin_ns, end_ns: true time as first planned; room_ns: until when it may be extended.
        cleared: the bridge took the topic away because the recording is over.
    """

    id: str
    kind: str
    begin_ns: int
    end_ns: int
    room_ns: int
    history: list[tuple[int, Booking | None]] = field(default_factory=list[tuple[int, Booking | None]])
    cleared: bool = False

    @property
    def last(self) -> Booking | None:
        """The booking as it was said last."""
        return next((booking for _, booking in reversed(self.history) if booking is not None), None)

    @property
    def wanted(self) -> bool:
        """Whether it is to be recorded as things are."""
        said = self.history[-1][1] if self.history else None
        return said is not None and said.wanted

    @property
    def always_wanted(self) -> bool:
        """Whether it was never cancelled, withdrawn or off."""
        return bool(self.history) and all(said is not None and said.wanted for _, said in self.history)


def draw(lots: Random, begin_ns: int, until_ns: int) -> list[Ticket]:
    """Tickets one after the other, some back to back, about four an hour."""
    tickets: list[Ticket] = []
    at_ns = begin_ns
    while at_ns < until_ns:
        length_ns = lots.randint(12, 75) * SECOND_NS + lots.choice((0, 0, 0, 500)) * MS_NS
        gap_ns = 0 if lots.random() < 0.35 else lots.randint(10, 2700) * SECOND_NS
        room_ns = at_ns + length_ns + gap_ns
        kind = lots.choice(KINDS)
        tickets.append(Ticket(f"b{len(tickets)}", kind, at_ns, at_ns + length_ns, room_ns))
        at_ns = room_ns
    return tickets


class Bridge:
    """Publishes bookings, the schedule's marker and shares; keeps its rows whatever happens."""

    name = "bridge"

    def __init__(self, loop: Loop, broker: Broker, wall: Callable[[int], datetime]) -> None:
        self.loop = loop
        self.tickets: list[Ticket] = []
        self.running = True
        self._broker = broker
        self._wall = wall
        self._lots = loop.lots("bridge")
        self._topics: dict[Address[Any], Message] = {}
        self._online = False
        self._generation = 0
        self._connect_later()

    # --- the script ---

    def plan(self, tickets: list[Ticket]) -> None:
        """Have every ticket published and changed when its kind says so."""
        self.tickets = tickets
        for ticket in tickets:
            notice_ns = self._lots.randint(8, 300) * SECOND_NS
            if ticket.kind == "late":
                notice_ns = (
                    -self._lots.randint(1, min(60, (ticket.end_ns - ticket.begin_ns) // SECOND_NS))
                    * SECOND_NS
                )
            elif ticket.kind == "manual":
                notice_ns = 0
            first_ns = max(SECOND_NS, ticket.begin_ns - notice_ns)
            self.loop.at(first_ns, self._saying(ticket, self._first(ticket)))
            self._plan_change(ticket, first_ns)

    def _first(self, ticket: Ticket) -> Booking:
        begin, end = self._wall(ticket.begin_ns), self._wall(ticket.end_ns)
        if ticket.kind == "manual":
            end = self._wall(ticket.room_ns)
        lots = self._lots
        body: dict[str, object] = {
            "rev": 1,
            "kind": "manual" if ticket.kind == "manual" else "booked",
            "start": begin,
            "end": end,
            "from": begin,
            "to": end,
            "record": "no" if ticket.kind == "off" else "yes",
            "layout": lots.choice((None, "side_by_side", "stacked")),
        }
        if lots.random() < 0.3:
            sha = f"{lots.getrandbits(256):064x}"
            body["intro"] = AssetRef(key=f"club/assets/{sha}", sha256=sha, bytes=1000)
            body["branding"] = (Logo(key="x", sha256=sha[::-1], bytes=10, slot="company", place="top_left"),)
        if lots.random() < 0.15:
            body["deliver"] = ("film", "cameras")
        return Booking.model_validate(body)

    def _plan_change(self, ticket: Ticket, first_ns: int) -> None:
        lots, kind = self._lots, ticket.kind
        inside_ns = lots.randint(ticket.begin_ns, ticket.end_ns) // MS_NS * MS_NS
        inside_ns = max(inside_ns, first_ns + 2 * SECOND_NS)
        match kind:
            case "extended":
                when_ns = ticket.end_ns - lots.choice((200, 900, 3000, 20_000)) * MS_NS
                more_ns = min(ticket.room_ns - ticket.end_ns, lots.randint(1, 40) * SECOND_NS)
                self._later(ticket, max(when_ns, first_ns + SECOND_NS), end_ns=ticket.end_ns + more_ns)
            case "shortened":
                self._later(ticket, inside_ns, end_ns=inside_ns + lots.choice((-5, 0, 0, 3, 15)) * SECOND_NS)
            case "manual":
                self._later(ticket, ticket.end_ns, end_ns=ticket.end_ns)
            case "moved":
                self._later(ticket, inside_ns, begin_ns=ticket.begin_ns + 3 * SECOND_NS)
            case "cancelled":
                self._later(ticket, first_ns + SECOND_NS, status="cancelled")
            case "stopped":
                self._later(ticket, inside_ns, status="cancelled")
            case "taken_back":
                self._later(ticket, inside_ns, status="cancelled")
                again_ns = inside_ns + lots.randint(1, 120) * SECOND_NS
                self._later(ticket, again_ns, status="confirmed")
            case "withdrawn":
                self.loop.at(inside_ns, self._saying(ticket, None))
            case _:
                pass

    def _later(
        self,
        ticket: Ticket,
        when_ns: int,
        *,
        begin_ns: int | None = None,
        end_ns: int | None = None,
        status: str | None = None,
    ) -> None:
        def change() -> None:
            before = ticket.last
            if before is None or ticket.cleared:
                return
            # As the bridge resolves it: an end in the past becomes now.
            end = max(self._wall(end_ns), self._wall(self.loop.now_ns)) if end_ns is not None else before.to
            if end_ns is not None and end_ns <= ticket.end_ns:
                end = min(end, before.to)
            begin = self._wall(begin_ns) if begin_ns is not None else before.from_
            end = max(begin, end)
            body = before.model_dump() | {"from_": begin, "to": end, "start": begin, "end": end}
            body |= {"rev": before.rev + 1, "status": status or before.status}
            self._saying(ticket, Booking.model_validate(body))()

        self.loop.at(when_ns, change)

    def _saying(self, ticket: Ticket, booking: Booking | None) -> Callable[[], None]:
        def say() -> None:
            ticket.history.append((self.loop.now_ns, booking))
            self.loop.note("bridge", f"booking {ticket.id} ({ticket.kind})", booking)
            if booking is None:
                self._clear(ticket)
                return
            self._set(BOOKING.at(id=ticket.id), booking)
            self._sync()

        return say

    def _clear(self, ticket: Ticket) -> None:
        self._set(BOOKING.at(id=ticket.id), None)
        self._set(SHARE.at(id=ticket.id), None)
        self._sync()

    def _sync(self) -> None:
        revs = [(at["id"], m.rev) for at, m in self._topics.items() if isinstance(m, Booking)]
        self._generation += 1
        sync = ScheduleSync(
            generation=self._generation,
            count=len(revs),
            digest=schedule_digest(revs),
            synced_at=self._wall(self.loop.now_ns),
        )
        self._set(SCHEDULE_SYNC.at(), sync)

    # --- the bus ---

    def _set(self, address: Address[Any], message: Message | None) -> None:
        if message is None:
            self._topics.pop(address, None)
        else:
            self._topics[address] = message
        if self.running and self._online:
            self._broker.publish(self.name, address, message)

    def _connect_later(self) -> None:
        def connect() -> None:
            if not self.running or self._online:
                return
            topics = self._broker.connect(self)
            if topics is None:
                self._connect_later()
                return
            self._online = True
            online = AgentAvailability(state="online", session="bridge")
            self._topics[AGENT_AVAILABILITY.at(agent=self.name)] = online
            self._repair(topics)

        self.loop.after(self._lots.randint(50, 1500) * MS_NS, connect)

    def _repair(self, topics: Mapping[Address[Any], Message]) -> None:
        for address, message in list(self._topics.items()):
            if topics.get(address) != message:
                self._broker.publish(self.name, address, message)
        for address, message in topics.items():
            if address.topic.owner_of(address) == self.name and address not in self._topics:
                self._broker.publish(self.name, address, None)
            elif address.topic.owner_of(address) != self.name:
                self.heard(address, message)

    def reads(self, address: Address[Any]) -> bool:
        """See `Client`."""
        return address.topic in (RECORDING, UPLOAD)

    def cut_off(self) -> None:
        """See `Client`."""
        self._online = False
        self._connect_later()

    def power(self, *, on: bool) -> None:
        """The device's power goes or comes."""
        self.running = on
        self._online = False
        if on:
            self._connect_later()

    def heard(self, address: Address[Any], message: Message | None) -> None:
        """See `Client`: a verified film gets its share, a recording that is over loses its booking later."""
        if isinstance(message, UploadStage) and message.verified("film"):
            share = SHARE.at(id=address["id"])
            if share not in self._topics and BOOKING.at(id=address["id"]) in self._topics:
                expires = self._wall(self.loop.now_ns) + timedelta(days=7)
                self._set(share, Share(state="active", share_id="s", expires_at=expires, stored_rev=1))
        if isinstance(message, Recording) and message.state in FINAL_STATES:
            self.loop.after(LINGER_NS, self._over(address["id"]))

    def _over(self, booking_id: str) -> Callable[[], None]:
        def over() -> None:
            ticket = next(ticket for ticket in self.tickets if ticket.id == booking_id)
            said = self._broker.topics.get(RECORDING.at(id=booking_id))
            final = isinstance(said, Recording) and said.state in FINAL_STATES
            past = ticket.last is not None and ticket.last.to < self._wall(self.loop.now_ns)
            if final and past and not ticket.cleared and self.running:
                ticket.cleared = True
                self._clear(ticket)

        return over
