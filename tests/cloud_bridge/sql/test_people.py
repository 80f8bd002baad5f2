"""What people do through the functions and the tables, and what they try."""

from typing import Any, LiteralString

import psycopg
import pytest

from schemas.commands import COMMANDS, CommandSpec
from tests.cloud_bridge.sql.club import Who, device, person
from tests.support.postgres import Connection, asking

UMA, UGO, OLGA, REX = person("uma"), person("ugo"), person("olga"), person("rex")
DEVICE = {"device": "court-1"}
FILM = "2100-01-01T00:00:00Z"


def new(booking_id: str, owner: str | None, hour: int = 12, **more: object) -> dict[str, object]:
    times = {"start": f"2026-03-01T{hour}:00:00Z", "end": f"2026-03-01T{hour + 1}:00:00Z"}
    return {"id": booking_id, "kind": "booked", "owner": owner, **times, **more}


def code_of(ask: Any, function: str, who: Who, **arguments: object) -> str | None:
    """The code a call is refused with; None when it works."""
    try:
        ask(function, who, **arguments)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_a_user_keeps_their_own_bookings_and_reaches_no_others(ask: Any) -> None:
    made = ask("create_booking", UMA, **DEVICE, new=new("a", "uma", title="T", contacts=["u@example.org"]))
    assert (made["booking"]["title"], made["booking"]["contacts"]) == ("T", ["u@example.org"])
    ask("create_booking", UGO, **DEVICE, new=new("b", "ugo", 14))
    change = {"end": "2026-03-01T12:30:00Z", "title": "U"}
    assert ask("change_booking", UMA, **DEVICE, booking_id="a", changes=change)["title"] == "U"
    for who in (UGO, REX, person("sam")):
        assert ask("booking", who, device=None, booking_id="a") is None
        assert code_of(ask, "change_booking", who, device=None, booking_id="a", changes=change) == "PT404"
        assert code_of(ask, "make_share", who, device=None, booking_id="a", expires_at=FILM) == "PT404"
    assert [row["stored"]["id"] for row in ask("bookings", UMA, device=None, query={})] == ["a"]
    assert len(ask("bookings", OLGA, device=None, query={})) == 2
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", "ugo", 16)) == "42501"
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", None, 16)) == "42501"
    assert code_of(ask, "create_booking", UMA, device="theirs", new=new("c", "uma")) == "PT404"
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("b", "uma", 16)) == "PT409"


def test_a_user_cuts_nothing_but_their_own(ask: Any) -> None:
    """A cut shows what was recorded in its time: of somebody else's booking it would show them."""
    ask("create_booking", UGO, **DEVICE, new=new("b", "ugo"))
    for of in ("b", None, "nothing"):
        assert (
            code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", "uma", kind="cut", of=of)) == "42501"
        )
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", "uma", 16, kind="manual")) == "42501"
    assert code_of(ask, "create_booking", UGO, **DEVICE, new=new("c", "ugo", kind="cut", of="b")) is None
    assert code_of(ask, "create_booking", OLGA, **DEVICE, new=new("d", "uma", kind="cut", of="b")) is None


def test_a_user_shares_their_own_film_and_an_end_stays(ask: Any, db: Connection) -> None:
    ask("create_booking", UMA, **DEVICE, new=new("a", "uma"))
    share = ask("issue_link", UMA, **DEVICE, booking_id="a", expires_at=FILM, token_hash="a" * 64)
    assert ask("share_of", **DEVICE, token_hash="a" * 64) == share
    assert code_of(ask, "share_of", UMA, **DEVICE, token_hash="a" * 64) == "42501"
    assert code_of(ask, "revoke_share", UGO, **DEVICE, share_id=share["share_id"]) == "PT404"
    ended = ask("revoke_share", UMA, **DEVICE, share_id=share["share_id"])
    assert ended["revoked_at"] is not None
    with asking(db, UMA.role, UMA.claims):
        assert db.execute("UPDATE shares SET revoked_at = NULL").rowcount == 1
    assert ask("share", UMA, **DEVICE, share_id=share["share_id"]) == ended


def test_who_left_the_club_sees_what_was_theirs_and_changes_nothing(ask: Any, db: Connection) -> None:
    ask("create_booking", UMA, **DEVICE, new=new("a", "uma"))
    db.execute("DELETE FROM members WHERE user_id = 'uma'")
    assert ask("booking", UMA, device=None, booking_id="a") is not None
    assert (
        code_of(ask, "change_booking", UMA, device=None, booking_id="a", changes={"record": "no"}) == "42501"
    )
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("b", "uma", 15)) == "PT404"


