"""Who may do what, declared: the table that `test_rights.py` holds the database to, row by row.

Rows have labels: on court-1 of the club ``u`` uma's, ``o`` ugo's, ``n`` nobody's; ``2`` of court-2 of the
same club; ``r`` of its revoked device ``old``; ``t`` of another club. Where rows are an organisation's, not a
device's, ``n`` is the club's and ``t`` the other club's.

Whoever is not named for a table may do nothing there: somebody without a key, a person who belongs to no
club, a revoked device, a device's key with another organisation, one minted before its `keys_from`.
"""

from typing import NamedTuple

from tests.cloud_bridge.sql.club import ANON, SERVICE, Who, device, person

ASKERS: dict[str, Who] = {
    "anon": ANON,
    "stranger": person("sam"),
    "user": person("uma"),
    "operator": person("olga"),
    "admin": person("ada"),
    "rival": person("rex"),
    "device": device("court-1"),
    "revoked": device("old"),
    "wrong_org": device("court-1", "rival"),
    "stale": device("court-1", iat=1_400_000_000),
    "nobodys": device("court-9"),
    "service": SERVICE,
}


class Can(NamedTuple):
    """Labels of the rows somebody may select, insert, update and delete."""

    select: str = ""
    insert: str = ""
    update: str = ""
    delete: str = ""


CLUB = "uon2r"
ALL = "uon2rt"
EVERYTHING = Can(ALL, ALL, ALL, ALL)
READ_ALL = {"operator": Can(CLUB), "admin": Can(CLUB), "rival": Can("t")}

