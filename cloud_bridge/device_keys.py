"""A device's key: a JSON web token that a Supabase project takes for the role ``ezrec_device``. Pure."""

import re
from datetime import datetime, timedelta

import jwt

from schemas.base import ID_PATTERN

ROLE = "ezrec_device"
MIN_SECRET = 32
"""Bytes HS256 asks for; a project's own secret is longer."""
LONG_DAYS = 3650
"""As long as a project's own keys. A key without an end would do, but Realtime takes none."""


class KeyMistake(ValueError):
    """What was given makes no key; one line."""


def device_key(secret: str, device: str, org: str, now: datetime, days: int = LONG_DAYS) -> str:
    """The key of a device of an organisation.

    What ends it is ``devices.revoked_at`` or ``devices.keys_from``; at the latest ``days`` are over.

    Args:
        secret: the project's JWT secret.
        device: id of the device.
        org: id of its organisation; the key is refused when the device is of another one.
        now: aware; written into the key.
        days: after how many it ends.

    Raises:
        KeyMistake: an id is none, or the secret cannot be one.
    """
    for name, value in (("device", device), ("organisation", org)):
        if not re.fullmatch(ID_PATTERN, value):
            raise KeyMistake(f"{name} {value!r}: 1 to 64 of a-z, 0-9, _ and - were expected")
    if len(secret.encode()) < MIN_SECRET:
        raise KeyMistake(f"the JWT secret has fewer than {MIN_SECRET} bytes: that is no project's secret")
    if secret.startswith(("eyJ", "sb_")):
        raise KeyMistake("that is a key, not the JWT secret that keys are made with")
    # A minute back: a database whose clock is a little behind would call it issued in the future.
    claims: dict[str, object] = {"role": ROLE, "device": device, "org": org}
    claims["iat"] = int(now.timestamp()) - 60
    claims["exp"] = int((now + timedelta(days=days)).timestamp())
    return jwt.encode(claims, secret, algorithm="HS256")