def test_an_operator_commands_in_their_own_name(ask: Any, db: Connection) -> None:
    order = {"target": "camera_left", "name": "snapshot", "by": "ada"}
    command_id = ask("order_command", OLGA, **DEVICE, command=order)
    assert db.execute("SELECT ordered_by FROM device_commands").fetchall() == [{"ordered_by": "olga"}]
    assert code_of(ask, "order_command", UMA, **DEVICE, command=order) == "42501"
    assert code_of(ask, "order_command", REX, **DEVICE, command=order) == "PT404"
    assert code_of(ask, "order_command", device("court-1"), **DEVICE, command=order) == "42501"
    (command,) = ask("poll", device("court-1"), **DEVICE, cursor=0)["commands"]
    assert command["id"] == command_id
    assert ask("answer_command", device("court-1"), **DEVICE, command_id=command_id, answer={"status": "ok"})
    assert code_of(ask, "answer_command", OLGA, **DEVICE, command_id=command_id, answer={}) == "42501"


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: f"{spec.target}/{spec.name}")
def test_an_operator_orders_what_the_buttons_may_and_an_admin_everything(ask: Any, spec: CommandSpec) -> None:
    target = {"camera_*": "camera_left", "*": "merger"}.get(spec.target, spec.target)
    order = {"target": target, "name": spec.name}
    mine = code_of(ask, "order_command", OLGA, **DEVICE, command=order)
    assert mine == (None if spec.role == "court" else "42501")
    assert code_of(ask, "order_command", person("ada"), **DEVICE, command=order) is None


def test_a_booking_of_another_is_a_cut(ask: Any) -> None:
    """It would count as that one's own time: no border would hold it."""
    ask("create_booking", UGO, **DEVICE, new=new("b", "ugo"))
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", "uma", 13, of="b")) == "42501"
    assert code_of(ask, "create_booking", UMA, **DEVICE, new=new("c", "uma", 13)) is None


SHARE = "INSERT INTO shares (share_id, device_id, booking_id, created_at, expires_at) VALUES "


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE court_bookings SET deliver = array_fill('film'::text, ARRAY[100000]) WHERE id = 'a'",
        "UPDATE booking_people SET contacts = ARRAY[repeat('x', 100000)] WHERE booking_id = 'a'",
        SHARE + "(repeat('s', 100000), 'court-1', 'a', now(), now())",
        SHARE + "('s1', 'court-1', 'a', now(), 'infinity')",
        SHARE + "('s1', 'court-1', 'a', '-infinity', now())",
        "UPDATE shares SET expires_at = '9999-01-01Z' WHERE booking_id = 'a'",
    ],
)
def test_nobody_writes_what_a_device_could_not_read(
    ask: Any, db: Connection, statement: LiteralString
) -> None:
    """What it reads is bounded: one row beyond that, and it would hear of no booking again."""
    ask("create_booking", UMA, **DEVICE, new=new("a", "uma"))
    ask("make_share", UMA, **DEVICE, booking_id="a", expires_at=FILM)
    with asking(db, UMA.role, UMA.claims), pytest.raises(psycopg.Error) as refused, db.transaction():
        db.execute(statement)
    assert refused.value.sqlstate == "PT409"


@pytest.mark.parametrize("deadline", ["infinity", "9999-12-31Z"])
def test_a_deadline_is_of_this_age(db: Connection, deadline: str) -> None:
    with asking(db, OLGA.role, OLGA.claims), pytest.raises(psycopg.Error) as refused, db.transaction():
        db.execute(
            "INSERT INTO device_commands (device_id, id, target, name, deadline, ordered_by)"
            " VALUES ('court-1', 'c', 'booking', 'stop', %s, 'olga')",
            (deadline,),
        )
    assert refused.value.sqlstate == "PT409"


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (device("old"), "42501"),
        (device("court-1", "rival"), "42501"),
        (device("court-9"), "42501"),
        (device("court-2"), "42501"),
        (Who("ezrec_device", {}), "42501"),
        (Who("ezrec_device", {"device": "court-1"}), "42501"),
        (Who("ezrec_device", {"device": ["court-1"], "org": {"a": 1}}), "42501"),
        (UMA, "42501"),
        (Who("anon", {}), "42501"),
    ],
)
def test_a_poll_with_a_wrong_key_is_an_error_and_never_empty(ask: Any, who: Who, code: str) -> None:
    """An empty answer would look like no bookings at all."""
    assert code_of(ask, "poll", who, **DEVICE, cursor=0) == code


def test_nobody_hides_as_another_role(ask: Any) -> None:
    """The role is the key's; what else its claims say opens nothing."""
    forged = Who("authenticated", {"sub": "sam", "role": "ezrec_device", "device": "court-1", "org": "club"})
    assert code_of(ask, "save_results", forged, **DEVICE, rows=[]) == "42501"
    for role in ("service_role", "ezrec_device"):
        forged = Who("authenticated", {"sub": "sam", "role": role, "device": "court-1", "org": "club"})
        assert ask("bookings", forged, device=None, query={}) == []
        assert code_of(ask, "set_automatic", forged, **DEVICE, on=False) in {"42501", "PT404"}
