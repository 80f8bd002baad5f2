"""Mosquitto's files: configuration and hashed passwords."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_agent.install.shell import ask

BOUNDS: Sequence[str] = (
    "max_queued_messages 20000",
    "max_queued_bytes 134217728",
    "max_packet_size 262144",
    "max_inflight_messages 20",
    "max_keepalive 120",
)
"""With Debian's own 1000 messages a restarting subscriber got 1,020 of 7,200 retained ones, silently."""


class BrokerFault(Exception):
    """Mosquitto's tools refused something; one line."""


def configuration(listeners: Sequence[str], passwords: Path, acl: Path | None, data: Path) -> str:
    """The text of ``mosquitto.conf``.

    Args:
        listeners: whole ``listener`` lines, with what belongs to each.
        passwords: file of hashed passwords.
        acl: access list; None: every account may do everything.
        data: folder of the retained messages.
    """
    lines = (
        "per_listener_settings false",
        *listeners,
        "allow_anonymous false",
        f"password_file {passwords}",
        *([f"acl_file {acl}"] if acl is not None else []),
        "persistence true",
        f"persistence_location {data}/",
        "autosave_interval 60",
        *BOUNDS,
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    )
    return "\n".join(lines) + "\n"


def hashed(accounts: Mapping[str, str], scratch: Path) -> str:
    """The text of a password file; ``scratch`` is written on the way and removed. Runs mosquitto_passwd.

    Raises:
        BrokerFault: a name or password that the file cannot hold, or the tool refused.
    """
    if any(":" in name or "\n" in name + word or not word for name, word in accounts.items()):
        raise BrokerFault("broker accounts need a name without a colon and a password of one line")
    try:
        scratch.touch(mode=0o600)
        scratch.write_text("".join(f"{name}:{word}\n" for name, word in accounts.items()), encoding="utf-8")
        done = ask("mosquitto_passwd", "-U", str(scratch))
        if done.code != 0:
            raise BrokerFault(f"mosquitto_passwd refused the accounts: {done.last_line}")
        return scratch.read_text(encoding="utf-8")
    finally:
        scratch.unlink(missing_ok=True)


def fingerprint(accounts: Mapping[str, str]) -> str:
    """Tells whether hashed passwords were made from these, without keeping them."""
    text = "\n".join(f"{name}:{word}" for name, word in sorted(accounts.items()))
    return hashlib.sha256(text.encode()).hexdigest()
