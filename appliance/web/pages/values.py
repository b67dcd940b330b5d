"""Any JSON as people read it: objects as lists of names, arrays of objects as tables, the rest as text (D5).

Nothing is reinterpreted: a text that looks like a date stays that text, and one that looks like a number, ``true`` or
``null`` stands in quotes, so that it is not taken for one. What a page shows is bounded; the whole is a link away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from appliance.web.pieces import Table, Value

NODES = 1000  # values on one page, those inside of others counted
CHARACTERS = 200_000  # of all texts of one page
VALUES = 200  # values of one object or list
LIMIT = 20_000  # characters of one text
CELL = 300  # characters of one cell of a table
COLUMNS = 12
DEPTH = 6  # objects and lists within each other; what is deeper is shown as JSON
_SHORT = 200  # characters of a text, or of a list of plain values, that stands in one line
_LINK = re.compile(r"https?://[^\s<>\"'\\]{1,2000}(?!\n)$", re.ASCII | re.IGNORECASE)
_AMBIGUOUS = re.compile(r"|\s.*|.*\s|true|false|null|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[\"\[{].*", re.DOTALL)
_NAME = 200  # characters of a name
_encode = msgspec.json.Encoder(decimal_format="number").encode


def shown(given: Mapping[str, Any], hidden: frozenset[str] = frozenset()) -> tuple[Value, ...]:
    """Named values; those in ``hidden`` (secret parameters) are not shown."""
    return _Reading().members(given, hidden, 0)


def is_cut(values: Sequence[Value]) -> bool:
    """Whether something was left out."""
    return any(one.kind == "cut" or one.is_cut or is_cut(one.inside) for one in values)


class _Reading:
    """One page's worth of values, with what is left of its bounds."""

    def __init__(self) -> None:
        self._nodes = NODES
        self._characters = CHARACTERS

    def members(self, given: Mapping[str, Any], hidden: frozenset[str], depth: int) -> tuple[Value, ...]:
        """The values of an object by name."""
        return tuple(self._some(given.items(), len(given), hidden, depth))

    def _items(self, given: Sequence[Any], depth: int) -> tuple[Value, ...]:
        pairs = ((str(place), value) for place, value in enumerate(given, 1))
        return tuple(self._some(pairs, len(given), frozenset(), depth))

    def _some(self, pairs: Any, count: int, hidden: frozenset[str], depth: int) -> Iterator[Value]:
        for done, (name, value) in enumerate(pairs):
            if done == VALUES or self._nodes <= 0 or self._characters <= 0:
                yield Value("…", f"{count - done} more", kind="cut")
                return
            self._nodes -= 1
            label = name if len(name) <= _NAME else f"{name[:_NAME]}…"
            self._characters -= len(label)
            yield Value(label, "(secret)") if name in hidden else self._value(label, value, depth)

    def _value(self, name: str, value: Any, depth: int) -> Value:
        match value:
            case str():
                return self._text(name, value)
            case dict() if value and depth < DEPTH:
                return Value(name, kind="object", inside=self.members(value, frozenset(), depth + 1))
            case list() if value and depth < DEPTH:
                return self._list(name, value, depth)
            case dict() | list() if not value:
                return Value(name, _json(value), kind="items")
            case dict() | list():
                return self._block(name, msgspec.json.format(_encode(value), indent=2).decode())
            case None | bool():
                return Value(name, _json(value), kind="word")
            case _:
                return Value(name, _json(value), kind="number")

    def _list(self, name: str, value: list[Any], depth: int) -> Value:
        if all(isinstance(one, dict) and one for one in value):
            columns = _columns(value)
            if columns is not None:
                return self._table(name, value, columns)
        if not any(isinstance(one, dict | list) for one in value):
            line = ", ".join(_json(one) for one in value[:_SHORT])
            if len(value) <= _SHORT and len(line) <= _SHORT:
                self._characters -= len(line)
                return Value(name, line, kind="items")
        return Value(name, kind="list", inside=self._items(value, depth + 1))

    def _table(self, name: str, value: list[dict[str, Any]], columns: tuple[str, ...]) -> Value:
        rows: list[tuple[Value, ...]] = []
        for one in value[:VALUES]:
            if self._nodes <= 0 or self._characters <= 0:
                break
            rows.append(tuple(self._cell(column, one) for column in columns))
            self._nodes -= len(columns)
        more = len(value) - len(rows)
        is_short = any(cell.is_cut for row in rows for cell in row)
        return Value(name, kind="table", table=Table(columns, tuple(rows), more), is_cut=more > 0 or is_short)

    def _cell(self, column: str, row: Mapping[str, Any]) -> Value:
        if column not in row:
            return Value(column, kind="none")
        value = row[column]
        if isinstance(value, dict | list):
            cell = Value(column, _json(value), kind="items")
        else:
            cell = self._value(column, value, DEPTH)
        if len(cell.text) > CELL:
            cell = Value(column, f"{cell.text[:CELL]}…", kind=cell.kind, is_cut=True)
        self._characters -= len(cell.text)
        return cell

    def _text(self, name: str, text: str) -> Value:
        if _LINK.match(text):
            self._characters -= len(text)
            return Value(name, text, href=text)  # nothing but http and https (J40)
        if len(text) <= _SHORT and "\n" not in text:
            self._characters -= len(text)
            return Value(name, _json(text), kind="quoted") if _AMBIGUOUS.fullmatch(text) else Value(name, text)
        return self._block(name, text)

    def _block(self, name: str, text: str) -> Value:
        most = max(0, min(LIMIT, self._characters))
        self._characters -= min(len(text), most)
        if len(text) <= most:
            return Value(name, text, is_block=True)
        return Value(name, f"{text[:most]}\n… {len(text) - most} characters more", is_block=True, is_cut=True)


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """The names that objects of a list have, in the order of their first appearance; None: too many for a table."""
    names: dict[str, None] = {}
    for row in rows[:VALUES]:
        names.update(dict.fromkeys(row))
        if len(names) > COLUMNS:
            return None
    return tuple(names)


def _json(value: Any) -> str:
    return str(_encode(value).decode())
