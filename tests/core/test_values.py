from dataclasses import dataclass, field
from dataclasses import replace as stated

from edge_agent.core.effects import PollStore
from edge_agent.core.values import replace


@dataclass(frozen=True)
class Point:
    x: int = 0
    marks: tuple[str, ...] = field(default=())


def test_a_copy_is_the_one_that_dataclasses_make() -> None:
    one = Point(1, ("a",))
    for changes in ({}, {"x": 2}, {"x": 3, "marks": ()}):
        copy = replace(one, **changes)
        assert (copy, type(copy), hash(copy)) == (stated(one, **changes), Point, hash(copy))
    assert one == Point(1, ("a",))


def test_what_cannot_be_given_is_copied_too() -> None:
    assert replace(PollStore("poll", 1), cursor=2) == PollStore("poll", 2)
