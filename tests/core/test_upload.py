from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.effects import BeginUpload, Begun, FinishUpload, PartSent, PutPart, Verified
from edge_agent.core.settings import Device, Settings
from edge_agent.core.upload import (
    PART_BYTES,
    Item,
    after_begun,
    after_failure,
    after_part,
    after_verified,
    asked,
    folder_key,
    keyed,
    offered,
    part_count,
    part_length,
    sendable,
    steps,
)
from schemas.booking import Booking
from schemas.work import WorkObject

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
P = PART_BYTES


def film(size: int, *, complete: bool = False, durable: int | None = None, generation: int = 0) -> WorkObject:
    return WorkObject(
        path="recordings/b1/film/film.mp4",
        bytes=size,
        bytes_durable=size if durable is None else durable,
        complete=complete,
        generation=generation,
        hash="x-1" if complete else None,
    )


def begun(size: int, **more: object) -> Item:
    item = keyed(offered(Item("b1", "film"), film(size, **more), 0), "club/court-1/2026-03-01/b1")  # type: ignore[arg-type]
    item = asked(item, steps(item, 3))
    return after_begun(item, "begin:b1/film", Begun({}))


def test_a_growing_film_sends_whole_parts_but_not_the_first() -> None:
    assert list(sendable(begun(P - 1))) == []
    assert list(sendable(begun(2 * P - 1))) == []
    assert list(sendable(begun(2 * P))) == [2]
    assert list(sendable(begun(4 * P + 7))) == [2, 3, 4]


def test_a_complete_film_sends_its_rest_and_then_the_first_part() -> None:
    assert list(sendable(begun(2 * P + 1, complete=True))) == [2, 3, 1]
    assert list(sendable(begun(17, complete=True))) == [1]


def test_a_file_whose_head_is_final_sends_its_first_part_at_once() -> None:
    work = film(2 * P).replace(head_open=False)
    assert list(sendable(replace(begun(2 * P), work=work))) == [1, 2]


def test_the_way_of_one_object() -> None:
    item = keyed(offered(Item("b1", "film"), film(2 * P), 5), "k")
    key = "k/film.mp4"
    assert steps(item, 3) == (BeginUpload("begin:b1/film", "b1/film", key, "video/mp4", 0),)
    item = after_begun(asked(item, steps(item, 3)), "begin:b1/film", Begun({}))
    (put,) = steps(item, 3)
    assert put == PutPart("put:b1/film:0:2", "b1/film", "recordings/b1/film/film.mp4", 2, P, P)
    item = asked(item, (put,))
    assert steps(item, 3) == ()
    item = after_part(item, put.key, PartSent(2, P, P, 0))
    assert steps(item, 3) == ()
    item = offered(item, film(2 * P, complete=True), 9)
    (first,) = steps(item, 3)
    assert first.key == "put:b1/film:0:1"
    item = after_part(asked(item, (first,)), first.key, PartSent(1, P, P, 0))
    (finish,) = steps(item, 3)
    assert finish == FinishUpload("finish:b1/film", "b1/film", "recordings/b1/film/film.mp4", 2 * P, "x-1")
    done = Verified(key, 2 * P, "x-1", 2, 2 * P, 0, 0)
    item = after_verified(asked(item, (finish,)), finish.key, done, T0)
    assert item.account is not None
    assert (item.account.verified_at, item.account.bytes, item.account.bytes_sent) == (T0, 2 * P, 2 * P)
    assert steps(item, 3) == ()


def test_parts_found_in_the_bucket_count_only_where_the_disk_is_sure() -> None:
    item = keyed(offered(Item("b1", "film"), film(4 * P, durable=3 * P), 0), "k")
    item = after_begun(item, "begin:b1/film", Begun({2: P, 3: P, 4: P}))
    assert list(sendable(item)) == [4]
    assert item.account is not None
    assert item.account.resumes == 1


def test_a_part_1_found_before_the_film_is_complete_belongs_to_another_film() -> None:
    item = keyed(offered(Item("b1", "film"), film(2 * P), 0), "k")
    assert 1 not in after_begun(item, "begin:b1/film", Begun({1: P, 2: P})).sent


def test_a_film_cut_back_sends_what_was_cut_again() -> None:
    item = begun(3 * P)
    for number in (2, 3):
        item = after_part(item, f"put:b1/film:0:{number}", PartSent(number, P, P, 0))
    item = offered(item, film(2 * P + 5), 1)
    assert dict(item.sent) == {2: P}
    assert list(sendable(offered(item, film(3 * P), 2))) == [3]


def test_a_film_begun_anew_is_aborted_first_and_late_answers_count_for_nothing() -> None:
    item = begun(2 * P)
    item = asked(item, steps(item, 3))
    item = offered(item, film(3 * P, generation=1), 3)
    assert steps(item, 3) == ()  # the part under way has to end first
    item = after_part(item, "put:b1/film:0:2", PartSent(2, P, P, 0))
    assert [effect.key for effect in steps(item, 3)] == ["abort:b1/film"]
    assert dict(item.sent) == {}
    assert item.account is not None
    assert item.account.bytes_sent == P


def test_a_hash_that_differs_sends_once_more_and_then_gives_up() -> None:
    item = begun(P, complete=True)
    item = after_failure(item, "finish:b1/film", "input", "other hash", 0)
    assert (item.begun, item.gave_up, item.distrust) == (False, False, True)
    again = after_begun(item, "begin:b1/film", Begun({1: P}))
    assert list(sendable(again)) == [1]  # compared with the file again, whatever is durable
    assert after_failure(again, "finish:b1/film", "input", "other hash", 0).gave_up


def test_the_date_in_the_key_is_that_of_the_court() -> None:
    booking = Booking.model_validate(
        {"rev": 1, "start": T0, "end": T0, "from": T0.replace(hour=23), "to": T0.replace(hour=23)}
    )
    settings = Settings(device=Device(id="court-1", org="club", timezone="Europe/Berlin"))
    assert folder_key(settings, "b1", booking) == "club/court-1/2026-03-02/b1"
    nowhere = Settings(device=Device(timezone="Mars/Olympus"))
    assert folder_key(nowhere, "b1", booking) == "club/court-1/2026-03-01/b1"


@given(st.lists(st.integers(0, 3 * P), min_size=1, max_size=6))
def test_however_it_grows_every_byte_is_sent_exactly_once_and_whole(grown: list[int]) -> None:
    item = begun(0)
    covered: dict[int, int] = {}
    size = 0
    for index, more in enumerate([*grown, 1]):
        size += more
        item = offered(item, film(size, complete=index == len(grown)), 0)
        while puts := [effect for effect in steps(item, 3) if isinstance(effect, PutPart)]:
            for put in puts:
                assert put.number not in covered
                assert put.offset + put.length <= size
                covered[put.number] = put.length
                item = after_part(
                    asked(item, (put,)), put.key, PartSent(put.number, put.length, put.length, 0)
                )
    assert covered == {number: part_length(number, size) for number in range(1, part_count(size) + 1)}
    assert [type(effect) for effect in steps(item, 3)] == [FinishUpload]


def test_back_off_grows_to_a_minute_and_no_further() -> None:
    item = begun(2 * P)
    waits: list[float] = []
    for _ in range(30):
        item = after_failure(item, "put:b1/film:0:2", "transient", "no route", 0)
        waits.append((item.retry_ns or 0) / 1e9)
    assert waits[0] <= 0.5
    assert max(waits) <= 60
    assert min(waits[10:]) >= 30
    assert timedelta(seconds=sum(waits)) > timedelta(minutes=10)