RIGHTS: dict[str, dict[str, Can]] = {
    "organisations": {
        "user": Can("n"),
        "operator": Can("n"),
        "admin": Can("n", "", "n"),
        "rival": Can("t", "", "t"),
        "device": Can("n"),
        "service": Can("nt", "nt", "nt"),
    },
    "members": {
        "user": Can("u"),
        "operator": Can("uo"),
        "admin": Can("uo", "uo", "uo", "uo"),
        "rival": Can("t", "t", "t", "t"),
        "service": Can("uot", "uot", "uot", "uot"),
    },
    "courts": {
        "user": Can("n"),
        "operator": Can("n"),
        "admin": Can("n", "n", "n", "n"),
        "rival": Can("t", "t", "t", "t"),
        "device": Can("n"),
        "service": Can("nt", "nt", "nt", "nt"),
    },
    "devices": {
        "user": Can("n2r"),
        "operator": Can("n2r"),
        "admin": Can("n2r", "n", "n2r"),
        "rival": Can("t", "t", "t"),
        "device": Can("n", "", "n"),
        "service": Can("n2rt", "nt", "n2rt"),
    },
    "court_bookings": {
        "user": Can("u", "u", "u", "u"),
        "operator": Can(CLUB, CLUB, CLUB, CLUB),
        "admin": Can(CLUB, CLUB, CLUB, CLUB),
        "rival": Can("t", "t", "t", "t"),
        "device": Can("uon", "n", "uon"),
        "service": EVERYTHING,
    },
    "booking_people": {
        "user": Can("u", "u", "u"),
        "operator": Can(CLUB, CLUB, CLUB),
        "admin": Can(CLUB, CLUB, CLUB),
        "rival": Can("t", "t", "t"),
        "device": Can("", "uon"),
        "service": EVERYTHING,
    },
    "results": {"user": Can("u"), **READ_ALL, "device": Can("uon", "uon", "uon"), "service": EVERYTHING},
    "recordings": {"user": Can("u"), **READ_ALL, "device": Can("uon"), "service": EVERYTHING},
    "videos": {"user": Can("u"), **READ_ALL, "device": Can("uon"), "service": EVERYTHING},
    "user_media": {
        "user": Can("un", "", "u", "u"),
        "operator": Can("n"),
        "admin": Can("n", "", "n", "n"),
        "rival": Can("t", "", "t", "t"),
        "device": Can("uon"),
        "service": Can("uont", "uont", "uont", "uont"),
    },
    "assets": {"service": Can("n", "n", "n", "n")},
    "shares": {
        "user": Can("u", "u", "u"),
        "operator": Can(CLUB, CLUB, CLUB),
        "admin": Can(CLUB, CLUB, CLUB),
        "rival": Can("t", "t", "t"),
        "device": Can("uon", "uon"),
        "service": EVERYTHING,
    },
    "share_tokens": {
        "user": Can("u", "u"),
        "operator": Can(CLUB, CLUB),
        "admin": Can(CLUB, CLUB),
        "rival": Can("t", "t"),
        "service": EVERYTHING,
    },
    "device_status": {
        "operator": Can("n2r"),
        "admin": Can("n2r"),
        "rival": Can("t"),
        "device": Can("n"),
        "service": Can("n2rt", "", "n2rt", "n2rt"),
    },
    "device_changes": {"device": Can("n"), "service": Can("n2rt", "", "n2rt", "n2rt")},
    "device_commands": {
        "operator": Can("n2r", "n2r"),
        "admin": Can("n2r", "n2r"),
        "rival": Can("t", "t"),
        "device": Can("n", "", "n"),
        "service": Can("n2rt", "n2rt", "n2rt", "n2rt"),
    },
    "notices": {
        "operator": Can("n2r"),
        "admin": Can("n2r"),
        "rival": Can("t"),
        "device": Can("n", "n"),
        "service": Can("n2rt", "n2rt", "n2rt", "n2rt"),
    },
    "notifications": {
        "operator": Can("n2r"),
        "admin": Can("n2r"),
        "rival": Can("t"),
        "service": Can("n2rt", "n2rt", "n2rt", "n2rt"),
    },
    "recipients": {
        "operator": Can("n2r"),
        "admin": Can("n2r", "n2r", "n2r", "n2r"),
        "rival": Can("t", "t", "t", "t"),
        "service": Can("n2rt", "n2rt", "n2rt", "n2rt"),
    },
    "api_tokens": {"service": Can("nt", "nt", "nt", "nt")},
    "removals": {**READ_ALL, "service": EVERYTHING},
    "removal_orders": {**READ_ALL, "service": EVERYTHING},
    "audit": {"admin": Can("n"), "rival": Can("t"), "service": Can("nt", "nt")},
    # The predecessor's names.
    "bookings": {
        "user": Can("u", "u", "u", "u"),
        "operator": Can(CLUB, "uon2", CLUB, CLUB),
        "admin": Can(CLUB, "uon2", CLUB, CLUB),
        "rival": Can("t", "t", "t", "t"),
        "service": Can(ALL, "uon2t", ALL, ALL),
    },
    "user_settings": {"user": Can("u", "", "u"), "service": Can("uo", "", "uo")},
    "shared_links": {
        "user": Can("u", "", "u", "u"),
        "operator": Can(CLUB, "", CLUB, CLUB),
        "admin": Can(CLUB, "", CLUB, CLUB),
        "rival": Can("t", "", "t", "t"),
        "service": Can(ALL, "", ALL, ALL),
    },
    "cameras": {
        "user": Can("n2r"),
        "operator": Can("n2r"),
        "admin": Can("n2r"),
        "rival": Can("t"),
        "service": Can("n2rt"),
    },
    "system_status": {"operator": Can("n2r"), "admin": Can("n2r"), "rival": Can("t"), "service": Can("n2rt")},
}
"""New rows of `bookings` are tried on devices that record."""

UPDATABLE: dict[str, dict[str, str]] = {
    "authenticated": {
        "organisations": "name",
        "members": "role",
        "courts": "name",
        "devices": "court_id name timezone automatic keys_from revoked_at",
        "court_bookings": "starts_at ends_at status record audience layout deliver",
        "booking_people": "title contacts",
        "user_media": "place size opacity",
        "shares": "expires_at revoked_at",
        "recipients": "kinds language quiet",
        "bookings": "*",
        "user_settings": "*",
        "shared_links": "*",
    },
    "ezrec_device": {
        "devices": "automatic",
        "court_bookings": "starts_at ends_at status record audience layout deliver",
        "results": "seq body stored_at",
        "device_commands": "answer answered_at",
    },
    "anon": {},
}
"""Columns that may be changed, of rows that may be."""

PEOPLE = (
    "create_booking change_booking booking bookings automatic set_automatic results recordings make_share"
    " issue_link share shares revoke_share order_command recipients set_recipient remove_recipient"
)
DEVICE = (
    "poll create_booking change_booking booking bookings automatic set_automatic save_result results"
    " recordings make_share share shares save_results add_notices answer_command"
)
FUNCTIONS: dict[str, str] = {"anon": "", "authenticated": PEOPLE, "ezrec_device": DEVICE, "service_role": "*"}
"""Functions of ours that a role may call, without their `ezrec_`."""
