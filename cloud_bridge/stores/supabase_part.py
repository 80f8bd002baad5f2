"""What the parts of a Supabase store share: the project, whose rows, and answers that are looked at."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

from pydantic import TypeAdapter

from cloud_bridge.stores.supabase_client import Rpc, TooLarge
from cloud_bridge.stores.supabase_rows import fitting
from schemas.base import utc_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

NUMBER = TypeAdapter(int)
YES_OR_NO = TypeAdapter(bool)
TEXT = TypeAdapter(str)
NOTHING: TypeAdapter[None] = TypeAdapter(None)


class Part:
    """One project as one device's store; of a service without a device: None."""

    def __init__(self, rpc: Rpc, device: str | None) -> None:
        self._rpc = rpc
        self._device = device

    def close(self) -> None:
        self._rpc.close()

    def _ask(self, function: str, kind: TypeAdapter[T], /, **arguments: object) -> T:
        """One function's answer, as what it should be; ``device`` is ours unless it is named.

        Raises:
            StoreError: it did not work, or the answer does not fit.
        """
        given = {"device": self._device, **arguments}
        return fitting(function, kind, self._rpc.call(function, **{k: plain(v) for k, v in given.items()}))

    def _page(self, function: str, kind: TypeAdapter[T], /, *, limit: int, **arguments: object) -> T:
        """A page of at most ``limit`` rows; of fewer where so many would be more than is read.

        Raises:
            StoreError: as `_ask`.
        """
        while True:
            try:
                return self._ask(function, kind, limit=limit, **arguments)
            except TooLarge:
                if limit <= 1:
                    raise
                limit = max(1, limit // 4)


def plain(value: object) -> object:
    """A value as JSON has it: moments as UTC text, tuples as lists."""
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, tuple | list | frozenset):
        return [plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[str, object]", value).items()}
    return value


def fields_of(row: "DataclassInstance") -> dict[str, object]:
    """A row's fields by name."""
    return {field.name: getattr(row, field.name) for field in fields(row)}
