"""What the demo writes down from its start opens the doors it names."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cloud_bridge.stores import SqliteStore, sqlite_path
from cloud_bridge.stores.sqlite_people import SqlitePeople
from edge_agent.core.settings import Settings
from edge_agent.demo.lab import Lab
from edge_agent.demo.run import make_token, write_facts


def test_the_key_and_the_code_are_an_admins(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"storage": {"root": str(tmp_path)}, "api": {"share_base_url": "http://127.0.0.1:9"}}
    )
    stand_in: Any = SimpleNamespace(
        settings=settings,
        folder=tmp_path,
        plan=SimpleNamespace(device="court-1"),
        broker_port=1,
        passwords={"cli": "c"},
    )
    lab = cast("Lab", stand_in)
    for _ in range(2):  # a demo in the same folder again
        write_facts(lab, make_token(lab))
    facts = json.loads((tmp_path / "demo.json").read_text())
    assert (tmp_path / "demo.json").stat().st_mode & 0o077 == 0
    store, people = SqliteStore(sqlite_path(settings)), SqlitePeople(sqlite_path(settings))
    principal = store.principal(facts["api"]["token"])
    assert principal is not None
    assert principal.role == "admin"
    person = people.redeem_code(facts["api"]["login_code"])
    assert person is not None
    assert (person.role, person.password) == ("admin", False)
    store.close()
    people.close()
