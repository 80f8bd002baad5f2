from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.agents import uploader
from edge_agent.agents.uploader import State, decide, retained, wakes
from edge_agent.core.agent import (
    SECOND_NS,
    Acts,
    Asked,
    Changed,
    Done,
    Effect,
    Event,
    Failed,
    Reply,
    Stamp,
    Started,
    Tick,
    World,
)
from edge_agent.core.effects import (
    AbortUpload,
    BeginUpload,
    Begun,
    DropAsset,
    FetchAsset,
    FinishUpload,
    LedgerEntry,
    PartSent,
    PutPart,
    UploaderInventory,
    Verified,
)
from edge_agent.core.settings import Settings
from edge_agent.core.upload import PART_BYTES as P
from schemas.base import Message
from schemas.booking import AssetRef, Booking
from schemas.commands import NoArgs
from schemas.health import Asset, Retention, RetentionEntry
from schemas.recording import MergeStage, UploadStage
from schemas.registry import (
    AGENT_STATUS,
    ALARM,
    ASSET,
    BOOKING,
    FILM_OBJECT,
    MERGE,
    RECEIPT_OBJECT,
    RETENTION,
    UPLOAD,
)
from schemas.topics import Address
from schemas.work import WorkObject

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings()
SHA = "a" * 64


def booking(start_s: int = 0, length_s: int = 3600, **more: Any) -> Booking:
    begin = T0 + timedelta(seconds=start_s)
    end = begin + timedelta(seconds=length_s)
    return Booking.model_validate({"rev": 1, "start": begin, "end": end, "from": begin, "to": end, **more})


def work(name: str, size: int, booking_id: str = "b1", **more: Any) -> WorkObject:
    path = f"recordings/{booking_id}/film/{name}"
    return WorkObject(path=path, bytes=size, bytes_durable=size, **more)


@dataclass
class Bench:
    """Drives the agent as the host does, with a clock that only tests move."""

    state: State = field(default_factory=State)
    now_s: float = 0.0
    asked: list[Effect] = field(default_factory=list)

    def send(self, event: Event) -> Acts:
        stamp = Stamp(0, round(self.now_s * SECOND_NS), T0 + timedelta(seconds=self.now_s), True, "boot")
        self.state, acts = decide(self.state, event, stamp, SETTINGS)
        self.asked.extend(act for act in acts if isinstance(act, Effect))
        return acts

    def begin(self, topics: dict[Address[Any], Message], inventory: object = None) -> Acts:
        self.send(Started(inventory, {}))
        return self.send(World(topics))

    def take(self) -> list[Effect]:
        asked, self.asked = self.asked, []
        return asked

    def bucket(self, refuse: type[Effect] | None = None) -> list[Effect]:
        """Answer everything asked, as a bucket that works does, until nothing more is asked."""
        served: list[Effect] = []
        while waiting := [effect for effect in self.take() if not isinstance(effect, refuse or ())]:
            for effect in waiting:
                served.append(effect)
                self.send(Done(effect.key, answer(effect)))
        return served

    def stage(self, booking_id: str = "b1") -> UploadStage:
        message = retained(self.state)[UPLOAD.at(id=booking_id)]
        assert isinstance(message, UploadStage)
        return message


def answer(effect: Effect) -> object:
    match effect:
        case BeginUpload():
            return Begun({})
        case PutPart():
            return PartSent(effect.number, effect.length, effect.length, 0)
        case FinishUpload():
            return Verified("key/" + effect.object_id, effect.bytes, effect.expected_hash or "", 2, 9, 0, 0)
        case FetchAsset():
            return f"assets/{effect.sha256}"
        case _:
            return None


BOOKED = BOOKING.at(id="b1")
FILM = FILM_OBJECT.at(id="b1", name="film")


def test_nothing_is_asked_before_the_world_is_known() -> None:
    bench = Bench()
    assert bench.send(Started(None, {BOOKED: booking()})) == ()
    assert bench.send(Changed(FILM, work("film", 9 * P))) == ()


