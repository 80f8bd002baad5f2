"""What every store of people must do; each store's test class inherits it and gives `people` and `clock`."""

from datetime import timedelta

import pytest

from cloud_bridge.stores import Conflict, Missing, Principal
from cloud_bridge.stores.people import PeopleStore
from tests.cloud_bridge.served import HandClock

IDLE_S = 3600.0
DAY_S = 86_400.0


class PeopleConformance:
    def test_users_come_and_go(self, people: PeopleStore) -> None:
        otto = people.add("otto", "operator", "elsewhere")
        anna = people.add("anna", "admin")
        assert (otto.role, otto.org, otto.password, anna.org) == ("operator", "elsewhere", False, None)
        assert people.people() == (anna, otto)
        assert (people.person("anna"), people.person("uma")) == (anna, None)
        assert (people.remove("otto"), people.remove("otto"), people.people()) == (True, False, (anna,))

    @pytest.mark.parametrize("name", ["otto", "Not An Id", "", "x" * 65, "../x"])
    def test_a_name_that_is_taken_or_no_id_is_refused(self, people: PeopleStore, name: str) -> None:
        people.add("otto", "user")
        with pytest.raises(Conflict):
            people.add(name, "admin")
        assert [(one.user, one.role) for one in people.people()] == [("otto", "user")]

    def test_a_password_is_kept_as_given(self, people: PeopleStore) -> None:
        people.add("otto", "user")
        assert people.password("otto") is None
        people.set_password("otto", "hash-1")
        assert (people.password("otto"), people.password("uma")) == ("hash-1", None)
        found = people.person("otto")
        assert found is not None
        assert found.password
        with pytest.raises(Missing):
            people.set_password("uma", "hash")

    def test_a_code_works_once_and_for_a_while(self, people: PeopleStore, clock: HandClock) -> None:
        people.add("otto", "user")
        first, second = people.issue_code("otto", DAY_S), people.issue_code("otto", DAY_S)
        assert people.redeem_code(first) is None
        typed = second.lower().replace("-", " ")
        assert people.redeem_code(typed) == people.person("otto")
        assert people.redeem_code(second) is None
        late = people.issue_code("otto", DAY_S)
        clock.now += timedelta(seconds=DAY_S)
        assert people.redeem_code(late) is None
        with pytest.raises(Missing):
            people.issue_code("uma", DAY_S)

    def test_a_session_ends_idle_and_ends_anyway(self, people: PeopleStore, clock: HandClock) -> None:
        people.add("otto", "operator", "elsewhere")
        session, token = people.open_session("otto", "A browser\n" * 50, 10 * IDLE_S)
        assert (len(session.client), "\n" in session.client) == (120, False)
        visit = people.visit(token, IDLE_S)
        assert visit is not None
        assert (visit.principal, visit.session) == (Principal("otto", "operator", "elsewhere"), session)
        used = []
        for _ in range(11):
            clock.now += timedelta(seconds=IDLE_S - 1)
            used.append(people.visit(token, IDLE_S) is not None)
        assert used == [True] * 10 + [False]
        _, second = people.open_session("otto", "b", DAY_S)
        clock.now += timedelta(seconds=IDLE_S)
        assert (people.visit(second, IDLE_S), people.sessions("otto", IDLE_S)) == (None, ())
        assert people.visit("x" * 43, IDLE_S) is None

    def test_sessions_are_listed_and_ended(self, people: PeopleStore, clock: HandClock) -> None:
        people.add("otto", "user")
        people.add("uma", "user")
        old, old_token = people.open_session("otto", "old", DAY_S)
        clock.now += timedelta(seconds=61)
        new, new_token = people.open_session("otto", "new", DAY_S)
        assert people.sessions("otto", IDLE_S) == (new, old)
        assert people.end_session("uma", old.session_id) is False
        assert people.end_session("otto", old.session_id) is True
        assert people.end_session("otto", old.session_id) is False
        assert people.visit(old_token, IDLE_S) is None
        assert people.visit(new_token, IDLE_S) is not None
        with pytest.raises(Missing):
            people.open_session("nobody", "", DAY_S)

    def test_a_new_password_ends_what_was_open(self, people: PeopleStore) -> None:
        people.add("otto", "user")
        here, here_token = people.open_session("otto", "here", DAY_S)
        _, there_token = people.open_session("otto", "there", DAY_S)
        code = people.issue_code("otto", DAY_S)
        people.set_password("otto", "hash", keep=here.session_id)
        assert people.visit(here_token, IDLE_S) is not None
        assert people.visit(there_token, IDLE_S) is None
        assert people.redeem_code(code) is None
        people.set_password("otto", "hash")
        assert people.visit(here_token, IDLE_S) is None

    def test_who_is_removed_is_out_at_once(self, people: PeopleStore) -> None:
        people.add("otto", "user")
        _, token = people.open_session("otto", "", DAY_S)
        code = people.issue_code("otto", DAY_S)
        people.remove("otto")
        assert (people.visit(token, IDLE_S), people.redeem_code(code)) == (None, None)
        people.add("otto", "admin")
        assert people.visit(token, IDLE_S) is None
