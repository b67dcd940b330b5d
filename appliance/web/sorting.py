"""The orders that lists have, by name: ``sort`` in the query of the service and of pages (contract.md section 7).

A name with a dash in front is that order from its end. The first of each set is what a list has when nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from appliance.model.entities import Token
from appliance.model.errors import Invalid

Row = TypeVar("Row")
_NEVER = datetime.min.replace(tzinfo=UTC)

RUNS = ("-created", "created")
NAMES = ("name", "-name")
FILES = ("position", "name", "-name")  # position: as in the project files
WORKERS = ("name", "-name", "busy", "heard", "disk")  # heard: silent longest first; disk: least room first
TOKENS = ("-created", "created", "label", "-label", "-used")  # used: those never used come last

RunSort = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"enum": list(RUNS)})]
NameSort = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"enum": list(NAMES)})]
FileSort = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"enum": list(FILES)})]
WorkerSort = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"enum": list(WORKERS)})]
TokenSort = Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"enum": list(TOKENS)})]


TOKEN_ORDERS: Mapping[str, Callable[[Token], Any]] = {
    "created": lambda token: (token.created_at, token.id),
    "label": lambda token: (token.label.lower(), token.id),
    "used": lambda token: (token.last_used_at or _NEVER, token.id),
}


def chosen(sort: str, known: Sequence[str]) -> str:
    """The order, if the list has it. Raises Invalid, naming those that it has."""
    if sort not in known:
        raise Invalid(f"this list cannot be sorted by {sort[:40]!r}: use {' or '.join(known)}", {"sort": "unknown"})
    return sort


def is_backwards(sort: str) -> bool:
    """Whether the order begins at its end."""
    return sort.startswith("-")


def ordered(rows: Iterable[Row], sort: str, keys: Mapping[str, Callable[[Row], Any]]) -> list[Row]:
    """Rows that are all at hand in this order; one without a key is the order they have."""
    key = keys.get(sort.removeprefix("-"))
    return list(rows) if key is None else sorted(rows, key=key, reverse=is_backwards(sort))
