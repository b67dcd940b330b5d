"""Values and rows: one column for each field of an entity, in the entity's order.

Instants are whole milliseconds, flags 0 and 1; dicts, lists and structs are JSON text that nothing in the database
reinterprets (J03).
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar

import msgspec

from appliance.model.times import from_millis, to_millis

T = TypeVar("T", bound=msgspec.Struct)

_encode = msgspec.json.Encoder(order="deterministic").encode


def to_json(value: object) -> str:
    """JSON text, keys in order."""
    return _encode(value).decode()


class Rows(Generic[T]):
    """How one entity is stored. ``columns`` are its fields, ``names`` the same as SQL, ``places`` as many ``?``."""

    def __init__(self, entity: type[T]) -> None:
        self._entity = entity
        self.columns: tuple[str, ...] = entity.__struct_fields__
        self.names = ", ".join(self.columns)
        self.places = ", ".join("?" * len(self.columns))
        hints = typing.get_type_hints(entity)
        pairs = [_converters(hints[name]) for name in self.columns]
        self._into = {name: into for name, (into, _) in zip(self.columns, pairs, strict=True)}
        self._out_of = [(index, out_of) for index, (_, out_of) in enumerate(pairs) if out_of is not None]

    def to_row(self, value: T, only: Collection[str] | None = None) -> list[Any]:
        """The values of all columns, or of some, in their order."""
        row = []
        for name in self.columns if only is None else only:
            item = getattr(value, name)
            into = self._into[name]
            row.append(item if item is None or into is None else into(item))
        return row

    def from_row(self, row: Sequence[Any]) -> T:
        """The entity that :meth:`to_row` stored; ``row`` begins with its columns."""
        values = list(row[: len(self.columns)])
        for index, out_of in self._out_of:
            if values[index] is not None:
                values[index] = out_of(values[index])
        return self._entity(*values)


def behind(after: str | None, limit: int, backwards: bool) -> tuple[str, tuple[str | int, ...]]:
    """The rest of a SELECT that lists by name, and its bindings: at most ``limit`` behind ``after``."""
    order = "ORDER BY name DESC LIMIT ?" if backwards else "ORDER BY name LIMIT ?"
    if after is None:
        return order, (limit,)
    return f"WHERE name {'<' if backwards else '>'} ? {order}", (after, limit)


def _converters(hint: Any) -> tuple[Callable[[Any], Any] | None, Callable[[Any], Any] | None]:
    """How a value of this type becomes a column, and back; None = as it is."""
    if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (one for one in typing.get_args(hint) if one is not NoneType)
    if hint is datetime:
        return to_millis, from_millis
    if hint is bool:
        return int, bool
    if hint in (int, float, str):
        return None, None
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return str, hint
    return to_json, msgspec.json.Decoder(hint).decode
