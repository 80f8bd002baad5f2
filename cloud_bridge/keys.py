"""What a key for the cloud's store can do, as far as it says so itself. Pure."""

import base64
import json
from typing import cast


def is_service_role(key: str) -> bool:
    """Whether a key opens every row of the project: a legacy service-role JWT, or a new secret key."""
    if key.startswith("sb_secret_"):
        return True
    parts = key.split(".")
    if len(parts) != 3:
        return False
    try:
        claims: object = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    return isinstance(claims, dict) and cast("dict[str, object]", claims).get("role") == "service_role"
