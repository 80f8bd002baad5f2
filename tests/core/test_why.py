import pytest

from edge_agent.core.recording import Facts, Pace
from edge_agent.core.settings import Settings
from edge_agent.core.why import eta_s, why
from schemas.recording import RecordingState, StageError
from tests.support.recordings import at, booking, facts, film, merge, process, upload

SETTINGS = Settings()
BOTH = {"left": "recording", "right": "recording"}
OFF = booking(status="cancelled")
ERROR = StageError(code="transient", message="no route to bucket", retryable=True)
GROWING = facts(film=film(complete=False), process=process(slots_done=4))
RENDERED_LATE = facts(upload=upload(80), process=process(completed_at=at(79)))


@pytest.mark.parametrize(
    ("state", "one", "cameras", "words"),
    [
        ("scheduled", Facts("b1", booking()), BOTH, "planned to start at 2026-03-01 12:00 UTC"),
        ("recording", facts(), BOTH, "recording"),
        (
            "recording",
            facts(),
            {"left": "recording"},
            "camera right delivers no picture; the other",
        ),
        ("recording", facts(), {}, "nothing is captured"),
        ("recording", facts(process=process(slots_done=1)), BOTH, "rendering is 5 slots behind"),
        ("finishing", facts(merge=None, captures={}), BOTH, "waiting for camera left and right"),
        ("finishing", facts(merge=merge(status="running")), BOTH, "the last slots to be planned"),
        (
            "finishing",
            facts(film=film(complete=False), process=process(slots_done=4)),
            BOTH,
            "4 of 6 slots done",
        ),
        ("finishing", facts(upload=upload(None, error=ERROR)), BOTH, "last trouble: no route to bucket"),
        ("ready", facts(), BOTH, "complete"),
        ("ready", facts(upload=upload(80)), BOTH, "the line needed 58 s of it"),
        (
            "ready",
            facts(upload=upload(80), process=process(completed_at=at(79))),
            BOTH,
            "this device needed 59 s",
        ),
        ("partial", facts(merge=merge(pictures={"left": 90})), BOTH, "the right camera is missing for 3.0 s"),
        ("failed", facts(upload=None, process=process(error=ERROR)), BOTH, "no film could be made: no route"),
        (
            "missed",
            Facts("b1", booking()),
            {"left": "offline"},
            "left was offline, camera right was not there",
        ),
        ("cancelled", Facts("b1", OFF, cancelled_at=at(0)), BOTH, "kept for 10 minutes"),
        ("cancelled", Facts("b1", OFF, cancelled_at=at(0), dead=True), BOTH, "its media is deleted"),
        ("cancelled", Facts("b1", booking(), cancelled_at=at(0), dead=True), BOTH, "taken back too late"),
    ],
)
def test_a_plain_sentence(state: RecordingState, one: Facts, cameras: dict[str, str], words: str) -> None:
    assert words in why(one, state, cameras, SETTINGS)


def test_the_estimate_is_coarse_and_measured_where_something_moved() -> None:
    assert eta_s(Facts("b1", booking()), "recording", at(0), SETTINGS) == 25.0
    assert eta_s(Facts("b1", booking(0, 3600)), "recording", at(0), SETTINGS) == 3660.0
    slow = facts(
        process=process(slots_done=2),
        upload=upload(None),
        film=film(complete=False),
        pace=Pace(at(20), 0, 300),
    )
    assert eta_s(slow, "finishing", at(30), SETTINGS) == 25.0  # 2 slots in 10 s, 4 to go
    assert eta_s(facts(), "ready", at(30), SETTINGS) is None
