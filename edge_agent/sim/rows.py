"""The promises about rows: what the store said last is published, and what was made is in it, once."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from cloud_bridge.schedule import changed, row_of
from edge_agent.core.agent import SECOND_NS
from edge_agent.core.effects import BookingEntry, ChangeEntry, OrderEntry, StoredBooking
from edge_agent.sim.bookings import Ticket
from edge_agent.sim.broker import Broker
from edge_agent.sim.club import Club, Pressed
from edge_agent.sim.loop import Loop, Violation
from edge_agent.sim.store import Store
from schemas.base import Message
from schemas.booking import Booking
from schemas.recording import FINAL_STATES, Recording, Share, UploadStage
from schemas.registry import BOOKING, RECEIPT, RECORDING, SHARE, UPLOAD
from schemas.topics import Address

FRESH_NS = 20 * SECOND_NS
"""How old a row may be before it is published, when nothing is wrong."""
RECOVERED_NS = 50 * SECOND_NS
"""The same after a trouble has ended: by then the device asks every 32 s at least."""
KEPT = timedelta(minutes=50)
TOLD = {"ready": "film_ready", "partial": "film_partial", "failed": "film_missed", "missed": "film_missed"}
FILM = frozenset(TOLD.values())


class RowJudge:
    """Watches the store, the buttons, and what the bridge publishes. ``orders``: what waits in its outbox.

    Attributes:
        calm_ns: true time since which nothing stands between the store and the topics.
        refused: bookings of the court for which the store had no room.
    """

    def __init__(
        self,
        loop: Loop,
        store: Store,
        club: Club,
        wall: Callable[[int], datetime],
        slack: Callable[[], int],
        orders: Callable[[], tuple[OrderEntry, ...]],
    ) -> None:
        self.loop = loop
        self.store = store
        self.club = club
        self.calm_ns = 0
        self._wall = wall
        self._slack = slack
        self._orders = orders
        self.refused: Callable[[], frozenset[str]] = frozenset
        self._broker: Broker | None = None
        self._made: dict[str, list[StoredBooking]] = {}
        self._looking = False
        store.watchers.append(self._written)

    def watch(self, broker: Broker) -> None:
        """Where the topics are."""
        self._broker = broker

    def disturbed(self, for_ns: int) -> None:
        """Something stands between store and topics now, for that long."""
        self.calm_ns = max(self.calm_ns, self.loop.now_ns + for_ns)

    def settled(self) -> bool:
        """Whether the device had time to bring everything to the store."""
        return self.loop.now_ns - self.calm_ns >= RECOVERED_NS

    def ensure(self, fine: bool, text: str) -> None:  # noqa: FBT001 - reads like a sentence
        """A promise.

        Raises:
            Violation: it does not hold.
        """
        if not fine:
            raise Violation(text)

    # --- what is published ---

    def published(self, address: Address[Any], message: Message | None) -> None:
        """A topic of the bridge is about to change."""
        if address.topic is BOOKING:
            ticket = self.club.tickets.get(address["id"])
            self.ensure(ticket is not None, f"{address['id']} was published and nobody booked it")
            if ticket is not None and isinstance(message, Booking):
                self._booking(ticket, message)
            elif ticket is not None:
                self._cleared(ticket)

    def _booking(self, ticket: Ticket, booking: Booking) -> None:
        if ticket.last == booking:
            return
        now_ns = self.loop.now_ns
        if not ticket.history or now_ns < ticket.begin_ns:
            ticket.begin_ns = _ns(self._wall, booking.from_)
        ticket.end_ns = _ns(self._wall, booking.to)
        rev = ticket.last.rev if ticket.last is not None else 0
        self.ensure(
            booking.rev > rev, f"{ticket.id} changed and its revision went from {rev} to {booking.rev}"
        )
        known = any(_same(row, booking) for row in self._said(ticket.id))
        self.ensure(known, f"{ticket.id} is published otherwise than anybody ever said: {booking}")
        ticket.history.append((now_ns, booking))

    def _said(self, booking_id: str) -> list[StoredBooking]:
        """Every version of a booking: the store's, and with what was ordered at the court.

        What the store refused is remembered here: it stands at the court, and may yet give way to a booking.
        """
        made = self._made.setdefault(booking_id, [])
        rows = [*self.store.said.get(booking_id, []), *made]
        for order in self._orders():
            if isinstance(order, BookingEntry) and order.booking_id == booking_id:
                rows.append(row_of(order))
            elif isinstance(order, ChangeEntry) and order.booking_id == booking_id:
                rows += [changed(row, order.changes) for row in rows]
        made[:] = dict.fromkeys(rows)
        return rows

    def _cleared(self, ticket: Ticket) -> None:
        """Withdrawn by the bridge: only when it is over, or was never wanted."""
        said = self._topic(RECORDING.at(id=ticket.id))
        final = isinstance(said, Recording) and said.state in FINAL_STATES
        now = self._wall(self.loop.now_ns + self._slack())
        past = ticket.last is not None and ticket.last.to + KEPT < now
        fine = past and (final or not ticket.wanted)
        self.ensure(fine, f"{ticket.id} ({ticket.kind}) was withdrawn and nobody said so")
        ticket.cleared = True

    def _topic(self, address: Address[Any]) -> Message | None:
        return self._broker.topics.get(address) if self._broker else None

    # --- what the store said last ---

    def _written(self) -> None:
        if not self._looking:
            self._looking = True
            self.loop.after(FRESH_NS, self._look)

    def _look(self) -> None:
        """What is published now is what the store says, if nothing has been in the way for a while."""
        quiet_ns = self.loop.now_ns - self.calm_ns
        if quiet_ns < RECOVERED_NS:
            self.loop.after(RECOVERED_NS - quiet_ns, self._look)
            return
        self._looking = False
        now = self._wall(self.loop.now_ns)
        before = self._wall(self.loop.now_ns - FRESH_NS)
        for row in self.store.rows.bookings.values():
            written_at = self.store.written_at[row.id]
            if written_at <= before:
                self._compare(row, now)

    def _compare(self, row: StoredBooking, now: datetime) -> None:
        ticket = self.club.tickets[row.id]
        if ticket.cleared or not _readable(row) or datetime.fromisoformat(row.end) + KEPT < now:
            return
        there = self._topic(BOOKING.at(id=row.id))
        self.ensure(isinstance(there, Booking), f"{row.id} ({ticket.kind}) is in the store and not published")
        if isinstance(there, Booking):
            text = (
                f"{row.id} ({ticket.kind}) is published otherwise than the store said last: {there} for {row}"
            )
            self.ensure(_same(row, there), text)

    # --- what the device made ---

    def judge_end(self) -> None:
        """All has come to rest: rows equal the truth.

        Raises:
            Violation: they do not.
        """
        now = self._wall(self.loop.now_ns)
        for row in self.store.rows.bookings.values():
            self._compare(row, now)
        for ticket in self.club.tickets.values():
            if ticket.history:
                self._judge_results(ticket)
        self._judge_once()
        left = sorted(self.store.rows.commands.keys() - self.store.rows.answers.keys())
        self.ensure(not left, f"commands from afar got no answer: {left}")
        for one in self.club.pressed.values():
            self._judge_button(one)

    def _judge_once(self) -> None:
        """Nothing is in the store twice; the device's own health is a heartbeat."""
        for (booking_id, kind), rows in self.store.taken.items():
            if booking_id not in self.club.tickets:
                continue
            twice = [
                now.seq
                for (before, at), (now, then) in pairwise(rows)
                if before.body == now.body and at == then
            ]
            self.ensure(not twice, f"the {kind} of {booking_id} was stored twice: {twice[:3]}")
        told = Counter(
            (one.kind, one.subject) for one in self.store.rows.notices.values() if one.kind in FILM
        )
        again = [what for what, times in told.items() if times > 1]
        self.ensure(not again, f"people are told twice: {again}")

    def _judge_button(self, one: Pressed) -> None:
        """A button works without the store, once, and what it was promised comes into the store."""
        said = {answer.status for _, answer in one.answers}
        self.ensure(len(said) <= 1, f"{one.name} {one.id} was answered differently: {sorted(said)}")
        for _, answer in one.answers:
            made = answer.data.get("id")
            if one.name in ("start", "cut", "book") and answer.status == "ok" and isinstance(made, str):
                text = f"{one.name} {one.id} was answered with {made}, which never came into the store"
                self.ensure(made in self.store.rows.bookings or made in self.refused(), text)

    def _judge_results(self, ticket: Ticket) -> None:
        for topic in (RECORDING, RECEIPT):
            message = self._topic(topic.at(id=ticket.id))
            stored = self.store.rows.results.get((ticket.id, topic.key))
            if message is None or (isinstance(message, Recording) and message.state not in FINAL_STATES):
                continue
            text = f"the {topic.key} of {ticket.id} ({ticket.kind}) in the store is not the one on the bus"
            body = stored.body if stored is not None else None
            self.ensure(body == message.body(), f"{text}: {body} for {message.body()}")
            if isinstance(message, Recording) and message.state != "cancelled":
                told = [one for one in self.store.rows.notices.values() if one.subject == ticket.id]
                kinds = sorted(one.kind for one in told if one.kind in FILM)
                text = f"{ticket.id} ({ticket.kind}) is {message.state} and people are told {kinds}"
                self.ensure(kinds == [TOLD[message.state]] or not ticket.wanted, text)
        upload = self._topic(UPLOAD.at(id=ticket.id))
        if isinstance(upload, UploadStage) and upload.verified("film"):
            self._judge_share(ticket)

    def _judge_share(self, ticket: Ticket) -> None:
        share = self._topic(SHARE.at(id=ticket.id))
        made = self.store.rows.shares.get(ticket.id)
        if not ticket.wanted or ticket.id in self.refused():
            return
        self.ensure(
            made is not None, f"the film of {ticket.id} ({ticket.kind}) is in the bucket and not shared"
        )
        told = isinstance(share, Share) and made is not None and share.share_id == made.share_id
        self.ensure(told or ticket.cleared, f"the share of {ticket.id} is not on the bus: {share}")


def _readable(row: StoredBooking) -> bool:
    try:
        return datetime.fromisoformat(row.start) <= datetime.fromisoformat(row.end)
    except ValueError:
        return False


def _same(row: StoredBooking, booking: Booking) -> bool:
    """Whether a booking says what a row says; a manual recording may have given way to a booking."""
    if not _readable(row):
        return False
    end, start = datetime.fromisoformat(row.end), datetime.fromisoformat(row.start)
    ends = booking.end == end or (row.kind == "manual" and start <= booking.end <= end)
    return ends and (booking.start, booking.status, booking.record, booking.kind) == (
        start,
        row.status,
        row.record,
        row.kind,
    )


def _ns(wall: Callable[[int], datetime], moment: datetime) -> int:
    """True time of a wall moment."""
    return (moment - wall(0)) // timedelta(microseconds=1) * 1000