def test_the_film_goes_up_while_it_grows_and_the_stage_tells() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 2 * P)})
    assert [effect.key for effect in bench.bucket()] == ["begin:b1/film", "put:b1/film:0:2"]
    assert (bench.stage().status, bench.stage().bytes_done) == ("running", P)
    assert bench.stage().objects[0].key == "club/court-1/2026-03-01/b1/film.mp4"
    bench.now_s = 60
    bench.send(Changed(FILM, work("film", 3 * P + 9, complete=True, hash="h-4")))
    keys = [effect.key for effect in bench.bucket()]
    assert keys == ["put:b1/film:0:3", "put:b1/film:0:4", "put:b1/film:0:1", "finish:b1/film"]
    film = bench.stage().verified("film")
    assert film is not None
    assert (bench.stage().status, film.verified_at, film.hash) == (
        "succeeded",
        T0 + timedelta(seconds=60),
        "h-4",
    )


def test_at_most_three_parts_are_under_way() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 9 * P)})
    bench.send(Done("begin:b1/film", Begun({})))
    assert [effect.key for effect in bench.take()][1:] == [f"put:b1/film:0:{number}" for number in (2, 3, 4)]
    bench.send(Done("put:b1/film:0:3", PartSent(3, P, P, 0)))
    assert [effect.key for effect in bench.take()] == ["put:b1/film:0:5"]


def test_at_the_whistle_everything_else_pauses_until_the_film_is_in_the_bucket() -> None:
    bench = Bench()
    other = FILM_OBJECT.at(id="b2", name="film")
    poster = FILM_OBJECT.at(id="b1", name="poster")
    bench.begin(
        {
            BOOKED: booking(0, 600),
            BOOKING.at(id="b2"): booking(600, 600),
            MERGE.at(id="b1"): MergeStage(status="succeeded"),
            FILM: work("film", 2 * P),
            other: work("film", 0, "b2"),
            poster: work("poster.jpg", 900, complete=True, head_open=False, hash="p-1"),
        }
    )
    bench.now_s = 601
    bench.send(Changed(other, work("film", 4 * P, "b2")))
    bench.send(Changed(FILM, work("film", 2 * P, complete=True, hash="h-2")))
    order = [effect.key for effect in bench.bucket()]
    film_done = order.index("finish:b1/film")
    assert all("b2" in key or "poster" in key for key in order[film_done + 1 :])
    assert [key for key in order[:film_done] if "b2" in key or "poster" in key] in ([], ["begin:b2/film"])
    assert order.index("put:b1/poster:0:1") < order.index("put:b2/film:0:2")


def test_a_poster_waits_for_the_end_of_its_recording() -> None:
    bench = Bench()
    poster = FILM_OBJECT.at(id="b1", name="poster")
    bench.begin({BOOKED: booking(0, 600)})
    bench.send(Changed(poster, work("poster.jpg", 900, complete=True, head_open=False, hash="p-1")))
    assert bench.bucket() == []
    bench.send(Changed(MERGE.at(id="b1"), MergeStage(status="succeeded")))
    assert [effect.key for effect in bench.bucket()][-1] == "finish:b1/poster"


def test_a_line_that_fails_is_tried_with_growing_pauses_and_told_after_a_minute() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(0, 5), FILM: work("film", 9, complete=True, hash="h-1")})
    unreachable = ALARM.at(agent="uploader", alarm="bucket_unreachable")
    bench.take()
    bench.send(Failed("begin:b1/film", "transient", "no route to bucket"))
    for _ in range(40):
        if bench.now_s > 700:
            break
        retry_ns = wakes(bench.state)["retry:b1/film"]
        bench.now_s = retry_ns / SECOND_NS
        bench.send(Tick("retry:b1/film"))
        assert [effect.key for effect in bench.take()] == ["begin:b1/film"]
        bench.send(Failed("begin:b1/film", "transient", "no route to bucket"))
        alarm = retained(bench.state).get(unreachable)
        severity = getattr(alarm, "severity", None)
        assert severity == (None if bench.now_s < 60 else "major" if bench.now_s < 600 else "critical")
        if alarm is not None:
            assert alarm.since == T0  # type: ignore[attr-defined]
    error = bench.stage().error
    assert error is not None
    assert (error.message, error.retryable) == ("no route to bucket", True)
    bench.now_s = wakes(bench.state)["retry:b1/film"] / SECOND_NS
    bench.send(Tick("retry:b1/film"))
    bench.bucket()
    assert (bench.stage().status, bench.stage().error) == ("succeeded", None)
    assert unreachable not in retained(bench.state)


