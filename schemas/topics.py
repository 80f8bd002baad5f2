"""Topics as values: a template, its model and its one writer; and addresses, a template filled in.

A topic string is spelled nowhere else: code says ``BOOKING.at(id="abc")`` and gets an address.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from schemas.base import ID_PATTERN, Message

M_co = TypeVar("M_co", bound=Message, covariant=True)

ROOT = "ezrec/v1"
MAX_MADE = 4096
"""Addresses each topic keeps at hand."""
_ID = re.compile(ID_PATTERN)
_HOLE = re.compile(r"\{([a-z0-9]+)\}")


@dataclass(frozen=True)
class Address(Generic[M_co]):
    """One concrete topic below the device's root. Equal and hashed by its path."""

    path: str
    topic: "Topic[M_co]" = field(compare=False, repr=False)
    values: tuple[str, ...] = field(compare=False, repr=False)

    def __hash__(self) -> int:
        # Agents look addresses up hundreds of times per event: a text keeps its hash, a tuple does not.
        return hash(self.path)

    def __getitem__(self, hole: str) -> str:
        """The value that fills a hole of the template, e.g. ``address["id"]``."""
        return self.values[self.topic.holes.index(hole)]

    def full(self, dev: str) -> str:
        """The topic on the wire."""
        return f"{ROOT}/{dev}/{self.path}"


@dataclass(frozen=True)
class Topic(Generic[M_co]):
    """One kind of topic: who writes it, what is in it, whether the broker keeps it.

    Attributes:
        key: short name, unique in the registry.
        template: path below ``ezrec/v1/{dev}/`` with holes such as ``{id}``.
        model: body of the payload.
        owner: account that alone may write it; may contain holes of the template.
        retained: state (kept by the broker) or event.
        remembered: the owner's host keeps its last message on disk and hands it back at start.
        about: one line for the reference page.
    """

    key: str
    template: str
    model: type[M_co]
    owner: str
    retained: bool
    about: str
    remembered: bool = False
    qos: int = 1
    holes: tuple[str, ...] = field(init=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _made: dict[tuple[tuple[str, str], ...], Address[M_co]] = field(
        init=False, repr=False, compare=False, default_factory=dict[Any, Any]
    )

    def __post_init__(self) -> None:
        holes = tuple(_HOLE.findall(self.template))
        pattern = _HOLE.sub(r"([a-z0-9_-]{1,64})", self.template)
        object.__setattr__(self, "holes", holes)
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def at(self, **values: str) -> Address[M_co]:
        """The address with the holes filled. The same values usually give the same object.

        Raises:
            ValueError: a hole is missing, unknown, or not an id.
        """
        key = tuple(values.items())
        made = self._made.get(key)
        if made is None:
            made = self._make(values)
            if len(self._made) >= MAX_MADE:
                self._made.clear()
            self._made[key] = made
        return made

    def _make(self, values: Mapping[str, str]) -> Address[M_co]:
        if set(values) != set(self.holes):
            raise ValueError(f"{self.template}: expected {self.holes}, got {tuple(values)}")
        for name, value in values.items():
            if not _ID.fullmatch(value):
                raise ValueError(f"{self.template}: {name}={value!r} is not an id ({ID_PATTERN})")
        return Address(self.template.format(**values), self, tuple(values[hole] for hole in self.holes))

    def match(self, path: str) -> Address[M_co] | None:
        """The address of a path below the root, or None when it is another topic."""
        found = self._pattern.fullmatch(path)
        return Address(path, self, found.groups()) if found else None

    def filter(self, **fixed: str) -> str:
        """The subscription filter below the root; holes not given become ``+``.

        A level that is only partly a hole (``capture_{cam}``) becomes ``+`` whole, as MQTT asks.
        """
        filled = _HOLE.sub(lambda hole: fixed.get(hole[1], "+"), self.template)
        return "/".join("+" if "+" in level else level for level in filled.split("/"))

    def owned_filter(self, account: str) -> str | None:
        """Filter of the topics of this kind that an account writes, or None.

        ``recording/{id}/capture_{cam}`` with owner ``camera_{cam}`` is, for ``camera_left``,
        ``recording/+/capture_left``.
        """
        pattern = _HOLE.sub(lambda hole: f"(?P<{hole[1]}>[a-z0-9_-]+)", self.owner)
        found = re.fullmatch(pattern, account)
        return self.filter(**found.groupdict()) if found else None

    def owner_of(self, address: Address[Any]) -> str:
        """Account that may write this address."""
        return self.owner.format(**dict(zip(self.holes, address.values, strict=True)))
