"""A project for a test: the stand-in over a database of the test's own, with a club that has two courts."""

from collections.abc import Generator
from typing import LiteralString

import psycopg
import pytest

from cloud_bridge.stores.supabase import SupabaseStore
from cloud_bridge.stores.supabase_client import Limits, Project
from tests.standins.supabase import SupabaseStandIn
from tests.support.postgres import Server

CLUB: LiteralString = """
    INSERT INTO organisations (id, name) VALUES ('club', 'Club'), ('other', 'Other');
    INSERT INTO courts (org_id, id, name) VALUES
        ('club', 'c1', '1'), ('club', 'c2', '2'), ('other', 'c1', '1');
    INSERT INTO devices (id, org_id, court_id) VALUES
        ('court-1', 'club', 'c1'), ('court-2', 'club', 'c2'), ('court-9', 'other', 'c1');
"""
EMPTY: LiteralString = """
    DO $$ BEGIN
        SET LOCAL session_replication_role = replica;  -- the audit defends itself
        EXECUTE (SELECT 'TRUNCATE ' || string_agg(format('public.%I', tablename), ', ') || ' RESTART IDENTITY'
            FROM pg_tables WHERE schemaname = 'public');
    END $$
"""
IMPATIENT = Limits(connect_s=2, read_s=5, whole_s=20)


@pytest.fixture(scope="session")
def running(postgres: Server) -> Generator[SupabaseStandIn]:
    """This worker's project: making a database and a server for every test would be most of its time."""
    with postgres.fresh() as name, SupabaseStandIn(postgres.dsn(name)) as project:
        yield project


@pytest.fixture
def project(running: SupabaseStandIn) -> Generator[SupabaseStandIn]:
    """A running project without faults: courts 1 and 2 of the club, court 9 of another one, no other row."""
    with psycopg.connect(running.database.dsn, autocommit=True) as db:
        db.execute(EMPTY)
        db.execute(CLUB)
    running.realtime.settle()
    yield running
    running.heal()


def as_device(project: SupabaseStandIn, device: str = "court-1", org: str = "club") -> Project:
    """What a device has in its settings."""
    return Project(project.url, project.device_key(device, org), project.anon_key)


def as_service(project: SupabaseStandIn) -> Project:
    """What a service in the cloud has."""
    return Project(project.url, project.service_key)


def store_of(
    project: SupabaseStandIn, *, service: bool = False, device: str | None = "court-1", zone: str = "UTC"
) -> SupabaseStore:
    """A store by a device key, or by the service-role key."""
    who = as_service(project) if service else as_device(project, device or "court-1")
    return SupabaseStore(who, device, zone, IMPATIENT)