def test_a_wrong_key_is_told_at_once() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 9)})
    bench.send(Failed("begin:b1/film", "denied", "bucket ezrec refuses this key"))
    alarm = retained(bench.state)[ALARM.at(agent="uploader", alarm="bucket_denied")]
    assert getattr(alarm, "severity", None) == "critical"
    assert "secret" in getattr(alarm, "mend", "")
    assert getattr(retained(bench.state)[AGENT_STATUS.at(agent="uploader")], "state", None) == "degraded"


def test_an_upload_id_that_is_gone_starts_over() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 2 * P)})
    bench.send(Done("begin:b1/film", Begun({})))
    bench.take()
    bench.send(Failed("put:b1/film:0:2", "gone", "no such upload"))
    bench.now_s = 1
    bench.send(Tick("retry:b1/film"))
    assert [effect.key for effect in bench.bucket()] == ["begin:b1/film", "put:b1/film:0:2"]


def test_a_dead_booking_is_aborted_and_its_topic_goes() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 2 * P)})
    bench.send(Done("begin:b1/film", Begun({})))
    bench.take()
    bench.send(Changed(BOOKED, booking(status="cancelled", rev=2)))
    bench.send(Changed(FILM, work("film", 3 * P)))
    assert bench.take() == []  # held: it may be taken back
    entry = RetentionEntry(id="b1", what="all", why="cancelled", dead=True)
    bench.send(Changed(RETENTION.at(), Retention(entries=(entry,))))
    assert bench.take() == []  # the part under way ends first
    bench.send(Done("put:b1/film:0:2", PartSent(2, P, P, 0)))
    assert bench.take() == [AbortUpload("abort:b1/film", "b1/film", forget=True)]
    bench.send(Done("abort:b1/film", None))
    assert UPLOAD.at(id="b1") not in retained(bench.state)
    bench.send(World({BOOKED: booking(status="cancelled", rev=2), FILM: work("film", 3 * P)}))
    assert bench.bucket() == []
    assert UPLOAD.at(id="b1") not in retained(bench.state)


def test_a_cancellation_after_the_film_is_in_the_bucket_is_too_late_for_the_rest() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", P, complete=True, hash="h-1")})
    while bench.bucket():
        pass
    assert bench.stage().verified("film")
    bench.send(Changed(BOOKED, booking(status="cancelled", rev=2)))
    bench.send(Changed(RECEIPT_OBJECT.at(id="b1"), work("receipt", 9, complete=True, hash="r-1")))
    while bench.bucket():
        pass
    assert bench.stage().verified("receipt")


def test_after_a_restart_what_was_verified_stays_and_what_was_open_goes_on() -> None:
    bench = Bench()
    verified = Verified("k/film.mp4", 2 * P, "h-2", 2, 2 * P, 0, 0)
    ledger = UploaderInventory(
        uploads=(
            LedgerEntry("b1/film", "k/film.mp4", "verified", {}, verified),
            LedgerEntry("b2/film", "k2/film.mp4", "open", {2: P}),
        )
    )
    two = FILM_OBJECT.at(id="b2", name="film")
    bench.begin({FILM: work("film", 2 * P, complete=True), two: work("film", 2 * P, "b2")}, ledger)
    assert bench.take() == [BeginUpload("begin:b2/film", "b2/film", "k2/film.mp4", "video/mp4", 0)]
    assert bench.stage("b1").verified("film") is not None
    assert bench.stage("b1").status == "succeeded"


def test_the_receipt_goes_last_and_does_not_hold_the_stage() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(), FILM: work("film", 9, complete=True, hash="h-1")})
    bench.bucket()
    assert bench.stage().status == "succeeded"
    receipt = work("receipt.json", 50, complete=True, head_open=False, content_type="application/json")
    bench.send(Changed(RECEIPT_OBJECT.at(id="b1"), receipt))
    assert bench.stage().status == "succeeded"
    bench.bucket()
    assert [item.key.rpartition("/")[2] for item in bench.stage().objects] == ["film", "receipt"]
    assert bench.stage().verified("receipt") is not None


