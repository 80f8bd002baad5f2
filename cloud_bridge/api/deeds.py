"""Writing the audit: who did what, from which kind of client. Never an address, never who watched."""

import logging

from fastapi import Request
from pydantic import JsonValue

from cloud_bridge.api.context import context
from cloud_bridge.api.visits import Asking
from cloud_bridge.stores.audit import Client, Deed
from cloud_bridge.stores.base import StoreError

log = logging.getLogger(__name__)


def note(request: Request, action: str, subject: str, **detail: JsonValue) -> None:
    """Write what whoever asks has done. Blocks."""
    asker: Asking | None = getattr(request.state, "asking", None)
    if asker is None:
        write(request, Deed("share", "", "link", action, subject, detail))
    else:
        who = asker.principal
        write(request, Deed(who.user, who.role, asker.client, action, subject, detail))


def note_login(request: Request, action: str, user: str, role: str) -> None:
    """Write a login, or one that failed. Only a user's name: people type passwords into names."""
    client: Client = "browser"
    write(request, Deed(user, role, client, action, user))


def write(request: Request, deed: Deed) -> None:
    """Append a deed. It is done by now: if it cannot be written it goes to the log instead."""
    audit = context(request).audit
    try:
        if audit is not None:
            audit.write(deed)
            return
    except StoreError as error:
        log.error("audit: %s", error.text)  # noqa: TRY400 - one line, no trace
    log.info("audit: %s %s %s %s", deed.actor, deed.client, deed.action, deed.subject)
