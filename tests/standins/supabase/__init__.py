"""A stand-in for a Supabase project over real PostgreSQL; see `server`."""

from tests.standins.supabase.faults import HTML, Canned, Huge
from tests.standins.supabase.keys import BadKey, mint
from tests.standins.supabase.server import SupabaseStandIn

__all__ = ["HTML", "BadKey", "Canned", "Huge", "SupabaseStandIn", "mint"]
