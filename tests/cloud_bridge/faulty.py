"""A stand-in for a store that is away, refuses, or loses its answers, over a real one."""

from collections.abc import Callable
from typing import Any

from cloud_bridge.stores import Store, StoreError

CALLS = frozenset(
    {
        "poll",
        "create_booking",
        "change_booking",
        "booking",
        "set_automatic",
        "save_results",
        "add_notices",
        "make_share",
        "answer_command",
    }
)


class Faulty:
    """Passes calls on to a store.

    Attributes:
        calls: names of the calls that came in, in order.
        before: asked with name and arguments before a call; what it raises is the store's answer.
        after: the same after it happened: the answer is lost.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[str] = []
        self.before: Callable[[str, tuple[Any, ...]], None] | None = None
        self.after: Callable[[str, tuple[Any, ...]], None] | None = None

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.store, name)
        if name not in CALLS:
            return call

        def passed(*values: Any, **named: Any) -> Any:
            self.calls.append(name)
            if self.before is not None:
                self.before(name, values)
            answer = call(*values, **named)
            if self.after is not None:
                self.after(name, values)
            return answer

        return passed


def away(_name: str, _values: tuple[Any, ...]) -> None:
    """The store cannot be reached."""
    raise StoreError("transient", "no route to host")
