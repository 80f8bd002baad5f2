"""Two organisations with people, courts, devices and bookings, as a project's owner would put them in."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.postgres import Connection

SEED = """
    INSERT INTO organisations (id, name) VALUES ('club', 'Club'), ('rival', 'Rival');
    INSERT INTO courts (org_id, id, name) VALUES
        ('club', 'court-1', 'One'), ('club', 'court-2', 'Two'), ('rival', 'court-1', 'Their one');
    INSERT INTO devices (id, org_id, court_id, timezone) VALUES
        ('court-1', 'club', 'court-1', 'Europe/Berlin'), ('court-2', 'club', 'court-2', 'Europe/Berlin'),
        ('old', 'club', 'court-2', 'UTC'), ('theirs', 'rival', 'court-1', 'UTC');
    UPDATE devices SET revoked_at = now() WHERE id = 'old';
    INSERT INTO members (org_id, user_id, role) VALUES
        ('club', 'uma', 'user'), ('club', 'ugo', 'user'), ('club', 'olga', 'operator'),
        ('club', 'ada', 'admin'), ('rival', 'rex', 'admin'), ('rival', 'rita', 'user');
"""


@dataclass(frozen=True)
class Who:
    """A role with the claims of its key."""

    role: str
    claims: Mapping[str, object]


def person(user: str) -> Who:
    """Somebody who is logged in."""
    return Who("authenticated", {"sub": user, "aud": "authenticated"})


def device(device_id: str, org: str = "club", **more: object) -> Who:
    """A device's key."""
    return Who("ezrec_device", {"device": device_id, "org": org, "iat": 1_700_000_000, **more})


ANON = Who("anon", {})
SERVICE = Who("service_role", {})


def seed(db: Connection) -> None:
    """Put the clubs in; the connection is the owner's."""
    db.execute(SEED.encode())
