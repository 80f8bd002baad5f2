"""The self-test on a real broker: silent when it is right, red at every weakening."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.demo.servers import Mosquitto
from edge_agent.install.selftest import covers, self_test
from edge_agent.runtime.bus import Endpoint
from schemas.acl import accounts, render_acl
from tests.runtime.toys import CAMERAS, DEV, PASSWORDS, endpoint

ROOT = f"ezrec/v1/{DEV}"


def faults_of(folder: Path, acl: str) -> list[str]:
    with Mosquitto(folder, accounts=PASSWORDS, acl=acl) as broker:
        ask: Callable[[str], Endpoint] = lambda name: endpoint(broker, name)  # noqa: E731 - one argument of it
        return self_test(ask, DEV, CAMERAS, accounts(CAMERAS))


def test_the_rendered_list_is_right(tmp_path: Path) -> None:
    assert faults_of(tmp_path, render_acl(DEV, CAMERAS)) == []


WEAKER = {
    f"user view\ntopic write {ROOT}/cmd/booking/stop": "view may publish to cmd/booking/stop",
    f"user court\ntopic write {ROOT}/cmd/+/+": "court may publish to cmd/booking/book",
    f"user merger\ntopic write {ROOT}/booking/+": "merger may publish to booking/selftest",
    f"user processor\ntopic write {ROOT}/agent/merger/sync": "processor may publish to agent/merger/sync",
    f"user uploader\ntopic read {ROOT}/cmd/booking/book": "uploader hears cmd/booking/book",
    f"user court\ntopic read {ROOT}/reply/cli/#": "court hears reply/cli/x",
}
OWN = f"user health\ntopic write {ROOT}/availability/#"


def test_every_line_more_is_seen_but_one_that_gives_nothing(tmp_path: Path) -> None:
    acl = render_acl(DEV, CAMERAS) + "\n".join(("", *WEAKER, OWN, ""))
    faults = faults_of(tmp_path, acl)
    assert set(WEAKER.values()) <= set(faults)
    assert {fault.split()[0] for fault in faults} == {"view", "court", "merger", "processor", "uploader"}


def test_one_line_less_is_seen(tmp_path: Path) -> None:
    acl = render_acl(DEV, CAMERAS)
    line = f"topic write {ROOT}/recording/+/merge\n"
    assert line in acl
    faults = faults_of(tmp_path, acl.replace(line, ""))
    assert faults == ["merger may not publish to recording/selftest/merge"]


def test_no_list_at_all_is_seen(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, accounts=PASSWORDS, acl=None) as broker:
        faults = self_test(lambda name: endpoint(broker, name), DEV, CAMERAS, accounts(CAMERAS))
    assert len(faults) > 1000


@pytest.mark.parametrize(
    ("filters", "path", "covered"),
    [
        (["a/+/c"], "a/b/c", True),
        (["a/+"], "a/b/c", False),
        (["a/#"], "a", True),
        (["a/#"], "a/b/c", True),
        (["a/b"], "a/b/c", False),
        (["x", "a/b/c"], "a/b/c", True),
        ([], "a", False),
    ],
)
def test_filters_match_as_mqtt_says(filters: list[str], path: str, covered: bool) -> None:
    assert covers(filters, path) is covered
