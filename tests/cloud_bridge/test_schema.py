"""The whole OpenAPI document, tried by schemathesis: no 500, no answer that is not described.

The stream of events is left out: it does not end.
"""

from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edge_agent.core.settings import Api, Settings, Store
from schemas.health import Health
from schemas.recording import Recording
from tests.cloud_bridge.served import NOON, Served, minutes, receipt

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
QUIET = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    derandomize=True,
    max_examples=3,
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    """The HTTP side with something in it, and no limit in the way."""
    folder: Path = tmp_path_factory.mktemp("tried")
    api = Api(requests_per_min=1_000_000)
    with Served(Settings(api=api, store=Store(kind="dir", folder=str(folder / "bucket"))), folder) as served:
        served.clock.now = NOON - minutes(60)
        served.book()
        served.tell("recording", Recording(state="recording", progress_pct=10))
        served.tell("receipt", receipt())
        served.tell("health", Health(cpu_pct=7), "court-1")
        served.link()
        yield served


def there_is(tried: Served, names: Iterable[str]) -> dict[str, str]:
    """Values of path parameters that lead to something."""
    ids = {
        "booking_id": "match",
        "share_id": tried.store.shares(None, 1, None)[0].share_id,
        "device_id": "court-1",
        "target": "booking",
        "name": "stop",
        "cam": "left",
        "user": "uma",
        "org": "club",
        "slot": "logo",
    }
    return {name: ids[name] for name in names if name in ids}


def try_all(tried: Served, role: str, how: settings) -> list[str]:
    """Ask every operation with what fits its description and what does not; what was tried."""
    spec = f"http://127.0.0.1:{tried.port}/api/v1/openapi.json"
    schema = schemathesis.openapi.from_url(spec).exclude(path="/api/v1/events")
    headers, names = {"Authorization": f"Bearer {tried.keys[role]}"}, []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        names.append(operation.label)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @how
            @given(operation.as_strategy(generation_mode=mode), st.sampled_from((True, True, False)))
            def ask(case: Any, known: bool) -> None:
                if known:  # or nearly every answer would be that there is no such thing
                    case.path_parameters.update(there_is(tried, case.path_parameters))
                answer = case.call(headers=headers, timeout=60)
                case.validate_response(answer, checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing can be wrong about a route that takes nothing
                ask()
    return names


def test_every_answer_is_described(tried: Served) -> None:
    assert len(try_all(tried, "admin", QUIET)) >= 24


@pytest.mark.lane
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("role", ["user", "operator", "admin"])
def test_every_answer_is_described_at_length(tried: Served, role: str) -> None:
    try_all(tried, role, settings(QUIET, max_examples=40, derandomize=False))
