"""Messages to try things with: one of every kind, all facts known."""

from typing import Any

from cloud_bridge.stores.messages import ClaimedMessage, NewMessage
from schemas.base import utc_text
from tests.cloud_bridge.served import NOON, minutes

DEVICE = "court-1"
BEGIN, END = utc_text(NOON), utc_text(NOON + minutes(60))
_BOOKED = {"kind": "booked", "start": BEGIN, "end": END, "booking_id": "b1"}
_ALARM = {
    "severity": "critical",
    "text": "The left camera gives no pictures",
    "mend": "Look at its cable, then restart it: `ezrec doctor`.",
    "since": BEGIN,
    "subject": "left",
}
FACTS: dict[str, dict[str, Any]] = {
    "film_ready": {**_BOOKED, "duration_s": 3603.2},
    "film_partial": {
        **_BOOKED,
        "duration_s": 3603.2,
        "lacks": {"right": 40.0, "card": 0.6},
        "missing": [
            {"at_s": 2050.4, "for_s": 40.0, "cameras": ["left"]},
            {"at_s": 3599.0, "for_s": 1.2, "cameras": ["left", "right"]},
        ],
    },
    "film_missed": {**_BOOKED, "state": "missed", "why": "both cameras were offline"},
    "alarm": _ALARM,
    "recovered": {**_ALARM, "over_at": END},
    "preflight_failed": {
        **_BOOKED,
        "checks": [
            {"name": "disk", "value": "1.5 booked hours fit", "mend": "Make room below storage.root."},
            {"name": "clock", "value": "not synchronised", "mend": None},
        ],
    },
    "silent": {
        "seen_at": BEGIN,
        "booking_id": "b1",
        "start": END,
        "stage": "1h",
        "severity": "major",
    },
    "back": {"seen_at": BEGIN, "over_at": END},
    "test": {},
}
SUBJECTS = {"alarm": f"camera_left/stalled@{BEGIN}", "silent": f"{DEVICE}@b1/1h/{BEGIN}"}


def message(kind: str, language: str = "en", /, **more: Any) -> NewMessage:
    """A mail of a kind; ``more`` is put over its facts."""
    subject = SUBJECTS.get(kind, "b1" if "booking_id" in FACTS[kind] else f"{DEVICE}@{BEGIN}")
    data = {**FACTS[kind], "at": END, "zone": "Europe/Berlin", **more}
    return NewMessage(DEVICE, subject, kind, "email", "anna@example.org", language, BEGIN, data)


def claimed(kind: str, /, **more: Any) -> ClaimedMessage:
    """The same, claimed."""
    return ClaimedMessage("n1", message(kind, **more), 1, END)
