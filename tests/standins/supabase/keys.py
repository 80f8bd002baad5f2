"""Keys of a project: JSON web tokens by its secret, as the platform mints and checks them."""

import time
from collections.abc import Mapping
from typing import Any

import jwt

SECRET = "a-project-secret-of-the-stand-in-0123456789"
SKEW_S = 30  # as PostgREST allows
FAR_S = 10 * 365 * 86400


class BadKey(Exception):
    """A token that is refused: code and text as PostgREST has them."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def mint(secret: str, claims: Mapping[str, Any]) -> str:
    """A signed token, good for ten years unless the claims say when it ends (None: never)."""
    whole = {"iss": "supabase", "exp": int(time.time()) + FAR_S, **claims}
    return jwt.encode(
        {name: value for name, value in whole.items() if value is not None}, secret, algorithm="HS256"
    )


def claims_of(token: str, secret: str, offset_s: float = 0.0) -> dict[str, Any]:
    """What a token says, by a server whose clock is ``offset_s`` ahead of this one.

    Raises:
        BadKey: it is not signed by this project, or its time is over or has not begun.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
    except jwt.InvalidSignatureError:
        raise BadKey("PGRST301", "JWSError JWSInvalidSignature") from None
    except jwt.InvalidTokenError:
        raise BadKey("PGRST301", "JWSError (CompactDecodeError Invalid number of parts)") from None
    now = time.time() + offset_s
    if "exp" in claims and claims["exp"] + SKEW_S < now:
        raise BadKey("PGRST303", "JWT expired")
    if "nbf" in claims and claims["nbf"] - SKEW_S > now:
        raise BadKey("PGRST303", "JWT not yet valid")
    if "iat" in claims and claims["iat"] - SKEW_S > now:
        raise BadKey("PGRST303", "JWT issued at future")
    return claims
