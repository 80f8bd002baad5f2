"""One message on its way: put into words, sent, and its row brought up to date."""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from cloud_bridge.notify import order
from cloud_bridge.notify.mail import mail_of
from cloud_bridge.notify.outcome import Delayed, NotSent, Refused
from cloud_bridge.notify.smtp import Mailer
from cloud_bridge.notify.text import letter_of
from cloud_bridge.notify.ways import Ways
from cloud_bridge.notify.webhook import Poster, body_of, signature
from cloud_bridge.stores.base import StoreError
from cloud_bridge.stores.messages import ClaimedMessage, MessageStore
from edge_agent.core.agent import SECOND_NS
from edge_agent.core.backoff import delay_ns
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock
from schemas.base import utc_text

LEASE_S = 240.0
TRY_S = 150.0
"""Longest a try takes, with what is around it: one is not begun when less of the lease is left."""
FILM_PATIENCE = timedelta(hours=48)
TROUBLE_PATIENCE = timedelta(hours=6)
FIRST_NS = 15 * SECOND_NS
CEILING_NS = 5 * 60 * SECOND_NS
LATE_CEILING_NS = 30 * 60 * SECOND_NS
PUT_OFF = timedelta(seconds=5)
BLOCKED_S = 10.0
"""How long the other messages of a blocked way are put off without a try."""
NOTED_S = 30.0
"""How long a sent message is tried to be written down as such, before it is left to the next claim."""
MEMORY = timedelta(days=35)
"""How far back messages about a cause are looked at."""
_SMTP = "smtp"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transports:
    """What carries messages out."""

    mailer: Mailer
    poster: Poster


class Post:
    """Sends claimed messages. May be used from several threads; a message is in one of them."""

    def __init__(
        self, settings: Settings, messages: MessageStore, ways: Ways, transports: Transports, clock: Clock
    ) -> None:
        self.name = f"{settings.device.id}-{secrets.token_hex(6)}"
        self._settings = settings
        self._messages = messages
        self._ways = ways
        self._transports = transports
        self._clock = clock
        self._lock = Lock()
        self._blocked: dict[str, tuple[float, str]] = {}
        self._out: set[str] = set()

    def send(self, claimed: ClaimedMessage, claimed_s: float) -> None:
        """Send one message and write what became of it. Never raises.

        Args:
            claimed: the message.
            claimed_s: `time.monotonic` before it was claimed.
        """
        if time.monotonic() - claimed_s > LEASE_S - TRY_S:
            return  # it waited here too long: somebody may claim it at any moment
        try:
            self._try(claimed)
        except StoreError as error:
            log.warning("message %s: the store is away: %s", claimed.id, error.text)
        except Exception:  # one message must not end the sending of all others
            log.exception("message %s: a mistake of ours", claimed.id)
            self._note_failure(claimed, Delayed("a mistake of the sender's; its log has more"))

    def put_off(self, claimed: ClaimedMessage) -> None:
        """Give a message back that was not tried. Never raises."""
        self._note_failure(claimed, _Waits("others go first", self._clock.wall() + PUT_OFF))

    def _try(self, claimed: ClaimedMessage) -> None:
        if claimed.id in self._out:
            self._note_sent(claimed)
            return
        try:
            self._check(claimed)
            self._carry(claimed)
        except NotSent as error:
            self._note_failure(claimed, error)

    def _check(self, claimed: ClaimedMessage) -> None:
        message = claimed.message
        with self._lock:
            until, why = self._blocked.get(_way_of(claimed), (0.0, ""))
        if time.monotonic() < until:
            raise Delayed(why)
        if not order.matters(message.kind):
            return
        now = self._clock.wall()
        cause = message.subject.partition("@")[0]
        told = self._messages.told(message.device, cause, utc_text(now - MEMORY))
        match order.verdict(claimed, told, now):
            case order.Never(why):
                raise Refused(why)
            case order.Later(at, why):
                raise _Waits(why, datetime.fromisoformat(at))
            case order.Go():
                pass

    def _carry(self, claimed: ClaimedMessage) -> None:
        message, now = claimed.message, self._clock.wall()
        if message.channel == "email":
            sender = self._settings.smtp.sender or ""
            self._transports.mailer.send(
                message.recipient,
                lambda: mail_of(
                    letter_of(message, self._ways.to(claimed)), sender, message.recipient, claimed.id, now
                ),
                lambda: self._note_sent(claimed),
            )
            return
        secret = self._settings.notify.webhook_secret
        if secret is None:
            raise Delayed("webhooks are not sent without notify.webhook_secret")
        way = self._ways.to(claimed)
        body = body_of(claimed, letter_of(message, way), way)
        signed = signature(secret.get_secret_value(), body, int(now.timestamp()))
        known = message.recipient in self._settings.notify.webhooks
        self._transports.poster.post(message.recipient, body, headers_of(signed), known=known)
        self._note_sent(claimed)

    # --- rows ---

    def _note_sent(self, claimed: ClaimedMessage) -> None:
        """It is out: write that until the store has it; while it has not, we at least send it no more."""
        with self._lock:
            self._out.add(claimed.id)
        retrying = Retrying(
            retry=retry_if_exception_type(StoreError),
            wait=wait_exponential(0.2, max=10),
            stop=stop_after_delay(NOTED_S),
            reraise=True,
        )
        retrying(self._messages.sent, claimed.id, self.name)
        with self._lock:
            self._out.discard(claimed.id)
        self._ways.forget(claimed.id)
        log.info("message %s (%s, %s) is out", claimed.id, claimed.message.kind, claimed.message.channel)

    def _note_failure(self, claimed: ClaimedMessage, error: NotSent) -> None:
        again = self._again_at(claimed, error)
        if isinstance(error, Delayed) and error.everybody:
            with self._lock:
                self._blocked[_way_of(claimed)] = (time.monotonic() + BLOCKED_S, error.text)
        ended = "is tried again" if again else "is given up"
        log.log(
            logging.INFO if isinstance(error, _Waits) else logging.WARNING,
            "message %s (%s, %s) %s: %s",
            *(claimed.id, claimed.message.kind, claimed.message.channel, ended, error.text),
        )
        if again is None:
            self._ways.forget(claimed.id)
        try:
            self._messages.not_sent(claimed.id, self.name, error.why, again)
        except StoreError as trouble:
            log.warning("message %s: the store is away: %s", claimed.id, trouble.text)

    def _again_at(self, claimed: ClaimedMessage, error: NotSent) -> str | None:
        if isinstance(error, _Waits):
            return utc_text(error.until)
        if isinstance(error, Refused):
            return None
        film = claimed.message.kind.startswith("film_")
        now = self._clock.wall()
        begun = datetime.fromisoformat(claimed.message.not_before)
        if now - begun >= (FILM_PATIENCE if film else TROUBLE_PATIENCE):
            return None
        ceiling = CEILING_NS if now - begun < TROUBLE_PATIENCE else LATE_CEILING_NS
        wait_ns = delay_ns(claimed.attempt, claimed.id, first_ns=FIRST_NS, ceiling_ns=ceiling)
        return utc_text(now + timedelta(microseconds=wait_ns // 1000))


class _Waits(Delayed):
    """Nothing is wrong: another message goes first."""

    def __init__(self, text: str, until: datetime) -> None:
        super().__init__(text)
        self.until = until


def _way_of(claimed: ClaimedMessage) -> str:
    return _SMTP if claimed.message.channel == "email" else claimed.message.recipient


def headers_of(signed: str) -> Mapping[str, str]:
    """The headers of a post."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "EZREC",
        "EZREC-Signature": signed,
    }