def test_camera_files_asked_for_are_part_of_success() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(deliver=("film", "cameras")), FILM: work("film", 9, complete=True)})
    bench.bucket()
    assert bench.stage().status == "running"
    for name in ("left", "right"):
        bench.send(Changed(FILM_OBJECT.at(id="b1", name=name), work(name, 9, complete=True)))
    bench.bucket()
    assert bench.stage().status == "succeeded"


def test_pause_resume_and_unknown_commands_get_one_answer_each() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking()})
    (reply,) = bench.send(Asked("uploader", "pause", "c1", NoArgs()))
    assert isinstance(reply, Reply)
    assert reply.answer.status == "ok"
    bench.send(Changed(FILM, work("film", 2 * P)))
    assert bench.take() == []
    bench.send(Asked("uploader", "resume", "c2", NoArgs()))
    assert [effect.key for effect in bench.bucket()] == ["begin:b1/film", "put:b1/film:0:2"]
    (reply,) = bench.send(Asked("uploader", "dance", "c3", NoArgs()))
    assert isinstance(reply, Reply)
    assert reply.answer.status == "rejected"


def test_topics_that_did_not_change_keep_their_identity() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(intro=AssetRef(key="i", sha256=SHA, bytes=9)), FILM: work("film", 2 * P)})
    bench.bucket()
    before = retained(bench.state)
    bench.now_s = 5
    bench.send(Tick("sweep"))
    bench.send(World({BOOKED: booking(intro=AssetRef(key="i", sha256=SHA, bytes=9))}))
    after = retained(bench.state)
    assert before.keys() == after.keys()
    assert all(before[address] is after[address] for address in before)


def test_an_asset_is_fetched_told_and_dropped_a_week_after_its_last_booking() -> None:
    bench = Bench()
    ref = AssetRef(key="club/assets/intro", sha256=SHA, bytes=9)
    topic = ASSET.at(sha256=SHA)
    bench.begin({BOOKED: booking(3600, intro=ref)})
    assert bench.take() == [FetchAsset(f"fetch:{SHA}", "club/assets/intro", SHA, 9)]
    assert retained(bench.state)[topic] == Asset(state="fetching", kind="intro")
    bench.send(Failed(f"fetch:{SHA}", "gone", "no such object"))
    assert retained(bench.state)[topic] == Asset(state="failed", kind="intro", error="no such object")
    bench.now_s = wakes(bench.state)[f"fetch:{SHA}"] / SECOND_NS
    bench.send(Tick(f"fetch:{SHA}"))
    bench.bucket()
    assert retained(bench.state)[topic] == Asset(state="ready", kind="intro", path=f"assets/{SHA}")
    bench.now_s = 7200 + 7 * 86400 - 1
    bench.send(Tick("sweep"))
    assert bench.take() == []
    bench.now_s += 1
    bench.send(Tick("sweep"))
    assert bench.take() == [DropAsset(f"drop:{SHA}", SHA)]
    bench.send(Failed(f"drop:{SHA}", "permanent", "read-only file system"))
    bench.send(Tick("sweep"))
    assert bench.take() == []  # a disk that will not is not asked again and again
    bench.now_s = wakes(bench.state)[f"fetch:{SHA}"] / SECOND_NS
    bench.send(Tick(f"fetch:{SHA}"))
    assert bench.take() == [DropAsset(f"drop:{SHA}", SHA)]
    bench.send(Done(f"drop:{SHA}", None))
    assert topic not in retained(bench.state)


def test_a_recordings_topic_goes_a_week_after_it_was_verified() -> None:
    bench = Bench()
    bench.begin({BOOKED: booking(0, 5), FILM: work("film", 9, complete=True)})
    bench.bucket()
    bench.send(Changed(FILM, None))
    bench.now_s = 7 * 86400 + 1
    bench.send(Tick("sweep"))
    assert bench.bucket() == [AbortUpload("abort:b1/film", "b1/film", forget=True)]
    assert UPLOAD.at(id="b1") not in retained(bench.state)


def test_the_agent_says_what_it_reads() -> None:
    agent = uploader.agent(SETTINGS)
    assert (agent.name, agent.lanes["put"]) == ("uploader", 3)
    assert agent.initial(SETTINGS) == State()
    assert replace(State(), ready=True) != State()
