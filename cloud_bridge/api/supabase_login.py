"""People of a Supabase project: the token their login gave them, taken as a Bearer token.

The project itself says whether a token is genuine and which memberships its user has, by the user's own
rights; what it said holds for a minute. No secret of the project is needed here.
"""

import re
import time
from collections import OrderedDict
from http import HTTPStatus
from threading import Lock
from typing import Any, cast

import httpx
import jwt

from cloud_bridge.api.limits import Buckets
from cloud_bridge.stores.base import Principal, Role, StoreError, token_hash
from cloud_bridge.stores.supabase_client import Project
from edge_agent.runtime.clock import Clock, SystemClock
from schemas.base import ID_PATTERN

HOLDS_S = 60.0
ASKED_PER_MIN = 600
TIMEOUT_S = 10.0
_MOST = 10_000
_NOBODYS = ""
"""The organisation of a user without a membership: none, so nothing of anybody's is theirs."""


class ProjectTokens:
    """`cloud_bridge.api.tokens.TokenSource` of a Supabase project's users, as members of an organisation."""

    def __init__(self, project: Project, org: str, clock: Clock | None = None) -> None:
        """Whose tokens, and which organisation's role counts when somebody is in several."""
        self._project = project
        self._org = org
        self._clock = clock or SystemClock()
        self._asked = Buckets(self._clock, ASKED_PER_MIN, 60)
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[float, Principal | None]] = OrderedDict()
        self._http = httpx.Client(base_url=project.url.rstrip("/"), timeout=TIMEOUT_S)

    def close(self) -> None:
        """Give back the connections. May be repeated."""
        self._http.close()

    def principal(self, token: str) -> Principal | None:
        user = self._user(token)
        if user is None:
            return None
        name, now = token_hash(token), time.monotonic()
        with self._lock:
            at, found = self._known.get(name, (-HOLDS_S, None))
        if now - at < HOLDS_S:
            return found
        if self._asked.take("project"):
            raise StoreError("transient", "too many tokens to ask the project about")
        found = self._ask(token, user)
        with self._lock:
            self._known[name] = (now, found)
            self._known.move_to_end(name)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found

    def _user(self, token: str) -> str | None:
        """Whose token it says it is; None when the project need not be asked."""
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return None
        user, ends = claims.get("sub"), claims.get("exp")
        if claims.get("role") != "authenticated" or not isinstance(user, str):
            return None
        live = isinstance(ends, int | float) and ends > self._clock.wall().timestamp()
        return user if live and re.fullmatch(ID_PATTERN, user) else None

    def _ask(self, token: str, user: str) -> Principal | None:
        project = self._project
        try:
            answer = self._http.get(
                "/rest/v1/members",
                params={"select": "org_id,role", "user_id": f"eq.{user}", "limit": "100"},
                headers={
                    "apikey": project.public_key or project.key,
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/json",
                },
            )
        except httpx.HTTPError as error:
            raise StoreError("transient", f"the project does not answer ({type(error).__name__})") from None
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return None
        if answer.status_code != HTTPStatus.OK:
            raise StoreError("transient", f"the project answers {answer.status_code} about members")
        return self._member(user, answer)

    def _member(self, user: str, answer: httpx.Response) -> Principal:
        try:
            rows = cast("list[dict[str, str]]", answer.json())
            roles = {row["org_id"]: row["role"] for row in rows}
        except (ValueError, TypeError, KeyError):
            raise StoreError("transient", "the project answers something else about members") from None
        if self._org in roles:
            return Principal(user, cast("Role", roles[self._org]), self._org)
        # A role elsewhere is none here, and an admin of another organisation is none of all.
        return Principal(user, "user", next(iter(sorted(roles)), _NOBODYS))
