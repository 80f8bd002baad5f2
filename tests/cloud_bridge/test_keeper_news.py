"""People hear once that films stay in the bucket, and once that it is over; with the real SQLite store."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from cloud_bridge.keeper import Rounds
from cloud_bridge.keeper_news import CAUSE, MEND, news
from cloud_bridge.objects.client import BucketError
from cloud_bridge.stores.messages import NewMessage, Told
from cloud_bridge.stores.sqlite_messages import SqliteMessages
from schemas.base import utc_text
from tests.cloud_bridge.served import NOON
from tests.cloud_bridge.test_keeper import Rig

DAY = timedelta(days=1)


@pytest.fixture
def rig(tmp_path: Path) -> Generator[Rig]:
    rig = Rig(tmp_path)
    rig.film("a")
    rig.after(14 * DAY)
    yield rig
    rig.close()


@pytest.fixture
def messages(rig: Rig) -> Generator[SqliteMessages]:
    messages = SqliteMessages(rig.path, "court-1", "club", rig.clock)
    yield messages
    messages.close()


def spread(messages: SqliteMessages) -> list[tuple[str, str]]:
    """What the sender does with open notices: one message each; their kinds and causes."""
    found: list[tuple[str, str]] = []
    for one in messages.open_notices(10):
        notice = one.notice
        since = str(notice.data["since"])
        message = NewMessage(
            "court-1",
            f"{notice.subject}@{since}",
            notice.kind,
            "email",
            "club@example.org",
            "en",
            since,
            notice.data,
        )
        messages.expand(notice.id, [message])
        found.append((notice.kind, notice.subject))
    return found


def test_one_notice_when_it_begins_and_one_when_it_is_over(rig: Rig, messages: SqliteMessages) -> None:
    rounds = Rounds(rig.keeper, messages)
    rig.bucket.trouble = BucketError("denied", "delete: this key may not do that")
    seen: list[tuple[str, str]] = []
    for _ in range(3):
        rounds.once()
        seen += spread(messages)
        rig.after(timedelta(hours=1))
    assert seen == [("alarm", CAUSE)]
    assert spread(messages) == []
    Rounds(rig.keeper, messages).once()  # a keeper that was started again
    assert spread(messages) == []
    rig.bucket.trouble = None
    for _ in range(2):
        rounds.once()
        seen += spread(messages)
    assert seen == [("alarm", CAUSE), ("recovered", CAUSE)]
    assert rig.files() == set()


def test_trouble_that_passes_says_neither(rig: Rig, messages: SqliteMessages) -> None:
    rounds = Rounds(rig.keeper, messages)
    rig.bucket.trouble = BucketError("denied", "delete: this key may not do that")
    rounds.once()
    spread(messages)
    rig.bucket.trouble = BucketError("transient", "no answer")
    rounds.once()
    assert spread(messages) == []


def test_what_it_says() -> None:
    notice = news("court-1", "delete x: may not", (), NOON)
    assert notice is not None
    assert (notice.kind, notice.subject, notice.at) == ("alarm", CAUSE, utc_text(NOON))
    assert (notice.data["severity"], notice.data["mend"]) == ("major", MEND)
    assert "delete x: may not" in str(notice.data["text"])
    told = Told(
        "m", "court-1", f"{CAUSE}@x", "alarm", "email", "a@b", "en", "sent", "", "", 1, None, notice.data
    )
    assert news("court-1", "delete x: may not", (told,), NOON + DAY) is None
    over = news("court-1", None, (told,), NOON + DAY)
    assert over is not None
    assert (over.kind, over.data["over_at"], over.data["text"]) == (
        "recovered",
        utc_text(NOON + DAY),
        notice.data["text"],
    )
    assert over.id == notice.id.replace(":alarm:", ":recovered:")
    assert news("court-1", None, (), NOON) is None
