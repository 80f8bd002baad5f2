"""A test message to everybody who is told about a device, at once and without a row."""

import secrets
from collections.abc import Iterable, Sequence

from cloud_bridge.notify.mail import mail_of
from cloud_bridge.notify.outcome import NotSent, Refused
from cloud_bridge.notify.post import Transports, headers_of
from cloud_bridge.notify.text import letter_of
from cloud_bridge.notify.webhook import body_of, signature
from cloud_bridge.stores.messages import ClaimedMessage, NewMessage, Recipient
from edge_agent.core.settings import Settings
from edge_agent.runtime.clock import Clock
from schemas.base import utc_text


def try_out(
    settings: Settings, to: Sequence[Recipient], transports: Transports, clock: Clock
) -> Iterable[tuple[Recipient, str | None]]:
    """Send to each; yields who, and why it did not go (None: it did)."""
    for recipient in to:
        try:
            _send(settings, recipient, transports, clock)
        except NotSent as error:
            yield recipient, error.why
        else:
            yield recipient, None


def _send(settings: Settings, to: Recipient, transports: Transports, clock: Clock) -> None:
    now = clock.wall()
    data = {"at": utc_text(now), "zone": settings.device.timezone}
    message = NewMessage(
        to.device, to.device, "test", to.channel, to.address, to.language, utc_text(now), data
    )
    claimed = ClaimedMessage("n" + secrets.token_hex(10), message, 1, utc_text(now))
    letter = letter_of(message)
    if to.channel == "email":
        sender = settings.smtp.sender or ""
        transports.mailer.send(to.address, lambda: mail_of(letter, sender, to.address, claimed.id, now))
        return
    if settings.notify.webhook_secret is None:
        raise Refused("webhooks are not sent without notify.webhook_secret")
    body = body_of(claimed, letter, None)
    signed = signature(settings.notify.webhook_secret.get_secret_value(), body, int(now.timestamp()))
    known = to.address in settings.notify.webhooks
    transports.poster.post(to.address, body, headers_of(signed), known=known)
